//! The results of training, either in vectors that it allocates or in arrays of the caller.

use crate::kernel::load;
use crate::memory::{filled, room, zeros};
use crate::record::{Looks, PerQuantity};
use crate::{Error, Network, Outcome, Quantity, Result, Settings, Stall};

/// Declares the results that are one number for each run, each of them once.
macro_rules! results {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// What [`crate::train`] returns. A history that was not recorded is empty; after the
        /// epoch in which a run ended early its histories are NaN.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Training {
            /// Weights after the last update that left them finite, shape (runs, parameters).
            pub weights: Vec<f64>,
            /// What the optimizer remembers with these weights, see [`crate::Optimizer::memory`],
            /// shape (runs, values). It goes on from there: [`crate::Start::memory`].
            pub memory: Vec<f64>,
            $($(#[$doc])* pub $name: Vec<$type>,)*
            /// Of each quantity its history, shape (runs, recorded epochs) or (runs, recorded
            /// epochs, parameters).
            pub histories: PerQuantity<Vec<f64>>,
            /// Histories on the rows of validation, shape (runs, recorded epochs).
            pub validation: Looks<Vec<f64>>,
            /// With early stopping the number of epochs after which the weights were that the
            /// run keeps, shape (runs,); else empty.
            pub best_epoch: Vec<i64>,
        }

        /// Where the results go: arrays of the shapes of [`Training`], empty for a history that
        /// is not recorded.
        #[derive(Debug, Default)]
        pub struct Arrays<'a> {
            /// See [`Training::weights`].
            pub weights: &'a mut [f64],
            /// See [`Training::memory`].
            pub memory: &'a mut [f64],
            $(/// See [`Training`].
            pub $name: &'a mut [$type],)*
            /// See [`Training::histories`].
            pub histories: PerQuantity<&'a mut [f64]>,
            /// See [`Training::validation`].
            pub validation: Looks<&'a mut [f64]>,
            /// See [`Training::best_epoch`].
            pub best_epoch: &'a mut [i64],
        }

        impl Training {
            /// Allocates the results of so many runs.
            ///
            /// # Errors
            /// [`Error::OutOfMemory`].
            pub(crate) fn new(network: &Network, settings: &Settings, runs: usize) -> Result<Self> {
                let columns = settings.columns(network);
                let of_validation = settings.columns_of_validation(network);
                let stops = usize::from(settings.early_stopping.is_some());
                for quantity in Quantity::ALL {
                    // A shape may be beyond memory although there are no runs.
                    room(runs.max(1), columns[quantity])?;
                }
                Ok(Self {
                    weights: zeros(runs, network.parameters())?,
                    memory: zeros(runs, settings.optimizer.memory(network))?,
                    $($name: vec![<$type>::default(); room(runs, 1)?],)*
                    histories: PerQuantity::try_new(|quantity| zeros(runs, columns[quantity]))?,
                    validation: Looks {
                        loss: zeros(runs, of_validation.loss)?,
                        accuracy: zeros(runs, of_validation.accuracy)?,
                    },
                    best_epoch: vec![0; room(runs, stops)?],
                })
            }

            pub(crate) fn arrays(&mut self) -> Arrays<'_> {
                let mut histories = self.histories.iter_mut();
                Arrays {
                    weights: &mut self.weights,
                    memory: &mut self.memory,
                    $($name: &mut self.$name,)*
                    histories: PerQuantity::new(|_| match histories.next() {
                        Some(history) => history,
                        None => &mut [][..],
                    }),
                    validation: Looks {
                        loss: &mut self.validation.loss,
                        accuracy: &mut self.validation.accuracy,
                    },
                    best_epoch: &mut self.best_epoch,
                }
            }
        }

        impl Arrays<'_> {
            /// Splits off the arrays of the first `count` runs.
            pub(crate) fn take(&mut self, count: usize) -> Self {
                let total = self.outcome.len();
                Self {
                    weights: split_front(&mut self.weights, total, count),
                    memory: split_front(&mut self.memory, total, count),
                    $($name: split_front(&mut self.$name, total, count),)*
                    histories: PerQuantity::new(|quantity| {
                        split_front(&mut self.histories[quantity], total, count)
                    }),
                    validation: Looks {
                        loss: split_front(&mut self.validation.loss, total, count),
                        accuracy: split_front(&mut self.validation.accuracy, total, count),
                    },
                    best_epoch: split_front(&mut self.best_epoch, total, count),
                }
            }

            /// The arrays of some of the runs.
            pub(crate) fn part(&mut self, runs: &std::ops::Range<usize>) -> Arrays<'_> {
                let total = self.outcome.len();
                Arrays {
                    weights: part(self.weights, total, runs),
                    memory: part(self.memory, total, runs),
                    $($name: part(self.$name, total, runs),)*
                    histories: self
                        .histories
                        .each_mut()
                        .map(|history| part(history, total, runs)),
                    validation: Looks {
                        loss: part(self.validation.loss, total, runs),
                        accuracy: part(self.validation.accuracy, total, runs),
                    },
                    best_epoch: part(self.best_epoch, total, runs),
                }
            }

            /// Moves the results at each place to that of the run that is named for it.
            pub(crate) fn put_back(&mut self, order: &[usize]) {
                let (swaps, runs) = (&swaps(order)[..], order.len());
                swap(self.weights, runs, swaps);
                swap(self.memory, runs, swaps);
                $(swap(self.$name, runs, swaps);)*
                for history in self.histories.iter_mut() {
                    swap(history, runs, swaps);
                }
                swap(self.validation.loss, runs, swaps);
                swap(self.validation.accuracy, runs, swaps);
                swap(self.best_epoch, runs, swaps);
            }

            /// Refuses arrays of other sizes than the results of so many runs have.
            pub(crate) fn check(
                &self,
                network: &Network,
                settings: &Settings,
                runs: usize,
            ) -> Result<()> {
                let columns = settings.columns(network);
                let fits = |name: &str, found: usize, columns: usize| {
                    if columns.checked_mul(runs) == Some(found) {
                        return Ok(());
                    }
                    Err(Error::Shape {
                        name: name.to_owned().into(),
                        found: format!("{found} values"),
                        allowed: format!("{runs} runs × {columns}"),
                        fix: "give an array of that size",
                    })
                };
                fits("weights", self.weights.len(), network.parameters())?;
                let values = settings.optimizer.memory(network);
                fits("memory", self.memory.len(), values)?;
                $(fits(stringify!($name), self.$name.len(), 1)?;)*
                for quantity in Quantity::ALL {
                    fits(
                        &format!("{} history", quantity.name()),
                        self.histories[quantity].len(),
                        columns[quantity],
                    )?;
                }
                let columns = settings.columns_of_validation(network);
                let stops = usize::from(settings.early_stopping.is_some());
                fits("val_loss history", self.validation.loss.len(), columns.loss)?;
                fits("val_accuracy history", self.validation.accuracy.len(), columns.accuracy)?;
                fits("best_epoch", self.best_epoch.len(), stops)
            }
        }
    };
}

