//! Forward and backward through a block of networks of any shape.
//!
//! A register holds a number of every run of the block. Some rows of the data go through
//! together, so that a weight is fetched once for all of them; every sum keeps the order
//! that it has in plain code.

use std::marker::PhantomData;

use pulp::{bytemuck, Simd, WithSimd};

use super::arithmetic::{aligned, Aligned, Arithmetic, Number};
use super::matmul::{ColumnMajor, Matmul, Onto, RowMajor, Shared};
use super::{Predictor, TILE};
use crate::activation::{Gains, NetworkGains};
use crate::data::class_of;
use crate::loss::Space;
use crate::{Activation, Data, Loss, Network, Progress};
/// The number of rows after which a pass checks again whether it was cancelled, and after which
/// gradients in single precision are added up in double precision.
const PATIENCE: usize = 64;

/// The numbers of one block, allocated once and used for every pass.
pub(crate) struct Workspace<'a, S: Simd, A: Arithmetic> {
    simd: S,
    network: &'a Network,
    progress: &'a Progress,
    gains: NetworkGains,
    pub weights: Aligned<A::Vector<S>>,
    /// ∂L/∂w, summed over the rows of a pass.
    pub gradients: Aligned<A::Vector<S>>,
    /// The same in double precision, where `gradients` are not: of all rows but the last ones.
    gradient_sums: Vec<f64>,
    loss: A::Vector<S>,
    prediction: A::Vector<S>,
    /// Over the rows so far, shape (lanes,) each.
    loss_sums: Vec<f64>,
    prediction_sums: Vec<f64>,
    /// The inputs of the tile, which all runs share; shape (rows, inputs).
    inputs: Vec<A::Number>,
    /// Of each neuron its rows, shape (neurons, rows), as the next; no input is in them.
    activations: Aligned<A::Vector<S>>,
    /// ∂L/∂z; of hidden neurons φ'(z) on the way forward.
    deltas: Aligned<A::Vector<S>>,
    /// What the loss is computed from, in double precision.
    outputs: Vec<f64>,
    targets: Vec<f64>,
    losses: Vec<f64>,
    output_deltas: Vec<f64>,
    /// ∂ŷ/∂z, where the outputs have an activation; else empty.
    output_derivatives: Vec<f64>,
    mass: Vec<f64>,
}

impl<'a, S: Simd, A: Arithmetic> Workspace<'a, S, A> {
    /// Whether numbers are in single precision: sums over many of them are taken in double.
    const SINGLE: bool = size_of::<A::Number>() < size_of::<f64>();

    /// A pass that is cancelled ends early, and its results are not used.
    pub fn new(simd: S, network: &'a Network, progress: &'a Progress) -> Self {
        let zero = A::splat(simd, 0.0);
        let samples = TILE * A::lanes::<S>();
        let activations = aligned(zero, network.neurons() * TILE);
        let outputs = vec![0.0; network.outputs() * samples];
        Self {
            simd,
            network,
            progress,
            gains: network.gains(),
            weights: aligned(zero, network.parameters()),
            gradients: aligned(zero, network.parameters()),
            gradient_sums: if Self::SINGLE {
                vec![0.0; network.parameters() * A::lanes::<S>()]
            } else {
                Vec::new()
            },
            loss: zero,
            prediction: zero,
            loss_sums: vec![0.0; A::lanes::<S>()],
            prediction_sums: vec![0.0; A::lanes::<S>()],
            inputs: vec![A::Number::rounded(0.0); network.inputs() * TILE],
            deltas: activations.clone(),
            activations,
            targets: outputs.clone(),
            output_deltas: outputs.clone(),
            output_derivatives: match network.output_activation() {
                Some(_) => outputs.clone(),
                None => Vec::new(),
            },
            outputs,
            losses: vec![0.0; samples],
            mass: vec![0.0; samples],
        }
    }

    /// Gives the runs in the lanes gains and negative slopes of their own, shape (width,) each.
    pub fn set_gains(&mut self, gains: &[f64], slopes: &[f64]) {
        self.gains = NetworkGains::new(gains, slopes);
    }

