//! The epochs in which runs died: they are trained once more, until they do.
//!
//! A dead run of gradient descent stays dead, so that it died after the last span that it began
//! alive. Where that is known of each span, the run is trained once more from there: first in longer
//! **strides**, then epoch by epoch, beside others whose spans may be elsewhere. Other runs are
//! trained from their start.

use pulp::NullaryFnOnce;

use crate::dead::Dead;
use crate::kernel::{load, unload, vectorized, Kernel, Number, Trace};
use crate::results::Runs;
use crate::task::Task;

/// Epochs of a stride, which are faster than as many that are looked at.
const STRIDES: [usize; 2] = [16, 1];

/// Runs that died, whose epoch of death is not known yet.
pub(crate) struct Deaths {
    /// Whether it is known of each span who begins it alive.
    are_seen: bool,
    /// Of the block: the last epoch before which each run was seen alive, or 0, and its weights
    /// there, shape (parameters, width).
    alive: Vec<u64>,
    weights: Vec<f64>,
    /// The first epoch before which it was seen dead.
    until: Vec<u64>,
    left: Vec<Death>,
    /// The weights with which they are trained again, shape (deaths, parameters).
    began: Vec<f64>,
    /// Scratch of shape (width,) each.
    sums: Vec<f64>,
    is_alive: Vec<u64>,
}

/// A run that is alive before an epoch, and dead so many epochs later.
#[derive(Clone, Copy)]
struct Death {
    run: usize,
    alive: usize,
    within: usize,
    /// Its place among the weights that are kept.
    place: usize,
}

impl Deaths {
    pub fn new(task: Task, dead: &Dead, width: usize) -> Self {
        let are_seen = dead.is_certain() && task.is_plain();
        Self {
            are_seen,
            alive: vec![0; width],
            weights: Vec::new(),
            until: vec![u64::MAX; width],
            left: Vec::new(),
            began: Vec::new(),
            sums: vec![0.0; width],
            is_alive: vec![0; width],
        }
    }

    /// Looks at the weights with which a span begins.
    pub fn see<N: Number>(&mut self, epoch: usize, weights: &[N], task: Task, dead: &Dead) {
        if !self.are_seen {
            return;
        }
        if epoch == 0 {
            self.alive.fill(0);
            self.until.fill(u64::MAX);
            self.weights.clear();
            self.weights
                .extend(weights.iter().map(|weight| (*weight).into()));
            return;
        }
        let see = See {
            dead,
            weights,
            epoch: epoch as u64,
            sums: &mut self.sums,
            is_alive: &mut self.is_alive,
            alive: &mut self.alive,
            until: &mut self.until,
            kept: &mut self.weights,
        };
        vectorized(task.settings.machine.instruction_set, see);
    }

    /// Keeps a run that was trained for `done` epochs.
    #[allow(clippy::cast_possible_truncation)]
    pub fn keep(&mut self, run: usize, lane: usize, done: usize) {
        let [alive, until] = [&self.alive, &self.until].map(|epochs| epochs[lane] as usize);
        self.left.push(Death {
            run,
            alive,
            within: done.min(until) - alive,
            place: self.began.len(),
        });
        let planes = self.weights.chunks_exact(self.alive.len());
        self.began.extend(planes.map(|plane| plane[lane]));
    }

    /// Finds the epochs.
    pub fn date<N: Number>(
        &mut self,
        runs: &mut Runs,
        task: Task,
        dead: &mut Dead,
        kernel: &mut dyn Kernel<N>,
        trace: &mut Trace<N>,
    ) {
        if self.left.is_empty() {
            return;
        }
        let parameters = task.network.parameters();
        if !self.are_seen {
            for death in &mut self.left {
                death.place = self.began.len();
                let own = &runs.start.weights[death.run * parameters..][..parameters];
                self.began.extend_from_slice(own);
            }
        }
        let mut again = Again {
            task,
            dead,
            before: vec![N::rounded(0.0); parameters * kernel.width()],
            own: Vec::new(),
            kernel,
            trace,
        };
        // Those of a chunk then die within about as many epochs.
        self.left.sort_by_key(|death| death.within);
        let strides = if self.are_seen { &STRIDES[..] } else { &[1] };
        for stride in strides.iter().copied() {
            let is_near = |death: &Death| stride > 1 && death.within <= stride;
            let first = self.left.partition_point(is_near);
            for some in self.left[first..].chunks_mut(again.kernel.width()) {
                again.load(runs, some, &self.began);
                again.walk(runs, some, &mut self.began, stride);
            }
        }
        for death in &self.left {
            runs.arrays.died_at[death.run] = i64::try_from(death.alive).unwrap_or(i64::MAX);
        }
        self.left.clear();
        self.began.clear();
    }
}

/// Trains runs once more that died.
struct Again<'g, 'd, N: Number> {
    task: Task<'g>,
    dead: &'g mut Dead<'d>,
    kernel: &'g mut dyn Kernel<N>,
    trace: &'g mut Trace<N>,
    /// Weights before a stride, shape (parameters, width).
    before: Vec<N>,
    /// What the runs have of their own, shape (numbers, width).
    own: Vec<f64>,
}

