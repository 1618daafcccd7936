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
//! or when the time is up. All others end together, after the last epoch. What is said of a
//! run's end (its outcome, its period, its loss ratio) needs the losses of its last epochs:
//! these are always traced.
//!
//! Epochs are counted from the first one of this training. Only a kernel is told the number that an
//! epoch has since the beginning, where it [goes on](crate::Start::epoch) from another training.

use std::ops::Range;
use std::sync::atomic::Ordering;

use pulp::NullaryFnOnce;

use crate::history::{Histories, Last};
use crate::judge::{Facts, Judge, Single};
use crate::kernel::{kernel, load, unload, vectorized, Kernel, Number, Trace};
use crate::recent_losses::{Look, RecentLosses, WINDOW};
use crate::record::Recorded;
use crate::results::Runs;
use crate::task::Task;
use crate::{Optimizer, Outcome, PerQuantity, Quantity, Stall};

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
    lanes: Lanes,
    judge: Judge<'a, N>,
    /// The first run of the block.
    first: usize,
}

/// What is known of each run of the block, shape (width,) each.
struct Lanes {
    active: Vec<bool>,
    /// Whether its run ends with this epoch.
    ended: Vec<bool>,
    /// See [`crate::Training::loss_ratio`].
    loss_ratio: Vec<f64>,
    /// The largest weight at the beginning, and at the end.
    start: Vec<f64>,
    size: Vec<f64>,
    /// The largest change of a weight in the last epoch.
    moved: Vec<f64>,
    /// Whether the loss did not fall in one of the last epochs, and may repeat; the highest of
    /// these epochs.
    rises: Vec<bool>,
    may_repeat: Vec<bool>,
    recent: Vec<f64>,
    may_be_dead: Vec<bool>,
    has_converged: Vec<bool>,
    /// The highest loss, and its epoch.
    highest: Vec<f64>,
    highest_at: Vec<f64>,
    /// The epoch from which on it is asked again whether the run is at rest.
    ask_at: Vec<usize>,
    /// Scratch.
    sums: Vec<f64>,
}

impl Lanes {
    fn new(width: usize) -> Self {
        Self {
            active: vec![true; width],
            ended: vec![false; width],
            loss_ratio: vec![f64::NAN; width],
            start: vec![0.0; width],
            size: vec![0.0; width],
            moved: vec![0.0; width],
            rises: vec![false; width],
            may_repeat: vec![false; width],
            recent: vec![0.0; width],
            may_be_dead: vec![false; width],
            has_converged: vec![false; width],
            highest: vec![f64::NAN; width],
            highest_at: vec![-1.0; width],
            ask_at: vec![0; width],
            sums: vec![0.0; width],
        }
    }

    /// Compares weights with those before the last epoch, shape (parameters, width).
    #[inline(always)]
    fn measure_movement<N: Number>(&mut self, weights: &[N], before: &[N]) {
        let width = self.size.len();
        self.size.copy_from_slice(&self.start);
        self.moved.fill(0.0);
        let planes = weights.chunks_exact(width).zip(before.chunks_exact(width));
        for (plane, before) in planes {
            largest(&mut self.size, plane, |weight, _| weight, before);
            largest(
                &mut self.moved,
                plane,
                |weight, before| weight - before,
                before,
            );
        }
    }

    /// Takes note of the highest losses of a span that began with an epoch.
    #[inline(always)]
    fn see_highest<N: Number>(&mut self, begin: usize, losses: &[N], epochs: &[N]) {
        let begins = begin == 0;
        let start = begin as f64;
        let highest = self.highest.iter_mut().zip(&mut self.highest_at);
        for ((highest, at), (loss, epoch)) in highest.zip(losses.iter().zip(epochs)) {
            let (loss, epoch): (f64, f64) = ((*loss).into(), (*epoch).into());
            let higher = begins | (loss > *highest);
            *highest = if higher { loss } else { *highest };
            *at = if higher { start + epoch } else { *at };
        }
    }
}

