//! Networks with one neuron a layer, such as the guide's: an epoch of a run is a dozen
//! operations, and everything else has to stay out of their way.
//!
//! ```text
//! for each epoch                          for each register of runs
//!   z  = w1·x                               h  = max(z, 0)
//!   e  = y − w2·h                           δ  = e·w2
//!   ∂w1 = −δ·(x if z > 0 else 0·x)          ∂w2 = −e·h
//!   w1 = w1 − lr·∂w1                        w2 = w2 − lr·∂w2
//! ```
//!
//! 1. The operations of one run wait for one another, some 36 cycles in all. Those of other
//!    registers fill the gaps: [`REGISTERS`] of them are trained side by side. Their weights
//!    lie in memory, since no machine has registers for all; loads and stores have units of
//!    their own and cost nothing here.
//! 2. Epochs that nobody wants to see ([`Watch::Sum`]) compute no loss. One fused operation
//!    adds up e², which is at least as large as any loss on the way: if the sum is finite,
//!    every loss was.
//! 3. ½(x·0) has the sign that the guide's product has, and so has every other zero.

use std::ops::Range;

use pulp::{bytemuck, Simd, WithSimd};

use super::arithmetic::{aligned, Aligned, Arithmetic, Number};
use super::{all_at_most, all_finite, Kernel};
use crate::history::{Quantity, Trace};
use crate::task::Task;
use crate::{Activation, Data, Loss};

/// Vector registers of runs that are trained side by side.
const REGISTERS: usize = 8;

/// Networks of `LAYERS` layers with one weight each.
pub(crate) struct Chain<'a, S: Simd, A: Arithmetic, const LAYERS: usize> {
    simd: S,
    relu: bool,
    data: &'a Data<'a>,
    /// Shape (layers, registers), as the next two.
    weights: Aligned<A::Vector<S>>,
    gradients: Aligned<A::Vector<S>>,
    rates: Aligned<A::Vector<S>>,
}

/// How losses are looked at that are not traced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// By a sum that is larger than each: for a bound that only an overflow passes.
    Sum,
    /// Each by itself.
    Each,
}

/// What one pass gives for the runs of a register; `error` is y − ŷ of a single row.
#[derive(Clone, Copy)]
struct Pass<V, const LAYERS: usize> {
    error: V,
    loss: V,
    prediction: V,
    gradients: [V; LAYERS],
}

