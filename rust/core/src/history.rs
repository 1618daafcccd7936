//! What is recorded of every epoch, on its way from the kernel to the caller's arrays.

use std::ops::{Index, IndexMut, Range};

use crate::kernel::{aligned, Aligned, Number};
use crate::Network;

/// A quantity that can be recorded of every epoch. It is taken before the epoch's update; with
/// mini-batches it is the mean over the rows, each taken before the update of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Quantity {
    /// L, the mean over the rows.
    Loss,
    /// ŷ, the mean over rows and outputs.
    Prediction,
    /// ∂L/∂w of every parameter.
    Gradients,
    /// w of every parameter, from which the prediction was made.
    Weights,
}

impl Quantity {
    /// Every quantity, in the order in which messages name them.
    pub const ALL: [Self; 4] = [Self::Loss, Self::Prediction, Self::Gradients, Self::Weights];

    /// The name used in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Prediction => "prediction",
            Self::Gradients => "gradients",
            Self::Weights => "weights",
        }
    }

    /// Whether it has a value for each parameter, and not only one for the whole network.
    #[must_use]
    pub const fn is_per_parameter(self) -> bool {
        matches!(self, Self::Gradients | Self::Weights)
    }

    /// Numbers of one run in one epoch.
    #[must_use]
    pub fn values(self, network: &Network) -> usize {
        if self.is_per_parameter() {
            network.parameters()
        } else {
            1
        }
    }
}

/// A value for each [`Quantity`], which is its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerQuantity<T>([T; Quantity::ALL.len()]);

impl<T> PerQuantity<T> {
    /// The value that `make` gives for each quantity.
    pub fn new(mut make: impl FnMut(Quantity) -> T) -> Self {
        Self(Quantity::ALL.map(&mut make))
    }

    /// As [`PerQuantity::new`]; the first error ends it.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn try_new<E>(mut make: impl FnMut(Quantity) -> Result<T, E>) -> Result<Self, E> {
        let [a, b, c, d] = Quantity::ALL;
        Ok(Self([make(a)?, make(b)?, make(c)?, make(d)?]))
    }

    /// Another value for each quantity.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> PerQuantity<U> {
        PerQuantity(self.0.map(change))
    }

    /// The values, in the order of [`Quantity::ALL`].
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut()
    }
}

impl<T> Index<Quantity> for PerQuantity<T> {
    type Output = T;

    fn index(&self, quantity: Quantity) -> &T {
        &self.0[quantity as usize]
    }
}

impl<T> IndexMut<Quantity> for PerQuantity<T> {
    fn index_mut(&mut self, quantity: Quantity) -> &mut T {
        &mut self.0[quantity as usize]
    }
}

/// Which quantities to record.
pub type Record = PerQuantity<bool>;

impl Record {
    /// These quantities and no others.
    #[must_use]
    pub fn of(quantities: &[Quantity]) -> Self {
        Self::new(|quantity| quantities.contains(&quantity))
    }

    /// Whether there is anything to record.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.contains(&true)
    }
}

/// The epochs of a span that a kernel has kept, planes of shape (epochs, values, width); a
/// plane that is not wanted is empty.
pub(crate) struct Trace<N> {
    /// The first epoch of the span that is kept; all that follow are.
    pub first: usize,
    planes: PerQuantity<Aligned<N>>,
}

impl<N: Number> Trace<N> {
    /// With room for so many epochs; `values` tells how many numbers an epoch has in a plane,
    /// over all runs of the block.
    pub fn new(epochs: usize, values: PerQuantity<usize>) -> Self {
        let zero = N::rounded(0.0);
        Self {
            first: 0,
            planes: values.map(|values| aligned(zero, epochs * values)),
        }
    }

    /// Keeps the numbers of an epoch, which is counted from the start of the span.
    #[inline(always)]
    pub fn keep(&mut self, quantity: Quantity, epoch: usize, values: &[N]) {
        let plane = &mut self.planes[quantity];
        if !plane.is_empty() && epoch >= self.first {
            let start = (epoch - self.first) * values.len();
            plane[start..][..values.len()].copy_from_slice(values);
        }
    }

