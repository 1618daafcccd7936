use crate::{Data, Network};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Outcome {
    /// None of the others after the given epochs.
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

/// Losses looked at for a period: two turns of the longest one.
pub(crate) const WINDOW: usize = 2 * LONGEST_PERIOD;
const LONGEST_PERIOD: usize = 16;
/// How far two losses of the same phase may differ, relative to the larger.
const SAME: f64 = 1e-9;

/// The period of a sequence of losses, if it repeats without standing still.
pub(crate) fn period(losses: &[f64]) -> Option<usize> {
    let repeats = |period: usize| {
        losses.len() >= 2 * period
            && losses[period..]
                .iter()
                .zip(losses)
                .all(|(a, b)| (a - b).abs() <= SAME * a.max(*b))
    };
    if repeats(1) {
        return None;
    }
    (2..=LONGEST_PERIOD).find(|period| repeats(*period))
}

/// Whether for every row some hidden layer is off: all its neurons at zero.
pub(crate) fn is_dead(network: &Network, data: &Data, weights: &[f64]) -> bool {
    data.iter().all(|(x, _)| {
        let mut inputs = x.to_vec();
        network
            .layers()
            .iter()
            .filter(|layer| layer.hidden)
            .any(|layer| {
                let rows = weights[layer.weights.clone()].chunks_exact(inputs.len());
                let mut outputs: Vec<f64> = rows
                    .map(|row| row.iter().zip(&inputs).map(|(w, h)| w * h).sum())
                    .collect();
                for (z, bias) in outputs.iter_mut().zip(&weights[layer.biases.clone()]) {
                    *z += bias;
                }
                let mut slopes = vec![0.0; outputs.len()];
                network.activate(&mut outputs, &mut slopes);
                inputs = outputs;
                inputs.iter().all(|h| *h <= 0.0)
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_the_shortest_that_repeats_twice() {
        assert_eq!(period(&[1.0, 2.0, 1.0, 2.0, 1.0]), Some(2));
        assert_eq!(period(&[1.0, 2.0, 3.0, 1.0, 2.0, 3.0]), Some(3));
        assert_eq!(period(&[1.0, 2.0, 3.0, 1.0, 2.0]), None);
        assert_eq!(period(&[1.0; 32]), None, "standing still is no oscillation");
        assert_eq!(period(&[4.0, 2.0, 1.0, 0.5]), None);
        assert_eq!(period(&[]), None);
    }
}
