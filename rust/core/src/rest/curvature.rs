//! The curvature where runs rest: the extreme eigenvalues of the Hessian, by Lanczos' iteration.

use super::{column, dot, norm, pseudorandom, Rest};

/// Steps of Lanczos' iteration, which finds the largest eigenvalue of the Hessian.
pub(super) const STEPS: usize = 8;
/// The length of a difference of gradients, relative to the weights.
const DIFFERENCE: f64 = 1e-7;

impl Rest<'_> {
    /// Lanczos' iteration from the gradient: the first element of the diagonal is the curvature
    /// along it. Products with the Hessian are differences of gradients.
    pub(super) fn find_curvature(&mut self, steps: usize) {
        let width = self.width;
        let mut current = std::mem::take(&mut self.current);
        let mut last = std::mem::take(&mut self.before);
        last.fill(0.0);
        // The first direction.
        for (lane, own) in self.lanes.iter().enumerate() {
            let random = own.steepness == 0.0 || !own.steepness.is_finite();
            for (index, value) in column(&mut current, width, lane).enumerate() {
                *value = if random {
                    pseudorandom(index, self.layers.len())
                } else {
                    self.gradient[index * width + lane] / own.steepness
                };
            }
            if random {
                // Weights that do not move are in no direction.
                let scales = column(&mut self.scale, width, lane);
                for (value, scale) in column(&mut current, width, lane).zip(scales) {
                    *value = if *scale > 0.0 { *value } else { 0.0 };
                }
                let length = norm(&current, width, lane);
                column(&mut current, width, lane).for_each(|value| *value /= length);
            }
        }
        for step in 0..steps {
            let planes = self
                .place
                .chunks_exact_mut(width)
                .zip(self.start.chunks_exact(width));
            let others = current
                .chunks_exact(width)
                .zip(self.scale.chunks_exact(width));
            for ((place, start), (current, scale)) in planes.zip(others) {
                for lane in 0..width {
                    let length = DIFFERENCE * self.lanes[lane].size;
                    place[lane] = start[lane] + length * scale[lane] * current[lane];
                }
            }
            self.evaluate();
            for (product, gradient) in self
                .direction
                .chunks_exact_mut(width)
                .zip(self.gradient.chunks_exact(width))
            {
                for lane in 0..width {
                    product[lane] =
                        (product[lane] - gradient[lane]) / (DIFFERENCE * self.lanes[lane].size);
                }
            }
            for (lane, own) in self.lanes.iter_mut().enumerate() {
                if own.is_exhausted {
                    continue;
                }
                let along = dot(&self.direction, &current, width, lane);
                own.diagonal[step] = along;
                own.steps = step + 1;
                let beta = if step > 0 { own.beside[step - 1] } else { 0.0 };
                let mut rest = 0.0;
                for index in 0..self.layers.len() {
                    let at = index * width + lane;
                    let value = self.direction[at] - along * current[at] - beta * last[at];
                    last[at] = current[at];
                    self.direction[at] = value;
                    rest += value * value;
                }
                let rest = rest.sqrt();
                let most = own.diagonal[..=step]
                    .iter()
                    .fold(beta, |most: f64, d| most.max(d.abs()));
                // What is left is rounding: the space is exhausted.
                if rest.is_nan() || rest <= 1e-6 * most {
                    own.is_exhausted = true;
                    continue;
                }
                own.beside[step] = rest;
                for index in 0..self.layers.len() {
                    let at = index * width + lane;
                    current[at] = self.direction[at] / rest;
                }
            }
        }
        for own in &mut self.lanes {
            let steps = own.steps.max(1);
            let [lowest, highest] = extremes(&own.diagonal[..steps], &own.beside[..steps - 1]);
            own.largest = highest;
            own.curvature = highest.abs().max(lowest.abs());
            own.is_degenerate = lowest <= 1e-5 * own.curvature;
        }
        (self.current, self.before) = (current, last);
    }
}

/// The smallest and the largest eigenvalue of a symmetric tridiagonal matrix.
fn extremes(diagonal: &[f64], beside: &[f64]) -> [f64; 2] {
    match (diagonal, beside) {
        ([only], _) => [*only; 2],
        ([a, b], [c]) => {
            let (middle, half) = (0.5 * (a + b), 0.5 * (a - b));
            let root = half.hypot(*c);
            [middle - root, middle + root]
        }
        _ => [
            -largest(diagonal, beside, -1.0),
            largest(diagonal, beside, 1.0),
        ],
    }
}

/// The largest eigenvalue of a matrix times a sign, by bisection with Sturm's sequence.
fn largest(diagonal: &[f64], beside: &[f64], sign: f64) -> f64 {
    let around = |index: usize| {
        let left = index.checked_sub(1).and_then(|left| beside.get(left));
        left.map_or(0.0, |b| b.abs()) + beside.get(index).map_or(0.0, |b| b.abs())
    };
    let discs = || {
        diagonal
            .iter()
            .enumerate()
            .map(|(index, d)| (sign * d, around(index)))
    };
    let mut high = discs().fold(f64::NEG_INFINITY, |most, (d, r)| most.max(d + r));
    let mut low = discs().fold(f64::NEG_INFINITY, |most, (d, _)| most.max(d));
    for _ in 0..52 {
        let middle = 0.5 * (low + high);
        // No eigenvalue is above the middle if all pivots of T − middle are negative.
        let mut pivot = 1.0;
        let above = diagonal.iter().enumerate().any(|(index, d)| {
            let b = if index > 0 { beside[index - 1] } else { 0.0 };
            pivot = sign * d - middle - b * b / pivot;
            pivot >= 0.0
        });
        if above {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The matrix with 2 on its diagonal and −1 beside it has the eigenvalues 2 − 2 cos(kπ/(n + 1)).
    #[test]
    fn extreme_eigenvalues_are_those_of_the_second_difference() {
        for count in 1..=STEPS {
            let [lowest, highest] = extremes(&[2.0; STEPS][..count], &[-1.0; STEPS][..count - 1]);
            let angle = std::f64::consts::PI / (count + 1) as f64;
            assert!((lowest - 2.0 + 2.0 * angle.cos()).abs() < 1e-12);
            assert!((highest - 2.0 - 2.0 * angle.cos()).abs() < 1e-12);
        }
    }
}
