//! Brings the runs of a thread to their end, block after block.
//!
//! A block is as many runs as a kernel has lanes. It advances by **spans** of epochs: between
//! two spans lies all that is not arithmetic on weights, such as recording, counting, and
//! looking at who has ended. Spans begin short, since most runs that diverge do so at once,
//! and grow.
//!
//! A kernel only tells whether all runs of the block came through a span well. If one did
//! not, the loop **rolls back**: it restores the state from before the span and goes forward
//! in smaller spans, down to one epoch, after which it looks at each run. The run that
//! diverged keeps the weights that it had before that epoch, and its lane repeats another run
//! from there on, so that it never stops the others again.
//!
//! Runs **end early** when they diverge, when they have converged and are told to stop then,
//! when validation says so, or when the time is up. All others end together, after the last epoch. What is said of a
//! run's end (its outcome, its period, its loss ratio) needs the losses of its last epochs:
//! these are always traced.
//!
//! Epochs are counted from the first one of this training. Only a kernel is told the number that an
//! epoch has since the beginning, where it [goes on](crate::Start::epoch) from another training.

use std::ops::Range;
use std::sync::atomic::Ordering;

use pulp::NullaryFnOnce;

use crate::history::{Histories, Last};
use crate::kernel::{kernel, load, unload, vectorized, Kernel, Number, Trace};
use crate::outcome::Dead;
use crate::recent_losses::{RecentLosses, WINDOW};
use crate::record::Recorded;
use crate::results::Runs;
use crate::task::Task;
use crate::validation::Validation;
use crate::{Activation, Outcome, PerQuantity, Quantity};

/// A span has no more products than this, since [`crate::Progress`] is looked at between spans.
const PATIENCE: usize = 1 << 22;
/// A trace has no more values than stay in the cache of a core.
const MOST_TRACED: usize = 1 << 12;
/// Epochs of the longest span.
const LONGEST: usize = 32 * WINDOW;
/// Epochs of the first span.
const FIRST: usize = 8;

/// A kernel with what it needs to bring runs to their end.
pub(crate) struct RunLoop<'a, N: Number> {
    kernel: Box<dyn Kernel<N> + 'a>,
    width: usize,
    task: Task<'a>,
    recorded: Recorded,
    bound: f64,
    /// Epochs of the longest span.
    longest: usize,
    /// Epochs that the trace has room for.
    room: usize,
    trace: Trace<N>,
    /// The place in the trace of the last epoch that was done.
    place: usize,
    /// Shape (rates of a run, width).
    learning_rate: Vec<N>,
    /// Weights and the optimizer's memory before the span.
    saved: [Vec<N>; 2],
    losses: RecentLosses<N>,
    dead: Dead<'a>,
    is_relu: bool,
    lanes: Lanes,
    validation: Option<Validation<'a, N>>,
    /// Scratch of shape (width,).
    doubtful: Vec<usize>,
}

/// What is known of each run of the block, shape (width,) each.
struct Lanes {
    active: Vec<bool>,
    /// Whether its run ends with this epoch.
    ended: Vec<bool>,
    /// The largest |∂L/∂w| of the last epoch.
    steepest: Vec<f64>,
    /// See [`crate::Training::loss_ratio`].
    loss_ratio: Vec<f64>,
    may_oscillate: Vec<bool>,
}

impl Lanes {
    /// Takes gradients of shape (parameters, width).
    #[inline(always)]
    fn measure_steepest<N: Number>(&mut self, gradients: &[N], width: usize) {
        self.steepest.fill(0.0);
        for plane in gradients.chunks_exact(width) {
            for (steepest, gradient) in self.steepest.iter_mut().zip(plane) {
                let size = (*gradient).into().abs();
                *steepest = if size > *steepest { size } else { *steepest };
            }
        }
    }
}

/// What is asked of all runs of a block that end together, after so many epochs.
struct Ending<'e, N> {
    losses: &'e mut RecentLosses<N>,
    gradients: &'e [N],
    lanes: &'e mut Lanes,
    done: usize,
}

