//! The highest loss that a run had, and the first epoch that had it.
//!
//! Of epochs that are kept the losses are known. Of the others a kernel tells the highest loss, or
//! only a bound above it, since more would take longer than the epochs themselves. Where that is
//! above the highest loss so far, the span is gone through once more after training, from the
//! weights with which it began. Few spans of few runs are, and they are gone through together,
//! whatever block they come from.

use std::ops::Range;

use crate::kernel::{load, vectorized, Kernel, Number, Trace, UNKNOWN};
use crate::peaks::{IsAbove, Look, Peaks};
use crate::results::{Arrays, Runs};
use crate::task::Task;
use crate::InstructionSet;

/// The number of an epoch that is not known, or not there.
const NONE: i64 = -1;

/// The highest losses of a block so far.
pub(crate) struct Highest<N> {
    set: InstructionSet,
    peaks: Peaks<N>,
    /// Spans of the block that may have had a higher loss, by their lanes.
    open: Vec<Span>,
    /// The same for all blocks that have ended, by their runs.
    left: Vec<Span>,
    /// Weights with which these spans began, shape (spans, parameters).
    weights: Vec<f64>,
}

/// The epochs of a run that may have had its highest loss.
#[derive(Clone)]
struct Span {
    /// The lane, or the run.
    of: usize,
    epochs: Range<usize>,
    /// No loss is above it. If it is finite, one of them is equal to it.
    bound: f64,
    /// The place of the weights with which it began.
    began: usize,
}

