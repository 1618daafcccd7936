//! What trains a block of runs: a lane of a vector register is a run.

/// Some runs side by side, trained on the same data.
///
/// Arrays are planar: a number of every run, then the next number of every run.
pub(crate) trait Kernel {
    /// Runs side by side.
    fn width(&self) -> usize;
    /// w, shape (parameters, width).
    fn weights(&self) -> &[f64];
    /// w, to be changed.
    fn weights_mut(&mut self) -> &mut [f64];
    /// ∂L/∂w in the last epoch, shape (parameters, width).
    fn gradients(&self) -> &[f64];

    /// So many epochs: a pass, then w ← w − lr·∂L/∂w. What the trace wants is kept of each.
    /// Whether every loss was at most `bound` and every weight stayed finite.
    fn advance(
        &mut self,
        learning_rate: &[f64],
        epochs: usize,
        bound: f64,
        trace: &mut Trace,
    ) -> bool;
}

/// What is kept of some epochs, each before its update; empty where not wanted.
pub(crate) struct Trace {
    /// Mean over the rows, shape (epochs, width). Always wanted.
    pub loss: Vec<f64>,
    /// Mean of ŷ over rows and outputs, shape (epochs, width).
    pub prediction: Vec<f64>,
    /// Shape (epochs, parameters, width).
    pub gradients: Vec<f64>,
    /// Shape (epochs, parameters, width).
    pub weights: Vec<f64>,
}

impl Trace {
    #[inline(always)]
    pub fn keep(&mut self, epoch: usize, [loss, prediction, gradients, weights]: [&[f64]; 4]) {
        self.loss[epoch * loss.len()..][..loss.len()].copy_from_slice(loss);
        for (kept, values) in [
            (&mut self.prediction, prediction),
            (&mut self.gradients, gradients),
            (&mut self.weights, weights),
        ] {
            if !kept.is_empty() {
                kept[epoch * values.len()..][..values.len()].copy_from_slice(values);
            }
        }
    }
}

/// Put runs into lanes, from weights of shape (runs, parameters). Lanes left over repeat
/// the last run, so that they never do anything that no run does.
#[inline(always)]
pub(crate) fn load(kernel: &mut impl Kernel, weights: &[f64], runs: usize) {
    let width = kernel.width();
    let parameters = weights.len() / runs;
    for (parameter, plane) in kernel.weights_mut().chunks_exact_mut(width).enumerate() {
        for (lane, weight) in plane.iter_mut().enumerate() {
            *weight = weights[lane.min(runs - 1) * parameters + parameter];
        }
    }
}

/// Copy the weights of a lane into those of a run, shape (parameters,).
#[inline(always)]
pub(crate) fn unload(planes: &[f64], width: usize, lane: usize, weights: &mut [f64]) {
    for (weight, plane) in weights.iter_mut().zip(planes.chunks_exact(width)) {
        *weight = plane[lane];
    }
}

/// NaN is not at most anything.
#[inline(always)]
pub(crate) fn all_at_most(values: &[f64], bound: f64) -> bool {
    values
        .iter()
        .fold(true, |all, value| all & (*value <= bound))
}

#[inline(always)]
pub(crate) fn all_finite(values: &[f64]) -> bool {
    values
        .iter()
        .fold(true, |all, value| all & value.is_finite())
}
