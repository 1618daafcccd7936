/// What a hidden neuron does to its weighted sum z. The output layer is the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// φ(z) = z.
    Identity,
    /// φ(z) = z if z > 0 else 0, with the derivative 1 if z > 0 else 0.
    Relu,
}

impl Activation {
    /// Every activation, in the order in which messages name them.
    pub const ALL: [Self; 2] = [Self::Identity, Self::Relu];

    /// The name used in configuration and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
        }
    }

    /// Replace each z by φ(z).
    #[inline(always)]
    pub(crate) fn apply(self, neurons: &mut [f64]) {
        match self {
            Self::Identity => {}
            Self::Relu => {
                for z in neurons {
                    *z = if *z > 0.0 { *z } else { 0.0 };
                }
            }
        }
    }

    /// Multiply each ∂L/∂h by φ'(z), read off h = φ(z).
    #[inline(always)]
    pub(crate) fn backward(self, deltas: &mut [f64], neurons: &[f64]) {
        match self {
            Self::Identity => {}
            Self::Relu => {
                for (delta, h) in deltas.iter_mut().zip(neurons) {
                    // A product, not a selection: the sign of a zero is the guide's.
                    *delta *= if *h > 0.0 { 1.0 } else { 0.0 };
                }
            }
        }
    }
}
