use crate::{Data, Network};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Outcome {
    /// None of the other outcomes applies after the given number of epochs.
    #[default]
    Unresolved,
    /// The last loss, or the largest gradient, is at most the tolerance.
    Converged,
    /// ReLU is off for every row: the gradient is 0 and the loss stays above the tolerance.
    Dead,
    /// The loss or a weight became non-finite, or the loss passed the bound.
    Diverged,
    /// The loss repeats with a period of 2 to 16 epochs.
    Oscillating,
}

impl Outcome {
    /// Every outcome, in the order of their codes.
    pub const ALL: [Self; 5] = [
        Self::Unresolved,
        Self::Converged,
        Self::Dead,
        Self::Diverged,
        Self::Oscillating,
    ];

    /// The name used in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Converged => "converged",
            Self::Dead => "dead",
            Self::Diverged => "diverged",
            Self::Oscillating => "oscillating",
        }
    }
}

/// Whether every row has a hidden layer that is off, which means that all of its neurons are
/// zero.
pub(crate) struct Dead<'a> {
    network: &'a Network,
    data: &'a Data<'a>,
    inputs: Vec<f64>,
    outputs: Vec<f64>,
    derivatives: Vec<f64>,
}

impl<'a> Dead<'a> {
    pub fn new(network: &'a Network, data: &'a Data<'a>) -> Self {
        let neurons = || Vec::with_capacity(network.neurons());
        Self {
            network,
            data,
            inputs: neurons(),
            outputs: neurons(),
            derivatives: neurons(),
        }
    }

    pub fn is(&mut self, weights: &[f64]) -> bool {
        (0..self.data.rows()).all(|row| self.is_off(row, weights))
    }

    fn is_off(&mut self, row: usize, weights: &[f64]) -> bool {
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
            self.derivatives.resize(self.outputs.len(), 0.0);
            self.network
                .activate(&mut self.outputs, &mut self.derivatives);
            std::mem::swap(&mut self.inputs, &mut self.outputs);
            if self.inputs.iter().all(|h| *h <= 0.0) {
                return true;
            }
        }
        false
    }
}
