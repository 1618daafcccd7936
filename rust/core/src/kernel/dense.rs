//! Epochs of a block of networks of any shape, by any optimizer.

use std::ops::Range;

use pulp::{bytemuck, Simd, WithSimd};

use super::arithmetic::{aligned, Aligned, Arithmetic, Number};
use super::backprop::{divide, Workspace};
use super::update::{Rule, Update};
use super::{all_at_most, all_finite, round, Kernel, Trace};
use crate::shuffle::Shuffle;
use crate::task::Task;
use crate::{Batches, Hyperparameters, Quantity};

/// Networks of fully connected layers; a register holds a number of each run.
pub(crate) struct Dense<'a, S: Simd, A: Arithmetic> {
    simd: S,
    task: Task<'a>,
    workspace: Workspace<'a, S, A>,
    /// What the optimizer remembers: shape (2, parameters) or less.
    memory: Aligned<A::Vector<S>>,
    /// ∂L/∂w over the rows of the last epoch; empty if they are a single batch.
    mean: Aligned<A::Vector<S>>,
    /// Its sums over the batches, in double precision: shape (parameters, width).
    sums: Vec<f64>,
    /// One learning rate for all layers, or one for each.
    rates: Vec<A::Vector<S>>,
    rule: Rule<A, S>,
    /// The hyperparameters of the runs, shape (width,) each.
    hyperparameters: Hyperparameters<Vec<f64>>,
    /// The order of the rows in mini-batches.
    shuffle: Option<Shuffle>,
    /// All rows in their own order.
    rows: Vec<usize>,
}

impl<'a, S: Simd, A: Arithmetic> Dense<'a, S, A> {
    pub fn new(simd: S, task: Task<'a>) -> Self {
        let zero = A::splat(simd, 0.0);
        let (parameters, rows) = (task.network.parameters(), task.data.rows());
        let batches = task.settings.batches;
        let batches = batches.map(|batches| Batches {
            seed: task.group.seed,
            ..batches
        });
        let several = batches.is_some_and(|batches| batches.size < rows);
        let shared = Hyperparameters::shared(task.network, task.settings);
        let hyperparameters = shared.map(|value| vec![value; A::lanes::<S>()]);
        Self {
            rule: Rule::new(simd, task.settings.optimizer, &hyperparameters),
            hyperparameters,
            simd,
            task,
            workspace: Workspace::new(simd, task.network, task.progress),
            memory: aligned(zero, task.memory()),
            mean: aligned(zero, if several { parameters } else { 0 }),
            sums: vec![0.0; usize::from(several) * parameters * A::lanes::<S>()],
            rates: vec![zero; task.rates_per_run],
            shuffle: batches
                .map(|batches| Shuffle::new(batches, rows).from(task.first_epoch, task.progress)),
            rows: (0..rows).collect(),
        }
    }

    /// The rows of an epoch in batches, each with an update.
    #[inline(always)]
    fn epoch(&mut self, epoch: usize) {
        let (simd, task) = (self.simd, self.task);
        let rows = task.data.rows();
        let size = task.settings.batches.map_or(rows, |b| b.size.min(rows));
        let order = match &mut self.shuffle {
            Some(shuffle) => shuffle.draw(),
            None => &self.rows,
        };
        let updates = rows.div_ceil(size);
        let factor = task.factor(epoch);
        for (index, batch) in order.chunks(size).enumerate() {
            self.workspace.pass(task.data, batch, index == 0);
            // The gradients of the epoch: those of its batches, each before its update.
            let gradients = bytemuck::cast_slice::<_, A::Number>(&self.workspace.gradients);
            for (sum, gradient) in self.sums.iter_mut().zip(gradients) {
                let gradient: f64 = (*gradient).into();
                *sum = if index == 0 {
                    gradient
                } else {
                    *sum + gradient
                };
            }
            divide::<A, S>(simd, &mut self.workspace.gradients, batch.len());
            let step = (epoch as u64)
                .saturating_mul(updates as u64)
                .saturating_add(index as u64 + 1);
            let (factor, missing) = (A::splat(simd, factor), self.rule.missing(step));
            for (layer, shape) in task.network.layers().iter().enumerate() {
                let range = shape.weights.start..shape.biases.end;
                let rate = self.rates[layer.min(task.rates_per_run - 1)];
                let update = Update {
                    rule: &self.rule,
                    learning_rate: A::mul(simd, rate, factor),
                    missing,
                };
                let memory = part(&mut self.memory, task.network.parameters(), &range);
                update.apply(
                    &mut self.workspace.weights[range.clone()],
                    &self.workspace.gradients[range],
                    memory,
                );
            }
        }
        self.workspace.average(rows);
        let mean = bytemuck::cast_slice_mut::<_, A::Number>(&mut self.mean);
        for (mean, sum) in mean.iter_mut().zip(&self.sums) {
            *mean = A::Number::rounded(*sum / rows as f64);
        }
    }

