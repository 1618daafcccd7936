//! Products of the Hessian of the loss with vectors, exact but for rounding, for a block of networks.
//!
//! The derivative of the whole pass, forward and backward, along a direction v of the weights
//! (Pearlmutter 1994, "Fast exact multiplication by the Hessian"). With R for that derivative,
//! and h for what a layer takes in,
//!
//! ```text
//! forward    R z = V·h + W·R h             R h' = φ'(z)·R z
//! loss       R δ = ∂²L/∂z²·R z
//! backward   (H·v) of W = R δ·hᵀ + δ·R hᵀ  R δ' = φ'(z)·(Vᵀ·δ + Wᵀ·R δ) + φ''(z)·(Wᵀ·δ)·R z
//! ```
//!
//! What does not depend on v is computed once for a tile of rows, by [`Hessian::enter`].

use std::marker::PhantomData;

use pulp::{bytemuck, Simd, WithSimd};

use super::arithmetic::{aligned, Aligned, Double, EXACT};
use super::matmul::{ColumnMajor, Matmul, Onto, RowMajor, Shared};
use super::TILE;
use crate::activation::NetworkGains;
use crate::loss::Space;
use crate::{Data, Loss, Network};

/// Each product and each sum is rounded: the same bits on every machine.
type Exact = Double<EXACT>;

/// Some rows of the data in a block of networks; a register holds a number of each run.
pub(super) struct Hessian<'a, S: Simd> {
    simd: S,
    network: &'a Network,
    gains: NetworkGains,
    pub weights: Aligned<S::f64s>,
    /// Rows of the tile.
    rows: usize,
    /// Shape (rows, inputs), shared by all runs.
    inputs: Vec<f64>,
    /// Of each neuron its rows, shape (neurons, rows), as the next; no input is in them.
    activations: Aligned<S::f64s>,
    /// φ'(z).
    derivatives: Aligned<S::f64s>,
    /// First z. Then, of hidden neurons, φ''(z) times the derivative of the loss by the
    /// activation; of outputs ∂²L/∂z².
    bends: Aligned<S::f64s>,
    /// ∂L/∂z.
    deltas: Aligned<S::f64s>,
    /// R z.
    moved: Aligned<S::f64s>,
    /// R h of hidden neurons.
    moved_activations: Aligned<S::f64s>,
    /// R δ.
    moved_deltas: Aligned<S::f64s>,
    /// Shape (outputs, rows).
    targets: Aligned<S::f64s>,
    /// Shape (rows,), as the next.
    losses: Aligned<S::f64s>,
    mass: Aligned<S::f64s>,
}

impl<'a, S: Simd> Hessian<'a, S> {
    pub fn new(simd: S, network: &'a Network) -> Self {
        let zero = simd.splat_f64s(0.0);
        let planes = || aligned(zero, network.neurons() * TILE);
        Self {
            simd,
            network,
            gains: network.gains(),
            weights: aligned(zero, network.parameters()),
            rows: 0,
            inputs: vec![0.0; network.inputs() * TILE],
            activations: planes(),
            derivatives: planes(),
            bends: planes(),
            deltas: planes(),
            moved: planes(),
            moved_activations: planes(),
            moved_deltas: planes(),
            targets: aligned(zero, network.outputs() * TILE),
            losses: aligned(zero, TILE),
            mass: aligned(zero, TILE),
        }
    }

    /// Gives the runs in the lanes gains and negative slopes of their own, shape (width,) each.
    pub fn set_gains(&mut self, gains: &[f64], slopes: &[f64]) {
        self.gains = NetworkGains::new(gains, slopes);
    }

    /// Takes up rows of the data, at most [`TILE`], at the present weights.
    #[inline(always)]
    pub fn enter(&mut self, data: &Data, first: usize, rows: usize) {
        self.rows = rows;
        let columns = self.network.inputs();
        self.inputs[..rows * columns]
            .copy_from_slice(&data.x()[first * columns..][..rows * columns]);
        for (output, targets) in self.targets.chunks_exact_mut(rows).enumerate() {
            if output < self.network.outputs() {
                for (row, target) in targets.iter_mut().enumerate() {
                    *target = self.simd.splat_f64s(data.target(first + row, output));
                }
            }
        }
        self.simd.vectorize(Enter { hessian: self });
    }

