//! Epochs of single neurons of which nobody wants to see anything: the loss is not even
//! watched for an overflow.
//!
//! ```text
//! for each epoch, for each register of runs
//!   on = w1 > t                              e = y − w2·h
//!   h = w1·x if on else 0                    w1 = w1 + lr·(e·w2·x if on else 0)
//!                                            w2 = w2 + lr·(e·h)
//! ```
//!
//! 1. The units that multiply and add are what binds: ten operations an epoch, or six if
//!    products are fused. Everything else is done by other units, next to them.
//! 2. ReLU asks for w1·x > 0. Since x is above 0 that is w1 > t, where t is the largest
//!    number whose product with x rounds to 0, and needs not wait for the product.
//! 3. Subtracting a product and adding the negative one are the same, bit for bit.
//! 4. A neuron that is off has h = 0 of either sign here, which no result shows: no weight is
//!    −0, nor is y.
//!
//! # Why epochs may be left out
//! An epoch depends on nothing but the weights, by operations that always give the same bits. So
//! weights that are, bit for bit, what they were some epochs ago go round for ever, and so do their
//! losses. Near a minimum all runs come to that: steps become smaller than the last digit.

use std::hint::black_box;
use std::ops::Range;

use pulp::bytemuck::{self, Pod};
use pulp::Simd;

use super::{bounds, Chain, IDENTITY, REGISTERS};
use crate::kernel::arithmetic::{Arithmetic, Number};
use crate::kernel::Kernel;

/// Registers of runs that are unrolled.
const UNROLLED: usize = 8;

/// To watch all runs of a block takes as long as to look for the highest loss of this share of them.
const MOST_OPEN: f64 = 8.0;

/// Numbers that are the same for all runs, in registers.
#[derive(Clone, Copy)]
struct Given<V> {
    x: V,
    y: V,
    vanishes: V,
}

impl<S: Simd, A: Arithmetic, const LAYERS: usize> Chain<'_, S, A, LAYERS> {
    /// Epochs in which nothing can overflow unseen: see [`super::bounds`]. Their losses are written to
    /// a plane; without one the highest of them is kept, unless most are known to stay below.
    #[inline(always)]
    pub(super) fn unwatched<const PHI: u8>(
        &mut self,
        epochs: usize,
        stays_below: bool,
        losses: Option<&mut [A::Number]>,
    ) {
        match self.rates.len() {
            1 => self.unwatched_registers::<PHI, 1>(epochs, stays_below, losses),
            _ => self.unwatched_registers::<PHI, REGISTERS>(epochs, stays_below, losses),
        }
    }

    #[inline(always)]
    fn unwatched_registers<const PHI: u8, const R: usize>(
        &mut self,
        epochs: usize,
        stays_below: bool,
        losses: Option<&mut [A::Number]>,
    ) {
        let simd = self.simd;
        let [x, y, vanishes] =
            [self.data.x()[0], self.data.y()[0], self.vanishes].map(|value| A::splat(simd, value));
        let given = Given { x, y, vanishes };
        let (weights, before) = (&mut self.weights[..], &mut self.before[..]);
        let Some(rates) = self.rates.first_chunk() else {
            return;
        };
        let half = A::splat(simd, 0.5);
        let loss = |error| A::mul(simd, half, A::mul(simd, error, error));
        // Each way is written out: one function that is handed what to keep took a third longer.
        if let Some(losses) = losses {
            let losses: &mut [A::Vector<S>] = bytemuck::cast_slice_mut(losses);
            let losses = &mut losses[..epochs * R];
            let (again, period) = until_they_return(weights, before, epochs, |weights, epochs| {
                let losses = &mut losses[epochs.start * R..epochs.end * R];
                advance::<S, A, LAYERS, PHI, R>(
                    simd,
                    weights,
                    rates,
                    given,
                    epochs.len(),
                    |place, r, error| losses[place * R + r] = loss(error),
                );
            });
            self.rests = !again.is_empty();
            for epoch in again {
                let first = (epoch - period) * R;
                losses.copy_within(first..first + R, epoch * R);
            }
            return;
        }
        if stays_below {
            let (again, _) = until_they_return(weights, before, epochs, |weights, epochs| {
                advance::<S, A, LAYERS, PHI, R>(
                    simd,
                    weights,
                    rates,
                    given,
                    epochs.len(),
                    |_, _, _| (),
                );
            });
            self.rests = !again.is_empty();
            return;
        }
        // The largest |y − ŷ|.
        let mut largest = [A::splat(simd, 0.0); R];
        let (again, _) = until_they_return(weights, before, epochs, |weights, epochs| {
            advance::<S, A, LAYERS, PHI, R>(
                simd,
                weights,
                rates,
                given,
                epochs.len(),
                |_, r, error| largest[r] = A::max(simd, A::abs(simd, error), largest[r]),
            );
        });
        self.rests = !again.is_empty();
        for (highest, error) in self.highest.iter_mut().zip(largest) {
            *highest = A::max(simd, loss(error), *highest);
        }
    }

    /// Whether it is proven for most runs that none gets a higher loss than it had so far. The
    /// highest losses of the others become infinite: they are looked for later.
    #[inline(always)]
    pub(super) fn most_stay_below(&mut self) -> bool {
        let (is_relu, given) = (self.phi != IDENTITY, [self.data.x()[0], self.data.y()[0]]);
        let rates: &[A::Number] = bytemuck::cast_slice(&self.rates);
        let highest: &mut [A::Number] = bytemuck::cast_slice_mut(&mut self.highest);
        let weights: &[A::Number] = bytemuck::cast_slice(&self.weights);
        let (first, last) = weights.split_at((LAYERS - 1) * rates.len());
        let mut open = 0.0;
        for (lane, (last, rate)) in last.iter().zip(rates).enumerate() {
            let (last, rate, own) = ((*last).into(), (*rate).into(), highest[lane].into());
            let stays = if LAYERS == 1 {
                bounds::stays_below_without_hidden(own, given, last, rate)
            } else {
                let weights = [first[lane].into(), last];
                bounds::stays_below(own, is_relu, given, weights, rate)
            };
            open += if stays { 0.0 } else { 1.0 };
            highest[lane] = A::Number::rounded(if stays { own } else { f64::INFINITY });
        }
        open * MOST_OPEN <= rates.len() as f64
    }

    /// Whether an overflow on the way is seen in the weights after it. A single epoch is
    /// judged by its loss.
    #[inline(always)]
    pub(super) fn needs_no_watch(&self, epochs: usize, bound: f64) -> bool {
        let rates: &[A::Number] = bytemuck::cast_slice(&self.rates);
        self.allows_no_watch
            && epochs > 1
            && bound >= A::Number::LARGEST
            && bounds::allows_rates(rates)
            && bounds::is_moderate(self.weights())
    }
}