    /// Puts a row of inputs beside the others.
    #[inline(always)]
    fn enter(&mut self, row: usize, x: &[f64]) {
        let inputs = &mut self.inputs[row * x.len()..];
        for (input, value) in inputs.iter_mut().zip(x) {
            *input = A::Number::rounded(*value);
        }
    }

    /// Computes the z of the outputs; every hidden neuron keeps its activation.
    #[inline(always)]
    fn forward(&mut self, rows: usize) {
        let simd = self.simd;
        for layer in self.network.layers() {
            let (before, after) = self.activations.split_at_mut(layer.outputs.start * rows);
            let outputs = &mut after[..layer.outputs.len() * rows];
            let depth = layer.inputs.len();
            let weights = RowMajor {
                values: &self.weights[layer.weights.clone()],
                depth,
            };
            let product = Matmul {
                simd,
                columns: rows,
                onto: Onto::Assign,
            };
            if layer.is_first() {
                let values = &self.inputs[..rows * depth];
                let inputs = shared::<A, S, _>(simd, RowMajor { values, depth });
                product.of::<A>(weights, inputs, outputs);
            } else {
                let inputs = ColumnMajor {
                    values: &before[layer.inputs.start * rows..],
                    count: rows,
                };
                product.of::<A>(weights, inputs, outputs);
            }
            let biases = &self.weights[layer.biases.clone()];
            for (outputs, bias) in outputs.chunks_exact_mut(rows).zip(biases) {
                for z in outputs {
                    *z = A::add(simd, *z, *bias);
                }
            }
            if layer.hidden {
                let derivatives = &mut self.deltas[layer.outputs.start * rows..][..outputs.len()];
                A::Number::activate(
                    simd,
                    (self.network.activation(), &self.gains.hidden),
                    bytemuck::cast_slice_mut(outputs),
                    bytemuck::cast_slice_mut(derivatives),
                );
            }
        }
    }

    /// The ŷ of the outputs in double precision, or z where the loss turns it into ŷ; and space
    /// for their loss.
    #[inline(always)]
    fn criterion(&mut self, rows: usize) -> (&mut [f64], Space<'_>) {
        let samples = rows * A::lanes::<S>();
        let count = self.network.outputs();
        let start = self.network.neurons() - count;
        let z = &self.activations[start * rows..][..count * rows];
        let outputs = &mut self.outputs[..count * samples];
        for (wide, z) in outputs
            .iter_mut()
            .zip(bytemuck::cast_slice::<_, A::Number>(z))
        {
            *wide = (*z).into();
        }
        if let Some(activation) = self.network.output_activation() {
            self.simd.vectorize(Activate {
                activation,
                gains: &self.gains.outputs,
                outputs,
                derivatives: &mut self.output_derivatives,
            });
        }
        let space = Space {
            losses: &mut self.losses[..samples],
            deltas: &mut self.output_deltas[..count * samples],
            mass: &mut self.mass[..samples],
        };
        (outputs, space)
    }

    /// Adds up losses and predictions of some rows, and sets ∂L/∂z of the outputs.
    #[inline(always)]
    fn evaluate(&mut self, data: &Data, rows: &[usize], fresh: bool) {
        let (simd, lanes, count) = (self.simd, A::lanes::<S>(), self.network.outputs());
        let samples = rows.len() * lanes;
        let mut targets = std::mem::take(&mut self.targets);
        for (targets, output) in targets.chunks_exact_mut(samples).zip(0..count) {
            for (targets, row) in targets.chunks_exact_mut(lanes).zip(rows) {
                targets.fill(data.target(*row, output));
            }
        }
        let loss = self.network.loss();
        let (outputs, mut space) = self.criterion(rows.len());
        simd.vectorize(Evaluate {
            loss,
            outputs,
            targets: &targets[..count * samples],
            space: &mut space,
        });
        self.targets = targets;
        // Empty without an activation.
        for (delta, derivative) in self.output_deltas.iter_mut().zip(&self.output_derivatives) {
            *delta *= derivative;
        }
        let start = (self.network.neurons() - count) * rows.len();
        let deltas = &mut self.deltas[start..][..count * rows.len()];
        let deltas = bytemuck::cast_slice_mut::<_, A::Number>(deltas);
        for (delta, wide) in deltas.iter_mut().zip(&self.output_deltas) {
            *delta = A::Number::rounded(*wide);
        }
        // A sum starts with its first term: 0 + x would lose the sign of −0.
        for row in 0..rows.len() {
            for output in 0..count {
                let at = (output * rows.len() + row) * lanes;
                let begins = fresh && row == 0 && output == 0;
                accumulate(&mut self.prediction_sums, &self.outputs[at..], begins);
            }
            let losses = &self.losses[row * lanes..];
            accumulate(&mut self.loss_sums, losses, fresh && row == 0);
        }
    }

