//! Whether any input still reaches the output of a network.

use crate::kernel::Number;
use crate::{Activation, Data, Hyperparameters, Network, Optimizer};

/// Whether every row has a hidden layer that is off, which means that all of its neurons are
/// zero.
pub(crate) struct Dead<'a> {
    network: &'a Network,
    data: &'a Data<'a>,
    /// Rows of which one turns a neuron on, in most networks that are not dead.
    witnesses: Vec<usize>,
    inputs: Vec<f64>,
    outputs: Vec<f64>,
}

impl<'a> Dead<'a> {
    pub fn new(network: &'a Network, data: &'a Data<'a>) -> Self {
        let neurons = || Vec::with_capacity(network.neurons());
        let first = |row: usize| data.inputs(row)[0];
        let rows = || 0..data.rows();
        let least = rows().reduce(|a, b| if first(b) < first(a) { b } else { a });
        let most = rows().reduce(|a, b| if first(b) > first(a) { b } else { a });
        let mut witnesses = vec![least.unwrap_or(0), most.unwrap_or(0)];
        witnesses.dedup();
        Self {
            network,
            data,
            witnesses,
            inputs: neurons(),
            outputs: neurons(),
        }
    }

    /// Whether runs that [may be](Self::may_be) dead are: all rows are witnesses, and there is one
    /// hidden layer.
    pub fn is_certain(&self) -> bool {
        let hidden = self.network.layers().iter().filter(|layer| layer.hidden);
        self.data.rows() == self.witnesses.len() && hidden.count() == 1
    }

    /// Which runs of a block may be dead, from weights of shape (parameters, width): the others
    /// are not. Every operation is one on all runs.
    #[inline(always)]
    pub fn may_be<N: Number>(&self, weights: &[N], sums: &mut [f64], out: &mut [bool]) {
        out.fill(true);
        let is_relu = self.for_each_sum(weights, sums, |sums| {
            for (may, sum) in out.iter_mut().zip(sums) {
                *may &= *sum <= 0.0;
            }
        });
        if !is_relu {
            out.fill(false);
        }
    }

    /// The same in masks of bits: none for runs that may be dead, all for the others.
    #[inline(always)]
    pub fn is_alive<N: Number>(&self, weights: &[N], sums: &mut [f64], out: &mut [u64]) {
        out.fill(0);
        let is_relu = self.for_each_sum(weights, sums, |sums| {
            for (alive, sum) in out.iter_mut().zip(sums) {
                let is_off = *sum <= 0.0;
                *alive |= u64::from(!is_off).wrapping_neg();
            }
        });
        if !is_relu {
            out.fill(u64::MAX);
        }
    }

    /// Calls `each` with z of every neuron of the first hidden layer and every witness, unless
    /// there is another one behind it. Returns whether neurons can be off.
    #[inline(always)]
    fn for_each_sum<N: Number>(
        &self,
        weights: &[N],
        sums: &mut [f64],
        mut each: impl FnMut(&[f64]),
    ) -> bool {
        let width = sums.len();
        let mut hidden = self.network.layers().iter().filter(|layer| layer.hidden);
        let relu = self.network.activation() == Activation::Relu;
        let first = hidden.next();
        let deep = hidden.next().is_some();
        let Some(first) = first.filter(|_| relu) else {
            return false;
        };
        if deep {
            return true;
        }
        let plane = |parameter: usize| &weights[parameter * width..][..width];
        for row in self.witnesses.iter().copied() {
            for neuron in 0..first.outputs.len() {
                sums.fill(0.0);
                if let Some(bias) = first.biases.clone().nth(neuron) {
                    add_product(sums, plane(bias), 1.0);
                }
                let inputs = self.data.inputs(row);
                let own = first.weights.start + neuron * inputs.len();
                for (input, x) in inputs.iter().enumerate() {
                    add_product(sums, plane(own + input), *x);
                }
                each(sums);
            }
        }
        true
    }

    /// Whether a run of so large a gain is dead.
    pub fn is(&mut self, weights: &[f64], gain: f64) -> bool {
        let relu = self.network.activation() == Activation::Relu;
        relu && (0..self.data.rows()).all(|row| self.is_off(row, weights, gain))
    }

    /// Whether a run that is dead stays so where the optimizer's memory still carries it.
    pub fn stays(
        &mut self,
        optimizer: Optimizer,
        own: Hyperparameters<f64>,
        rates: &[f64],
        [weights, memory]: [&[f64]; 2],
    ) -> bool {
        let (decays, adam) = match own.of_optimizer(optimizer) {
            Optimizer::GradientDescent => return true,
            Optimizer::Momentum { momentum } => (momentum / (1.0 - momentum), None),
            Optimizer::Nesterov { momentum } => (momentum * momentum / (1.0 - momentum), None),
            Optimizer::Adam {
                momentum,
                beta2,
                epsilon,
            } => {
                let ratio = momentum / beta2.sqrt();
                if ratio >= 1.0 {
                    return false;
                }
                (ratio / (1.0 - ratio), Some(epsilon))
            }
        };
        let mut weights = weights.to_vec();
        let (first, second) = memory.split_at(weights.len());
        for (layer, shape) in self.network.layers().iter().enumerate() {
            let rate = rates[layer.min(rates.len() - 1)];
            for index in shape.weights.start..shape.biases.end {
                let direction = match adam {
                    None => first[index],
                    Some(epsilon) => first[index] / (second[index].sqrt() + epsilon),
                };
                weights[index] -= rate * decays * direction;
            }
        }
        self.is(&weights, own.gain)
    }

    fn is_off(&mut self, row: usize, weights: &[f64], gain: f64) -> bool {
        self.inputs.clear();
        self.inputs.extend_from_slice(self.data.inputs(row));
        for layer in self.network.layers().iter().filter(|layer| layer.hidden) {
            self.outputs.clear();
            for row in weights[layer.weights.clone()].chunks_exact(self.inputs.len()) {
                let z = row.iter().zip(&self.inputs).map(|(w, h)| w * h).sum();
                self.outputs.push(z);
            }
            for (z, bias) in self.outputs.iter_mut().zip(&weights[layer.biases.clone()]) {
                *z += bias;
            }
            for z in &mut self.outputs {
                let scaled = gain * *z;
                *z = if scaled > 0.0 { scaled } else { 0.0 };
            }
            std::mem::swap(&mut self.inputs, &mut self.outputs);
            if self.inputs.iter().all(|h| *h <= 0.0) {
                return true;
            }
        }
        false
    }
}

#[inline(always)]
fn add_product<N: Number>(sums: &mut [f64], plane: &[N], x: f64) {
    for (sum, weight) in sums.iter_mut().zip(plane) {
        let weight: f64 = (*weight).into();
        *sum += weight * x;
    }
}
