//! The same training for one run, one number at a time, as one would write it on paper.
use backprop_core::{Activation, Loss, Network};

pub struct Pass {
    pub loss: f64,
    pub prediction: f64,
    pub gradients: Vec<f64>,
}

type Matrix = Vec<Vec<f64>>;

/// The matrix and the biases of every layer.
fn layers(network: &Network, weights: &[f64]) -> Vec<(Matrix, Vec<f64>)> {
    let mut rest = weights.iter().copied();
    network
        .sizes()
        .windows(2)
        .map(|size| {
            let matrix = (0..size[1])
                .map(|_| rest.by_ref().take(size[0]).collect())
                .collect();
            let biases = if network.bias() { size[1] } else { 0 };
            (matrix, rest.by_ref().take(biases).collect())
        })
        .collect()
}

fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    terms.reduce(|sum, term| sum + term).unwrap()
}

/// φ(gain·z) and its derivative, with the functions of the standard library.
fn activate(network: &Network, z: f64) -> (f64, f64) {
    let (value, slope) = function(network.activation(), network, network.gain() * z);
    (value, network.gain() * slope)
}

/// φ(z) and its derivative.
fn function(activation: Activation, network: &Network, z: f64) -> (f64, f64) {
    let logistic = |z: f64| 1.0 / (1.0 + (-z).exp());
    match activation {
        Activation::Identity => (z, 1.0),
        Activation::Relu => (
            if z > 0.0 { z } else { 0.0 },
            if z > 0.0 { 1.0 } else { 0.0 },
        ),
        Activation::LeakyRelu if z > 0.0 => (z, 1.0),
        Activation::LeakyRelu => (network.negative_slope() * z, network.negative_slope()),
        Activation::Tanh => (z.tanh(), 1.0 - z.tanh() * z.tanh()),
        Activation::Sigmoid => (logistic(z), logistic(z) * logistic(-z)),
        Activation::Softplus => (z.max(0.0) + (-z.abs()).exp().ln_1p(), logistic(z)),
        Activation::Gelu => {
            let normal = 0.5 * (1.0 + libm::erf(z / 2.0_f64.sqrt()));
            let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            (z * normal, normal + z * density)
        }
    }
}

/// The weighted sums of every layer, the inputs first.
fn sums(network: &Network, weights: &[f64], x: &[f64]) -> Vec<Vec<f64>> {
    let mut sums = vec![x.to_vec()];
    for (matrix, biases) in layers(network, weights) {
        let input = activations(network, &sums, sums.len() - 1);
        let dot = |row: &Vec<f64>| sum(row.iter().zip(&input).map(|(w, a)| w * a));
        let mut z: Vec<f64> = matrix.iter().map(dot).collect();
        for (z, bias) in z.iter_mut().zip(&biases) {
            *z += bias;
        }
        sums.push(z);
    }
    sums
}

/// What a layer hands on.
fn activations(network: &Network, sums: &[Vec<f64>], layer: usize) -> Vec<f64> {
    let hidden = layer > 0 && layer + 1 < network.sizes().len();
    let value = |z: &f64| if hidden { activate(network, *z).0 } else { *z };
    sums[layer].iter().map(value).collect()
}

pub fn outputs(network: &Network, weights: &[f64], x: &[f64]) -> Vec<f64> {
    let z = sums(network, weights, x).pop().unwrap();
    criterion(network, &z, &vec![0.0; z.len()]).prediction
}

struct Criterion {
    prediction: Vec<f64>,
    loss: f64,
    delta: Vec<f64>,
}

