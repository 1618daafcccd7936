//! The arrays of a training, cut into the runs of each thread and each block.

use std::ops::Range;

use crate::arithmetic::Number;
use crate::kernel::Trace;
use crate::{Arrays, Start};

/// Some neighbouring runs: where they start, and where their results go.
pub(crate) struct Runs<'a> {
    pub start: Start<'a>,
    pub arrays: Arrays<'a>,
}

impl Runs<'_> {
    pub fn count(&self) -> usize {
        self.arrays.outcome.len()
    }

    /// Split off the first `count` runs.
    pub fn take(&mut self, count: usize) -> Self {
        let total = self.count();
        let count = count.min(total);
        // Every array has the same number of values for each run, possibly none.
        macro_rules! split {
            ($array:expr, $split:ident) => {{
                let whole = std::mem::take(&mut $array);
                let at = whole.len() / total * count;
                let (front, rest) = whole.$split(at);
                $array = rest;
                front
            }};
        }
        Self {
            start: Start {
                weights: split!(self.start.weights, split_at),
                learning_rate: split!(self.start.learning_rate, split_at),
            },
            arrays: Arrays {
                weights: split!(self.arrays.weights, split_at_mut),
                outcome: split!(self.arrays.outcome, split_at_mut),
                epochs: split!(self.arrays.epochs, split_at_mut),
                last_loss: split!(self.arrays.last_loss, split_at_mut),
                loss_ratio: split!(self.arrays.loss_ratio, split_at_mut),
                period: split!(self.arrays.period, split_at_mut),
                loss: split!(self.arrays.loss, split_at_mut),
                prediction: split!(self.arrays.prediction, split_at_mut),
                gradients: split!(self.arrays.gradients, split_at_mut),
                weight_history: split!(self.arrays.weight_history, split_at_mut),
            },
        }
    }

    fn parameters(&self) -> usize {
        self.arrays.weights.len() / self.count()
    }

    /// The final weights of a run.
    pub fn weights_of(&mut self, run: usize) -> &mut [f64] {
        let parameters = self.parameters();
        &mut self.arrays.weights[run * parameters..][..parameters]
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
        let parameters = self.parameters();
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
            keep(self.arrays.loss, 1, &trace.loss);
            keep(self.arrays.prediction, 1, &trace.prediction);
            keep(self.arrays.gradients, parameters, &trace.gradients);
            keep(self.arrays.weight_history, parameters, &trace.weights);
        }
    }

    /// Every run of the block has ended before the last epoch: the rest is NaN.
    pub fn forget_after(&mut self, done: usize, recorded: Recorded) {
        if done == recorded.epochs {
            return;
        }
        let slots = recorded.count();
        let from = done.div_ceil(recorded.every).min(slots);
        let count = self.count();
        for history in [
            &mut *self.arrays.loss,
            &mut *self.arrays.prediction,
            &mut *self.arrays.gradients,
            &mut *self.arrays.weight_history,
        ] {
            let per_run = history.len() / count;
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
