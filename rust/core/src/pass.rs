use std::sync::atomic::AtomicBool;

use pulp::Simd;

use crate::block::Block;
use crate::data::rows_of;
use crate::error::all_finite;
use crate::kernel::{load, unload, Kernel};
use crate::parallel::{for_each, share, zeros, Work};
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
    let share = share(network, runs, None);
    let tasks = weights
        .chunks(share * parameters)
        .zip(loss.chunks_mut(share))
        .zip(gradients.chunks_mut(share * parameters))
        .map(|((weights, loss), gradients)| Piece {
            weights,
            loss,
            gradients,
        })
        .collect();
    for_each(tasks, None, &OnePass { network, data })?;
    Ok(Gradients { loss, gradients })
}

/// ŷ for weights of shape (runs, parameters) and inputs of shape (rows, inputs), as an
/// array of shape (runs, rows, outputs).
///
/// # Errors
/// Weights or inputs that do not fit the network or are not finite; results beyond memory.
pub fn predict(network: &Network, x: &[f64], weights: &[f64]) -> Result<Vec<f64>> {
    let (parameters, outputs) = (network.parameters(), network.outputs());
    let runs = runs_of(network, weights)?;
    let width = rows_of(network, x)? * outputs;
    let mut predictions = zeros(runs, width)?;
    let share = share(network, runs, None);
    let tasks = weights
        .chunks(share * parameters)
        .zip(predictions.chunks_mut(share * width))
        .collect();
    for_each(tasks, None, &Forward { network, x, width })?;
    Ok(predictions)
}

/// One pass is not cancelled.
static NEVER: AtomicBool = AtomicBool::new(false);

struct OnePass<'a> {
    network: &'a Network,
    data: &'a Data<'a>,
}

struct Piece<'a> {
    weights: &'a [f64],
    loss: &'a mut [f64],
    gradients: &'a mut [f64],
}

impl<'a> Work for OnePass<'a> {
    type Task = Piece<'a>;

    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, piece: Piece<'a>) {
        let mut block = Block::new(simd, self.network, Some(self.data), &NEVER);
        let (width, parameters) = (block.width(), self.network.parameters());
        let blocks = piece
            .weights
            .chunks(width * parameters)
            .zip(piece.loss.chunks_mut(width))
            .zip(piece.gradients.chunks_mut(width * parameters));
        for ((weights, loss), gradients) in blocks {
            load(&mut block, weights, loss.len());
            block.pass();
            loss.copy_from_slice(&block.loss()[..loss.len()]);
            for (lane, run) in gradients.chunks_exact_mut(parameters).enumerate() {
                unload(block.gradients(), width, lane, run);
            }
        }
    }
}

struct Forward<'a> {
    network: &'a Network,
    x: &'a [f64],
    /// Rows × outputs.
    width: usize,
}

impl<'a> Work for Forward<'a> {
    type Task = (&'a [f64], &'a mut [f64]);

    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, (weights, predictions): Self::Task) {
        let mut block = Block::new(simd, self.network, None, &NEVER);
        let (lanes, parameters) = (block.width(), self.network.parameters());
        let outputs = self.network.outputs();
        let blocks = weights
            .chunks(lanes * parameters)
            .zip(predictions.chunks_mut(lanes * self.width));
        for (weights, predictions) in blocks {
            load(&mut block, weights, weights.len() / parameters);
            for (row, x) in self.x.chunks_exact(self.network.inputs()).enumerate() {
                let planes = block.predict(x);
                for (lane, run) in predictions.chunks_exact_mut(self.width).enumerate() {
                    unload(planes, lanes, lane, &mut run[row * outputs..][..outputs]);
                }
            }
        }
    }
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
