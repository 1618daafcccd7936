//! What is to be trained, and where it starts.

use crate::{Data, Network, Progress, Settings};

/// Where every run starts: afresh, or where an earlier training ended. Then the arrays are those
/// of its results, and it goes on with the bits of a training that never ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Start<'a> {
    /// Shape (runs, parameters).
    pub weights: &'a [f64],
    /// Shape (runs,), or (runs, layers) for a learning rate of each layer.
    pub learning_rate: &'a [f64],
    /// What the optimizer remembers, shape (runs, values of [`crate::Optimizer::memory`]); `None`
    /// if it remembers nothing yet.
    pub memory: Option<&'a [f64]>,
    /// The number of the first epoch, from which the schedule, the orders of rows in
    /// mini-batches and the steps of the optimizer are counted on.
    pub epoch: usize,
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
    /// See [`Start::epoch`].
    pub first_epoch: usize,
}

impl Task<'_> {
    /// The number of values that the optimizer remembers of a run, see [`crate::Optimizer::memory`].
    pub fn memory(&self) -> usize {
        self.settings.optimizer.memory(self.network)
    }

    /// The factor by which the learning rate is multiplied in an epoch.
    pub fn factor(&self, epoch: usize) -> f64 {
        let span = self.settings.schedule_span(self.first_epoch);
        self.settings.schedule.factor(epoch, span)
    }

    /// The factor of the last one of so many epochs of this training.
    pub fn factor_after(&self, done: usize) -> f64 {
        self.factor(self.first_epoch + done.saturating_sub(1))
    }
}
