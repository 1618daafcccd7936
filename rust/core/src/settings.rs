use crate::error::{at_least_one, within};
use crate::machine::bad_threads;
use crate::record::{Looks, PerQuantity, Record, Recorded};
use crate::{Data, Decay, Error, Machine, Network, Optimizer, Quantity, Result, Schedule};

/// How sums of products are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Each product and each sum is rounded, as plain code does it: the same bits on every
    /// machine.
    Exact,
    /// Fused multiply-add where the machine has it: faster, and rounded less often.
    Fast,
}

impl Precision {
    /// Every precision, in the order in which messages name them.
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

/// Mini-batches: the rows of every epoch are shuffled, the same for all runs, and cut into
/// batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batches {
    /// Rows of a batch, from 1; the last one of an epoch may have fewer.
    pub size: usize,
    /// The order of the rows is that of NumPy's `RandomState(seed).permutation(rows)`, called
    /// once an epoch.
    pub seed: u32,
}

/// Early stopping: a run ends once its loss on the rows of validation has not become smaller for
/// some epochs, and keeps the weights with which it was smallest. It is looked at after every
/// epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EarlyStopping {
    /// Epochs without a smaller loss after which a run ends, from 1.
    pub patience: usize,
    /// A loss is smaller if it is so by more than this, from 0.
    pub min_delta: f64,
}

/// What holds for all runs of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The number of epochs; an epoch goes through all rows once.
    pub epochs: usize,
    /// How gradients become updates.
    pub optimizer: Optimizer,
    /// The decoupled weight decay λ, from 0: each update also subtracts lr·λ·w.
    pub weight_decay: f64,
    /// How the learning rate changes over the epochs.
    pub schedule: Schedule,
    /// The number of epochs over which the schedule goes, counted from epoch 0; `None` for those
    /// up to the end of this training.
    pub schedule_epochs: Option<usize>,
    /// Mini-batches; `None` for one update an epoch from all rows.
    pub batches: Option<Batches>,
    /// How products are added up.
    pub precision: Precision,
    /// A run ends once its weights do not move any more, instead of after all epochs.
    pub stop_when_converged: bool,
    /// A run ends once validation says so; it needs [`crate::Data::with_validation`].
    pub early_stopping: Option<EarlyStopping>,
    /// How far from its minimum a run may be that has converged, relative to its weights.
    pub tolerance: f64,
    /// A run has diverged when its loss is above this.
    pub divergence_bound: f64,
    /// The quantities of which histories are kept.
    pub record: Record,
    /// Which epochs are recorded: 1 for all; k > 1 for the multiples of k and, in the last place, the last
    /// epoch of each run; 0 for the last one only.
    pub record_every: usize,
    /// Whether the loss on the rows of validation, and for a cross-entropy the accuracy, are
    /// recorded of the same epochs; it needs [`crate::Data::with_validation`].
    pub record_validation: bool,
    /// The threads and the instruction set that are used.
    pub machine: Machine,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 20,
            optimizer: Optimizer::GradientDescent,
            weight_decay: 0.0,
            schedule: Schedule::default(),
            schedule_epochs: None,
            batches: None,
            precision: Precision::Exact,
            stop_when_converged: false,
            early_stopping: None,
            tolerance: 1e-6,
            divergence_bound: f64::INFINITY,
            record: Record::of(&[Quantity::Loss, Quantity::Prediction, Quantity::Gradients]),
            record_every: 1,
            record_validation: false,
            machine: Machine::default(),
        }
    }
}

impl Settings {
    /// Places in a history: see [`Settings::record_every`].
    #[must_use]
    pub fn records(&self) -> usize {
        self.recorded().count()
    }

    pub(crate) fn recorded(&self) -> Recorded {
        Recorded::new(self.epochs, self.record_every)
    }

    /// Epochs of the schedule, if the first epoch has that number.
    pub(crate) fn schedule_span(&self, first_epoch: usize) -> usize {
        let end = first_epoch.saturating_add(self.epochs);
        self.schedule_epochs.unwrap_or(end)
    }

    /// One update an epoch, w ← w − lr·∂L/∂w, to the end, but for weight decay.
    pub(crate) fn is_plain(&self) -> bool {
        let constant = self.schedule.warmup == 0 && self.schedule.decay == Decay::Constant;
        let descent = self.optimizer == Optimizer::GradientDescent;
        constant && descent && self.batches.is_none() && !self.looks_at_each_epoch()
    }

    /// Whether any epoch may be the last one of a run that goes well.
    pub(crate) fn looks_at_each_epoch(&self) -> bool {
        self.stop_when_converged || self.early_stopping.is_some()
    }

    /// Whether there is anything to record.
    pub(crate) fn records_any(&self) -> bool {
        self.record.is_any() || self.record_validation
    }

    /// Whether the rows of validation are looked at.
    pub(crate) fn validates(&self) -> bool {
        self.record_validation || self.early_stopping.is_some()
    }

    /// The count of numbers that a run has in each history.
    #[must_use]
    pub fn columns(&self, network: &Network) -> PerQuantity<usize> {
        let records = self.records();
        PerQuantity::new(|quantity| {
            let wanted = usize::from(self.record[quantity]);
            records.saturating_mul(wanted * quantity.values(network))
        })
    }

    /// The count of numbers that a run has in each history of validation.
    #[must_use]
    pub fn columns_of_validation(&self, network: &Network) -> Looks<usize> {
        let wanted = usize::from(self.record_validation);
        let classified = usize::from(network.loss().is_cross_entropy());
        let loss = self.records().saturating_mul(wanted);
        Looks {
            loss,
            accuracy: loss * classified,
        }
    }

    pub(crate) fn check(&self, data: &Data, first_epoch: usize) -> Result<()> {
        if self.validates() && data.validation().is_none() {
            return Err(Error::Value {
                name: "validation".into(),
                value: "None".into(),
                allowed: "inputs and targets where validation is recorded or ends runs".into(),
                fix: "give rows of validation, or leave patience out",
            });
        }
        if let Some(EarlyStopping {
            patience,
            min_delta,
        }) = self.early_stopping
        {
            at_least_one("patience", patience, "correct it")?;
            let is_finite = |value: f64| value >= 0.0 && value.is_finite();
            within(
                "min_delta",
                min_delta,
                is_finite,
                "finite numbers from 0",
                "try 0",
            )?;
        }
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
        self.check_epochs(first_epoch)?;
        if self.machine.threads == Some(0) {
            return Err(bad_threads(0));
        }
        match self.batches {
            Some(batches) => at_least_one("batch_size", batches.size, "correct it"),
            None => Ok(()),
        }
    }

    /// The epochs of this training, and those of the schedule.
    fn check_epochs(&self, first_epoch: usize) -> Result<()> {
        let end = first_epoch.saturating_add(self.epochs);
        let wrong = |name: &str, value: usize, allowed: String, fix| {
            Err(Error::Value {
                name: name.into(),
                value: value.to_string(),
                allowed: allowed.into(),
                fix,
            })
        };
        if i64::try_from(end).is_err() {
            let allowed =
                format!("whole numbers up to 2^63 − 1 − {first_epoch}, the epoch of the state");
            return wrong("epochs", self.epochs, allowed, "train for fewer epochs");
        }
        match self.schedule_epochs {
            Some(span) if span < end => {
                let allowed = format!("whole numbers from {end}, where this training ends");
                wrong(
                    "schedule_epochs",
                    span,
                    allowed,
                    "correct it, or leave it out",
                )
            }
            span => self.schedule.check(span.unwrap_or(end)),
        }
    }
}
