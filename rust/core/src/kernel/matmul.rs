//! Matrix products of a few vector registers, in which every sum keeps its order.

use std::marker::PhantomData;
use std::slice::ChunksExact;

use pulp::Simd;

use super::arithmetic::Arithmetic;

/// The rows and columns of a tile of the result, whose sums stay in registers while they grow.
const TALL: usize = 4;
const WIDE: usize = 2;
/// The columns of a tile where there are 32 registers.
const WIDER: usize = 4;
/// The columns of a tile with a single row: so many sums at once keep the units busy.
const ALONE: usize = 8;

/// A factor of a product, which is summed over its depth.
pub(crate) trait Factor<V: Copy>: Copy {
    type Neighbours<const N: usize>: Neighbours<V, N>;

    /// The indices `first..first + N`, from depth to depth.
    fn neighbours<const N: usize>(self, first: usize) -> Self::Neighbours<N>;
}

/// `N` neighbouring indices of a factor. This is no `Iterator`, whose adapters would not be
/// compiled for the instruction set.
pub(crate) trait Neighbours<V, const N: usize>: Clone {
    /// The `N` values at the next depth.
    fn next(&mut self) -> Option<[V; N]>;
}

/// A factor of shape (index, depth).
#[derive(Clone, Copy)]
pub(crate) struct RowMajor<'a, V> {
    pub values: &'a [V],
    pub depth: usize,
}

/// A factor of shape (depth, index).
#[derive(Clone, Copy)]
pub(crate) struct ColumnMajor<'a, V> {
    pub values: &'a [V],
    pub count: usize,
}

#[derive(Clone)]
pub(crate) struct Rows<'a, V, const N: usize> {
    each: [&'a [V]; N],
    depth: usize,
    at: usize,
}

#[derive(Clone)]
pub(crate) struct Columns<'a, V> {
    rows: ChunksExact<'a, V>,
    first: usize,
}

impl<'a, V: Copy> Factor<V> for RowMajor<'a, V> {
    type Neighbours<const N: usize> = Rows<'a, V, N>;

    #[inline(always)]
    fn neighbours<const N: usize>(self, first: usize) -> Rows<'a, V, N> {
        let mut rows = [&self.values[..self.depth]; N];
        for (n, row) in rows.iter_mut().enumerate() {
            *row = &self.values[(first + n) * self.depth..][..self.depth];
        }
        Rows {
            each: rows,
            depth: self.depth,
            at: 0,
        }
    }
}

impl<V: Copy, const N: usize> Neighbours<V, N> for Rows<'_, V, N> {
    #[inline(always)]
    fn next(&mut self) -> Option<[V; N]> {
        if self.at == self.depth {
            return None;
        }
        let mut values = [self.each[0][self.at]; N];
        for (value, row) in values.iter_mut().zip(self.each) {
            *value = row[self.at];
        }
        self.at += 1;
        Some(values)
    }
}

impl<'a, V: Copy> Factor<V> for ColumnMajor<'a, V> {
    type Neighbours<const N: usize> = Columns<'a, V>;

    #[inline(always)]
    fn neighbours<const N: usize>(self, first: usize) -> Columns<'a, V> {
        Columns {
            rows: self.values.chunks_exact(self.count),
            first,
        }
    }
}

impl<V: Copy, const N: usize> Neighbours<V, N> for Columns<'_, V> {
    #[inline(always)]
    fn next(&mut self) -> Option<[V; N]> {
        let neighbours = &self.rows.next()?[self.first..][..N];
        let mut values = [neighbours[0]; N];
        values.copy_from_slice(neighbours);
        Some(values)
    }
}

/// A factor of numbers that all lanes share.
#[derive(Clone, Copy)]
pub(crate) struct Shared<S, A, F> {
    pub simd: S,
    pub arithmetic: PhantomData<A>,
    pub factor: F,
}

#[derive(Clone)]
pub(crate) struct SharedNeighbours<S, A, P> {
    simd: S,
    arithmetic: PhantomData<A>,
    numbers: P,
}

impl<S: Simd, A: Arithmetic, F: Factor<A::Number>> Factor<A::Vector<S>> for Shared<S, A, F> {
    type Neighbours<const N: usize> = SharedNeighbours<S, A, F::Neighbours<N>>;