results! {
    /// How the run ended.
    outcome: Outcome,
    /// Epochs that the run went through, fewer than asked for if it ended early: a run that
    /// diverged did so in the last of them.
    epochs: i64,
    /// The loss in the last of its epochs, before the update; NaN without epochs.
    last_loss: f64,
    /// The mean over the last 20 epochs of min(ℓ/ℓ₀, 10⁶), ℓ₀ the first loss; a run that
    /// diverged has 10⁶ afterwards (Sohl-Dickstein, arXiv 2402.06184).
    loss_ratio: f64,
    /// The number of epochs after which the weights return, or 0 if the run does not oscillate.
    period: u8,
    /// Where the run stalled.
    stall: Stall,
    /// The first epoch that began dead, or −1 if the run is not dead.
    died_at: i64,
    /// The highest loss of all its epochs; NaN without epochs.
    highest_loss: f64,
    /// The first epoch that had it; −1 without epochs.
    highest_loss_at: i64,
}

/// Where some runs start.
#[derive(Clone, Copy)]
pub(crate) struct Starts<'a> {
    /// Shape (runs, parameters).
    pub weights: &'a [f64],
    /// The numbers that a run has of its own, shape (runs, numbers): see
    /// [`crate::task::Task::own`].
    pub own: &'a [f64],
    /// See [`crate::Start::memory`].
    pub memory: Option<&'a [f64]>,
}

/// Some neighbouring runs: where they start, and where their results go.
pub(crate) struct Runs<'a> {
    pub start: Starts<'a>,
    pub arrays: Arrays<'a>,
}

