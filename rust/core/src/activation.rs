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
    /// φ(z) = tanh z, with the derivative sech² z.
    Tanh,
    /// φ(z) = 1 / (1 + e^−z), with the derivative φ·(1 − φ).
    Sigmoid,
    /// φ(z) = z·Φ(z), Φ the normal distribution, by the error function
    /// (Hendrycks & Gimpel, arXiv 1606.08415).
    Gelu,
    /// φ(z) = ln(1 + e^z), with the derivative 1 / (1 + e^−z).
    Softplus,
}

/// φ(z) and φ'(z), the latter as a product of two factors: where φ' is too small for a number,
/// the gain is multiplied in between them.
type Point = (f64, f64, f64);

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
    pub(crate) fn apply(self, gains: &Gains, neurons: &mut [f64], derivatives: &mut [f64]) {
        match self {
            Self::Identity | Self::Relu | Self::LeakyRelu => {
                // Straight lines: a gain, which most networks have not, is multiplied on either side.
                if gains.scale {
                    scale(neurons, &gains.gain);
                }
                let count = neurons.len();
                self.apply_straight(gains, neurons, derivatives);
                if gains.scale {
                    scale(&mut derivatives[..count], &gains.gain);
                }
            }
            Self::Tanh | Self::Sigmoid | Self::Gelu | Self::Softplus => {
                self.apply_curved(gains, neurons, derivatives);
            }
        }
    }

    /// Replaces each z by φ(z), and sets its derivative, of functions made of straight lines.
    #[inline(always)]
    fn apply_straight(self, gains: &Gains, neurons: &mut [f64], derivatives: &mut [f64]) {
        if self == Self::LeakyRelu {
            let pieces = neurons.chunks_mut(TOGETHER);
            for (neurons, derivatives) in pieces.zip(derivatives.chunks_mut(TOGETHER)) {
                let values = neurons.iter_mut().zip(derivatives);
                for ((neuron, derivative), slope) in values.zip(&gains.slope) {
                    (*neuron, *derivative) = rectify(*neuron, *slope);
                }
            }
            return;
        }
        let values = neurons.iter_mut().zip(derivatives);
        if self == Self::Relu {
            for (neuron, derivative) in values {
                (*neuron, *derivative) = rectify(*neuron, 0.0);
            }
        } else {
            for (_, derivative) in values {
                *derivative = 1.0;
            }
        }
    }

    #[inline(always)]
    fn apply_curved(self, gains: &Gains, neurons: &mut [f64], derivatives: &mut [f64]) {
        // A loop of its own for each function, which the compiler turns into vector
        // instructions. Not a closure: it would not be compiled for the instruction set.
        macro_rules! each {
            ($factor:ident, $function:ident) => {
                let pieces = neurons.chunks_mut(TOGETHER);
                for (neurons, derivatives) in pieces.zip(derivatives.chunks_mut(TOGETHER)) {
                    let values = neurons.iter_mut().zip(derivatives);
                    let given = gains.gain.iter().zip(&gains.$factor);
                    for ((neuron, derivative), (gain, factor)) in values.zip(given) {
                        let (value, own, rest) = $function(*factor * *neuron);
                        *neuron = value;
                        *derivative = *gain * own * rest;
                    }
                }
            };
        }
        match self {
            Self::Tanh => {
                each!(twice, tanh_of_half);
            }
            Self::Sigmoid => {
                each!(gain, sigmoid);
            }
            Self::Gelu => {
                each!(gain, gelu);
            }
            _ => {
                each!(gain, softplus);
            }
        }
    }

    /// Replaces each z by the second derivative of φ(gain·z) with respect to z, given what
    /// [`Activation::apply`] gives. It is 0 where ReLU has its kink.
    #[inline(always)]
    pub(crate) fn bend(self, gains: &Gains, z: &mut [f64], values: &[f64], derivatives: &[f64]) {
        macro_rules! each {
            (|$z:ident, $gain:ident, $value:ident, $derivative:ident| $second:expr) => {
                let known = values.chunks(TOGETHER).zip(derivatives.chunks(TOGETHER));
                for (z, (values, derivatives)) in z.chunks_mut(TOGETHER).zip(known) {
                    let known = values.iter().zip(derivatives).zip(&gains.gain);
                    for (z, ((value, derivative), gain)) in z.iter_mut().zip(known) {
                        let ($gain, $value, $derivative) = (*gain, *value, *derivative);
                        let $z = $gain * *z;
                        *z = $gain * $second;
                    }
                }
            };
        }
        match self {
            Self::Identity | Self::Relu | Self::LeakyRelu => z.fill(0.0),
            Self::Tanh => {
                each!(|_z, gain, value, derivative| -2.0 * value * derivative);
            }
            Self::Sigmoid => {
                each!(|_z, gain, value, derivative| (1.0 - 2.0 * value) * derivative);
            }
            Self::Gelu => {
                each!(|z, gain, _value, _derivative| gain * gelu_bend(z));
            }
            Self::Softplus => {
                each!(|z, gain, _value, _derivative| {
                    let (_, own, rest) = sigmoid(z);
                    gain * own * rest
                });
            }
        }
    }
}

