//! Networks with one neuron a layer, such as the guide's: an epoch of a run is a dozen
//! operations, and everything else has to stay out of their way.
//!
//! ```text
//! for each epoch, for each register of runs
//!   z = w1·x                                 on = z > 0
//!   h = z if on else 0                       e = y − w2·h
//!   ∂w1 = −e·w2·(x if on else 0·x)           ∂w2 = −e·h
//!   w1 = w1 − lr·∂w1                         w2 = w2 − lr·∂w2
//! ```
//!
//! 1. The operations of a run wait for one another, some 36 cycles in an epoch. Other registers
//!    fill the gaps: [`REGISTERS`] of them are trained side by side. Their weights lie in
//!    memory, since no machine has registers for all; loads and stores have units of their own.
//! 2. The units that multiply and add are what binds. Comparing and choosing is done by the
//!    bits of numbers, for which there are others.
//! 3. Epochs of which nobody wants to see more than the loss go through [`unwatched`], which
//!    has fewer operations, wherever it gives the same bits; [`bounds`] proves where that is. What
//!    always does is in [`pass`].
//! 4. Epochs that only repeat others are left out: see [`unwatched::until_they_return`].

use std::ops::Range;

use pulp::{bytemuck, Simd, WithSimd};

use super::arithmetic::{aligned, Aligned, Arithmetic};
use super::trace::UNKNOWN;
use super::{all_at_most, all_finite, round, Kernel, Trace};
use crate::task::Task;
use crate::{Activation, Data, Loss, PerQuantity, Quantity};
use pass::Given;

mod bounds;
mod pass;
mod unwatched;

/// Vector registers of runs that are trained side by side.
const REGISTERS: usize = 16;

/// Epochs for which it is worth proving that no loss is higher than those before.
const LONG: usize = 32;

/// The hidden neuron computes the identity.
pub(super) const IDENTITY: u8 = 0;
/// The hidden neuron computes ReLU.
const RELU: u8 = 1;
/// The hidden neuron computes ReLU, and no x is negative: 0·x is then 0 without a sign.
const RELU_OF_POSITIVE: u8 = 2;

/// Networks of `LAYERS` layers with one weight each.
pub(crate) struct Chain<'a, S: Simd, A: Arithmetic, const LAYERS: usize> {
    simd: S,
    phi: u8,
    data: &'a Data<'a>,
    /// Whether [`unwatched`] takes the data.
    allows_no_watch: bool,
    /// The largest w1 whose product with x rounds to 0.
    vanishes: f64,
    /// Shape (layers, registers).
    weights: Aligned<A::Vector<S>>,
    rates: Aligned<A::Vector<S>>,
    /// The highest loss before the span, or in the epochs of it that are not traced; shape
    /// (registers,).
    highest: Aligned<A::Vector<S>>,
    /// Scratch, as large as the weights.
    before: Aligned<A::Vector<S>>,
    /// Whether the weights returned when that was last looked at: they rest.
    rests: bool,
    /// What the last epoch gave.
    last: PerQuantity<Aligned<A::Vector<S>>>,
}

impl<'a, S: Simd, A: Arithmetic, const LAYERS: usize> Chain<'a, S, A, LAYERS> {
    /// Whether it is such a network, trained by nothing but gradient descent.
    pub fn fits(task: &Task) -> bool {
        let network = task.network;
        let plain = matches!(
            network.activation(),
            Activation::Identity | Activation::Relu
        );
        let ours = network.loss() == Loss::HalfSquaredError
            && network.output_activation().is_none()
            && (LAYERS == 1 || plain && !task.group.scales);
        let single = network.parameters() == LAYERS && network.layers().len() == LAYERS;
        ours && single && task.rates_per_run == 1 && task.is_plain()
    }

    /// For so many runs: a single register of them needs no others beside it.
    pub fn new(simd: S, task: Task<'a>, runs: usize) -> Self {
        let registers = if runs <= A::lanes::<S>() {
            1
        } else {
            REGISTERS
        };
        let signed = task.data.x().iter().any(|x| x.is_sign_negative());
        let phi = match (task.network.activation(), signed) {
            (Activation::Relu, true) => RELU,
            (Activation::Relu, false) => RELU_OF_POSITIVE,
            _ => IDENTITY,
        };
        let zeros = |count| aligned(A::splat(simd, 0.0), count);
        Self {
            simd,
            phi,
            data: task.data,
            allows_no_watch: bounds::allows_data(task.data),
            vanishes: bounds::largest_that_vanishes(task.data.x()[0]),
            weights: zeros(LAYERS * registers),
            rates: zeros(registers),
            highest: zeros(registers),
            before: zeros(LAYERS * registers),
            rests: false,
            last: PerQuantity::new(|quantity| zeros(quantity.values(task.network) * registers)),
        }
    }

