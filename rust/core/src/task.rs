//! What is to be trained, and where it starts.

use std::ops::Range;

use crate::hyperparameters::Columns;
use crate::{Data, Hyperparameters, Network, Progress, Settings};

/// Where every run starts: afresh, or where an earlier training ended. Then the arrays are those
/// of its results, and it goes on with the bits of a training that never ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Start<'a> {
    /// Shape (runs, parameters).
    pub weights: &'a [f64],
    /// Shape (runs,), or (runs, layers) for a learning rate of each layer. A layer with the rate 0
    /// is frozen; at least one layer of a run is not.
    pub learning_rate: &'a [f64],
    /// Of each hyperparameter the value of each run, shape (runs,), or `None` where all runs have
    /// that of the settings or of the network.
    pub hyperparameters: Hyperparameters<Option<&'a [f64]>>,
    /// The seed of each run's mini-batches, shape (runs,), or `None` for that of the settings.
    pub batch_seed: Option<&'a [u32]>,
    /// What the optimizer remembers, shape (runs, values of [`crate::Optimizer::memory`]); `None`
    /// if it remembers nothing yet.
    pub memory: Option<&'a [f64]>,
    /// The number of the first epoch, from which the schedule, the orders of rows in
    /// mini-batches and the steps of the optimizer are counted on.
    pub epoch: usize,
}

/// What the runs of a group have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    /// The seed of their mini-batches.
    pub seed: u32,
    /// Whether any of them has weight decay.
    pub decays: bool,
    /// Whether any of them has a gain that is not 1.
    pub scales: bool,
}

/// What holds for all runs of a group.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub network: &'a Network,
    pub data: &'a Data<'a>,
    pub settings: &'a Settings,
    pub progress: &'a Progress,
    /// The number of learning rates of a run: 1, or one for each layer.
    pub rates_per_run: usize,
    /// Where the hyperparameters are that a run has of its own, behind its learning rates.
    pub columns: Columns,
    pub group: Group,
    /// See [`Start::epoch`].
    pub first_epoch: usize,
}

impl Task<'_> {
    /// The task of one update an epoch by gradient descent, of which these are the settings.
    pub fn plain<'s>(&self, once: &'s Settings) -> Task<'s>
    where
        Self: 's,
    {
        let mut next = 1;
        let mut keep = |column: Option<usize>| {
            column.map(|_| {
                next += 1;
                next - 1
            })
        };
        Task {
            settings: once,
            rates_per_run: 1,
            columns: Columns {
                gain: keep(self.columns.gain),
                negative_slope: keep(self.columns.negative_slope),
                ..Columns::default()
            },
            group: Group {
                decays: false,
                ..self.group
            },
            ..*self
        }
    }

    /// The number of values that the optimizer remembers of a run, see [`crate::Optimizer::memory`].
    pub fn memory(&self) -> usize {
        self.settings.optimizer.memory(self.network)
    }

    /// The numbers that a run has of its own: its learning rates, then its hyperparameters.
    pub fn own(&self) -> usize {
        self.rates_per_run + self.columns.into_array().iter().flatten().count()
    }

    /// The hyperparameters of a run, from the numbers of its own.
    pub fn hyperparameters(&self, own: &[f64]) -> Hyperparameters<f64> {
        let shared = Hyperparameters::shared(self.network, self.settings);
        let each = shared.zip(self.columns);
        each.map(|(shared, column)| column.map_or(shared, |column| own[column]))
    }

    /// Hands over the gains and negative slopes of some lanes, if runs have their own, from their
    /// numbers of shape (numbers, width).
    pub fn give_gains(
        &self,
        own: &[f64],
        width: usize,
        lanes: Range<usize>,
        mut give: impl FnMut(&[f64], &[f64]),
    ) {
        let Columns {
            gain,
            negative_slope,
            ..
        } = self.columns;
        if gain.is_some() || negative_slope.is_some() {
            let of = |column: Option<usize>, shared: f64| match column {
                Some(column) => own[column * width..][lanes.clone()].to_vec(),
                None => vec![shared; lanes.len()],
            };
            let gains = of(gain, self.network.gain());
            give(&gains, &of(negative_slope, self.network.negative_slope()));
        }
    }

    /// One update an epoch, w ← w − lr·∂L/∂w, to the end.
    pub fn is_plain(&self) -> bool {
        self.settings.is_plain() && !self.group.decays
    }

    /// The layer of each parameter.
    pub fn layers(&self) -> Vec<usize> {
        let layers = self.network.layers().iter().enumerate();
        layers
            .flat_map(|(index, layer)| (layer.weights.start..layer.biases.end).map(move |_| index))
            .collect()
    }

    /// Which parameters of which runs do not move, from the numbers of runs, shape (numbers, width):
    /// shape (parameters, width). Nothing if all of them do.
    pub fn frozen(&self, own: &[f64], width: usize) -> Vec<bool> {
        let rates = &own[..self.rates_per_run * width];
        if !rates.contains(&0.0) {
            return Vec::new();
        }
        let layers = self.layers();
        let planes = layers.iter().map(|layer| &rates[layer * width..][..width]);
        planes.flatten().map(|rate| *rate == 0.0).collect()
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