    /// Whether losses are all that is kept.
    pub fn is_loss_only(&self) -> bool {
        let others = [Quantity::Prediction, Quantity::Gradients, Quantity::Weights];
        others
            .iter()
            .all(|quantity| self.planes[*quantity].is_empty())
    }

    /// The place for the losses of an epoch, from `first` on, shape (width,).
    pub fn loss_of(&mut self, epoch: usize, width: usize) -> &mut [N] {
        &mut self.planes[Quantity::Loss][(epoch - self.first) * width..][..width]
    }

    /// Losses of the epochs from `first` on, shape (epochs, width).
    pub fn loss(&self) -> &[N] {
        &self.planes[Quantity::Loss]
    }
}

/// Which epochs have a place in the histories.
///
/// The places are those of the multiples of `every`, then one for the last epoch of each run,
/// unless every epoch has its own.
#[derive(Clone, Copy)]
pub(crate) struct Recorded {
    epochs: usize,
    every: usize,
}

impl Recorded {
    /// Each `every`-th of so many epochs; 0 for the last one only.
    pub fn new(epochs: usize, every: usize) -> Self {
        Self {
            epochs,
            // A larger step records the same epochs, and products with it could overflow.
            every: every.min(epochs.max(1)),
        }
    }

    /// Places for multiples of `every`.
    fn regular(self) -> usize {
        match self.every {
            0 => 0,
            1 => self.epochs,
            every => self.epochs.saturating_sub(1).div_ceil(every),
        }
    }

    /// Whether the last epoch of a run has a place of its own.
    pub fn has_last(self) -> bool {
        self.every != 1 && self.epochs > 0
    }

    /// Places in a history.
    pub fn count(self) -> usize {
        self.regular() + usize::from(self.has_last())
    }

    /// The next multiple of `every` from an epoch on that has a place, if there is one.
    pub fn next(self, epoch: usize) -> Option<usize> {
        let place = self.place(epoch)?;
        (place < self.regular()).then(|| place * self.every)
    }

    /// The place of the next multiple of `every` from an epoch on.
    fn place(self, epoch: usize) -> Option<usize> {
        (self.every > 0).then(|| epoch.div_ceil(self.every))
    }

    /// How far recorded epochs are apart; `None` if there is only the last one.
    pub fn step(self) -> Option<usize> {
        (self.every > 0).then_some(self.every)
    }
}

/// Histories of the runs of a block, each of shape (runs, places, values) or empty.
pub(crate) struct Histories<'h, 'a> {
    pub arrays: &'h mut PerQuantity<&'a mut [f64]>,
    pub runs: usize,
    pub recorded: Recorded,
}

impl Histories<'_, '_> {
    /// Records what was traced of a span, for the runs that are still active.
    #[inline(never)]
    pub fn record<N: Number>(&mut self, span: &Range<usize>, trace: &Trace<N>, active: &[bool]) {
        let (traced, every) = (span.start + trace.first, self.recorded.every);
        let Some(from) = self.recorded.place(traced) else {
            return;
        };
        let to = span.end.div_ceil(every).min(self.recorded.regular());
        if from >= to {
            return;
        }
        let (width, count) = (active.len(), self.recorded.count());
        for quantity in Quantity::ALL {
            let history = &mut *self.arrays[quantity];
            if history.is_empty() {
                continue;
            }
            let values = history.len() / self.runs / count;
            let planes = &trace.planes[quantity][(from * every - traced) * values * width..];
            let groups = history
                .chunks_mut(GROUP * count * values)
                .zip(active.chunks(GROUP));
            let slots = from * values..to * values;
            for (index, (group, active)) in groups.enumerate() {
                let lane = index * GROUP;
                let whole = group.len() == GROUP * count * values && !active.contains(&false);
                if every == 1 && whole {
                    copy_group(group, slots.clone(), &planes[lane..], width);
                    continue;
                }
                let runs = group.chunks_exact_mut(count * values).zip(active);
                for (lane, (run, _)) in (lane..).zip(runs).filter(|(_, (_, active))| **active) {
                    let epochs = planes.chunks(every * values * width);
                    for (slots, planes) in run[slots.clone()].chunks_exact_mut(values).zip(epochs) {
                        copy_lane(slots, planes, lane, width);
                    }
                }
            }
        }
    }

