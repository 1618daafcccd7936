use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::kernel::{Block, Lanes, LANES};
use crate::outcome::{period, WINDOW};
use crate::parallel::{bad_threads, for_each, share, zeros};
use crate::pass::runs_of;
use crate::{Activation, Data, Error, Network, Outcome, Result};

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
    check(start, settings, runs)?;
    let (epochs, parameters, record) = (settings.epochs, network.parameters(), settings.record);
    let width = |wanted: bool, columns: usize| if wanted { columns } else { 0 };
    let wide = epochs.saturating_mul(parameters);
    let mut training = Training {
        weights: start.weights.to_vec(),
        outcome: vec![Outcome::default(); runs],
        diverged_at: vec![-1; runs],
        period: vec![0; runs],
        loss: zeros(runs, width(record.loss, epochs))?,
        prediction: zeros(runs, width(record.prediction, epochs))?,
        gradients: zeros(runs, width(record.gradients, wide))?,
        weight_history: zeros(runs, width(record.weights, wide))?,
    };
    let mut rest = Runs::all(&mut training, start.learning_rate);
    let share = share(runs, settings.threads);
    let mut tasks = Vec::with_capacity(runs.div_ceil(share));
    while rest.count() > 0 {
        tasks.push(rest.take(share));
    }
    for_each(
        tasks,
        settings.threads,
        #[inline(always)]
        |mut runs: Runs| {
            let mut block = Block::new(network);
            while runs.count() > 0 {
                let runs = runs.take(LANES);
                train_block(&mut block, data, settings, progress, runs);
            }
        },
    )?;
    if progress.cancel.load(Ordering::Relaxed) {
        return Err(Error::Cancelled);
    }
    Ok(training)
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

/// Some neighbouring runs, as slices of the arrays of a [`Training`].
struct Runs<'a> {
    learning_rate: &'a [f64],
    weights: &'a mut [f64],
    outcome: &'a mut [Outcome],
    diverged_at: &'a mut [i64],
    period: &'a mut [u8],
    loss: &'a mut [f64],
    prediction: &'a mut [f64],
    gradients: &'a mut [f64],
    weight_history: &'a mut [f64],
}

impl<'a> Runs<'a> {
    fn all(training: &'a mut Training, learning_rate: &'a [f64]) -> Self {
        Self {
            learning_rate,
            weights: &mut training.weights,
            outcome: &mut training.outcome,
            diverged_at: &mut training.diverged_at,
            period: &mut training.period,
            loss: &mut training.loss,
            prediction: &mut training.prediction,
            gradients: &mut training.gradients,
            weight_history: &mut training.weight_history,
        }
    }

    fn count(&self) -> usize {
        self.learning_rate.len()
    }

