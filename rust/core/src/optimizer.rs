//! How gradients become new weights.

use crate::error::within;
use crate::{Error, Network, Result};

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

    /// The count of numbers that the optimizer remembers of a run: nothing, or v of each
    /// parameter, or m of each parameter and then v of each.
    #[must_use]
    pub fn memory(self, network: &Network) -> usize {
        let each = match self {
            Self::GradientDescent => 0,
            Self::Momentum { .. } | Self::Nesterov { .. } => 1,
            Self::Adam { .. } => 2,
        };
        each * network.parameters()
    }

    /// Refuses a memory, shape (runs, values), that no training leaves behind. Only Adam's v, a
    /// mean of squares, may have become infinite: the weights then stay.
    pub(crate) fn check_memory(self, memory: &[f64], network: &Network, runs: usize) -> Result<()> {
        let values = self.memory(network);
        if values.checked_mul(runs) == Some(memory.len()) {
            let squares = matches!(self, Self::Adam { .. });
            let is_allowed = |place: usize, value: f64| {
                if squares && place >= values / 2 {
                    value >= 0.0
                } else {
                    value.is_finite()
                }
            };
            let bad = |(index, value): &(usize, &f64)| !is_allowed(index % values, **value);
            return match memory.iter().enumerate().find(bad) {
                None => Ok(()),
                Some((index, value)) => Err(Error::Value {
                    name: format!("state.memory[{}, {}]", index / values, index % values),
                    value: value.to_string(),
                    allowed: "what a training leaves: finite numbers, means of squares from 0"
                        .into(),
                    fix: "give the state of a result as it is",
                }),
            };
        }
        Err(Error::Shape {
            name: "state.memory".into(),
            found: format!("{} values", memory.len()),
            allowed: format!("{runs} runs × {values}"),
            fix: "give the state that belongs to the weights",
        })
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
