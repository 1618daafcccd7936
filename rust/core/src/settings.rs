use crate::error::{at_least_one, within};
use crate::parallel::bad_threads;
use crate::runs::Recorded;
use crate::{Decay, Error, Network, Optimizer, Result, Schedule};

/// How products are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Each product and each sum is rounded, as plain code does it: the same bits on every
    /// machine.
    Exact,
    /// Fused multiply-add where the machine has it: faster, and rounded less often.
    Fast,
}

impl Precision {
    /// Every one, in the order in which messages name them.
    pub const ALL: [Self; 2] = [Self::Exact, Self::Fast];

    /// The name used in configuration and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
        }
    }
}

/// Mini-batches: the rows of every epoch in a given order, cut into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batches<'a> {
    /// Rows of a batch, from 1; the last one of an epoch may have fewer.
    pub size: usize,
    /// Shape (epochs, rows): every row of the data once in each epoch.
    pub order: &'a [u32],
}

/// What holds for all runs of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings<'a> {
    /// How often the data are gone through.
    pub epochs: usize,
    /// From gradients to updates.
    pub optimizer: Optimizer,
    /// λ, from 0; decoupled: lr·λ·w more is taken from every weight.
    pub weight_decay: f64,
    /// What becomes of the learning rate over the epochs.
    pub schedule: Schedule,
    /// `None` for one update an epoch, by all rows.
    pub batches: Option<Batches<'a>>,
    /// How products are added up.
    pub precision: Precision,
    /// A run ends once it has converged, instead of after all epochs.
    pub stop_early: bool,
    /// A run has converged when its loss or its largest gradient is at most this.
    pub tolerance: f64,
    /// A run has diverged when its loss is above this.
    pub divergence_bound: f64,
    /// Which histories to keep.
    pub record: Record,
    /// How often: each so many epochs, and the last one.
    pub record_every: usize,
    /// Threads to use; `None` for every core.
    pub threads: Option<usize>,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self {
            epochs: 20,
            optimizer: Optimizer::GradientDescent,
            weight_decay: 0.0,
            schedule: Schedule::default(),
            batches: None,
            precision: Precision::Exact,
            stop_early: false,
            tolerance: 1e-6,
            divergence_bound: f64::INFINITY,
            record: Record::default(),
            record_every: 1,
            threads: None,
        }
    }
}

/// Which histories to keep: one value an epoch, taken before its update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct Record {
    /// L.
    pub loss: bool,
    /// ŷ, the mean over rows and outputs.
    pub prediction: bool,
    /// ∂L/∂w of every parameter.
    pub gradients: bool,
    /// w, from which the prediction was made.
    pub weights: bool,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            loss: true,
            prediction: true,
            gradients: true,
            weights: false,
        }
    }
}

impl Settings<'_> {
    /// Epochs that the histories hold: each `record_every`-th, and the last.
    #[must_use]
    pub fn records(&self) -> usize {
        self.recorded().count()
    }

    pub(crate) fn recorded(&self) -> Recorded {
        Recorded {
            epochs: self.epochs,
            every: self.record_every.max(1),
        }
    }

    /// One update an epoch, w ← w − lr·∂L/∂w, to the end.
    pub(crate) fn is_plain(&self) -> bool {
        let constant = self.schedule.warmup == 0 && self.schedule.decay == Decay::Constant;
        let descent = self.optimizer == Optimizer::GradientDescent && self.weight_decay <= 0.0;
        constant && descent && self.batches.is_none() && !self.stop_early
    }

    /// Values that a run has in each history: loss, prediction, gradients, weights.
    #[must_use]
    pub fn columns(&self, network: &Network) -> [usize; 4] {
        let records = self.records();
        let wide = records.saturating_mul(network.parameters());
        let record = self.record;
        [
            (record.loss, records),
            (record.prediction, records),
            (record.gradients, wide),
            (record.weights, wide),
        ]
        .map(|(wanted, columns)| if wanted { columns } else { 0 })
    }

    /// For data of so many rows.
    pub(crate) fn check(&self, rows: usize) -> Result<()> {
        let is_finite = |value: f64| value >= 0.0 && value.is_finite();
        let finite = "finite numbers from 0";
        within("tolerance", self.tolerance, is_finite, finite, "try 1e-6")?;
        within(
            "weight_decay",
            self.weight_decay,
            is_finite,
            finite,
            "try 1e-4",
        )?;
        within(
            "divergence_bound",
            self.divergence_bound,
            |bound| bound > 0.0,
            "numbers above 0, infinity among them",
            "leave it out to end a run only when it is no longer finite",
        )?;
        self.optimizer.check()?;
        self.schedule.check(self.epochs)?;
        if self.threads == Some(0) {
            return Err(bad_threads(0));
        }
        at_least_one("record_every", self.record_every, "correct it")?;
        self.batches
            .map_or(Ok(()), |batches| batches.check(self.epochs, rows))
    }
}

impl Batches<'_> {
    fn check(&self, epochs: usize, rows: usize) -> Result<()> {
        at_least_one("batch_size", self.size, "correct it")?;
        if epochs.checked_mul(rows) != Some(self.order.len()) {
            return Err(Error::Shape {
                name: "batch order",
                found: format!("{} values", self.order.len()),
                allowed: format!("{epochs} epochs × {rows} rows"),
                fix: "give every row once for each epoch",
            });
        }
        let mut seen = vec![usize::MAX; rows];
        for (epoch, order) in self.order.chunks_exact(rows).enumerate() {
            for row in order {
                let place = seen.get_mut(*row as usize);
                if place.is_none_or(|place| std::mem::replace(place, epoch) == epoch) {
                    return Err(Error::Value {
                        name: format!("the order of batches in epoch {epoch}"),
                        value: format!("row {row} out of place"),
                        allowed: "every row once in each epoch",
                        fix: "give a permutation of the rows",
                    });
                }
            }
        }
        Ok(())
    }
}
