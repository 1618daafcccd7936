//! Losses: each turns outputs and targets into a number and its own derivative.

use pulp::{bytemuck, Simd};

use crate::activation::{exp, sigmoid};

/// What training makes small, for one row; over several rows it is the mean.
///
/// The last layer's weighted sums z are ŷ for squared errors; for cross-entropies they
/// are logits, and ŷ are probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loss {
    /// ½ Σ (y − ŷ)² over the outputs: the guide's.
    HalfSquaredError,
    /// The mean of (y − ŷ)² over the outputs.
    Mse,
    /// The mean of −y·ln ŷ − (1 − y)·ln(1 − ŷ) over the outputs, ŷ = 1 / (1 + e^−z).
    BinaryCrossEntropy,
    /// −Σ y·ln ŷ over the outputs, ŷ = e^z / Σ e^z.
    SoftmaxCrossEntropy,
}

impl Loss {
    /// Every loss, in the order in which messages name them.
    pub const ALL: [Self; 4] = [
        Self::HalfSquaredError,
        Self::Mse,
        Self::BinaryCrossEntropy,
        Self::SoftmaxCrossEntropy,
    ];

    /// The name used in configuration and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HalfSquaredError => "half_squared_error",
            Self::Mse => "mse",
            Self::BinaryCrossEntropy => "binary_cross_entropy",
            Self::SoftmaxCrossEntropy => "softmax_cross_entropy",
        }
    }

    /// Whether targets are probabilities.
    #[must_use]
    pub const fn is_cross_entropy(self) -> bool {
        matches!(self, Self::BinaryCrossEntropy | Self::SoftmaxCrossEntropy)
    }

    /// Replace the z of the outputs by ŷ; `scratch` is as long.
    #[inline(always)]
    pub(crate) fn predict<S: Simd>(
        self,
        simd: S,
        outputs: &mut [S::f64s],
        scratch: &mut [S::f64s],
    ) {
        match self {
            Self::HalfSquaredError | Self::Mse => {}
            Self::BinaryCrossEntropy => logistic::<S>(outputs),
            Self::SoftmaxCrossEntropy => {
                softmax(simd, outputs, scratch);
            }
        }
    }

    /// The loss of one row; the z of the outputs become ŷ, and `deltas` ∂L/∂z.
    #[inline(always)]
    pub(crate) fn evaluate<S: Simd>(
        self,
        simd: S,
        outputs: &mut [S::f64s],
        targets: &[f64],
        deltas: &mut [S::f64s],
    ) -> S::f64s {
        let count = outputs.len() as f64;
        match self {
            Self::HalfSquaredError => squared(simd, outputs, targets, deltas, [0.5, 1.0]),
            Self::Mse => squared(simd, outputs, targets, deltas, [1.0 / count, 2.0 / count]),
            Self::BinaryCrossEntropy => {
                let mut losses = simd.splat_f64s(0.0);
                for ((output, target), delta) in outputs.iter_mut().zip(targets).zip(deltas) {
                    let mut loss = [*output];
                    for z in bytemuck::cast_slice_mut::<_, f64>(&mut loss) {
                        let positive = if *z > 0.0 { *z } else { 0.0 };
                        *z = positive - *z * target + libm::log1p(exp(-z.abs()));
                    }
                    losses = simd.add_f64s(losses, loss[0]);
                    logistic::<S>(std::slice::from_mut(output));
                    let error = simd.sub_f64s(*output, simd.splat_f64s(*target));
                    *delta = simd.mul_f64s(error, simd.splat_f64s(1.0 / count));
                }
                simd.mul_f64s(losses, simd.splat_f64s(1.0 / count))
            }
            Self::SoftmaxCrossEntropy => {
                let mass = simd.splat_f64s(targets.iter().sum::<f64>());
                let log_sum = softmax(simd, outputs, deltas);
                let mut loss = simd.splat_f64s(0.0);
                for ((output, target), delta) in outputs.iter().zip(targets).zip(deltas) {
                    // ln ŷ = z − max − ln Σ: small, however large the logits are.
                    if *target > 0.0 {
                        let surprise = simd.sub_f64s(log_sum, *delta);
                        let target = simd.splat_f64s(*target);
                        loss = simd.add_f64s(loss, simd.mul_f64s(target, surprise));
                    }
                    let expected = simd.mul_f64s(mass, *output);
                    *delta = simd.sub_f64s(expected, simd.splat_f64s(*target));
                }
                loss
            }
        }
    }
}

