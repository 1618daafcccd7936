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

use crate::highest::Highest;
use crate::history::{Histories, Last};
use crate::judge::{Facts, Judge};
use crate::kernel::{kernel, load, unload, vectorized, Kernel, Number, Trace};
use crate::lanes::{Beginning, Ending, Lanes, Verdict};
use crate::recent_losses::{RecentLosses, WINDOW};
use crate::record::Recorded;
use crate::results::Runs;
use crate::task::Task;
use crate::validation::Validation;
use crate::{Optimizer, Outcome, PerQuantity, Quantity, Stall};

/// A span has no more products than this, since [`crate::Progress`] is looked at between spans.
const PATIENCE: usize = 1 << 22;
/// A trace has no more values than stay in the cache of a core.
const MOST_TRACED: usize = 1 << 12;
/// Epochs of the longest span.
const LONGEST: usize = 8 * WINDOW;
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
    lanes: Lanes,
    validation: Option<Validation<'a, N>>,
    judge: Judge<'a, N>,
    highest: Highest<N>,
    /// The first run of the block.
    first: usize,
    /// Scratch of shape (width,).
    some: Vec<usize>,
}

impl<'a, N: Number> RunLoop<'a, N> {
    /// For so many runs.
    /// `plain` is the task with one update an epoch by gradient descent, without decay.
    pub fn new(task: Task<'a>, plain: Task<'a>, runs: usize) -> Self {
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
            judge: Judge::new(task, plain),
            highest: Highest::new(width, settings.machine.instruction_set),
            lanes: Lanes::new(width),
            first: 0,
            some: vec![0; width],
            validation,
            kernel,
            task,
        }
    }

    /// Trains runs, as many at a time as the kernel is wide, and judges them.
    pub fn train(&mut self, mut runs: Runs) {
        let total = runs.count();
        for first in (0..total).step_by(self.width) {
            if self.task.progress.is_cancelled() {
                return;
            }
            let range = first..total.min(first + self.width);
            let mut block = runs.part(range.clone());
            self.first = first;
            let done = self.train_block(&mut block);
            if self.task.progress.is_cancelled() {
                return;
            }
            self.judge_block(&mut block, done);
            if let Some(validation) = self.validation.as_ref().filter(|own| own.restores()) {
                // An outcome is that of the last epoch, not of the weights that are kept.
                let (judge, kernel) = (&mut self.judge, &mut *self.kernel);
                judge.settle(&mut runs, kernel, &mut self.trace);
                validation.restore_best(&mut runs.part(range));
            }
        }
        let (kernel, trace) = (&mut *self.kernel, &mut self.trace);
        self.judge.settle(&mut runs, kernel, trace);
        self.judge.date_deaths(&mut runs, kernel, trace);
        self.highest.find(&mut runs, self.task, kernel, trace);
    }

    /// Trains a block, and returns the number of epochs of the runs that went furthest.
    fn train_block(&mut self, runs: &mut Runs) -> usize {
        let (count, epochs) = (runs.count(), self.task.settings.epochs);
        self.begin(runs);
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
            self.highest.tell(&mut self.trace);
            let (rates, bound) = (&self.learning_rate, self.bound);
            let first = self.task.first_epoch;
            let epochs = first + span.start..first + span.end;
            let healthy = self.kernel.advance(rates, epochs, bound, &mut self.trace);
            if self.task.progress.is_cancelled() {
                return done;
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
            self.highest
                .see(&span, &self.trace, &self.saved[0], &self.lanes.active);
            histories(runs, self.recorded).record(&span, &self.trace, &self.lanes.active);
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
            if !all_go_on && !self.end_some(runs, done) {
                break;
            }
        }
        self.count(epochs - done, count);
        self.end_all(runs, done);
        done
    }

    /// Puts the runs into lanes.
    fn begin(&mut self, runs: &mut Runs) {
        runs.arrays.outcome.fill(Outcome::Unresolved);
        runs.arrays.period.fill(0);
        runs.arrays.stall.fill(Stall::None);
        runs.arrays.died_at.fill(-1);
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
        let beginning = Beginning {
            lanes: &mut self.lanes,
            judge: &self.judge,
            weights: self.kernel.weights(),
        };
        vectorized(self.task.settings.machine.instruction_set, beginning);
        self.highest.begin();
        if let Some(validation) = &mut self.validation {
            validation.begin();
        }
    }

    /// The next span, of at most so many epochs, and what of it is to be traced: all of it if
    /// there is room, else from the next recorded epoch on, or the last epochs of all, or the
    /// first one, with which losses are compared. The very last epoch is a span of its own, so
    /// that the weights before it are known.
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
        let last = if done + 1 < end { end - 1 } else { end };
        let stop = last
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
        let stop = self.task.settings.stop_when_converged;
        self.look_at_validation(done);
        if stop {
            self.lanes
                .measure_movement(self.kernel.weights(), &self.saved[0]);
        }
        let mut has_facts = false;
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
            } else if stop && self.is_at_rest(runs, lane, done) || self.is_told_to_stop(lane) {
                if !has_facts {
                    self.take_facts(done);
                    has_facts = true;
                }
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
        self.measure(runs, lane, done);
        self.judge_run(runs, lane, done);
        self.lanes.ended[lane] = true;
    }

    /// Looks at the rows of validation, if that ends runs.
    fn look_at_validation(&mut self, done: usize) {
        if let Some(validation) = &mut self.validation {
            let (active, ended) = (&self.lanes.active, &self.lanes.ended);
            let [weights, memory] = self.kernel.state();
            validation.look_whether_to_stop(done, [weights, memory], active, ended);
        }
    }

    /// Whether the last look at the rows of validation ends a run.
    fn is_told_to_stop(&self, lane: usize) -> bool {
        let validation = self.validation.as_ref();
        validation.is_some_and(|validation| validation.is_told_to_stop(lane))
    }

    /// Looks at the last epochs of all runs.
    fn take_facts(&mut self, done: usize) {
        let ending = Ending {
            losses: &mut self.losses,
            kernel: &*self.kernel,
            rates: &self.learning_rate,
            before: &self.saved[0],
            lanes: &mut self.lanes,
            judge: &self.judge,
            done,
        };
        vectorized(self.task.settings.machine.instruction_set, ending);
    }

    /// Ends the runs that are left.
    fn end_all(&mut self, runs: &mut Runs, done: usize) {
        self.take_facts(done);
        self.keep_all(runs, done);
        let histories_end = done < self.task.settings.epochs || self.recorded.has_last();
        for lane in (0..runs.count()).filter(|_| histories_end) {
            if self.lanes.active[lane] {
                self.end_history(runs, lane, done);
            }
        }
    }

    /// Keeps what came of the runs that are still active: the same as [`Self::measure`] for each
    /// of them, array by array.
    fn keep_all(&mut self, runs: &mut Runs, done: usize) {
        let (width, count) = (self.width, runs.count());
        if self.lanes.active[..count].contains(&false) || done == 0 {
            for lane in 0..count {
                if self.lanes.active[lane] {
                    self.unload(runs, lane);
                    self.measure(runs, lane, done);
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
        arrays
            .loss_ratio
            .copy_from_slice(&self.lanes.loss_ratio[..count]);
        self.highest.keep_all(self.first, arrays);
        self.losses.write_last(done, arrays.last_loss);
    }

    /// Judges the runs that are left by the facts of their last epochs, or keeps them for later.
    fn judge_block(&mut self, runs: &mut Runs, done: usize) {
        let mut some = std::mem::take(&mut self.some);
        let mut count = 0;
        for (lane, outcome) in runs.arrays.outcome.iter_mut().enumerate() {
            let (verdict, active) = (self.lanes.verdict[lane], self.lanes.active[lane]);
            let is_done = matches!(verdict, Verdict::Unresolved | Verdict::Converged);
            if active & (verdict == Verdict::Converged) {
                *outcome = Outcome::Converged;
            }
            some[count] = lane;
            count += usize::from(active & !is_done);
        }
        for lane in &some[..count] {
            self.judge_run(runs, *lane, done);
        }
        self.some = some;
    }

    /// Judges a run by the facts of its last epochs, or keeps it for later.
    fn judge_run(&mut self, runs: &mut Runs, lane: usize, done: usize) {
        let run = self.first + lane;
        let verdict = self.lanes.verdict[lane];
        match verdict {
            Verdict::Unresolved => {}
            Verdict::Converged => runs.arrays.outcome[lane] = Outcome::Converged,
            Verdict::BornDead => {
                runs.arrays.outcome[lane] = Outcome::Dead;
                runs.arrays.died_at[lane] = 0;
            }
            Verdict::Dead => {
                runs.arrays.outcome[lane] = Outcome::Dead;
                self.judge.died(run);
            }
            Verdict::Doubt if self.lanes.may_be_dead[lane] && self.is_dead(runs, lane, done) => {
                runs.arrays.outcome[lane] = Outcome::Dead;
                self.judge.died(run);
            }
            Verdict::Doubt => self.doubt(lane, done),
        }
    }

    /// Keeps a run for later.
    fn doubt(&mut self, lane: usize, done: usize) {
        let (lanes, same) = (&self.lanes, self.judge.same());
        let may_repeat = lanes.may_repeat(lane, same, self.losses.at(done - 1, lane));
        let facts = Facts {
            moved: lanes.moved[lane],
            size: lanes.size[lane],
            rises: lanes.rises(lane),
            repeats: may_repeat && self.losses.repeats(done, lane, same),
            recent: lanes.recent[lane],
        };
        self.judge.doubt(self.first + lane, done, facts);
    }

    /// Whether the run of a lane is dead, and stays so.
    fn is_dead(&mut self, runs: &mut Runs, lane: usize, done: usize) -> bool {
        self.unload(runs, lane);
        if !self.judge.dead.is(runs.weights_of(lane)) {
            return false;
        }
        let rates = self.rates(runs, lane, done);
        let [weights, memory] = runs.state_of(lane);
        self.judge.stays_dead(weights, &rates, memory)
    }

    /// The learning rates of a run in its last epoch.
    fn rates(&self, runs: &Runs, lane: usize, done: usize) -> Vec<f64> {
        let count = self.task.rates_per_run;
        let factor = self.task.factor_after(done);
        let rates = &runs.start.learning_rate[lane * count..][..count];
        rates.iter().map(|rate| rate * factor).collect()
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

    /// Whether a run would not move any more: its weights are what they were before the epoch,
    /// bit for bit, or they rest in a minimum to their last digits.
    fn is_at_rest(&mut self, runs: &mut Runs, lane: usize, done: usize) -> bool {
        let (moved, size) = (self.lanes.moved[lane], self.lanes.size[lane]);
        let settings = self.task.settings;
        let rounding = 8.0 * self.task.network.dtype().epsilon();
        if self.task.first_epoch + done < settings.schedule.warmup
            || moved.is_nan()
            || moved > rounding * size
        {
            return false;
        }
        let is_fixed = settings.optimizer == Optimizer::GradientDescent
            && settings
                .batches
                .is_none_or(|batches| batches.size >= self.task.data.rows());
        if moved == 0.0 && (is_fixed || self.is_dead(runs, lane, done)) {
            return true;
        }
        // Adam's steps become larger again while it rests.
        let is_adam = matches!(settings.optimizer, Optimizer::Adam { .. });
        if is_adam || done < self.lanes.ask_at[lane] {
            return false;
        }
        // Asking costs some epochs: less and less often.
        self.lanes.ask_at[lane] = done + done / 4 + 1;
        let mut weights = vec![0.0; self.task.network.parameters()];
        unload(self.kernel.weights(), self.width, lane, &mut weights);
        let rates = self.rates(runs, lane, done);
        self.judge
            .is_at_rest(&weights, &rates, size, self.highest.of(lane))
    }

    /// Compares the end of a single run with its beginning.
    fn compare(&mut self, lane: usize, done: usize, epochs: usize) {
        let ratio = &mut self.lanes.loss_ratio[lane..=lane];
        self.losses.ratios(lane..lane + 1, done, epochs, ratio);
    }

    /// Keeps how far a run came.
    fn measure(&mut self, runs: &mut Runs, lane: usize, done: usize) {
        let arrays = &mut runs.arrays;
        arrays.epochs[lane] = i64::try_from(done).unwrap_or(i64::MAX);
        arrays.loss_ratio[lane] = self.lanes.loss_ratio[lane];
        self.highest.keep(self.first, lane, arrays);
        arrays.last_loss[lane] = match done {
            0 => f64::NAN,
            done => self.losses.at(done - 1, lane),
        };
    }
}

fn histories<'h, 'a>(runs: &'h mut Runs<'a>, recorded: Recorded) -> Histories<'h, 'a> {
    Histories {
        runs: runs.count(),
        arrays: &mut runs.arrays.histories,
        recorded,
    }
}
