//! Losses: each turns outputs and targets into a number and its own derivative.

use crate::activation::{exp, sigmoid};

/// The loss of one row, which training minimizes; the loss of several rows is its mean.
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

    /// Replaces the z of the outputs, shape (outputs, samples), by ŷ.
    #[inline(always)]
    pub(crate) fn predict(self, outputs: &mut [f64], space: &mut Space) {
        match self {
            Self::HalfSquaredError | Self::Mse => {}
            Self::BinaryCrossEntropy => logistic(outputs),
            Self::SoftmaxCrossEntropy => softmax(outputs, space),
        }
    }

    /// Replaces each z of the outputs by ∂²L/∂z², given what [`Loss::evaluate`] gives; of a
    /// softmax, whose outputs depend on each other, by ∂²L/∂z² / (1 − ŷ).
    #[inline(always)]
    pub(crate) fn bend(self, z: &mut [f64], outputs: &[f64], mass: &[f64]) {
        let count = (outputs.len() / mass.len()) as f64;
        match self {
            Self::HalfSquaredError => z.fill(1.0),
            Self::Mse => z.fill(2.0 / count),
            Self::BinaryCrossEntropy => {
                for z in z {
                    *z = sigmoid(*z).1 * (1.0 / count);
                }
            }
            Self::SoftmaxCrossEntropy => {
                let rows = z.chunks_exact_mut(mass.len());
                for (z, outputs) in rows.zip(outputs.chunks_exact(mass.len())) {
                    for ((z, output), mass) in z.iter_mut().zip(outputs).zip(mass) {
                        *z = mass * output;
                    }
                }
            }
        }
    }

    /// Losses of some samples, and ∂L/∂z; the z of the outputs become ŷ. Shape of outputs,
    /// targets and deltas: (outputs, samples).
    #[inline(always)]
    pub(crate) fn evaluate(self, outputs: &mut [f64], targets: &[f64], space: &mut Space) {
        let samples = space.losses.len();
        let count = (outputs.len() / samples) as f64;
        match self {
            Self::HalfSquaredError => squared(outputs, targets, space, [0.5, 1.0]),
            Self::Mse => squared(outputs, targets, space, [1.0 / count, 2.0 / count]),
            Self::BinaryCrossEntropy => {
                space.losses.fill(0.0);
                let rows = outputs.chunks_exact_mut(samples);
                for (z, targets) in rows.zip(targets.chunks_exact(samples)) {
                    for ((loss, z), target) in space.losses.iter_mut().zip(&*z).zip(targets) {
                        let positive = if *z > 0.0 { *z } else { 0.0 };
                        *loss += positive - *z * target + libm::log1p(exp(-z.abs()));
                    }
                    logistic(z);
                }
                for loss in &mut *space.losses {
                    *loss *= 1.0 / count;
                }
                for ((delta, output), target) in space.deltas.iter_mut().zip(outputs).zip(targets) {
                    *delta = (*output - target) * (1.0 / count);
                }
            }
            Self::SoftmaxCrossEntropy => {
                softmax(outputs, space);
                let Space {
                    losses,
                    deltas,
                    mass,
                } = space;
                let log_sums = &mut **losses;
                mass.fill(0.0);
                for targets in targets.chunks_exact(samples) {
                    add(mass, targets);
                }
                // Σ y·(ln Σ − (z − max)): ln ŷ is small, however large the logits are.
                let rows = deltas.chunks_exact_mut(samples);
                for (deltas, targets) in rows.zip(targets.chunks_exact(samples)) {
                    for ((shifted, target), log_sum) in
                        deltas.iter_mut().zip(targets).zip(&*log_sums)
                    {
                        let surprise = target * (log_sum - *shifted);
                        *shifted = if *target > 0.0 { surprise } else { 0.0 };
                    }
                }
                log_sums.fill(0.0);
                for surprises in deltas.chunks_exact(samples) {
                    add(log_sums, surprises);
                }
                let rows = deltas
                    .chunks_exact_mut(samples)
                    .zip(outputs.chunks_exact(samples));
                for ((deltas, outputs), targets) in rows.zip(targets.chunks_exact(samples)) {
                    for (((delta, output), target), mass) in
                        deltas.iter_mut().zip(outputs).zip(targets).zip(&**mass)
                    {
                        *delta = mass * output - target;
                    }
                }
            }
        }
    }
}

