//! What trains a block of runs: a lane of a vector register is a run.

use std::ops::Range;

use crate::arithmetic::{Aligned, Number};

/// Some runs side by side, trained on the same data.
///
/// Arrays are planar: a number of every run, then the next number of every run.
pub(crate) trait Kernel {
    type Number: Number;

    /// Runs side by side.
    fn width(&self) -> usize;
    /// w, shape (parameters, width).
    fn weights(&self) -> &[Self::Number];
    /// ∂L/∂w in the last epoch, shape (parameters, width).
    fn gradients(&self) -> &[Self::Number];
    /// All that an epoch changes: w, and what the optimizer remembers of each.
    fn state(&mut self) -> [&mut [Self::Number]; 2];

    /// Some epochs. What the trace wants is kept of each. Whether every loss was at most
    /// `bound` and every weight stayed finite.
    fn advance(
        &mut self,
        learning_rate: &[Self::Number],
        epochs: Range<usize>,
        bound: f64,
        trace: &mut Trace<Self::Number>,
    ) -> bool;
}

/// What is kept of some epochs, each before its update; empty where not wanted.
pub(crate) struct Trace<N> {
    /// The first epoch that is kept, and with it all that follow.
    pub first: usize,
    /// Mean over the rows, shape (epochs, width). Always wanted.
    pub loss: Aligned<N>,
    /// Mean of ŷ over rows and outputs, shape (epochs, width).
    pub prediction: Aligned<N>,
    /// Shape (epochs, parameters, width).
    pub gradients: Aligned<N>,
    /// Shape (epochs, parameters, width).
    pub weights: Aligned<N>,
}

impl<N: Number> Trace<N> {
    #[inline(always)]
    pub fn keep(&mut self, epoch: usize, loss: &[N], prediction: &[N], gradients: &[N]) {
        if let Some(epoch) = epoch.checked_sub(self.first) {
            copy(&mut self.loss, epoch, loss);
            copy(&mut self.prediction, epoch, prediction);
            copy(&mut self.gradients, epoch, gradients);
        }
    }

    #[inline(always)]
    pub fn keep_weights(&mut self, epoch: usize, weights: &[N]) {
        if let Some(epoch) = epoch.checked_sub(self.first) {
            copy(&mut self.weights, epoch, weights);
        }
    }
}

#[inline(always)]
fn copy<N: Number>(kept: &mut [N], epoch: usize, values: &[N]) {
    if !kept.is_empty() {
        kept[epoch * values.len()..][..values.len()].copy_from_slice(values);
    }
}

/// Put runs into lanes, from weights of shape (runs, values). Lanes left over repeat the
/// last run, so that they never do anything that no run does.
pub(crate) fn load<N: Number>(planes: &mut [N], width: usize, values: &[f64], runs: usize) {
    let count = values.len() / runs;
    for (index, plane) in planes.chunks_exact_mut(width).enumerate() {
        for (lane, slot) in plane.iter_mut().enumerate() {
            *slot = N::rounded(values[lane.min(runs - 1) * count + index]);
        }
    }
}

/// Copy the values of a lane into those of a run, shape (values,).
pub(crate) fn unload<N: Number>(planes: &[N], width: usize, lane: usize, values: &mut [f64]) {
    for (value, plane) in values.iter_mut().zip(planes.chunks_exact(width)) {
        *value = plane[lane].into();
    }
}

/// NaN is not at most anything.
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
