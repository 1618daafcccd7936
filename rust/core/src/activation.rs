//! Activations: each knows its value and its own derivative, and nothing else.

/// What a hidden neuron does to its weighted sum z; the output layer is the identity.
///
/// Every neuron computes φ(gain·z): see [`crate::Network::with_gain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// φ(z) = z.
    Identity,
    /// φ(z) = z if z > 0 else 0, with the derivative 1 if z > 0 else 0.
    Relu,
    /// φ(z) = z if z > 0 else negative_slope·z (Maas et al. 2013).
    LeakyRelu,
    /// φ(z) = tanh z, with the derivative 1 − φ².
    Tanh,
    /// φ(z) = 1 / (1 + e^−z), with the derivative φ·(1 − φ).
    Sigmoid,
    /// φ(z) = z·Φ(z), Φ the normal distribution, by the error function
    /// (Hendrycks & Gimpel, arXiv 1606.08415).
    Gelu,
    /// φ(z) = ln(1 + e^z), with the derivative 1 / (1 + e^−z).
    Softplus,
}

/// φ(z) and φ'(z).
type Point = (f64, f64);

impl Activation {
    /// Every activation, in the order in which messages name them.
    pub const ALL: [Self; 7] = [
        Self::Identity,
        Self::Relu,
        Self::LeakyRelu,
        Self::Tanh,
        Self::Sigmoid,
        Self::Gelu,
        Self::Softplus,
    ];

    /// The name used in configuration and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::LeakyRelu => "leaky_relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Gelu => "gelu",
            Self::Softplus => "softplus",
        }
    }

    /// Replaces each z by φ(gain·z), and sets its derivative with respect to z.
    #[inline(always)]
    pub(crate) fn apply(
        self,
        gain: f64,
        negative_slope: f64,
        neurons: &mut [f64],
        derivatives: &mut [f64],
    ) {
        // A loop of its own for each function, which the compiler turns into vector
        // instructions. Not a closure: it would not be compiled for the instruction set.
        macro_rules! each {
            (|$z:ident| $point:expr) => {
                each!(gain, |$z| $point)
            };
            ($factor:expr, |$z:ident| $point:expr) => {
                for (neuron, derivative) in neurons.iter_mut().zip(derivatives) {
                    let $z = $factor * *neuron;
                    let (value, own) = $point;
                    *neuron = value;
                    *derivative = gain * own;
                }
            };
        }
        match self {
            Self::Identity => each!(|z| (z, 1.0)),
            Self::Relu => each!(|z| rectify(z, 0.0)),
            Self::LeakyRelu => each!(|z| rectify(z, negative_slope)),
            Self::Tanh => each!((2.0 * gain).min(f64::MAX), |z| tanh_of_half(z)),
            Self::Sigmoid => each!(|z| sigmoid(z)),
            Self::Gelu => each!(|z| gelu(z)),
            Self::Softplus => each!(|z| softplus(z)),
        }
    }

    /// Replaces each z by the second derivative of φ(gain·z) with respect to z, given what
    /// [`Activation::apply`] gives. It is 0 where ReLU has its kink.
    #[inline(always)]
    pub(crate) fn bend(self, gain: f64, z: &mut [f64], values: &[f64], derivatives: &[f64]) {
        macro_rules! each {
            (|$z:ident, $value:ident, $derivative:ident| $second:expr) => {
                for ((z, value), derivative) in z.iter_mut().zip(values).zip(derivatives) {
                    let ($z, $value, $derivative) = (gain * *z, *value, *derivative);
                    *z = gain * $second;
                }
            };
        }
        match self {
            Self::Identity | Self::Relu | Self::LeakyRelu => z.fill(0.0),
            Self::Tanh => each!(|_z, value, derivative| -2.0 * value * derivative),
            Self::Sigmoid => each!(|_z, value, derivative| (1.0 - 2.0 * value) * derivative),
            Self::Gelu => each!(|z, _value, _derivative| gain * gelu_bend(z)),
            Self::Softplus => each!(|z, _value, _derivative| gain * sigmoid(z).1),
        }
    }
}

