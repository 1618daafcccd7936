//! What is to be trained, and where it starts.

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
    /// The number of learning rates of a run: 1, or one for each layer.
    pub rates_per_run: usize,
}
