//! Kernels train a block of runs: a lane of a vector register is a run.
//!
//! Only what is in this folder needs vector registers, and only it is compiled for each
//! instruction set and each arithmetic (the list is in [`instances`]). A kernel is called
//! through the object-safe traits below, once for a span of epochs, so that everything
//! around it is compiled once for each type of number.

use std::ops::Range;

use crate::Data;

pub(crate) use arithmetic::Number;
pub(crate) use instances::{kernel, predictor, spectrum, vectorized};
pub(crate) use spectrum::planes;
pub(crate) use trace::{Trace, UNKNOWN};

mod arithmetic;
mod backprop;
mod chain;
mod dense;
mod hessian;
mod instances;
mod matmul;
mod spectrum;
mod trace;
mod tridiagonal;
mod update;

/// A block of runs that is trained on the same data.
///
/// Arrays are planar: they hold one number of every run, then the next number of every run.
pub(crate) trait Kernel<N: Number> {
    /// Runs side by side.
    fn width(&self) -> usize;

    /// The weights w, shape (parameters, width).
    fn weights(&self) -> &[N];

    /// ∂L/∂w in the last epoch, shape (parameters, width).
    fn gradients(&self) -> &[N];

    /// All that an epoch changes: w, and what the optimizer remembers of each.
    fn state(&mut self) -> [&mut [N]; 2];

    /// Sets ‖∂ŷ/∂w‖² of each run, shape (width,), if there is a single ŷ: one row, one output.
    /// Where the loss is ½(y − ŷ)² and vanishes, it is the largest eigenvalue of the Hessian, the
    /// only one that is not 0. Returns whether it did.
    fn sensitivity(&self, _out: &mut [f64]) -> bool {
        false
    }

    /// Sets by what the error of each run is multiplied in an epoch near its end, from weights of shape
    /// (runs, parameters) and a rate of each: the smaller it is, the sooner a run rests. Returns
    /// whether it did.
    fn contraction(&self, _weights: &[f64], _rates: &[f64], _out: &mut [f64]) -> bool {
        false
    }

    /// Advances some epochs and traces them, from [`Trace::first`] on.
    ///
    /// Returns true only if all losses stayed at or below `bound` and all weights finite. A
    /// span of several epochs may return false although they did: the kernel is free to look
    /// at a number that is larger than every loss. A single epoch is judged exactly.
    ///
    /// `own` are the numbers that the runs have of their own, shape (numbers, width): see
    /// [`crate::task::Task::own`].
    fn advance(
        &mut self,
        own: &[f64],
        epochs: Range<usize>,
        bound: f64,
        trace: &mut Trace<N>,
    ) -> bool;
}

/// A block of runs that predicts, and is measured on rows that it does not train on.
pub(crate) trait Predictor<N: Number> {
    /// Runs side by side.
    fn width(&self) -> usize;

    /// The weights w, shape (parameters, width).
    fn weights(&mut self) -> &mut [N];

    /// Gives the runs gains and negative slopes of their own, shape (width,) each.
    fn set_gains(&mut self, gains: &[f64], slopes: &[f64]);

    /// The outputs ŷ for some rows of inputs, at most [`TILE`]: shape (outputs, rows, width).
    fn predict(&mut self, x: &[f64]) -> &[f64];

    /// Writes the loss over all rows and, unless that is empty, the share of rows that have
    /// their class, NaN where an output is; shape (width,) each.
    fn measure(
        &mut self,
        data: &Data,
        classes: &[Option<usize>],
        loss: &mut [f64],
        accuracy: &mut [f64],
    );
}

/// A block of runs whose loss is differentiated twice, in double precision.
pub(crate) trait Spectrum {
    /// Runs side by side.
    fn width(&self) -> usize;

    /// The weights w, shape (parameters, width).
    fn weights(&mut self) -> &mut [f64];

    /// Gives the runs gains and negative slopes of their own, shape (width,) each.
    fn set_gains(&mut self, gains: &[f64], slopes: &[f64]);

    /// The largest and, if both are asked for, the smallest eigenvalue of ∂²L/∂w², L the mean
    /// over all rows; and the distance within which there is an eigenvalue of either, but for
    /// rounding. Shape (width,) each.
    fn measure(&mut self, data: &Data, both: bool) -> [&[f64]; 3];
}

/// The number of rows in a tile, which goes through a network together.
pub(crate) const TILE: usize = 8;

/// Puts runs into lanes, from weights of shape (runs, values). The lanes that are left over
/// repeat the last run: they then never end before all runs do.
pub(crate) fn load<N: Number>(planes: &mut [N], width: usize, values: &[f64], runs: usize) {
    let count = values.len() / runs;
    for (index, plane) in planes.chunks_exact_mut(width).enumerate() {
        let (own, spare) = plane.split_at_mut(runs.min(width));
        for (slot, run) in own.iter_mut().zip(values.chunks_exact(count)) {
            *slot = N::rounded(run[index]);
        }
        spare.fill(own[own.len() - 1]);
    }
}

/// Copies as many values as there is room for.
#[inline(always)]
pub(crate) fn round<N: Number>(out: &mut [N], values: &[f64]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = N::rounded(*value);
    }
}

/// Copies the values of a lane into those of a run, shape (values,).
pub(crate) fn unload<N: Number>(planes: &[N], width: usize, lane: usize, values: &mut [f64]) {
    for (value, plane) in values.iter_mut().zip(planes.chunks_exact(width)) {
        *value = plane[lane].into();
    }
}

/// Whether every value is at most `bound`; NaN never is.
#[inline(always)]
pub(crate) fn all_at_most<N: Number>(values: &[N], bound: f64) -> bool {
    values
        .iter()
        .fold(true, |all, value| all & ((*value).into() <= bound))
}

#[inline(always)]
pub(crate) fn all_finite<N: Number>(values: &[N]) -> bool {
    values
        .iter()
        .fold(true, |all, value| all & value.is_finite())
}
