//! What a run that hardly moves rests on: a minimum that attracts it, a saddle, a plateau.
//!
//! All is computed in double precision from exact gradients over all rows, for as many runs
//! side by side as the kernel has lanes. J is the loss, plus the share of the weight decay; z
//! are the weights in units in which all layers have the same learning rate, so that a step of
//! gradient descent is z ← z − lr·∇J whatever the rates of its layers.

use self::curvature::STEPS;
use crate::kernel::{kernel, Kernel, Trace};
use crate::task::Task;
use crate::{Hyperparameters, Optimizer, Outcome, PerQuantity, Quantity, Stall};

mod curvature;
mod descent;

/// A run is close to a stationary point if no more than this share of the loss lies between them.
const CLOSE: f64 = 1e-6;
/// The length of a nudge, relative to the weights.
const NUDGE: f64 = 1e-2;
/// The same for weights that are 0, relative to those that make z of size 1: there the loss may be
/// flat up to a power of them that a small nudge would not show.
const FROM_ZERO: f64 = 2.0;
/// A weight is 0 if it is no larger than this, on the same scale.
const ZERO: f64 = 1e-3;
/// A loss below this share of the highest one has nothing worth finding below it.
const NOTHING: f64 = 1e-10;

/// One run that is asked about.
pub(crate) struct Question<'q> {
    /// Shape (parameters,).
    pub weights: &'q [f64],
    /// The effective learning rates of its last epoch: one, or one for each layer.
    pub rates: &'q [f64],
    pub own: Hyperparameters<f64>,
    /// The largest weight that moves, at the end or the beginning.
    pub size: f64,
    /// Whether the last epoch moved it further than the tolerance.
    pub moves: bool,
    /// The highest loss that it had.
    pub highest: f64,
    /// How far from its minimum it may be, relative to `size`.
    pub tolerance: f64,
}

/// The kernel that computes gradients, and what belongs to the runs in its lanes.
pub(crate) struct Rest<'a> {
    kernel: Box<dyn Kernel<f64> + 'a>,
    width: usize,
    trace: Trace<f64>,
    task: Task<'a>,
    plain: Task<'a>,
    /// Whether the curvature tells if a fixed point of the updates attracts.
    is_descent: bool,
    /// Whether decay is a part of what is minimized, as it is but with Adam.
    decays: bool,
    /// The layer of each parameter.
    layers: Vec<usize>,
    /// The largest input, from which the size of weights follows that are all 0.
    largest_input: f64,
    /// What runs have of their own in `plain`, with learning rates of 0: shape (numbers, width).
    none: Vec<f64>,
    /// Shape (parameters, width): where the runs rest, ∇J there, a direction and the one
    /// before it, and a place that is looked at.
    start: Vec<f64>,
    gradient: Vec<f64>,
    direction: Vec<f64>,
    current: Vec<f64>,
    before: Vec<f64>,
    place: Vec<f64>,
    /// dw/dz of each parameter, shape (parameters, width).
    scale: Vec<f64>,
    lanes: Vec<Lane>,
}

/// What is known of a run.
#[derive(Clone, Copy, Default)]
struct Lane {
    /// J where it rests, and where it was looked at last.
    start: f64,
    here: f64,
    size: f64,
    decay: f64,
    /// |∇J|.
    steepness: f64,
    /// The matrix of Lanczos' iteration: its diagonal, and what is beside it.
    diagonal: [f64; STEPS],
    beside: [f64; STEPS],
    steps: usize,
    is_exhausted: bool,
    /// The largest eigenvalue, and the largest size of one.
    largest: f64,
    curvature: f64,
    /// Whether it is not positive in all directions that were seen.
    is_degenerate: bool,
    /// The size of weights that make z of size 1.
    natural: f64,
    nudge: f64,
    /// Of the descent: its step, and J before the last one.
    step: f64,
    last: f64,
    lowest: f64,
}

impl<'a> Rest<'a> {
    /// `plain` is the task with one update an epoch by gradient descent, without decay.
    pub fn new(plain: Task<'a>, task: Task<'a>) -> Self {
        // Few runs at a time are asked about: a single register of them.
        let mut kernel = kernel::<f64>(plain, 1);
        let (width, values) = (kernel.width(), kernel.weights().len());
        let planes = PerQuantity::new(|quantity| match quantity {
            Quantity::Loss => width,
            _ => 0,
        });
        let settings = task.settings;
        let is_adam = matches!(settings.optimizer, Optimizer::Adam { .. });
        let rows = task.data.rows();
        let batches = settings.batches.is_some_and(|batches| batches.size < rows);
        kernel.state()[0].fill(0.0);
        Self {
            trace: Trace::new(1, planes),
            is_descent: !is_adam && !batches,
            decays: !is_adam && task.group.decays,
            layers: task.layers(),
            largest_input: task.data.x().iter().fold(0.0, |most, x| x.abs().max(most)),
            none: vec![0.0; plain.own() * width],
            start: vec![0.0; values],
            gradient: vec![0.0; values],
            direction: vec![0.0; values],
            current: vec![0.0; values],
            before: vec![0.0; values],
            place: vec![0.0; values],
            scale: vec![1.0; values],
            lanes: vec![Lane::default(); width],
            kernel,
            width,
            task,
            plain,
        }
    }

