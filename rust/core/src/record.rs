//! Which quantities can be recorded of an epoch, and which epochs are recorded.

use std::ops::{Index, IndexMut};

use crate::Network;

/// A quantity that can be recorded of every epoch. It is taken before the epoch's update; with
/// mini-batches it is the mean over the rows, each taken before the update of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Quantity {
    /// The loss L, the mean over the rows.
    Loss,
    /// The prediction ŷ, the mean over rows and outputs.
    Prediction,
    /// The gradient ∂L/∂w of every parameter.
    Gradients,
    /// The weights w with which the prediction was made.
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

    /// The count of numbers that one run has in one epoch.
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

    /// The same as [`PerQuantity::new`] with a `make` that can fail.
    ///
    /// # Errors
    /// The error that `make` returns.
    pub fn try_new<E>(make: impl FnMut(Quantity) -> Result<T, E>) -> Result<Self, E> {
        let values: Result<Vec<T>, E> = Quantity::ALL.into_iter().map(make).collect();
        let mut values = values?.into_iter();
        // There are as many values as quantities.
        Ok(Self::new(|_| {
            values.next().unwrap_or_else(|| unreachable!())
        }))
    }

    /// Replaces the value of each quantity by what `make` returns for it.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> PerQuantity<U> {
        PerQuantity(self.0.map(change))
    }

    /// A reference to each value.
    pub fn each_mut(&mut self) -> PerQuantity<&mut T> {
        PerQuantity(self.0.each_mut())
    }

    /// The values, in the order of [`Quantity::ALL`].
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut()
    }
}

impl<T> From<PerQuantity<T>> for [T; Quantity::ALL.len()] {
    fn from(values: PerQuantity<T>) -> Self {
        values.0
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

/// What the weights of runs achieve on the rows of validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looks<T> {
    /// The loss, the mean over the rows.
    pub loss: T,
    /// The share of rows whose class is right, of a cross-entropy.
    pub accuracy: T,
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

/// Which epochs have a place in the histories.
///
/// The places are those of the multiples of `every`, then one for the last epoch of each run,
/// unless every epoch has its own.
#[derive(Clone, Copy)]
pub(crate) struct Recorded {
    pub epochs: usize,
    pub every: usize,
}

impl Recorded {
    /// Places for every `every`-th of `epochs` epochs; with 0 for the last epoch only.
    pub fn new(epochs: usize, every: usize) -> Self {
        Self {
            epochs,
            // A larger step records the same epochs, and products with it could overflow.
            every: every.min(epochs.max(1)),
        }
    }

    /// The number of places for multiples of `every`.
    pub fn regular(self) -> usize {
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

    /// The number of places in a history.
    pub fn count(self) -> usize {
        self.regular() + usize::from(self.has_last())
    }

    /// The next multiple of `every` from an epoch on that has a place, if there is one.
    pub fn next(self, epoch: usize) -> Option<usize> {
        let place = self.place(epoch)?;
        (place < self.regular()).then(|| place * self.every)
    }

    /// The place of the next multiple of `every` from an epoch on.
    pub fn place(self, epoch: usize) -> Option<usize> {
        (self.every > 0).then(|| epoch.div_ceil(self.every))
    }

    /// The number of places for multiples of `every` that lie before an epoch.
    pub fn reached(self, epoch: usize) -> usize {
        self.place(epoch).unwrap_or(0).min(self.regular())
    }

    /// The distance between two recorded epochs; `None` if only the last epoch is recorded.
    pub fn step(self) -> Option<usize> {
        (self.every > 0).then_some(self.every)
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
