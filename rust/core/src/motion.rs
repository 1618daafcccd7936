//! Where a run that does not come to rest goes: it is followed for some epochs on a copy of
//! its state, by the kernel that trained it.
//!
//! It **returns** with period p if its weights after p epochs, and those an epoch later, are
//! what they were, to rounding. It **forgets** where it started if a copy, nudged by a hair,
//! keeps running away from it: the logarithm of how much the distance grows in an epoch is
//! the largest Lyapunov exponent (Benettin et al., Meccanica 15, 1980: the distance is set
//! back again and again).

use pulp::NullaryFnOnce;

use crate::kernel::{vectorized, Kernel, Number, Trace};
use crate::rest::pseudorandom;
use crate::InstructionSet;

/// The longest period that is looked for.
pub(crate) const LONGEST_PERIOD: usize = 64;
/// Epochs after which the distance of a copy is set back.
const APART: usize = 4;
/// The first distance of a copy, relative to the weights, in units of their rounding.
const HAIR: f64 = 1e6;
/// A run forgets where it started if the distance of the copy grows so many times in either
/// half of the epochs.
const GROWTH: f64 = std::f64::consts::E;
/// The loss of a run that stays where it is grows no more than so many times.
const BOUNDED: f64 = 10.0;

/// What following a run tells.
#[derive(Clone, Copy, Default)]
pub(crate) struct Followed {
    /// The epochs after which its weights return, or 0.
    pub period: usize,
    /// The largest distance from where it began.
    pub farthest: f64,
    /// Whether it stays bounded and forgets where it started.
    pub is_chaotic: bool,
}

/// What is asked of the runs in the lanes of a kernel.
#[derive(Clone, Copy)]
pub(crate) struct Follow {
    /// The epochs that were done before.
    pub done: usize,
    /// The longest period to look for, from 1.
    pub longest: usize,
    /// Epochs for which a copy is followed; 0 for none.
    pub copied: usize,
    /// How near is a return, relative to the weights.
    pub same: f64,
    /// The rounding of the numbers.
    pub epsilon: f64,
    pub set: InstructionSet,
}

/// The states of a block, each of shape (values, width).
pub(crate) struct Motion<N> {
    /// Weights at the beginning, and after an epoch.
    first: Vec<N>,
    second: Vec<N>,
    /// Weights and the optimizer's memory: of the runs, and of their copies.
    own: [Vec<N>; 2],
    copy: [Vec<N>; 2],
    pub followed: Vec<Followed>,
    way: Way,
    /// How often the distance of the copy has grown in both halves of the epochs, shape (width,).
    growth: [Vec<f64>; 2],
}

/// The way of the runs so far, shape (width,) each.
struct Way {
    /// Distances from the first and the second place.
    from_first: Vec<f64>,
    from_second: Vec<f64>,
    /// See [`Followed`].
    period: Vec<f64>,
    farthest: Vec<f64>,
    /// The epoch in which the weights seemed to return, or 0.
    seen: Vec<f64>,
    /// The highest loss.
    highest: Vec<f64>,
}

impl<N: Number> Motion<N> {
    pub fn new(kernel: &mut dyn Kernel<N>) -> Self {
        let width = kernel.width();
        let own = kernel.state().map(|values| values.to_vec());
        let zeros = || vec![0.0; width];
        Self {
            first: own[0].clone(),
            second: own[0].clone(),
            copy: own.clone(),
            own,
            followed: vec![Followed::default(); width],
            way: Way {
                from_first: zeros(),
                from_second: zeros(),
                period: zeros(),
                farthest: zeros(),
                seen: zeros(),
                highest: zeros(),
            },
            growth: [zeros(), zeros()],
        }
    }

