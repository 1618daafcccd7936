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

pub fn outputs(network: &Network, weights: &[f64], x: &[f64]) -> Vec<Vec<f64>> {
    let layers = matrices(network, weights);
    let mut activations = vec![x.to_vec()];
    for (index, layer) in layers.iter().enumerate() {
        let input = activations.last().unwrap();
        let rectify = network.activation() == Activation::Relu && index + 1 < layers.len();
        let output = layer
            .iter()
            .map(|row| {
                let z = sum(row.iter().zip(input).map(|(w, a)| w * a));
                if !rectify || z > 0.0 {
                    z
                } else {
                    0.0
                }
            })
            .collect();
        activations.push(output);
    }
    activations
}

pub fn pass(network: &Network, weights: &[f64], x: &[f64], y: &[f64]) -> Pass {
    let layers = matrices(network, weights);
    let mut losses = Vec::new();
    let mut predictions = Vec::new();
    let mut gradients: Vec<Vec<f64>> = Vec::new();
    for (x, y) in x.chunks(network.inputs()).zip(y.chunks(network.outputs())) {
        let activations = outputs(network, weights, x);
        let predicted = activations.last().unwrap();
        predictions.extend(predicted);
        losses.extend(
            y.iter()
                .zip(predicted)
                .map(|(y, p)| 0.5 * ((y - p) * (y - p))),
        );
        let mut delta: Vec<f64> = y.iter().zip(predicted).map(|(y, p)| -(y - p)).collect();
        let mut reversed: Vec<Vec<f64>> = Vec::new();
        for (index, layer) in layers.iter().enumerate().rev() {
            let input = &activations[index];
            reversed.push(
                delta
                    .iter()
                    .flat_map(|d| input.iter().map(move |a| d * a))
                    .collect(),
            );
            delta = (0..input.len())
                .map(|i| {
                    let upstream = sum(delta.iter().zip(layer).map(|(d, row)| d * row[i]));
                    match network.activation() {
                        Activation::Relu => upstream * if input[i] > 0.0 { 1.0 } else { 0.0 },
                        Activation::Identity => upstream,
                    }
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
