//! Matrix products of a few vector registers, in which every sum keeps its order.

use pulp::Simd;

use crate::arithmetic::Arithmetic;

/// Rows and columns of the result that stay in registers while the sums grow.
const TALL: usize = 4;
const WIDE: usize = 2;

/// A factor of a product, which is summed over its depth.
pub(crate) trait Factor<V: Copy>: Copy {
    type Part<const N: usize>: Part<V, N>;

    /// The neighbours `first..first + N`, at every depth.
    fn part<const N: usize>(self, first: usize) -> Self::Part<N>;
}

/// Some neighbours of a factor.
pub(crate) trait Part<V, const N: usize> {
    fn at(&self, depth: usize) -> [V; N];
}

/// A factor of shape (index, depth).
#[derive(Clone, Copy)]
pub(crate) struct Along<'a, V> {
    pub values: &'a [V],
    pub depth: usize,
}

/// A factor of shape (depth, index).
#[derive(Clone, Copy)]
pub(crate) struct Across<'a, V> {
    pub values: &'a [V],
    pub count: usize,
}

pub(crate) struct Rows<'a, V, const N: usize>([&'a [V]; N]);

pub(crate) struct Columns<'a, V> {
    values: &'a [V],
    count: usize,
}

impl<'a, V: Copy> Factor<V> for Along<'a, V> {
    type Part<const N: usize> = Rows<'a, V, N>;

    #[inline(always)]
    fn part<const N: usize>(self, first: usize) -> Rows<'a, V, N> {
        let mut rows = [&self.values[..self.depth]; N];
        for (n, row) in rows.iter_mut().enumerate() {
            *row = &self.values[(first + n) * self.depth..][..self.depth];
        }
        Rows(rows)
    }
}

impl<V: Copy, const N: usize> Part<V, N> for Rows<'_, V, N> {
    #[inline(always)]
    fn at(&self, depth: usize) -> [V; N] {
        let mut values = [self.0[0][depth]; N];
        for (value, row) in values.iter_mut().zip(self.0) {
            *value = row[depth];
        }
        values
    }
}

impl<'a, V: Copy> Factor<V> for Across<'a, V> {
    type Part<const N: usize> = Columns<'a, V>;

    #[inline(always)]
    fn part<const N: usize>(self, first: usize) -> Columns<'a, V> {
        Columns {
            values: &self.values[first..],
            count: self.count,
        }
    }
}

impl<V: Copy, const N: usize> Part<V, N> for Columns<'_, V> {
    #[inline(always)]
    fn at(&self, depth: usize) -> [V; N] {
        let neighbours = &self.values[depth * self.count..][..N];
        let mut values = [neighbours[0]; N];
        values.copy_from_slice(neighbours);
        values
    }
}

/// A product of two factors, added up in registers tile by tile.
pub(crate) struct Product<S> {
    pub simd: S,
    pub depth: usize,
    /// Of the result.
    pub columns: usize,
    /// Whether sums go on from what they are.
    pub on: bool,
}

impl<S: Simd> Product<S> {
    /// `sums = left·right`, or `sums += left·right` if they go on; shape (rows, columns).
    ///
    /// A sum begins with its first product, not with 0, which would lose the sign of −0.
    #[inline(always)]
    pub fn of<A: Arithmetic>(
        &self,
        left: impl Factor<A::Vector<S>>,
        right: impl Factor<A::Vector<S>>,
        sums: &mut [A::Vector<S>],
    ) {
        let mut row = 0;
        let mut bands = sums.chunks_exact_mut(TALL * self.columns);
        for sums in bands.by_ref() {
            self.band::<A, TALL>(&left.part::<TALL>(row), right, sums);
            row += TALL;
        }
        for sums in bands.into_remainder().chunks_exact_mut(self.columns) {
            self.band::<A, 1>(&left.part::<1>(row), right, sums);
            row += 1;
        }
    }

    /// `M` rows of the sums.
    #[inline(always)]
    fn band<A: Arithmetic, const M: usize>(
        &self,
        left: &impl Part<A::Vector<S>, M>,
        right: impl Factor<A::Vector<S>>,
        sums: &mut [A::Vector<S>],
    ) {
        let mut column = 0;
        while column + WIDE <= self.columns {
            self.tile::<A, M, WIDE>(left, &right.part::<WIDE>(column), &mut sums[column..]);
            column += WIDE;
        }
        if column < self.columns {
            self.tile::<A, M, 1>(left, &right.part::<1>(column), &mut sums[column..]);
        }
    }

    #[inline(always)]
    fn tile<A: Arithmetic, const M: usize, const N: usize>(
        &self,
        left: &impl Part<A::Vector<S>, M>,
        right: &impl Part<A::Vector<S>, N>,
        sums: &mut [A::Vector<S>],
    ) {
        let (simd, columns) = (self.simd, self.columns);
        let mut tile = [[A::splat(simd, 0.0); N]; M];
        let mut from = 0;
        if self.on {
            for (m, row) in tile.iter_mut().enumerate() {
                row.copy_from_slice(&sums[m * columns..][..N]);
            }
        } else {
            let (a, b) = (left.at(0), right.at(0));
            for m in 0..M {
                for n in 0..N {
                    tile[m][n] = A::mul(simd, a[m], b[n]);
                }
            }
            from = 1;
        }
        for at in from..self.depth {
            let (a, b) = (left.at(at), right.at(at));
            for m in 0..M {
                for n in 0..N {
                    tile[m][n] = A::mul_add(simd, a[m], b[n], tile[m][n]);
                }
            }
        }
        for (m, row) in tile.iter().enumerate() {
            sums[m * columns..][..N].copy_from_slice(row);
        }
    }
}
