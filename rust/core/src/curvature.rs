//! The ends of the spectrum of the Hessian of the loss: how sharply it is curved.

use crate::activation::Activation;
use crate::kernel::{load, planes, spectrum, TILE};
use crate::memory::{filled, room};
use crate::parallel::{for_each, share};
use crate::{Data, Loss, Machine, Network, Progress, Result, Weights};

/// Double precision numbers in the widest register.
const LANES: usize = 8;

/// Which eigenvalues of the Hessian are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// The largest one alone, the sharpness.
    Largest,
    /// The largest and the smallest one.
    Both,
}

/// The ends of the spectrum of ∂²L/∂w².
#[derive(Debug, Clone, PartialEq)]
pub struct Curvature {
    /// The largest eigenvalue, shape (runs,).
    pub largest: Vec<f64>,
    /// The smallest eigenvalue, shape (runs,); empty unless it was asked for.
    pub smallest: Vec<f64>,
    /// The distance within which there is an eigenvalue of the Hessian of each of these, but for
    /// rounding; shape (runs,). Up to 32 parameters it is 0.
    pub error: Vec<f64>,
}

/// The ends of the spectrum of ∂²L/∂w² for weights of shape (runs, parameters), in double
/// precision whatever the type of the network. They are NaN where numbers overflow.
///
/// Up to 32 parameters the whole matrix is computed. Of larger networks Lanczos' method ends when
/// the error is 10⁻¹³ of the largest absolute eigenvalue, or after 500 steps.
///
/// # Errors
/// Weights that do not fit the network or are not finite; results or numbers in between beyond
/// memory; [`crate::Error::Cancelled`].
pub fn curvature(
    network: &Network,
    data: &Data,
    weights: Weights,
    ends: Ends,
    machine: Machine,
    progress: &Progress,
) -> Result<Curvature> {
    let runs = weights.runs(network, machine)?;
    let share = share(network, runs, machine);
    let mut found = Curvature {
        largest: filled(0.0, runs)?,
        smallest: filled(0.0, if ends == Ends::Both { runs } else { 0 })?,
        error: filled(0.0, runs)?,
    };
    let mut smallest = found.smallest.chunks_mut(share);
    let shares: Vec<_> = weights
        .chunks(share, network)
        .zip(found.largest.chunks_mut(share))
        .zip(found.error.chunks_mut(share))
        .map(|((weights, largest), error)| {
            let smallest = smallest.next().unwrap_or_default();
            (weights, [largest, smallest, error])
        })
        .collect();
    let two = TwoWeights::fits(network);
    if !two {
        let threads = machine.threads().clamp(1, shares.len().max(1));
        let each = planes(network.parameters()).saturating_mul(network.parameters());
        let tile = network.neurons().saturating_mul(8 * TILE);
        room(threads, each.saturating_add(tile).saturating_mul(LANES))?;
    }
    for_each(shares, machine, |(weights, results)| {
        if two {
            measure_two(network, data, weights, results);
        } else {
            measure(network, data, weights, results, machine, progress);
        }
    })?;
    progress.finished()?;
    Ok(found)
}

/// Writes the results of some runs, block by block.
fn measure(
    network: &Network,
    data: &Data,
    weights: Weights,
    mut results: [&mut [f64]; 3],
    machine: Machine,
    progress: &Progress,
) {
    let parameters = network.parameters();
    let mut block = spectrum(network, machine, progress);
    let width = block.width();
    let both = !results[1].is_empty();
    for (index, weights) in weights.chunks(width, network).enumerate() {
        if progress.is_cancelled() {
            return;
        }
        let runs = weights.values.len() / parameters;
        load(block.weights(), width, weights.values, runs);
        weights.give_gains(network, width, |gains, slopes| {
            block.set_gains(gains, slopes);
        });
        let found = block.measure(data, both);
        for (result, found) in results.iter_mut().zip(found) {
            if !result.is_empty() {
                result[index * width..][..runs].copy_from_slice(&found[..runs]);
            }
        }
    }
}