    /// Adds H·v, summed over the rows of the tile, to a result.
    #[inline(always)]
    pub fn add_product(&mut self, direction: &[S::f64s], result: &mut [S::f64s]) {
        self.simd.vectorize(Product {
            hessian: self,
            direction,
            result,
        });
    }

    #[inline(always)]
    fn forward(&mut self) {
        let (simd, rows) = (self.simd, self.rows);
        for layer in self.network.layers() {
            let weights = &self.weights[layer.weights.clone()];
            let (before, after) = self.activations.split_at_mut(layer.outputs.start * rows);
            let outputs = &mut after[..layer.outputs.len() * rows];
            let product = self::product(simd, rows, Onto::Assign);
            let left = RowMajor {
                values: weights,
                depth: layer.inputs.len(),
            };
            if layer.is_first() {
                product.of::<Exact>(left, by_rows(simd, &self.inputs, rows), outputs);
            } else {
                let right = columns(&before[layer.inputs.start * rows..], rows);
                product.of::<Exact>(left, right, outputs);
            }
            let biases = &self.weights[layer.biases.clone()];
            for (outputs, bias) in outputs.chunks_exact_mut(rows).zip(biases) {
                for z in outputs {
                    *z = simd.add_f64s(*z, *bias);
                }
            }
            if layer.hidden {
                let range = layer.outputs.start * rows..layer.outputs.end * rows;
                let bends = &mut self.bends[range.clone()];
                let derivatives = bytemuck::cast_slice_mut(&mut self.derivatives[range]);
                bends.copy_from_slice(outputs);
                let outputs = bytemuck::cast_slice_mut(outputs);
                let activation = self.network.activation();
                activation.apply(&self.gains.hidden, outputs, derivatives);
                let bends = bytemuck::cast_slice_mut(bends);
                activation.bend(&self.gains.hidden, bends, outputs, derivatives);
            }
        }
    }

    /// ∂L/∂z and ∂²L/∂z² of the outputs; z becomes ŷ.
    #[inline(always)]
    fn evaluate(&mut self) {
        let (simd, rows, count) = (self.simd, self.rows, self.network.outputs());
        let loss = self.network.loss();
        let end = self.network.neurons() * rows;
        let range = end - count * rows..end;
        let outputs = &mut self.activations[range.clone()];
        let derivatives = &mut self.derivatives[range.clone()];
        let bends = &mut self.bends[range.clone()];
        let deltas = &mut self.deltas[range];
        // The second derivative of the activation, then space for that of the loss.
        let second = &mut self.moved[..count * rows];
        second.copy_from_slice(outputs);
        bends.copy_from_slice(outputs);
        let activation = self.network.output_activation();
        if let Some(activation) = activation {
            let outputs = bytemuck::cast_slice_mut(outputs);
            let derivatives = bytemuck::cast_slice_mut(derivatives);
            let second = bytemuck::cast_slice_mut(second);
            activation.apply(&self.gains.outputs, outputs, derivatives);
            activation.bend(&self.gains.outputs, second, outputs, derivatives);
        }
        let mut space = Space {
            losses: bytemuck::cast_slice_mut(&mut self.losses[..rows]),
            deltas: bytemuck::cast_slice_mut(deltas),
            mass: bytemuck::cast_slice_mut(&mut self.mass[..rows]),
        };
        let targets = bytemuck::cast_slice(&self.targets[..count * rows]);
        let outputs = bytemuck::cast_slice_mut(outputs);
        loss.evaluate(outputs, targets, &mut space);
        loss.bend(bytemuck::cast_slice_mut(bends), outputs, space.mass);
        if activation.is_some() {
            let each = bends.iter_mut().zip(deltas).zip(derivatives).zip(second);
            for (((bend, delta), derivative), second) in each {
                let square = simd.mul_f64s(*derivative, *derivative);
                let own = simd.mul_f64s(*delta, *second);
                *bend = simd.add_f64s(simd.mul_f64s(*bend, square), own);
                *delta = simd.mul_f64s(*delta, *derivative);
            }
        }
    }

