//! Networks with one neuron a layer, such as the guide's: their state stays in registers.

use pulp::{bytemuck, Simd};

use crate::kernel::{all_at_most, all_finite, Kernel, Trace};
use crate::{Activation, Data, Loss, Network};

/// `LAYERS` layers of one weight, `R` vector registers for each number: the runs in one
/// register wait for one another in an epoch, those in different registers do not.
pub(crate) struct Chain<'a, S: Simd, const LAYERS: usize, const R: usize> {
    simd: S,
    relu: bool,
    data: &'a Data<'a>,
    weights: [[S::f64s; R]; LAYERS],
    gradients: [[S::f64s; R]; LAYERS],
}

/// What holds for some epochs.
struct Given<S: Simd, const R: usize> {
    rate: [S::f64s; R],
    bound: S::f64s,
    /// x and y of the first row.
    first: [S::f64s; 2],
}

/// What one pass gives.
#[derive(Clone, Copy)]
struct Pass<S: Simd, const LAYERS: usize, const R: usize> {
    loss: [S::f64s; R],
    prediction: [S::f64s; R],
    gradients: [[S::f64s; R]; LAYERS],
}

impl<'a, S: Simd, const LAYERS: usize, const R: usize> Chain<'a, S, LAYERS, R> {
    pub fn fits(network: &Network) -> bool {
        let plain = matches!(
            network.activation(),
            Activation::Identity | Activation::Relu
        );
        let ours = network.loss() == Loss::HalfSquaredError
            && (LAYERS == 1 || plain && network.gain().to_bits() == 1.0_f64.to_bits());
        ours && network.parameters() == LAYERS && network.layers().len() == LAYERS
    }

    pub fn new(simd: S, network: &Network, data: &'a Data<'a>) -> Self {
        let zero = [simd.splat_f64s(0.0); R];
        Self {
            simd,
            relu: network.activation() == Activation::Relu,
            data,
            weights: [zero; LAYERS],
            gradients: [zero; LAYERS],
        }
    }