    /// Split off the first `count` runs.
    fn take(&mut self, count: usize) -> Self {
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

/// Train the runs of one block to their end.
#[inline(always)]
fn train_block(
    block: &mut Block,
    data: &Data,
    settings: &Settings,
    progress: &Progress,
    mut runs: Runs,
) {
    let count = runs.count();
    let epochs = settings.epochs;
    let bound = settings.divergence_bound.min(f64::MAX);
    let mut learning_rate: Lanes = [0.0; LANES];
    for (lane, rate) in learning_rate.iter_mut().enumerate() {
        *rate = runs.learning_rate[lane.min(count - 1)];
    }
    block.load(runs.weights);
    let mut updated = block.weights.clone();
    let mut losses = [[0.0; LANES]; WINDOW];
    let mut active = [true; LANES];
    let mut done = 0;
    for epoch in 0..epochs {
        if progress.cancel.load(Ordering::Relaxed) {
            return;
        }
        block.pass(data);
        losses[epoch % WINDOW] = block.loss;
        runs.record(epoch, epochs, block, &active);

        let mut healthy = [true; LANES];
        for lane in 0..LANES {
            healthy[lane] = active[lane] & (block.loss[lane] <= bound);
        }
        for ((new, old), gradient) in updated.iter_mut().zip(&block.weights).zip(&block.gradients) {
            for lane in 0..LANES {
                new[lane] = old[lane] - learning_rate[lane] * gradient[lane];
                healthy[lane] &= new[lane].is_finite();
            }
        }
        done = epoch + 1;
        if healthy == [true; LANES] {
            std::mem::swap(&mut block.weights, &mut updated);
        } else {
            for (old, new) in block.weights.iter_mut().zip(&updated) {
                for lane in 0..LANES {
                    old[lane] = if healthy[lane] { new[lane] } else { old[lane] };
                }
            }
            for lane in 0..count {
                if active[lane] && !healthy[lane] {
                    runs.outcome[lane] = Outcome::Diverged;
                    runs.diverged_at[lane] = i64::try_from(epoch).unwrap_or(i64::MAX);
                }
            }
            active = healthy;
            if active == [false; LANES] {
                break;
            }
        }
        if done % 64 == 0 {
            progress
                .epochs
                .fetch_add(64 * count as u64, Ordering::Relaxed);
        }
    }
    let uncounted = (epochs - done / 64 * 64) * count;
    progress
        .epochs
        .fetch_add(uncounted as u64, Ordering::Relaxed);
    runs.forget_after(done, epochs);
    runs.finish(block, data, settings, &losses, &active);
}

impl Runs<'_> {
    /// Keep what is wanted of this epoch; NaN for runs that have ended.
    #[inline(always)]
    fn record(&mut self, epoch: usize, epochs: usize, block: &Block, active: &[bool; LANES]) {
        let count = self.count();
        scalar_history(self.loss, epoch, epochs, &block.loss, active);
        scalar_history(self.prediction, epoch, epochs, &block.prediction, active);
        vector_history(self.gradients, epoch, count, &block.gradients, active);
        vector_history(self.weight_history, epoch, count, &block.weights, active);
    }

    /// Every run of the block has ended before the last epoch: the rest is NaN.
    fn forget_after(&mut self, done: usize, epochs: usize) {
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

    /// Store the final weights and name the outcome of every run.
    fn finish(
        &mut self,
        block: &mut Block,
        data: &Data,
        settings: &Settings,
        losses: &[Lanes; WINDOW],
        active: &[bool; LANES],
    ) {
        let parameters = block.weights.len();
        for (lane, weights) in self.weights.chunks_exact_mut(parameters).enumerate() {
            for (value, weight) in weights.iter_mut().zip(&block.weights) {
                *value = weight[lane];
            }
        }
        if settings.epochs == 0 {
            return;
        }
        let relu = block.activation() == Activation::Relu;
        for lane in 0..self.count() {
            if !active[lane] {
                continue;
            }
            let last = losses[(settings.epochs - 1) % WINDOW][lane];
            let steepest = block.largest_gradient(lane);
            let stuck = relu && steepest == 0.0 && last > settings.tolerance;
            self.outcome[lane] = if stuck && is_dead(block, data, lane) {
                Outcome::Dead
            } else if last <= settings.tolerance || steepest <= settings.tolerance {
                Outcome::Converged
            } else {
                let kept = settings.epochs.min(WINDOW);
                let first = settings.epochs - kept;
                let recent: Vec<f64> = (first..settings.epochs)
                    .map(|epoch| losses[epoch % WINDOW][lane])
                    .collect();
                match period(&recent) {
                    Some(period) => {
                        self.period[lane] = u8::try_from(period).unwrap_or(u8::MAX);
                        Outcome::Oscillating
                    }
                    None => Outcome::Unresolved,
                }
            };
        }
    }
}

fn is_dead(block: &mut Block, data: &Data, lane: usize) -> bool {
    data.iter().all(|(x, _)| {
        block.forward(x);
        block.has_silent_layer(lane)
    })
}

/// `history` has shape (runs, epochs), or is empty.
#[inline(always)]
fn scalar_history(
    history: &mut [f64],
    epoch: usize,
    epochs: usize,
    values: &Lanes,
    active: &[bool; LANES],
) {
    let slots = history.iter_mut().skip(epoch).step_by(epochs);
    for ((slot, value), active) in slots.zip(values).zip(active) {
        *slot = if *active { *value } else { f64::NAN };
    }
}

/// `history` has shape (runs, epochs, parameters), or is empty.
#[inline(always)]
fn vector_history(
    history: &mut [f64],
    epoch: usize,
    count: usize,
    values: &[Lanes],
    active: &[bool; LANES],
) {
    if history.is_empty() {
        return;
    }
    let per_run = history.len() / count;
    for (lane, run) in history.chunks_exact_mut(per_run).enumerate() {
        let slots = &mut run[epoch * values.len()..][..values.len()];
        for (slot, value) in slots.iter_mut().zip(values) {
            *slot = if active[lane] { value[lane] } else { f64::NAN };
        }
    }
}