    /// Follows the runs whose state is in the kernel, and which have these numbers of their `own`.
    /// `sizes` are those of their weights, `losses` the highest of their last ones, shape (width,)
    /// each. Frozen parameters, see [`crate::task::Task::frozen`], are left where they are.
    pub fn follow(
        &mut self,
        kernel: &mut dyn Kernel<N>,
        trace: &mut Trace<N>,
        [own, sizes, losses]: [&[f64]; 3],
        frozen: &[bool],
        ask: Follow,
    ) {
        let width = kernel.width();
        let way = &mut self.way;
        for values in [
            &mut way.period,
            &mut way.farthest,
            &mut way.seen,
            &mut way.highest,
        ] {
            values.fill(0.0);
        }
        self.growth.iter_mut().for_each(|growth| growth.fill(1.0));
        self.first.copy_from_slice(kernel.weights());
        keep(&mut self.own, kernel);
        keep(&mut self.copy, kernel);
        if ask.copied > 0 {
            self.nudge(width, sizes, ask.epsilon, frozen);
        }
        trace.first = 0;
        let end = (ask.longest + 1).max(ask.copied);
        for begin in (0..end).step_by(APART) {
            for epoch in begin..end.min(begin + APART) {
                let at = ask.done + epoch;
                kernel.advance(own, at..at + 1, f64::INFINITY, trace);
                if epoch == 0 {
                    self.second.copy_from_slice(kernel.weights());
                }
                let look = Look {
                    way: &mut self.way,
                    weights: kernel.weights(),
                    places: [&self.first, &self.second],
                    losses: &trace.loss()[..width],
                    sizes,
                    epoch: (epoch + 1) as f64,
                    may_return: epoch < ask.longest,
                    same: ask.same,
                };
                vectorized(ask.set, look);
            }
            // A copy is set back after whole steps only.
            if begin + APART > ask.copied {
                continue;
            }
            keep(&mut self.own, kernel);
            restore(kernel, &self.copy);
            let at = ask.done + begin;
            trace.first = APART - 1;
            kernel.advance(own, at..at + APART, f64::INFINITY, trace);
            trace.first = 0;
            keep(&mut self.copy, kernel);
            let half = usize::from(2 * begin >= ask.copied);
            self.set_back(half, sizes, ask);
            restore(kernel, &self.own);
        }
        self.conclude(ask, losses);
    }

    /// What the way of the runs tells.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn conclude(&mut self, ask: Follow, losses: &[f64]) {
        let way = &self.way;
        for (lane, followed) in self.followed.iter_mut().enumerate() {
            let bounded = way.highest[lane] <= BOUNDED * losses[lane];
            let grows = self.growth.iter().all(|growth| growth[lane] > GROWTH);
            let period = way.period[lane] as usize;
            *followed = Followed {
                period,
                farthest: way.farthest[lane],
                is_chaotic: ask.copied > 0 && bounded && grows && period == 0,
            };
        }
    }

    /// Moves the copies a little away from their runs.
    fn nudge(&mut self, width: usize, sizes: &[f64], epsilon: f64, frozen: &[bool]) {
        let count = self.first.len() / width;
        for (index, plane) in self.copy[0].chunks_exact_mut(width).enumerate() {
            for (lane, (value, size)) in plane.iter_mut().zip(sizes).enumerate() {
                if frozen.get(index * width + lane) == Some(&true) {
                    continue;
                }
                let own: f64 = (*value).into();
                let nudge = hair(epsilon) * size * pseudorandom(index, count);
                *value = N::rounded(own + nudge);
            }
        }
    }

    /// Measures how far the copies are from their runs, and brings them back.
    fn set_back(&mut self, half: usize, sizes: &[f64], ask: Follow) {
        let distances = Distances {
            weights: &self.copy[0],
            other: &self.own[0],
            out: &mut self.way.from_first,
        };
        vectorized(ask.set, distances);
        let away = &mut self.way.from_first;
        let growth = self.growth[half].iter_mut().zip(&mut *away);
        for ((growth, away), size) in growth.zip(sizes) {
            let wanted = hair(ask.epsilon) * size;
            *growth *= *away / wanted;
            // From here on it is the factor of the distance.
            *away = wanted / *away;
        }
        let width = sizes.len();
        for (copy, own) in self.copy.iter_mut().zip(&self.own) {
            let planes = copy.chunks_exact_mut(width).zip(own.chunks_exact(width));
            for (copy, own) in planes {
                for ((copy, own), factor) in copy.iter_mut().zip(own).zip(&*away) {
                    let (far, near): (f64, f64) = ((*copy).into(), (*own).into());
                    *copy = N::rounded(near + (far - near) * factor);
                }
            }
        }
    }
}