#[inline(always)]
fn rectify(z: f64, negative_slope: f64) -> Point {
    let off = if negative_slope == 0.0 {
        0.0
    } else {
        negative_slope * z
    };
    (
        if z > 0.0 { z } else { off },
        if z > 0.0 { 1.0 } else { negative_slope },
    )
}

#[inline(always)]
pub(crate) fn sigmoid(z: f64) -> Point {
    // 1/(1 + e) and e/(1 + e): both tails keep their digits.
    let Exponential { even, odd, power } = exponential(-z.abs());
    let (one, e) = (even - odd, power * (even + odd));
    let inverse = 1.0 / (one + e);
    let (above, below) = (one * inverse, e * inverse);
    (if z >= 0.0 { above } else { below }, below * above)
}

#[inline(always)]
fn softplus(z: f64) -> Point {
    let positive = if z > 0.0 { z } else { 0.0 };
    (positive + libm::log1p(exp(-z.abs())), sigmoid(z).0)
}

#[inline(always)]
fn gelu(z: f64) -> Point {
    // erfc keeps the digits of the left tail, where 1 + erf would lose them.
    let distribution = 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
    let density = exp(-0.5 * z * z) / (2.0 * std::f64::consts::PI).sqrt();
    (z * distribution, distribution + z * density)
}

/// Of z·Φ(z), with the density n: (2 − z²)·n(z).
#[inline(always)]
fn gelu_bend(z: f64) -> f64 {
    let square = z * z;
    let density = exp(-0.5 * square) / (2.0 * std::f64::consts::PI).sqrt();
    // Beyond, the density is 0.
    if square < 1400.0 {
        (2.0 - square) * density
    } else {
        0.0
    }
}

/// tanh(z/2) is (1 − e)/(1 + e) with e = e^−|z|, arranged so that 1 − e keeps its digits near
/// 0; and its derivative as if z/2 were the variable. Twice a number is exact.
#[inline(always)]
fn tanh_of_half(z: f64) -> Point {
    let Exponential { even, odd, power } = exponential(-z.abs());
    let (less, more) = (1.0 - power, 1.0 + power);
    let over = even.mul_add(less, -(odd * more));
    let value = (over / even.mul_add(more, -(odd * less))).copysign(z);
    (value, value.mul_add(-value, 1.0))
}

/// e^z for z ≤ 0; below e^−708 it stays there.
#[inline(always)]
pub(crate) fn exp(z: f64) -> f64 {
    let Exponential { even, odd, power } = exponential(z);
    power * ((even + odd) / (even - odd))
}

/// e^z = power·(even + odd)/(even − odd), without dividing: who needs a quotient of such
/// exponentials divides once.
struct Exponential {
    even: f64,
    odd: f64,
    power: f64,
}

/// Computes the three numbers for z ≤ 0. The power is one of 2, odd the rest r of the exponent, |r| ≤ ½ ln 2, and even
/// is r·coth(r/2) by the polynomial in r² of fdlibm's exp, whose error is below 2^−59. There
/// is no branch: vector registers do as many at a time as they hold. Products are added
/// without being rounded, on every machine: where none can, the C library does it.
#[inline(always)]
fn exponential(z: f64) -> Exponential {
    // Adding this constant rounds to a whole number, which is then in the low bits, with the bias of the
    // exponent, 1023, added.
    const ROUND: f64 = 6_755_399_441_055_744.0 + 1023.0;
    const LN_2: [f64; 2] = [6.931_457_519_531_25e-1, 1.428_606_820_309_417_2e-6];
    /// The coefficients, that of the highest power first.
    const EVEN: [f64; 6] = [
        4.138_136_797_057_238_5e-8,
        -1.653_390_220_546_525_2e-6,
        6.613_756_321_437_934e-5,
        -2.777_777_777_701_559_3e-3,
        1.666_666_666_666_660_2e-1,
        2.0,
    ];
    let z = if z < -708.0 { -708.0 } else { z };
    let rounded = z.mul_add(std::f64::consts::LOG2_E, ROUND);
    let whole = rounded - ROUND;
    let odd = whole.mul_add(-LN_2[1], whole.mul_add(-LN_2[0], z));
    Exponential {
        even: polynomial(odd * odd, EVEN),
        odd,
        power: f64::from_bits(rounded.to_bits() << 52),
    }
}

