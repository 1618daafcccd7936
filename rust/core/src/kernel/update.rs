//! One update of weights by their gradients.

use pulp::{bytemuck, Simd};

use super::arithmetic::Arithmetic;
use super::round;
use crate::{Hyperparameters, Optimizer};

/// What holds for all updates of some epochs; numbers are those of each run.
pub(crate) struct Rule<A: Arithmetic, S: Simd> {
    simd: S,
    optimizer: Optimizer,
    /// Decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101): lr·λ·w more is taken from w.
    weight_decay: A::Vector<S>,
    /// Whether there is any.
    decays: bool,
    /// Momentum and β₂, and 1 without each of them.
    betas: [A::Vector<S>; 2],
    rests: [A::Vector<S>; 2],
    epsilon: A::Vector<S>,
    /// The same momentum and β₂ in double precision, shape (width,) each.
    exact_betas: [Vec<f64>; 2],
}

/// One update of some parameters.
pub(crate) struct Update<'r, A: Arithmetic, S: Simd> {
    pub rule: &'r Rule<A, S>,
    pub learning_rate: A::Vector<S>,
    /// See [`Rule::missing`].
    pub missing: [A::Vector<S>; 2],
}

impl<A: Arithmetic, S: Simd> Rule<A, S> {
    /// Hyperparameters have the shape (width,) each.
    pub fn new(simd: S, optimizer: Optimizer, own: &Hyperparameters<Vec<f64>>) -> Self {
        let exact_betas = [own.momentum.clone(), own.beta2.clone()];
        let epsilon = match optimizer {
            Optimizer::Adam { epsilon, .. } => epsilon,
            _ => 0.0,
        };
        let rest = |betas: &Vec<f64>| -> Vec<f64> { betas.iter().map(|beta| 1.0 - beta).collect() };
        Self {
            simd,
            optimizer,
            weight_decay: vector::<A, S>(simd, &own.weight_decay),
            decays: own.weight_decay.iter().any(|decay| *decay > 0.0),
            betas: exact_betas
                .each_ref()
                .map(|betas| vector::<A, S>(simd, betas)),
            rests: exact_betas
                .each_ref()
                .map(|betas| vector::<A, S>(simd, &rest(betas))),
            epsilon: A::splat(simd, epsilon),
            exact_betas,
        }
    }

    /// 1 − βᵗ, which Adam's means miss for having begun with 0, in update t, counted from 1.
    #[inline(always)]
    pub fn missing(&self, step: u64) -> [A::Vector<S>; 2] {
        match self.optimizer {
            Optimizer::Adam { .. } => self
                .exact_betas
                .each_ref()
                .map(|betas| missing::<A, S>(self.simd, betas, step)),
            _ => self.rests,
        }
    }
}

/// Numbers of runs in a register.
fn vector<A: Arithmetic, S: Simd>(simd: S, values: &[f64]) -> A::Vector<S> {
    let mut vector = [A::splat(simd, 0.0)];
    round::<A::Number>(bytemuck::cast_slice_mut(&mut vector), values);
    vector[0]
}

/// 1 − βᵗ. Powers are computed once for neighbours with the same β.
#[inline(always)]
fn missing<A: Arithmetic, S: Simd>(simd: S, betas: &[f64], step: u64) -> A::Vector<S> {
    let of = |beta: f64| 1.0 - libm::pow(beta, step as f64);
    let (mut last, mut found) = (betas[0], of(betas[0]));
    let mut vector = [A::splat(simd, found)];
    let lanes = bytemuck::cast_slice_mut::<_, A::Number>(&mut vector);
    for (lane, beta) in lanes.iter_mut().zip(betas) {
        if beta.to_bits() != last.to_bits() {
            (last, found) = (*beta, of(*beta));
        }
        round(std::slice::from_mut(lane), &[found]);
    }
    vector[0]
}

impl<A: Arithmetic, S: Simd> Update<'_, A, S> {
    /// `memory` is [`Optimizer::memory`] slices as long as `weights`.
    #[inline(always)]
    pub fn apply(
        &self,
        weights: &mut [A::Vector<S>],
        gradients: &[A::Vector<S>],
        memory: [&mut [A::Vector<S>]; 2],
    ) {
        let (simd, rule) = (self.rule.simd, self.rule);
        let [velocity, squares] = memory;
        let [beta, beta2] = rule.betas;
        match rule.optimizer {
            Optimizer::GradientDescent => {
                for (weight, gradient) in weights.iter_mut().zip(gradients) {
                    *weight = self.moved(*weight, *gradient);
                }
            }
            Optimizer::Momentum { .. } => {
                for ((weight, gradient), v) in weights.iter_mut().zip(gradients).zip(velocity) {
                    *v = A::mul_add(simd, beta, *v, *gradient);
                    *weight = self.moved(*weight, *v);
                }
            }
            Optimizer::Nesterov { .. } => {
                for ((weight, gradient), v) in weights.iter_mut().zip(gradients).zip(velocity) {
                    *v = A::mul_add(simd, beta, *v, *gradient);
                    *weight = self.moved(*weight, A::mul_add(simd, beta, *v, *gradient));
                }
            }
            Optimizer::Adam { .. } => {
                let ([rest_1, rest_2], [missing_1, missing_2]) = (rule.rests, self.missing);
                let moments = velocity.iter_mut().zip(squares);
                for ((weight, g), (m, v)) in weights.iter_mut().zip(gradients).zip(moments) {
                    *m = A::mul_add(simd, beta, *m, A::mul(simd, rest_1, *g));
                    let square = A::mul(simd, *g, *g);
                    *v = A::mul_add(simd, beta2, *v, A::mul(simd, rest_2, square));
                    let root = A::sqrt(simd, A::div(simd, *v, missing_2));
                    let scale = A::add(simd, root, rule.epsilon);
                    let direction = A::div(simd, A::div(simd, *m, missing_1), scale);
                    *weight = self.moved(*weight, direction);
                }
            }
        }
    }

    /// w − lr·(direction + λ·w).
    #[inline(always)]
    fn moved(&self, weight: A::Vector<S>, direction: A::Vector<S>) -> A::Vector<S> {
        let (simd, rule) = (self.rule.simd, self.rule);
        let direction = if rule.decays {
            A::mul_add(simd, rule.weight_decay, weight, direction)
        } else {
            direction
        };
        A::mul_sub(simd, self.learning_rate, direction, weight)
    }
}