/// The guide's network and its like, ŷ = w2·φ(w1·x) with a squared error and φ straight on either
/// side of 0: with u = φ'·x the Hessian is the mean over the rows of
///
/// ```text
/// c · [ w2²·u²            u·(2·w1·w2·u − y) ]
///     [ u·(2·w1·w2·u − y)            w1²·u² ]
/// ```
///
/// where c is 1, or 2 without the half. Only sums over the rows are needed, one for each sign of w1.
struct TwoWeights {
    /// The means of c·u² and c·u·y where w1 is above 0, below 0, and where it is 0.
    means: [[f64; 2]; 3],
}

/// Writes the results of some runs of such networks.
fn measure_two(network: &Network, data: &Data, weights: Weights, results: [&mut [f64]; 3]) {
    let [largest, smallest, _] = results;
    let shared = [network.gain(), network.negative_slope()];
    let (mut known, mut two) = (shared, TwoWeights::new(network, data, shared));
    for (index, (own, largest)) in weights.values.chunks_exact(2).zip(largest).enumerate() {
        let own_gains = [
            weights.gain.map_or(shared[0], |gains| gains[index]),
            weights
                .negative_slope
                .map_or(shared[1], |slopes| slopes[index]),
        ];
        if own_gains.map(f64::to_bits) != known.map(f64::to_bits) {
            // Neighbours often have the same.
            (known, two) = (own_gains, TwoWeights::new(network, data, own_gains));
        }
        let [high, low] = two.ends([own[0], own[1]]);
        *largest = high;
        if let Some(smallest) = smallest.get_mut(index) {
            *smallest = low;
        }
    }
}

impl TwoWeights {
    /// Whether it is such a network.
    fn fits(network: &Network) -> bool {
        let straight = matches!(
            network.activation(),
            Activation::Identity | Activation::Relu | Activation::LeakyRelu
        );
        let is_plain = network.sizes() == [1, 1, 1] && !network.bias();
        straight
            && is_plain
            && network.output_activation().is_none()
            && !network.loss().is_cross_entropy()
    }

    /// With so large a gain, and so large a slope below 0.
    fn new(network: &Network, data: &Data, [gain, slope]: [f64; 2]) -> Self {
        let factor = if network.loss() == Loss::Mse {
            2.0
        } else {
            1.0
        };
        // φ' below and above 0; where z is 0 it is the one below.
        let slopes = match network.activation() {
            Activation::Identity => [1.0, 1.0],
            Activation::LeakyRelu => [slope, 1.0],
            _ => [0.0, 1.0],
        };
        let means = [1.0, -1.0, 0.0].map(|sign| {
            let mut sums = [0.0; 2];
            for (x, y) in data.x().iter().zip(data.y()) {
                let u = gain * slopes[usize::from(sign * x > 0.0)] * x;
                sums = [sums[0] + u * u, sums[1] + u * y];
            }
            sums.map(|sum| factor * sum / data.rows() as f64)
        });
        Self { means }
    }

    /// The largest and the smallest eigenvalue.
    fn ends(&self, [first, last]: [f64; 2]) -> [f64; 2] {
        let side = if first > 0.0 {
            0
        } else {
            1 + usize::from(first == 0.0)
        };
        let [square, product] = self.means[side];
        let (a, c) = (last * last * square, first * first * square);
        let b = 2.0 * first * last * square - product;
        let (middle, half) = (0.5 * (a + c), 0.5 * (a - c));
        // √(half² + b²), without squares that overflow.
        let (large, small) = (half.abs().max(b.abs()), half.abs().min(b.abs()));
        let ratio = if small > 0.0 { small / large } else { 0.0 };
        let radius = large * (1.0 + ratio * ratio).sqrt();
        [middle + radius, middle - radius]
    }
}
