//! The ends of the spectrum of the Hessian, for a block of networks.
//!
//! Up to [`SMALL`] parameters the matrix is computed column by column and made tridiagonal. Of
//! larger ones Lanczos' method builds the tridiagonal matrix of a growing subspace, whose
//! vectors are all orthogonalized against each other. Its largest eigenvalue θ has an eigenvector y
//! of length 1, and an eigenvalue of the Hessian is within r = ‖H·y − θ·y‖ of θ, and within r²/gap
//! if the others are at least a gap away (Kato and Temple; see Parlett, "The symmetric eigenvalue
//! problem", chapters 10 to 13).

use pulp::{bytemuck, Simd, WithSimd};
use rand_mt::Mt64;

use super::arithmetic::{aligned, Aligned};
use super::hessian::Hessian;
use super::tridiagonal::{any, reduce, Tridiagonal};
use super::{Spectrum, TILE};
use crate::{Data, Network, Progress};

/// Parameters up to which the whole matrix is computed.
pub(super) const SMALL: usize = 32;
/// Steps of Lanczos' method after which it ends in any case.
const MOST_STEPS: usize = 500;
/// The first steps after which its result is looked at.
const FIRST_LOOK: usize = 8;
/// The error, as a part of the largest absolute eigenvalue, at which it ends.
const TOLERANCE: f64 = 1e-13;
/// Numbers in the vectors that are kept of a run. Networks of many thousand parameters keep the
/// last vectors alone: an eigenvalue may then be found again, which changes neither end.
const KEPT: usize = 1 << 21;

/// How many numbers of each parameter a run needs at most.
pub(crate) fn planes(parameters: usize) -> usize {
    3 + if parameters <= SMALL {
        parameters
    } else {
        most_kept(parameters)
    }
}

fn most_kept(parameters: usize) -> usize {
    (KEPT / parameters).clamp(3, MOST_STEPS)
}

/// The numbers of one block, allocated once and used for every block.
pub(crate) struct Ends<'a, S: Simd> {
    simd: S,
    progress: &'a Progress,
    hessian: Hessian<'a, S>,
    /// What a product is added to, or the direction of a column.
    image: Aligned<S::f64s>,
    /// The whole matrix; empty for larger networks.
    matrix: Aligned<S::f64s>,
    /// Where Lanczos' method begins, the same for every run; empty for smaller networks.
    start: Vec<f64>,
    basis: Vec<Aligned<S::f64s>>,
    diagonal: Vec<S::f64s>,
    beside: Vec<S::f64s>,
    /// The largest and the smallest eigenvalue, and the error.
    results: [S::f64s; 3],
}

impl<'a, S: Simd> Ends<'a, S> {
    pub fn new(simd: S, network: &'a Network, progress: &'a Progress) -> Self {
        let (zero, n) = (simd.splat_f64s(0.0), network.parameters());
        let (matrix, steps) = if n <= SMALL {
            (n * n, n)
        } else {
            (0, MOST_STEPS)
        };
        Self {
            simd,
            progress,
            hessian: Hessian::new(simd, network),
            image: aligned(zero, n),
            matrix: aligned(zero, matrix),
            start: if n <= SMALL { Vec::new() } else { random(n) },
            basis: Vec::new(),
            diagonal: vec![zero; steps],
            beside: vec![zero; steps],
            results: [zero; 3],
        }
    }

    /// The largest eigenvalue, or both ends, by the whole matrix.
    #[inline(always)]
    fn by_matrix(&mut self, data: &Data, both: bool) {
        let (simd, n) = (self.simd, self.image.len());
        let (zero, one) = (simd.splat_f64s(0.0), simd.splat_f64s(1.0));
        self.matrix.fill(zero);
        for first in (0..data.rows()).step_by(TILE) {
            if self.progress.is_cancelled() {
                return;
            }
            self.hessian
                .enter(data, first, TILE.min(data.rows() - first));
            for (index, column) in self.matrix.chunks_exact_mut(n).enumerate() {
                self.image.fill(zero);
                self.image[index] = one;
                self.hessian.add_product(&self.image, column);
            }
        }
        let (size, inverse) = size(simd, &self.matrix);
        for value in &mut *self.matrix {
            *value = simd.mul_f64s(*value, inverse);
        }
        reduce(simd, &mut self.matrix, &mut self.diagonal, &mut self.beside);
        let matrix = Tridiagonal {
            diagonal: &self.diagonal,
            beside: &self.beside,
        };
        let unit = simd.div_f64s(size, simd.splat_f64s(data.rows() as f64));
        let signs: &[f64] = if both { &[1.0, -1.0] } else { &[1.0] };
        for (result, sign) in self.results.iter_mut().zip(signs) {
            *result = simd.mul_f64s(matrix.largest(simd, *sign).value, unit);
        }
    }

