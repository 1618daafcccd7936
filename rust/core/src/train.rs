use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pulp::Simd;

use crate::block::Block;
use crate::chain::Chain;
use crate::descent::Descent;
use crate::kernel::Kernel;
use crate::parallel::{bad_threads, for_each, share, zeros, Work};
use crate::pass::runs_of;
use crate::runs::Runs;
use crate::{Data, Error, Network, Outcome, Result};

/// Where every run starts.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Shape (runs, parameters).
    pub weights: &'a [f64],
    /// Shape (runs,).
    pub learning_rate: &'a [f64],
}

/// What holds for all runs of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Updates by the full batch.
    pub epochs: usize,
    /// A run has converged when its loss or its largest gradient is at most this.
    pub tolerance: f64,
    /// A run has diverged when its loss is above this.
    pub divergence_bound: f64,
    /// Which histories to keep.
    pub record: Record,
    /// Threads to use; `None` for every core.
    pub threads: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 20,
            tolerance: 1e-6,
            divergence_bound: f64::INFINITY,
            record: Record::default(),
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
}

/// What [`train`] returns. A history that was not recorded is empty; after the epoch in
/// which a run diverged its histories are NaN.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Training {
    /// Weights after the last update that left them finite, shape (runs, parameters).
    pub weights: Vec<f64>,
    /// Shape (runs,).
    pub outcome: Vec<Outcome>,
    /// The epoch in which the run diverged, or −1; shape (runs,).
    pub diverged_at: Vec<i64>,
    /// Epochs after which the loss repeats, or 0 if the run does not oscillate; shape (runs,).
    pub period: Vec<u8>,
    /// Shape (runs, epochs).
    pub loss: Vec<f64>,
    /// Shape (runs, epochs).
    pub prediction: Vec<f64>,
    /// Shape (runs, epochs, parameters).
    pub gradients: Vec<f64>,
    /// Shape (runs, epochs, parameters).
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

/// Gradient descent by the full batch, w ← w − lr·∂L/∂w, for every run.
///
/// The result does not depend on the number of threads, nor on which runs are trained
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
    check(start, settings, runs)?;
    check_histories(&histories, settings.columns(network), runs)?;
    let mut training = Training {
        weights: start.weights.to_vec(),
        outcome: vec![Outcome::default(); runs],
        diverged_at: vec![-1; runs],
        period: vec![0; runs],
        ..Training::default()
    };
    let mut rest = Runs::all(&mut training, histories, start.learning_rate);
    let share = share(network, runs, settings.threads);
    let mut tasks = Vec::with_capacity(runs.div_ceil(share));
    while rest.count() > 0 {
        tasks.push(rest.take(share));
    }
    let work = Job {
        network,
        data,
        settings,
        progress,
    };
    for_each(tasks, settings.threads, &work)?;
    if progress.cancel.load(Ordering::Relaxed) {
        return Err(Error::Cancelled);
    }
    Ok(training)
}

impl Settings {
    /// Values that a run has in each of the [`Histories`], in their order.
    #[must_use]
    pub fn columns(&self, network: &Network) -> [usize; 4] {
        let wide = self.epochs.saturating_mul(network.parameters());
        let record = self.record;
        [
            (record.loss, self.epochs),
            (record.prediction, self.epochs),
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

/// What the threads have to do.
struct Job<'a> {
    network: &'a Network,
    data: &'a Data<'a>,
    settings: &'a Settings,
    progress: &'a Progress,
}

impl<'a> Work for Job<'a> {
    type Task = Runs<'a>;

    /// Choose the kernel: a network that fits into registers has one of its own.
    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, runs: Runs<'a>) {
        let few = runs.count() <= S::F64_LANES;
        let (network, data) = (self.network, self.data);
        if Chain::<S, 1, 1>::fits(network) {
            self.descend(Chain::<S, 1, 4>::new(simd, network, data), runs);
        } else if !Chain::<S, 2, 1>::fits(network) {
            self.descend(
                Block::new(simd, network, Some(data), &self.progress.cancel),
                runs,
            );
        } else if few {
            self.descend(Chain::<S, 2, 1>::new(simd, network, data), runs);
        } else if S::REGISTER_COUNT >= 32 {
            self.descend(Chain::<S, 2, 4>::new(simd, network, data), runs);
        } else {
            self.descend(Chain::<S, 2, 6>::new(simd, network, data), runs);
        }
    }
}

impl<'a> Job<'a> {
    #[inline(always)]
    fn descend(&self, kernel: impl Kernel, runs: Runs<'a>) {
        Descent::new(
            kernel,
            self.network,
            self.data,
            self.settings,
            self.progress,
        )
        .run(runs);
    }
}

fn check(start: &Start, settings: &Settings, runs: usize) -> Result<()> {
    if start.learning_rate.len() != runs {
        return Err(Error::Shape {
            name: "learning_rate",
            found: format!("{} values", start.learning_rate.len()),
            allowed: format!("{runs}, one for each run"),
            fix: "give as many learning rates as rows of weights",
        });
    }
    let positive = |rate: &f64| rate.is_finite() && *rate > 0.0;
    if let Some(run) = start.learning_rate.iter().position(|rate| !positive(rate)) {
        return Err(Error::Value {
            name: format!("learning_rate[{run}]"),
            value: start.learning_rate[run].to_string(),
            allowed: "finite numbers above 0",
            fix: "try 0.1",
        });
    }
    if !(settings.tolerance >= 0.0 && settings.tolerance.is_finite()) {
        return Err(Error::Value {
            name: "tolerance".into(),
            value: settings.tolerance.to_string(),
            allowed: "finite numbers from 0",
            fix: "try 1e-6",
        });
    }
    if settings.threads == Some(0) {
        return Err(bad_threads(0));
    }
    if settings.divergence_bound <= 0.0 || settings.divergence_bound.is_nan() {
        return Err(Error::Value {
            name: "divergence_bound".into(),
            value: settings.divergence_bound.to_string(),
            allowed: "numbers above 0, infinity among them",
            fix: "leave it out to end a run only when it is no longer finite",
        });
    }
    Ok(())
}