    #[inline(always)]
    fn backward(&mut self) {
        let (simd, rows) = (self.simd, self.rows);
        for layer in self.network.layers().iter().rev() {
            if layer.is_first() {
                continue;
            }
            let (before, after) = self.deltas.split_at_mut(layer.outputs.start * rows);
            let below = &mut before[layer.inputs.start * rows..];
            let left = columns(&self.weights[layer.weights.clone()], layer.inputs.len());
            let right = columns(&after[..layer.outputs.len() * rows], rows);
            product(simd, rows, Onto::Assign).of::<Exact>(left, right, below);
            let range = layer.inputs.start * rows..layer.inputs.end * rows;
            let derivatives = &self.derivatives[range.clone()];
            let bends = &mut self.bends[range];
            for ((delta, derivative), bend) in below.iter_mut().zip(derivatives).zip(bends) {
                *bend = simd.mul_f64s(*bend, *delta);
                *delta = simd.mul_f64s(*derivative, *delta);
            }
        }
    }

    /// R z, R h and, of the outputs, R δ.
    #[inline(always)]
    fn forward_along(&mut self, direction: &[S::f64s]) {
        let (simd, rows) = (self.simd, self.rows);
        for layer in self.network.layers() {
            let range = layer.outputs.start * rows..layer.outputs.end * rows;
            let moved = &mut self.moved[range.clone()];
            let depth = layer.inputs.len();
            let along = RowMajor {
                values: &direction[layer.weights.clone()],
                depth,
            };
            let assign = product(simd, rows, Onto::Assign);
            if layer.is_first() {
                assign.of::<Exact>(along, by_rows(simd, &self.inputs, rows), moved);
            } else {
                let inputs = layer.inputs.start * rows..layer.inputs.end * rows;
                let right = columns(&self.activations[inputs.clone()], rows);
                assign.of::<Exact>(along, right, moved);
                let weights = RowMajor {
                    values: &self.weights[layer.weights.clone()],
                    depth,
                };
                let right = columns(&self.moved_activations[inputs], rows);
                product(simd, rows, Onto::Accumulate).of::<Exact>(weights, right, moved);
            }
            let biases = &direction[layer.biases.clone()];
            for (moved, bias) in moved.chunks_exact_mut(rows).zip(biases) {
                for z in moved {
                    *z = simd.add_f64s(*z, *bias);
                }
            }
            // Of the outputs ∂²L/∂z² is what φ' is of hidden neurons.
            let (factors, results) = if layer.hidden {
                (&self.derivatives, &mut self.moved_activations)
            } else {
                (&self.bends, &mut self.moved_deltas)
            };
            let results = &mut results[range.clone()];
            let each = results.iter_mut().zip(&factors[range.clone()]).zip(&*moved);
            if !layer.hidden && self.network.loss() == Loss::SoftmaxCrossEntropy {
                coupled(
                    simd,
                    rows,
                    results,
                    &factors[range.clone()],
                    &self.activations[range],
                    moved,
                );
                continue;
            }
            for ((result, factor), z) in each {
                *result = simd.mul_f64s(*factor, *z);
            }
        }
    }