    /// The largest eigenvalue, or both ends, by Lanczos' method.
    #[inline(always)]
    fn by_lanczos(&mut self, data: &Data, both: bool) {
        let simd = self.simd;
        let (zero, one) = (simd.splat_f64s(0.0), simd.splat_f64s(1.0));
        let most = most_kept(self.image.len());
        let (mut unit, mut inverse) = (one, one);
        // The largest number so far; whether the subspace is a whole one; what is done.
        let (mut largest, mut whole, mut done) = (zero, zero, zero);
        let mut used = 0;
        let mut look = FIRST_LOOK;
        for step in 0..MOST_STEPS {
            used = self.room(used, most);
            let (vectors, next) = self.basis[..used].split_at_mut(used - 1);
            let vector = &mut next[0];
            if step == 0 {
                for (value, start) in vector.iter_mut().zip(&self.start) {
                    *value = simd.splat_f64s(*start);
                }
            } else {
                let length = self.beside[step - 1];
                let scale = simd.select_f64s(
                    simd.greater_than_f64s(length, zero),
                    simd.div_f64s(one, length),
                    zero,
                );
                for (value, image) in vector.iter_mut().zip(self.image.iter()) {
                    *value = simd.mul_f64s(*image, scale);
                }
            }
            self.image.fill(zero);
            for first in (0..data.rows()).step_by(TILE) {
                if self.progress.is_cancelled() {
                    return;
                }
                if step == 0 || data.rows() > TILE {
                    self.hessian
                        .enter(data, first, TILE.min(data.rows() - first));
                }
                self.hessian.add_product(vector, &mut self.image);
            }
            if step == 0 {
                (unit, inverse) = size(simd, &self.image);
            }
            for value in &mut *self.image {
                *value = simd.mul_f64s(*value, inverse);
            }
            let along = dot(simd, vector, &self.image);
            subtract(simd, along, vector, &mut self.image);
            if let Some(before) = vectors.last() {
                subtract(simd, self.beside[step - 1], before, &mut self.image);
            }
            for other in &*vectors {
                let overlap = dot(simd, other, &self.image);
                subtract(simd, overlap, other, &mut self.image);
            }
            let overlap = dot(simd, vector, &self.image);
            subtract(simd, overlap, vector, &mut self.image);
            let along = simd.add_f64s(along, overlap);
            let rest = simd.sqrt_f64s(dot(simd, &self.image, &self.image));
            // A whole subspace is followed by numbers that are between its ends.
            let was_whole = simd.greater_than_f64s(whole, zero);
            self.diagonal[step] = simd.select_f64s(was_whole, self.diagonal[0], along);
            largest = simd.max_f64s(largest, simd.max_f64s(simd.abs_f64s(along), rest));
            let goes_on =
                simd.greater_than_f64s(rest, simd.mul_f64s(largest, simd.splat_f64s(1e-14)));
            whole = simd.select_f64s(goes_on, whole, one);
            let is_whole = simd.greater_than_f64s(whole, zero);
            self.beside[step] = simd.select_f64s(is_whole, zero, rest);
            if step + 1 == look || step + 1 == MOST_STEPS {
                look += look.div_ceil(4);
                done = self.settle(step + 1, both, done);
                if !any(simd, simd.sub_f64s(one, done)) {
                    break;
                }
            }
        }
        let unit = simd.div_f64s(unit, simd.splat_f64s(data.rows() as f64));
        for result in &mut self.results {
            *result = simd.mul_f64s(*result, unit);
        }
    }

    /// Takes the results of the steps so far for those lanes that are not done. Returns which are now.
    #[inline(always)]
    fn settle(&mut self, steps: usize, both: bool, done: S::f64s) -> S::f64s {
        let simd = self.simd;
        let matrix = Tridiagonal {
            diagonal: &self.diagonal[..steps],
            beside: &self.beside[..steps],
        };
        let zero = simd.splat_f64s(0.0);
        let mut found = [zero; 3];
        let signs: &[f64] = if both { &[1.0, -1.0] } else { &[1.0] };
        for (index, sign) in signs.iter().enumerate() {
            let end = matrix.largest(simd, *sign);
            let near = end.residual;
            let nearer = simd.div_f64s(simd.mul_f64s(near, near), end.gap);
            let is_apart = simd.greater_than_f64s(end.gap, near);
            let error = simd.select_f64s(is_apart, nearer, near);
            found[index] = end.value;
            found[2] = simd.max_f64s(found[2], error);
        }
        let tolerance = simd.mul_f64s(matrix.bound(simd), simd.splat_f64s(TOLERANCE));
        let was_done = simd.greater_than_f64s(done, zero);
        for (result, found) in self.results.iter_mut().zip(found) {
            *result = simd.select_f64s(was_done, *result, found);
        }
        let open = simd.greater_than_f64s(found[2], tolerance);
        let now = simd.select_f64s(open, zero, simd.splat_f64s(1.0));
        simd.select_f64s(was_done, done, now)
    }

