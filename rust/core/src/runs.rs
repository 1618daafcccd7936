//! The arrays of a training, cut into the runs of each thread and each block.

use std::ops::Range;

use crate::arithmetic::Number;
use crate::kernel::Trace;
use crate::{Arrays, Outcome, Start};

/// Some neighbouring runs, as slices of [`Arrays`].
pub(crate) struct Runs<'a> {
    count: usize,
    /// Shape (runs, 1) or (runs, layers).
    pub learning_rate: &'a [f64],
    pub initial_weights: &'a [f64],
    pub weights: &'a mut [f64],
    pub outcome: &'a mut [Outcome],
    pub epochs: &'a mut [i64],
    pub last_loss: &'a mut [f64],
    pub loss_ratio: &'a mut [f64],
    pub period: &'a mut [u8],
    loss: &'a mut [f64],
    prediction: &'a mut [f64],
    gradients: &'a mut [f64],
    weight_history: &'a mut [f64],
}

impl<'a> Runs<'a> {
    pub fn all(arrays: Arrays<'a>, start: &Start<'a>) -> Self {
        let Arrays {
            weights,
            outcome,
            epochs,
            last_loss,
            loss_ratio,
            period,
            loss,
            prediction,
            gradients,
            weight_history,
        } = arrays;
        Self {
            count: outcome.len(),
            learning_rate: start.learning_rate,
            initial_weights: start.weights,
            weights,
            outcome,
            epochs,
            last_loss,
            loss_ratio,
            period,
            loss,
            prediction,
            gradients,
            weight_history,
        }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Split off the first `count` runs.
    pub fn take(&mut self, count: usize) -> Self {
        let total = self.count;
        let count = count.min(total);
        // Every array has the same number of values for each run, possibly none.
        macro_rules! split {
            ($array:ident) => {{
                let whole = std::mem::take(&mut self.$array);
                let (front, rest) = whole.split_at_mut(whole.len() / total * count);
                self.$array = rest;
                front
            }};
        }
        let (rates, weights) = (self.learning_rate, self.initial_weights);
        let (learning_rate, rates) = rates.split_at(rates.len() / total * count);
        let (initial_weights, weights) = weights.split_at(weights.len() / total * count);
        (self.learning_rate, self.initial_weights) = (rates, weights);
        self.count -= count;
        Self {
            count,
            learning_rate,
            initial_weights,
            weights: split!(weights),
            outcome: split!(outcome),
            epochs: split!(epochs),
            last_loss: split!(last_loss),
            loss_ratio: split!(loss_ratio),
            period: split!(period),
            loss: split!(loss),
            prediction: split!(prediction),
            gradients: split!(gradients),
            weight_history: split!(weight_history),
        }
    }

    /// The final weights of a run.
    pub fn weights_of(&mut self, run: usize) -> &mut [f64] {
        let parameters = self.weights.len() / self.count;
        &mut self.weights[run * parameters..][..parameters]
    }
}

/// Which epochs have a place in the histories: each `every`-th, and the last.
#[derive(Clone, Copy)]
pub(crate) struct Recorded {
    pub epochs: usize,
    pub every: usize,
}

impl Recorded {
    /// Places in a history.
    pub fn count(self) -> usize {
        match self.epochs {
            0 => 0,
            epochs => (epochs - 1).div_ceil(self.every) + 1,
        }
    }

    /// Of some epochs the first that is recorded, how many are, each `every`-th, and the
    /// place of the first; then the same for the last epoch of all if it comes besides.
    fn within(self, span: &Range<usize>) -> [Places; 2] {
        let slot = span.start.div_ceil(self.every);
        let regular = Places {
            first: slot * self.every - span.start,
            count: span.end.div_ceil(self.every) - slot,
            slot,
        };
        let last = self.epochs - 1;
        let besides = span.end == self.epochs && !last.is_multiple_of(self.every);
        let last = Places {
            first: last - span.start.min(last),
            count: usize::from(besides),
            slot: self.count() - 1,
        };
        [regular, last]
    }
}

/// Epochs of a span, and where they are kept.
struct Places {
    first: usize,
    count: usize,
    slot: usize,
}

impl Runs<'_> {
    /// Keep what was traced of these epochs; NaN for runs that have ended.
    #[inline(never)]
    pub fn record<N: Number>(
        &mut self,
        span: &Range<usize>,
        recorded: Recorded,
        trace: &Trace<N>,
        active: &[bool],
    ) {
        let parameters = self.weights.len() / self.count;
        let slots = recorded.count();
        for places in recorded.within(span) {
            let keep = |history: &mut [f64], values: usize, planes: &[N]| {
                places.keep(
                    history,
                    slots * values,
                    values,
                    recorded.every,
                    planes,
                    active,
                );
            };
            keep(self.loss, 1, &trace.loss);
            keep(self.prediction, 1, &trace.prediction);
            keep(self.gradients, parameters, &trace.gradients);
            keep(self.weight_history, parameters, &trace.weights);
        }
    }

    /// Every run of the block has ended before the last epoch: the rest is NaN.
    pub fn forget_after(&mut self, done: usize, recorded: Recorded) {
        if done == recorded.epochs {
            return;
        }
        let slots = recorded.count();
        let from = done.div_ceil(recorded.every).min(slots);
        for history in [
            &mut *self.loss,
            &mut *self.prediction,
            &mut *self.gradients,
            &mut *self.weight_history,
        ] {
            let per_run = history.len() / self.count;
            if per_run == 0 {
                continue;
            }
            for run in history.chunks_exact_mut(per_run) {
                run[per_run / slots * from..].fill(f64::NAN);
            }
        }
    }
}

impl Places {
    /// Copy planes of shape (span, values, width) into a history of shape (runs, slots,
    /// values), or into none.
    fn keep<N: Number>(
        &self,
        history: &mut [f64],
        per_run: usize,
        values: usize,
        every: usize,
        planes: &[N],
        active: &[bool],
    ) {
        if history.is_empty() || self.count == 0 {
            return;
        }
        let width = active.len();
        let planes = &planes[self.first * values * width..];
        for (lane, (run, active)) in history.chunks_exact_mut(per_run).zip(active).enumerate() {
            let slots = &mut run[self.slot * values..][..self.count * values];
            if !active {
                slots.fill(f64::NAN);
            } else if every == 1 {
                copy_lane(slots, planes, lane, width);
            } else {
                let epochs = planes.chunks(every * values * width);
                for (slots, planes) in slots.chunks_exact_mut(values).zip(epochs) {
                    copy_lane(slots, planes, lane, width);
                }
            }
        }
    }
}

/// Values of one lane, of planes with a value of each.
fn copy_lane<N: Number>(slots: &mut [f64], planes: &[N], lane: usize, width: usize) {
    assert!(lane < width, "a lane of the planes");
    for (slot, plane) in slots.iter_mut().zip(planes.chunks_exact(width)) {
        *slot = plane[lane].into();
    }
}