/// Raises each value to the size of what is made of two numbers.
#[inline(always)]
fn largest<N: Number>(most: &mut [f64], a: &[N], of: impl Fn(f64, f64) -> f64, b: &[N]) {
    for (most, (a, b)) in most.iter_mut().zip(a.iter().zip(b)) {
        let size = of((*a).into(), (*b).into()).abs();
        *most = if size > *most { size } else { *most };
    }
}

/// What is asked of all runs of a block that end together, after so many epochs.
struct Ending<'e, 'a, N: Number> {
    losses: &'e mut RecentLosses<N>,
    kernel: &'e dyn Kernel<N>,
    /// One learning rate for each run.
    rates: &'e [N],
    before: &'e [N],
    lanes: &'e mut Lanes,
    judge: &'e Judge<'a, N>,
    done: usize,
}

impl<N: Number> NullaryFnOnce for Ending<'_, '_, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (lanes, done) = (self.lanes, self.done);
        let width = lanes.active.len();
        self.losses
            .ratios(0..width, done, done, &mut lanes.loss_ratio);
        if done > 0 {
            let weights = self.kernel.weights();
            lanes.measure_movement(weights, self.before);
            let look = Look {
                rises: &mut lanes.rises,
                may_repeat: &mut lanes.may_repeat,
                highest: &mut lanes.recent,
            };
            self.losses.look(done, self.judge.same(), look);
            let (sums, out) = (&mut lanes.sums, &mut lanes.may_be_dead);
            self.judge.dead.may_be(weights, sums, out);
            let known = self.kernel.sensitivity(&mut lanes.sums);
            let width = width * usize::from(known && self.rates.len() == width);
            let last = self.losses.last(done);
            for lane in 0..width {
                lanes.has_converged[lane] = self.judge.has_converged(Single {
                    sensitivity: lanes.sums[lane],
                    rate: self.rates[lane].into(),
                    loss: last[lane].into(),
                    moved: lanes.moved[lane],
                    size: lanes.size[lane],
                });
            }
        }
    }
}

