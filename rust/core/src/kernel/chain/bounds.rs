//! What is known of a single neuron's epochs without computing them, by proofs.
//!
//! # Why nothing has to be watched
//! Weights that are [moderate](is_moderate) after the last epoch have been so small all the
//! way that no loss overflowed. Let p = w1 and q = w2 of a neuron that is on (one that is off
//! keeps its weights) and c = lr·x·e. An epoch is p' = p + c·q, q' = q + c·p, hence
//!
//! ```text
//! p' + q' = (1 + c)·(p + q)        p' − q' = (1 − c)·(p − q)
//! ```
//!
//! One of the two grows, or both stay. If the larger one, u, does not grow and the other one,
//! v, does not reach it, then |c| < 2 and |e| < 2 / (lr·|x|) ≤ 2²⁰¹. So |p·q| < 2³⁰³ and
//! |u² − v²| < 2³⁰⁵. Wherever |u| > 2¹⁹⁹, v is as large but for one part in 2⁹². Thus max(|u|, |v|),
//! once above 2¹⁹⁹, stays above 2¹⁹⁸ for more epochs than a span has, roundings included; what
//! becomes infinite or NaN stays so. A loss above 2⁹⁹⁹ needs |e| > 2⁵⁰⁰, hence |p·q| > 2³⁹⁹ and
//! such a u. Without a hidden neuron, e' = (1 − lr·x²)·e: it falls or grows all the way, and a
//! weight that was moderate at both ends was moderate between.
//!
//! # Why the highest loss of most runs is known
//! The errors of a neuron that is on follow e' = (1 − u)·e with u = lr·s + c·lr·x·ŷ and
//! s = x²·(p² + q²). Let |e| ≤ E and |c| ≤ lr·|x|·E < 1. Since |x·ŷ| ≤ s/2, u lies between
//! lr·s·(1 − |c|/2) ≥ 0 and lr·s·(1 + |c|/2). Now p² − q² only shrinks, by 1 − c² in an epoch, and
//! |p·q·x| = |ŷ| ≤ |y| + E, hence
//!
//! ```text
//! (p² + q²)² = (p² − q²)² + 4·p²·q² ≤ (p² − q²)² + 4·((|y| + E)/x)²
//! ```
//!
//! If that keeps u at or below 2, |e| is at most E after the epoch, too, and so on for ever. A
//! neuron that turns off has the error y, but it does so only if E ≥ |y|: else ŷ stays on y's side
//! of 0, and both weights change their signs at once only where |c| > 1. One that is off keeps its
//! loss. E is taken a little larger than |e| is, by far more than an epoch's roundings times the
//! epochs of a span.

use crate::kernel::arithmetic::Number;
use crate::Data;

/// x, y and learning rates up to this size, or down to its inverse, are what the proof takes.
const MODERATE: f64 = (1_u128 << 100) as f64;
/// Weights up to this size.
const MODERATE_WEIGHT: f64 = MODERATE * (1_u128 << 90) as f64;

/// Whether the proof holds for data: a single row, neither extreme nor a negative zero.
pub(super) fn allows_data(data: &Data) -> bool {
    match (data.x(), data.y()) {
        ([x], [y]) => {
            (1.0 / MODERATE..=MODERATE).contains(&x.abs())
                && y.abs() <= MODERATE
                && y.to_bits() != (-0.0_f64).to_bits()
        }
        _ => false,
    }
}

/// Whether the proof holds for learning rates.
#[inline(always)]
pub(super) fn allows_rates<N: Number>(rates: &[N]) -> bool {
    let moderate = 1.0 / MODERATE..=MODERATE;
    rates
        .iter()
        .fold(true, |all, rate| all & moderate.contains(&(*rate).into()))
}

/// How much more room a proof leaves to roundings than they take.
const ROUNDINGS: f64 = 1e-10;

/// Whether no loss is higher than `highest` from here on, by the proof above.
#[inline(always)]
pub(super) fn stays_below(
    highest: f64,
    is_relu: bool,
    [x, y]: [f64; 2],
    [p, q]: [f64; 2],
    rate: f64,
) -> bool {
    let error = (y - p * q * x).abs();
    let most = error + ROUNDINGS * (y.abs() + error);
    let step = rate * x.abs() * most;
    let (apart, product) = ((p - q) * (p + q), (y.abs() + most) * (2.0 / x));
    let squares = apart * apart + product * product;
    let factor = rate * x * x * (1.0 + 0.5 * step);
    let limit = (2.0 - ROUNDINGS) * (2.0 - ROUNDINGS);
    let is_off = is_relu & (p * x <= 0.0);
    // Squared, since a root takes longer than all the rest.
    let stays = (step < 1.0) & (factor * factor * squares <= limit);
    is_off | (stays & (0.5 * most * most <= highest))
}