    /// The same operations in the same order as in [`crate::block`], for one row.
    #[inline(always)]
    fn row<const RELU: bool>(
        &self,
        weights: &[[S::f64s; R]; LAYERS],
        x: S::f64s,
        y: S::f64s,
    ) -> Pass<S, LAYERS, R> {
        let simd = self.simd;
        let [zero, half, one] = [0.0, 0.5, 1.0].map(|value| simd.splat_f64s(value));
        let mut inputs = [[x; R]; LAYERS];
        let mut slopes = [[one; R]; LAYERS];
        let mut prediction = [zero; R];
        for layer in 0..LAYERS {
            for r in 0..R {
                let z = simd.mul_f64s(weights[layer][r], inputs[layer][r]);
                if layer + 1 == LAYERS {
                    prediction[r] = z;
                } else if RELU {
                    let on = simd.greater_than_f64s(z, zero);
                    inputs[layer + 1][r] = simd.select_f64s(on, z, zero);
                    slopes[layer + 1][r] = simd.select_f64s(on, one, zero);
                } else {
                    inputs[layer + 1][r] = z;
                }
            }
        }
        let mut loss = [zero; R];
        let mut delta = [zero; R];
        let mut gradients = [[zero; R]; LAYERS];
        for r in 0..R {
            let error = simd.sub_f64s(y, prediction[r]);
            loss[r] = simd.mul_f64s(half, simd.mul_f64s(error, error));
            delta[r] = simd.neg_f64s(error);
        }
        for layer in (0..LAYERS).rev() {
            for r in 0..R {
                gradients[layer][r] = simd.mul_f64s(delta[r], inputs[layer][r]);
                if layer > 0 {
                    delta[r] = simd.mul_f64s(delta[r], weights[layer][r]);
                    if RELU {
                        // A product, not a selection: the sign of a zero is the guide's.
                        delta[r] = simd.mul_f64s(delta[r], slopes[layer][r]);
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
        weights: &[[S::f64s; R]; LAYERS],
        first: [S::f64s; 2],
    ) -> Pass<S, LAYERS, R> {
        let (simd, data) = (self.simd, self.data);
        let mut sum = self.row::<RELU>(weights, first[0], first[1]);
        if !ONE_ROW {
            for (x, y) in data.x()[1..].iter().zip(&data.y()[1..]) {
                let [x, y] = [*x, *y].map(|value| simd.splat_f64s(value));
                let next = self.row::<RELU>(weights, x, y);
                sum = sum.combine(&next, |a, b| simd.add_f64s(a, b));
            }
            let rows = simd.splat_f64s(data.rows() as f64);
            sum = sum.combine(&sum, |a, _| simd.div_f64s(a, rows));
        }
        sum
    }

    /// One epoch; returns its gradients.
    #[inline(always)]
    fn epoch<const RELU: bool, const ONE_ROW: bool>(
        &self,
        weights: &mut [[S::f64s; R]; LAYERS],
        healthy: &mut S::m64s,
        given: &Given<S, R>,
        epoch: usize,
        trace: &mut Trace,
    ) -> [[S::f64s; R]; LAYERS] {
        let simd = self.simd;
        let pass = self.pass::<RELU, ONE_ROW>(weights, given.first);
        trace.keep(
            epoch,
            [
                bytemuck::cast_slice(&pass.loss),
                bytemuck::cast_slice(&pass.prediction),
                bytemuck::cast_slice(pass.gradients.as_flattened()),
                bytemuck::cast_slice(weights.as_flattened()),
            ],
        );
        for loss in pass.loss {
            *healthy = simd.and_m64s(*healthy, simd.less_than_or_equal_f64s(loss, given.bound));
        }
        for (weights, gradients) in weights.iter_mut().zip(&pass.gradients) {
            for ((weight, gradient), rate) in weights.iter_mut().zip(gradients).zip(&given.rate) {
                *weight = simd.sub_f64s(*weight, simd.mul_f64s(*rate, *gradient));
            }
        }
        pass.gradients
    }

    #[inline(always)]
    fn epochs<const RELU: bool, const ONE_ROW: bool>(
        &mut self,
        given: &Given<S, R>,
        epochs: usize,
        trace: &mut Trace,
    ) -> bool {
        let simd = self.simd;
        let mut weights = self.weights;
        let mut healthy = simd.less_than_or_equal_f64s(given.bound, given.bound);
        for epoch in 0..epochs - 1 {
            self.epoch::<RELU, ONE_ROW>(&mut weights, &mut healthy, given, epoch, trace);
        }
        self.gradients =
            self.epoch::<RELU, ONE_ROW>(&mut weights, &mut healthy, given, epochs - 1, trace);
        self.weights = weights;
        let [zero, one] = [0.0, 1.0].map(|value| simd.splat_f64s(value));
        let ended = [simd.select_f64s(healthy, zero, one)];
        // What is not finite once never is again.
        all_at_most(bytemuck::cast_slice(&ended), 0.0) & all_finite(self.weights())
    }
}

impl<S: Simd, const LAYERS: usize, const R: usize> Pass<S, LAYERS, R> {
    #[inline(always)]
    fn combine(mut self, other: &Self, with: impl Fn(S::f64s, S::f64s) -> S::f64s) -> Self {
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

impl<S: Simd, const LAYERS: usize, const R: usize> Kernel for Chain<'_, S, LAYERS, R> {
    fn width(&self) -> usize {
        R * S::F64_LANES
    }

    fn weights(&self) -> &[f64] {
        bytemuck::cast_slice(self.weights.as_flattened())
    }

    fn weights_mut(&mut self) -> &mut [f64] {
        bytemuck::cast_slice_mut(self.weights.as_flattened_mut())
    }

    fn gradients(&self) -> &[f64] {
        bytemuck::cast_slice(self.gradients.as_flattened())
    }

    #[inline(always)]
    fn advance(
        &mut self,
        learning_rate: &[f64],
        epochs: usize,
        bound: f64,
        trace: &mut Trace,
    ) -> bool {
        let simd = self.simd;
        let mut given = Given {
            rate: [simd.splat_f64s(0.0); R],
            bound: simd.splat_f64s(bound),
            first: [self.data.x()[0], self.data.y()[0]].map(|value| simd.splat_f64s(value)),
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