impl<N: Number> NullaryFnOnce for Ending<'_, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (lanes, done) = (self.lanes, self.done);
        let width = lanes.active.len();
        self.losses
            .ratios(0..width, done, done, &mut lanes.loss_ratio);
        if done > 0 {
            lanes.measure_steepest(self.gradients, width);
            self.losses.may_oscillate(done, &mut lanes.may_oscillate);
        }
    }
}

impl<'a, N: Number> RunLoop<'a, N> {
    /// For so many runs.
    pub fn new(task: Task<'a>, runs: usize) -> Self {
        let mut kernel = kernel::<N>(task, runs);
        let (width, values) = (kernel.width(), kernel.weights().len());
        let (settings, network) = (task.settings, task.network);
        let record = settings.record;
        let validation = Validation::new(task, width, kernel.state().map(|values| values.len()));
        let rows = task.data.rows() + validation.as_ref().map_or(0, Validation::rows);
        let work = rows.saturating_mul(values).max(1);
        let most = if settings.looks_at_each_epoch() {
            1
        } else {
            LONGEST
        };
        let longest = (PATIENCE / work).min(most).max(1);
        let room = if settings.records_any() {
            MOST_TRACED / (width + values)
        } else {
            WINDOW
        };
        let room = room.clamp(1, longest);
        let planes = PerQuantity::new(|quantity| {
            let wanted = match quantity {
                // Always wanted.
                Quantity::Loss => true,
                Quantity::Weights => record[quantity] || settings.record_validation,
                _ => record[quantity],
            };
            usize::from(wanted) * quantity.values(network) * width
        });
        let largest = settings.divergence_bound.min(N::LARGEST);
        Self {
            width,
            recorded: settings.recorded(),
            bound: N::rounded(largest).into(),
            longest,
            room,
            trace: Trace::new(room, planes),
            place: 0,
            learning_rate: vec![N::rounded(0.0); task.rates_per_run * width],
            saved: kernel.state().map(|values| values.to_vec()),
            losses: RecentLosses::new(width),
            dead: Dead::new(network, task.data),
            is_relu: network.activation() == Activation::Relu,
            doubtful: vec![0; width],
            lanes: Lanes {
                active: vec![true; width],
                ended: vec![false; width],
                steepest: vec![0.0; width],
                loss_ratio: vec![f64::NAN; width],
                may_oscillate: vec![false; width],
            },
            validation,
            kernel,
            task,
        }
    }

    /// Trains runs, as many at a time as the kernel is wide.
    pub fn train(&mut self, mut runs: Runs) {
        while runs.count() > 0 && !self.task.progress.is_cancelled() {
            let block = runs.take(self.width);
            self.train_block(block);
        }
    }

    fn train_block(&mut self, mut runs: Runs) {
        let (count, epochs) = (runs.count(), self.task.settings.epochs);
        self.begin(&runs);
        let (mut done, mut length) = (0, FIRST.min(self.longest));
        // Epochs before `done` whose losses were all kept.
        let mut kept = 0;
        let (mut end, mut stopped) = (epochs, false);
        while done < end {
            if !stopped && self.task.progress.stop.load(Ordering::Relaxed) {
                stopped = true;
                let known = kept >= done.min(WINDOW);
                end = end.min(done.saturating_add(if known { 0 } else { WINDOW }));
                continue;
            }
            let span = self.plan(done, length, end);
            self.save();
            let (rates, bound) = (&self.learning_rate, self.bound);
            let first = self.task.first_epoch;
            let epochs = first + span.start..first + span.end;
            let healthy = self.kernel.advance(rates, epochs, bound, &mut self.trace);
            if self.task.progress.is_cancelled() {
                return;
            }
            if !healthy && span.len() > 1 {
                self.restore();
                // What was traced, and the last gradients, are of epochs that are undone.
                kept = 0;
                length = span.len().div_ceil(4);
                continue;
            }
            let traced = done + self.trace.first..span.end;
            for (epoch, loss) in traced.zip(self.trace.loss().chunks_exact(self.width)) {
                self.losses.keep(epoch, loss);
            }
            histories(&mut runs, self.recorded).record(&span, &self.trace, &self.lanes.active);
            if let Some(validation) = &mut self.validation {
                let histories = &mut runs.arrays.validation;
                validation.record(histories, &span, &self.trace, &self.lanes.active);
            }
            self.count(span.len(), count);
            kept = match self.trace.first {
                0 => kept + span.len(),
                first => span.len() - first,
            };
            done = span.end;
            self.place = span.len() - 1 - self.trace.first.min(span.len() - 1);
            length = length.saturating_mul(4).min(self.longest);
            let all_go_on = healthy && !self.task.settings.looks_at_each_epoch();
            if !all_go_on && !self.end_some(&mut runs, done) {
                break;
            }
        }
        self.count(epochs - done, count);
        self.end_all(&mut runs, done);
        if let Some(validation) = &self.validation {
            validation.restore_best(&mut runs);
        }
    }