    /// Makes room for one more vector, the last one; returns how many there are.
    fn room(&mut self, used: usize, most: usize) -> usize {
        if used == most {
            self.basis.rotate_left(1);
            return used;
        }
        if used == self.basis.len() {
            let zero = self.simd.splat_f64s(0.0);
            self.basis.push(aligned(zero, self.image.len()));
        }
        used + 1
    }
}

/// A vector of length 1, the same one for every call: with probability 1 it is orthogonal to no eigenvector.
fn random(count: usize) -> Vec<f64> {
    let mut generator = Mt64::new(0);
    let mut values: Vec<f64> = (0..count)
        .map(|_| (generator.next_u64() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0)
        .collect();
    let length = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    for value in &mut values {
        *value /= length;
    }
    values
}

/// The largest absolute value, and its inverse; 0 for what is as good as 0.
#[inline(always)]
fn size<S: Simd>(simd: S, values: &[S::f64s]) -> (S::f64s, S::f64s) {
    let mut largest = simd.splat_f64s(0.0);
    for value in values {
        largest = simd.max_f64s(largest, simd.abs_f64s(*value));
    }
    let counts = simd.greater_than_f64s(largest, simd.splat_f64s(1e-300));
    let inverse = simd.div_f64s(simd.splat_f64s(1.0), largest);
    (
        largest,
        simd.select_f64s(counts, inverse, simd.splat_f64s(0.0)),
    )
}

/// A product of vectors, by four sums: they do not wait for each other.
#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[S::f64s], b: &[S::f64s]) -> S::f64s {
    let mut sums = [simd.splat_f64s(0.0); 4];
    let (four_a, rest_a) = a.as_chunks::<4>();
    let (four_b, rest_b) = b.as_chunks::<4>();
    for (a, b) in four_a.iter().zip(four_b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = simd.add_f64s(*sum, simd.mul_f64s(*a, *b));
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(rest_a).zip(rest_b) {
        *sum = simd.add_f64s(*sum, simd.mul_f64s(*a, *b));
    }
    simd.add_f64s(
        simd.add_f64s(sums[0], sums[1]),
        simd.add_f64s(sums[2], sums[3]),
    )
}

/// b − factor·a becomes b.
#[inline(always)]
fn subtract<S: Simd>(simd: S, factor: S::f64s, a: &[S::f64s], b: &mut [S::f64s]) {
    for (b, a) in b.iter_mut().zip(a) {
        *b = simd.sub_f64s(*b, simd.mul_f64s(factor, *a));
    }
}

/// A call of [`Spectrum::measure`], compiled for an instruction set.
struct Measure<'e, 'a, 'd, S: Simd> {
    ends: &'e mut Ends<'a, S>,
    data: &'d Data<'d>,
    both: bool,
}

impl<S: Simd> WithSimd for Measure<'_, '_, '_, S> {
    type Output = ();

    #[inline(always)]
    fn with_simd<T: Simd>(self, _: T) {
        if self.ends.start.is_empty() {
            self.ends.by_matrix(self.data, self.both);
        } else {
            self.ends.by_lanczos(self.data, self.both);
        }
    }
}

impl<S: Simd> Spectrum for Ends<'_, S> {
    fn width(&self) -> usize {
        size_of::<S::f64s>() / size_of::<f64>()
    }

    fn weights(&mut self) -> &mut [f64] {
        bytemuck::cast_slice_mut(&mut self.hessian.weights)
    }

    fn set_gains(&mut self, gains: &[f64], slopes: &[f64]) {
        self.hessian.set_gains(gains, slopes);
    }

    fn measure(&mut self, data: &Data, both: bool) -> [&[f64]; 3] {
        self.simd.vectorize(Measure {
            ends: self,
            data,
            both,
        });
        self.results
            .each_ref()
            .map(|result| bytemuck::cast_slice(std::slice::from_ref(result)))
    }
}