/// loss = factors[0]·Σ (y − ŷ)², delta = −factors[1]·(y − ŷ).
#[inline(always)]
fn squared<S: Simd>(
    simd: S,
    outputs: &[S::f64s],
    targets: &[f64],
    deltas: &mut [S::f64s],
    factors: [f64; 2],
) -> S::f64s {
    let [of_loss, of_delta] = factors.map(|factor| simd.splat_f64s(factor));
    let mut sum = None;
    for ((output, target), delta) in outputs.iter().zip(targets).zip(deltas) {
        let error = simd.sub_f64s(simd.splat_f64s(*target), *output);
        let loss = simd.mul_f64s(of_loss, simd.mul_f64s(error, error));
        *delta = simd.mul_f64s(of_delta, simd.neg_f64s(error));
        sum = Some(match sum {
            None => loss,
            Some(sum) => simd.add_f64s(sum, loss),
        });
    }
    sum.unwrap_or(simd.splat_f64s(0.0))
}

/// Replace z by 1 / (1 + e^−z).
#[inline(always)]
fn logistic<S: Simd>(outputs: &mut [S::f64s]) {
    for z in bytemuck::cast_slice_mut::<_, f64>(outputs) {
        *z = sigmoid(*z).0;
    }
}

/// Replace z by e^z / Σ e^z; keeps z − max, and returns ln Σ e^(z − max).
#[inline(always)]
fn softmax<S: Simd>(simd: S, outputs: &mut [S::f64s], shifted: &mut [S::f64s]) -> S::f64s {
    let mut largest = outputs[0];
    for z in &outputs[1..] {
        largest = simd.select_f64s(simd.greater_than_f64s(*z, largest), *z, largest);
    }
    let mut sum = simd.splat_f64s(0.0);
    for (z, shifted) in outputs.iter_mut().zip(shifted) {
        *z = simd.sub_f64s(*z, largest);
        *shifted = *z;
        for z in bytemuck::cast_slice_mut::<_, f64>(std::slice::from_mut(z)) {
            *z = exp(*z);
        }
        sum = simd.add_f64s(sum, *z);
    }
    for e in outputs.iter_mut() {
        *e = simd.div_f64s(*e, sum);
    }
    let mut logarithm = [sum];
    for value in bytemuck::cast_slice_mut::<_, f64>(&mut logarithm) {
        *value = libm::log(*value);
    }
    logarithm[0]
}

#[cfg(test)]
mod tests {
    use crate::{gradients, Activation, Data, Loss, Network};

    #[test]
    fn cross_entropies_keep_their_digits_at_any_size_of_logits() {
        let network = Network::new(&[1, 2], Activation::Identity).unwrap();
        let softmax = network.clone().with_loss(Loss::SoftmaxCrossEntropy);
        let binary = network.with_loss(Loss::BinaryCrossEntropy);
        for size in [1.0, 1e6, 1e16, 1e300] {
            let data = Data::new(&softmax, &[1.0], &[1.0, 0.0]).unwrap();
            let even = gradients(&softmax, &data, &[size, size]).unwrap();
            assert!((even.loss[0] - std::f64::consts::LN_2).abs() < 1e-15);
            assert_eq!(even.gradients, [-0.5, 0.5]);
            let sure = gradients(&softmax, &data, &[size, -size]).unwrap();
            assert!((sure.loss[0] - (-2.0 * size).exp().ln_1p()).abs() < 1e-15);
            let data = Data::new(&binary, &[1.0], &[0.0, 1.0]).unwrap();
            let wrong = gradients(&binary, &data, &[size, -size]).unwrap();
            let expected = size + (-size).exp().ln_1p();
            assert!((wrong.loss[0] - expected).abs() <= 1e-15 * expected);
        }
    }
}