    #[inline(always)]
    fn given(&self, row: usize) -> Given<A::Vector<S>> {
        let (x, y) = (self.data.x()[row], self.data.y()[row]);
        let splat = |value| A::splat(self.simd, value);
        Given {
            zero: splat(0.0),
            half: splat(0.5),
            x: splat(x),
            y: splat(y),
            off: splat(0.0 * x),
        }
    }

    /// Epochs that are not traced. Returns the largest loss.
    #[inline(always)]
    fn untraced<const PHI: u8, const ONE_ROW: bool>(&mut self, epochs: usize) -> A::Vector<S> {
        let (simd, data, first) = (self.simd, self.data, self.given(0));
        let (weights, rates) = (&mut self.weights[..], &self.rates[..]);
        let before = &mut self.before[..];
        let highest = &mut self.highest[..rates.len()];
        let mut largest = first.zero;
        unwatched::until_they_return(weights, before, epochs, |weights, epochs| {
            for _ in epochs {
                Self::epoch::<PHI, ONE_ROW>(simd, weights, rates, &first, data, |r, pass| {
                    largest = A::max(simd, pass.loss, largest);
                    highest[r] = A::max(simd, pass.loss, highest[r]);
                });
            }
        });
        largest
    }

    /// Epochs that are traced. Returns the largest loss.
    #[inline(always)]
    fn traced<const PHI: u8, const ONE_ROW: bool>(
        &mut self,
        epochs: Range<usize>,
        trace: &mut Trace<A::Number>,
    ) -> A::Vector<S> {
        let (simd, data, first) = (self.simd, self.data, self.given(0));
        let (weights, rates) = (&mut self.weights[..], &self.rates[..]);
        let registers = rates.len();
        let mut largest = first.zero;
        for epoch in epochs.clone() {
            trace.keep(Quantity::Weights, epoch, bytemuck::cast_slice(weights));
            let mut places = trace.places(epoch);
            for (place, unwanted) in places.iter_mut().zip(self.last.iter_mut()) {
                if place.is_empty() {
                    *place = bytemuck::cast_slice_mut(unwanted);
                }
            }
            let places = places.map(bytemuck::cast_slice_mut);
            let [loss, prediction, gradients, _] = places.into();
            let (front, back) = gradients.split_at_mut((LAYERS - 1) * registers);
            let (loss, prediction, back) = (
                &mut loss[..registers],
                &mut prediction[..registers],
                &mut back[..registers],
            );
            Self::epoch::<PHI, ONE_ROW>(simd, weights, rates, &first, data, |r, pass| {
                largest = A::max(simd, pass.loss, largest);
                loss[r] = pass.loss;
                prediction[r] = pass.prediction;
                back[r] = pass.gradients[LAYERS - 1];
                if LAYERS == 2 {
                    front[r] = pass.gradients[0];
                }
            });
        }
        if !epochs.is_empty() {
            let kept = trace.places(epochs.end - 1).map(|place| &*place);
            let last: &mut [A::Number] =
                bytemuck::cast_slice_mut(&mut self.last[Quantity::Gradients]);
            if kept[Quantity::Gradients].len() == last.len() {
                last.copy_from_slice(kept[Quantity::Gradients]);
            }
        }
        largest
    }

    fn take_highest(&mut self, trace: &Trace<A::Number>) {
        bytemuck::cast_slice_mut(&mut self.highest).copy_from_slice(&trace.highest.loss);
    }

    /// The last epochs are traced, the others are not.
    #[inline(always)]
    fn span<const PHI: u8, const ONE_ROW: bool>(
        &mut self,
        epochs: usize,
        bound: f64,
        trace: &mut Trace<A::Number>,
    ) -> bool {
        let mut next = trace.first;
        let mut watched = self.given(0).zero;
        trace.highest.is_proven = false;
        if trace.first > 0 {
            self.take_highest(trace);
        }
        let unwatched = ONE_ROW && PHI != RELU && self.needs_no_watch(epochs, bound);
        if unwatched {
            // To watch weights that rest is cheaper than a proof.
            let stays = !self.rests && trace.first >= LONG && self.most_stay_below();
            if !stays && trace.first > 0 {
                self.take_highest(trace);
            }
            trace.highest.is_proven = stays;
            self.unwatched::<PHI>(trace.first, stays, None);
            // The last epoch is a whole pass, since its gradients tell how runs end.
            if trace.is_loss_only() && next < epochs {
                let count = epochs - 1 - next;
                self.unwatched::<PHI>(count, false, Some(trace.first_losses(count)));
                next += count;
            }
        } else {
            watched = self.untraced::<PHI, ONE_ROW>(trace.first);
        }
        let largest = self.traced::<PHI, ONE_ROW>(next..epochs, trace);
        if unwatched && !bounds::is_moderate(self.weights()) {
            return false;
        }
        if trace.first > 0 {
            let (highest, found) = (&mut trace.highest, bytemuck::cast_slice(&self.highest));
            highest.loss.copy_from_slice(found);
            highest.epoch.fill(UNKNOWN);
        }
        let seen = [watched, largest];
        // A loss that is NaN is not seen, but leaves weights that never are a number again.
        all_at_most::<A::Number>(bytemuck::cast_slice(&seen), bound) & all_finite(self.weights())
    }
}

