//! Training many runs: checks, then shares of runs for each thread.

use crate::error::{all_finite, within};
use crate::groups::Arranged;
use crate::hyperparameters::{self, one_a_run};
use crate::kernel::Number;
use crate::machine::Machine;
use crate::memory::list;
use crate::parallel::{all, for_each, share};
use crate::results::{Arrays, Runs, Training};
use crate::run_loop::RunLoop;
use crate::task::{Start, Task};
use crate::{
    Data, Dtype, Error, Network, Optimizer, Precision, Progress, Result, Schedule, Settings,
};

/// Gradient descent, w ← w − lr·∂L/∂w, or another optimizer, for every run.
///
/// With mini-batches the loss, prediction and gradients of an epoch are the means over its
/// rows, each taken before the update of its batch. The result does not depend on the number
/// of threads, nor on which runs are trained together.
///
/// A training that starts with the weights, the memory and the epoch with which another one ended
/// goes on with the bits of a single training of all epochs, if [`Settings::schedule_epochs`] is
/// the same. What is compared with the first loss, the loss ratio, is compared with its own.
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
    // The weights are checked by the call below.
    let runs = start.weights.len() / network.parameters();
    let mut training = Training::new(network, settings, runs)?;
    train_into(network, data, start, settings, progress, training.arrays())?;
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
    mut arrays: Arrays,
) -> Result<()> {
    let machine = settings.machine;
    let runs = runs_of(network, start.weights, machine)?;
    let rates_per_run = rates_per_run(network, start, runs)?;
    check_rates(network, start.learning_rate, rates_per_run, machine)?;
    hyperparameters::check(start.hyperparameters, runs)?;
    if let Some(seeds) = start.batch_seed.filter(|seeds| seeds.len() != runs) {
        return Err(one_a_run("batch_seed", seeds.len(), runs));
    }
    settings.check(data, start.epoch)?;
    if let Some(memory) = start.memory {
        settings.optimizer.check_memory(memory, network, runs)?;
    }
    arrays.check(network, settings, runs)?;
    let given = hyperparameters::used(start.hyperparameters, network, settings);
    let arranged = Arranged::new(network, settings, *start, given, [runs, rates_per_run])?;
    let once = Settings {
        optimizer: Optimizer::GradientDescent,
        weight_decay: 0.0,
        schedule: Schedule::default(),
        schedule_epochs: None,
        batches: None,
        precision: Precision::Exact,
        stop_when_converged: false,
        early_stopping: None,
        record_validation: false,
        ..*settings
    };
    let mut rest = arranged.runs(arrays.part(&(0..runs)));
    let share = share(network, runs, machine);
    let each = arranged.groups.iter().map(|(_, places)| places.len());
    let mut shares = list(each.map(|runs| runs.div_ceil(share)).sum())?;
    for (group, places) in &arranged.groups {
        let task = Task {
            network,
            data,
            settings,
            progress,
            rates_per_run,
            columns: arranged.columns,
            group: *group,
            first_epoch: start.epoch,
        };
        for first in places.clone().step_by(share) {
            shares.push((task, rest.take(share.min(places.end - first))));
        }
    }
    match network.dtype() {
        Dtype::Float32 => run::<f32>(&once, shares, machine),
        Dtype::Float64 => run::<f64>(&once, shares, machine),
    }?;
    arranged.put_back(&mut arrays);
    progress.finished()
}

/// Trains runs; `once` are settings of one update an epoch by gradient descent.
fn run<N: Number>(once: &Settings, shares: Vec<(Task, Runs)>, machine: Machine) -> Result<()> {
    for_each(shares, machine, |(task, runs)| {
        let plain = task.plain(once);
        RunLoop::<N>::new(task, plain, runs.count()).train(runs);
    })
}

/// How many runs the weights hold, after checking them.
pub(crate) fn runs_of(network: &Network, weights: &[f64], machine: Machine) -> Result<usize> {
    let parameters = network.parameters();
    if !weights.len().is_multiple_of(parameters) {
        return Err(Error::Shape {
            name: "weights".into(),
            found: format!("{} values", weights.len()),
            allowed: format!("{parameters} parameters for each run"),
            fix: "give one value per parameter of the network",
        });
    }
    let dtype = network.dtype();
    if !all(weights, machine, |weight| dtype.holds(*weight))? {
        all_finite("weights", weights, parameters)?;
        dtype.check("weights", weights, parameters)?;
    }
    Ok(weights.len() / parameters)
}

/// How many learning rates each run has: one, or one for each layer.
fn rates_per_run(network: &Network, start: &Start, runs: usize) -> Result<usize> {
    let (rates, layers) = (start.learning_rate.len(), network.layers().len());
    if rates == runs {
        return Ok(1);
    }
    if runs.checked_mul(layers) == Some(rates) {
        return Ok(layers);
    }
    Err(Error::Shape {
        name: "learning_rate".into(),
        found: format!("{rates} values"),
        allowed: format!("{runs}, one for each run, or {layers} times as many, one a layer"),
        fix: "give as many learning rates as rows of weights",
    })
}

/// Refuses learning rates that are not positive. A layer may have the rate 0, which freezes it, but
/// not all layers of a run.
fn check_rates(network: &Network, rates: &[f64], each: usize, machine: Machine) -> Result<()> {
    let dtype = network.dtype();
    let is_positive = |value: f64| dtype.rounded(value) > 0.0 && dtype.holds(value);
    if all(rates, machine, |rate| is_positive(*rate))? {
        return Ok(());
    }
    let is_allowed = |value: f64| is_positive(value) || (each > 1 && value == 0.0);
    let Some(place) = rates.iter().position(|rate| !is_allowed(*rate)) else {
        let frozen = |rates: &[f64]| rates.iter().all(|rate| *rate == 0.0);
        return match rates.chunks_exact(each).position(frozen) {
            None => Ok(()),
            Some(run) => Err(Error::Value {
                name: format!("learning_rate[{run}]"),
                value: "0 for every layer".into(),
                allowed: "a rate above 0 for one layer or more; 0 freezes a layer".into(),
                fix: "give a layer that learns a rate above 0",
            }),
        };
    };
    let (name, allowed) = match (each, dtype) {
        (1, Dtype::Float64) => (format!("learning_rate[{place}]"), "finite numbers above 0"),
        (1, Dtype::Float32) => (
            format!("learning_rate[{place}]"),
            "numbers above 0 that float32 holds, 1e-45 to 3.4e38",
        ),
        (_, dtype) => (
            format!("learning_rate[{}, {}]", place / each, place % each),
            match dtype {
                Dtype::Float64 => "finite numbers above 0, and 0 for a layer that is frozen",
                Dtype::Float32 => {
                    "numbers above 0 that float32 holds, 1e-45 to 3.4e38, and 0 for a layer that \
                     is frozen"
                }
            },
        ),
    };
    within(&name, rates[place], is_allowed, allowed, "try 0.1")
}
