//! A single pass through many networks, for loss and gradients or for predictions.

use crate::data::rows_of;
use crate::kernel::{load, predictor, Number, TILE};
use crate::memory::{room, zeros};
use crate::parallel::{for_each, share};
use crate::train::runs_of;
use crate::{
    train, Data, Dtype, Machine, Network, Progress, Quantity, Record, Result, Settings, Start,
};

/// The loss and the gradients of one pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// Mean loss over the rows, shape (runs,).
    pub loss: Vec<f64>,
    /// ∂L/∂w, shape (runs, parameters).
    pub gradients: Vec<f64>,
}

/// One forward and one backward pass for weights of shape (runs, parameters): what the first
/// epoch of a training records before its update.
///
/// # Errors
/// Weights that do not fit the network or are not finite; results beyond memory;
/// [`crate::Error::Cancelled`].
pub fn gradients(
    network: &Network,
    data: &Data,
    weights: &[f64],
    machine: Machine,
    progress: &Progress,
) -> Result<Gradients> {
    // Training checks the weights.
    let runs = weights.len() / network.parameters();
    let settings = Settings {
        epochs: 1,
        record: Record::of(&[Quantity::Loss, Quantity::Gradients]),
        machine,
        ..Settings::default()
    };
    let start = Start {
        weights,
        // The updated weights are not returned.
        learning_rate: &vec![1.0; room(runs, 1)?],
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
pub fn predict(
    network: &Network,
    x: &[f64],
    weights: &[f64],
    machine: Machine,
    progress: &Progress,
) -> Result<Vec<f64>> {
    let runs = runs_of(network, weights, machine)?;
    let width = room(rows_of(network, x)?, network.outputs())?;
    let mut predictions = zeros(runs, width)?;
    let share = share(network, runs, machine);
    let shares = weights
        .chunks(share * network.parameters())
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
    fn run<N: Number>(&self, weights: &[f64], predictions: &mut [f64]) {
        let (network, x) = (self.network, self.x);
        let mut kernel = predictor::<N>(network, self.machine, self.progress);
        let (lanes, parameters) = (kernel.width(), network.parameters());
        let (inputs, outputs) = (network.inputs(), network.outputs());
        let width = x.len() / inputs * outputs;
        let blocks = weights
            .chunks(lanes * parameters)
            .zip(predictions.chunks_mut(lanes * width));
        for (weights, predictions) in blocks {
            load(kernel.weights(), lanes, weights, weights.len() / parameters);
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
