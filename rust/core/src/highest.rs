//! The highest loss that a run had, and the first epoch that had it.
//!
//! Of epochs that are kept the losses are known. Of the others a kernel tells the highest loss,
//! and not always its epoch, since that would take longer than the epochs themselves. Where it does
//! not, the span is gone through once more after training, from the weights with which it began:
//! by few runs, since most have their highest loss at the beginning.

use std::ops::Range;

use pulp::NullaryFnOnce;

use crate::kernel::{load, vectorized, Kernel, Number, Trace, UNKNOWN};
use crate::results::{Arrays, Runs};
use crate::task::Task;
use crate::InstructionSet;

/// The highest losses of a block so far.
pub(crate) struct Highest<N> {
    set: InstructionSet,
    /// Shape (width,) each.
    loss: Vec<N>,
    at: Vec<i64>,
    /// Where the epoch is not known, those of which it is one.
    within: Vec<Range<usize>>,
    /// Weights with which spans began, shape (parameters, width).
    began: Vec<N>,
    /// Scratch of shape (width,).
    kept: Vec<N>,
    /// Runs of all blocks whose epoch is not known, and the weights with which its span began.
    left: Vec<Left>,
    weights: Vec<f64>,
}

/// The number of an epoch that is not known, or not there.
const NONE: i64 = -1;

struct Left {
    run: usize,
    within: Range<usize>,
}

impl<N: Number> Highest<N> {
    pub fn new(width: usize, set: InstructionSet) -> Self {
        let zero = N::rounded(0.0);
        Self {
            set,
            loss: vec![zero; width],
            at: vec![NONE; width],
            within: vec![0..0; width],
            began: Vec::new(),
            kept: vec![zero; width],
            left: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// Begins with other runs.
    pub fn begin(&mut self) {
        self.loss.fill(N::rounded(f64::NAN));
        self.at.fill(NONE);
        self.within.fill(0..0);
    }

    /// The highest loss of a run so far.
    pub fn of(&self, lane: usize) -> f64 {
        self.loss[lane].into()
    }

    /// Tells a kernel, before a span. Of a span that is kept whole it need not know.
    pub fn tell(&self, trace: &mut Trace<N>) {
        if trace.first > 0 {
            trace.highest.loss.copy_from_slice(&self.loss);
        }
    }

    /// Looks at a span that began with these weights, of shape (parameters, width). The first
    /// epoch of all is always kept.
    pub fn see(&mut self, span: &Range<usize>, trace: &Trace<N>, weights: &[N], active: &[bool]) {
        let width = self.loss.len();
        let traced = span.start + trace.first;
        let losses = &trace.loss()[..(span.end - traced) * width];
        let between = &trace.highest;
        if span.start == 0 {
            self.loss.copy_from_slice(&losses[..width]);
            self.kept.copy_from_slice(&losses[..width]);
            self.at.fill(0);
        } else if trace.first > 0 {
            self.kept.copy_from_slice(&between.loss);
        } else {
            self.kept.copy_from_slice(&self.loss);
        }
        let most = Most {
            losses,
            raised: &mut self.kept,
            before: &self.loss,
        };
        if !vectorized(self.set, most) {
            return;
        }
        for (lane, most) in self.kept.iter().copied().enumerate() {
            if most > self.loss[lane] && active[lane] {
                self.loss[lane] = most;
                self.at[lane] = if trace.first > 0 && between.loss[lane] >= most {
                    let epoch = between.epoch[lane];
                    if epoch == UNKNOWN {
                        remember(&mut self.began, width, lane, weights);
                        self.within[lane] = span.start..traced;
                        NONE
                    } else {
                        number(span.start + epoch)
                    }
                } else {
                    let own = losses.iter().skip(lane).step_by(width);
                    number(traced + own.take_while(|loss| **loss != most).count())
                };
            }
        }
    }

    /// Keeps what is known of a run that has ended, one of a block that begins with `first`.
    pub fn keep(&mut self, first: usize, lane: usize, arrays: &mut Arrays) {
        arrays.highest_loss[lane] = self.of(lane);
        arrays.highest_loss_at[lane] = self.at[lane];
        if self.at[lane] == NONE && !self.within[lane].is_empty() {
            self.left.push(Left {
                run: first + lane,
                within: self.within[lane].clone(),
            });
            let planes = self.began.chunks_exact(self.loss.len());
            self.weights.extend(planes.map(|plane| plane[lane].into()));
        }
    }

    /// The same for all runs of the block.
    pub fn keep_all(&mut self, first: usize, arrays: &mut Arrays) {
        let count = arrays.highest_loss.len();
        if self.at[..count].contains(&NONE) {
            for lane in 0..count {
                self.keep(first, lane, arrays);
            }
            return;
        }
        for (out, loss) in arrays.highest_loss.iter_mut().zip(&self.loss) {
            *out = (*loss).into();
        }
        arrays.highest_loss_at.copy_from_slice(&self.at[..count]);
    }

    /// Finds the epochs that are not known, by training once more. A kernel does the same in
    /// each epoch if it leaves them to be found.
    pub fn find(
        &mut self,
        runs: &mut Runs,
        task: Task,
        kernel: &mut dyn Kernel<N>,
        trace: &mut Trace<N>,
    ) {
        let (width, parameters) = (kernel.width(), task.network.parameters());
        let room = trace.room();
        trace.first = 0;
        let weights = self.weights.chunks(width * parameters);
        for (some, weights) in self.left.chunks(width).zip(weights) {
            load(kernel.state()[0], width, weights, some.len());
            let planes = runs.planes(some.iter().map(|left| left.run), width);
            let longest = some.iter().map(|left| left.within.len()).max();
            let longest = longest.unwrap_or(0);
            let mut open = some.len();
            for begin in (0..longest).step_by(room) {
                if open == 0 || task.progress.is_cancelled() {
                    break;
                }
                let epochs = begin..longest.min(begin + room);
                kernel.advance(&planes, epochs.clone(), f64::INFINITY, trace);
                for (lane, left) in some.iter().enumerate() {
                    let at = &mut runs.arrays.highest_loss_at[left.run];
                    if *at >= 0 {
                        continue;
                    }
                    let highest = runs.arrays.highest_loss[left.run];
                    let own = trace.loss().iter().skip(lane).step_by(width);
                    let place = own
                        .take(epochs.len())
                        .position(|loss| (*loss).into() >= highest);
                    if let Some(place) = place {
                        *at = number(left.within.start + begin + place);
                        open -= 1;
                    }
                }
            }
        }
        self.left.clear();
        self.weights.clear();
    }
}

/// Copies the weights of a lane.
fn remember<N: Number>(began: &mut Vec<N>, width: usize, lane: usize, weights: &[N]) {
    began.resize(weights.len(), N::rounded(0.0));
    let planes = began.chunks_exact_mut(width);
    for (own, plane) in planes.zip(weights.chunks_exact(width)) {
        own[lane] = plane[lane];
    }
}

fn number(epoch: usize) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}

/// Raises numbers to the highest of some losses of each run, shape (epochs, width); tells whether
/// one is above what it was before.
struct Most<'m, N> {
    losses: &'m [N],
    raised: &'m mut [N],
    before: &'m [N],
}

impl<N: Number> NullaryFnOnce for Most<'_, N> {
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        for losses in self.losses.chunks_exact(self.raised.len()) {
            for (most, loss) in self.raised.iter_mut().zip(losses) {
                *most = if *loss > *most { *loss } else { *most };
            }
        }
        let pairs = self.raised.iter().zip(self.before);
        pairs.fold(false, |any, (most, before)| any | (most > before))
    }
}
