use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pulp::Simd;

use crate::arithmetic::{Arithmetic, ExactDouble, ExactSingle, FastDouble, FastSingle};
use crate::chain::Chain;
use crate::descent::Descent;
use crate::error::within;
use crate::kernel::Kernel;
use crate::parallel::{bad_threads, for_each, share, zeros, Work};
use crate::pass::runs_of;
use crate::runs::{Recorded, Runs};
use crate::trainer::Trainer;
use crate::{Data, Decay, Dtype, Error, Network, Optimizer, Outcome, Result, Schedule};

/// Where every run starts.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Shape (runs, parameters).
    pub weights: &'a [f64],
    /// Shape (runs,), or (runs, layers) for a learning rate of each layer.
    pub learning_rate: &'a [f64],
}

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

/// Shared with other threads while [`train`] works.
#[derive(Debug, Default)]
pub struct Progress {
    /// Epochs done so far, summed over the runs.
    pub epochs: AtomicU64,
    /// Set it to end the call with [`Error::Cancelled`].
    pub cancel: AtomicBool,
    /// Set it to end every run where it is, as if there were no more epochs.
    pub stop: AtomicBool,
}

/// What [`train`] returns. A history that was not recorded is empty; after the epoch in
/// which a run ended early its histories are NaN.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Training {
    /// Weights after the last update that left them finite, shape (runs, parameters).
    pub weights: Vec<f64>,
    /// Shape (runs,).
    pub outcome: Vec<Outcome>,
    /// Epochs that the run went through, fewer than asked for if it ended early: a run that
    /// diverged did so in the last of them. Shape (runs,).
    pub epochs: Vec<i64>,
    /// The loss in the last of its epochs, before the update; NaN without epochs. Shape (runs,).
    pub last_loss: Vec<f64>,
    /// The mean over the last 20 epochs of min(ℓ/ℓ₀, 10⁶), ℓ₀ the first loss; a run that
    /// diverged has 10⁶ afterwards (Sohl-Dickstein, arXiv 2402.06184). Shape (runs,).
    pub loss_ratio: Vec<f64>,
    /// Epochs after which the loss repeats, or 0 if the run does not oscillate; shape (runs,).
    pub period: Vec<u8>,
    /// Shape (runs, recorded epochs).
    pub loss: Vec<f64>,
    /// Shape (runs, recorded epochs).
    pub prediction: Vec<f64>,
    /// Shape (runs, recorded epochs, parameters).
    pub gradients: Vec<f64>,
    /// Shape (runs, recorded epochs, parameters).
    pub weight_history: Vec<f64>,
}

/// Where histories go: arrays of the shapes of [`Training`], empty where nothing is
/// recorded.
#[derive(Debug, Default)]
pub struct Histories<'a> {
    /// See [`Training::loss`].
    pub loss: &'a mut [f64],
    /// See [`Training::prediction`].
    pub prediction: &'a mut [f64],
    /// See [`Training::gradients`].
    pub gradients: &'a mut [f64],
    /// See [`Training::weight_history`].
    pub weights: &'a mut [f64],
}

/// Gradient descent, w ← w − lr·∂L/∂w, or another optimizer, for every run.
///
/// With mini-batches the loss, prediction and gradients of an epoch are the means over its
/// rows, each taken before the update of its batch. The result does not depend on the number of threads, nor on which runs are trained
/// together.
///
/// # Errors
/// Sizes that do not fit, values that are not finite, a learning rate that is not
/// positive, results beyond memory, [`Error::Cancelled`].
pub fn train(
    network: &Network,
    data: &Data,
    start: &Start,
    settings: &Settings,
    progress: &Progress,
) -> Result<Training> {
    let runs = runs_of(network, start.weights)?;
    let [loss, prediction, gradients, weights] = settings.columns(network);
    let (mut loss, mut prediction) = (zeros(runs, loss)?, zeros(runs, prediction)?);
    let (mut gradients, mut weights) = (zeros(runs, gradients)?, zeros(runs, weights)?);
    let histories = Histories {
        loss: &mut loss,
        prediction: &mut prediction,
        gradients: &mut gradients,
        weights: &mut weights,
    };
    let training = train_into(network, data, start, settings, progress, histories)?;
    Ok(Training {
        loss,
        prediction,
        gradients,
        weight_history: weights,
        ..training
    })
}

/// As [`train`], with histories written to arrays of the caller's; those of the result
/// are empty.
///
/// # Errors
/// As [`train`]; histories of other sizes than [`Settings::columns`] says.
pub fn train_into(
    network: &Network,
    data: &Data,
    start: &Start,
    settings: &Settings,
    progress: &Progress,
    histories: Histories,
) -> Result<Training> {
    let runs = runs_of(network, start.weights)?;
    let groups = groups(network, start, runs)?;
    check(start, settings, data)?;
    check_histories(&histories, settings.columns(network), runs)?;
    let mut training = Training {
        weights: start.weights.to_vec(),
        outcome: vec![Outcome::default(); runs],
        epochs: vec![0; runs],
        last_loss: vec![f64::NAN; runs],
        loss_ratio: vec![f64::NAN; runs],
        period: vec![0; runs],
        ..Training::default()
    };
    let mut rest = Runs::all(&mut training, histories, start.learning_rate);
    let share = share(network, runs, settings.threads);
    let mut tasks = Vec::with_capacity(runs.div_ceil(share));
    while rest.count() > 0 {
        tasks.push(rest.take(share));
    }
    let task = Task {
        network,
        data,
        settings,
        progress,
        groups,
    };
    match (network.dtype(), settings.precision) {
        (Dtype::Float64, Precision::Exact) => {
            for_each(tasks, settings.threads, &Job(task, ExactDouble))
        }
        (Dtype::Float64, Precision::Fast) => {
            for_each(tasks, settings.threads, &Job(task, FastDouble))
        }
        (Dtype::Float32, Precision::Exact) => {
            for_each(tasks, settings.threads, &Job(task, ExactSingle))
        }
        (Dtype::Float32, Precision::Fast) => {
            for_each(tasks, settings.threads, &Job(task, FastSingle))
        }
    }?;
    if progress.cancel.load(Ordering::Relaxed) {
        return Err(Error::Cancelled);
    }
    Ok(training)
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

    /// Values that a run has in each of the [`Histories`], in their order.
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
}