/// What a loss computes for some samples; a sample is one row of one lane.
pub(crate) struct Space<'a> {
    /// Shape (samples,).
    pub losses: &'a mut [f64],
    /// ∂L/∂z, shape (outputs, samples).
    pub deltas: &'a mut [f64],
    /// Shape (samples,).
    pub mass: &'a mut [f64],
}

#[inline(always)]
fn add(sums: &mut [f64], values: &[f64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// loss = factors[0]·Σ (y − ŷ)², delta = −factors[1]·(y − ŷ).
#[inline(always)]
fn squared(outputs: &[f64], targets: &[f64], space: &mut Space, factors: [f64; 2]) {
    let samples = space.losses.len();
    for ((delta, output), target) in space.deltas.iter_mut().zip(outputs).zip(targets) {
        *delta = target - output;
    }
    for (index, errors) in space.deltas.chunks_exact_mut(samples).enumerate() {
        for (loss, error) in space.losses.iter_mut().zip(errors) {
            let one = factors[0] * (*error * *error);
            *loss = if index == 0 { one } else { *loss + one };
            *error = factors[1] * -*error;
        }
    }
}

/// Replaces z by 1 / (1 + e^−z).
#[inline(always)]
fn logistic(outputs: &mut [f64]) {
    for z in outputs {
        *z = sigmoid(*z).0;
    }
}

/// Replaces z by e^z / Σ e^z. The deltas keep z − max, and the losses ln Σ e^(z − max).
#[inline(always)]
fn softmax(outputs: &mut [f64], space: &mut Space) {
    let samples = space.losses.len();
    let Space {
        losses,
        deltas,
        mass,
    } = space;
    let (largest, sums) = (&mut **losses, &mut **mass);
    largest.copy_from_slice(&outputs[..samples]);
    for z in outputs[samples..].chunks_exact(samples) {
        for (largest, z) in largest.iter_mut().zip(z) {
            *largest = if *z > *largest { *z } else { *largest };
        }
    }
    sums.fill(0.0);
    let rows = outputs.chunks_exact_mut(samples);
    for (outputs, deltas) in rows.zip(deltas.chunks_exact_mut(samples)) {
        for ((z, shifted), largest) in outputs.iter_mut().zip(deltas).zip(&*largest) {
            *shifted = *z - largest;
            *z = exp(*shifted);
        }
        add(sums, outputs);
    }
    for outputs in outputs.chunks_exact_mut(samples) {
        for (e, sum) in outputs.iter_mut().zip(&*sums) {
            *e /= sum;
        }
    }
    for (logarithm, sum) in largest.iter_mut().zip(&*sums) {
        *logarithm = libm::log(*sum);
    }
}

#[cfg(test)]
mod tests {
    use crate::{gradients, Activation, Data, Loss, Machine, Network, Progress};

    #[test]
    fn cross_entropies_keep_their_digits_at_any_size_of_logits() {
        let network = Network::new(&[1, 2], Activation::Identity).unwrap();
        let softmax = network.clone().with_loss(Loss::SoftmaxCrossEntropy);
        let binary = network.with_loss(Loss::BinaryCrossEntropy);
        for size in [1.0, 1e6, 1e16, 1e300] {
            let data = Data::new(&softmax, &[1.0], &[1.0, 0.0]).unwrap();
            let even = gradients(
                &softmax,
                &data,
                &[size, size],
                Machine::default(),
                &Progress::default(),
            )
            .unwrap();
            assert!((even.loss[0] - std::f64::consts::LN_2).abs() < 1e-15);
            assert_eq!(even.gradients, [-0.5, 0.5]);
            let sure = gradients(
                &softmax,
                &data,
                &[size, -size],
                Machine::default(),
                &Progress::default(),
            )
            .unwrap();
            assert!((sure.loss[0] - (-2.0 * size).exp().ln_1p()).abs() < 1e-15);
            let data = Data::new(&binary, &[1.0], &[0.0, 1.0]).unwrap();
            let wrong = gradients(
                &binary,
                &data,
                &[size, -size],
                Machine::default(),
                &Progress::default(),
            )
            .unwrap();
            let expected = size + (-size).exp().ln_1p();
            assert!((wrong.loss[0] - expected).abs() <= 1e-15 * expected);
        }
    }
}
