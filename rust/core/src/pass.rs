use std::sync::atomic::Ordering;

use pulp::{bytemuck, Simd};

use crate::arithmetic::{Arithmetic, Double, Single, EXACT};
use crate::block::{divide, Block, TILE};
use crate::data::rows_of;
use crate::error::all_finite;
use crate::kernel::{load, unload};
use crate::parallel::{for_each, share, zeros, Work};
use crate::{Data, Dtype, Error, Network, Progress, Result};

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
/// Weights that do not fit the network or are not finite; results beyond memory;
/// [`Error::Cancelled`].
pub fn gradients(
    network: &Network,
    data: &Data,
    weights: &[f64],
    progress: &Progress,
) -> Result<Gradients> {
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
    let call = Call { network, progress };
    match network.dtype() {
        Dtype::Float64 => for_each(tasks, None, &OnePass(call, data, Double::<EXACT>)),
        Dtype::Float32 => for_each(tasks, None, &OnePass(call, data, Single::<EXACT>)),
    }?;
    call.finished()?;
    Ok(Gradients { loss, gradients })
}

/// ŷ for weights of shape (runs, parameters) and inputs of shape (rows, inputs), as an
/// array of shape (runs, rows, outputs).
///
/// # Errors
/// Weights or inputs that do not fit the network or are not finite; results beyond memory;
/// [`Error::Cancelled`].
pub fn predict(
    network: &Network,
    x: &[f64],
    weights: &[f64],
    progress: &Progress,
) -> Result<Vec<f64>> {
    let (parameters, outputs) = (network.parameters(), network.outputs());
    let runs = runs_of(network, weights)?;
    let width = rows_of(network, x)? * outputs;
    let mut predictions = zeros(runs, width)?;
    let share = share(network, runs, None);
    let tasks = weights
        .chunks(share * parameters)
        .zip(predictions.chunks_mut(share * width))
        .collect();
    let call = Call { network, progress };
    match network.dtype() {
        Dtype::Float64 => for_each(tasks, None, &Forward(call, x, Double::<EXACT>)),
        Dtype::Float32 => for_each(tasks, None, &Forward(call, x, Single::<EXACT>)),
    }?;
    call.finished()?;
    Ok(predictions)
}

/// What holds for all runs.
#[derive(Clone, Copy)]
struct Call<'a> {
    network: &'a Network,
    progress: &'a Progress,
}

impl Call<'_> {
    fn is_cancelled(&self) -> bool {
        self.progress.cancel.load(Ordering::Relaxed)
    }

    fn finished(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}

struct OnePass<'a, A>(Call<'a>, &'a Data<'a>, A);

struct Piece<'a> {
    weights: &'a [f64],
    loss: &'a mut [f64],
    gradients: &'a mut [f64],
}

impl<'a, A: Arithmetic> Work for OnePass<'a, A> {
    type Task = Piece<'a>;

    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, piece: Piece<'a>) {
        let Self(call, data, _) = *self;
        let mut block = Block::<S, A>::new(simd, call.network, &call.progress.cancel);
        let (width, parameters) = (A::lanes::<S>(), call.network.parameters());
        let rows: Vec<usize> = (0..data.rows()).collect();
        let blocks = piece
            .weights
            .chunks(width * parameters)
            .zip(piece.loss.chunks_mut(width))
            .zip(piece.gradients.chunks_mut(width * parameters));
        for ((weights, loss), gradients) in blocks.take_while(|_| !call.is_cancelled()) {
            let planes = bytemuck::cast_slice_mut::<_, A::Number>(&mut block.weights);
            load(planes, width, weights, loss.len());
            block.pass(data, &rows, true);
            block.average(rows.len());
            divide::<A, S>(simd, &mut block.gradients, rows.len());
            for (loss, lane) in loss.iter_mut().zip(block.loss()) {
                *loss = (*lane).into();
            }
            let planes = bytemuck::cast_slice::<_, A::Number>(&block.gradients);
            for (lane, run) in gradients.chunks_exact_mut(parameters).enumerate() {
                unload(planes, width, lane, run);
            }
        }
    }
}

struct Forward<'a, A>(Call<'a>, &'a [f64], A);

impl<'a, A: Arithmetic> Work for Forward<'a, A> {
    type Task = (&'a [f64], &'a mut [f64]);

    #[inline(always)]
    fn run<S: Simd>(&self, simd: S, (weights, predictions): Self::Task) {
        let Self(call, x, _) = *self;
        let network = call.network;
        let mut block = Block::<S, A>::new(simd, network, &call.progress.cancel);
        let (lanes, parameters) = (A::lanes::<S>(), network.parameters());
        let (inputs, outputs) = (network.inputs(), network.outputs());
        let width = x.len() / inputs * outputs;
        let blocks = weights
            .chunks(lanes * parameters)
            .zip(predictions.chunks_mut(lanes * width));
        for (weights, predictions) in blocks {
            let runs = weights.len() / parameters;
            let planes = bytemuck::cast_slice_mut::<_, A::Number>(&mut block.weights);
            load(planes, lanes, weights, runs);
            for (tile, x) in x.chunks(TILE * inputs).enumerate() {
                if call.is_cancelled() {
                    return;
                }
                let samples = x.len() / inputs * lanes;
                let planes = block.predict(x);
                for (lane, run) in predictions.chunks_exact_mut(width).enumerate() {
                    let slots = run[tile * TILE * outputs..].chunks_exact_mut(outputs);
                    for (row, slots) in slots.take(x.len() / inputs).enumerate() {
                        for (slot, plane) in slots.iter_mut().zip(planes.chunks_exact(samples)) {
                            *slot = plane[row * lanes + lane];
                        }
                    }
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
