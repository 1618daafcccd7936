//! Networks with one neuron a layer, such as the guide's: their state stays in registers.

use std::ops::Range;

use pulp::{bytemuck, Simd};

use crate::arithmetic::Arithmetic;
use crate::kernel::{all_at_most, all_finite, Kernel, Trace};
use crate::train::Task;
use crate::{Activation, Data, Loss};

/// `LAYERS` layers of one weight, `R` vector registers for each number: the runs in one
/// register wait for one another in an epoch, those in different registers do not.
pub(crate) struct Chain<'a, S: Simd, A: Arithmetic, const LAYERS: usize, const R: usize> {
    simd: S,
    relu: bool,
    data: &'a Data<'a>,
    weights: [[A::Vector<S>; R]; LAYERS],
    gradients: [[A::Vector<S>; R]; LAYERS],
}

/// What holds for some epochs.
struct Given<S: Simd, A: Arithmetic, const R: usize> {
    rate: [A::Vector<S>; R],
    bound: A::Vector<S>,
    /// x and y of the first row.
    first: [A::Vector<S>; 2],
}

/// What one pass gives.
#[derive(Clone, Copy)]
struct Pass<S: Simd, A: Arithmetic, const LAYERS: usize, const R: usize> {
    loss: [A::Vector<S>; R],
    prediction: [A::Vector<S>; R],
    gradients: [[A::Vector<S>; R]; LAYERS],
}

impl<'a, S: Simd, A: Arithmetic, const LAYERS: usize, const R: usize> Chain<'a, S, A, LAYERS, R> {
    /// Whether it is such a network, trained by nothing but gradient descent.
    pub fn fits(task: &Task) -> bool {
        let network = task.network;
        let plain = matches!(
            network.activation(),
            Activation::Identity | Activation::Relu
        );
        let ours = network.loss() == Loss::HalfSquaredError
            && (LAYERS == 1 || plain && network.gain().to_bits() == 1.0_f64.to_bits());
        let single = network.parameters() == LAYERS && network.layers().len() == LAYERS;
        ours && single && task.groups == 1 && task.settings.is_plain()
    }

    pub fn new(simd: S, task: Task<'a>) -> Self {
        let zero = [A::splat(simd, 0.0); R];
        Self {
            simd,
            relu: task.network.activation() == Activation::Relu,
            data: task.data,
            weights: [zero; LAYERS],
            gradients: [zero; LAYERS],
        }
    }

    /// The same operations in the same order as in [`crate::block`], for one row.
    #[inline(always)]
    fn row<const RELU: bool>(
        &self,
        weights: &[[A::Vector<S>; R]; LAYERS],
        x: A::Vector<S>,
        y: A::Vector<S>,
    ) -> Pass<S, A, LAYERS, R> {
        let simd = self.simd;
        let [zero, half, one] = [0.0, 0.5, 1.0].map(|value| A::splat(simd, value));
        let mut inputs = [[x; R]; LAYERS];
        let mut slopes = [[one; R]; LAYERS];
        let mut prediction = [zero; R];
        for layer in 0..LAYERS {
            for r in 0..R {
                let z = A::mul(simd, weights[layer][r], inputs[layer][r]);
                if layer + 1 == LAYERS {
                    prediction[r] = z;
                } else if RELU {
                    let on = A::greater(simd, z, zero);
                    inputs[layer + 1][r] = A::select(simd, on, z, zero);
                    slopes[layer + 1][r] = A::select(simd, on, one, zero);
                } else {
                    inputs[layer + 1][r] = z;
                }
            }
        }
        let mut loss = [zero; R];
        let mut delta = [zero; R];
        let mut gradients = [[zero; R]; LAYERS];
        for r in 0..R {
            let (weight, input) = (weights[LAYERS - 1][r], inputs[LAYERS - 1][r]);
            let error = A::mul_sub(simd, weight, input, y);
            loss[r] = A::mul(simd, half, A::mul(simd, error, error));
            delta[r] = A::neg(simd, error);
        }
        for layer in (0..LAYERS).rev() {
            for r in 0..R {
                gradients[layer][r] = A::mul(simd, delta[r], inputs[layer][r]);
                if layer > 0 {
                    delta[r] = A::mul(simd, delta[r], weights[layer][r]);
                    if RELU {
                        // A product, not a selection: the sign of a zero is the guide's.
                        delta[r] = A::mul(simd, delta[r], slopes[layer][r]);
                    }
                }
            }
        }
        Pass {
            loss,
            prediction,
            gradients,
        }
    }

    /// The mean over the rows.
    #[inline(always)]
    fn pass<const RELU: bool, const ONE_ROW: bool>(
        &self,
        weights: &[[A::Vector<S>; R]; LAYERS],
        first: [A::Vector<S>; 2],
    ) -> Pass<S, A, LAYERS, R> {
        let (simd, data) = (self.simd, self.data);
        let mut sum = self.row::<RELU>(weights, first[0], first[1]);
        if !ONE_ROW {
            for (x, y) in data.x()[1..].iter().zip(&data.y()[1..]) {
                let [x, y] = [*x, *y].map(|value| A::splat(simd, value));
                let next = self.row::<RELU>(weights, x, y);
                sum = sum.combine(&next, |a, b| A::add(simd, a, b));
            }
            let rows = A::splat(simd, data.rows() as f64);
            sum = sum.combine(&sum, |a, _| A::div(simd, a, rows));
        }
        sum
    }

