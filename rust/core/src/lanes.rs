//! What is known of the runs of a block, and the facts of their last epochs by which most of them
//! are judged.

use pulp::NullaryFnOnce;

use crate::judge::{Judge, Single};
use crate::kernel::{Kernel, Number};
use crate::recent_losses::RecentLosses;
use crate::Outcome;

/// What the facts say of how a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum Verdict {
    /// Nothing, and nothing more is asked.
    #[default]
    Unresolved,
    Converged,
    /// Dead since before the first epoch.
    BornDead,
    /// Dead since an epoch that is not known yet.
    Dead,
    /// Maybe something else, which a closer look tells.
    Doubt,
}

impl Verdict {
    /// The outcome, as far as it is known.
    #[inline(always)]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Converged => Outcome::Converged,
            Self::BornDead | Self::Dead => Outcome::Dead,
            Self::Unresolved | Self::Doubt => Outcome::Unresolved,
        }
    }
}

/// What is known of each run of the block, shape (width,) each.
pub(crate) struct Lanes {
    pub active: Vec<bool>,
    /// Whether its run ends with this epoch.
    pub ended: Vec<bool>,
    /// See [`crate::Training::loss_ratio`].
    pub loss_ratio: Vec<f64>,
    /// The largest weight at the beginning, and at the end.
    pub start: Vec<f64>,
    pub size: Vec<f64>,
    /// The largest change of a weight in the last epoch.
    pub moved: Vec<f64>,
    /// How far the loss climbed in the last epochs, negative if it always fell.
    climb: Vec<f64>,
    /// Whether it is dead before the first epoch, if that is known.
    begins_dead: Vec<bool>,
    pub may_be_dead: Vec<bool>,
    /// Whether it came to rest, or does not fall.
    is_open: Vec<bool>,
    has_converged: Vec<bool>,
    pub verdict: Vec<Verdict>,
    /// The epoch from which on it is asked again whether the run is at rest.
    pub ask_at: Vec<usize>,
    /// Parameters that do not move, shape (parameters, width); empty if all do. They are no
    /// variables of the problem.
    pub frozen: Vec<bool>,
    /// Scratch.
    sums: Vec<f64>,
}

impl Lanes {
    pub fn new(width: usize) -> Self {
        Self {
            active: vec![true; width],
            ended: vec![false; width],
            loss_ratio: vec![f64::NAN; width],
            start: vec![0.0; width],
            size: vec![0.0; width],
            moved: vec![0.0; width],
            climb: vec![0.0; width],
            begins_dead: vec![false; width],
            may_be_dead: vec![false; width],
            is_open: vec![false; width],
            has_converged: vec![false; width],
            verdict: vec![Verdict::default(); width],
            ask_at: vec![0; width],
            frozen: Vec::new(),
            sums: vec![0.0; width],
        }
    }

    /// Compares weights with those before the last epoch, shape (parameters, width).
    #[inline(always)]
    pub fn measure_movement<N: Number>(&mut self, weights: &[N], before: &[N]) {
        let width = self.size.len();
        self.size.copy_from_slice(&self.start);
        self.moved.fill(0.0);
        let planes = weights.chunks_exact(width).zip(before.chunks_exact(width));
        for (index, (plane, before)) in planes.enumerate() {
            raise(&mut self.size, index, plane, &self.frozen);
            largest(
                &mut self.moved,
                plane,
                |weight, before| weight - before,
                before,
            );
        }
    }

