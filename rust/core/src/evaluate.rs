//! A single pass through many networks, for loss and gradients or for predictions.

use crate::data::rows_of;
use crate::kernel::{load, predictor, Number, TILE};
use crate::memory::{filled, room, zeros};
use crate::parallel::{for_each, share};
use crate::{
    train, Data, Dtype, Machine, Network, Progress, Quantity, Record, Result, Settings, Start,
    Weights,
};

/// The loss and the gradients of one pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// Mean loss over the rows, shape (runs,).
    pub loss: Vec<f64>,
    /// ∂L/∂w, shape (runs, parameters).
    pub gradients: Vec<f64>,
}

/// Refuses a call whose threads would not have the memory that they work in. What they need of
/// it is known beforehand; allocating it would end the program.
///
/// # Errors
/// [`crate::Error::OutOfMemory`].
pub fn check_memory(
    network: &Network,
    rows: usize,
    runs: usize,
    settings: &Settings,
) -> Result<()> {
    let machine = settings.machine;
    let tasks = runs.div_ceil(share(network, runs, machine));
    let threads = machine.threads().clamp(1, tasks.max(1));
    // Weights and gradients, what the optimizer remembers and the sums of mini-batches, all of it
    // once more for going back, and an epoch of each history that is recorded.
    let memory = settings.optimizer.memory(network);
    let recorded = Quantity::ALL.map(|quantity| {
        let wanted = settings.record[quantity] && quantity.is_per_parameter();
        usize::from(wanted)
    });
    // Looking at the rows of validation takes weights of its own, those of the trace and the best.
    let looks = usize::from(settings.validates());
    let planes = 4 + recorded.iter().sum::<usize>() + 4 * looks;
    let tile = network
        .neurons()
        .saturating_mul(2)
        .saturating_add(network.outputs().saturating_mul(5))
        .saturating_mul(TILE * (1 + looks));
    let block = network
        .parameters()
        .saturating_mul(planes)
        .saturating_add(memory.saturating_mul(2))
        .saturating_add(tile)
        .saturating_mul(LANES);
    let orders = 1 + 2 * usize::from(settings.batches.is_some());
    let each = block.saturating_add(rows.saturating_mul(orders));
    room(threads, each).map(drop)
}

/// Double precision numbers in the widest register.
const LANES: usize = 8;

/// One forward and one backward pass for weights of shape (runs, parameters): what the first
/// epoch of a training records before its update.
///
/// # Errors
/// Weights that do not fit the network or are not finite; results beyond memory;
/// [`crate::Error::Cancelled`].
pub fn gradients<'a>(
    network: &Network,
    data: &Data,
    weights: impl Into<Weights<'a>>,
    machine: Machine,
    progress: &Progress,
) -> Result<Gradients> {
    // Not in here: what is generic would be compiled once more where it is called.
    gradients_of(network, data, weights.into(), machine, progress)
}

fn gradients_of(
    network: &Network,
    data: &Data,
    weights: Weights,
    machine: Machine,
    progress: &Progress,
) -> Result<Gradients> {
    // Training checks the weights.
    let runs = weights.values.len() / network.parameters();
    let settings = Settings {
        epochs: 1,
        record: Record::of(&[Quantity::Loss, Quantity::Gradients]),
        machine,
        ..Settings::default()
    };
    let start = Start {
        weights: weights.values,
        hyperparameters: weights.hyperparameters(),
        // The updated weights are not returned.
        learning_rate: &filled(1.0, runs)?,
        ..Start::default()
    };
    let mut histories = train(network, data, &start, &settings, progress)?.histories;
    Ok(Gradients {
        loss: std::mem::take(&mut histories[Quantity::Loss]),
        gradients: std::mem::take(&mut histories[Quantity::Gradients]),
    })
}

/// ŷ for weights of shape (runs, parameters) and inputs of shape (rows, inputs), as an
/// array of shape (runs, rows, outputs).
///
/// # Errors
/// Weights or inputs that do not fit the network or are not finite; results beyond memory;
/// [`crate::Error::Cancelled`].
pub fn predict<'a>(
    network: &Network,
    x: &[f64],
    weights: impl Into<Weights<'a>>,
    machine: Machine,
    progress: &Progress,
) -> Result<Vec<f64>> {
    predict_of(network, x, weights.into(), machine, progress)
}

fn predict_of(
    network: &Network,
    x: &[f64],
    weights: Weights,
    machine: Machine,
    progress: &Progress,
) -> Result<Vec<f64>> {
    let runs = weights.runs(network, machine)?;
    let width = room(rows_of(network, x)?, network.outputs())?;
    let mut predictions = zeros(runs, width)?;
    let share = share(network, runs, machine);
    let shares = weights
        .chunks(share, network)
        .zip(predictions.chunks_mut(share * width))
        .collect();
    let forward = Forward {
        network,
        x,
        machine,
        progress,
    };
    for_each(shares, machine, |(weights, predictions)| {
        match network.dtype() {
            Dtype::Float32 => forward.run::<f32>(weights, predictions),
            Dtype::Float64 => forward.run::<f64>(weights, predictions),
        }
    })?;
    progress.finished()?;
    Ok(predictions)
}

/// The inputs for which all runs predict, and what predicting needs.
struct Forward<'a> {
    network: &'a Network,
    /// Shape (rows, inputs).
    x: &'a [f64],
    machine: Machine,
    progress: &'a Progress,
}

impl Forward<'_> {
    /// Predicts with weights of shape (runs, parameters), into (runs, rows, outputs).
    fn run<N: Number>(&self, weights: Weights, predictions: &mut [f64]) {
        let (network, x) = (self.network, self.x);
        let mut kernel = predictor::<N>(network, self.machine, self.progress);
        let (lanes, parameters) = (kernel.width(), network.parameters());
        let (inputs, outputs) = (network.inputs(), network.outputs());
        let width = x.len() / inputs * outputs;
        let blocks = weights
            .chunks(lanes, network)
            .zip(predictions.chunks_mut(lanes * width));
        for (weights, predictions) in blocks {
            let runs = weights.values.len() / parameters;
            load(kernel.weights(), lanes, weights.values, runs);
            weights.give_gains(network, lanes, |gains, slopes| {
                kernel.set_gains(gains, slopes);
            });
            for (tile, x) in x.chunks(TILE * inputs).enumerate() {
                if self.progress.is_cancelled() {
                    return;
                }
                let rows = x.len() / inputs;
                let planes = kernel.predict(x);
                for (lane, run) in predictions.chunks_exact_mut(width).enumerate() {
                    let slots = run[tile * TILE * outputs..].chunks_exact_mut(outputs);
                    for (row, slots) in slots.take(rows).enumerate() {
                        for (slot, plane) in slots.iter_mut().zip(planes.chunks_exact(rows * lanes))
                        {
                            *slot = plane[row * lanes + lane];
                        }
                    }
                }
            }
        }
    }
}
