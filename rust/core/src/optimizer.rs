//! How gradients become new weights.

use crate::error::within;
use crate::Result;

/// How an update follows from the gradient g = ∂L/∂w and the learning rate lr.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// w ← w − lr·g.
    GradientDescent,
    /// Heavy ball (Polyak 1964): v ← βv + g, w ← w − lr·v.
    Momentum {
        /// β, from 0 to below 1.
        momentum: f64,
    },
    /// Nesterov's accelerated gradient as in Sutskever et al. 2013, from the point looked
    /// ahead to: v ← βv + g, w ← w − lr·(g + βv).
    Nesterov {
        /// β, from 0 to below 1.
        momentum: f64,
    },
    /// Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1), in update t = 1, 2, …:
    /// m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g²,
    /// w ← w − lr·(m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε).
    Adam {
        /// β₁, from 0 to below 1.
        momentum: f64,
        /// β₂, from 0 to below 1.
        beta2: f64,
        /// ε, above 0.
        epsilon: f64,
    },
}

impl Optimizer {
    /// The name used in configuration and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GradientDescent => "gradient_descent",
            Self::Momentum { .. } => "momentum",
            Self::Nesterov { .. } => "nesterov",
            Self::Adam { .. } => "adam",
        }
    }

    /// The count of numbers that the optimizer remembers of each parameter.
    pub(crate) const fn memory(self) -> usize {
        match self {
            Self::GradientDescent => 0,
            Self::Momentum { .. } | Self::Nesterov { .. } => 1,
            Self::Adam { .. } => 2,
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        let allowed = "numbers from 0 to below 1";
        let below_one = |value: f64| (0.0..1.0).contains(&value);
        match self {
            Self::GradientDescent => Ok(()),
            Self::Momentum { momentum } | Self::Nesterov { momentum } => {
                within("momentum", momentum, below_one, allowed, "try 0.9")
            }
            Self::Adam {
                momentum,
                beta2,
                epsilon,
            } => {
                within("momentum", momentum, below_one, allowed, "try 0.9")?;
                within("beta2", beta2, below_one, allowed, "try 0.999")?;
                let positive = |value: f64| value > 0.0 && value.is_finite();
                within(
                    "epsilon",
                    epsilon,
                    positive,
                    "finite numbers above 0",
                    "try 1e-8",
                )
            }
        }
    }
}
