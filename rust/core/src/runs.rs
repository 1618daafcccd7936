//! The arrays of a training, cut into the runs of each thread and each block.

use std::ops::Range;

use crate::kernel::Trace;
use crate::{Histories, Outcome, Training};

/// Some neighbouring runs, as slices of the arrays of a [`Training`].
pub(crate) struct Runs<'a> {
    pub learning_rate: &'a [f64],
    pub weights: &'a mut [f64],
    pub outcome: &'a mut [Outcome],
    pub diverged_at: &'a mut [i64],
    pub period: &'a mut [u8],
    loss: &'a mut [f64],
    prediction: &'a mut [f64],
    gradients: &'a mut [f64],
    weight_history: &'a mut [f64],
}

impl<'a> Runs<'a> {
    pub fn all(
        training: &'a mut Training,
        histories: Histories<'a>,
        learning_rate: &'a [f64],
    ) -> Self {
        let Histories {
            loss,
            prediction,
            gradients,
            weights,
        } = histories;
        Self {
            learning_rate,
            weights: &mut training.weights,
            outcome: &mut training.outcome,
            diverged_at: &mut training.diverged_at,
            period: &mut training.period,
            loss,
            prediction,
            gradients,
            weight_history: weights,
        }
    }

    pub fn count(&self) -> usize {
        self.learning_rate.len()
    }

    /// Split off the first `count` runs.
    pub fn take(&mut self, count: usize) -> Self {
        let total = self.count();
        let count = count.min(total);
        // Every array has the same number of values for each run, possibly none.
        macro_rules! split {
            ($array:ident) => {{
                let whole = std::mem::take(&mut self.$array);
                let (front, rest) = whole.split_at_mut(whole.len() / total * count);
                self.$array = rest;
                front
            }};
        }
        let (learning_rate, rest) = self.learning_rate.split_at(count);
        self.learning_rate = rest;
        Self {
            learning_rate,
            weights: split!(weights),
            outcome: split!(outcome),
            diverged_at: split!(diverged_at),
            period: split!(period),
            loss: split!(loss),
            prediction: split!(prediction),
            gradients: split!(gradients),
            weight_history: split!(weight_history),
        }
    }
}

impl Runs<'_> {
    /// Keep what was traced of these epochs; NaN for runs that have ended.
    #[inline(always)]
    pub fn record(&mut self, span: Range<usize>, epochs: usize, trace: &Trace, active: &[bool]) {
        let at = Place {
            span,
            epochs,
            active,
        };
        let parameters = self.weights.len() / self.count();
        at.keep(self.loss, 1, &trace.loss);
        at.keep(self.prediction, 1, &trace.prediction);
        at.keep(self.gradients, parameters, &trace.gradients);
        at.keep(self.weight_history, parameters, &trace.weights);
    }

    /// Every run of the block has ended before the last epoch: the rest is NaN.
    pub fn forget_after(&mut self, done: usize, epochs: usize) {
        if done == epochs {
            return;
        }
        for history in [
            &mut *self.loss,
            &mut *self.prediction,
            &mut *self.gradients,
            &mut *self.weight_history,
        ] {
            let per_run = history.len() / self.learning_rate.len();
            if per_run == 0 {
                continue;
            }
            for run in history.chunks_exact_mut(per_run) {
                run[per_run / epochs * done..].fill(f64::NAN);
            }
        }
    }

    /// The final weights of a run.
    pub fn weights_of(&mut self, run: usize) -> &mut [f64] {
        let parameters = self.weights.len() / self.learning_rate.len();
        &mut self.weights[run * parameters..][..parameters]
    }
}

/// Some epochs of a block.
struct Place<'a> {
    span: Range<usize>,
    epochs: usize,
    active: &'a [bool],
}

impl Place<'_> {
    /// Copy planes of shape (span, values, width) into a history of shape (runs, epochs,
    /// values), or into none.
    #[inline(always)]
    fn keep(&self, history: &mut [f64], values: usize, planes: &[f64]) {
        if history.is_empty() {
            return;
        }
        let width = self.active.len();
        let slots = self.span.start * values..self.span.end * values;
        for (lane, run) in history.chunks_exact_mut(self.epochs * values).enumerate() {
            let slots = &mut run[slots.clone()];
            if self.active[lane] {
                let own = planes[lane..].iter().step_by(width);
                for (slot, value) in slots.iter_mut().zip(own) {
                    *slot = *value;
                }
            } else {
                slots.fill(f64::NAN);
            }
        }
    }
}
