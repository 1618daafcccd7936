//! One pass through a block of networks of any shape, one vector register a number.

use std::sync::atomic::{AtomicBool, Ordering};

use pulp::{bytemuck, Simd};

use crate::kernel::{all_at_most, all_finite, Kernel, Trace};
use crate::{Data, Network};

/// Rows between two looks at whether to go on.
const ROWS: usize = 64;

/// The numbers of one block, allocated once and used for every epoch.
pub(crate) struct Block<'a, S: Simd> {
    simd: S,
    network: &'a Network,
    data: Option<&'a Data<'a>>,
    cancel: &'a AtomicBool,
    weights: Vec<S::f64s>,
    gradients: Vec<S::f64s>,
    loss: S::f64s,
    prediction: S::f64s,
    neurons: Vec<S::f64s>,
    /// φ'(z) of the hidden neurons.
    slopes: Vec<S::f64s>,
    deltas: Vec<S::f64s>,
}

impl<'a, S: Simd> Block<'a, S> {
    /// A pass that is cancelled ends early, with nothing of use.
    pub fn new(
        simd: S,
        network: &'a Network,
        data: Option<&'a Data<'a>>,
        cancel: &'a AtomicBool,
    ) -> Self {
        let zero = simd.splat_f64s(0.0);
        Self {
            simd,
            network,
            data,
            cancel,
            weights: vec![zero; network.parameters()],
            gradients: vec![zero; network.parameters()],
            loss: zero,
            prediction: zero,
            neurons: vec![zero; network.neurons()],
            slopes: vec![zero; network.neurons()],
            deltas: vec![zero; network.neurons()],
        }
    }

    /// The outputs ŷ for one row of inputs, shape (outputs, width).
    #[inline(always)]
    pub fn predict(&mut self, x: &[f64]) -> &[f64] {
        self.forward(x);
        let start = self.neurons.len() - self.network.outputs();
        let (outputs, scratch) = (&mut self.neurons[start..], &mut self.deltas[start..]);
        self.network.loss().predict(self.simd, outputs, scratch);
        bytemuck::cast_slice(outputs)
    }

    /// The z of the outputs for one row of inputs; every hidden neuron keeps its activation.
    #[inline(always)]
    fn forward(&mut self, x: &[f64]) {
        let simd = self.simd;
        for (neuron, value) in self.neurons.iter_mut().zip(x) {
            *neuron = simd.splat_f64s(*value);
        }
        for layer in self.network.layers() {
            let (before, after) = self.neurons.split_at_mut(layer.outputs.start);
            let inputs = &before[layer.inputs.clone()];
            let outputs = &mut after[..layer.outputs.len()];
            let weights = &self.weights[layer.weights.clone()];
            for (z, row) in outputs.iter_mut().zip(weights.chunks_exact(inputs.len())) {
                *z = dot(simd, row, inputs);
            }
            for (z, bias) in outputs.iter_mut().zip(&self.weights[layer.biases.clone()]) {
                *z = simd.add_f64s(*z, *bias);
            }
            if layer.hidden {
                let slopes = &mut self.slopes[layer.outputs.clone()];
                let slopes = bytemuck::cast_slice_mut(slopes);
                self.network
                    .activate(bytemuck::cast_slice_mut(outputs), slopes);
            }
        }
    }

    /// Add up the loss and the predictions of one row, and set ∂L/∂z of the outputs.
    #[inline(always)]
    fn evaluate(&mut self, y: &[f64], first_row: bool) {
        let simd = self.simd;
        let start = self.neurons.len() - y.len();
        let (outputs, deltas) = (&mut self.neurons[start..], &mut self.deltas[start..]);
        let loss = self.network.loss().evaluate(simd, outputs, y, deltas);
        // A sum starts with its first term: 0 + x would lose the sign of −0.
        let first = if first_row {
            outputs[0]
        } else {
            simd.add_f64s(self.prediction, outputs[0])
        };
        self.loss = if first_row {
            loss
        } else {
            simd.add_f64s(self.loss, loss)
        };
        self.prediction = outputs[1..]
            .iter()
            .fold(first, |sum, output| simd.add_f64s(sum, *output));
    }