/// The same without a hidden neuron: e' = (1 − lr·x²)·e.
#[inline(always)]
pub(super) fn stays_below_without_hidden(
    highest: f64,
    [x, y]: [f64; 2],
    w: f64,
    rate: f64,
) -> bool {
    let error = (y - w * x).abs();
    let most = error + ROUNDINGS * (y.abs() + error);
    (rate * x * x <= 2.0 - ROUNDINGS) & (0.5 * most * most <= highest)
}

/// Whether weights are of a moderate size, and none is a negative zero.
#[inline(always)]
pub(super) fn is_moderate<N: Number>(weights: &[N]) -> bool {
    weights.iter().fold(true, |all, weight| {
        let weight: f64 = (*weight).into();
        all & (weight.abs() <= MODERATE_WEIGHT) & (weight.to_bits() != (-0.0_f64).to_bits())
    })
}

/// The largest number whose product with x > 0 rounds to 0.
pub(super) fn largest_that_vanishes(x: f64) -> f64 {
    let (mut vanishes, mut stays) = (0, 1.0_f64.max(1.0 / x).to_bits());
    // Positive numbers are in the order of their bits.
    while stays - vanishes > 1 {
        let between = vanishes + (stays - vanishes) / 2;
        if f64::from_bits(between) * x > 0.0 {
            stays = between;
        } else {
            vanishes = between;
        }
    }
    f64::from_bits(vanishes)
}

/// By what a neuron multiplies its error in an epoch once it is near its minimum, where
/// p·q·x = y: |1 − lr·x²·(p² + q²)|. Nearly all the way p² − q² is what it was. It is 0 for one
/// that is off: it rests.
#[inline(always)]
pub(super) fn contraction(is_relu: bool, [x, y]: [f64; 2], [p, q]: [f64; 2], rate: f64) -> f64 {
    let (apart, product) = ((p - q) * (p + q), y * (2.0 / x));
    let squares = (apart * apart + product * product).sqrt();
    if is_relu && p * x <= 0.0 {
        0.0
    } else {
        (1.0 - rate * x * x * squares).abs()
    }
}

/// The same without a hidden neuron.
#[inline(always)]
pub(super) fn contraction_without_hidden(x: f64, rate: f64) -> f64 {
    (1.0 - rate * x * x).abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plain epochs from many starts. Whoever is said to stay below does; and it is said of most
    /// that do.
    #[test]
    fn losses_stay_where_they_are_proven_to_stay() {
        let spread = |index: u32, by: f64| (f64::from(index) * by).fract();
        let (mut said, mut really) = (0, 0);
        for index in 0..20_000 {
            let weights = [spread(index, 0.819_172_5), spread(index, 0.671_043_6)];
            let [p, q] = weights.map(|share| 4.0 * share - 2.0);
            let (is_relu, y) = (index % 2 == 0, 6.0 * spread(index, 0.549_700_5) - 3.0);
            let (x, rate) = (2.0, 0.3 * spread(index, 0.450_306_1).powi(2));
            let off = |p: f64| is_relu && p * x <= 0.0;
            let loss = |p: f64, q: f64| {
                let error = if off(p) { y } else { y - p * q * x };
                0.5 * error * error
            };
            let highest = loss(p, q) * (1.0 + 1e-8);
            let proven = stays_below(highest, is_relu, [x, y], [p, q], rate);
            let (mut p, mut q, mut stays) = (p, q, true);
            for _ in 0..300 {
                if !off(p) {
                    let error = y - p * q * x;
                    (p, q) = (p + rate * error * q * x, q + rate * error * p * x);
                }
                stays &= loss(p, q) <= highest;
            }
            assert!(stays || !proven, "{p} {q} {x} {y} {rate}");
            said += u32::from(proven);
            really += u32::from(stays);
        }
        assert!(10 * said > 7 * really, "{said} of {really}");
    }
}