impl Runs<'_> {
    pub fn count(&self) -> usize {
        self.arrays.outcome.len()
    }

    /// Splits off the first `count` runs.
    pub fn take(&mut self, count: usize) -> Self {
        let total = self.count();
        let count = count.min(total);
        Self {
            start: Starts {
                weights: split_shared(&mut self.start.weights, total, count),
                own: split_shared(&mut self.start.own, total, count),
                memory: match &mut self.start.memory {
                    Some(memory) => Some(split_shared(memory, total, count)),
                    None => None,
                },
            },
            arrays: self.arrays.take(count),
        }
    }

    /// Some of the runs, from one to another.
    pub fn part(&mut self, runs: std::ops::Range<usize>) -> Runs<'_> {
        let (total, start) = (self.count(), self.start);
        Runs {
            start: Starts {
                weights: shared_part(start.weights, total, &runs),
                own: shared_part(start.own, total, &runs),
                memory: start.memory.map(|memory| shared_part(memory, total, &runs)),
            },
            arrays: self.arrays.part(&runs),
        }
    }

    /// The numbers that a run has of its own.
    pub fn own_of(&self, run: usize) -> &[f64] {
        let each = self.start.own.len() / self.count();
        &self.start.own[run * each..][..each]
    }

    /// The numbers that some runs have of their own, as a kernel takes them: shape (numbers, width).
    pub fn planes(&self, some: impl Iterator<Item = usize>, width: usize) -> Vec<f64> {
        let own: Vec<f64> = some.flat_map(|run| self.own_of(run)).copied().collect();
        let numbers = self.start.own.len() / self.count();
        let mut planes = vec![0.0; numbers * width];
        load(&mut planes, width, &own, own.len() / numbers);
        planes
    }

    /// The final weights of a run.
    pub fn weights_of(&mut self, run: usize) -> &mut [f64] {
        let [weights, _] = self.state_of(run);
        weights
    }

    /// The final weights of a run, and what the optimizer remembers with them.
    pub fn state_of(&mut self, run: usize) -> [&mut [f64]; 2] {
        let count = self.count();
        [&mut *self.arrays.weights, &mut *self.arrays.memory].map(|values| {
            let each = values.len() / count;
            &mut values[run * each..][..each]
        })
    }
}

/// What belongs to some of so many runs.
fn part<'a, T>(values: &'a mut [T], total: usize, runs: &std::ops::Range<usize>) -> &'a mut [T] {
    let each = values.len() / total.max(1);
    &mut values[runs.start * each..runs.end * each]
}

/// The same, for values that are only read.
fn shared_part<'a>(values: &'a [f64], total: usize, runs: &std::ops::Range<usize>) -> &'a [f64] {
    let each = values.len() / total.max(1);
    &values[runs.start * each..runs.end * each]
}

/// Splits off what belongs to the first `count` of `total` runs.
#[allow(clippy::mut_mut)]
fn split_front<'a, T>(values: &mut &'a mut [T], total: usize, count: usize) -> &'a mut [T] {
    let whole = std::mem::take(values);
    let (front, rest) = whole.split_at_mut(whole.len() / total.max(1) * count);
    *values = rest;
    front
}

/// The same as [`split_front`], for values that are only read.
fn split_shared<'a>(values: &mut &'a [f64], total: usize, count: usize) -> &'a [f64] {
    let (front, rest) = values.split_at(values.len() / total.max(1) * count);
    *values = rest;
    front
}

/// The rows of some values in another order.
pub(crate) fn ordered(values: &[f64], order: &[usize]) -> Result<Vec<f64>> {
    let each = values.len() / order.len();
    let mut found = filled(0.0, values.len())?;
    if each > 0 {
        for (row, run) in found.chunks_exact_mut(each).zip(order) {
            row.copy_from_slice(&values[run * each..][..each]);
        }
    }
    Ok(found)
}

/// The pairs of places that are swapped, one after the other, so that what is at each place comes
/// to that of its run: large arrays are put into order without a copy.
pub(crate) fn swaps(order: &[usize]) -> Vec<[usize; 2]> {
    let mut order = order.to_vec();
    let mut swaps = Vec::with_capacity(order.len());
    for place in 0..order.len() {
        while order[place] != place {
            let other = order[place];
            swaps.push([place, other]);
            order.swap(place, other);
        }
    }
    swaps
}

/// Swaps rows of an array of so many. Pairs with the same first place follow each other: what is
/// there is carried along, which is quicker than to write and read it each time.
pub(crate) fn swap<T: Copy>(values: &mut [T], rows: usize, swaps: &[[usize; 2]]) {
    let each = values.len() / rows;
    for pairs in swaps.chunk_by(|a, b| a[0] == b[0]) {
        for column in 0..each {
            let first = pairs[0][0] * each + column;
            let mut carried = values[first];
            for [_, other] in pairs {
                std::mem::swap(&mut carried, &mut values[other * each + column]);
            }
            values[first] = carried;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_to_the_places_of_their_runs() {
        let order = [2, 0, 3, 1, 4];
        let values: Vec<f64> = (0..10).map(f64::from).collect();
        let mut there = ordered(&values, &order).unwrap();
        assert_eq!(there[..4], [4.0, 5.0, 0.0, 1.0]);
        swap(&mut there, order.len(), &swaps(&order));
        assert_eq!(there, values);
    }
}
