//! The quantities of some epochs, as a kernel hands them to the run loop.

use super::arithmetic::{aligned, Aligned, Number};
use crate::record::{PerQuantity, Quantity};

/// The epochs of a span that a kernel has kept, planes of shape (epochs, values, width); a
/// plane that is not wanted is empty.
pub(crate) struct Trace<N> {
    /// The first epoch of the span that is kept; every later one is kept too.
    pub first: usize,
    /// Epochs that there is room for.
    room: usize,
    pub planes: PerQuantity<Aligned<N>>,
    /// The highest loss of each run: of the epochs before the span when a kernel begins, raised
    /// in those of the span that are not kept. Of a span that is kept whole nothing is told.
    pub highest: Highest<N>,
}

/// The number of an epoch that a kernel does not know.
pub(crate) const UNKNOWN: usize = usize::MAX;

/// The highest losses of some epochs, shape (width,) each.
pub(crate) struct Highest<N> {
    /// Where its epoch is unknown it may be infinite, which tells nothing.
    pub loss: Aligned<N>,
    /// Where it was raised the first epoch that had it, counted from the start of the span, or
    /// [`UNKNOWN`].
    pub epoch: Vec<usize>,
    /// Whether it is proven that the epochs that are kept have no higher one, either, but for
    /// runs of which nothing is told.
    pub is_proven: bool,
}

impl<N: Number> Highest<N> {
    /// Looks at the losses of an epoch.
    #[inline(always)]
    pub fn see(&mut self, epoch: usize, losses: &[N]) {
        let highest = self.loss.iter_mut().zip(self.epoch.iter_mut());
        for ((highest, when), loss) in highest.zip(losses) {
            let higher = *loss > *highest;
            *highest = if higher { *loss } else { *highest };
            *when = if higher { epoch } else { *when };
        }
    }
}

impl<N: Number> Trace<N> {
    /// Allocates room for so many epochs; `values` tells how many numbers an epoch has in a plane,
    /// over all runs of the block.
    pub fn new(epochs: usize, values: PerQuantity<usize>) -> Self {
        let zero = N::rounded(0.0);
        // There is a loss for each run.
        let width = values[Quantity::Loss];
        Self {
            first: 0,
            room: epochs,
            highest: Highest {
                loss: aligned(zero, width),
                epoch: vec![UNKNOWN; width],
                is_proven: false,
            },
            planes: values.map(|values| aligned(zero, epochs * values)),
        }
    }

    /// Epochs that there is room for.
    pub const fn room(&self) -> usize {
        self.room
    }

    /// Stores the numbers of an epoch, which is counted from the start of the span.
    #[inline(always)]
    pub fn keep(&mut self, quantity: Quantity, epoch: usize, values: &[N]) {
        let plane = &mut self.planes[quantity];
        if !plane.is_empty() && epoch >= self.first {
            let start = (epoch - self.first) * values.len();
            plane[start..][..values.len()].copy_from_slice(values);
        }
    }

    /// Whether the losses are the only quantity that is kept.
    pub fn is_loss_only(&self) -> bool {
        Quantity::ALL
            .iter()
            .all(|quantity| *quantity == Quantity::Loss || self.planes[*quantity].is_empty())
    }

    /// The places for an epoch, counted from the start of the span, each of shape (values,
    /// width); empty for a quantity that is not wanted.
    #[inline(always)]
    pub fn places(&mut self, epoch: usize) -> PerQuantity<&mut [N]> {
        let (place, room) = (epoch - self.first, self.room);
        self.planes.each_mut().map(|plane| {
            let values = plane.len() / room;
            &mut plane[place * values..][..values]
        })
    }

    /// The places for the losses of some first epochs of those that are kept.
    #[inline(always)]
    pub fn first_losses(&mut self, epochs: usize) -> &mut [N] {
        let plane = &mut self.planes[Quantity::Loss];
        let values = plane.len() / self.room;
        &mut plane[..epochs * values]
    }

    /// The weights with which an epoch began, by its place among those that are kept; shape
    /// (parameters, width).
    pub fn weights(&self, place: usize) -> &[N] {
        let weights = &self.planes[Quantity::Weights];
        let values = weights.len() / self.room;
        &weights[place * values..][..values]
    }

    /// The losses of the epochs from `first` on, shape (epochs, width).
    pub fn loss(&self) -> &[N] {
        &self.planes[Quantity::Loss]
    }
}