/// Values that are activated together: a multiple of all widths of registers.
pub(crate) const TOGETHER: usize = 64;

/// The gain and the negative slope of each run. Values lie as they do in registers, one lane for
/// each run, and theirs are repeated accordingly.
#[derive(Clone, Debug)]
pub(crate) struct Gains {
    gain: [f64; TOGETHER],
    /// Twice the gain, if that is a number.
    twice: [f64; TOGETHER],
    slope: [f64; TOGETHER],
    /// Whether a gain is not 1.
    scale: bool,
}

impl Gains {
    /// Those of the runs in the lanes of a register.
    pub fn new(gains: &[f64], slopes: &[f64]) -> Self {
        let gain: [f64; TOGETHER] = std::array::from_fn(|place| gains[place % gains.len()]);
        Self {
            gain,
            twice: gain.map(|gain| (2.0 * gain).min(f64::MAX)),
            slope: std::array::from_fn(|place| slopes[place % slopes.len()]),
            scale: gains.iter().copied().any(scales),
        }
    }
}

/// Those of hidden neurons and of outputs, which have no gain.
#[derive(Clone, Debug)]
pub(crate) struct NetworkGains {
    pub hidden: Gains,
    pub outputs: Gains,
}

impl NetworkGains {
    /// Those of the runs in the lanes of a register; a single value is that of all.
    pub fn new(gains: &[f64], slopes: &[f64]) -> Self {
        Self {
            hidden: Gains::new(gains, slopes),
            outputs: Gains::new(&[1.0], slopes),
        }
    }
}

/// Whether a gain changes anything.
pub(crate) fn scales(gain: f64) -> bool {
    gain.to_bits() != 1.0_f64.to_bits()
}