    /// The chain rule, from the last layer to the first: ∂L/∂w of each layer is its
    /// delta times its input, and the delta of the layer before is the sum of the
    /// deltas times the weights that lead to it, times the derivative of its activation.
    #[inline(always)]
    fn backward(&mut self, first_row: bool) {
        let simd = self.simd;
        for layer in self.network.layers().iter().rev() {
            let inputs = &self.neurons[layer.inputs.clone()];
            let weights = &self.weights[layer.weights.clone()];
            let gradients = &mut self.gradients[layer.weights.clone()];
            let (before, after) = self.deltas.split_at_mut(layer.outputs.start);
            let deltas = &after[..layer.outputs.len()];
            for (delta, row) in deltas.iter().zip(gradients.chunks_exact_mut(inputs.len())) {
                add_products(simd, row, *delta, inputs, first_row);
            }
            for (gradient, delta) in self.gradients[layer.biases.clone()].iter_mut().zip(deltas) {
                *gradient = if first_row {
                    *delta
                } else {
                    simd.add_f64s(*gradient, *delta)
                };
            }
            if layer.weights.start > 0 {
                let before = &mut before[layer.inputs.clone()];
                let rows = weights.chunks_exact(before.len());
                for (index, (delta, row)) in deltas.iter().zip(rows).enumerate() {
                    add_products(simd, before, *delta, row, index == 0);
                }
                // A product, not a selection: the sign of a zero is the guide's.
                for (delta, slope) in before.iter_mut().zip(&self.slopes[layer.inputs.clone()]) {
                    *delta = simd.mul_f64s(*delta, *slope);
                }
            }
        }
    }

    /// Loss, prediction and gradients at the present weights: the mean of the rows.
    #[inline(always)]
    pub fn pass(&mut self) {
        let Some(data) = self.data else { return };
        for (row, (x, y)) in data.iter().enumerate() {
            if row > 0 && row % ROWS == 0 && self.cancel.load(Ordering::Relaxed) {
                return;
            }
            self.forward(x);
            self.evaluate(y, row == 0);
            self.backward(row == 0);
        }
        let rows = data.rows() as f64;
        self.divide(rows, rows * self.network.outputs() as f64);
    }

    /// L at the last pass, shape (width,).
    pub fn loss(&self) -> &[f64] {
        bytemuck::cast_slice(std::slice::from_ref(&self.loss))
    }

    #[inline(always)]
    fn divide(&mut self, by: f64, prediction_by: f64) {
        let simd = self.simd;
        if by > 1.0 {
            let by = simd.splat_f64s(by);
            self.loss = simd.div_f64s(self.loss, by);
            for gradient in &mut self.gradients {
                *gradient = simd.div_f64s(*gradient, by);
            }
        }
        if prediction_by > 1.0 {
            self.prediction = simd.div_f64s(self.prediction, simd.splat_f64s(prediction_by));
        }
    }
}

impl<S: Simd> Kernel for Block<'_, S> {
    fn width(&self) -> usize {
        S::F64_LANES
    }

    fn weights(&self) -> &[f64] {
        bytemuck::cast_slice(&self.weights)
    }

    fn weights_mut(&mut self) -> &mut [f64] {
        bytemuck::cast_slice_mut(&mut self.weights)
    }

    fn gradients(&self) -> &[f64] {
        bytemuck::cast_slice(&self.gradients)
    }

    #[inline(always)]
    fn advance(
        &mut self,
        learning_rate: &[f64],
        epochs: usize,
        bound: f64,
        trace: &mut Trace,
    ) -> bool {
        let simd = self.simd;
        let mut rate = [simd.splat_f64s(0.0)];
        bytemuck::cast_slice_mut(&mut rate).copy_from_slice(learning_rate);
        let mut healthy = true;
        for epoch in 0..epochs {
            self.pass();
            healthy &= all_at_most(self.loss(), bound);
            let prediction = bytemuck::cast_slice(std::slice::from_ref(&self.prediction));
            let planes = [self.loss(), prediction, self.gradients(), self.weights()];
            trace.keep(epoch, planes);
            for (weight, gradient) in self.weights.iter_mut().zip(&self.gradients) {
                *weight = simd.sub_f64s(*weight, simd.mul_f64s(rate[0], *gradient));
            }
        }
        healthy & all_finite(self.weights())
    }
}

/// Σ aᵢ·bᵢ in order, each product and each sum rounded.
#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[S::f64s], b: &[S::f64s]) -> S::f64s {
    let mut sum = simd.mul_f64s(a[0], b[0]);
    for (a, b) in a[1..].iter().zip(&b[1..]) {
        sum = simd.add_f64s(sum, simd.mul_f64s(*a, *b));
    }
    sum
}

/// `sums = a·b` for the first term, `sums += a·b` (rounded twice) for the others.
#[inline(always)]
fn add_products<S: Simd>(simd: S, sums: &mut [S::f64s], a: S::f64s, b: &[S::f64s], first: bool) {
    if first {
        for (sum, b) in sums.iter_mut().zip(b) {
            *sum = simd.mul_f64s(a, *b);
        }
    } else {
        for (sum, b) in sums.iter_mut().zip(b) {
            *sum = simd.add_f64s(*sum, simd.mul_f64s(a, *b));
        }
    }
}