    /// The chain rule, from the last layer to the first: ∂L/∂w of each layer is its
    /// delta times its input, and the delta of the layer before is the sum of the
    /// deltas times the weights that lead to it, times the derivative of its activation.
    #[inline(always)]
    fn backward(&mut self, rows: usize, fresh: bool) {
        let simd = self.simd;
        for layer in self.network.layers().iter().rev() {
            let (from, to) = (layer.inputs.len(), layer.outputs.len());
            let (before, after) = self.deltas.split_at_mut(layer.outputs.start * rows);
            let deltas = &after[..to * rows];
            let along_rows = |values| RowMajor {
                values,
                depth: rows,
            };
            let product = Matmul {
                simd,
                columns: from,
                onto: if fresh {
                    Onto::Assign
                } else {
                    Onto::Accumulate
                },
            };
            let gradients = &mut self.gradients[layer.weights.clone()];
            if layer.is_first() {
                let inputs = ColumnMajor {
                    values: &self.inputs[..rows * from],
                    count: from,
                };
                let inputs = shared::<A, S, _>(simd, inputs);
                product.of::<A>(along_rows(deltas), inputs, gradients);
            } else {
                let inputs = &self.activations[layer.inputs.start * rows..][..from * rows];
                product.of::<A>(along_rows(deltas), along_rows(inputs), gradients);
            }
            let biases = self.gradients[layer.biases.clone()].iter_mut();
            for (gradient, deltas) in biases.zip(deltas.chunks_exact(rows)) {
                let mut sum = if fresh {
                    deltas[0]
                } else {
                    A::add(simd, *gradient, deltas[0])
                };
                for delta in &deltas[1..] {
                    sum = A::add(simd, sum, *delta);
                }
                *gradient = sum;
            }
            if !layer.is_first() {
                let before = &mut before[layer.inputs.start * rows..][..from * rows];
                let weights = ColumnMajor {
                    values: &self.weights[layer.weights.clone()],
                    count: from,
                };
                let deltas = ColumnMajor {
                    values: deltas,
                    count: rows,
                };
                let product = Matmul {
                    simd,
                    columns: rows,
                    onto: Onto::Scale,
                };
                // A product, not a selection: the sign of a zero is the guide's.
                product.of::<A>(weights, deltas, before);
            }
        }
    }

    /// Sums of loss, prediction and gradients at the present weights over some rows: loss
    /// and prediction go on from the pass before unless they are `fresh`.
    #[inline(always)]
    pub fn pass(&mut self, data: &Data, rows: &[usize], fresh: bool) {
        for (index, tile) in rows.chunks(TILE).enumerate() {
            let due = index > 0 && (index * TILE).is_multiple_of(PATIENCE);
            if due && self.progress.is_cancelled() {
                return;
            }
            for (place, row) in tile.iter().enumerate() {
                self.enter(place, data.inputs(*row));
            }
            self.simd.vectorize(Forward {
                workspace: self,
                rows: tile.len(),
            });
            self.evaluate(data, tile, fresh && index == 0);
            let begins = index == 0 || Self::SINGLE && due;
            if begins && index > 0 {
                self.put_aside(index * TILE == PATIENCE);
            }
            self.backward(tile.len(), begins);
        }
        if Self::SINGLE && rows.len() > PATIENCE {
            self.put_aside(false);
            let gradients = bytemuck::cast_slice_mut::<_, A::Number>(&mut self.gradients);
            for (gradient, sum) in gradients.iter_mut().zip(&self.gradient_sums) {
                *gradient = A::Number::rounded(*sum);
            }
        }
    }

