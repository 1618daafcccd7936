//! Runs of a thread brought to their end, block after block.

use std::ops::Range;
use std::sync::atomic::Ordering;

use crate::arithmetic::{aligned, Number};
use crate::kernel::{load, unload, Kernel, Trace};
use crate::losses::{Losses, WINDOW};
use crate::outcome::Dead;
use crate::runs::{Recorded, Runs};
use crate::train::Task;
use crate::{Activation, Outcome};

/// Products between two looks at [`crate::Progress`].
const PATIENCE: usize = 1 << 22;
/// Values of a trace: it stays in the cache of a core.
const MOST_TRACED: usize = 1 << 12;
/// Epochs done at once when none of them is recorded.
const LONGEST: usize = 32 * WINDOW;
/// Epochs done at once in the beginning, when most runs diverge that ever do.
const FIRST: usize = 8;

/// A kernel with what it needs to bring runs to their end.
pub(crate) struct Descent<'a, K: Kernel> {
    kernel: K,
    task: Task<'a>,
    recorded: Recorded,
    bound: f64,
    /// Most epochs to do at once.
    longest: usize,
    trace: Trace<K::Number>,
    learning_rate: Vec<K::Number>,
    /// Weights and the optimizer's memory before the span.
    saved: [Vec<K::Number>; 2],
    losses: Losses<K::Number>,
    /// See [`crate::Training::loss_ratio`], shape (width,).
    loss_ratio: Vec<f64>,
    dead: Dead<'a>,
    active: Vec<bool>,
    /// Lanes whose run ends in this epoch.
    ended: Vec<bool>,
}

impl<'a, K: Kernel> Descent<'a, K> {
    #[inline(always)]
    pub fn new(mut kernel: K, task: Task<'a>) -> Self {
        let (width, values) = (kernel.width(), kernel.weights().len());
        let settings = task.settings;
        let record = settings.record;
        let work = task.data.rows().saturating_mul(values);
        let records = settings.columns(task.network) != [0; 4];
        let most = match (settings.stop_early, records) {
            (true, _) => 1,
            (false, true) => MOST_TRACED / (width + values),
            (false, false) => LONGEST,
        };
        let longest = (PATIENCE / work).min(most).max(1);
        let traced = if records {
            longest
        } else {
            longest.min(WINDOW)
        };
        let zero = K::Number::rounded(0.0);
        let wanted = |wanted: bool, values| aligned(zero, if wanted { traced * values } else { 0 });
        Self {
            longest,
            trace: Trace {
                first: 0,
                loss: wanted(true, width),
                prediction: wanted(record.prediction, width),
                gradients: wanted(record.gradients, values),
                weights: wanted(record.weights, values),
            },
            learning_rate: vec![zero; task.groups * width],
            saved: kernel.state().map(|values| values.to_vec()),
            losses: Losses::new(width),
            loss_ratio: vec![f64::NAN; width],
            dead: Dead::new(task.network, task.data),
            active: vec![true; width],
            ended: vec![false; width],
            recorded: settings.recorded(),
            bound: K::Number::rounded(settings.divergence_bound.min(K::Number::LARGEST)).into(),
            kernel,
            task,
        }
    }

