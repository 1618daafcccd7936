//! Names the outcomes of runs: the definitions are in docs/outcomes.md.
//!
//! Most runs are judged by **cheap facts** of their last epochs: how far the last update moved
//! the weights, whether the loss still fell, whether a neuron is on. The others are **doubts**.
//! They wait until there are as many as a kernel has lanes, whatever block they come from, and
//! are looked at together: what they [rest](crate::rest) on, then where they
//! [go](crate::motion). How long a run is followed is a share of the epochs that it was
//! trained for.

use crate::dead::Dead;
use crate::kernel::{load, Kernel, Number, Trace};
use crate::motion::{Follow, Motion, LONGEST_PERIOD};
use crate::rest::{Question, Rest};
use crate::results::Runs;
use crate::task::Task;
use crate::{Optimizer, Outcome};

/// Numbers are the same if they differ by fewer roundings.
const ROUNDINGS: f64 = 64.0;
/// How near is a return in double precision, relative to the weights.
const SAME: f64 = 1e-9;
/// The same in units of rounding, which a cycle may multiply along its way.
const SAME_ROUNDINGS: f64 = 2048.0;
/// Networks of no more parameters are followed for a larger share of their epochs.
const SMALL: usize = 16;
/// The fewest and the most epochs for which a copy is followed.
const COPIED: [usize; 2] = [16, 512];

/// What the last epochs of a run tell without looking further.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    /// The largest change of a weight in the last epoch.
    pub moved: f64,
    /// The largest weight, at the end or the beginning.
    pub size: f64,
    /// Whether there were last epochs in which the loss did not fall.
    pub rises: bool,
    /// Whether the loss repeats.
    pub repeats: bool,
    /// The highest of the last losses.
    pub recent: f64,
}

/// What the last epoch tells of a run with a single ŷ, trained by gradient descent.
#[derive(Clone, Copy)]
pub(crate) struct Single {
    /// ‖∂ŷ/∂w‖² at the end.
    pub sensitivity: f64,
    pub rate: f64,
    /// Before the last update.
    pub loss: f64,
    pub moved: f64,
    pub size: f64,
}

/// A run whose outcome is not known yet.
struct Doubt {
    run: usize,
    /// Epochs that it was trained for.
    done: usize,
    facts: Facts,
    /// Whether it is asked what it rests on.
    rests: bool,
    /// Whether it is followed.
    goes: bool,
}

/// Judges the runs of a thread.
pub(crate) struct Judge<'a, N> {
    task: Task<'a>,
    plain: Task<'a>,
    pub dead: Dead<'a>,
    /// How far from its minimum a run may be that converged, relative to its weights.
    tolerance: f64,
    same: f64,
    doubts: Vec<Doubt>,
    rest: Option<Rest<'a>>,
    motion: Option<Motion<N>>,
    rates: Vec<f64>,
}

impl<'a, N: Number> Judge<'a, N> {
    /// `plain` is the task with one update an epoch by gradient descent, without decay.
    pub fn new(task: Task<'a>, plain: Task<'a>) -> Self {
        let rounding = ROUNDINGS * task.network.dtype().epsilon();
        Self {
            dead: Dead::new(task.network, task.data),
            tolerance: task.settings.tolerance.max(rounding),
            same: SAME.max(SAME_ROUNDINGS * task.network.dtype().epsilon()),
            doubts: Vec::new(),
            rest: None,
            motion: None,
            rates: Vec::new(),
            task,
            plain,
        }
    }

    /// Whether an update is small enough for a run that converged.
    #[inline(always)]
    pub fn is_small(&self, moved: f64, size: f64) -> bool {
        moved <= 2.0 * self.tolerance * size
    }

    /// Whether a run with a single ŷ has converged to a loss of 0: an update multiplies y − ŷ by
    /// 1 − lr·‖∂ŷ/∂w‖².
    #[inline(always)]
    pub fn has_converged(&self, run: Single) -> bool {
        let contraction = (1.0 - run.rate * run.sensitivity).abs();
        let most = self.tolerance * run.size;
        let left = 2.0 * run.loss * contraction * contraction;
        self.is_small(run.moved, run.size)
            & (contraction < 1.0)
            & (left <= most * most * run.sensitivity)
    }

