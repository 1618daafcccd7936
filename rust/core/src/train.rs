use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pulp::Simd;

use crate::arithmetic::{Arithmetic, Double, Single, EXACT, FUSED};
use crate::chain::Chain;
use crate::descent::Descent;
use crate::error::within;
use crate::kernel::Kernel;
use crate::parallel::{for_each, share, zeros, Work};
use crate::pass::runs_of;
use crate::runs::Runs;
use crate::trainer::Trainer;
use crate::{Data, Dtype, Error, Network, Outcome, Precision, Result, Settings};

/// Where every run starts.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Shape (runs, parameters).
    pub weights: &'a [f64],
    /// Shape (runs,), or (runs, layers) for a learning rate of each layer.
    pub learning_rate: &'a [f64],
}

/// Shared with other threads while [`train`] works.
#[derive(Debug, Default)]
pub struct Progress {
    /// Epochs done so far, summed over the runs.
    pub epochs: AtomicU64,
    /// Set it to end the call with [`Error::Cancelled`].
    pub cancel: AtomicBool,
    /// Set it to end every run where it is, or at most 32 epochs further.
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

/// Where the results go: arrays of the shapes of [`Training`], empty for a history that is
/// not recorded.
#[derive(Debug, Default)]
pub struct Arrays<'a> {
    /// See [`Training::weights`].
    pub weights: &'a mut [f64],
    /// See [`Training::outcome`].
    pub outcome: &'a mut [Outcome],
    /// See [`Training::epochs`].
    pub epochs: &'a mut [i64],
    /// See [`Training::last_loss`].
    pub last_loss: &'a mut [f64],
    /// See [`Training::loss_ratio`].
    pub loss_ratio: &'a mut [f64],
    /// See [`Training::period`].
    pub period: &'a mut [u8],
    /// See [`Training::loss`].
    pub loss: &'a mut [f64],
    /// See [`Training::prediction`].
    pub prediction: &'a mut [f64],
    /// See [`Training::gradients`].
    pub gradients: &'a mut [f64],
    /// See [`Training::weight_history`].
    pub weight_history: &'a mut [f64],
}

/// Gradient descent, w ← w − lr·∂L/∂w, or another optimizer, for every run.
///
/// With mini-batches the loss, prediction and gradients of an epoch are the means over its
/// rows, each taken before the update of its batch. The result does not depend on the number
/// of threads, nor on which runs are trained together.
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
    let mut training = Training {
        weights: zeros(runs, network.parameters())?,
        outcome: vec![Outcome::default(); runs],
        epochs: vec![0; runs],
        last_loss: zeros(runs, 1)?,
        loss_ratio: zeros(runs, 1)?,
        period: vec![0; runs],
        loss: zeros(runs, loss)?,
        prediction: zeros(runs, prediction)?,
        gradients: zeros(runs, gradients)?,
        weight_history: zeros(runs, weights)?,
    };
    let arrays = Arrays {
        weights: &mut training.weights,
        outcome: &mut training.outcome,
        epochs: &mut training.epochs,
        last_loss: &mut training.last_loss,
        loss_ratio: &mut training.loss_ratio,
        period: &mut training.period,
        loss: &mut training.loss,
        prediction: &mut training.prediction,
        gradients: &mut training.gradients,
        weight_history: &mut training.weight_history,
    };
    train_into(network, data, start, settings, progress, arrays)?;
    Ok(training)
}

/// As [`train`], with results written to arrays of the caller's.
///
/// # Errors
/// As [`train`]; arrays of other sizes than the runs and [`Settings::columns`] ask for.
pub fn train_into(
    network: &Network,
    data: &Data,
    start: &Start,
    settings: &Settings,
    progress: &Progress,
    arrays: Arrays,
) -> Result<()> {
    let runs = runs_of(network, start.weights)?;
    let groups = groups(network, start, runs)?;
    check_rates(start.learning_rate)?;
    settings.check(data.rows())?;
    check_arrays(&arrays, network, settings, runs)?;
    let mut rest = Runs {
        start: *start,
        arrays,
    };
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
            for_each(tasks, settings.threads, &Job(task, Double::<EXACT>))
        }
        (Dtype::Float64, Precision::Fast) => {
            for_each(tasks, settings.threads, &Job(task, Double::<FUSED>))
        }
        (Dtype::Float32, Precision::Exact) => {
            for_each(tasks, settings.threads, &Job(task, Single::<EXACT>))
        }
        (Dtype::Float32, Precision::Fast) => {
            for_each(tasks, settings.threads, &Job(task, Single::<FUSED>))
        }
    }?;
    if progress.cancel.load(Ordering::Relaxed) {
        return Err(Error::Cancelled);
    }
    Ok(())
}

fn check_arrays(
    arrays: &Arrays,
    network: &Network,
    settings: &Settings,
    runs: usize,
) -> Result<()> {
    let [loss, prediction, gradients, weights] = settings.columns(network);
    for (name, found, columns) in [
        ("weights", arrays.weights.len(), network.parameters()),
        ("outcome", arrays.outcome.len(), 1),
        ("epochs", arrays.epochs.len(), 1),
        ("last_loss", arrays.last_loss.len(), 1),
        ("loss_ratio", arrays.loss_ratio.len(), 1),
        ("period", arrays.period.len(), 1),
        ("loss history", arrays.loss.len(), loss),
        ("prediction history", arrays.prediction.len(), prediction),
        ("gradient history", arrays.gradients.len(), gradients),
        ("weight history", arrays.weight_history.len(), weights),
    ] {
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
            descend(Chain::<S, A, 1, 8>::new(simd, task), task, runs);
        } else if !Chain::<S, A, 2, 1>::fits(&task) {
            descend(Trainer::<S, A>::new(simd, task), task, runs);
        } else if few {
            descend(Chain::<S, A, 2, 1>::new(simd, task), task, runs);
        } else {
            descend(Chain::<S, A, 2, 8>::new(simd, task), task, runs);
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

fn check_rates(rates: &[f64]) -> Result<()> {
    let is_positive = |value: f64| value > 0.0 && value.is_finite();
    let Some(run) = rates.iter().position(|rate| !is_positive(*rate)) else {
        return Ok(());
    };
    let (name, allowed) = (format!("learning_rate[{run}]"), "finite numbers above 0");
    within(&name, rates[run], is_positive, allowed, "try 0.1")
}
