use crate::error::{at_least_one, within};
use crate::{Error, Result};

/// The factors by which the learning rate is multiplied, epoch by epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The number W of warm-up epochs, in which the factor rises linearly: (e + 1)/W in epoch e
    /// (Goyal et
    /// al., arXiv 1706.02677).
    pub warmup: usize,
    /// The decay after the warm-up; its epochs e are counted from there.
    pub decay: Decay,
}

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decay {
    /// The learning rate stays as it is.
    Constant,
    /// The factor in epoch e is factor^⌊e / every⌋.
    Step {
        /// The number of epochs between two steps, from 1.
        every: usize,
        /// The factor of one step, above 0 and at most 1.
        factor: f64,
    },
    /// ½·(1 + cos(π·e/E)) over the E epochs that follow the warm-up (Loshchilov & Hutter,
    /// arXiv 1608.03983, without restarts).
    Cosine,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            warmup: 0,
            decay: Decay::Constant,
        }
    }
}

impl Schedule {
    /// The factor of one of `epochs` epochs; after them it stays as it is.
    #[must_use]
    pub fn factor(&self, epoch: usize, epochs: usize) -> f64 {
        let epoch = epoch.min(epochs.saturating_sub(1));
        if epoch < self.warmup {
            return (epoch + 1) as f64 / self.warmup as f64;
        }
        let (since, rest) = (epoch - self.warmup, epochs - self.warmup);
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Step { every, factor } => libm::pow(factor, (since / every) as f64),
            Decay::Cosine => {
                let share = since as f64 / rest as f64;
                0.5 * (1.0 + libm::cos(std::f64::consts::PI * share))
            }
        }
    }

    pub(crate) fn check(&self, epochs: usize) -> Result<()> {
        if self.warmup > epochs {
            return Err(Error::Value {
                name: "warmup".into(),
                value: self.warmup.to_string(),
                allowed: "whole numbers from 0 to the number of epochs".into(),
                fix: "warm up for fewer epochs",
            });
        }
        let Decay::Step { every, factor } = self.decay else {
            return Ok(());
        };
        at_least_one("step_epochs", every, "try 10")?;
        let falls = |factor: f64| factor > 0.0 && factor <= 1.0;
        within(
            "step_factor",
            factor,
            falls,
            "numbers above 0, up to 1",
            "try 0.5",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_those_of_the_equations() {
        let factors = |warmup, decay| -> Vec<f64> {
            let schedule = Schedule { warmup, decay };
            (0..6).map(|epoch| schedule.factor(epoch, 6)).collect()
        };
        assert_eq!(factors(0, Decay::Constant), [1.0; 6]);
        let step = Decay::Step {
            every: 2,
            factor: 0.5,
        };
        assert_eq!(factors(0, step), [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
        assert_eq!(
            factors(4, Decay::Constant),
            [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
        );
        let cosine = factors(2, Decay::Cosine);
        for (found, degrees) in cosine[2..].iter().zip([0.0_f64, 45.0, 90.0, 135.0]) {
            let expected = f64::midpoint(1.0, degrees.to_radians().cos());
            assert!((found - expected).abs() < 1e-15);
        }
    }
}