/// A few constants in registers.
struct Given<V> {
    zero: V,
    half: V,
    x: V,
    y: V,
    /// 0·x, with its sign.
    off: V,
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
            && (LAYERS == 1 || plain && network.gain().to_bits() == 1.0_f64.to_bits());
        let single = network.parameters() == LAYERS && network.layers().len() == LAYERS;
        ours && single && task.groups == 1 && task.settings.is_plain()
    }

    /// For so many runs: a single register of them needs no others beside it.
    pub fn new(simd: S, task: Task<'a>, runs: usize) -> Self {
        let registers = if runs <= A::lanes::<S>() {
            1
        } else {
            REGISTERS
        };
        let zeros = |count| aligned(A::splat(simd, 0.0), count);
        Self {
            simd,
            relu: task.network.activation() == Activation::Relu,
            data: task.data,
            weights: zeros(LAYERS * registers),
            gradients: zeros(LAYERS * registers),
            rates: zeros(registers),
        }
    }

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

    /// The same operations as in [`super::backprop`], with the same results, for one row.
    #[inline(always)]
    fn row<const RELU: bool>(
        simd: S,
        weights: [A::Vector<S>; LAYERS],
        given: &Given<A::Vector<S>>,
    ) -> Pass<A::Vector<S>, LAYERS> {
        const { assert!(LAYERS == 1 || LAYERS == 2, "one hidden neuron, or none") };
        let Given { zero, x, y, .. } = *given;
        let (first, last) = (weights[0], weights[LAYERS - 1]);
        // The input of the last layer, and what the first layer's gradient is a multiple of.
        let (mut input, mut factor) = (x, x);
        if LAYERS == 2 {
            let z = A::mul(simd, first, x);
            input = z;
            if RELU {
                input = A::max(simd, z, zero);
                factor = A::select(simd, A::greater(simd, z, zero), x, given.off);
            }
        }
        let error = A::mul_sub(simd, last, input, y);
        let delta = A::neg(simd, error);
        let mut gradients = [A::mul(simd, delta, input); LAYERS];
        if LAYERS == 2 {
            gradients[0] = A::mul(simd, A::mul(simd, delta, last), factor);
        }
        let half_error = A::mul(simd, error, error);
        Pass {
            error,
            loss: A::mul(simd, given.half, half_error),
            prediction: A::mul(simd, last, input),
            gradients,
        }
    }

    /// The mean over the rows.
    #[inline(always)]
    fn pass<const RELU: bool, const ONE_ROW: bool>(
        simd: S,
        weights: [A::Vector<S>; LAYERS],
        first: &Given<A::Vector<S>>,
        data: &Data,
    ) -> Pass<A::Vector<S>, LAYERS> {
        let mut sum = Self::row::<RELU>(simd, weights, first);
        if !ONE_ROW {
            for (x, y) in data.x()[1..].iter().zip(&data.y()[1..]) {
                let row = Given {
                    x: A::splat(simd, *x),
                    y: A::splat(simd, *y),
                    off: A::splat(simd, 0.0 * x),
                    ..*first
                };
                let next = Self::row::<RELU>(simd, weights, &row);
                sum = sum.combine(&next, |a, b| A::add(simd, a, b));
            }
            let rows = A::splat(simd, data.rows() as f64);
            sum = sum.combine(&sum, |a, _| A::div(simd, a, rows));
        }
        sum
    }

    /// One epoch of the runs of a register.
    #[inline(always)]
    fn step<const RELU: bool, const ONE_ROW: bool>(
        simd: S,
        weights: &mut [A::Vector<S>; LAYERS],
        rate: A::Vector<S>,
        first: &Given<A::Vector<S>>,
        data: &Data,
    ) -> Pass<A::Vector<S>, LAYERS> {
        let pass = Self::pass::<RELU, ONE_ROW>(simd, *weights, first, data);
        for (weight, gradient) in weights.iter_mut().zip(pass.gradients) {
            *weight = A::mul_sub(simd, rate, gradient, *weight);
        }
        pass
    }

    /// Epochs that are not traced. Returns what was watched, which is at most `bound` only if
    /// every loss was.
    #[inline(always)]
    fn untraced<const RELU: bool, const ONE_ROW: bool, const EACH: bool>(
        &mut self,
        epochs: usize,
    ) -> A::Vector<S> {
        let (simd, data, first) = (self.simd, self.data, self.given(0));
        let mut watched = first.zero;
        let mut watch = |pass: &Pass<_, LAYERS>| {
            watched = if EACH {
                A::max(simd, pass.loss, watched)
            } else if ONE_ROW {
                A::fused(simd, pass.error, pass.error, watched)
            } else {
                A::add(simd, watched, pass.loss)
            };
        };
        let registers = self.rates.len();
        if let [rate] = self.rates[..] {
            let mut weights = [first.zero; LAYERS];
            weights.copy_from_slice(&self.weights);
            for _ in 0..epochs {
                watch(&Self::step::<RELU, ONE_ROW>(
                    simd,
                    &mut weights,
                    rate,
                    &first,
                    data,
                ));
            }
            self.weights.copy_from_slice(&weights);
            return watched;
        }
        let (front, back) = self.weights.split_at_mut((LAYERS - 1) * registers);
        for _ in 0..epochs {
            for (r, (last, rate)) in back.iter_mut().zip(self.rates.iter()).enumerate() {
                let mut weights = [*last; LAYERS];
                if LAYERS == 2 {
                    weights[0] = front[r];
                }
                watch(&Self::step::<RELU, ONE_ROW>(
                    simd,
                    &mut weights,
                    *rate,
                    &first,
                    data,
                ));
                if LAYERS == 2 {
                    front[r] = weights[0];
                }
                *last = weights[LAYERS - 1];
            }
        }
        watched
    }

    /// Epochs that are traced. Returns the largest loss.
    #[inline(always)]
    fn traced<const RELU: bool, const ONE_ROW: bool>(
        &mut self,
        epochs: Range<usize>,
        trace: &mut Trace<A::Number>,
    ) -> A::Vector<S> {
        let (simd, data, first) = (self.simd, self.data, self.given(0));
        let registers = self.rates.len();
        let mut largest = first.zero;
        let mut loss = [first.zero; REGISTERS];
        let mut prediction = [first.zero; REGISTERS];
        for epoch in epochs {
            trace.keep(
                Quantity::Weights,
                epoch,
                bytemuck::cast_slice(&self.weights),
            );
            for r in 0..registers {
                let mut weights = [first.zero; LAYERS];
                for layer in 0..LAYERS {
                    weights[layer] = self.weights[layer * registers + r];
                }
                let rate = self.rates[r];
                let pass = Self::step::<RELU, ONE_ROW>(simd, &mut weights, rate, &first, data);
                largest = A::max(simd, pass.loss, largest);
                loss[r] = pass.loss;
                prediction[r] = pass.prediction;
                for layer in 0..LAYERS {
                    self.weights[layer * registers + r] = weights[layer];
                    self.gradients[layer * registers + r] = pass.gradients[layer];
                }
            }
            let gradients = bytemuck::cast_slice(&self.gradients);
            trace.keep(
                Quantity::Loss,
                epoch,
                bytemuck::cast_slice(&loss[..registers]),
            );
            trace.keep(
                Quantity::Prediction,
                epoch,
                bytemuck::cast_slice(&prediction[..registers]),
            );
            trace.keep(Quantity::Gradients, epoch, gradients);
        }
        largest
    }

    /// The last epochs are traced, the others are not.
    #[inline(always)]
    fn span<const RELU: bool, const ONE_ROW: bool>(
        &mut self,
        epochs: usize,
        bound: f64,
        trace: &mut Trace<A::Number>,
    ) -> bool {
        let untraced = trace.first;
        let watch = if bound < A::Number::LARGEST {
            Watch::Each
        } else {
            Watch::Sum
        };
        let watched = match watch {
            _ if untraced == 0 => self.given(0).zero,
            Watch::Sum => self.untraced::<RELU, ONE_ROW, false>(untraced),
            Watch::Each => self.untraced::<RELU, ONE_ROW, true>(untraced),
        };
        let largest = self.traced::<RELU, ONE_ROW>(untraced..epochs, trace);
        let seen = [watched, largest];
        // A loss that is NaN is not seen, but leaves weights that never are a number again.
        all_at_most::<A::Number>(bytemuck::cast_slice(&seen), bound) & all_finite(self.weights())
    }
}