    /// One epoch; returns its gradients.
    #[inline(always)]
    fn epoch<const RELU: bool, const ONE_ROW: bool>(
        &self,
        weights: &mut [[A::Vector<S>; R]; LAYERS],
        healthy: &mut A::Mask<S>,
        given: &Given<S, A, R>,
        epoch: usize,
        trace: &mut Trace<A::Number>,
    ) -> [[A::Vector<S>; R]; LAYERS] {
        let simd = self.simd;
        let pass = self.pass::<RELU, ONE_ROW>(weights, given.first);
        trace.keep_weights(epoch, bytemuck::cast_slice(weights.as_flattened()));
        trace.keep(
            epoch,
            bytemuck::cast_slice(&pass.loss),
            bytemuck::cast_slice(&pass.prediction),
            bytemuck::cast_slice(pass.gradients.as_flattened()),
        );
        for loss in pass.loss {
            *healthy = A::and(simd, *healthy, A::at_most(simd, loss, given.bound));
        }
        for (weights, gradients) in weights.iter_mut().zip(&pass.gradients) {
            for ((weight, gradient), rate) in weights.iter_mut().zip(gradients).zip(&given.rate) {
                *weight = A::mul_sub(simd, *rate, *gradient, *weight);
            }
        }
        pass.gradients
    }

    #[inline(always)]
    fn epochs<const RELU: bool, const ONE_ROW: bool>(
        &mut self,
        given: &Given<S, A, R>,
        epochs: usize,
        trace: &mut Trace<A::Number>,
    ) -> bool {
        let simd = self.simd;
        let mut weights = self.weights;
        let mut healthy = A::at_most(simd, given.bound, given.bound);
        for epoch in 0..epochs - 1 {
            self.epoch::<RELU, ONE_ROW>(&mut weights, &mut healthy, given, epoch, trace);
        }
        self.gradients =
            self.epoch::<RELU, ONE_ROW>(&mut weights, &mut healthy, given, epochs - 1, trace);
        self.weights = weights;
        let [zero, one] = [0.0, 1.0].map(|value| A::splat(simd, value));
        let ended = [A::select(simd, healthy, zero, one)];
        let ended = bytemuck::cast_slice::<_, A::Number>(&ended);
        // What is not finite once never is again.
        all_at_most(ended, 0.0) & all_finite(self.weights())
    }
}

impl<S: Simd, A: Arithmetic, const LAYERS: usize, const R: usize> Pass<S, A, LAYERS, R> {
    #[inline(always)]
    fn combine(
        mut self,
        other: &Self,
        with: impl Fn(A::Vector<S>, A::Vector<S>) -> A::Vector<S>,
    ) -> Self {
        for r in 0..R {
            self.loss[r] = with(self.loss[r], other.loss[r]);
            self.prediction[r] = with(self.prediction[r], other.prediction[r]);
            for layer in 0..LAYERS {
                self.gradients[layer][r] =
                    with(self.gradients[layer][r], other.gradients[layer][r]);
            }
        }
        self
    }
}

impl<S: Simd, A: Arithmetic, const LAYERS: usize, const R: usize> Kernel
    for Chain<'_, S, A, LAYERS, R>
{
    type Number = A::Number;

    fn width(&self) -> usize {
        R * A::lanes::<S>()
    }

    fn weights(&self) -> &[A::Number] {
        bytemuck::cast_slice(self.weights.as_flattened())
    }

    fn gradients(&self) -> &[A::Number] {
        bytemuck::cast_slice(self.gradients.as_flattened())
    }

    fn state(&mut self) -> [&mut [A::Number]; 2] {
        let weights = self.weights.as_flattened_mut();
        [bytemuck::cast_slice_mut(weights), &mut []]
    }

    #[inline(always)]
    fn advance(
        &mut self,
        learning_rate: &[A::Number],
        epochs: Range<usize>,
        bound: f64,
        trace: &mut Trace<A::Number>,
    ) -> bool {
        let simd = self.simd;
        let epochs = epochs.len();
        let mut given = Given::<S, A, R> {
            rate: [A::splat(simd, 0.0); R],
            bound: A::splat(simd, bound),
            first: [self.data.x()[0], self.data.y()[0]].map(|value| A::splat(simd, value)),
        };
        bytemuck::cast_slice_mut(&mut given.rate).copy_from_slice(learning_rate);
        match (self.relu, self.data.rows() == 1) {
            (true, true) => self.epochs::<true, true>(&given, epochs, trace),
            (true, false) => self.epochs::<true, false>(&given, epochs, trace),
            (false, true) => self.epochs::<false, true>(&given, epochs, trace),
            (false, false) => self.epochs::<false, false>(&given, epochs, trace),
        }
    }
}