    /// Adds the gradients of the last rows to the sums in double precision.
    #[inline(always)]
    fn put_aside(&mut self, begins: bool) {
        let gradients = bytemuck::cast_slice::<_, A::Number>(&self.gradients);
        for (sum, gradient) in self.gradient_sums.iter_mut().zip(gradients) {
            let gradient: f64 = (*gradient).into();
            *sum = if begins { gradient } else { *sum + gradient };
        }
    }

    /// Counts the runs that give rows their class, NaN for a run with an output that is.
    #[inline(always)]
    fn count_right(&self, rows: &[usize], classes: &[Option<usize>], right: &mut [f64]) {
        let (lanes, count) = (A::lanes::<S>(), self.network.outputs());
        for (lane, right) in right.iter_mut().enumerate() {
            for (place, row) in rows.iter().enumerate() {
                let output = |index| self.outputs[(index * rows.len() + place) * lanes + lane];
                *right += match class_of((0..count).map(output)) {
                    None => f64::NAN,
                    class if class == classes[*row] => 1.0,
                    _ => 0.0,
                };
            }
        }
    }

    /// Divides the sums of loss and prediction by the number of rows.
    #[inline(always)]
    pub fn average(&mut self, rows: usize) {
        let outputs = rows * self.network.outputs();
        self.loss = quotient::<A, S>(self.simd, &self.loss_sums, rows);
        self.prediction = quotient::<A, S>(self.simd, &self.prediction_sums, outputs);
    }

    /// The loss L, shape (width,).
    pub fn loss(&self) -> &[A::Number] {
        bytemuck::cast_slice(std::slice::from_ref(&self.loss))
    }

    /// The mean of ŷ, shape (width,).
    pub fn prediction(&self) -> &[A::Number] {
        bytemuck::cast_slice(std::slice::from_ref(&self.prediction))
    }
}

/// Divides sums by the number of rows.
#[inline(always)]
pub(crate) fn divide<A: Arithmetic, S: Simd>(simd: S, sums: &mut [A::Vector<S>], by: usize) {
    if by > 1 {
        let by = A::splat(simd, by as f64);
        for sum in sums {
            *sum = A::div(simd, *sum, by);
        }
    }
}

#[inline(always)]
fn shared<A: Arithmetic, S: Simd, F>(simd: S, factor: F) -> Shared<S, A, F> {
    Shared {
        simd,
        arithmetic: PhantomData,
        factor,
    }
}

/// Adds values to sums, or begins the sums with them.
#[inline(always)]
fn accumulate(sums: &mut [f64], values: &[f64], begins: bool) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = if begins { *value } else { *sum + value };
    }
}

/// Sums divided by a count, rounded to the numbers of a register.
#[inline(always)]
fn quotient<A: Arithmetic, S: Simd>(simd: S, sums: &[f64], by: usize) -> A::Vector<S> {
    let mut vector = [A::splat(simd, 0.0)];
    let lanes = bytemuck::cast_slice_mut::<_, A::Number>(&mut vector);
    for (lane, sum) in lanes.iter_mut().zip(sums) {
        *lane = A::Number::rounded(if by > 1 { *sum / by as f64 } else { *sum });
    }
    vector[0]
}

/// A call of [`Workspace::forward`], compiled once for an instruction set: training and
/// prediction share it.
struct Forward<'w, 'a, S: Simd, A: Arithmetic> {
    workspace: &'w mut Workspace<'a, S, A>,
    rows: usize,
}

impl<S: Simd, A: Arithmetic> WithSimd for Forward<'_, '_, S, A> {
    type Output = ();

    #[inline(always)]
    fn with_simd<T: Simd>(self, _: T) {
        self.workspace.forward(self.rows);
    }
}