/// The loss of one row as its definition says it, and its derivative by z.
fn criterion(network: &Network, z: &[f64], y: &[f64]) -> Criterion {
    if network.output() != Activation::Identity && !network.loss().is_cross_entropy() {
        let points: Vec<_> = z
            .iter()
            .map(|z| function(network.output(), network, *z))
            .collect();
        let values: Vec<f64> = points.iter().map(|point| point.0).collect();
        let plain = network.clone().with_output(Activation::Identity).unwrap();
        let mut found = criterion(&plain, &values, y);
        for (delta, point) in found.delta.iter_mut().zip(points) {
            *delta *= point.1;
        }
        return found;
    }
    let count = z.len() as f64;
    let pairs = |p: &[f64], f: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
        y.iter().zip(p).map(|(y, p)| f(*y, *p)).collect()
    };
    let total = |values: Vec<f64>| sum(values.into_iter());
    match network.loss() {
        Loss::HalfSquaredError => Criterion {
            prediction: z.to_vec(),
            loss: total(pairs(z, &|y, p| 0.5 * ((y - p) * (y - p)))),
            delta: pairs(z, &|y, p| -(y - p)),
        },
        Loss::Mse => Criterion {
            prediction: z.to_vec(),
            loss: total(pairs(z, &|y, p| (y - p) * (y - p))) / count,
            delta: pairs(z, &|y, p| 2.0 * (p - y) / count),
        },
        Loss::BinaryCrossEntropy => {
            let p: Vec<f64> = z.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
            // ln(1 − σ(z)) = ln σ(−z): 1 − σ would lose the digits of a confident output.
            let log = |z: f64| -(-z).exp().ln_1p();
            Criterion {
                loss: total(pairs(z, &|y, z| -y * log(z) - (1.0 - y) * log(-z))) / count,
                delta: pairs(&p, &|y, p| (p - y) / count),
                prediction: p,
            }
        }
        Loss::SoftmaxCrossEntropy => {
            let mass = sum(z.iter().map(|z| z.exp()));
            let p: Vec<f64> = z.iter().map(|z| z.exp() / mass).collect();
            let targets = sum(y.iter().copied());
            Criterion {
                loss: total(pairs(&p, &|y, p| -y * p.ln())),
                delta: pairs(&p, &|y, p| p * targets - y),
                prediction: p,
            }
        }
    }
}

pub fn pass(network: &Network, weights: &[f64], x: &[f64], y: &[f64]) -> Pass {
    let layers = layers(network, weights);
    let mut losses = Vec::new();
    let mut predictions = Vec::new();
    let mut gradients: Vec<Vec<f64>> = Vec::new();
    for (x, y) in x.chunks(network.inputs()).zip(y.chunks(network.outputs())) {
        let sums = sums(network, weights, x);
        let Criterion {
            prediction,
            loss,
            mut delta,
        } = criterion(network, sums.last().unwrap(), y);
        predictions.extend(prediction);
        losses.push(loss);
        let mut reversed: Vec<Vec<f64>> = Vec::new();
        for (index, (layer, biases)) in layers.iter().enumerate().rev() {
            let input = activations(network, &sums, index);
            let outer = delta.iter().flat_map(|d| input.iter().map(move |a| d * a));
            let by_bias = delta.iter().take(biases.len()).copied();
            reversed.push(outer.chain(by_bias).collect());
            delta = (0..input.len())
                .map(|i| {
                    let upstream = sum(delta.iter().zip(layer).map(|(d, row)| d * row[i]));
                    upstream * activate(network, sums[index][i]).1
                })
                .collect();
        }
        gradients.push(reversed.into_iter().rev().flatten().collect());
    }
    let rows = gradients.len() as f64;
    let mean = |values: Vec<f64>, count: f64| sum(values.into_iter()) / count;
    Pass {
        loss: mean(losses, rows),
        prediction: mean(predictions.clone(), predictions.len() as f64),
        gradients: (0..weights.len())
            .map(|index| mean(gradients.iter().map(|row| row[index]).collect(), rows))
            .collect(),
    }
}

pub fn update(weights: &mut [f64], gradients: &[f64], learning_rate: f64) {
    for (weight, gradient) in weights.iter_mut().zip(gradients) {
        *weight -= learning_rate * gradient;
    }
}