    /// Puts the runs into lanes.
    fn begin(&mut self, runs: &Runs) {
        let (count, width) = (runs.count(), self.width);
        let [weights, memory] = self.kernel.state();
        load(weights, width, runs.start.weights, count);
        match runs.start.memory {
            Some(values) => load(memory, width, values, count),
            None => memory.fill(N::rounded(0.0)),
        }
        load(
            &mut self.learning_rate,
            width,
            runs.start.learning_rate,
            count,
        );
        self.lanes.active.fill(true);
        if let Some(validation) = &mut self.validation {
            validation.begin();
        }
    }

    /// The next span, of at most so many epochs, and what of it is to be traced: all of it if
    /// there is room, else from the next recorded epoch on, or the last epochs of all, or the
    /// first one, with which losses are compared.
    fn plan(&mut self, done: usize, length: usize, end: usize) -> Range<usize> {
        let record = self.task.settings.records_any();
        let recorded = self.recorded.next(done).filter(|_| record);
        let last = end.saturating_sub(WINDOW);
        let wanted = if done == 0 {
            0
        } else {
            recorded.unwrap_or(end).min(last)
        };
        let from = wanted.max(done);
        // If the next recorded epoch is far behind this one, nothing between them is traced.
        let alone = Some(from) == recorded
            && from < last
            && self.recorded.step().is_some_and(|step| step > self.room);
        let room = if alone { 1 } else { self.room };
        let stop = end
            .min(done.saturating_add(length))
            .min(from.saturating_add(room));
        self.trace.first = if stop - done <= self.room {
            0
        } else {
            from.min(stop) - done
        };
        done..stop
    }

    fn save(&mut self) {
        for (saved, values) in self.saved.iter_mut().zip(self.kernel.state()) {
            saved.copy_from_slice(values);
        }
    }

    fn restore(&mut self) {
        for (saved, values) in self.saved.iter().zip(self.kernel.state()) {
            values.copy_from_slice(saved);
        }
    }

    fn count(&self, epochs: usize, runs: usize) {
        let counted = (epochs as u64).saturating_mul(runs as u64);
        let epochs = &self.task.progress.epochs;
        epochs.fetch_add(counted, Ordering::Relaxed);
    }

    /// Ends the runs that diverged in the last epoch of a span, or need no other. Their lanes
    /// repeat a run that goes on; returns whether there is one.
    fn end_some(&mut self, runs: &mut Runs, done: usize) -> bool {
        let width = self.width;
        let losses = &self.trace.loss()[self.place * width..][..width];
        for (ended, loss) in self.lanes.ended.iter_mut().zip(losses) {
            let at_most = (*loss).into() <= self.bound;
            *ended = !at_most;
        }
        for plane in self.kernel.weights().chunks_exact(width) {
            for (ended, weight) in self.lanes.ended.iter_mut().zip(plane) {
                *ended |= !weight.is_finite();
            }
        }
        let gradients = self.kernel.gradients();
        self.lanes.measure_steepest(gradients, width);
        self.look(done);
        let stop = self.task.settings.stop_when_converged;
        for lane in 0..runs.count() {
            if !self.lanes.active[lane] {
                continue;
            }
            if self.lanes.ended[lane] {
                for (planes, values) in self.saved.iter().zip(runs.state_of(lane)) {
                    unload(planes, width, lane, values);
                }
                runs.arrays.outcome[lane] = Outcome::Diverged;
                self.compare(lane, done, self.task.settings.epochs);
                self.measure(runs, lane, done);
            } else if stop && self.is_at_rest(lane, done) {
                self.lanes.may_oscillate[lane] = false;
                self.end_one(runs, lane, done);
            } else if self.is_told_to_stop(lane) {
                self.end_one(runs, lane, done);
            } else {
                continue;
            }
            self.end_history(runs, lane, done);
        }
        for lane in (0..runs.count()).filter(|lane| self.lanes.ended[*lane]) {
            self.lanes.active[lane] = false;
        }
        let Some(model) = (0..runs.count()).find(|lane| self.lanes.active[*lane]) else {
            return false;
        };
        for lane in (0..width).filter(|lane| self.lanes.ended[*lane]) {
            let [weights, memory] = self.kernel.state();
            for planes in [weights, memory, &mut self.learning_rate] {
                for plane in planes.chunks_exact_mut(width) {
                    plane[lane] = plane[model];
                }
            }
        }
        true
    }