    /// Takes up what the runs have of their own, shape (numbers, width).
    fn take(&mut self, own: &[f64]) {
        round::<A::Number>(bytemuck::cast_slice_mut(&mut self.rates), own);
        let (columns, width) = (self.task.columns, A::lanes::<S>());
        if columns.into_array().iter().all(Option::is_none) {
            return;
        }
        for (values, column) in self.hyperparameters.each_mut().zip(columns).into_array() {
            if let Some(column) = column {
                values.copy_from_slice(&own[column * width..][..width]);
            }
        }
        let own = &self.hyperparameters;
        self.rule = Rule::new(self.simd, self.task.settings.optimizer, own);
        self.workspace.set_gains(&own.gain, &own.negative_slope);
    }

    #[inline(always)]
    fn span(&mut self, epochs: Range<usize>, bound: f64, trace: &mut Trace<A::Number>) -> bool {
        let mut healthy = true;
        for (index, epoch) in epochs.enumerate() {
            trace.keep(Quantity::Weights, index, self.weights());
            self.epoch(epoch);
            healthy &= all_at_most(self.workspace.loss(), bound);
            if index < trace.first {
                trace.highest.see(index, self.workspace.loss());
            }
            trace.keep(Quantity::Loss, index, self.workspace.loss());
            trace.keep(Quantity::Prediction, index, self.workspace.prediction());
            trace.keep(Quantity::Gradients, index, self.gradients());
        }
        healthy & all_finite(self.weights())
    }
}

/// Of each array in `memory` the range that belongs to a layer; empty if there is none.
fn part<'m, V>(memory: &'m mut [V], parameters: usize, range: &Range<usize>) -> [&'m mut [V]; 2] {
    let mut arrays = memory.chunks_exact_mut(parameters);
    [(); 2].map(|()| match arrays.next() {
        Some(array) => &mut array[range.clone()],
        None => &mut [],
    })
}

/// A call of [`Kernel::advance`], compiled for an instruction set.
struct Advance<'k, 'a, S: Simd, A: Arithmetic> {
    dense: &'k mut Dense<'a, S, A>,
    epochs: Range<usize>,
    bound: f64,
    trace: &'k mut Trace<A::Number>,
}

impl<S: Simd, A: Arithmetic> WithSimd for Advance<'_, '_, S, A> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<T: Simd>(self, _: T) -> bool {
        self.dense.span(self.epochs, self.bound, self.trace)
    }
}

impl<S: Simd, A: Arithmetic> Kernel<A::Number> for Dense<'_, S, A> {
    fn width(&self) -> usize {
        A::lanes::<S>()
    }

    fn weights(&self) -> &[A::Number] {
        bytemuck::cast_slice(&self.workspace.weights)
    }

    fn gradients(&self) -> &[A::Number] {
        bytemuck::cast_slice(if self.mean.is_empty() {
            &self.workspace.gradients
        } else {
            &self.mean
        })
    }

    fn state(&mut self) -> [&mut [A::Number]; 2] {
        [
            bytemuck::cast_slice_mut(&mut self.workspace.weights),
            bytemuck::cast_slice_mut(&mut self.memory),
        ]
    }

    fn advance(
        &mut self,
        own: &[f64],
        epochs: Range<usize>,
        bound: f64,
        trace: &mut Trace<A::Number>,
    ) -> bool {
        self.take(own);
        if let Some(shuffle) = &mut self.shuffle {
            shuffle.begin(epochs.start);
        }
        self.simd.vectorize(Advance {
            dense: self,
            epochs,
            bound,
            trace,
        })
    }
}
