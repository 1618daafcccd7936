//! The largest eigenvalue of symmetric matrices, one in each lane.

use pulp::{bytemuck, Simd};

use super::spectrum::SMALL;

/// A matrix with a diagonal, and numbers beside it: the beginning of a larger one.
#[derive(Clone, Copy)]
pub(super) struct Tridiagonal<'t, V> {
    pub diagonal: &'t [V],
    /// As many, the last one between the matrix and the rest of the larger one.
    pub beside: &'t [V],
}

/// The largest eigenvalue θ, and what tells how good it is of the larger matrix.
pub(super) struct Largest<V> {
    pub value: V,
    /// There is a vector y of length 1 for which ‖H·y − θ·y‖ is this.
    pub residual: V,
    /// The other eigenvalues are at least so far away; not above 0 where that is not known.
    pub gap: V,
}

/// Sums over the eigenvalues λ of 1/(x − λ) and of its square; whether x is above all of them.
struct Sums<V, M> {
    first: V,
    second: V,
    is_above: M,
}

/// Steps after which the search ends in any case; it takes some ten.
const MOST_STEPS: usize = 100;

// No closures here, nor in the kernel: they would not be compiled for the instruction set.
impl<V: bytemuck::Pod> Tridiagonal<'_, V> {
    /// An upper bound of the absolute value of all eigenvalues (Gershgorin).
    #[inline(always)]
    pub fn bound<S: Simd<f64s = V>>(self, simd: S) -> V {
        let zero = simd.splat_f64s(0.0);
        let (mut bound, mut before, mut all) = (zero, zero, zero);
        for (diagonal, beside) in self.diagonal.iter().zip(self.beside) {
            let after = simd.abs_f64s(*beside);
            let row = simd.add_f64s(simd.abs_f64s(*diagonal), simd.add_f64s(before, after));
            bound = simd.max_f64s(bound, row);
            all = simd.add_f64s(all, row);
            before = after;
        }
        // A maximum forgets what is not a number, a sum does not.
        simd.add_f64s(bound, simd.mul_f64s(all, zero))
    }

    /// The largest eigenvalue of the matrix times a sign, by Laguerre's method: from above all
    /// eigenvalues it falls towards the largest one, with three times as many digits a step.
    #[inline(always)]
    pub fn largest<S: Simd<f64s = V>>(self, simd: S, sign: f64) -> Largest<V> {
        let bound = self.bound(simd);
        let count = self.diagonal.len() as f64;
        let (zero, one) = (simd.splat_f64s(0.0), simd.splat_f64s(1.0));
        let (sign, n, rest) = (
            simd.splat_f64s(sign),
            simd.splat_f64s(count),
            simd.splat_f64s(count - 1.0),
        );
        let least = simd.mul_f64s(bound, simd.splat_f64s(f64::EPSILON));
        let mut x = bound;
        for _ in 0..MOST_STEPS {
            let sums = self.sums(simd, sign, x);
            let square = simd.mul_f64s(sums.first, sums.first);
            let spread = simd.sub_f64s(simd.mul_f64s(n, sums.second), square);
            let spread = simd.mul_f64s(rest, simd.max_f64s(spread, zero));
            let step = simd.div_f64s(n, simd.add_f64s(sums.first, simd.sqrt_f64s(spread)));
            let moves = simd.and_m64s(sums.is_above, simd.greater_than_f64s(step, least));
            x = simd.select_f64s(moves, simd.sub_f64s(x, step), x);
            if !any(simd, simd.select_f64s(moves, one, zero)) {
                break;
            }
        }
        // A little above, the sum over the other eigenvalues bounds how near they are.
        let apart = simd.mul_f64s(bound, simd.splat_f64s(1e-4));
        let sums = self.sums(simd, sign, simd.add_f64s(x, apart));
        let own = simd.div_f64s(one, simd.mul_f64s(apart, apart));
        let others = simd.max_f64s(simd.sub_f64s(sums.second, own), zero);
        let nearest = simd.div_f64s(one, simd.sqrt_f64s(others));
        Largest {
            value: simd.mul_f64s(sign, x),
            residual: self.residual(simd, sign, x),
            gap: simd.sub_f64s(nearest, simd.add_f64s(apart, apart)),
        }
    }

    /// By the pivots p of x − T, whose product is the characteristic polynomial, and their
    /// derivatives.
    #[inline(always)]
    fn sums<S: Simd<f64s = V>>(self, simd: S, sign: V, x: V) -> Sums<V, S::m64s> {
        let (zero, one) = (simd.splat_f64s(0.0), simd.splat_f64s(1.0));
        let (mut first, mut second, mut beside) = (zero, zero, zero);
        let mut is_above = simd.less_than_f64s(zero, one);
        // 1/p, p'/p and p''/p of the pivot before.
        let (mut inverse, mut u, mut t) = (zero, zero, zero);
        for (diagonal, after) in self.diagonal.iter().zip(self.beside) {
            let f = simd.mul_f64s(simd.mul_f64s(beside, beside), inverse);
            let pivot = simd.sub_f64s(simd.sub_f64s(x, simd.mul_f64s(sign, *diagonal)), f);
            let slope = simd.add_f64s(one, simd.mul_f64s(f, u));
            let uu = simd.mul_f64s(u, u);
            let bend = simd.mul_f64s(f, simd.sub_f64s(t, simd.add_f64s(uu, uu)));
            inverse = simd.div_f64s(one, pivot);
            u = simd.mul_f64s(slope, inverse);
            t = simd.mul_f64s(bend, inverse);
            first = simd.add_f64s(first, u);
            second = simd.add_f64s(second, simd.sub_f64s(simd.mul_f64s(u, u), t));
            is_above = simd.and_m64s(is_above, simd.greater_than_f64s(pivot, zero));
            beside = *after;
        }
        Sums {
            first,
            second,
            is_above,
        }
    }

    /// The least ‖H·y − x·y‖ of the vectors y that fulfil the first k − 1 equations of (H − x)·y = 0
    /// and have k components: √((pₖ² + βₖ²)/pₖ'), where pₖ' is (y₁² + … + yₖ²)/yₖ².
    #[inline(always)]
    fn residual<S: Simd<f64s = V>>(self, simd: S, sign: V, x: V) -> V {
        let (zero, one) = (simd.splat_f64s(0.0), simd.splat_f64s(1.0));
        let (mut inverse, mut u, mut beside) = (zero, zero, zero);
        let mut least = simd.splat_f64s(f64::INFINITY);
        for (diagonal, after) in self.diagonal.iter().zip(self.beside) {
            let f = simd.mul_f64s(simd.mul_f64s(beside, beside), inverse);
            let pivot = simd.sub_f64s(simd.sub_f64s(x, simd.mul_f64s(sign, *diagonal)), f);
            let slope = simd.add_f64s(one, simd.mul_f64s(f, u));
            inverse = simd.div_f64s(one, pivot);
            u = simd.mul_f64s(slope, inverse);
            beside = *after;
            let squares = simd.add_f64s(simd.mul_f64s(pivot, pivot), simd.mul_f64s(beside, beside));
            let square = simd.div_f64s(squares, slope);
            let is_less = simd.less_than_f64s(square, least);
            least = simd.select_f64s(is_less, square, least);
        }
        simd.sqrt_f64s(least)
    }
}