fn check_histories(histories: &Histories, columns: [usize; 4], runs: usize) -> Result<()> {
    let found = [
        ("loss history", histories.loss.len()),
        ("prediction history", histories.prediction.len()),
        ("gradient history", histories.gradients.len()),
        ("weight history", histories.weights.len()),
    ];
    for ((name, found), columns) in found.into_iter().zip(columns) {
        if columns.checked_mul(runs) != Some(found) {
            return Err(Error::Shape {
                name,
                found: format!("{found} values"),
                allowed: format!("{runs} runs × {columns}"),
                fix: "give an array of that size",
            });
        }
    }
    Ok(())
}

/// What is to be trained, and how.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub network: &'a Network,
    pub data: &'a Data<'a>,
    pub settings: &'a Settings<'a>,
    pub progress: &'a Progress,
    /// Learning rates of a run: one, or one for each layer.
    pub groups: usize,
}

/// What the threads have to do, and how they compute.
struct Job<'a, A>(Task<'a>, A);

impl<'a, A: Arithmetic> Work for Job<'a, A> {
    type Task = Runs<'a>;

    /// Choose the kernel: a network that fits into registers has one of its own.
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, runs: Runs<'a>) {
        let Self(task, _) = *self;
        let few = runs.count() <= A::lanes::<S>();
        if Chain::<S, A, 1, 1>::fits(&task) {
            descend(Chain::<S, A, 1, 4>::new(simd, task), task, runs);
        } else if !Chain::<S, A, 2, 1>::fits(&task) {
            descend(Trainer::<S, A>::new(simd, task), task, runs);
        } else if few {
            descend(Chain::<S, A, 2, 1>::new(simd, task), task, runs);
        } else if S::REGISTER_COUNT >= 32 {
            descend(Chain::<S, A, 2, 4>::new(simd, task), task, runs);
        } else {
            descend(Chain::<S, A, 2, 6>::new(simd, task), task, runs);
        }
    }
}

#[inline(always)]
fn descend<'a, K: Kernel>(kernel: K, task: Task<'a>, runs: Runs<'a>) {
    Descent::new(kernel, task).run(runs);
}

/// Learning rates of each run, by their number.
fn groups(network: &Network, start: &Start, runs: usize) -> Result<usize> {
    let (rates, layers) = (start.learning_rate.len(), network.layers().len());
    if rates == runs {
        return Ok(1);
    }
    if rates == runs * layers {
        return Ok(layers);
    }
    Err(Error::Shape {
        name: "learning_rate",
        found: format!("{rates} values"),
        allowed: format!("{runs}, one for each run, or {layers} times as many, one a layer"),
        fix: "give as many learning rates as rows of weights",
    })
}

fn check(start: &Start, settings: &Settings, data: &Data) -> Result<()> {
    let is_positive = |value: f64| value > 0.0 && value.is_finite();
    let is_finite = |value: f64| value >= 0.0 && value.is_finite();
    let finite = "finite numbers from 0";
    if let Some(run) = start
        .learning_rate
        .iter()
        .position(|rate| !is_positive(*rate))
    {
        let name = format!("learning_rate[{run}]");
        let rate = start.learning_rate[run];
        within(
            &name,
            rate,
            is_positive,
            "finite numbers above 0",
            "try 0.1",
        )?;
    }
    within(
        "tolerance",
        settings.tolerance,
        is_finite,
        finite,
        "try 1e-6",
    )?;
    within(
        "weight_decay",
        settings.weight_decay,
        is_finite,
        finite,
        "try 1e-4",
    )?;
    within(
        "divergence_bound",
        settings.divergence_bound,
        |bound| bound > 0.0,
        "numbers above 0, infinity among them",
        "leave it out to end a run only when it is no longer finite",
    )?;
    settings.optimizer.check()?;
    settings.schedule.check(settings.epochs)?;
    if settings.threads == Some(0) {
        return Err(bad_threads(0));
    }
    at_least_one("record_every", settings.record_every)?;
    settings.batches.map_or(Ok(()), |batches| {
        batches.check(settings.epochs, data.rows())
    })
}

fn at_least_one(name: &str, value: usize) -> Result<()> {
    let allowed = "whole numbers from 1";
    within(
        name,
        value as f64,
        |value| value >= 1.0,
        allowed,
        "correct it",
    )
}

impl Batches<'_> {
    fn check(&self, epochs: usize, rows: usize) -> Result<()> {
        at_least_one("batch_size", self.size)?;
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