    /// Ends the histories of a run after so many epochs. What it did not reach is NaN; the
    /// place for its last epoch gets the last one that was traced, if there was any.
    pub fn end<N: Number>(&mut self, lane: usize, width: usize, done: usize, last: &Last<N>) {
        let Recorded { epochs, every } = self.recorded;
        if every == 1 && done == epochs {
            return;
        }
        let (regular, count) = (self.recorded.regular(), self.recorded.count());
        let reached = self.recorded.place(done).unwrap_or(0).min(regular);
        for quantity in Quantity::ALL {
            let history = &mut *self.arrays[quantity];
            if history.is_empty() {
                continue;
            }
            let values = history.len() / self.runs / count;
            let run = &mut history[lane * count * values..][..count * values];
            run[reached * values..].fill(f64::NAN);
            if self.recorded.has_last() && done > 0 {
                let planes = &last.trace.planes[quantity][last.place * values * width..];
                copy_lane(&mut run[regular * values..], planes, lane, width);
            }
        }
    }
}

/// The last epoch that was traced, by its place in the trace.
pub(crate) struct Last<'t, N> {
    pub trace: &'t Trace<N>,
    pub place: usize,
}

/// Runs whose values are copied side by side: those of a line of the cache.
const GROUP: usize = 8;

/// Copies the values of neighbouring lanes, of planes that begin with the first of them, to
/// some slots of each run.
#[allow(clippy::many_single_char_names)]
fn copy_group<N: Number>(group: &mut [f64], slots: Range<usize>, planes: &[N], width: usize) {
    let count = slots.len();
    let mut runs = group.chunks_exact_mut(group.len() / GROUP);
    let mut rows: [&mut [f64]; GROUP] = std::array::from_fn(|_| match runs.next() {
        Some(run) => &mut run[slots.clone()][..count],
        None => &mut [],
    });
    let [a, b, c, d, e, f, g, h] = &mut rows;
    let (a, b, c, d) = (
        &mut a[..count],
        &mut b[..count],
        &mut c[..count],
        &mut d[..count],
    );
    let (e, f, g, h) = (
        &mut e[..count],
        &mut f[..count],
        &mut g[..count],
        &mut h[..count],
    );
    for slot in 0..count {
        let plane = &planes[slot * width..][..GROUP];
        a[slot] = plane[0].into();
        b[slot] = plane[1].into();
        c[slot] = plane[2].into();
        d[slot] = plane[3].into();
        e[slot] = plane[4].into();
        f[slot] = plane[5].into();
        g[slot] = plane[6].into();
        h[slot] = plane[7].into();
    }
}

/// Copies the values of one lane, of planes with a value of each lane.
fn copy_lane<N: Number>(slots: &mut [f64], planes: &[N], lane: usize, width: usize) {
    for (slot, plane) in slots.iter_mut().zip(planes.chunks_exact(width)) {
        *slot = plane[lane].into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_multiples_and_of_the_last_epoch() {
        for (epochs, every, expected) in [
            (20, 1, 20),
            (20, 5, 5),
            (21, 5, 5),
            (22, 5, 6),
            (20, 0, 1),
            (20, 99, 2),
            (20, usize::MAX, 2),
            (usize::MAX, usize::MAX / 2, 3),
            (1, 1, 1),
            (1, 7, 1),
            (0, 0, 0),
            (0, 1, 0),
            (0, 9, 0),
        ] {
            let recorded = Recorded::new(epochs, every);
            assert_eq!(recorded.count(), expected, "{epochs} epochs, every {every}");
        }
        assert_eq!(Recorded::new(22, 5).next(16), Some(20));
        assert_eq!(
            Recorded::new(21, 5).next(16),
            None,
            "the last epoch has its own place"
        );
        assert_eq!(Recorded::new(21, 0).next(0), None);
    }
}
