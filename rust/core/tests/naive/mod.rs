//! The same training for one run, one number at a time, as one would write it on paper.
use backprop_core::{Activation, Network};

pub struct Pass {
    pub loss: f64,
    pub prediction: f64,
    pub gradients: Vec<f64>,
}

type Matrix = Vec<Vec<f64>>;

fn matrices(network: &Network, weights: &[f64]) -> Vec<Matrix> {
    let mut rest = weights.iter().copied();
    network
        .sizes()
        .windows(2)
        .map(|size| {
            (0..size[1])
                .map(|_| rest.by_ref().take(size[0]).collect())
                .collect()
        })
        .collect()
}

fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    terms.reduce(|sum, term| sum + term).unwrap()
}

/// φ(gain·z) and its derivative, with the functions of the standard library.
fn activate(network: &Network, z: f64) -> (f64, f64) {
    let gain = network.gain();
    let z = gain * z;
    let logistic = |z: f64| 1.0 / (1.0 + (-z).exp());
    let (value, slope) = match network.activation() {
        Activation::Identity => (z, 1.0),
        Activation::Relu => (
            if z > 0.0 { z } else { 0.0 },
            if z > 0.0 { 1.0 } else { 0.0 },
        ),
        Activation::LeakyRelu if z > 0.0 => (z, 1.0),
        Activation::LeakyRelu => (network.slope() * z, network.slope()),
        Activation::Tanh => (z.tanh(), 1.0 - z.tanh() * z.tanh()),
        Activation::Sigmoid => (logistic(z), logistic(z) * logistic(-z)),
        Activation::Softplus => (z.max(0.0) + (-z.abs()).exp().ln_1p(), logistic(z)),
        Activation::Gelu => {
            let normal = 0.5 * (1.0 + libm::erf(z / 2.0_f64.sqrt()));
            let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            (z * normal, normal + z * density)
        }
    };
    (value, gain * slope)
}

/// The weighted sums of every layer, the inputs first.
fn sums(network: &Network, weights: &[f64], x: &[f64]) -> Vec<Vec<f64>> {
    let mut sums = vec![x.to_vec()];
    for layer in matrices(network, weights) {
        let input = activations(network, &sums, sums.len() - 1);
        let dot = |row: &Vec<f64>| sum(row.iter().zip(&input).map(|(w, a)| w * a));
        sums.push(layer.iter().map(dot).collect());
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
    sums(network, weights, x).pop().unwrap()
}

pub fn pass(network: &Network, weights: &[f64], x: &[f64], y: &[f64]) -> Pass {
    let layers = matrices(network, weights);
    let mut losses = Vec::new();
    let mut predictions = Vec::new();
    let mut gradients: Vec<Vec<f64>> = Vec::new();
    for (x, y) in x.chunks(network.inputs()).zip(y.chunks(network.outputs())) {
        let sums = sums(network, weights, x);
        let predicted = sums.last().unwrap();
        predictions.extend(predicted);
        losses.extend(
            y.iter()
                .zip(predicted)
                .map(|(y, p)| 0.5 * ((y - p) * (y - p))),
        );
        let mut delta: Vec<f64> = y.iter().zip(predicted).map(|(y, p)| -(y - p)).collect();
        let mut reversed: Vec<Vec<f64>> = Vec::new();
        for (index, layer) in layers.iter().enumerate().rev() {
            let input = activations(network, &sums, index);
            reversed.push(
                delta
                    .iter()
                    .flat_map(|d| input.iter().map(move |a| d * a))
                    .collect(),
            );
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