    /// Ends a run that did not diverge.
    fn end_one(&mut self, runs: &mut Runs, lane: usize, done: usize) {
        self.unload(runs, lane);
        self.compare(lane, done, done);
        self.finish(runs, lane, done);
        self.lanes.ended[lane] = true;
    }

    /// Looks at the rows of validation, if that ends runs.
    fn look(&mut self, done: usize) {
        let Some(validation) = &mut self.validation else {
            return;
        };
        let (active, ended) = (&self.lanes.active, &self.lanes.ended);
        let [weights, memory] = self.kernel.state();
        if validation.is_any_told_to_stop(done, [weights, memory], active, ended) {
            self.losses
                .may_oscillate(done, &mut self.lanes.may_oscillate);
        }
    }

    /// Whether the last look at the rows of validation ends a run.
    fn is_told_to_stop(&self, lane: usize) -> bool {
        let validation = self.validation.as_ref();
        validation.is_some_and(|validation| validation.is_told_to_stop(lane))
    }

    /// Ends the runs that are left.
    fn end_all(&mut self, runs: &mut Runs, done: usize) {
        let ending = Ending {
            losses: &mut self.losses,
            gradients: self.kernel.gradients(),
            lanes: &mut self.lanes,
            done,
        };
        vectorized(self.task.settings.machine.instruction_set, ending);
        self.judge(runs, done);
        let histories_end = done < self.task.settings.epochs || self.recorded.has_last();
        for lane in (0..runs.count()).filter(|_| histories_end) {
            if self.lanes.active[lane] {
                self.end_history(runs, lane, done);
            }
        }
    }

    /// Keeps what came of the runs that are still active: the same as [`Self::finish`] for each
    /// of them, array by array.
    fn judge(&mut self, runs: &mut Runs, done: usize) {
        let (width, count) = (self.width, runs.count());
        if self.lanes.active[..count].contains(&false) || done == 0 {
            for lane in 0..count {
                if self.lanes.active[lane] {
                    self.unload(runs, lane);
                    self.finish(runs, lane, done);
                }
            }
            return;
        }
        let arrays = &mut runs.arrays;
        let ends = [&mut *arrays.weights, &mut *arrays.memory];
        for (values, planes) in ends.into_iter().zip(self.kernel.state()) {
            let each = values.len() / count;
            for (index, plane) in planes.chunks_exact(width).enumerate() {
                for (run, value) in values.chunks_exact_mut(each).zip(plane) {
                    run[index] = (*value).into();
                }
            }
        }
        arrays.epochs.fill(i64::try_from(done).unwrap_or(i64::MAX));
        arrays.period.fill(0);
        arrays
            .loss_ratio
            .copy_from_slice(&self.lanes.loss_ratio[..count]);
        self.losses.write_last(done, arrays.last_loss);
        let (mut doubtful, mut doubts) = (std::mem::take(&mut self.doubtful), 0);
        for lane in 0..count {
            let (outcome, look_closer) = self.first_look(runs, lane, done);
            runs.arrays.outcome[lane] = outcome;
            doubtful[doubts] = lane;
            doubts += usize::from(look_closer);
        }
        for lane in &doubtful[..doubts] {
            self.look_closer(runs, *lane, done);
        }
        self.doubtful = doubtful;
    }