    /// The remaining R δ, and H·v.
    #[inline(always)]
    fn backward_along(&mut self, direction: &[S::f64s], result: &mut [S::f64s]) {
        let (simd, rows) = (self.simd, self.rows);
        for layer in self.network.layers().iter().rev() {
            let (from, to) = (layer.inputs.len(), layer.outputs.len());
            let outputs = layer.outputs.start * rows..layer.outputs.end * rows;
            let inputs = layer.inputs.start * rows..layer.inputs.end * rows;
            let deltas = &self.deltas[outputs.clone()];
            let (before, after) = self.moved_deltas.split_at_mut(outputs.start);
            let moved_deltas = &after[..to * rows];
            let sum = product(simd, from, Onto::Accumulate);
            let own = &mut result[layer.weights.clone()];
            if layer.is_first() {
                let right = columns(&self.inputs[..rows * from], from);
                sum.of::<Exact>(along_rows(moved_deltas, rows), shared(simd, right), own);
            } else {
                let activations = along_rows(&self.activations[inputs.clone()], rows);
                sum.of::<Exact>(along_rows(moved_deltas, rows), activations, own);
                let moved = along_rows(&self.moved_activations[inputs.clone()], rows);
                sum.of::<Exact>(along_rows(deltas, rows), moved, own);
            }
            let biases = result[layer.biases.clone()].iter_mut();
            for (bias, deltas) in biases.zip(moved_deltas.chunks_exact(rows)) {
                for delta in deltas {
                    *bias = simd.add_f64s(*bias, *delta);
                }
            }
            if layer.is_first() {
                continue;
            }
            let below = &mut before[inputs.clone()];
            let along = columns(&direction[layer.weights.clone()], from);
            product(simd, rows, Onto::Assign).of::<Exact>(along, columns(deltas, rows), below);
            let weights = columns(&self.weights[layer.weights.clone()], from);
            let right = columns(moved_deltas, rows);
            product(simd, rows, Onto::Accumulate).of::<Exact>(weights, right, below);
            let own = self.derivatives[inputs.clone()]
                .iter()
                .zip(&self.bends[inputs.clone()]);
            for ((delta, (derivative, bend)), moved) in
                below.iter_mut().zip(own).zip(&self.moved[inputs])
            {
                let bent = simd.mul_f64s(*bend, *moved);
                *delta = simd.add_f64s(simd.mul_f64s(*derivative, *delta), bent);
            }
        }
    }
}

/// R δ of a softmax: of output i the mass times pᵢ·Σⱼ pⱼ·(R zᵢ − R zⱼ), which keeps its digits
/// where one class is nearly certain. The factors are the mass times p.
#[inline(always)]
fn coupled<S: Simd>(
    simd: S,
    rows: usize,
    results: &mut [S::f64s],
    factors: &[S::f64s],
    shares: &[S::f64s],
    moved: &[S::f64s],
) {
    for (index, result) in results.iter_mut().enumerate() {
        let others = shares[index % rows..].iter().step_by(rows);
        let mut sum = simd.splat_f64s(0.0);
        for (share, other) in others.zip(moved[index % rows..].iter().step_by(rows)) {
            let apart = simd.sub_f64s(moved[index], *other);
            sum = simd.add_f64s(sum, simd.mul_f64s(*share, apart));
        }
        *result = simd.mul_f64s(factors[index], sum);
    }
}

#[inline(always)]
fn product<S: Simd>(simd: S, columns: usize, onto: Onto) -> Matmul<S> {
    Matmul {
        simd,
        columns,
        onto,
    }
}

#[inline(always)]
fn columns<V>(values: &[V], count: usize) -> ColumnMajor<'_, V> {
    ColumnMajor { values, count }
}

#[inline(always)]
fn along_rows<V>(values: &[V], rows: usize) -> RowMajor<'_, V> {
    RowMajor {
        values,
        depth: rows,
    }
}

/// The inputs of a tile, row by row.
#[inline(always)]
fn by_rows<S: Simd>(simd: S, inputs: &[f64], rows: usize) -> Shared<S, Exact, RowMajor<'_, f64>> {
    let depth = inputs.len() / TILE;
    let values = &inputs[..rows * depth];
    shared(simd, RowMajor { values, depth })
}

#[inline(always)]
fn shared<S: Simd, F>(simd: S, factor: F) -> Shared<S, Exact, F> {
    Shared {
        simd,
        arithmetic: PhantomData,
        factor,
    }
}

/// What a tile needs before the first product, compiled once for an instruction set.
struct Enter<'h, 'a, S: Simd> {
    hessian: &'h mut Hessian<'a, S>,
}

impl<S: Simd> WithSimd for Enter<'_, '_, S> {
    type Output = ();

    #[inline(always)]
    fn with_simd<T: Simd>(self, _: T) {
        self.hessian.forward();
        self.hessian.evaluate();
        self.hessian.backward();
    }
}

/// A product, compiled once for an instruction set.
struct Product<'h, 'a, 'v, S: Simd> {
    hessian: &'h mut Hessian<'a, S>,
    direction: &'v [S::f64s],
    result: &'v mut [S::f64s],
}

impl<S: Simd> WithSimd for Product<'_, '_, '_, S> {
    type Output = ();

    #[inline(always)]
    fn with_simd<T: Simd>(self, _: T) {
        self.hessian.forward_along(self.direction);
        self.hessian.backward_along(self.direction, self.result);
    }
}
