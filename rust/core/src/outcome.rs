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

/// How a run ends compared with its beginning: the mean over its last 20 epochs of
/// min(ℓ/ℓ₀, 10⁶), after Sohl-Dickstein (arXiv 2402.06184), who calls a run trainable if it
/// is below 1.
///
/// `recent` are the last losses before epoch `done`; a run that diverged has 10⁶ afterwards.
pub(crate) fn loss_ratio(first: f64, recent: &[f64], done: usize, epochs: usize) -> f64 {
    const LAST: usize = 20;
    const MOST: f64 = 1e6;
    let count = LAST.min(epochs);
    let lost = (epochs - done).min(count);
    let kept = &recent[recent.len() - (count - lost).min(recent.len())..];
    let sum = if first > 0.0 && first.is_finite() {
        // min(ℓ/ℓ₀, 10⁶) is min(ℓ, 10⁶·ℓ₀)/ℓ₀, with one division for all.
        let most = MOST * first;
        // NaN is not below anything.
        let capped = kept
            .iter()
            .map(|loss| if *loss < most { *loss } else { most });
        capped.sum::<f64>() / first
    } else {
        let is_first = |loss: &f64| loss.to_bits() == first.to_bits();
        kept.iter()
            .map(|loss| if is_first(loss) { 1.0 } else { MOST })
            .sum()
    };
    (sum + lost as f64 * MOST) / count as f64
}

/// Whether for every row some hidden layer is off: all its neurons at zero.
pub(crate) fn is_dead(network: &Network, data: &Data, weights: &[f64]) -> bool {
    (0..data.rows()).all(|row| {
        let mut inputs = data.inputs(row).to_vec();
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

    #[test]
    fn a_loss_ratio_is_the_mean_of_the_last_twenty() {
        let falling: Vec<f64> = (1..=30).map(|epoch| 1.0 / f64::from(epoch)).collect();
        let expected = (11..=30).map(|epoch| 1.0 / f64::from(epoch)).sum::<f64>() / 20.0;
        assert!((loss_ratio(1.0, &falling, 30, 30) - expected).abs() < 1e-15);
        for (found, expected) in [
            (loss_ratio(2.0, &[2.0, 1.0], 2, 2), 0.75),
            (loss_ratio(0.0, &[0.0], 1, 1), 1.0),
            (loss_ratio(1.0, &[1.0, f64::NAN], 2, 40), 1e6),
            (loss_ratio(1.0, &[1.0; 3], 3, 4), (3.0 + 1e6) / 4.0),
        ] {
            assert!((found - expected).abs() < 1e-9);
        }
    }
}