impl<V: Copy, const LAYERS: usize> Pass<V, LAYERS> {
    #[inline(always)]
    fn combine(mut self, other: &Self, with: impl Fn(V, V) -> V) -> Self {
        self.loss = with(self.loss, other.loss);
        self.prediction = with(self.prediction, other.prediction);
        for (mine, others) in self.gradients.iter_mut().zip(other.gradients) {
            *mine = with(*mine, others);
        }
        self
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
        match (chain.relu, chain.data.rows() == 1) {
            (true, true) => chain.span::<true, true>(epochs, bound, trace),
            (true, false) => chain.span::<true, false>(epochs, bound, trace),
            (false, true) => chain.span::<false, true>(epochs, bound, trace),
            (false, false) => chain.span::<false, false>(epochs, bound, trace),
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
        bytemuck::cast_slice(&self.gradients)
    }

    fn state(&mut self) -> [&mut [A::Number]; 2] {
        [bytemuck::cast_slice_mut(&mut self.weights), &mut []]
    }

    fn advance(
        &mut self,
        learning_rate: &[A::Number],
        epochs: Range<usize>,
        bound: f64,
        trace: &mut Trace<A::Number>,
    ) -> bool {
        bytemuck::cast_slice_mut(&mut self.rates).copy_from_slice(learning_rate);
        self.simd.vectorize(Advance {
            chain: self,
            epochs: epochs.len(),
            bound,
            trace,
        })
    }
}