    /// Runs that can be asked about together.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Tells what each run rests on; unresolved if on nothing.
    pub fn ask(&mut self, questions: &[Question], answer: impl FnMut(usize, Outcome, Stall)) {
        self.load(questions);
        self.evaluate();
        let width = self.width;
        self.gradient.copy_from_slice(&self.direction);
        for (lane, own) in self.lanes.iter_mut().enumerate() {
            own.start = own.here;
            own.steepness = norm(&self.gradient, width, lane);
        }
        let steps = STEPS.min(self.layers.len());
        self.find_curvature(steps);
        let stationary = |(own, question): (&Lane, &Question)| {
            is_close(own) || own.is_near(question.tolerance, question.moves)
        };
        let mut asked = self.lanes.iter().zip(questions);
        if asked.any(|(own, q)| stationary((own, q)) && own.start > NOTHING * q.highest) {
            self.descend();
        } else {
            for own in &mut self.lanes {
                own.lowest = own.start;
            }
        }
        self.answer(questions, answer);
    }

    /// The largest |∂J/∂w| of a run over all rows, of weights that move.
    pub fn steepest(&mut self, weights: &[f64], rates: &[f64], own: Hyperparameters<f64>) -> f64 {
        for lane in 0..self.width {
            self.enter(lane, own);
        }
        let scales = self.scale.chunks_exact_mut(self.width);
        for (scale, layer) in scales.zip(&self.layers) {
            let rate = rates[(*layer).min(rates.len() - 1)];
            scale.fill(if rate > 0.0 { 1.0 } else { 0.0 });
        }
        for (plane, weight) in self.place.chunks_exact_mut(self.width).zip(weights) {
            plane.fill(*weight);
        }
        self.evaluate();
        let own = self.direction.iter().step_by(self.width);
        own.fold(0.0, |most, value| value.abs().max(most))
    }

    fn answer(&self, questions: &[Question], mut answer: impl FnMut(usize, Outcome, Stall)) {
        for (index, (own, question)) in self.lanes.iter().zip(questions).enumerate() {
            let near = own.is_near(question.tolerance, question.moves);
            let close = is_close(own);
            let unknown = !own.start.is_finite() || !own.steepness.is_finite();
            // Going down to the minimum nearby wins no more than this.
            let approach =
                50.0 * own.steepness * own.steepness / own.curvature.max(f64::MIN_POSITIVE);
            let margin = 1e-12 * own.start + approach;
            let nothing = own.start <= NOTHING * question.highest;
            let falls = !nothing && own.lowest < own.start - margin;
            // What is won by a nudge there is won along the gradient, not by curvature.
            let nudge = if own.size <= ZERO * own.natural {
                own.nudge_of_zeros()
            } else {
                own.nudge
            };
            let is_slope = own.steepness >= own.curvature * nudge && own.steepness > 0.0;
            let is_flat = own.curvature * own.nudge * own.nudge <= 1e-10 * own.start;
            let rate = question
                .rates
                .iter()
                .fold(0.0, |most: f64, rate| most.max(*rate));
            let attracts = !self.is_descent || rate * own.largest <= self.limit(question.own);
            let (outcome, stall) = match () {
                () if unknown || !(near || close) => (Outcome::Unresolved, Stall::None),
                () if near && !falls && own.largest > 0.0 && attracts => {
                    (Outcome::Converged, Stall::None)
                }
                // Whoever has not met it exactly is on the way past it.
                () if near && !falls && own.largest > 0.0 && own.steepness > 0.0 => {
                    (Outcome::Unresolved, Stall::None)
                }
                () if near && !falls && own.largest > 0.0 => (Outcome::Stalled, Stall::Repelling),
                () if nothing && near => (Outcome::Converged, Stall::None),
                () if nothing => (Outcome::Unresolved, Stall::None),
                () if is_slope => (Outcome::Stalled, Stall::Plateau),
                () if falls => (Outcome::Stalled, Stall::Saddle),
                () if is_flat => (Outcome::Stalled, Stall::Plateau),
                () => (Outcome::Unresolved, Stall::None),
            };
            answer(index, outcome, stall);
        }
    }

    /// The largest lr·λ at which a minimum of curvature λ attracts.
    fn limit(&self, own: Hyperparameters<f64>) -> f64 {
        let limit = match own.of_optimizer(self.task.settings.optimizer) {
            Optimizer::GradientDescent | Optimizer::Adam { .. } => 2.0,
            Optimizer::Momentum { momentum } => 2.0 * (1.0 + momentum),
            Optimizer::Nesterov { momentum } => 2.0 * (1.0 + momentum) / (1.0 + 2.0 * momentum),
        };
        limit * (1.0 + 1e-5)
    }

