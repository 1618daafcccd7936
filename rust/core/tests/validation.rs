//! Rows of validation: what is recorded of them is what a pass says of the recorded weights, and
//! early stopping ends each run where a plain loop over its losses does.
use backprop_core::{
    gradients, predict, train, Activation, Batches, Data, Dtype, EarlyStopping, Loss, Machine,
    Network, Outcome, Progress, Quantity, Record, Settings, Start, Training,
};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Case {
    network: Network,
    rows: [Vec<f64>; 2],
    aside: [Vec<f64>; 2],
    weights: Vec<f64>,
    learning_rate: Vec<f64>,
    settings: Settings,
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = prop_oneof![Just(vec![1, 1, 1]), Just(vec![1, 1]), vec(1..4_usize, 2..4)];
    let kind = (
        proptest::sample::select(&[Activation::Relu, Activation::Tanh, Activation::Identity][..]),
        proptest::sample::select(&Loss::ALL[..]),
        proptest::sample::select(&[Dtype::Float64, Dtype::Float32][..]),
        any::<bool>(),
    );
    let length = (
        1..12_usize,
        1..20_usize,
        1..40_usize,
        0..60_usize,
        0..5_usize,
    );
    (sizes, kind, length).prop_flat_map(|(sizes, kind, length)| {
        let (activation, loss, dtype, batches) = kind;
        let (rows, aside, runs, epochs, record_every) = length;
        let network = Network::new(&sizes, activation).unwrap();
        let network = network.with_loss(loss).with_dtype(dtype);
        let number = -2.0..2.0_f64;
        let (inputs, outputs) = (network.inputs(), network.outputs());
        let settings = Settings {
            epochs,
            record_every,
            batches: batches.then_some(Batches { size: 2, seed: 1 }),
            record_validation: true,
            divergence_bound: 50.0,
            ..Settings::default()
        };
        let data = (
            vec(number.clone(), rows * inputs),
            vec(number.clone(), rows * outputs),
            vec(number.clone(), aside * inputs),
            vec(number.clone(), aside * outputs),
        );
        let start = (
            vec(number, runs * network.parameters()),
            // Some runs diverge.
            vec(prop_oneof![4 => 1e-3..0.5_f64, 1 => 0.5..4.0_f64], runs),
        );
        (data, start).prop_map(move |((x, y, aside_x, aside_y), start)| Case {
            rows: [x, targets(&network, y)],
            aside: [aside_x, targets(&network, aside_y)],
            network: network.clone(),
            weights: start.0,
            learning_rate: start.1,
            settings,
        })
    })
}

/// A class for each row where the loss is a cross-entropy.
fn targets(network: &Network, mut y: Vec<f64>) -> Vec<f64> {
    if network.loss().is_cross_entropy() {
        for row in y.chunks_mut(network.outputs()) {
            let count = row.len();
            let class = usize::from(row[0] > 0.0) * (count - 1);
            let one = if count == 1 && row[0] <= 0.0 && network.loss() == Loss::BinaryCrossEntropy {
                0.0
            } else {
                1.0
            };
            row.fill(0.0);
            row[class] = one;
        }
    }
    y
}

impl Case {
    fn train(&self, settings: Settings) -> Training {
        let aside = Data::new(&self.network, &self.aside[0], &self.aside[1]).unwrap();
        let data = Data::new(&self.network, &self.rows[0], &self.rows[1]).unwrap();
        let start = Start {
            weights: &self.weights,
            learning_rate: &self.learning_rate,
            ..Start::default()
        };
        let data = data.with_validation(&aside);
        train(
            &self.network,
            &data,
            &start,
            &settings,
            &Progress::default(),
        )
        .unwrap()
    }

    /// The losses and the accuracies on the rows of validation, with many weights at once.
    fn looks(&self, weights: &[f64]) -> [Vec<f64>; 2] {
        let ([x, y], network) = (&self.aside, &self.network);
        let data = Data::new(network, x, y).unwrap();
        // Where a run has ended there are none.
        let there: Vec<f64> = weights
            .iter()
            .map(|w| if w.is_nan() { 0.0 } else { *w })
            .collect();
        let (machine, progress) = (Machine::default(), Progress::default());
        let pass = gradients(network, &data, &there, machine, &progress).unwrap();
        let outputs = predict(network, x, &there, machine, &progress).unwrap();
        let size = network.outputs();
        let class = |outputs: &[f64]| match outputs {
            [one] => usize::from(*one > 0.5),
            _ => (0..size).fold(
                0,
                |best, k| {
                    if outputs[k] > outputs[best] {
                        k
                    } else {
                        best
                    }
                },
            ),
        };
        let share = |outputs: &[f64]| {
            let pairs = outputs.chunks(size).zip(y.chunks(size));
            let right = pairs.filter(|(guess, target)| class(guess) == class(target));
            right.count() as f64 / (y.len() / size) as f64
        };
        [
            pass.loss,
            outputs.chunks(y.len().max(1)).map(share).collect(),
        ]
    }
}