impl<'a, N: Number> RunLoop<'a, N> {
    /// For so many runs.
    /// `plain` is the task with one update an epoch by gradient descent, without decay.
    pub fn new(task: Task<'a>, plain: Task<'a>, runs: usize) -> Self {
        let mut kernel = kernel::<N>(task, runs);
        let (width, values) = (kernel.width(), kernel.weights().len());
        let (settings, network) = (task.settings, task.network);
        let record = settings.record;
        let work = task.data.rows().saturating_mul(values).max(1);
        let most = if settings.stop_when_converged {
            1
        } else {
            LONGEST
        };
        let longest = (PATIENCE / work).min(most).max(1);
        let room = if record.is_any() {
            MOST_TRACED / (width + values)
        } else {
            WINDOW
        };
        let room = room.clamp(1, longest);
        let planes = PerQuantity::new(|quantity| {
            // Losses are always wanted.
            let wanted = record[quantity] || quantity == Quantity::Loss;
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
            judge: Judge::new(task, plain, runs),
            lanes: Lanes::new(width),
            first: 0,
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
            let mut block = runs.part(first..total.min(first + self.width));
            self.first = first;
            let done = self.train_block(&mut block);
            if self.task.progress.is_cancelled() {
                return;
            }
            self.judge_block(&mut block, done);
        }
        let (judge, kernel) = (&mut self.judge, &mut *self.kernel);
        judge.settle(&mut runs, kernel, &mut self.trace);
        judge.date_deaths(&mut runs, kernel, &mut self.trace);
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
            let highest = &self.trace.highest;
            self.lanes.see_highest(done, &highest.loss, &highest.epoch);
            histories(runs, self.recorded).record(&span, &self.trace, &self.lanes.active);
            self.count(span.len(), count);
            kept = match self.trace.first {
                0 => kept + span.len(),
                first => span.len() - first,
            };
            done = span.end;
            self.place = span.len() - 1 - self.trace.first.min(span.len() - 1);
            length = length.saturating_mul(4).min(self.longest);
            let all_go_on = healthy && !self.task.settings.stop_when_converged;
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
        self.lanes.active.fill(true);
        self.lanes.highest.fill(f64::NAN);
        self.lanes.highest_at.fill(-1.0);
        self.lanes.ask_at.fill(0);
        self.lanes.start.fill(0.0);
        for plane in self.kernel.weights().chunks_exact(width) {
            largest(&mut self.lanes.start, plane, |weight, _| weight, plane);
        }
    }

    /// The next span, of at most so many epochs, and what of it is to be traced: all of it if
    /// there is room, else from the next recorded epoch on, or the last epochs of all, or the
    /// first one, with which losses are compared. The very last epoch is a span of its own, so
    /// that the weights before it are known.
    fn plan(&mut self, done: usize, length: usize, end: usize) -> Range<usize> {
        let record = self.task.settings.record.is_any();
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
        if stop {
            self.lanes
                .measure_movement(self.kernel.weights(), &self.saved[0]);
        }
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
            } else if stop && self.is_at_rest(runs, lane, done) {
                self.unload(runs, lane);
                self.compare(lane, done, done);
                self.measure(runs, lane, done);
                (self.lanes.rises[lane], self.lanes.may_repeat[lane]) = (false, false);
                (self.lanes.may_be_dead[lane], self.lanes.has_converged[lane]) = (true, false);
                self.judge_run(runs, lane, done);
                self.lanes.ended[lane] = true;
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

    /// Ends the runs that are left.
    fn end_all(&mut self, runs: &mut Runs, done: usize) {
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
        let lanes = &self.lanes;
        arrays.highest_loss.copy_from_slice(&lanes.highest[..count]);
        for (at, epoch) in arrays.highest_loss_at.iter_mut().zip(&lanes.highest_at) {
            *at = *epoch as i64;
        }
        self.losses.write_last(done, arrays.last_loss);
    }

    /// Judges the runs that are left by the facts of their last epochs, or keeps them for later.
    fn judge_block(&mut self, runs: &mut Runs, done: usize) {
        if done == 0 {
            return;
        }
        for lane in 0..runs.count() {
            let lanes = &self.lanes;
            let is_small = self.judge.is_small(lanes.moved[lane], lanes.size[lane]);
            if (lanes.rises[lane] | is_small | lanes.may_be_dead[lane]) & lanes.active[lane] {
                self.judge_run(runs, lane, done);
            }
        }
    }

    fn judge_run(&mut self, runs: &mut Runs, lane: usize, done: usize) {
        let (first, lanes) = (self.first, &self.lanes);
        let facts = Facts {
            moved: lanes.moved[lane],
            size: lanes.size[lane],
            rises: lanes.rises[lane],
            repeats: lanes.may_repeat[lane] && self.losses.repeats(done, lane, self.judge.same()),
            recent: lanes.recent[lane],
        };
        let has_converged = lanes.has_converged[lane];
        if lanes.may_be_dead[lane] && self.is_dead(runs, lane, done) {
            runs.arrays.outcome[lane] = Outcome::Dead;
            self.judge.died(first + lane);
        } else if has_converged {
            runs.arrays.outcome[lane] = Outcome::Converged;
        } else if facts.rises || self.judge.is_small(facts.moved, facts.size) {
            self.judge.doubt(first + lane, done, facts);
        }
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

    fn end_history(&self, runs: &mut Runs, lane: usize, done: usize) {
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
            .is_at_rest(&weights, &rates, size, self.lanes.highest[lane])
    }

    /// Compares the end of a single run with its beginning.
    fn compare(&mut self, lane: usize, done: usize, epochs: usize) {
        let ratio = &mut self.lanes.loss_ratio[lane..=lane];
        self.losses.ratios(lane..lane + 1, done, epochs, ratio);
    }

    /// Keeps how far a run came.
    fn measure(&self, runs: &mut Runs, lane: usize, done: usize) {
        let arrays = &mut runs.arrays;
        arrays.epochs[lane] = i64::try_from(done).unwrap_or(i64::MAX);
        arrays.loss_ratio[lane] = self.lanes.loss_ratio[lane];
        arrays.highest_loss[lane] = self.lanes.highest[lane];
        arrays.highest_loss_at[lane] = self.lanes.highest_at[lane] as i64;
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