    /// Gives a lane the hyperparameters of its run.
    fn enter(&mut self, lane: usize, own: Hyperparameters<f64>) {
        self.lanes[lane].decay = if self.decays { own.weight_decay } else { 0.0 };
        for (column, value) in self.plain.columns.zip(own).into_array() {
            if let Some(column) = column {
                self.none[column * self.width + lane] = value;
            }
        }
    }

    /// Puts runs into lanes; what is left over repeats the last one.
    fn load(&mut self, questions: &[Question]) {
        let width = self.width;
        for lane in 0..width {
            let question = &questions[lane.min(questions.len() - 1)];
            let largest = question
                .rates
                .iter()
                .fold(0.0, |most: f64, rate| most.max(*rate));
            let planes = self.start.chunks_exact_mut(width);
            for (index, (start, scale)) in
                planes.zip(self.scale.chunks_exact_mut(width)).enumerate()
            {
                start[lane] = question.weights[index];
                let layer = self.layers[index].min(question.rates.len() - 1);
                scale[lane] = (question.rates[layer] / largest).sqrt();
            }
            let size = match question.size {
                0.0 => 1.0 / self.largest_input.max(f64::MIN_POSITIVE),
                size => size,
            };
            // Weights of this size make z of size 1.
            let natural = 1.0 / self.largest_input.max(f64::MIN_POSITIVE);
            self.lanes[lane] = Lane {
                size,
                natural: if self.largest_input > 0.0 {
                    natural
                } else {
                    0.0
                },
                nudge: NUDGE * size,
                ..Lane::default()
            };
            self.enter(lane, question.own);
        }
        self.place.copy_from_slice(&self.start);
    }

    /// Computes J and ∇J, in units of z, at the places.
    fn evaluate(&mut self) {
        let width = self.width;
        self.kernel.state()[0].copy_from_slice(&self.place);
        self.trace.first = 0;
        self.kernel
            .advance(&self.none, 0..1, f64::INFINITY, &mut self.trace);
        for (own, loss) in self.lanes.iter_mut().zip(self.trace.loss()) {
            own.here = *loss;
        }
        let found = self.kernel.gradients().chunks_exact(width);
        let planes = self
            .place
            .chunks_exact(width)
            .zip(self.scale.chunks_exact(width));
        let out = self.direction.chunks_exact_mut(width);
        for ((out, found), (place, scale)) in out.zip(found).zip(planes) {
            let values = found.iter().zip(place).zip(scale);
            for ((out, own), ((found, place), scale)) in out.iter_mut().zip(&self.lanes).zip(values)
            {
                *out = (found + own.decay * place) * scale;
            }
            if self.decays {
                for (own, place) in self.lanes.iter_mut().zip(place) {
                    own.here += 0.5 * own.decay * place * place;
                }
            }
        }
    }
}

impl Lane {
    /// The length of a nudge of weights that are 0.
    fn nudge_of_zeros(&self) -> f64 {
        if self.is_degenerate {
            FROM_ZERO * self.natural
        } else {
            0.0
        }
    }

    /// Whether the minimum is no further than the tolerance: the distance that Newton's method
    /// would go along the gradient.
    fn is_near(&self, tolerance: f64, moves: bool) -> bool {
        let along = self.diagonal[0];
        let distance = if self.steepness == 0.0 {
            0.0
        } else {
            self.steepness / along
        };
        !moves && (self.steepness == 0.0 || along > 0.0) && distance <= tolerance * self.size
    }
}

/// Whether no more than a small share of the loss lies between a run and a stationary point.
fn is_close(own: &Lane) -> bool {
    own.steepness * own.steepness <= CLOSE * own.curvature * own.start
}

fn column(planes: &mut [f64], width: usize, lane: usize) -> impl Iterator<Item = &mut f64> {
    planes.iter_mut().skip(lane).step_by(width)
}

fn dot(a: &[f64], b: &[f64], width: usize, lane: usize) -> f64 {
    let pairs = a.iter().zip(b).skip(lane).step_by(width);
    pairs.map(|(a, b)| a * b).sum()
}

/// The length of a vector, whose squares may be too small for a number.
fn norm(planes: &[f64], width: usize, lane: usize) -> f64 {
    let values = || planes.iter().skip(lane).step_by(width);
    let most = values().fold(0.0, |most: f64, value| value.abs().max(most));
    let unit = if most > 0.0 { most } else { 1.0 };
    let sum: f64 = values().map(|value| (value / unit).powi(2)).sum();
    unit * sum.sqrt()
}

/// The elements of a direction of length 1 that no problem is made for.
pub(crate) fn pseudorandom(index: usize, count: usize) -> f64 {
    // The golden ratio's multiples are evenly spread.
    let spread = ((index + 1) as f64 * 0.618_033_988_749_894_9).fract();
    let sign = if index % 3 == 1 { -1.0 } else { 1.0 };
    sign * (0.5 + spread) / (count as f64 * 1.083_333).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_have_a_length_of_about_one() {
        for count in 1..100 {
            let length: f64 = (0..count).map(|i| pseudorandom(i, count).powi(2)).sum();
            assert!((0.2..2.2).contains(&length), "{count}: {length}");
        }
    }
}