#[inline(always)]
fn rectify(z: f64, negative_slope: f64) -> (f64, f64) {
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

/// Multiplies values by those of their lanes.
#[inline(always)]
fn scale(values: &mut [f64], factors: &[f64; TOGETHER]) {
    for values in values.chunks_mut(TOGETHER) {
        for (value, factor) in values.iter_mut().zip(factors) {
            *value *= *factor;
        }
    }
}

#[inline(always)]
pub(crate) fn sigmoid(z: f64) -> Point {
    let (above, below, rest) = tails(z);
    (
        if z >= 0.0 { above } else { below * rest },
        below * above,
        rest,
    )
}

/// 1/(1 + e) and e/(1 + e) with e = e^−|z|, the latter as two factors: both keep their digits.
#[inline(always)]
fn tails(z: f64) -> (f64, f64, f64) {
    let Exponential {
        even,
        odd,
        power,
        rest,
    } = exponential(-z.abs());
    let (one, e) = (even - odd, power * (even + odd));
    let inverse = 1.0 / (one + e);
    (one * inverse, e * inverse, rest)
}

#[inline(always)]
fn softplus(z: f64) -> Point {
    let positive = if z > 0.0 { z } else { 0.0 };
    let (above, below, rest) = tails(z);
    (
        positive + libm::log1p(exp(-z.abs())),
        if z >= 0.0 { above } else { below },
        if z >= 0.0 { 1.0 } else { rest },
    )
}

#[inline(always)]
fn gelu(z: f64) -> Point {
    // erfc keeps the digits of the left tail, where 1 + erf would lose them.
    let distribution = 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
    let (e, rest) = exp_in_factors(-0.5 * z * z);
    let density = e / (2.0 * std::f64::consts::PI).sqrt();
    // Where the density is too small for a number, Φ is the density times Mills' ratio.
    let inverse = 1.0 / (z * z);
    let ratio = polynomial(inverse, [105.0, -15.0, 3.0, -1.0, 1.0]) / -z;
    let tail = (rest < 1.0) & (z < 0.0);
    let own = if tail {
        density * (z + ratio)
    } else {
        distribution + z * (density * rest)
    };
    (z * distribution, own, if tail { rest } else { 1.0 })
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
/// 0; and its derivative as if z/2 were the variable, sech²(z/2) = 4e/(1 + e)², which keeps its
/// digits far from 0. Twice a number is exact.
#[inline(always)]
fn tanh_of_half(z: f64) -> Point {
    let Exponential {
        even,
        odd,
        power,
        rest,
    } = exponential(-z.abs());
    let (less, more) = (1.0 - power, 1.0 + power);
    let over = even.mul_add(less, -(odd * more));
    let under = even.mul_add(more, -(odd * less));
    let squared = 4.0 * power * ((even + odd) * (even - odd));
    ((over / under).copysign(z), squared / (under * under), rest)
}

/// e^z for z ≤ 0.
#[inline(always)]
pub(crate) fn exp(z: f64) -> f64 {
    let (e, rest) = exp_in_factors(z);
    e * rest
}

/// e^z for z ≤ 0, as the product of two numbers: the second one is 1 unless e^z is too small.
#[inline(always)]
fn exp_in_factors(z: f64) -> (f64, f64) {
    let Exponential {
        even,
        odd,
        power,
        rest,
    } = exponential(z);
    (power * ((even + odd) / (even - odd)), rest)
}

/// e^z = rest·power·(even + odd)/(even − odd), without dividing: who needs a quotient of such
/// exponentials divides once. The rest is 1 unless e^z is below the numbers with all digits.
struct Exponential {
    even: f64,
    odd: f64,
    power: f64,
    rest: f64,
}

/// Computes the four numbers for z ≤ 0, which stays at −1416 below it. The powers are of 2, odd
/// the rest r of the exponent, |r| ≤ ½ ln 2, and even
/// is r·coth(r/2) by the polynomial in r² of fdlibm's exp, whose error is below 2^−59. There
/// is no branch: vector registers do as many at a time as they hold. Products are added
/// without being rounded, on every machine: where none can, the C library does it.
#[inline(always)]
fn exponential(z: f64) -> Exponential {
    // Adding this constant rounds to a whole number, which is then in the low bits, with the bias of the
    // exponent, 1023, added.
    const ROUND: f64 = 6_755_399_441_055_744.0 + 1023.0;
    const LN_2: [f64; 2] = [6.931_457_519_531_25e-1, 1.428_606_820_309_417_2e-6];
    /// The smallest exponent of a factor.
    const LEAST: f64 = -1021.0;
    /// The coefficients, that of the highest power first.
    const EVEN: [f64; 6] = [
        4.138_136_797_057_238_5e-8,
        -1.653_390_220_546_525_2e-6,
        6.613_756_321_437_934e-5,
        -2.777_777_777_701_559_3e-3,
        1.666_666_666_666_660_2e-1,
        2.0,
    ];
    let z = if z < -1416.0 { -1416.0 } else { z };
    let whole = z.mul_add(std::f64::consts::LOG2_E, ROUND) - ROUND;
    let odd = whole.mul_add(-LN_2[1], whole.mul_add(-LN_2[0], z));
    let first = if whole < LEAST { LEAST } else { whole };
    let power = |exponent: f64| f64::from_bits((exponent + ROUND).to_bits() << 52);
    Exponential {
        even: polynomial(odd * odd, EVEN),
        odd,
        power: power(first),
        rest: power(whole - first),
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
        close(exp(-720.0), 2.032_230_802_4e-313, -720.0);
        for function in [tanh_of_half, sigmoid, softplus, gelu] {
            assert!(function(f64::NAN).0.is_nan());
        }
        assert_eq!(tanh_of_half(-0.0).0.to_bits(), (-0.0_f64).to_bits());
    }

    #[test]
    fn the_largest_gain_is_a_number_at_zero() {
        for activation in Activation::ALL {
            let (mut value, mut slope) = ([0.0], [0.0]);
            activation.apply(&Gains::new(&[f64::MAX], &[0.01]), &mut value, &mut slope);
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
                let gains = Gains::new(&[gain], &[leak]);
                let value = |z: f64| {
                    let (mut value, mut slope) = ([z], [0.0]);
                    activation.apply(&gains, &mut value, &mut slope);
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
                    activation.bend(&gains, &mut second, &[own], &[slope]);
                    let error = (second[0] - difference).abs();
                    assert!(error < 1e-8, "{activation:?} bends at {z}: {error}");
                }
            }
        }
    }

    /// The expected values are by mpmath, with 30 digits.
    #[test]
    fn small_derivatives_keep_their_digits() {
        let slope = |activation: Activation, gain: f64, z: f64| {
            let (mut value, mut slope) = ([z / gain], [0.0]);
            activation.apply(&Gains::new(&[gain], &[0.01]), &mut value, &mut slope);
            slope[0]
        };
        for (activation, gain, z, expected) in [
            (Activation::Tanh, 1.0, 20.0, 1.699_341_702_116_635_6e-17),
            (
                Activation::Sigmoid,
                1e200,
                -800.0,
                3.667_874_584_177_687e-148,
            ),
            (
                Activation::Softplus,
                1e200,
                -800.0,
                3.667_874_584_177_687e-148,
            ),
            (Activation::Gelu, 1e200, -40.0, -5.849_425_109_812_298e-147),
        ] {
            let found = slope(activation, gain, z);
            let error = (found / expected - 1.0).abs();
            assert!(error < 1e-12, "{activation:?}: {found} is not {expected}");
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
