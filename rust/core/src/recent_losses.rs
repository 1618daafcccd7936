//! The last losses of the runs of a block, from which the outcome of each run is judged.
//!
//! Every loop goes over the runs of one epoch, so that the compiler turns it into vector
//! instructions. This matters: twenty epochs of the guide's network are trained in the time
//! that this module takes afterwards.

use std::ops::Range;

use crate::kernel::Number;

/// The number of last losses in which a period is searched: twice the longest period.
pub(crate) const WINDOW: usize = 2 * LONGEST_PERIOD;
const LONGEST_PERIOD: usize = 16;
/// The number of last losses that are compared with the first loss.
const LAST: usize = 20;
/// The largest ratio that a loss contributes to the mean.
const LARGEST_RATIO: f64 = 1e6;
/// A loss falls if it does by more than this share.
const SAME: f64 = 1e-9;

const _: () = assert!(LAST <= WINDOW, "losses that a ratio needs are kept");

/// The first loss of each run, and the last ones.
pub(crate) struct RecentLosses<N> {
    width: usize,
    /// Shape (width,).
    first: Vec<f64>,
    /// The loss of an epoch is at its number modulo the window; shape (WINDOW, width).
    last: Vec<N>,
    /// Scratch of shape (width,) each.
    sums: Vec<f64>,
    changed: Vec<u64>,
}

impl<N: Number> RecentLosses<N> {
    pub fn new(width: usize) -> Self {
        Self {
            width,
            first: vec![0.0; width],
            last: vec![N::rounded(0.0); WINDOW * width],
            sums: vec![0.0; width],
            changed: vec![0; width],
        }
    }

    /// Stores the losses of an epoch, shape (width,).
    pub fn keep(&mut self, epoch: usize, losses: &[N]) {
        if epoch == 0 {
            for (first, loss) in self.first.iter_mut().zip(losses) {
                *first = (*loss).into();
            }
        }
        self.last[epoch % WINDOW * self.width..][..self.width].copy_from_slice(losses);
    }

    fn of(&self, epoch: usize) -> &[N] {
        &self.last[epoch % WINDOW * self.width..][..self.width]
    }

    /// The loss of a run in one of the last epochs.
    pub fn at(&self, epoch: usize, lane: usize) -> f64 {
        self.of(epoch)[lane].into()
    }

    /// The losses of the epoch before `done`, shape (width,).
    pub fn last(&self, done: usize) -> &[N] {
        self.of(done - 1)
    }

    /// Writes the losses of the epoch before `done`, of as many runs as there is room for.
    #[inline(always)]
    pub fn write_last(&self, done: usize, out: &mut [f64]) {
        for (out, loss) in out.iter_mut().zip(self.of(done - 1)) {
            *out = (*loss).into();
        }
    }

    /// How runs end compared with their beginning: the mean over their last 20 epochs of
    /// min(ℓ/ℓ₀, 10⁶), after Sohl-Dickstein (arXiv 2402.06184), who calls a run trainable if
    /// it is below 1. A run that diverged before all `epochs` were `done` has 10⁶ afterwards.
    ///
    /// Losses are summed before they are divided, Σ min(ℓ, 10⁶·ℓ₀) / ℓ₀, but for a loss that
    /// never changed: its ratio is 1 exactly.
    #[inline(always)]
    pub fn ratios(&mut self, lanes: Range<usize>, done: usize, epochs: usize, out: &mut [f64]) {
        let count = LAST.min(epochs);
        let missing = (epochs - done).min(count);
        let these = done - (count - missing).min(done)..done;
        let missing = missing as f64 * LARGEST_RATIO;
        let sums = &mut self.sums[lanes.clone()];
        let changed = &mut self.changed[lanes.clone()];
        let firsts = &self.first[lanes.clone()];
        let kept = Kept {
            last: &self.last,
            width: self.width,
            begin: lanes.start,
        };
        for group in groups(lanes.len()) {
            match group {
                Group::Whole(at) => kept.sum::<LANES>(at, &these, firsts, sums, changed),
                Group::Single(at) => kept.sum::<1>(at, &these, firsts, sums, changed),
            }
        }
        let mut is_special = false;
        for (((out, sum), first), changed) in out.iter_mut().zip(&*sums).zip(firsts).zip(&*changed)
        {
            let ratios = if *changed == 0 {
                these.len() as f64
            } else {
                sum / first
            };
            *out = (ratios + missing) / count as f64;
            is_special |= Self::is_special(*first);
        }
        if !is_special {
            return;
        }
        let first_lane = lanes.start;
        for lane in lanes {
            if Self::is_special(self.first[lane]) {
                let ratios: f64 = these.clone().map(|epoch| self.ratio(epoch, lane)).sum();
                out[lane - first_lane] = (ratios + missing) / count as f64;
            }
        }
    }

