//! Epochs of a block of networks of any shape, by any optimizer.

use std::ops::Range;

use pulp::{bytemuck, Simd};

use crate::arithmetic::{aligned, Aligned, Arithmetic};
use crate::block::{divide, Block};
use crate::kernel::{all_at_most, all_finite, Kernel, Trace};
use crate::optimizer::Update;
use crate::train::Task;

pub(crate) struct Trainer<'a, S: Simd, A: Arithmetic> {
    simd: S,
    task: Task<'a>,
    block: Block<'a, S, A>,
    /// What the optimizer remembers: shape (2, parameters) or less.
    memory: Aligned<A::Vector<S>>,
    /// ∂L/∂w over the rows of the last epoch; empty if they are a single batch.
    sums: Aligned<A::Vector<S>>,
    /// One learning rate for all layers, or one for each.
    rates: Vec<A::Vector<S>>,
    /// The rows of an epoch, in their order.
    order: Vec<usize>,
}

impl<'a, S: Simd, A: Arithmetic> Trainer<'a, S, A> {
    pub fn new(simd: S, task: Task<'a>) -> Self {
        let zero = A::splat(simd, 0.0);
        let parameters = task.network.parameters();
        let batches = task.settings.batches;
        let several = batches.is_some_and(|batches| batches.size < task.data.rows());
        Self {
            simd,
            task,
            block: Block::new(simd, task.network, &task.progress.cancel),
            memory: aligned(zero, task.settings.optimizer.memory() * parameters),
            sums: aligned(zero, if several { parameters } else { 0 }),
            rates: vec![zero; task.groups],
            order: (0..task.data.rows()).collect(),
        }
    }

    /// The rows of an epoch in batches, each with an update.
    #[inline(always)]
    fn epoch(&mut self, epoch: usize) {
        let (simd, task) = (self.simd, self.task);
        let rows = task.data.rows();
        let size = match task.settings.batches {
            Some(batches) => {
                let order = &batches.order[epoch * rows..][..rows];
                for (row, drawn) in self.order.iter_mut().zip(order) {
                    *row = *drawn as usize;
                }
                batches.size.min(rows)
            }
            None => rows,
        };
        let updates = rows.div_ceil(size);
        let factor = task.settings.schedule.factor(epoch, task.settings.epochs);
        for (index, batch) in self.order.chunks(size).enumerate() {
            self.block.pass(task.data, batch, index == 0);
            // The gradients of the epoch: those of its batches, each before its update.
            for (sum, gradient) in self.sums.iter_mut().zip(self.block.gradients.iter()) {
                *sum = if index == 0 {
                    *gradient
                } else {
                    A::add(simd, *sum, *gradient)
                };
            }
            divide::<A, S>(simd, &mut self.block.gradients, batch.len());
            let step = (epoch * updates + index + 1) as u64;
            for (layer, shape) in task.network.layers().iter().enumerate() {
                let range = shape.weights.start..shape.biases.end;
                let rate = self.rates[layer.min(task.groups - 1)];
                let update = Update::<A, S> {
                    simd,
                    optimizer: task.settings.optimizer,
                    learning_rate: A::mul(simd, rate, A::splat(simd, factor)),
                    weight_decay: task.settings.weight_decay,
                    step,
                };
                let memory = part(&mut self.memory, task.network.parameters(), &range);
                update.apply(
                    &mut self.block.weights[range.clone()],
                    &self.block.gradients[range],
                    memory,
                );
            }
        }
        self.block.average(rows);
        divide::<A, S>(simd, &mut self.sums, rows);
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

impl<S: Simd, A: Arithmetic> Kernel for Trainer<'_, S, A> {
    type Number = A::Number;

    fn width(&self) -> usize {
        A::lanes::<S>()
    }

    fn weights(&self) -> &[A::Number] {
        bytemuck::cast_slice(&self.block.weights)
    }

    fn gradients(&self) -> &[A::Number] {
        bytemuck::cast_slice(if self.sums.is_empty() {
            &self.block.gradients
        } else {
            &self.sums
        })
    }

    fn state(&mut self) -> [&mut [A::Number]; 2] {
        [
            bytemuck::cast_slice_mut(&mut self.block.weights),
            bytemuck::cast_slice_mut(&mut self.memory),
        ]
    }

    #[inline(always)]
    fn advance(
        &mut self,
        learning_rate: &[A::Number],
        epochs: Range<usize>,
        bound: f64,
        trace: &mut Trace<A::Number>,
    ) -> bool {
        bytemuck::cast_slice_mut(&mut self.rates).copy_from_slice(learning_rate);
        let mut healthy = true;
        for (index, epoch) in epochs.enumerate() {
            trace.keep_weights(index, self.weights());
            self.epoch(epoch);
            healthy &= all_at_most(self.block.loss(), bound);
            let (loss, prediction) = (self.block.loss(), self.block.prediction());
            trace.keep(index, loss, prediction, self.gradients());
        }
        healthy & all_finite(self.weights())
    }
}