    /// Keeps the weights of a run, and what the optimizer remembers of it.
    fn unload(&mut self, runs: &mut Runs, lane: usize) {
        for (planes, values) in self.kernel.state().into_iter().zip(runs.state_of(lane)) {
            unload(planes, self.width, lane, values);
        }
    }

    fn end_history(&mut self, runs: &mut Runs, lane: usize, done: usize) {
        if let Some(validation) = &mut self.validation {
            let (last, active) = (self.trace.weights(self.place), &self.lanes.active);
            validation.end_history(&mut runs.arrays.validation, lane, done, last, active);
        }
        let last = Last {
            trace: &self.trace,
            place: self.place,
        };
        histories(runs, self.recorded).end(lane, self.width, done, &last);
    }

    fn is_at_rest(&self, lane: usize, done: usize) -> bool {
        let tolerance = self.task.settings.tolerance;
        self.losses.at(done - 1, lane) <= tolerance || self.lanes.steepest[lane] <= tolerance
    }

    /// Compares the end of a single run with its beginning.
    fn compare(&mut self, lane: usize, done: usize, epochs: usize) {
        let ratio = &mut self.lanes.loss_ratio[lane..=lane];
        self.losses.ratios(lane..lane + 1, done, epochs, ratio);
    }

    /// Keeps how far a run came.
    fn measure(&self, runs: &mut Runs, lane: usize, done: usize) {
        runs.arrays.period[lane] = 0;
        runs.arrays.epochs[lane] = i64::try_from(done).unwrap_or(i64::MAX);
        runs.arrays.loss_ratio[lane] = self.lanes.loss_ratio[lane];
        runs.arrays.last_loss[lane] = match done {
            0 => f64::NAN,
            done => self.losses.at(done - 1, lane),
        };
    }

    /// Keeps what came of a run that did not diverge.
    fn finish(&mut self, runs: &mut Runs, lane: usize, done: usize) {
        self.measure(runs, lane, done);
        self.name(runs, lane, done);
    }

    /// Names the outcome of a run that did not diverge.
    fn name(&mut self, runs: &mut Runs, lane: usize, done: usize) {
        let (outcome, look_closer) = self.first_look(runs, lane, done);
        runs.arrays.outcome[lane] = outcome;
        if look_closer {
            self.look_closer(runs, lane, done);
        }
    }

    /// What a loss and a gradient say of a run that did not diverge, and whether its weights or
    /// its losses may say something else. No branch depends on the run, since runs end in any order.
    #[inline(always)]
    fn first_look(&self, runs: &Runs, lane: usize, done: usize) -> (Outcome, bool) {
        if done == 0 {
            // Nothing is known of it.
            return (Outcome::Unresolved, false);
        }
        let tolerance = self.task.settings.tolerance;
        let steepest = self.lanes.steepest[lane];
        let reached = runs.arrays.last_loss[lane] <= tolerance;
        let flat = steepest <= tolerance;
        let may_be_dead = self.is_relu & (steepest == 0.0) & flat;
        let may_oscillate = self.lanes.may_oscillate[lane] & !flat;
        let outcome = if reached | flat {
            Outcome::Converged
        } else {
            Outcome::Unresolved
        };
        (outcome, !reached & (may_be_dead | may_oscillate))
    }

    fn look_closer(&mut self, runs: &mut Runs, lane: usize, done: usize) {
        if self.lanes.steepest[lane] == 0.0 {
            if self.dead.is(runs.weights_of(lane)) {
                runs.arrays.outcome[lane] = Outcome::Dead;
            }
        } else if let Some(period) = self.losses.period(done, lane) {
            runs.arrays.period[lane] = u8::try_from(period).unwrap_or(u8::MAX);
            runs.arrays.outcome[lane] = Outcome::Oscillating;
        }
    }
}

fn histories<'h, 'a>(runs: &'h mut Runs<'a>, recorded: Recorded) -> Histories<'h, 'a> {
    Histories {
        runs: runs.count(),
        arrays: &mut runs.arrays.histories,
        recorded,
    }
}
