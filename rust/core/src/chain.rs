//! Networks with one neuron a layer, such as the guide's: their state stays in registers.

use std::ops::Range;

use pulp::{bytemuck, Simd};

use crate::arithmetic::Arithmetic;
use crate::kernel::{all_at_most, all_finite, Kernel, Trace};
use crate::train::Task;
use crate::{Activation, Data, Loss};

/// `LAYERS` layers of one weight, `R` vector registers for each number: the operations of
/// an epoch wait for one another in a register, and another register's fill the gaps.
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

/// What one pass gives for the runs of a register.
#[derive(Clone, Copy)]
struct Pass<V, const LAYERS: usize> {
    loss: V,
    prediction: V,
    gradients: [V; LAYERS],
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

    /// The same operations as in [`crate::block`], with the same results, for one row.
    #[inline(always)]
    fn row<const RELU: bool>(
        &self,
        weights: [A::Vector<S>; LAYERS],
        [x, y]: [A::Vector<S>; 2],
    ) -> Pass<A::Vector<S>, LAYERS> {
        let simd = self.simd;
        let [zero, half, one] = [0.0, 0.5, 1.0].map(|value| A::splat(simd, value));
        let (mut inputs, mut slopes) = ([x; LAYERS], [one; LAYERS]);
        for layer in 1..LAYERS {
            let z = A::mul(simd, weights[layer - 1], inputs[layer - 1]);
            inputs[layer] = z;
            if RELU {
                let on = A::greater(simd, z, zero);
                inputs[layer] = A::select(simd, on, z, zero);
                slopes[layer] = A::select(simd, on, one, zero);
            }
        }
        let (weight, input) = (weights[LAYERS - 1], inputs[LAYERS - 1]);
        let error = A::mul_sub(simd, weight, input, y);
        let mut delta = A::neg(simd, error);
        let mut gradients = [zero; LAYERS];
        const { assert!(LAYERS <= 2, "a slope only stands before the first layer") };
        for layer in (0..LAYERS).rev() {
            // Products, not selections: the sign of a zero is the guide's. That of the slope,
            // 0 or 1, and the input is exact, and need not wait for the error.
            let factor = if layer + 1 < LAYERS {
                A::mul(simd, slopes[layer + 1], inputs[layer])
            } else {
                inputs[layer]
            };
            gradients[layer] = A::mul(simd, delta, factor);
            delta = A::mul(simd, delta, weights[layer]);
        }
        Pass {
            loss: A::mul(simd, half, A::mul(simd, error, error)),
            prediction: A::mul(simd, weight, input),
            gradients,
        }
    }

    /// The mean over the rows.
    #[inline(always)]
    fn pass<const RELU: bool, const ONE_ROW: bool>(
        &self,
        weights: [A::Vector<S>; LAYERS],
        first: [A::Vector<S>; 2],
    ) -> Pass<A::Vector<S>, LAYERS> {
        let (simd, data) = (self.simd, self.data);
        let mut sum = self.row::<RELU>(weights, first);
        if !ONE_ROW {
            for (x, y) in data.x()[1..].iter().zip(&data.y()[1..]) {
                let row = [*x, *y].map(|value| A::splat(simd, value));
                let next = self.row::<RELU>(weights, row);
                sum = sum.combine(&next, |a, b| A::add(simd, a, b));
            }
            let rows = A::splat(simd, data.rows() as f64);
            sum = sum.combine(&sum, |a, _| A::div(simd, a, rows));
        }
        sum
    }

    /// Some epochs, one register after the other: their operations overlap. Those of the
    /// next epoch could not, as they wait for this one's.
    #[inline(always)]
    fn epochs<const RELU: bool, const ONE_ROW: bool, const TRACED: bool>(
        &mut self,
        given: &Given<S, A, R>,
        epochs: Range<usize>,
        trace: &mut Trace<A::Number>,
    ) -> bool {
        let simd = self.simd;
        let zero = A::splat(simd, 0.0);
        let mut all = self.weights;
        let mut healthy = A::at_most(simd, given.bound, given.bound);
        for epoch in epochs {
            let (mut loss, mut prediction, mut gradients) = ([zero; R], [zero; R], self.gradients);
            if TRACED {
                trace.keep_weights(epoch, bytemuck::cast_slice(all.as_flattened()));
            }
            for r in 0..R {
                let mut weights = all.map(|weights| weights[r]);
                let pass = self.pass::<RELU, ONE_ROW>(weights, given.first);
                healthy = A::and(simd, healthy, A::at_most(simd, pass.loss, given.bound));
                for layer in 0..LAYERS {
                    weights[layer] =
                        A::mul_sub(simd, given.rate[r], pass.gradients[layer], weights[layer]);
                    all[layer][r] = weights[layer];
                    gradients[layer][r] = pass.gradients[layer];
                }
                loss[r] = pass.loss;
                prediction[r] = pass.prediction;
            }
            if TRACED {
                trace.keep(
                    epoch,
                    bytemuck::cast_slice(&loss),
                    bytemuck::cast_slice(&prediction),
                    bytemuck::cast_slice(gradients.as_flattened()),
                );
                self.gradients = gradients;
            }
        }
        self.weights = all;
        let one = A::splat(simd, 1.0);
        let ended = [A::select(simd, healthy, zero, one)];
        let ended = bytemuck::cast_slice::<_, A::Number>(&ended);
        all_at_most(ended, 0.0)
    }

    /// The last epochs are traced, the others are not.
    #[inline(always)]
    fn advance<const RELU: bool, const ONE_ROW: bool>(
        &mut self,
        given: &Given<S, A, R>,
        epochs: usize,
        trace: &mut Trace<A::Number>,
    ) -> bool {
        let untraced = trace.first;
        self.epochs::<RELU, ONE_ROW, false>(given, 0..untraced, trace)
            & self.epochs::<RELU, ONE_ROW, true>(given, untraced..epochs, trace)
            // What is not finite once never is again.
            & all_finite(self.weights())
    }
}

impl<V: Copy, const LAYERS: usize> Pass<V, LAYERS> {
    #[inline(always)]
    fn combine(mut self, other: &Self, with: impl Fn(V, V) -> V) -> Self {
        self.loss = with(self.loss, other.loss);
        self.prediction = with(self.prediction, other.prediction);
        for (mine, others) in self.gradients.iter_mut().zip(other.gradients) {
            *mine = with(*mine, others);
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
            (true, true) => self.advance::<true, true>(&given, epochs, trace),
            (true, false) => self.advance::<true, false>(&given, epochs, trace),
            (false, true) => self.advance::<false, true>(&given, epochs, trace),
            (false, false) => self.advance::<false, false>(&given, epochs, trace),
        }
    }
}