/// The distance of a copy, relative to its weights: far above rounding, far below the weights.
fn hair(epsilon: f64) -> f64 {
    (HAIR * epsilon).min(epsilon.sqrt())
}

fn keep<N: Number>(states: &mut [Vec<N>; 2], kernel: &mut dyn Kernel<N>) {
    for (state, values) in states.iter_mut().zip(kernel.state()) {
        state.copy_from_slice(values);
    }
}

fn restore<N: Number>(kernel: &mut dyn Kernel<N>, states: &[Vec<N>; 2]) {
    for (state, values) in states.iter().zip(kernel.state()) {
        values.copy_from_slice(state);
    }
}

/// The largest difference of a weight of each run.
struct Distances<'d, N> {
    weights: &'d [N],
    other: &'d [N],
    out: &'d mut [f64],
}

impl<N: Number> NullaryFnOnce for Distances<'_, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let width = self.out.len();
        self.out.fill(0.0);
        let planes = self.weights.chunks_exact(width);
        for (a, b) in planes.zip(self.other.chunks_exact(width)) {
            for (most, (a, b)) in self.out.iter_mut().zip(a.iter().zip(b)) {
                let away = ((*a).into() - (*b).into()).abs();
                // NaN stays.
                *most = if away <= *most { *most } else { away };
            }
        }
    }
}

/// Compares the weights after an epoch with those of the beginning.
struct Look<'l, N> {
    way: &'l mut Way,
    weights: &'l [N],
    /// Weights at the beginning, and after an epoch.
    places: [&'l [N]; 2],
    losses: &'l [N],
    sizes: &'l [f64],
    epoch: f64,
    /// Whether a period of so many epochs is looked for.
    may_return: bool,
    same: f64,
}

impl<N: Number> NullaryFnOnce for Look<'_, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let [first, second] = self.places;
        for (other, out) in [
            (first, &mut self.way.from_first),
            (second, &mut self.way.from_second),
        ] {
            let weights = self.weights;
            Distances {
                weights,
                other,
                out,
            }
            .call();
        }
        let width = self.sizes.len();
        let seen_now = if self.may_return { self.epoch } else { 0.0 };
        let (highest, losses) = (&mut self.way.highest[..width], &self.losses[..width]);
        for (highest, loss) in highest.iter_mut().zip(losses) {
            let loss: f64 = (*loss).into();
            // NaN stays.
            *highest = if loss <= *highest { *highest } else { loss };
        }
        let from_first = &self.way.from_first[..width];
        let from_second = &self.way.from_second[..width];
        let farthest = &mut self.way.farthest[..width];
        let (period, seen) = (&mut self.way.period[..width], &mut self.way.seen[..width]);
        let last = self.epoch - 1.0;
        for lane in 0..width {
            let (near, away) = (self.same * self.sizes[lane], from_first[lane]);
            let (far, own, when) = (farthest[lane], period[lane], seen[lane]);
            farthest[lane] = if away <= far { far } else { away };
            let returned = (when > 0.0) & (when >= last) & (own <= 0.0);
            let is_back = returned & (from_second[lane] <= near);
            period[lane] = if is_back { last } else { own };
            let is_seen = (seen_now > 0.0) & (away <= near);
            seen[lane] = if is_seen { seen_now } else { when };
        }
    }
}