/// Evaluates a polynomial by Horner's rule.
#[inline(always)]
fn polynomial<const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    let mut sum = coefficients[0];
    for coefficient in &coefficients[1..] {
        sum = sum.mul_add(x, *coefficient);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> impl Iterator<Item = f64> {
        (-40_000..=40_000).map(|i| f64::from(i) * 1e-3 * (1.0 + f64::from(i).abs() * 1e-6))
    }

    #[track_caller]
    fn close(found: f64, expected: f64, z: f64) {
        let error = (found - expected).abs();
        assert!(
            error <= 1e-15 * expected.abs() + f64::MIN_POSITIVE,
            "{found} is not {expected} at {z}"
        );
    }

    #[test]
    fn exponentials_are_those_of_the_standard_library() {
        for z in numbers() {
            close(exp(-z.abs()), (-z.abs()).exp(), z);
            close(tanh_of_half(2.0 * z).0, z.tanh(), z);
            close(sigmoid(z).0, 1.0 / (1.0 + (-z).exp()), z);
        }
        close(exp(-700.0), (-700.0_f64).exp(), -700.0);
        assert!(exp(-1e300) < 1e-300);
        for function in [tanh_of_half, sigmoid, softplus, gelu] {
            assert!(function(f64::NAN).0.is_nan());
        }
        assert_eq!(tanh_of_half(-0.0).0.to_bits(), (-0.0_f64).to_bits());
    }

    #[test]
    fn the_largest_gain_is_a_number_at_zero() {
        for activation in Activation::ALL {
            let (mut value, mut slope) = ([0.0], [0.0]);
            activation.apply(f64::MAX, 0.01, &mut value, &mut slope);
            assert!(
                value[0].is_finite() && slope[0].is_finite(),
                "{activation:?}"
            );
        }
    }

    #[test]
    fn each_knows_its_own_derivative() {
        let step = 1e-5;
        for activation in Activation::ALL {
            for (gain, leak) in [(1.0, 0.01), (1.5, 0.2)] {
                let value = |z: f64| {
                    let (mut value, mut slope) = ([z], [0.0]);
                    activation.apply(gain, leak, &mut value, &mut slope);
                    (value[0], slope[0])
                };
                for z in numbers()
                    .step_by(37)
                    .filter(|z| (1e-4..8.0).contains(&z.abs()))
                {
                    let difference = (value(z + step).0 - value(z - step).0) / (2.0 * step);
                    let error = (value(z).1 - difference).abs();
                    assert!(error < 1e-8, "{activation:?} at {z}: {error}");
                    let difference = (value(z + step).1 - value(z - step).1) / (2.0 * step);
                    let (mut second, (own, slope)) = ([z], value(z));
                    activation.bend(gain, &mut second, &[own], &[slope]);
                    let error = (second[0] - difference).abs();
                    assert!(error < 1e-8, "{activation:?} bends at {z}: {error}");
                }
            }
        }
    }

    #[test]
    fn gelu_and_softplus_have_the_values_of_their_papers() {
        // Φ(1) = 0.841344746068542949 (tables); ln 2 and ln(1 + e).
        close(gelu(1.0).0, 0.841_344_746_068_542_9, 1.0);
        close(softplus(0.0).0, std::f64::consts::LN_2, 0.0);
        close(softplus(1.0).0, 1.313_261_687_518_222_8, 1.0);
    }
}
