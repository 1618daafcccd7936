//! The ends of the spectrum of the Hessian of the loss: how sharply it is curved.

use crate::activation::Activation;
use crate::kernel::{load, planes, spectrum, TILE};
use crate::memory::{filled, room};
use crate::parallel::{for_each, share};
use crate::train::runs_of;
use crate::{Data, Loss, Machine, Network, Progress, Result};

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
    weights: &[f64],
    ends: Ends,
    machine: Machine,
    progress: &Progress,
) -> Result<Curvature> {
    let runs = runs_of(network, weights, machine)?;
    let share = share(network, runs, machine);
    let mut found = Curvature {
        largest: filled(0.0, runs)?,
        smallest: filled(0.0, if ends == Ends::Both { runs } else { 0 })?,
        error: filled(0.0, runs)?,
    };
    let mut smallest = found.smallest.chunks_mut(share);
    let shares: Vec<_> = weights
        .chunks(share * network.parameters())
        .zip(found.largest.chunks_mut(share))
        .zip(found.error.chunks_mut(share))
        .map(|((weights, largest), error)| {
            let smallest = smallest.next().unwrap_or_default();
            (weights, [largest, smallest, error])
        })
        .collect();
    let two = TwoWeights::of(network, data);
    if two.is_none() {
        let threads = machine.threads().clamp(1, shares.len().max(1));
        let each = planes(network.parameters()).saturating_mul(network.parameters());
        let tile = network.neurons().saturating_mul(8 * TILE);
        room(threads, each.saturating_add(tile).saturating_mul(LANES))?;
    }
    for_each(shares, machine, |(weights, results)| match &two {
        Some(two) => two.measure(weights, results),
        None => measure(network, data, weights, results, machine, progress),
    })?;
    progress.finished()?;
    Ok(found)
}

/// Writes the results of some runs, block by block.
fn measure(
    network: &Network,
    data: &Data,
    weights: &[f64],
    mut results: [&mut [f64]; 3],
    machine: Machine,
    progress: &Progress,
) {
    let parameters = network.parameters();
    let mut block = spectrum(network, machine, progress);
    let width = block.width();
    let both = !results[1].is_empty();
    for (index, weights) in weights.chunks(width * parameters).enumerate() {
        if progress.is_cancelled() {
            return;
        }
        let runs = weights.len() / parameters;
        load(block.weights(), width, weights, runs);
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

impl TwoWeights {
    fn of(network: &Network, data: &Data) -> Option<Self> {
        let factor = match network.loss() {
            Loss::HalfSquaredError => 1.0,
            Loss::Mse => 2.0,
            _ => return None,
        };
        // φ' below and above 0; where z is 0 it is the one below.
        let slopes = match network.activation() {
            Activation::Identity => [1.0, 1.0],
            Activation::Relu => [0.0, 1.0],
            Activation::LeakyRelu => [network.negative_slope(), 1.0],
            _ => return None,
        };
        let is_plain = network.sizes() == [1, 1, 1] && !network.bias();
        if !is_plain || network.output_activation().is_some() {
            return None;
        }
        let means = [1.0, -1.0, 0.0].map(|sign| {
            let mut sums = [0.0; 2];
            for (x, y) in data.x().iter().zip(data.y()) {
                let u = network.gain() * slopes[usize::from(sign * x > 0.0)] * x;
                sums = [sums[0] + u * u, sums[1] + u * y];
            }
            sums.map(|sum| factor * sum / data.rows() as f64)
        });
        Some(Self { means })
    }

    fn measure(&self, weights: &[f64], [largest, smallest, _]: [&mut [f64]; 3]) {
        for (index, (weights, largest)) in weights.chunks_exact(2).zip(largest).enumerate() {
            let (first, last) = (weights[0], weights[1]);
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
            *largest = middle + radius;
            if let Some(smallest) = smallest.get_mut(index) {
                *smallest = middle - radius;
            }
        }
    }
}
