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

use crate::alike::{self, Alike};
use crate::deaths::Deaths;
use crate::highest::Highest;
use crate::history::Histories;
use crate::judge::Judge;
use crate::kernel::{kernel, load, vectorized, Kernel, Number, Trace};
use crate::lanes::{Beginning, Lanes};
use crate::recent_losses::{RecentLosses, WINDOW};
use crate::record::Recorded;
use crate::results::Runs;
use crate::task::Task;
use crate::validation::Validation;
use crate::{Outcome, PerQuantity, Quantity, Stall};

mod ending;

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
    /// What the runs have of their own, shape (numbers, width).
    own: Vec<f64>,
    /// Weights and the optimizer's memory before the span.
    saved: [Vec<N>; 2],
    losses: RecentLosses<N>,
    lanes: Lanes,
    validation: Option<Validation<'a, N>>,
    judge: Judge<'a, N>,
    highest: Highest<N>,
    deaths: Deaths,
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
        let judge = Judge::new(task, plain);
        Self {
            width,
            recorded: settings.recorded(),
            bound: N::rounded(largest).into(),
            longest,
            room,
            trace: Trace::new(room, planes),
            place: 0,
            own: vec![0.0; task.own() * width],
            saved: kernel.state().map(|values| values.to_vec()),
            losses: RecentLosses::new(width),
            deaths: Deaths::new(task, &judge.dead, width),
            judge,
            highest: Highest::new(width, settings.machine.instruction_set),
            lanes: Lanes::new(width),
            first: 0,
            some: vec![0; width],
            validation,
            kernel,
            task,
        }
    }

    /// Trains runs and judges them.
    pub fn train(&mut self, mut runs: Runs) {
        let settings = self.task.settings;
        let is_long = settings.epochs >= alike::LONG && runs.count() > self.width;
        let is_seen = settings.records_any() || settings.looks_at_each_epoch();
        let alike = (is_long && !is_seen)
            .then(|| Alike::new(&*self.kernel, runs.start, runs.count()))
            .flatten();
        let Some(alike) = alike else {
            return self.train_in_order(runs);
        };
        let all = 0..runs.count();
        self.train_in_order(alike.runs(runs.arrays.part(&all)));
        alike.put_back(&mut runs.arrays);
    }

    /// Trains runs, as many at a time as the kernel is wide.
    fn train_in_order(&mut self, mut runs: Runs) {
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
        self.highest.find(&mut runs, self.task, kernel, trace);
        self.judge.settle(&mut runs, kernel, trace);
        let dead = &mut self.judge.dead;
        self.deaths.date(&mut runs, self.task, dead, kernel, trace);
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
            if span.len() > 1 || span.start == 0 {
                let (weights, dead) = (&self.saved[0], &self.judge.dead);
                self.deaths.see(span.start, weights, self.task, dead);
            }
            self.highest.tell(&mut self.trace);
            let (own, bound) = (&self.own, self.bound);
            let first = self.task.first_epoch;
            let epochs = first + span.start..first + span.end;
            let healthy = self.kernel.advance(own, epochs, bound, &mut self.trace);
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
        load(&mut self.own, width, runs.start.own, count);
        self.lanes.frozen = self.task.frozen(&self.own, width);
        let beginning = Beginning {
            lanes: &mut self.lanes,
            judge: &self.judge,
            weights: self.kernel.weights(),
        };
        vectorized(self.task.settings.machine.instruction_set, beginning);
        self.highest.begin();
        if let Some(validation) = &mut self.validation {
            validation.begin(&self.own);
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
}

fn histories<'h, 'a>(runs: &'h mut Runs<'a>, recorded: Recorded) -> Histories<'h, 'a> {
    Histories {
        runs: runs.count(),
        arrays: &mut runs.arrays.histories,
        recorded,
    }
}