impl<N: Number> Again<'_, '_, N> {
    /// Puts as many runs into lanes as the kernel is wide.
    fn load(&mut self, runs: &Runs, deaths: &[Death], began: &[f64]) {
        let (width, task) = (self.kernel.width(), self.task);
        let parameters = task.network.parameters();
        let (mut weights, mut remembered) = (Vec::new(), Vec::new());
        for death in deaths {
            weights.extend_from_slice(&began[death.place..][..parameters]);
            if let Some(memory) = runs.start.memory {
                let own = &memory[death.run * task.memory()..][..task.memory()];
                remembered.extend_from_slice(own);
            }
        }
        let [own, memory] = self.kernel.state();
        load(own, width, &weights, deaths.len());
        if remembered.is_empty() {
            memory.fill(N::rounded(0.0));
        } else {
            load(memory, width, &remembered, deaths.len());
        }
        self.own = runs.planes(deaths.iter().map(|death| death.run), width);
    }

    /// Trains until all are dead. What is known of a run is then its last stride before that, or
    /// with strides of one epoch the epoch of its death, which is the first that began dead.
    fn walk(&mut self, runs: &Runs, deaths: &mut [Death], began: &mut [f64], stride: usize) {
        let width = self.kernel.width();
        let parameters = self.task.network.parameters();
        let (mut sums, mut may_be_dead) = (vec![0.0; width], vec![false; width]);
        let mut own = vec![0.0; parameters];
        let mut open = vec![false; width];
        open[..deaths.len()].fill(true);
        self.trace.first = stride - 1;
        for done in (0..).step_by(stride) {
            let look = MayBeDead {
                dead: &*self.dead,
                weights: self.kernel.weights(),
                sums: &mut sums,
                out: &mut may_be_dead,
            };
            vectorized(self.task.settings.machine.instruction_set, look);
            for (lane, death) in deaths.iter_mut().enumerate() {
                if !(open[lane] & may_be_dead[lane]) {
                    continue;
                }
                unload(self.kernel.weights(), width, lane, &mut own);
                let epoch = death.alive + done;
                let over =
                    i64::try_from(epoch).unwrap_or(i64::MAX) >= runs.arrays.epochs[death.run];
                let gain = || self.task.hyperparameters(runs.own_of(death.run)).gain;
                if !(over || self.dead.is_certain() || self.dead.is(&own, gain())) {
                    continue;
                }
                open[lane] = false;
                if stride == 1 {
                    death.alive = epoch;
                } else if done > 0 {
                    (death.alive, death.within) = (epoch - stride, stride);
                    let began = &mut began[death.place..][..parameters];
                    unload(&self.before, width, lane, began);
                }
            }
            if !open.contains(&true) || self.task.progress.is_cancelled() {
                return;
            }
            self.before.copy_from_slice(self.kernel.weights());
            let at = self.task.first_epoch + done;
            let epochs = at..at + stride;
            self.kernel
                .advance(&self.own, epochs, f64::INFINITY, self.trace);
        }
    }
}

/// A call of [`Dead::may_be`], compiled for an instruction set.
struct MayBeDead<'m, 'a, N> {
    dead: &'m Dead<'a>,
    weights: &'m [N],
    sums: &'m mut [f64],
    out: &'m mut [bool],
}

impl<N: Number> NullaryFnOnce for MayBeDead<'_, '_, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.dead.may_be(self.weights, self.sums, self.out);
    }
}

/// Keeps an epoch, and the weights before it, of those who are alive there.
struct See<'s, 'a, N> {
    dead: &'s Dead<'a>,
    weights: &'s [N],
    epoch: u64,
    sums: &'s mut [f64],
    is_alive: &'s mut [u64],
    alive: &'s mut [u64],
    until: &'s mut [u64],
    kept: &'s mut [f64],
}

impl<N: Number> NullaryFnOnce for See<'_, '_, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (width, is_alive) = (self.alive.len(), self.is_alive);
        self.dead.is_alive(self.weights, self.sums, is_alive);
        let epochs = self.alive.iter_mut().zip(self.until);
        for ((alive, until), is_alive) in epochs.zip(&*is_alive) {
            *alive = choose(*is_alive, self.epoch, *alive);
            *until = self.epoch.min(*until) | *is_alive;
        }
        let planes = self.weights.chunks_exact(width);
        for (kept, plane) in self.kept.chunks_exact_mut(width).zip(planes) {
            for ((kept, weight), is_alive) in kept.iter_mut().zip(plane).zip(&*is_alive) {
                let weight: f64 = (*weight).into();
                let chosen = choose(*is_alive, weight.to_bits(), kept.to_bits());
                *kept = f64::from_bits(chosen);
            }
        }
    }
}

/// The first number where the mask is set, else the second one. A choice would become a branch,
/// which nothing foretells.
#[inline(always)]
const fn choose(mask: u64, yes: u64, no: u64) -> u64 {
    yes & mask | no & !mask
}