/// A call of [`Kernel::advance`], compiled for an instruction set.
struct Advance<'k, 'a, S: Simd, A: Arithmetic, const LAYERS: usize> {
    chain: &'k mut Chain<'a, S, A, LAYERS>,
    epochs: usize,
    bound: f64,
    trace: &'k mut Trace<A::Number>,
}

impl<S: Simd, A: Arithmetic, const LAYERS: usize> WithSimd for Advance<'_, '_, S, A, LAYERS> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<T: Simd>(self, _: T) -> bool {
        let Self {
            chain,
            epochs,
            bound,
            trace,
        } = self;
        // Each arm is compiled: only for one row is it worth telling where no x is negative.
        match (chain.phi, chain.data.rows() == 1) {
            (RELU_OF_POSITIVE, true) if LAYERS == 2 => {
                chain.span::<RELU_OF_POSITIVE, true>(epochs, bound, trace)
            }
            (RELU, true) if LAYERS == 2 => chain.span::<RELU, true>(epochs, bound, trace),
            (RELU | RELU_OF_POSITIVE, false) if LAYERS == 2 => {
                chain.span::<RELU, false>(epochs, bound, trace)
            }
            (_, true) => chain.span::<IDENTITY, true>(epochs, bound, trace),
            (_, false) => chain.span::<IDENTITY, false>(epochs, bound, trace),
        }
    }
}

impl<S: Simd, A: Arithmetic, const LAYERS: usize> Kernel<A::Number> for Chain<'_, S, A, LAYERS> {
    fn width(&self) -> usize {
        self.rates.len() * A::lanes::<S>()
    }

    fn weights(&self) -> &[A::Number] {
        bytemuck::cast_slice(&self.weights)
    }

    fn gradients(&self) -> &[A::Number] {
        bytemuck::cast_slice(&self.last[Quantity::Gradients])
    }

    #[inline(always)]
    fn sensitivity(&self, out: &mut [f64]) -> bool {
        let (x, width) = (self.data.x()[0], self.width());
        let (first, last) = self.weights().split_at((LAYERS - 1) * width);
        let is_linear = self.phi == IDENTITY;
        if LAYERS == 1 {
            out.fill(x * x);
        }
        for (out, (first, last)) in out.iter_mut().zip(first.iter().zip(last)) {
            let (first, last): (f64, f64) = ((*first).into(), (*last).into());
            let (input, factor) = (first * x, last * x);
            let on = is_linear | (input > 0.0);
            *out = if on {
                input * input + factor * factor
            } else {
                0.0
            };
        }
        self.data.rows() == 1
    }

    fn contraction(&self, weights: &[f64], rates: &[f64], out: &mut [f64]) -> bool {
        let (is_relu, given) = (self.phi != IDENTITY, [self.data.x()[0], self.data.y()[0]]);
        let runs = weights.chunks_exact(LAYERS).zip(rates);
        for (out, (weights, rate)) in out.iter_mut().zip(runs) {
            let weights = [weights[0], weights[LAYERS - 1]];
            *out = match LAYERS {
                1 => bounds::contraction_without_hidden(given[0], *rate),
                _ => bounds::contraction(is_relu, given, weights, *rate),
            };
        }
        self.data.rows() == 1
    }

    fn state(&mut self) -> [&mut [A::Number]; 2] {
        [bytemuck::cast_slice_mut(&mut self.weights), &mut []]
    }

    fn advance(
        &mut self,
        own: &[f64],
        epochs: Range<usize>,
        bound: f64,
        trace: &mut Trace<A::Number>,
    ) -> bool {
        round::<A::Number>(bytemuck::cast_slice_mut(&mut self.rates), own);
        self.simd.vectorize(Advance {
            chain: self,
            epochs: epochs.len(),
            bound,
            trace,
        })
    }
}