    /// Whether a run that may be dead is, and stays so.
    pub fn knows_dead(&self) -> bool {
        self.dead.is_certain() && self.task.settings.optimizer == Optimizer::GradientDescent
    }

    /// Whether a loss that does so repeats may belong to weights that return.
    pub const fn same(&self) -> f64 {
        self.same
    }

    /// Keeps a run for later that the facts do not judge.
    pub fn doubt(&mut self, run: usize, done: usize, facts: Facts) {
        let rests = self.is_small(facts.moved, facts.size) || facts.repeats;
        let copied = self.copied(done);
        let several = self.has_batches();
        let goes = facts.repeats || (facts.rises && copied > 0) || (several && rests);
        if rests || goes {
            self.doubts.push(Doubt {
                run,
                done,
                facts,
                rests,
                goes,
            });
        }
    }

    fn has_batches(&self) -> bool {
        let rows = self.task.data.rows();
        let batches = self.task.settings.batches;
        batches.is_some_and(|batches| batches.size < rows)
    }

    /// Epochs for which a copy of a run is followed that was trained for so many.
    fn copied(&self, done: usize) -> usize {
        let small = self.task.network.parameters() <= SMALL;
        let share = done / if small { 32 } else { 256 };
        let [fewest, most] = COPIED;
        // The order of the rows cannot be gone through twice.
        let possible = share >= fewest && !self.has_batches();
        if possible {
            share.min(most)
        } else {
            0
        }
    }

    /// Judges the runs in doubt.
    pub fn settle(&mut self, runs: &mut Runs, kernel: &mut dyn Kernel<N>, trace: &mut Trace<N>) {
        let mut doubts = std::mem::take(&mut self.doubts);
        if doubts.iter().any(|doubt| doubt.rests) {
            self.ask_rest(runs, &doubts);
        }
        doubts.retain(|doubt| doubt.goes && runs.arrays.outcome[doubt.run] == Outcome::Unresolved);
        let width = kernel.width();
        // Those are followed together that are followed for as long.
        let kind = |doubt: &Doubt| (doubt.done, doubt.facts.repeats);
        doubts.sort_by_key(kind);
        let alike = doubts.chunk_by(|a, b| kind(a) == kind(b));
        for some in alike.flat_map(|some| some.chunks(width)) {
            if self.task.progress.is_cancelled() {
                return;
            }
            self.follow(runs, some, kernel, trace);
        }
        self.doubts = doubts;
        self.doubts.clear();
    }

    /// The rates of the last epoch of a run.
    fn rates_of(&mut self, runs: &Runs, run: usize, done: usize) -> &[f64] {
        let factor = self.task.factor_after(done);
        let count = self.task.rates_per_run;
        let rates = &runs.own_of(run)[..count];
        self.rates.clear();
        self.rates.extend(rates.iter().map(|rate| rate * factor));
        &self.rates
    }

    fn ask_rest(&mut self, runs: &mut Runs, doubts: &[Doubt]) {
        let (task, plain) = (self.task, self.plain);
        let mut rest = self.rest.take().unwrap_or_else(|| Rest::new(plain, task));
        let asked: Vec<&Doubt> = doubts.iter().filter(|doubt| doubt.rests).collect();
        for some in asked.chunks(rest.width()) {
            if task.progress.is_cancelled() {
                break;
            }
            let each = task.rates_per_run;
            let mut rates = Vec::with_capacity(some.len() * each);
            for doubt in some {
                rates.extend_from_slice(self.rates_of(runs, doubt.run, doubt.done));
            }
            let parameters = task.network.parameters();
            let weights = &*runs.arrays.weights;
            let highest = &*runs.arrays.highest_loss;
            let own: Vec<_> = some
                .iter()
                .map(|doubt| task.hyperparameters(runs.own_of(doubt.run)))
                .collect();
            let questions: Vec<Question> = some
                .iter()
                .zip(rates.chunks_exact(each).zip(own))
                .map(|(doubt, (rates, own))| Question {
                    weights: &weights[doubt.run * parameters..][..parameters],
                    rates,
                    own,
                    size: doubt.facts.size,
                    moves: !self.is_small(doubt.facts.moved, doubt.facts.size),
                    highest: highest[doubt.run],
                    tolerance: self.tolerance,
                })
                .collect();
            let (outcomes, stalls) = (&mut *runs.arrays.outcome, &mut *runs.arrays.stall);
            rest.ask(&questions, |index, outcome, stall| {
                outcomes[some[index].run] = outcome;
                stalls[some[index].run] = stall;
            });
        }
        self.rest = Some(rest);
    }