    /// Whether the sum of such losses could overflow, or their quotients vanish.
    #[inline(always)]
    fn is_special(first: f64) -> bool {
        !((1e-290..=1e290).contains(&first))
    }

    /// min(ℓ/ℓ₀, 10⁶) of one epoch.
    fn ratio(&self, epoch: usize, lane: usize) -> f64 {
        let (loss, first) = (self.at(epoch, lane), self.first[lane]);
        let ratio = loss / first;
        match loss.to_bits() == first.to_bits() {
            true => 1.0,
            false if ratio < LARGEST_RATIO => ratio,
            false => LARGEST_RATIO,
        }
    }

    /// How far the loss of each run climbed in the last epochs before `done`, negative if it always
    /// fell.
    #[inline(always)]
    pub fn climbs(&self, done: usize, out: &mut [f64]) {
        let kept = Kept {
            last: &self.last,
            width: self.width,
            begin: 0,
        };
        for group in groups(self.width) {
            match group {
                Group::Whole(at) => kept.climb::<LANES>(at, done, out),
                Group::Single(at) => kept.climb::<1>(at, done, out),
            }
        }
    }

    /// The highest of the last losses of a run before epoch `done`.
    pub fn highest(&self, done: usize, lane: usize) -> f64 {
        let losses = recent(done).map(|epoch| self.at(epoch, lane));
        losses.fold(0.0, |most: f64, loss| if loss > most { loss } else { most })
    }

    /// Whether the loss of a run repeats before epoch `done`, or stands still, to so small a
    /// share of itself.
    pub fn repeats(&self, done: usize, lane: usize, same: f64) -> bool {
        let last = self.at(done - 1, lane);
        let is_near = |epoch| (self.at(epoch, lane) - last).abs() <= same * last;
        // Most do not.
        if !(recent(done).start..done - 1).any(is_near) {
            return false;
        }
        let mut losses = [0.0; WINDOW];
        let kept = done.min(WINDOW);
        for (loss, epoch) in losses.iter_mut().zip(done - kept..done) {
            *loss = self.at(epoch, lane);
        }
        repeats(&losses[..kept], same)
    }
}

/// Lanes that are looked at together: a few registers.
const LANES: usize = 16;

/// Some neighbouring lanes, by the place of the first.
enum Group {
    Whole(usize),
    Single(usize),
}

/// So many lanes. What is known of a group stays in registers, epoch after epoch.
#[inline(always)]
fn groups(lanes: usize) -> impl Iterator<Item = Group> {
    let whole = lanes / LANES * LANES;
    let wide = (0..whole).step_by(LANES).map(Group::Whole);
    wide.chain((whole..lanes).map(Group::Single))
}

/// The losses that are kept, of the lanes from one on.
struct Kept<'k, N> {
    last: &'k [N],
    width: usize,
    begin: usize,
}