/// Epochs after which it is looked for the first time whether weights return. That takes as long as
/// an epoch or two, so it is done less and less often.
const SOON: usize = 8;

/// Goes through epochs. `advance` takes weights through some of them, in a way that depends on
/// nothing but the weights. Once these return, bit for bit, what is left only repeats what was, and
/// is left out but for what brings the weights to their place in the last epoch.
///
/// Returns the epochs that were left out, and after how many of them the weights return. `before` is
/// scratch.
#[inline(always)]
pub(super) fn until_they_return<V: Pod>(
    weights: &mut [V],
    before: &mut [V],
    epochs: usize,
    mut advance: impl FnMut(&mut [V], Range<usize>),
) -> (Range<usize>, usize) {
    let (mut done, mut piece) = (0, SOON);
    let mut left_out = (0..0, piece);
    while done < epochs {
        let end = epochs.min(done + piece);
        before.copy_from_slice(weights);
        advance(weights, done..end);
        done = end;
        let bits = bytemuck::cast_slice::<V, u8>;
        if end < epochs && bits(before) == bits(weights) {
            done = epochs - (epochs - end) % piece;
            left_out = (end..done, piece);
        } else {
            piece *= 4;
        }
    }
    left_out
}

/// Trains `R` registers of runs; `keep` is told of each epoch and register y − ŷ. The loop over
/// registers is unrolled group by group, since their numbers are constants.
#[inline(always)]
fn advance<S: Simd, A: Arithmetic, const LAYERS: usize, const PHI: u8, const R: usize>(
    simd: S,
    weights: &mut [A::Vector<S>],
    rates: &[A::Vector<S>; R],
    given: Given<A::Vector<S>>,
    epochs: usize,
    mut keep: impl FnMut(usize, usize, A::Vector<S>),
) {
    // Without a hidden neuron there is no first weight.
    let mut none = [given.x; R];
    let (first, last) = weights.split_at_mut((LAYERS - 1) * R);
    let first = first.first_chunk_mut().unwrap_or(&mut none);
    let Some(last) = last.first_chunk_mut::<R>() else {
        return;
    };
    // The compiler is not told how many groups there are: it would unroll them, too, and move all
    // weights to and from the stack.
    let groups = black_box(R.div_ceil(UNROLLED));
    for place in 0..epochs {
        for group in 0..groups {
            for own in 0..R.min(UNROLLED) {
                let r = (group * UNROLLED + own) % R;
                let weights = [first[r], last[r]];
                let after = epoch::<S, A, LAYERS, PHI>(simd, weights, rates[r], given);
                (first[r], last[r]) = (after.0, after.1);
                keep(place, r, after.2);
            }
        }
    }
}

/// The weights of a register after an epoch, and y − ŷ before it.
#[inline(always)]
fn epoch<S: Simd, A: Arithmetic, const LAYERS: usize, const PHI: u8>(
    simd: S,
    [first, last]: [A::Vector<S>; 2],
    rate: A::Vector<S>,
    given: Given<A::Vector<S>>,
) -> (A::Vector<S>, A::Vector<S>, A::Vector<S>) {
    let Given { x, y, vanishes } = given;
    let on = A::exceeds(simd, first, vanishes);
    let times_x = |factor| match PHI {
        IDENTITY => A::mul(simd, factor, x),
        _ => A::masked_mul(simd, on, factor, x),
    };
    let input = if LAYERS == 1 { x } else { times_x(first) };
    let error = A::mul_sub(simd, last, input, y);
    if A::FUSED && LAYERS == 2 {
        let factor = match PHI {
            IDENTITY => x,
            _ => A::masked(simd, on, x),
        };
        let step = A::mul(simd, rate, error);
        let below = A::mul(simd, step, last);
        let first = A::mul_add(simd, below, factor, first);
        return (first, A::mul_add(simd, step, input, last), error);
    }
    let below = times_x(A::mul(simd, error, last));
    let own = A::mul(simd, error, input);
    let first = match LAYERS {
        1 => first,
        _ => A::mul_add(simd, rate, below, first),
    };
    (first, A::mul_add(simd, rate, own, last), error)
}
