//! One update of weights by their gradients.

use pulp::Simd;

use super::arithmetic::Arithmetic;
use crate::Optimizer;

/// One update of some parameters, with what holds for all of them.
pub(crate) struct Update<A: Arithmetic, S: Simd> {
    pub simd: S,
    pub optimizer: Optimizer,
    pub learning_rate: A::Vector<S>,
    /// Decoupled (Loshchilov & Hutter, arXiv 1711.05101): lr·λ·w more is taken from w.
    pub weight_decay: f64,
    /// Counted from 1.
    pub step: u64,
}

impl<A: Arithmetic, S: Simd> Update<A, S> {
    /// `memory` is [`Optimizer::memory`] slices as long as `weights`.
    #[inline(always)]
    pub fn apply(
        &self,
        weights: &mut [A::Vector<S>],
        gradients: &[A::Vector<S>],
        memory: [&mut [A::Vector<S>]; 2],
    ) {
        let simd = self.simd;
        let [velocity, squares] = memory;
        match self.optimizer {
            Optimizer::GradientDescent => {
                for (weight, gradient) in weights.iter_mut().zip(gradients) {
                    *weight = self.moved(*weight, *gradient);
                }
            }
            Optimizer::Momentum { momentum } => {
                let beta = A::splat(simd, momentum);
                for ((weight, gradient), v) in weights.iter_mut().zip(gradients).zip(velocity) {
                    *v = A::mul_add(simd, beta, *v, *gradient);
                    *weight = self.moved(*weight, *v);
                }
            }
            Optimizer::Nesterov { momentum } => {
                let beta = A::splat(simd, momentum);
                for ((weight, gradient), v) in weights.iter_mut().zip(gradients).zip(velocity) {
                    *v = A::mul_add(simd, beta, *v, *gradient);
                    *weight = self.moved(*weight, A::mul_add(simd, beta, *v, *gradient));
                }
            }
            Optimizer::Adam {
                momentum,
                beta2,
                epsilon,
            } => {
                let splat = |value| A::splat(simd, value);
                let [first, second] = [momentum, beta2].map(splat);
                let [rest_1, rest_2] = [1.0 - momentum, 1.0 - beta2].map(splat);
                let [bias_1, bias_2] =
                    [momentum, beta2].map(|beta| splat(1.0 - libm::pow(beta, self.step as f64)));
                let epsilon = splat(epsilon);
                let moments = velocity.iter_mut().zip(squares);
                for ((weight, g), (m, v)) in weights.iter_mut().zip(gradients).zip(moments) {
                    *m = A::mul_add(simd, first, *m, A::mul(simd, rest_1, *g));
                    let square = A::mul(simd, *g, *g);
                    *v = A::mul_add(simd, second, *v, A::mul(simd, rest_2, square));
                    let root = A::sqrt(simd, A::div(simd, *v, bias_2));
                    let scale = A::add(simd, root, epsilon);
                    let direction = A::div(simd, A::div(simd, *m, bias_1), scale);
                    *weight = self.moved(*weight, direction);
                }
            }
        }
    }

    /// w − lr·(direction + λ·w).
    #[inline(always)]
    fn moved(&self, weight: A::Vector<S>, direction: A::Vector<S>) -> A::Vector<S> {
        let simd = self.simd;
        let direction = if self.weight_decay > 0.0 {
            A::mul_add(simd, A::splat(simd, self.weight_decay), weight, direction)
        } else {
            direction
        };
        A::mul_sub(simd, self.learning_rate, direction, weight)
    }
}