    #[inline(always)]
    fn neighbours<const N: usize>(self, first: usize) -> Self::Neighbours<N> {
        SharedNeighbours {
            simd: self.simd,
            arithmetic: PhantomData,
            numbers: self.factor.neighbours(first),
        }
    }
}

impl<S, A, P, const N: usize> Neighbours<A::Vector<S>, N> for SharedNeighbours<S, A, P>
where
    S: Simd,
    A: Arithmetic,
    P: Neighbours<A::Number, N>,
{
    #[inline(always)]
    fn next(&mut self) -> Option<[A::Vector<S>; N]> {
        let numbers = self.numbers.next()?;
        let mut values = [A::splat(self.simd, 0.0); N];
        for (value, number) in values.iter_mut().zip(numbers) {
            *value = A::splat(self.simd, number.into());
        }
        Some(values)
    }
}

/// What happens to the values where a result goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Onto {
    /// The result replaces the old value.
    Assign,
    /// The sums continue from the old value.
    Accumulate,
    /// The old value is multiplied by the result.
    Scale,
}

/// A product of two factors, added up in registers tile by tile.
pub(crate) struct Matmul<S> {
    pub simd: S,
    /// The number of columns of the result.
    pub columns: usize,
    pub onto: Onto,
}

impl<S: Simd> Matmul<S> {
    /// Stores left·right in the results, shape (rows, columns).
    ///
    /// A sum begins with its first product, not with 0, which would lose the sign of −0.
    #[inline(always)]
    pub fn of<A: Arithmetic>(
        &self,
        left: impl Factor<A::Vector<S>>,
        right: impl Factor<A::Vector<S>>,
        results: &mut [A::Vector<S>],
    ) {
        let mut row = 0;
        let mut groups = results.chunks_exact_mut(TALL * self.columns);
        for results in groups.by_ref() {
            if S::REGISTER_COUNT < 32 {
                self.tiles::<A, TALL, WIDE>(&left.neighbours::<TALL>(row), right, results);
            } else {
                self.tiles::<A, TALL, WIDER>(&left.neighbours::<TALL>(row), right, results);
            }
            row += TALL;
        }
        for results in groups.into_remainder().chunks_exact_mut(self.columns) {
            self.tiles::<A, 1, ALONE>(&left.neighbours::<1>(row), right, results);
            row += 1;
        }
    }

    /// Stores `M` rows of the results, tile by tile.
    #[inline(always)]
    fn tiles<A: Arithmetic, const M: usize, const N: usize>(
        &self,
        left: &impl Neighbours<A::Vector<S>, M>,
        right: impl Factor<A::Vector<S>>,
        results: &mut [A::Vector<S>],
    ) {
        let mut column = 0;
        while column + N <= self.columns {
            self.tile::<A, M, N>(
                left.clone(),
                right.neighbours::<N>(column),
                &mut results[column..],
            );
            column += N;
        }
        while column < self.columns {
            self.tile::<A, M, 1>(
                left.clone(),
                right.neighbours::<1>(column),
                &mut results[column..],
            );
            column += 1;
        }
    }

    #[inline(always)]
    fn tile<A: Arithmetic, const M: usize, const N: usize>(
        &self,
        mut left: impl Neighbours<A::Vector<S>, M>,
        mut right: impl Neighbours<A::Vector<S>, N>,
        results: &mut [A::Vector<S>],
    ) {
        let (simd, columns) = (self.simd, self.columns);
        let mut tile = [[A::splat(simd, 0.0); N]; M];
        if self.onto == Onto::Accumulate {
            for (m, row) in tile.iter_mut().enumerate() {
                row.copy_from_slice(&results[m * columns..][..N]);
            }
        } else {
            let (Some(a), Some(b)) = (left.next(), right.next()) else {
                return;
            };
            for m in 0..M {
                for n in 0..N {
                    tile[m][n] = A::mul(simd, a[m], b[n]);
                }
            }
        }
        while let Some(a) = left.next() {
            let Some(b) = right.next() else {
                break;
            };
            for m in 0..M {
                for n in 0..N {
                    tile[m][n] = A::mul_add(simd, a[m], b[n], tile[m][n]);
                }
            }
        }
        for (m, row) in tile.iter().enumerate() {
            let results = &mut results[m * columns..][..N];
            if self.onto == Onto::Scale {
                for n in 0..N {
                    results[n] = A::mul(simd, row[n], results[n]);
                }
            } else {
                results.copy_from_slice(row);
            }
        }
    }
}