/// The activation of the outputs, in double precision, compiled once for an instruction set.
struct Activate<'e> {
    activation: Activation,
    gains: &'e Gains,
    outputs: &'e mut [f64],
    derivatives: &'e mut [f64],
}

impl WithSimd for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.activation
            .apply(self.gains, self.outputs, self.derivatives);
    }
}

/// A loss, which is defined in double precision, compiled once for an instruction set.
struct Evaluate<'e, 's> {
    loss: Loss,
    outputs: &'e mut [f64],
    targets: &'e [f64],
    space: &'e mut Space<'s>,
}

impl WithSimd for Evaluate<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.loss.evaluate(self.outputs, self.targets, self.space);
    }
}

/// A call of [`Predictor::predict`], compiled for an instruction set.
struct Predict<'w, 'a, S: Simd, A: Arithmetic> {
    workspace: &'w mut Workspace<'a, S, A>,
    rows: usize,
}

impl<S: Simd, A: Arithmetic> WithSimd for Predict<'_, '_, S, A> {
    type Output = ();

    #[inline(always)]
    fn with_simd<T: Simd>(self, _: T) {
        let loss = self.workspace.network.loss();
        let (outputs, mut space) = self.workspace.criterion(self.rows);
        loss.predict(outputs, &mut space);
    }
}

/// A call of [`Predictor::measure`], compiled for an instruction set.
struct Measure<'w, 'a, 'd, S: Simd, A: Arithmetic> {
    workspace: &'w mut Workspace<'a, S, A>,
    data: &'d Data<'d>,
    classes: &'d [Option<usize>],
    accuracy: &'d mut [f64],
}

impl<S: Simd, A: Arithmetic> WithSimd for Measure<'_, '_, '_, S, A> {
    type Output = ();

    #[inline(always)]
    fn with_simd<T: Simd>(self, _: T) {
        let Self {
            workspace,
            data,
            classes,
            accuracy,
        } = self;
        accuracy.fill(0.0);
        for first in (0..data.rows()).step_by(TILE) {
            if first.is_multiple_of(PATIENCE) && workspace.progress.is_cancelled() {
                return;
            }
            let tile: [usize; TILE] = std::array::from_fn(|place| first + place);
            let rows = &tile[..TILE.min(data.rows() - first)];
            for (place, row) in rows.iter().enumerate() {
                workspace.enter(place, data.inputs(*row));
            }
            workspace.simd.vectorize(Forward {
                workspace,
                rows: rows.len(),
            });
            workspace.evaluate(data, rows, first == 0);
            workspace.count_right(rows, classes, accuracy);
        }
        workspace.average(data.rows());
        for share in accuracy {
            *share /= data.rows() as f64;
        }
    }
}

impl<S: Simd, A: Arithmetic> Predictor<A::Number> for Workspace<'_, S, A> {
    fn width(&self) -> usize {
        A::lanes::<S>()
    }

    fn weights(&mut self) -> &mut [A::Number] {
        bytemuck::cast_slice_mut(&mut self.weights)
    }

    fn set_gains(&mut self, gains: &[f64], slopes: &[f64]) {
        Workspace::set_gains(self, gains, slopes);
    }

    fn predict(&mut self, x: &[f64]) -> &[f64] {
        let (simd, inputs) = (self.simd, self.network.inputs());
        let rows = x.len() / inputs;
        for (row, x) in x.chunks_exact(inputs).enumerate() {
            self.enter(row, x);
        }
        simd.vectorize(Forward {
            workspace: self,
            rows,
        });
        simd.vectorize(Predict {
            workspace: self,
            rows,
        });
        &self.outputs[..self.network.outputs() * rows * A::lanes::<S>()]
    }

    fn measure(
        &mut self,
        data: &Data,
        classes: &[Option<usize>],
        loss: &mut [f64],
        accuracy: &mut [f64],
    ) {
        let simd = self.simd;
        simd.vectorize(Measure {
            workspace: self,
            data,
            classes,
            accuracy,
        });
        for (loss, own) in loss.iter_mut().zip(self.loss()) {
            *loss = (*own).into();
        }
    }
}