    /// The tolerance by which a run rests to its last digits.
    pub fn rounding(&self) -> f64 {
        ROUNDINGS * self.task.network.dtype().epsilon()
    }

    /// Whether a run rests in a minimum.
    pub fn is_at_rest(&mut self, question: Question) -> bool {
        let (task, plain) = (self.task, self.plain);
        let rest = self.rest.get_or_insert_with(|| Rest::new(plain, task));
        let mut found = Outcome::Unresolved;
        rest.ask(&[question], |_, outcome, _| found = outcome);
        found == Outcome::Converged
    }

    fn follow(
        &mut self,
        runs: &mut Runs,
        doubts: &[Doubt],
        kernel: &mut dyn Kernel<N>,
        trace: &mut Trace<N>,
    ) {
        let (width, task) = (kernel.width(), self.task);
        let parameters = task.network.parameters();
        let mut chosen = Vec::with_capacity(doubts.len() * parameters);
        let mut memory = Vec::new();
        for doubt in doubts {
            let [weights, remembered] = runs.state_of(doubt.run);
            chosen.extend_from_slice(weights);
            memory.extend_from_slice(remembered);
        }
        let [own, remembered] = kernel.state();
        load(own, width, &chosen, doubts.len());
        if !remembered.is_empty() {
            load(remembered, width, &memory, doubts.len());
        }
        let own = runs.planes(doubts.iter().map(|doubt| doubt.run), width);
        let of = |value: fn(&Facts) -> f64| -> Vec<f64> {
            (0..width)
                .map(|lane| value(&doubts[lane.min(doubts.len() - 1)].facts))
                .collect()
        };
        let (sizes, losses) = (of(|facts| facts.size), of(|facts| facts.recent));
        let done = doubts[0].done;
        let copied = self.copied(done);
        let most = if doubts[0].facts.repeats {
            done
        } else {
            copied
        };
        let ask = Follow {
            done: task.first_epoch + done,
            longest: LONGEST_PERIOD.min(most).max(2),
            copied,
            same: self.same,
            epsilon: task.network.dtype().epsilon(),
            set: task.settings.machine.instruction_set,
        };
        let motion = self.motion.get_or_insert_with(|| Motion::new(kernel));
        let frozen = task.frozen(&own, width);
        motion.follow(kernel, trace, [&own, &sizes, &losses], &frozen, ask);
        let followed = std::mem::take(&mut motion.followed);
        for (doubt, found) in doubts.iter().zip(&followed) {
            let (run, size) = (doubt.run, doubt.facts.size);
            let far = found.farthest > 100.0 * self.same * size;
            if found.period > 0 && (found.period > 1 && far || self.moves_within(runs, doubt)) {
                runs.arrays.outcome[run] = Outcome::Oscillating;
                runs.arrays.period[run] = u8::try_from(found.period).unwrap_or(u8::MAX);
            } else if found.is_chaotic {
                runs.arrays.outcome[run] = Outcome::Chaotic;
            }
        }
        if let Some(motion) = &mut self.motion {
            motion.followed = followed;
        }
    }

    /// Whether a run that is back after each epoch was elsewhere between its mini-batches: it is
    /// not where the gradient over all rows is 0.
    fn moves_within(&mut self, runs: &mut Runs, doubt: &Doubt) -> bool {
        let (run, size) = (doubt.run, doubt.facts.size);
        if !self.has_batches() {
            return false;
        }
        let rates = self.rates_of(runs, run, doubt.done).to_vec();
        let largest = rates.iter().fold(0.0, |most: f64, rate| most.max(*rate));
        let own = self.task.hyperparameters(runs.own_of(run));
        let weights = runs.weights_of(run).to_vec();
        let Some(rest) = &mut self.rest else {
            return false;
        };
        rest.steepest(&weights, &rates, own) * largest > 100.0 * self.same * size
    }
}