    /// Whether there were last epochs in which the loss did not fall.
    pub fn rises(&self, lane: usize) -> bool {
        self.climb[lane] >= 0.0
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

/// Raises each size to that of a parameter, where it moves.
#[inline(always)]
fn raise<N: Number>(most: &mut [f64], index: usize, plane: &[N], frozen: &[bool]) {
    if frozen.is_empty() {
        return largest(most, plane, |weight, _| weight, plane);
    }
    let frozen = &frozen[index * plane.len()..];
    for ((most, weight), frozen) in most.iter_mut().zip(plane).zip(frozen) {
        let size = (*weight).into().abs();
        *most = if size > *most && !*frozen {
            size
        } else {
            *most
        };
    }
}

/// Begins with the runs of another block.
pub(crate) struct Beginning<'b, 'a, N> {
    pub lanes: &'b mut Lanes,
    pub judge: &'b Judge<'a, N>,
    /// Shape (parameters, width).
    pub weights: &'b [N],
}

impl<N: Number> NullaryFnOnce for Beginning<'_, '_, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            lanes,
            judge,
            weights,
        } = self;
        lanes.active.fill(true);
        lanes.ask_at.fill(0);
        lanes.start.fill(0.0);
        for (index, plane) in weights.chunks_exact(lanes.start.len()).enumerate() {
            raise(&mut lanes.start, index, plane, &lanes.frozen);
        }
        if judge.dead.is_certain() {
            let out = &mut lanes.begins_dead;
            judge.dead.may_be(weights, &mut lanes.sums, out);
        }
    }
}

/// Looks at all runs of a block after so many epochs, from 1.
pub(crate) struct Ending<'e, 'a, N: Number> {
    pub losses: &'e mut RecentLosses<N>,
    pub kernel: &'e dyn Kernel<N>,
    /// One learning rate for each run, or several.
    pub rates: &'e [f64],
    /// Weights before the last epoch, shape (parameters, width).
    pub before: &'e [N],
    pub lanes: &'e mut Lanes,
    pub judge: &'e Judge<'a, N>,
    pub done: usize,
}

impl<N: Number> NullaryFnOnce for Ending<'_, '_, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            losses,
            kernel,
            rates,
            before,
            lanes,
            judge,
            done,
        } = self;
        let width = lanes.active.len();
        losses.ratios(0..width, done, done, &mut lanes.loss_ratio);
        if done == 0 {
            return lanes.verdict.fill(Verdict::Unresolved);
        }
        let weights = kernel.weights();
        lanes.measure_movement(weights, before);
        losses.climbs(done, &mut lanes.climb);
        let out = &mut lanes.may_be_dead;
        judge.dead.may_be(weights, &mut lanes.sums, out);
        let facts = lanes.moved.iter().zip(&lanes.size).zip(&lanes.climb);
        for (out, ((moved, size), climb)) in lanes.is_open.iter_mut().zip(facts) {
            *out = judge.is_small(*moved, *size) | (*climb >= 0.0);
        }
        lanes.has_converged.fill(false);
        if kernel.sensitivity(&mut lanes.sums) && rates.len() == width {
            let facts = lanes.moved.iter().zip(&lanes.size).zip(losses.last(done));
            let given = lanes.sums.iter().zip(rates).zip(facts);
            for (out, ((sensitivity, rate), ((moved, size), loss))) in
                lanes.has_converged.iter_mut().zip(given)
            {
                *out = judge.has_converged(Single {
                    sensitivity: *sensitivity,
                    rate: *rate,
                    loss: (*loss).into(),
                    moved: *moved,
                    size: *size,
                });
            }
        }
        let (certain, flags) = (judge.knows_dead(), lanes.may_be_dead.iter());
        let flags = flags.zip(&lanes.begins_dead).zip(&lanes.has_converged);
        for (own, (((may_be_dead, begins_dead), converged), open)) in
            lanes.verdict.iter_mut().zip(flags.zip(&lanes.is_open))
        {
            let dead = if *begins_dead {
                Verdict::BornDead
            } else {
                Verdict::Dead
            };
            let dead = if certain { dead } else { Verdict::Doubt };
            let rests = if *converged {
                Verdict::Converged
            } else {
                Verdict::Doubt
            };
            let alive = if *open { rests } else { Verdict::Unresolved };
            *own = if *may_be_dead { dead } else { alive };
        }
    }
}
