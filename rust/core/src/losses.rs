//! The losses of the runs of a block, and what they say of how a run ends.

use std::ops::Range;

use crate::arithmetic::Number;

/// Losses looked at for a period: two turns of the longest one.
pub(crate) const WINDOW: usize = 2 * LONGEST_PERIOD;
const LONGEST_PERIOD: usize = 16;
/// Losses at the end of a run that are compared with its first.
const LAST: usize = 20;
/// How far two losses of the same phase may differ, relative to the larger.
const SAME: f64 = 1e-9;

/// The first loss of each run, and the last ones.
pub(crate) struct Losses<N> {
    width: usize,
    /// Shape (width,).
    first: Vec<N>,
    /// Those of an epoch at its number modulo the window, shape (WINDOW, width).
    last: Vec<N>,
}

impl<N: Number> Losses<N> {
    pub fn new(width: usize) -> Self {
        Self {
            width,
            first: vec![N::rounded(0.0); width],
            last: vec![N::rounded(0.0); WINDOW * width],
        }
    }

    /// Keep those of an epoch, shape (width,).
    #[inline(always)]
    pub fn keep(&mut self, epoch: usize, losses: &[N]) {
        if epoch == 0 {
            self.first.copy_from_slice(losses);
        }
        self.last[epoch % WINDOW * self.width..][..self.width].copy_from_slice(losses);
    }

    #[inline(always)]
    fn of(&self, epoch: usize) -> &[N] {
        &self.last[epoch % WINDOW * self.width..][..self.width]
    }

    /// The loss of a run in one of the last epochs.
    pub fn at(&self, epoch: usize, lane: usize) -> f64 {
        self.of(epoch)[lane].into()
    }

    /// The period with which the loss of a run repeats before epoch `done`, if it does so
    /// without standing still.
    pub fn period(&self, done: usize, lane: usize) -> Option<usize> {
        let mut recent = [0.0; WINDOW];
        let kept = done.min(WINDOW);
        for (loss, epoch) in recent.iter_mut().zip(done - kept..done) {
            *loss = self.at(epoch, lane);
        }
        period(&recent[..kept])
    }

    /// How runs end compared with their beginning: the mean over their last 20 epochs of
    /// min(ℓ/ℓ₀, 10⁶), after Sohl-Dickstein (arXiv 2402.06184), who calls a run trainable if
    /// it is below 1. A run that diverged before all `epochs` were `done` has 10⁶ afterwards.
    #[inline(always)]
    pub fn ratios(&self, lanes: Range<usize>, done: usize, epochs: usize, ratios: &mut [f64]) {
        const MOST: f64 = 1e6;
        let count = LAST.min(epochs);
        let missing = (epochs - done).min(count);
        let firsts = &self.first[lanes.clone()];
        ratios.fill(0.0);
        // A loop over all lanes of an epoch, which the compiler turns into vector instructions.
        for epoch in done - (count - missing).min(done)..done {
            let lasts = &self.of(epoch)[lanes.clone()];
            for ((sum, last), first) in ratios.iter_mut().zip(lasts).zip(firsts) {
                let [loss, first]: [f64; 2] = [(*last).into(), (*first).into()];
                let ratio = loss / first;
                // NaN is not below anything.
                let capped = if ratio < MOST { ratio } else { MOST };
                // Also of 0 and 0: a loss that stays the same has the ratio 1.
                let same = loss.to_bits() == first.to_bits();
                *sum += if same { 1.0 } else { capped };
            }
        }
        for sum in ratios {
            *sum = (*sum + missing as f64 * MOST) / count as f64;
        }
    }
}

const _: () = assert!(LAST <= WINDOW, "losses that a ratio needs are kept");

/// The period of a sequence of losses, if it repeats without standing still.
fn period(losses: &[f64]) -> Option<usize> {
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

    fn ratio(losses: &[f64], epochs: usize) -> f64 {
        // Another run beside it, of which nothing is to be seen.
        let mut kept = Losses::new(2);
        for (epoch, loss) in losses.iter().enumerate() {
            kept.keep(epoch, &[f64::NAN, *loss]);
        }
        let mut ratio = [0.0];
        kept.ratios(1..2, losses.len(), epochs, &mut ratio);
        ratio[0]
    }

    #[test]
    fn a_loss_ratio_is_the_mean_of_the_last_twenty() {
        let falling: Vec<f64> = (1..=50).map(|epoch| 1.0 / f64::from(epoch)).collect();
        let expected = (31..=50).map(|epoch| 1.0 / f64::from(epoch)).sum::<f64>() / 20.0;
        assert!((ratio(&falling, 50) - expected).abs() < 1e-15);
        for loss in [0.1, 0.7, 1e300, 1.7e-308] {
            assert!((ratio(&[loss; 40], 40) - 1.0).abs() < f64::EPSILON / 4.0);
        }
        for (losses, epochs, expected) in [
            (&[2.0, 1.0][..], 2, 0.75),
            (&[0.0], 1, 1.0),
            (&[0.0, 1.0], 2, 500_000.5),
            (&[f64::INFINITY], 1, 1.0),
            (&[1.0, f64::NAN], 40, 1e6),
            (&[1.0, 1e9], 2, 500_000.5),
            (&[1.0; 3], 4, (3.0 + 1e6) / 4.0),
        ] {
            assert!((ratio(losses, epochs) - expected).abs() < 1e-9);
        }
    }
}