impl<N: Number> Highest<N> {
    pub fn new(width: usize, set: InstructionSet) -> Self {
        Self {
            set,
            peaks: Peaks::new(width),
            open: Vec::new(),
            left: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// Begins with other runs.
    pub fn begin(&mut self) {
        self.peaks.begin();
        self.open.clear();
    }

    /// The highest loss of a run so far.
    pub fn of(&self, lane: usize) -> f64 {
        self.peaks.loss[lane].into()
    }

    /// Tells a kernel, before a span. Of a span that is kept whole it need not know.
    pub fn tell(&self, trace: &mut Trace<N>) {
        if trace.first > 0 {
            trace.highest.loss.copy_from_slice(&self.peaks.loss);
        }
    }

    /// Looks at a span that began with these weights, of shape (parameters, width). The first
    /// epoch of all is always kept.
    pub fn see(&mut self, span: &Range<usize>, trace: &Trace<N>, weights: &[N], active: &[bool]) {
        let width = active.len();
        let traced = span.start + trace.first;
        let losses = &trace.loss()[..(span.end - traced) * width];
        if span.start == 0 {
            self.peaks.loss.copy_from_slice(&losses[..width]);
            self.peaks.at.fill(0);
        }
        if trace.first > 0 {
            let is_proven = trace.highest.is_proven;
            let is_above = IsAbove {
                a: &trace.highest.loss,
                b: &self.peaks.loss,
            };
            if vectorized(self.set, is_above) {
                let end = if is_proven { span.end } else { traced };
                self.see_untraced(span.start..end, trace, weights, active);
            }
            if is_proven {
                return;
            }
        }
        let look = Look {
            losses,
            first: number(traced),
            peaks: &mut self.peaks,
        };
        vectorized(self.set, look);
    }

    /// What a kernel tells of epochs that are not kept.
    fn see_untraced(
        &mut self,
        epochs: Range<usize>,
        trace: &Trace<N>,
        weights: &[N],
        active: &[bool],
    ) {
        let told = trace.highest.loss.iter().zip(&trace.highest.epoch);
        for (lane, (told, epoch)) in told.enumerate() {
            let highest = &mut self.peaks.loss[lane];
            if !(*told > *highest && active[lane]) {
                continue;
            }
            let bound: f64 = (*told).into();
            let is_unknown = *epoch == UNKNOWN;
            if bound.is_finite() {
                *highest = *told;
                self.peaks.at[lane] = if is_unknown {
                    NONE
                } else {
                    number(epochs.start + epoch)
                };
            }
            if is_unknown {
                self.open.push(Span {
                    of: lane,
                    epochs: epochs.clone(),
                    bound,
                    began: self.weights.len(),
                });
                let planes = weights.chunks_exact(active.len());
                self.weights.extend(planes.map(|plane| plane[lane].into()));
            }
        }
    }

    /// Keeps what is known of a run that has ended, one of a block that begins with `first`.
    pub fn keep(&mut self, first: usize, lane: usize, arrays: &mut Arrays) {
        arrays.highest_loss[lane] = self.of(lane);
        arrays.highest_loss_at[lane] = self.peaks.at[lane];
        self.leave(first, lane..lane + 1);
    }

    /// The same for all runs of the block.
    pub fn keep_all(&mut self, first: usize, arrays: &mut Arrays) {
        let count = arrays.highest_loss.len();
        for (out, loss) in arrays.highest_loss.iter_mut().zip(&self.peaks.loss) {
            *out = (*loss).into();
        }
        arrays
            .highest_loss_at
            .copy_from_slice(&self.peaks.at[..count]);
        self.leave(first, 0..count);
    }

    /// Leaves the spans of some lanes for later.
    fn leave(&mut self, first: usize, lanes: Range<usize>) {
        let own = self.open.iter().filter(|span| lanes.contains(&span.of));
        self.left.extend(own.map(|span| Span {
            of: first + span.of,
            ..span.clone()
        }));
    }

    /// Goes through the spans that are left once more. A kernel does the same in each epoch if it
    /// leaves them.
    pub fn find(
        &mut self,
        runs: &mut Runs,
        task: Task,
        kernel: &mut dyn Kernel<N>,
        trace: &mut Trace<N>,
    ) {
        let (width, parameters) = (kernel.width(), task.network.parameters());
        let mut weights = Vec::new();
        let mut peaks = Peaks::new(width);
        let highest = &*runs.arrays.highest_loss;
        self.left.retain(|span| span.bound >= highest[span.of]);
        // Those of a block are as long, so that they end together.
        self.left.sort_by_key(|span| span.epochs.len());
        trace.first = 0;
        for some in self.left.chunks(width) {
            weights.clear();
            for span in some {
                weights.extend_from_slice(&self.weights[span.began..][..parameters]);
            }
            load(kernel.state()[0], width, &weights, some.len());
            let planes = runs.planes(some.iter().map(|span| span.of), width);
            peaks.begin();
            peaks.loss.fill(N::rounded(f64::NEG_INFINITY));
            let (mut done, mut ended) = (0, 0);
            while let Some(next) = some.get(ended) {
                if task.progress.is_cancelled() {
                    return;
                }
                let epochs = done..next.epochs.len().min(done + trace.room());
                kernel.advance(&planes, epochs.clone(), f64::INFINITY, trace);
                let look = Look {
                    losses: &trace.loss()[..epochs.len() * width],
                    first: number(done),
                    peaks: &mut peaks,
                };
                vectorized(self.set, look);
                done = epochs.end;
                while some
                    .get(ended)
                    .is_some_and(|span| span.epochs.len() == done)
                {
                    some[ended].tell(runs, peaks.loss[ended].into(), peaks.at[ended]);
                    ended += 1;
                }
            }
        }
        self.left.clear();
        self.weights.clear();
    }
}

impl Span {
    /// Tells the run of its highest loss, and of its first epoch, counted from the first one.
    fn tell(&self, runs: &mut Runs, loss: f64, epoch: i64) {
        let own = &mut runs.arrays.highest_loss[self.of];
        let at = &mut runs.arrays.highest_loss_at[self.of];
        let epoch = number(self.epochs.start) + epoch;
        let is_unknown = *at < 0;
        if loss > *own || loss >= *own && (is_unknown || epoch < *at) {
            (*own, *at) = (loss, epoch);
        }
    }
}

fn number(epoch: usize) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}