impl<N: Number> Kept<'_, N> {
    /// The losses of an epoch in some lanes.
    #[inline(always)]
    fn of<const L: usize>(&self, epoch: usize, at: usize) -> [f64; L] {
        let start = epoch % WINDOW * self.width + self.begin + at;
        let mut own = [0.0; L];
        for (own, loss) in own.iter_mut().zip(&self.last[start..][..L]) {
            *own = (*loss).into();
        }
        own
    }

    /// Σ min(ℓ, 10⁶·ℓ₀) over some epochs, and the bits in which a loss differs from ℓ₀.
    #[inline(always)]
    fn sum<const L: usize>(
        &self,
        at: usize,
        epochs: &Range<usize>,
        firsts: &[f64],
        sums: &mut [f64],
        changed: &mut [u64],
    ) {
        let firsts = &firsts[at..][..L];
        let (mut sum, mut bits) = ([0.0; L], [0; L]);
        for epoch in epochs.clone() {
            let losses = self.of::<L>(epoch, at);
            for lane in 0..L {
                let (loss, most) = (losses[lane], LARGEST_RATIO * firsts[lane]);
                // NaN is not below anything.
                sum[lane] += if loss < most { loss } else { most };
                bits[lane] |= loss.to_bits() ^ firsts[lane].to_bits();
            }
        }
        sums[at..][..L].copy_from_slice(&sum);
        changed[at..][..L].copy_from_slice(&bits);
    }

    /// See [`RecentLosses::climbs`].
    #[inline(always)]
    fn climb<const L: usize>(&self, at: usize, done: usize, out: &mut [f64]) {
        let none = if done == 1 { 0.0 } else { f64::NEG_INFINITY };
        let (mut climb, begin) = ([none; L], recent(done).start);
        let mut before = self.of::<L>(begin, at);
        for epoch in begin + 1..done {
            let after = self.of::<L>(epoch, at);
            for lane in 0..L {
                let by = after[lane] - before[lane] * (1.0 - SAME);
                climb[lane] = if by > climb[lane] { by } else { climb[lane] };
            }
            before = after;
        }
        out[at..][..L].copy_from_slice(&climb);
    }
}

/// The epochs before `done` whose losses tell whether a run still falls, or repeats.
fn recent(done: usize) -> Range<usize> {
    done.saturating_sub(LONGEST_PERIOD + 1)..done
}

/// Whether a sequence of losses repeats after up to 16 of them.
fn repeats(losses: &[f64], same: f64) -> bool {
    (1..=LONGEST_PERIOD).any(|period| {
        losses.len() >= 2 * period
            && losses[period..]
                .iter()
                .zip(losses)
                .all(|(a, b)| (a - b).abs() <= same * a.max(*b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_repeat_or_stand_still_or_do_neither() {
        for (losses, expected) in [
            (&[1.0, 2.0, 1.0, 2.0, 1.0][..], true),
            (&[1.0, 2.0, 3.0, 1.0, 2.0, 3.0], true),
            (&[1.0, 2.0, 3.0, 1.0, 2.0], false),
            (&[1.0, 2.0, 1.0 + 9e-10, 2.0 + 9e-10], true),
            (&[3.0, 2.0, 1.0, 3.0, 2.0, 1.0], true),
            (&[1.0; 32], true),
            (&[4.0, 2.0, 1.0, 0.5], false),
            (&[], false),
        ] {
            assert_eq!(repeats(losses, SAME), expected, "{losses:?}");
            if losses.is_empty() {
                continue;
            }
            let (kept, mut climbs) = (kept(losses), [0.0; 2]);
            kept.climbs(losses.len(), &mut climbs);
            assert!(climbs[1] >= 0.0 || !expected, "{losses:?}");
            assert_eq!(kept.repeats(losses.len(), 1, SAME), expected, "{losses:?}");
        }
    }

    /// A second run beside the first, which must not affect it.
    fn kept(losses: &[f64]) -> RecentLosses<f64> {
        let mut kept = RecentLosses::new(2);
        for (epoch, loss) in losses.iter().enumerate() {
            kept.keep(epoch, &[f64::NAN, *loss]);
        }
        kept
    }

    fn ratio(losses: &[f64], epochs: usize) -> f64 {
        let mut ratio = [0.0];
        kept(losses).ratios(1..2, losses.len(), epochs, &mut ratio);
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
            (&[1e300, 1e301], 2, 5.5),
            (&[1e-310, 1e-309], 2, 5.5),
            (&[1.0; 3], 4, (3.0 + 1e6) / 4.0),
        ] {
            assert!((ratio(losses, epochs) - expected).abs() < 1e-9);
        }
    }
}