fn bits(values: &[f64]) -> Vec<u64> {
    let one = |v: &f64| if v.is_nan() { f64::NAN } else { *v }.to_bits();
    values.iter().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn recorded_looks_are_those_of_the_recorded_weights(case in cases()) {
        let settings = Settings { record: Record::of(&Quantity::ALL), ..case.settings };
        let found = case.train(settings);
        let without = case.train(Settings { record_validation: false, ..settings });
        let (p, places) = (case.network.parameters(), settings.records());
        prop_assert_eq!(bits(&found.weights), bits(&without.weights));
        prop_assert_eq!(bits(&found.histories[Quantity::Loss]), bits(&without.histories[Quantity::Loss]));
        prop_assert_eq!(without.validation.loss.len(), 0);
        let classified = case.network.loss().is_cross_entropy();
        let weights = &found.histories[Quantity::Weights];
        let [losses, accuracies] = case.looks(weights);
        for (at, (loss, accuracy)) in losses.into_iter().zip(accuracies).enumerate() {
            let [loss, accuracy] = if weights[at * p].is_nan() { [f64::NAN; 2] } else { [loss, accuracy] };
            prop_assert_eq!(bits(&[found.validation.loss[at]]), bits(&[loss]), "place {} of {}", at, places);
            if classified {
                prop_assert_eq!(bits(&[found.validation.accuracy[at]]), bits(&[accuracy]));
            }
        }
        prop_assert_eq!(found.validation.accuracy.len(), found.validation.loss.len() * usize::from(classified));
    }

    #[test]
    fn each_run_stops_where_a_plain_loop_does(
        case in cases(),
        patience in 1..8_usize,
        min_delta in prop_oneof![Just(0.0), 1e-4..0.1_f64],
    ) {
        let every = Settings { record_every: 1, record: Record::of(&Quantity::ALL), ..case.settings };
        let whole = case.train(every);
        let stopping = Settings {
            early_stopping: Some(EarlyStopping { patience, min_delta }),
            ..every
        };
        let found = case.train(stopping);
        let (p, epochs) = (case.network.parameters(), every.epochs);
        for run in 0..case.learning_rate.len() {
            let went = usize::try_from(whole.epochs[run]).unwrap();
            let diverged = whole.outcome[run] == Outcome::Diverged;
            let history = &whole.histories[Quantity::Weights][run * epochs * p..][..epochs * p];
            // What the weights were after so many epochs.
            let after = |epoch: usize| if epoch < went {
                &history[epoch * p..][..p]
            } else {
                &whole.weights[run * p..][..p]
            };
            let looks = went - usize::from(diverged);
            let all: Vec<f64> = (0..=looks).flat_map(after).copied().collect();
            let [losses, _] = case.looks(&all);
            let (mut best, mut best_epoch, mut end) = (f64::INFINITY, 0, went);
            for (epoch, loss) in losses.into_iter().enumerate().skip(1) {
                if loss + min_delta < best {
                    (best, best_epoch) = (loss, epoch);
                }
                if epoch - best_epoch >= patience {
                    end = epoch;
                    break;
                }
            }
            let kept = match best_epoch {
                0 => end - usize::from(diverged && end == went),
                epoch => epoch,
            };
            prop_assert_eq!(usize::try_from(found.epochs[run]), Ok(end));
            prop_assert_eq!(usize::try_from(found.best_epoch[run]), Ok(kept));
            prop_assert_eq!(bits(&found.weights[run * p..][..p]), bits(after(kept)));
            for (history, other) in [
                (&found.validation.loss, &whole.validation.loss),
                (&found.histories[Quantity::Loss], &whole.histories[Quantity::Loss]),
            ] {
                let own = &history[run * epochs..][..epochs];
                prop_assert_eq!(bits(&own[..end]), bits(&other[run * epochs..][..end]));
                prop_assert!(own[end..].iter().all(|value| value.is_nan()));
            }
            prop_assert_eq!(found.outcome[run] == Outcome::Diverged, diverged && end == went);
        }
        // What is recorded changes nothing.
        let plain = Settings { record: Record::of(&[]), record_validation: false, ..stopping };
        for other in [plain, Settings { record_every: case.settings.record_every, ..stopping }] {
            let other = case.train(other);
            prop_assert_eq!(bits(&other.weights), bits(&found.weights));
            prop_assert_eq!(&other.epochs, &found.epochs);
            prop_assert_eq!(&other.best_epoch, &found.best_epoch);
            prop_assert_eq!(&other.outcome, &found.outcome);
        }
    }
}

#[test]
fn validation_needs_rows() {
    let network = Network::new(&[1, 1], Activation::Identity).unwrap();
    let data = Data::new(&network, &[1.0], &[1.0]).unwrap();
    let start = Start {
        weights: &[1.0],
        learning_rate: &[0.1],
        ..Start::default()
    };
    let stopping = |patience, min_delta| {
        Some(EarlyStopping {
            patience,
            min_delta,
        })
    };
    for (early_stopping, record_validation, aside, expected) in [
        (None, true, false, "validation is None"),
        (stopping(1, 0.0), false, false, "validation is None"),
        (stopping(0, 0.0), false, true, "patience is 0"),
        (stopping(1, f64::NAN), false, true, "min_delta is NaN"),
    ] {
        let settings = Settings {
            early_stopping,
            record_validation,
            ..Settings::default()
        };
        let data = if aside {
            data.with_validation(&data)
        } else {
            data
        };
        let failed = train(&network, &data, &start, &settings, &Progress::default());
        let said = failed.unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said}");
    }
}
