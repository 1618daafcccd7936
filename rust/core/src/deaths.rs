//! The epochs in which runs died: nobody looks during training, so the few that did so on the way
//! are trained once more, until they do.

use pulp::NullaryFnOnce;

use crate::dead::Dead;
use crate::kernel::{load, unload, vectorized, Kernel, Number, Trace};
use crate::results::Runs;
use crate::task::Task;

/// Runs that died, whose epoch of death is not known yet.
#[derive(Default)]
pub(crate) struct Deaths {
    left: Vec<usize>,
}

impl Deaths {
    pub fn keep(&mut self, run: usize) {
        self.left.push(run);
    }

    /// Finds the epochs in which runs died: they are trained once more, until they do.
    pub fn date<N: Number>(
        &mut self,
        runs: &mut Runs,
        task: Task,
        dead: &mut Dead,
        kernel: &mut dyn Kernel<N>,
        trace: &mut Trace<N>,
    ) {
        for some in self.left.chunks(kernel.width()) {
            date(runs, some, task, dead, kernel, trace);
        }
        self.left.clear();
    }
}

/// Finds the epochs of as many deaths as a kernel is wide.
fn date<N: Number>(
    runs: &mut Runs,
    deaths: &[usize],
    task: Task,
    dead: &mut Dead,
    kernel: &mut dyn Kernel<N>,
    trace: &mut Trace<N>,
) {
    let width = kernel.width();
    let parameters = task.network.parameters();
    let (mut weights, mut remembered) = (Vec::new(), Vec::new());
    for run in deaths {
        weights.extend_from_slice(&runs.start.weights[run * parameters..][..parameters]);
        if let Some(memory) = runs.start.memory {
            remembered.extend_from_slice(&memory[run * task.memory()..][..task.memory()]);
        }
    }
    let [own, memory] = kernel.state();
    load(own, width, &weights, deaths.len());
    if remembered.is_empty() {
        memory.fill(N::rounded(0.0));
    } else {
        load(memory, width, &remembered, deaths.len());
    }
    let planes = runs.planes(deaths.iter().copied(), width);
    trace.first = 0;
    let mut left: Vec<(usize, usize)> = deaths.iter().copied().enumerate().collect();
    let mut own = vec![0.0; parameters];
    let (mut sums, mut may_be_dead) = (vec![0.0; width], vec![false; width]);
    for epoch in 0.. {
        let look = MayBeDead {
            dead: &*dead,
            weights: kernel.weights(),
            sums: &mut sums,
            out: &mut may_be_dead,
        };
        vectorized(task.settings.machine.instruction_set, look);
        left.retain(|(lane, run)| {
            if !may_be_dead[*lane] {
                return true;
            }
            unload(kernel.weights(), width, *lane, &mut own);
            let over = i64::try_from(epoch).unwrap_or(i64::MAX) >= runs.arrays.epochs[*run];
            let gain = task.hyperparameters(runs.own_of(*run)).gain;
            let is_dead = over || dead.is(&own, gain);
            if is_dead {
                runs.arrays.died_at[*run] = i64::try_from(epoch).unwrap_or(i64::MAX);
            }
            !is_dead
        });
        if left.is_empty() || task.progress.is_cancelled() {
            return;
        }
        let at = task.first_epoch + epoch;
        kernel.advance(&planes, at..at + 1, f64::INFINITY, trace);
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
