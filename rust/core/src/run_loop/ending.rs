//! How runs end: who ends early, and what is kept and said of each.

use super::{histories, RunLoop};
use crate::history::Last;
use crate::judge::Facts;
use crate::kernel::{unload, vectorized, Number};
use crate::lanes::{Ending, Verdict};
use crate::rest::Question;
use crate::results::Runs;
use crate::{Optimizer, Outcome};

impl<N: Number> RunLoop<'_, N> {
    /// Ends the runs that diverged in the last epoch of a span, or need no other. Their lanes
    /// repeat a run that goes on; returns whether there is one.
    pub(super) fn end_some(&mut self, runs: &mut Runs, done: usize) -> bool {
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
            for planes in [weights, memory] {
                repeat(planes, width, model, lane);
            }
            repeat(&mut self.own, width, model, lane);
            repeat(&mut self.lanes.frozen, width, model, lane);
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
            rates: &self.own[..self.task.rates_per_run * self.width],
            before: &self.saved[0],
            lanes: &mut self.lanes,
            judge: &self.judge,
            done,
        };
        vectorized(self.task.settings.machine.instruction_set, ending);
    }

    /// Ends the runs that are left.
    pub(super) fn end_all(&mut self, runs: &mut Runs, done: usize) {
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
    pub(super) fn judge_block(&mut self, runs: &mut Runs, done: usize) {
        let (verdicts, active) = (&self.lanes.verdict, &self.lanes.active);
        let facts = || verdicts.iter().zip(active);
        for (outcome, (verdict, active)) in runs.arrays.outcome.iter_mut().zip(facts()) {
            *outcome = if *active { verdict.outcome() } else { *outcome };
        }
        let mut count = 0;
        for (lane, (verdict, active)) in facts().take(runs.count()).enumerate() {
            self.some[count] = lane;
            let is_open = matches!(verdict, Verdict::Dead | Verdict::Doubt);
            count += usize::from(*active & is_open);
        }
        for (died_at, (verdict, active)) in runs.arrays.died_at.iter_mut().zip(facts()) {
            let is_born_dead = *active & (*verdict == Verdict::BornDead);
            // From −1 to 0.
            *died_at += i64::from(is_born_dead);
        }
        for place in 0..count {
            let lane = self.some[place];
            match self.lanes.verdict[lane] {
                Verdict::Dead => self.deaths.keep(self.first + lane, lane, done),
                _ => self.judge_run(runs, lane, done),
            }
        }
    }

    /// Judges a run by the facts of its last epochs, or keeps it for later.
    fn judge_run(&mut self, runs: &mut Runs, lane: usize, done: usize) {
        let run = self.first + lane;
        let verdict = self.lanes.verdict[lane];
        runs.arrays.outcome[lane] = verdict.outcome();
        match verdict {
            Verdict::Unresolved | Verdict::Converged => {}
            Verdict::BornDead => runs.arrays.died_at[lane] = 0,
            Verdict::Dead => self.deaths.keep(run, lane, done),
            Verdict::Doubt if self.lanes.may_be_dead[lane] && self.is_dead(runs, lane, done) => {
                runs.arrays.outcome[lane] = Outcome::Dead;
                self.deaths.keep(run, lane, done);
            }
            Verdict::Doubt => self.doubt(lane, done),
        }
    }

    /// Keeps a run for later.
    fn doubt(&mut self, lane: usize, done: usize) {
        let (lanes, same) = (&self.lanes, self.judge.same());
        let facts = Facts {
            moved: lanes.moved[lane],
            size: lanes.size[lane],
            rises: lanes.rises(lane),
            repeats: self.losses.repeats(done, lane, same),
            recent: self.losses.highest(done, lane),
        };
        self.judge.doubt(self.first + lane, done, facts);
    }

    /// Whether the run of a lane is dead, and stays so.
    fn is_dead(&mut self, runs: &mut Runs, lane: usize, done: usize) -> bool {
        self.unload(runs, lane);
        let own = self.task.hyperparameters(runs.own_of(lane));
        if !self.judge.dead.is(runs.weights_of(lane), own.gain) {
            return false;
        }
        let rates = self.rates(runs, lane, done);
        let [weights, memory] = runs.state_of(lane);
        let optimizer = self.task.settings.optimizer;
        self.judge
            .dead
            .stays(optimizer, own, &rates, [weights, memory])
    }

    /// The learning rates of a run in its last epoch.
    fn rates(&self, runs: &Runs, lane: usize, done: usize) -> Vec<f64> {
        let count = self.task.rates_per_run;
        let factor = self.task.factor_after(done);
        let rates = &runs.own_of(lane)[..count];
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
        let own = self.task.hyperparameters(runs.own_of(lane));
        let question = Question {
            weights: &weights,
            rates: &rates,
            own,
            size,
            moves: false,
            highest: self.highest.of(lane),
            tolerance: self.judge.rounding(),
        };
        self.judge.is_at_rest(question)
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

/// Lets a lane repeat what another one has.
fn repeat<T: Copy>(planes: &mut [T], width: usize, model: usize, lane: usize) {
    for plane in planes.chunks_exact_mut(width) {
        plane[lane] = plane[model];
    }
}
