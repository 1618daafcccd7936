//! One pass through a block of networks: a lane is a run.
//!
//! Plain loops over [`Lanes`], which the compiler turns into vector instructions of
//! the set chosen in [`crate::parallel`]. Everything inlines into that caller.

use crate::{Activation, Data, Network};

/// Runs in a block: one AVX-512 register, two of AVX2, four of SSE2 or NEON.
pub(crate) const LANES: usize = 8;

/// One number of each run of a block.
pub(crate) type Lanes = [f64; LANES];

/// The numbers of one block, allocated once and used for every epoch.
pub(crate) struct Block<'a> {
    network: &'a Network,
    pub weights: Vec<Lanes>,
    pub gradients: Vec<Lanes>,
    pub loss: Lanes,
    /// Mean of ŷ over rows and outputs: ŷ itself for one row and one output.
    pub prediction: Lanes,
    neurons: Vec<Lanes>,
    deltas: Vec<Lanes>,
}

impl<'a> Block<'a> {
    pub fn new(network: &'a Network) -> Self {
        Self {
            network,
            weights: vec![[0.0; LANES]; network.parameters()],
            gradients: vec![[0.0; LANES]; network.parameters()],
            loss: [0.0; LANES],
            prediction: [0.0; LANES],
            neurons: vec![[0.0; LANES]; network.neurons()],
            deltas: vec![[0.0; LANES]; network.neurons()],
        }
    }

    /// Put runs into the lanes, from weights of shape (runs, parameters). Lanes left
    /// over repeat the last run, so that they never do anything that no run does.
    pub fn load(&mut self, weights: &[f64]) {
        let parameters = self.weights.len();
        let runs = weights.len() / parameters;
        for lane in 0..LANES {
            let run = lane.min(runs - 1);
            let source = &weights[run * parameters..][..parameters];
            for (weight, value) in self.weights.iter_mut().zip(source) {
                weight[lane] = *value;
            }
        }
    }

    /// The outputs ŷ for one row of inputs; every neuron keeps its activation.
    #[inline(always)]
    pub fn forward(&mut self, x: &[f64]) -> &[Lanes] {
        for (neuron, value) in self.neurons.iter_mut().zip(x) {
            *neuron = [*value; LANES];
        }
        for layer in self.network.layers() {
            let (before, after) = self.neurons.split_at_mut(layer.outputs.start);
            let inputs = &before[layer.inputs.clone()];
            let outputs = &mut after[..layer.outputs.len()];
            let weights = &self.weights[layer.weights.clone()];
            for (z, row) in outputs.iter_mut().zip(weights.chunks_exact(inputs.len())) {
                for (index, (weight, input)) in row.iter().zip(inputs).enumerate() {
                    add_product(z, weight, input, index == 0);
                }
            }
            if layer.hidden {
                self.network.activation().apply(outputs);
            }
        }
        let last = &self.network.layers()[self.network.layers().len() - 1];
        &self.neurons[last.outputs.clone()]
    }

    /// Loss, prediction and gradients over a full batch: the mean of the rows.
    #[inline(always)]
    pub fn pass(&mut self, data: &Data) {
        for (row, (x, y)) in data.iter().enumerate() {
            self.forward(x);
            self.half_squared_error(y, row == 0);
            self.backward(row == 0);
        }
        let rows = data.rows() as f64;
        let outputs = self.network.outputs() as f64;
        if data.rows() > 1 {
            divide(&mut self.loss, rows);
            for gradient in &mut self.gradients {
                divide(gradient, rows);
            }
        }
        if rows * outputs > 1.0 {
            divide(&mut self.prediction, rows * outputs);
        }
    }

    /// L = ½ Σ (y − ŷ)² over the outputs of one row, and ∂L/∂ŷ = −(y − ŷ).
    #[inline(always)]
    fn half_squared_error(&mut self, y: &[f64], first_row: bool) {
        let start = self.neurons.len() - y.len();
        for (index, target) in y.iter().enumerate() {
            let prediction = &self.neurons[start + index];
            let delta = &mut self.deltas[start + index];
            let first = first_row && index == 0;
            for lane in 0..LANES {
                let error = target - prediction[lane];
                delta[lane] = -error;
                let loss = 0.5 * (error * error);
                // A sum starts with its first term: 0 + x would lose the sign of −0.
                self.loss[lane] = if first { loss } else { self.loss[lane] + loss };
                self.prediction[lane] = if first {
                    prediction[lane]
                } else {
                    self.prediction[lane] + prediction[lane]
                };
            }
        }
    }

    /// The chain rule, from the last layer to the first: ∂L/∂w of each layer is its
    /// delta times its input, and the delta of the layer before is the sum of the
    /// deltas times the weights that lead to it, times the derivative of its activation.
    #[inline(always)]
    fn backward(&mut self, first_row: bool) {
        for layer in self.network.layers().iter().rev() {
            let inputs = &self.neurons[layer.inputs.clone()];
            let weights = &self.weights[layer.weights.clone()];
            let gradients = &mut self.gradients[layer.weights.clone()];
            let (before, after) = self.deltas.split_at_mut(layer.outputs.start);
            let deltas = &after[..layer.outputs.len()];
            for (delta, row) in deltas.iter().zip(gradients.chunks_exact_mut(inputs.len())) {
                for (gradient, input) in row.iter_mut().zip(inputs) {
                    add_product(gradient, delta, input, first_row);
                }
            }
            if layer.weights.start > 0 {
                let before = &mut before[layer.inputs.clone()];
                for (index, delta) in deltas.iter().enumerate() {
                    let row = &weights[index * before.len()..][..before.len()];
                    for (target, weight) in before.iter_mut().zip(row) {
                        add_product(target, delta, weight, index == 0);
                    }
                }
                self.network.activation().backward(before, inputs);
            }
        }
    }

    pub fn activation(&self) -> Activation {
        self.network.activation()
    }

    /// Whether a lane has a hidden layer whose neurons are all at zero for this row.
    pub fn has_silent_layer(&self, lane: usize) -> bool {
        let mut hidden = self.network.layers().iter().filter(|layer| layer.hidden);
        hidden.any(|layer| {
            let neurons = &self.neurons[layer.outputs.clone()];
            neurons.iter().all(|neuron| neuron[lane] <= 0.0)
        })
    }

    /// The largest |∂L/∂w| of a lane.
    pub fn largest_gradient(&self, lane: usize) -> f64 {
        self.gradients
            .iter()
            .fold(0.0, |largest, gradient| largest.max(gradient[lane].abs()))
    }
}

/// `sum = a·b` for the first term, `sum += a·b` (rounded twice) for the others.
#[inline(always)]
fn add_product(sum: &mut Lanes, a: &Lanes, b: &Lanes, first: bool) {
    for lane in 0..LANES {
        let product = a[lane] * b[lane];
        sum[lane] = if first { product } else { sum[lane] + product };
    }
}

#[inline(always)]
fn divide(lanes: &mut Lanes, by: f64) {
    for value in lanes {
        *value /= by;
    }
}
