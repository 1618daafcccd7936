use crate::data::rows_of;
use crate::error::all_finite;
use crate::kernel::{Block, LANES};
use crate::parallel::{for_each, share, zeros};
use crate::{Data, Error, Network, Result};

/// Loss and gradients of one pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// Mean loss over the rows, shape (runs,).
    pub loss: Vec<f64>,
    /// ∂L/∂w, shape (runs, parameters).
    pub gradients: Vec<f64>,
}

/// One forward and one backward pass for weights of shape (runs, parameters).
///
/// # Errors
/// Weights that do not fit the network or are not finite; results beyond memory.
pub fn gradients(network: &Network, data: &Data, weights: &[f64]) -> Result<Gradients> {
    let parameters = network.parameters();
    let runs = runs_of(network, weights)?;
    let mut loss = zeros(runs, 1)?;
    let mut gradients = zeros(runs, parameters)?;
    let share = share(runs, None);
    let tasks = weights
        .chunks(share * parameters)
        .zip(loss.chunks_mut(share))
        .zip(gradients.chunks_mut(share * parameters))
        .collect();
    for_each(
        tasks,
        None,
        #[inline(always)]
        |((weights, loss), gradients)| {
            let mut block = Block::new(network);
            let blocks = weights
                .chunks(LANES * parameters)
                .zip(loss.chunks_mut(LANES))
                .zip(gradients.chunks_mut(LANES * parameters));
            for ((weights, loss), gradients) in blocks {
                block.load(weights);
                block.pass(data);
                loss.copy_from_slice(&block.loss[..loss.len()]);
                for (lane, run) in gradients.chunks_exact_mut(parameters).enumerate() {
                    for (value, gradient) in run.iter_mut().zip(&block.gradients) {
                        *value = gradient[lane];
                    }
                }
            }
        },
    )?;
    Ok(Gradients { loss, gradients })
}

/// ŷ for weights of shape (runs, parameters) and inputs of shape (rows, inputs), as an
/// array of shape (runs, rows, outputs).
///
/// # Errors
/// Weights or inputs that do not fit the network or are not finite; results beyond memory.
pub fn predict(network: &Network, x: &[f64], weights: &[f64]) -> Result<Vec<f64>> {
    let (parameters, inputs, outputs) = (network.parameters(), network.inputs(), network.outputs());
    let runs = runs_of(network, weights)?;
    let width = rows_of(network, x)? * outputs;
    let mut predictions = zeros(runs, width)?;
    let share = share(runs, None);
    let tasks = weights
        .chunks(share * parameters)
        .zip(predictions.chunks_mut(share * width))
        .collect();
    for_each(
        tasks,
        None,
        #[inline(always)]
        |(weights, predictions)| {
            let mut block = Block::new(network);
            let blocks = weights
                .chunks(LANES * parameters)
                .zip(predictions.chunks_mut(LANES * width));
            for (weights, predictions) in blocks {
                block.load(weights);
                for (row, x) in x.chunks_exact(inputs).enumerate() {
                    let outputs = block.forward(x);
                    for (lane, run) in predictions.chunks_exact_mut(width).enumerate() {
                        for (index, output) in outputs.iter().enumerate() {
                            run[row * outputs.len() + index] = output[lane];
                        }
                    }
                }
            }
        },
    )?;
    Ok(predictions)
}

/// How many runs the weights hold, after checking them.
pub(crate) fn runs_of(network: &Network, weights: &[f64]) -> Result<usize> {
    let parameters = network.parameters();
    if !weights.len().is_multiple_of(parameters) {
        return Err(Error::Shape {
            name: "weights",
            found: format!("{} values", weights.len()),
            allowed: format!("{parameters} parameters for each run"),
            fix: "give one value per parameter of the network",
        });
    }
    all_finite("weights", weights, parameters)?;
    Ok(weights.len() / parameters)
}