/// Whether a number of any lane is above 0.
#[inline(always)]
pub(super) fn any<S: Simd>(_: S, values: S::f64s) -> bool {
    let values = [values];
    let mut any = false;
    for value in bytemuck::cast_slice::<S::f64s, f64>(&values) {
        any |= *value > 0.0;
    }
    any
}

/// Makes a symmetric matrix tridiagonal by Householder's reflections, which keep its eigenvalues;
/// the matrix has the shape (n, n).
#[inline(always)]
pub(super) fn reduce<S: Simd>(
    simd: S,
    matrix: &mut [S::f64s],
    diagonal: &mut [S::f64s],
    beside: &mut [S::f64s],
) {
    let n = diagonal.len();
    let zero = simd.splat_f64s(0.0);
    let (mut reflector, mut image) = ([zero; SMALL], [zero; SMALL]);
    for k in 0..n {
        diagonal[k] = matrix[k * n + k];
        if k + 1 == n {
            break;
        }
        let size = n - k - 1;
        let (v, w) = (&mut reflector[..size], &mut image[..size]);
        let mut square = zero;
        for (i, v) in v.iter_mut().enumerate() {
            *v = matrix[(k + 1 + i) * n + k];
            square = simd.add_f64s(square, simd.mul_f64s(*v, *v));
        }
        let length = simd.sqrt_f64s(square);
        // Of the other sign than the first number, so that no digits are lost.
        let is_negative = simd.less_than_f64s(v[0], zero);
        let alpha = simd.select_f64s(is_negative, length, simd.neg_f64s(length));
        beside[k] = alpha;
        // ½·v·v = ‖x‖² − α·x₁, where v = x − α·e₁.
        let half = simd.sub_f64s(square, simd.mul_f64s(alpha, v[0]));
        v[0] = simd.sub_f64s(v[0], alpha);
        let inverse = simd.div_f64s(simd.splat_f64s(1.0), half);
        let inverse = simd.select_f64s(simd.greater_than_f64s(half, zero), inverse, zero);
        let mut overlap = zero;
        for (i, w) in w.iter_mut().enumerate() {
            let row = &matrix[(k + 1 + i) * n + k + 1..][..size];
            let mut sum = zero;
            for (a, v) in row.iter().zip(&*v) {
                sum = simd.add_f64s(sum, simd.mul_f64s(*a, *v));
            }
            *w = simd.mul_f64s(sum, inverse);
            overlap = simd.add_f64s(overlap, simd.mul_f64s(*w, v[i]));
        }
        let own = simd.mul_f64s(simd.mul_f64s(overlap, inverse), simd.splat_f64s(0.5));
        for (w, v) in w.iter_mut().zip(&*v) {
            *w = simd.sub_f64s(*w, simd.mul_f64s(own, *v));
        }
        for i in 0..size {
            let row = &mut matrix[(k + 1 + i) * n + k + 1..][..size];
            for (j, a) in row.iter_mut().enumerate() {
                let both = simd.add_f64s(simd.mul_f64s(v[i], w[j]), simd.mul_f64s(w[i], v[j]));
                *a = simd.sub_f64s(*a, both);
            }
        }
    }
}
