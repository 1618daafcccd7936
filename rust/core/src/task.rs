//! What is to be trained, and where it starts.

use crate::results::Arrays;
use crate::{Data, Network, Progress, Settings};

/// Where every run starts.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Shape (runs, parameters).
    pub weights: &'a [f64],
    /// Shape (runs,), or (runs, layers) for a learning rate of each layer.
    pub learning_rate: &'a [f64],
}

/// What holds for all runs of a call.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub network: &'a Network,
    pub data: &'a Data<'a>,
    pub settings: &'a Settings,
    pub progress: &'a Progress,
    /// Learning rates of a run: one, or one for each layer.
    pub groups: usize,
}

/// Some neighbouring runs: where they start, and where their results go.
pub(crate) struct Runs<'a> {
    pub start: Start<'a>,
    pub arrays: Arrays<'a>,
}

impl Runs<'_> {
    pub fn count(&self) -> usize {
        self.arrays.outcome.len()
    }

    /// Splits off the first `count` runs.
    pub fn take(&mut self, count: usize) -> Self {
        let total = self.count();
        let count = count.min(total);
        Self {
            start: Start {
                weights: split_front(&mut self.start.weights, total, count),
                learning_rate: split_front(&mut self.start.learning_rate, total, count),
            },
            arrays: self.arrays.take(count),
        }
    }

    /// The final weights of a run.
    pub fn weights_of(&mut self, run: usize) -> &mut [f64] {
        let parameters = self.arrays.weights.len() / self.count();
        &mut self.arrays.weights[run * parameters..][..parameters]
    }
}

/// Splits off what belongs to the first `count` of `total` runs.
fn split_front<'a>(values: &mut &'a [f64], total: usize, count: usize) -> &'a [f64] {
    let (front, rest) = values.split_at(values.len() / total * count);
    *values = rest;
    front
}
