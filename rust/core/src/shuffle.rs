//! The order of the rows in every epoch of mini-batches.

use rand_mt::Mt;

use crate::{Batches, Progress};

/// Draws the order of an epoch when it is due, with the bits of NumPy's
/// `RandomState(seed).permutation(rows)`.
///
/// Training goes through the epochs one after the other, and now and then returns to the
/// first epoch of a span, or to its own first epoch with other runs. What is needed for that is
/// kept.
pub(crate) struct Shuffle {
    /// The generator as it was before the first epoch of the training, and that epoch.
    first: (Mt, usize),
    /// The generator as it was before the first epoch of the span, and that epoch.
    span: (Mt, usize),
    /// The generator as it is before the next epoch, and that epoch.
    next: (Mt, usize),
    order: Vec<usize>,
}

impl Shuffle {
    pub fn new(batches: Batches, rows: usize) -> Self {
        let start = (Mt::new(batches.seed), 0);
        Self {
            first: start.clone(),
            span: start.clone(),
            next: start,
            order: vec![0; rows],
        }
    }

    /// Makes another epoch the first one: the orders before it, those of an earlier training, are
    /// drawn and forgotten. If that is ended in the middle, no epoch is to be drawn.
    pub fn from(mut self, epoch: usize, progress: &Progress) -> Self {
        while self.next.1 < epoch && !progress.is_ended() {
            self.draw();
        }
        self.first = self.next.clone();
        self.span = self.next.clone();
        self
    }

    /// Begins a span of epochs at the one that comes next, or at one that was gone through.
    pub fn begin(&mut self, epoch: usize) {
        if epoch == self.next.1 {
            self.span = self.next.clone();
            return;
        }
        if epoch != self.span.1 {
            self.span = self.first.clone();
        }
        self.next = self.span.clone();
        while self.next.1 < epoch {
            self.draw();
        }
    }

    /// The rows of the next epoch.
    pub fn draw(&mut self) -> &[usize] {
        for (row, place) in self.order.iter_mut().enumerate() {
            *place = row;
        }
        let (generator, epoch) = &mut self.next;
        // Fisher and Yates, as NumPy's legacy generator does it.
        for row in (1..self.order.len()).rev() {
            self.order.swap(row, up_to(generator, row));
        }
        *epoch += 1;
        &self.order
    }
}

/// A whole number from 0 to `most`, of which there are fewer than 2^32: bits are drawn until
/// they are not above it.
fn up_to(generator: &mut Mt, most: usize) -> usize {
    let mask = usize::MAX >> most.leading_zeros();
    loop {
        let drawn = generator.next_u32() as usize & mask;
        if drawn <= most {
            return drawn;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.random.RandomState(7).permutation(6)`, three times.
    const NUMPY: [[usize; 6]; 3] = [[3, 5, 0, 2, 1, 4], [4, 5, 3, 2, 1, 0], [1, 2, 3, 5, 4, 0]];

    #[test]
    fn rows_are_shuffled_as_numpy_does_it() {
        let mut shuffle = Shuffle::new(Batches { size: 2, seed: 7 }, 6);
        for expected in NUMPY {
            assert_eq!(shuffle.draw(), expected);
        }
    }

    #[test]
    fn an_epoch_has_the_same_order_whenever_it_is_drawn() {
        let mut shuffle = Shuffle::new(Batches { size: 2, seed: 7 }, 6);
        for (begin, epochs) in [
            (0, 0..2),
            (0, 0..1),
            (1, 1..3),
            (1, 1..2),
            (0, 0..3),
            (2, 2..3),
        ] {
            shuffle.begin(begin);
            for epoch in epochs {
                assert_eq!(shuffle.draw(), NUMPY[epoch], "from {begin}, epoch {epoch}");
            }
        }
    }

    #[test]
    fn a_training_that_goes_on_draws_the_orders_that_are_left() {
        let shuffle = Shuffle::new(Batches { size: 2, seed: 7 }, 6);
        let mut shuffle = shuffle.from(1, &Progress::default());
        for begin in [1, 2, 1, 1, 2] {
            shuffle.begin(begin);
            assert_eq!(shuffle.draw(), NUMPY[begin], "epoch {begin}");
        }
    }
}
