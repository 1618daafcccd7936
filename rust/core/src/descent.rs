//! Gradient descent of the runs of a thread, block after block.

use std::sync::atomic::Ordering;

use crate::kernel::{load, unload, Kernel, Trace};
use crate::outcome::{is_dead, period, WINDOW};
use crate::runs::Runs;
use crate::{Activation, Data, Network, Outcome, Progress, Settings};

/// Products between two looks at [`Progress::cancel`].
const PATIENCE: usize = 1 << 22;
/// Values of a trace: it stays in the cache of a core.
const MOST_TRACED: usize = 1 << 12;

/// A kernel with what it needs to bring runs to their end.
pub(crate) struct Descent<'a, K> {
    kernel: K,
    network: &'a Network,
    data: &'a Data<'a>,
    settings: &'a Settings,
    progress: &'a Progress,
    /// Epochs done at once when no run of a block is about to end.
    span: usize,
    trace: Trace,
    learning_rate: Vec<f64>,
    saved: Vec<f64>,
    /// The last losses, shape (WINDOW, width).
    losses: Vec<f64>,
    active: Vec<bool>,
}

impl<'a, K: Kernel> Descent<'a, K> {
    #[inline(always)]
    pub fn new(
        kernel: K,
        network: &'a Network,
        data: &'a Data<'a>,
        settings: &'a Settings,
        progress: &'a Progress,
    ) -> Self {
        let (width, values) = (kernel.width(), kernel.weights().len());
        let record = settings.record;
        let per_epoch = width + values * usize::from(record.gradients | record.weights);
        let span = (PATIENCE / (data.rows() * values)).min(MOST_TRACED / per_epoch);
        let span = span.clamp(1, 2 * WINDOW);
        let wanted = |wanted: bool, values| vec![0.0; if wanted { span * values } else { 0 }];
        Self {
            span,
            trace: Trace {
                loss: wanted(true, width),
                prediction: wanted(record.prediction, width),
                gradients: wanted(record.gradients, values),
                weights: wanted(record.weights, values),
            },
            learning_rate: vec![0.0; width],
            saved: vec![0.0; kernel.weights().len()],
            losses: vec![0.0; WINDOW * width],
            active: vec![true; width],
            kernel,
            network,
            data,
            settings,
            progress,
        }
    }

    /// Train runs, as many at a time as the kernel is wide.
    #[inline(always)]
    pub fn run(&mut self, mut runs: Runs) {
        while runs.count() > 0 && !self.progress.cancel.load(Ordering::Relaxed) {
            let block = runs.take(self.kernel.width());
            self.train(block);
        }
    }

    #[inline(always)]
    fn train(&mut self, mut runs: Runs) {
        let (count, epochs, width) = (runs.count(), self.settings.epochs, self.kernel.width());
        let bound = self.settings.divergence_bound.min(f64::MAX);
        load(&mut self.kernel, runs.weights, count);
        for (lane, rate) in self.learning_rate.iter_mut().enumerate() {
            *rate = runs.learning_rate[lane.min(count - 1)];
        }
        self.active.fill(true);
        let (mut done, mut alone) = (0, 0);
        while done < epochs {
            let span = if alone > 0 {
                1
            } else {
                self.span.min(epochs - done)
            };
            self.saved.copy_from_slice(self.kernel.weights());
            let healthy = self
                .kernel
                .advance(&self.learning_rate, span, bound, &mut self.trace);
            if self.progress.cancel.load(Ordering::Relaxed) {
                return;
            }
            if !healthy && span > 1 {
                // Some run ends in these epochs: go through them one by one.
                self.kernel.weights_mut().copy_from_slice(&self.saved);
                alone = span;
                continue;
            }
            for epoch in 0..span {
                let loss = &self.trace.loss[epoch * width..][..width];
                self.losses[(done + epoch) % WINDOW * width..][..width].copy_from_slice(loss);
            }
            runs.record(done..done + span, epochs, &self.trace, &self.active);
            done += span;
            self.count(span, count);
            alone = alone.saturating_sub(1);
            if !healthy && !self.end_the_diverged(&mut runs, done - 1, bound) {
                break;
            }
        }
        self.count(epochs - done, count);
        runs.forget_after(done, epochs);
        self.finish(&mut runs);
    }

    fn count(&self, epochs: usize, runs: usize) {
        let counted = (epochs as u64).saturating_mul(runs as u64);
        self.progress.epochs.fetch_add(counted, Ordering::Relaxed);
    }

    /// Store the runs that diverged in this epoch. Their lanes repeat a run that goes on,
    /// so that they never stop the others; false if there is none.
    fn end_the_diverged(&mut self, runs: &mut Runs, epoch: usize, bound: f64) -> bool {
        let width = self.kernel.width();
        let healthy: Vec<bool> = (0..width)
            .map(|lane| {
                let mut weights = self.kernel.weights().iter().skip(lane).step_by(width);
                self.trace.loss[lane] <= bound && weights.all(|weight| weight.is_finite())
            })
            .collect();
        for (lane, healthy) in healthy.iter().enumerate().take(runs.count()) {
            if self.active[lane] && !healthy {
                self.active[lane] = false;
                runs.outcome[lane] = Outcome::Diverged;
                runs.diverged_at[lane] = i64::try_from(epoch).unwrap_or(i64::MAX);
                unload(&self.saved, width, lane, runs.weights_of(lane));
            }
        }
        let Some(model) = (0..runs.count()).find(|lane| self.active[*lane]) else {
            return false;
        };
        for lane in (0..width).filter(|lane| !healthy[*lane]) {
            self.learning_rate[lane] = self.learning_rate[model];
            for plane in self.kernel.weights_mut().chunks_exact_mut(width) {
                plane[lane] = plane[model];
            }
        }
        true
    }

    /// Store the final weights of the runs that went on to the end, and name their outcome.
    fn finish(&mut self, runs: &mut Runs) {
        let (epochs, width) = (self.settings.epochs, self.kernel.width());
        let tolerance = self.settings.tolerance;
        let relu = self.network.activation() == Activation::Relu;
        for lane in (0..runs.count()).filter(|lane| self.active[*lane]) {
            unload(self.kernel.weights(), width, lane, runs.weights_of(lane));
            if epochs == 0 {
                continue;
            }
            let last = self.losses[(epochs - 1) % WINDOW * width + lane];
            let gradients = self.kernel.gradients().iter().skip(lane).step_by(width);
            let steepest = gradients.fold(0.0, |steepest: f64, g| steepest.max(g.abs()));
            let stuck = relu && steepest == 0.0 && last > tolerance;
            runs.outcome[lane] = if stuck && is_dead(self.network, self.data, runs.weights_of(lane))
            {
                Outcome::Dead
            } else if last <= tolerance || steepest <= tolerance {
                Outcome::Converged
            } else {
                let kept = epochs.min(WINDOW);
                let mut recent = [0.0; WINDOW];
                for (loss, epoch) in recent.iter_mut().zip(epochs - kept..epochs) {
                    *loss = self.losses[epoch % WINDOW * width + lane];
                }
                match period(&recent[..kept]) {
                    Some(period) => {
                        runs.period[lane] = u8::try_from(period).unwrap_or(u8::MAX);
                        Outcome::Oscillating
                    }
                    None => Outcome::Unresolved,
                }
            };
        }
    }
}
