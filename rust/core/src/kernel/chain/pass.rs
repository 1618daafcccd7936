//! One pass over the rows, and the update after it, for a register of runs: what always holds.
//!
//! In exact arithmetic even the sign of a zero is that of plain code, which multiplies by the
//! derivative, 1 or 0, and does not choose: hence 0·x. In fast arithmetic lr·e is common to both
//! updates, which are then fused.

use pulp::Simd;

use super::{Chain, IDENTITY, RELU_OF_POSITIVE};
use crate::kernel::arithmetic::Arithmetic;
use crate::Data;

/// What one pass gives for the runs of a register; the first three are of a single row.
#[derive(Clone, Copy)]
pub(super) struct Pass<V, const LAYERS: usize> {
    /// y − ŷ.
    pub error: V,
    /// Of the last layer.
    pub input: V,
    /// Times e·w2, it is −∂w1.
    pub factor: V,
    pub loss: V,
    pub prediction: V,
    pub gradients: [V; LAYERS],
}

/// A few constants in registers.
pub(super) struct Given<V> {
    pub zero: V,
    pub half: V,
    pub x: V,
    pub y: V,
    /// 0·x, with its sign.
    pub off: V,
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

impl<S: Simd, A: Arithmetic, const LAYERS: usize> Chain<'_, S, A, LAYERS> {
    /// The same operations as in [`crate::kernel::backprop`], with the same results, for one row.
    #[inline(always)]
    fn row<const PHI: u8>(
        simd: S,
        weights: [A::Vector<S>; LAYERS],
        given: &Given<A::Vector<S>>,
    ) -> Pass<A::Vector<S>, LAYERS> {
        const { assert!(LAYERS == 1 || LAYERS == 2, "one hidden neuron, or none") };
        let Given { x, y, .. } = *given;
        let (first, last) = (weights[0], weights[LAYERS - 1]);
        // The input of the last layer, and what the first layer's gradient is a multiple of.
        let (mut input, mut factor) = (x, x);
        if LAYERS == 2 {
            let z = A::mul(simd, first, x);
            input = z;
            if PHI != IDENTITY {
                let on = A::exceeds(simd, z, given.zero);
                input = A::masked(simd, on, z);
                factor = if PHI == RELU_OF_POSITIVE {
                    A::masked(simd, on, x)
                } else {
                    A::select(simd, on, x, given.off)
                };
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
            input,
            factor,
            loss: A::mul(simd, given.half, half_error),
            prediction: A::mul(simd, last, input),
            gradients,
        }
    }

    /// The mean over the rows.
    #[inline(always)]
    fn pass<const PHI: u8, const ONE_ROW: bool>(
        simd: S,
        weights: [A::Vector<S>; LAYERS],
        first: &Given<A::Vector<S>>,
        data: &Data,
    ) -> Pass<A::Vector<S>, LAYERS> {
        let mut sum = Self::row::<PHI>(simd, weights, first);
        if !ONE_ROW {
            for (x, y) in data.x()[1..].iter().zip(&data.y()[1..]) {
                let row = Given {
                    x: A::splat(simd, *x),
                    y: A::splat(simd, *y),
                    off: A::splat(simd, 0.0 * x),
                    ..*first
                };
                let next = Self::row::<PHI>(simd, weights, &row);
                sum = sum.combine(&next, |a, b| A::add(simd, a, b));
            }
            let rows = A::splat(simd, data.rows() as f64);
            sum = sum.combine(&sum, |a, _| A::div(simd, a, rows));
        }
        sum
    }

    /// One epoch of the runs of a register.
    #[inline(always)]
    fn step<const PHI: u8, const ONE_ROW: bool>(
        simd: S,
        weights: &mut [A::Vector<S>; LAYERS],
        rate: A::Vector<S>,
        first: &Given<A::Vector<S>>,
        data: &Data,
    ) -> Pass<A::Vector<S>, LAYERS> {
        let pass = Self::pass::<PHI, ONE_ROW>(simd, *weights, first, data);
        if A::FUSED && ONE_ROW && LAYERS == 2 {
            let [first, last] = [weights[0], weights[LAYERS - 1]];
            let step = A::mul(simd, rate, pass.error);
            let below = A::mul(simd, step, last);
            weights[0] = A::mul_add(simd, below, pass.factor, first);
            weights[LAYERS - 1] = A::mul_add(simd, step, pass.input, last);
            return pass;
        }
        for (weight, gradient) in weights.iter_mut().zip(pass.gradients) {
            *weight = A::mul_sub(simd, rate, gradient, *weight);
        }
        pass
    }

    /// One epoch of every run; `each` is told the pass of each register by its place.
    #[inline(always)]
    pub(super) fn epoch<const PHI: u8, const ONE_ROW: bool>(
        simd: S,
        weights: &mut [A::Vector<S>],
        rates: &[A::Vector<S>],
        first: &Given<A::Vector<S>>,
        data: &Data,
        mut each: impl FnMut(usize, &Pass<A::Vector<S>, LAYERS>),
    ) {
        let registers = rates.len();
        let (front, back) = weights.split_at_mut((LAYERS - 1) * registers);
        let (front, back) = (
            &mut front[..(LAYERS - 1) * registers],
            &mut back[..registers],
        );
        for (r, (last, rate)) in back.iter_mut().zip(rates).enumerate() {
            let mut weights = [*last; LAYERS];
            if LAYERS == 2 {
                weights[0] = front[r];
            }
            let pass = Self::step::<PHI, ONE_ROW>(simd, &mut weights, *rate, first, data);
            if LAYERS == 2 {
                front[r] = weights[0];
            }
            *last = weights[LAYERS - 1];
            each(r, &pass);
        }
    }
}