    /// Train runs, as many at a time as the kernel is wide.
    #[inline(always)]
    pub fn run(&mut self, mut runs: Runs) {
        while runs.count() > 0 && !self.is_cancelled() {
            let block = runs.take(self.kernel.width());
            self.train(block);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.task.progress.cancel.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn train(&mut self, mut runs: Runs) {
        let (count, width) = (runs.count(), self.kernel.width());
        let epochs = self.task.settings.epochs;
        let [weights, memory] = self.kernel.state();
        load(weights, width, runs.start.weights, count);
        memory.fill(K::Number::rounded(0.0));
        load(
            &mut self.learning_rate,
            width,
            runs.start.learning_rate,
            count,
        );
        self.active.fill(true);
        let (mut done, mut span) = (0, self.longest.min(FIRST));
        // Epochs before `done` whose losses were all kept.
        let mut kept = 0;
        let (mut end, mut stopped) = (epochs, false);
        while done < end {
            if !stopped && self.task.progress.stop.load(Ordering::Relaxed) {
                stopped = true;
                let known = kept >= done.min(WINDOW);
                end = end.min(done + if known { 0 } else { WINDOW });
                continue;
            }
            let these = done..(done + span).min(end);
            self.trace.first = self.untraced(&these, end);
            for (saved, values) in self.saved.iter_mut().zip(self.kernel.state()) {
                saved.copy_from_slice(values);
            }
            let (rates, bound) = (&self.learning_rate, self.bound);
            let healthy = self
                .kernel
                .advance(rates, these.clone(), bound, &mut self.trace);
            if self.is_cancelled() {
                return;
            }
            if !healthy && these.len() > 1 {
                // Some run ends in these epochs: go back, and forward in smaller steps.
                for (saved, values) in self.saved.iter().zip(self.kernel.state()) {
                    values.copy_from_slice(saved);
                }
                span = these.len().div_ceil(4);
                continue;
            }
            let traced = done + self.trace.first..these.end;
            for (epoch, loss) in traced.zip(self.trace.loss.chunks_exact(width)) {
                self.losses.keep(epoch, loss);
            }
            runs.record(&these, self.recorded, &self.trace, &self.active);
            self.count(these.len(), count);
            kept = match self.trace.first {
                0 => kept + these.len(),
                first => these.len() - first,
            };
            done = these.end;
            span = (4 * span).min(self.longest);
            let goes_on = (healthy && !self.task.settings.stop_early) || self.end(&mut runs, done);
            if !goes_on {
                break;
            }
        }
        self.count(epochs - done, count);
        runs.forget_after(done, self.recorded);
        self.losses
            .ratios(0..width, done, done, &mut self.loss_ratio);
        for lane in 0..count {
            if self.active[lane] {
                unload(self.kernel.weights(), width, lane, runs.weights_of(lane));
                self.finish(&mut runs, lane, done);
            }
        }
    }

    /// How many of these epochs need not be traced: nothing is recorded, and the end is far.
    fn untraced(&self, these: &Range<usize>, end: usize) -> usize {
        let room = self.trace.loss.len() / self.kernel.width();
        if these.len() <= room {
            return 0;
        }
        these.len().min((end - these.start).saturating_sub(WINDOW))
    }

    fn count(&self, epochs: usize, runs: usize) {
        let counted = (epochs as u64).saturating_mul(runs as u64);
        let epochs = &self.task.progress.epochs;
        epochs.fetch_add(counted, Ordering::Relaxed);
    }

    /// End the runs that diverged in the last epoch, or need no other. Their lanes repeat a
    /// run that goes on, so that they never stop the others; false if there is none.
    fn end(&mut self, runs: &mut Runs, done: usize) -> bool {
        let width = self.kernel.width();
        for lane in 0..width {
            let mut weights = self.kernel.weights().iter().skip(lane).step_by(width);
            let healthy =
                self.trace.loss[lane].into() <= self.bound && weights.all(|w| w.is_finite());
            self.ended[lane] = !healthy;
        }
        for lane in 0..runs.count() {
            if !self.active[lane] {
                continue;
            }
            if self.ended[lane] {
                unload(&self.saved[0], width, lane, runs.weights_of(lane));
                runs.arrays.outcome[lane] = Outcome::Diverged;
                self.compare(lane, done, self.task.settings.epochs);
                self.measure(runs, lane, done);
            } else if self.task.settings.stop_early && self.is_at_rest(lane, done) {
                unload(self.kernel.weights(), width, lane, runs.weights_of(lane));
                self.compare(lane, done, done);
                self.finish(runs, lane, done);
                self.ended[lane] = true;
            }
        }
        for lane in (0..runs.count()).filter(|lane| self.ended[*lane]) {
            self.active[lane] = false;
        }
        let Some(model) = (0..runs.count()).find(|lane| self.active[*lane]) else {
            return false;
        };
        for lane in (0..width).filter(|lane| self.ended[*lane]) {
            let [weights, memory] = self.kernel.state();
            for planes in [weights, memory, &mut self.learning_rate] {
                for plane in planes.chunks_exact_mut(width) {
                    plane[lane] = plane[model];
                }
            }
        }
        true
    }

    fn steepest(&self, lane: usize) -> f64 {
        let mut steepest = 0.0_f64;
        for gradients in self.kernel.gradients().chunks_exact(self.kernel.width()) {
            steepest = steepest.max(gradients[lane].into().abs());
        }
        steepest
    }

    fn is_at_rest(&self, lane: usize, done: usize) -> bool {
        let tolerance = self.task.settings.tolerance;
        self.losses.at(done - 1, lane) <= tolerance || self.steepest(lane) <= tolerance
    }

    /// Compare the end of a single run with its beginning.
    fn compare(&mut self, lane: usize, done: usize, epochs: usize) {
        let ratio = &mut self.loss_ratio[lane..=lane];
        self.losses.ratios(lane..lane + 1, done, epochs, ratio);
    }

    /// Keep how far a run came.
    fn measure(&self, runs: &mut Runs, lane: usize, done: usize) {
        runs.arrays.epochs[lane] = i64::try_from(done).unwrap_or(i64::MAX);
        runs.arrays.loss_ratio[lane] = self.loss_ratio[lane];
        runs.arrays.last_loss[lane] = match done {
            0 => f64::NAN,
            done => self.losses.at(done - 1, lane),
        };
    }

    /// Name the outcome of a run that did not diverge.
    fn finish(&mut self, runs: &mut Runs, lane: usize, done: usize) {
        self.measure(runs, lane, done);
        if done == 0 {
            return;
        }
        let is_relu = self.task.network.activation() == Activation::Relu;
        let stuck = is_relu
            && runs.arrays.last_loss[lane] > self.task.settings.tolerance
            && self.steepest(lane) == 0.0
            && self.dead.is(runs.weights_of(lane));
        runs.arrays.outcome[lane] = if stuck {
            Outcome::Dead
        } else if self.is_at_rest(lane, done) {
            Outcome::Converged
        } else if let Some(period) = self.losses.period(done, lane) {
            runs.arrays.period[lane] = u8::try_from(period).unwrap_or(u8::MAX);
            Outcome::Oscillating
        } else {
            Outcome::Unresolved
        };
    }
}
