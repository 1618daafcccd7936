//! Generated networks, data and starts: the same bits as the naive twin.
mod naive;

use std::ops::Range;

use backprop_core::{
    gradients, predict, train, Activation, Data, InstructionSet, Loss, Machine, Network, Outcome,
    Precision, Progress, Quantity, Record, Settings, Start, Training,
};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Case {
    network: Network,
    x: Vec<f64>,
    y: Vec<f64>,
    weights: Vec<f64>,
    learning_rate: Vec<f64>,
    epochs: usize,
}

/// Networks of any shape, and many runs of small ones that end at different epochs.
fn cases() -> impl Strategy<Value = Case> {
    let small = prop_oneof![Just(vec![1, 1]), Just(vec![1, 1, 1])];
    prop_oneof![
        case(vec(1..7_usize, 2..5), 1..20, 0..20, 0..12),
        case(small, 1..20, 0..70, 0..150),
    ]
}

/// So many epochs that most are not looked at one by one.
fn long_cases() -> impl Strategy<Value = Case> {
    let sizes = prop_oneof![Just(vec![1, 1]), Just(vec![1, 1, 1]), Just(vec![1, 2, 1])];
    case(sizes, 1..3, 0..150, 0..700)
}

/// Runs of which many rest long before the last epoch, more than are trained side by side.
fn resting_cases() -> impl Strategy<Value = Case> {
    let sizes = prop_oneof![Just(vec![1, 1]), Just(vec![1, 1, 1])];
    case(sizes, 1..3, 129..160, 300..800).prop_map(|mut case| {
        case.learning_rate.iter_mut().for_each(|rate| *rate *= 0.1);
        case
    })
}

/// Compares trainings of which everything is recorded with others.
fn see_that_records_change_nothing(
    case: Case,
    record_every: usize,
    settings: Settings,
) -> Result<(), TestCaseError> {
    let Case {
        network,
        x,
        y,
        weights,
        learning_rate,
        epochs,
    } = case;
    let data = Data::new(&network, &x, &y).unwrap();
    let start = Start {
        weights: &weights,
        learning_rate: &learning_rate,
        ..Start::default()
    };
    let [none, loss, all] = [&[][..], &[Quantity::Loss][..], &Quantity::ALL[..]].map(Record::of);
    let trained = |record, record_every| {
        let settings = Settings {
            epochs,
            record,
            record_every,
            ..settings
        };
        train(&network, &data, &start, &settings, &Progress::default()).unwrap()
    };
    let all = [
        trained(all, 1),
        trained(loss, 1),
        trained(all, record_every),
        trained(none, 1),
    ];
    for other in &all[1..] {
        prop_assert_eq!(bits(&other.weights), bits(&all[0].weights));
        prop_assert_eq!(&other.outcome, &all[0].outcome);
        prop_assert_eq!(&other.epochs, &all[0].epochs);
        prop_assert_eq!(bits(&other.last_loss), bits(&all[0].last_loss));
        prop_assert_eq!(bits(&other.loss_ratio), bits(&all[0].loss_ratio));
        prop_assert_eq!(&other.period, &all[0].period);
        prop_assert_eq!(&other.died_at, &all[0].died_at);
        prop_assert_eq!(bits(&other.highest_loss), bits(&all[0].highest_loss));
        prop_assert_eq!(&other.highest_loss_at, &all[0].highest_loss_at);
    }
    let losses = |training: &Training| bits(&training.histories[Quantity::Loss]);
    prop_assert_eq!(losses(&all[1]), losses(&all[0]));
    Ok(())
}

fn case(
    sizes: impl Strategy<Value = Vec<usize>>,
    rows: Range<usize>,
    runs: Range<usize>,
    epochs: Range<usize>,
) -> impl Strategy<Value = Case> {
    let activation = prop_oneof![Just(Activation::Relu), Just(Activation::Identity)];
    (sizes, activation, rows, runs, epochs).prop_flat_map(
        |(sizes, activation, rows, runs, epochs)| {
            let network = Network::new(&sizes, activation).unwrap();
            let number = prop_oneof![9 => -3.0..3.0_f64, 1 => Just(0.0), 1 => Just(-0.0)];
            (
                vec(number.clone(), rows * network.inputs()),
                vec(number.clone(), rows * network.outputs()),
                vec(number, runs * network.parameters()),
                vec(1e-3..2.0_f64, runs),
            )
                .prop_map(move |(x, y, weights, learning_rate)| Case {
                    network: network.clone(),
                    x,
                    y,
                    weights,
                    learning_rate,
                    epochs,
                })
        },
    )
}

/// Every one that this machine has.
fn instruction_sets() -> impl Strategy<Value = InstructionSet> {
    let there = InstructionSet::ALL
        .into_iter()
        .filter(|set| set.is_available());
    proptest::sample::select(there.collect::<Vec<_>>())
}

fn bits(values: &[f64]) -> Vec<u64> {
    // Every NaN is the same NaN: its payload is the processor's business.
    values
        .iter()
        .map(|v| if v.is_nan() { f64::NAN } else { *v }.to_bits())
        .collect()
}

proptest! {
    // A debug build takes a second for some cases.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn training_is_the_naive_twin_s(
        case in cases(),
        threads in 1..4_usize,
        instruction_set in instruction_sets(),
    ) {
        let Case { network, x, y, weights, learning_rate, epochs } = case;
        let data = Data::new(&network, &x, &y).unwrap();
        let settings = Settings {
            epochs,
            machine: Machine { threads: Some(threads), instruction_set },
            record: Record::of(&Quantity::ALL),
            ..Settings::default()
        };
        let start = Start { weights: &weights, learning_rate: &learning_rate, ..Start::default() };
        let training = train(&network, &data, &start, &settings, &Progress::default()).unwrap();
        let p = network.parameters();
        for run in 0..learning_rate.len() {
            let mut w = weights[run * p..][..p].to_vec();
            for epoch in 0..epochs {
                let at = run * epochs + epoch;
                let expected = naive::pass(&network, &w, &x, &y);
                prop_assert_eq!(bits(&training.histories[Quantity::Weights][at * p..][..p]), bits(&w));
                prop_assert_eq!(bits(&training.histories[Quantity::Gradients][at * p..][..p]), bits(&expected.gradients));
                prop_assert_eq!(
                    bits(&[training.histories[Quantity::Prediction][at]]), bits(&[expected.prediction])
                );
                prop_assert!((training.histories[Quantity::Loss][at] - expected.loss).abs() <= 1e-14 * expected.loss
                    || training.histories[Quantity::Loss][at].to_bits() == expected.loss.to_bits());
                let before = w.clone();
                naive::update(&mut w, &expected.gradients, learning_rate[run]);
                if !expected.loss.is_finite() || w.iter().any(|w| !w.is_finite()) {
                    prop_assert_eq!(training.outcome[run], Outcome::Diverged);
                    prop_assert_eq!(usize::try_from(training.epochs[run]), Ok(epoch + 1));
                    let later = &training.histories[Quantity::Loss][at + 1..(run + 1) * epochs];
                    prop_assert!(later.iter().all(|loss| loss.is_nan()));
                    w = before;
                    break;
                }
            }
            prop_assert_eq!(bits(&training.weights[run * p..][..p]), bits(&w));
        }
    }

    /// What the twin above holds of recorded runs holds of those of which nothing is.
    #[test]
    fn what_is_recorded_changes_nothing(
        case in long_cases(),
        divergence_bound in prop_oneof![Just(f64::INFINITY), 1e-3..1e3_f64],
        record_every in 1..50_usize,
        stop_when_converged: bool,
    ) {
        let settings = Settings { divergence_bound, stop_when_converged, ..Settings::default() };
        see_that_records_change_nothing(case, record_every, settings)?;
    }

    #[test]
    fn one_pass_is_the_naive_twin_s(case in cases()) {
        let Case { network, x, y, weights, learning_rate, .. } = case;
        let data = Data::new(&network, &x, &y).unwrap();
        let result = gradients(&network, &data, &weights, Machine::default(), &Progress::default()).unwrap();
        let predictions = predict(&network, &x, &weights, Machine::default(), &Progress::default()).unwrap();
        let p = network.parameters();
        for run in 0..learning_rate.len() {
            let w = &weights[run * p..][..p];
            let expected = naive::pass(&network, w, &x, &y);
            prop_assert_eq!(bits(&result.gradients[run * p..][..p]), bits(&expected.gradients));
            let outputs: Vec<f64> = x
                .chunks(network.inputs())
                .flat_map(|x| naive::outputs(&network, w, x))
                .collect();
            let found = &predictions[run * outputs.len()..][..outputs.len()];
            prop_assert_eq!(bits(found), bits(&outputs));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Epochs that repeat others are left out where nobody sees them.
    #[test]
    fn what_is_recorded_of_resting_runs_changes_nothing(
        case in resting_cases(),
        record_every in 1..50_usize,
        precision in proptest::sample::select(vec![Precision::Exact, Precision::Fast]),
        instruction_set in instruction_sets(),
    ) {
        let machine = Machine { instruction_set, ..Machine::default() };
        let settings = Settings { precision, machine, ..Settings::default() };
        see_that_records_change_nothing(case, record_every, settings)?;
    }
}

fn any_activation() -> impl Strategy<Value = Case> {
    let network = (
        vec(1..5_usize, 3..5),
        proptest::sample::select(&Activation::ALL[..]),
        proptest::sample::select(&Loss::ALL[..]),
        proptest::sample::select(&Activation::ALL[..]),
        any::<bool>(),
        0.5..2.0_f64,
        0.0..0.5_f64,
    );
    network.prop_flat_map(|(sizes, activation, loss, output, bias, gain, slope)| {
        let network = Network::new(&sizes, activation).unwrap();
        let network = network
            .with_gain(gain)
            .unwrap()
            .with_negative_slope(slope)
            .unwrap();
        let network = network.with_loss(loss).with_bias(bias).unwrap();
        // A cross-entropy takes no other than its own.
        let network = network.clone().with_output(output).unwrap_or(network);
        let number = -2.0..2.0_f64;
        let target = if loss.is_cross_entropy() {
            0.0..1.0
        } else {
            number.clone()
        };
        (
            vec(number.clone(), 3 * network.inputs()),
            vec(target, 3 * network.outputs()),
            vec(number, 9 * network.parameters()),
        )
            .prop_map(move |(x, y, weights)| Case {
                y: if loss == Loss::SoftmaxCrossEntropy {
                    shares(&y, network.outputs())
                } else {
                    y
                },
                network: network.clone(),
                x,
                weights,
                learning_rate: vec![0.01; 9],
                epochs: 30,
            })
    })
}

/// Each row divided by its sum.
fn shares(y: &[f64], outputs: usize) -> Vec<f64> {
    let share = |row: &[f64]| -> Vec<f64> {
        let sum: f64 = row.iter().map(|y| y + 0.01).sum();
        row.iter().map(|y| (y + 0.01) / sum).collect()
    };
    y.chunks(outputs).flat_map(share).collect()
}

fn close(found: &[f64], expected: &[f64], tolerance: f64) -> bool {
    // Where terms of size 1 cancel, their roundings are all that is left.
    let largest = expected.iter().fold(0.1_f64, |all, e| all.max(e.abs()));
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() <= tolerance * largest)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_activation_and_loss_is_the_naive_twin_s_and_the_finite_difference(case in any_activation()) {
        let Case { network, x, y, weights, learning_rate, epochs } = case;
        let data = Data::new(&network, &x, &y).unwrap();
        let found = gradients(&network, &data, &weights, Machine::default(), &Progress::default()).unwrap();
        let predictions = predict(&network, &x, &weights, Machine::default(), &Progress::default()).unwrap();
        let start = Start { weights: &weights, learning_rate: &learning_rate, ..Start::default() };
        let settings = Settings { epochs, ..Settings::default() };
        let training = train(&network, &data, &start, &settings, &Progress::default()).unwrap();
        let p = network.parameters();
        for run in 0..learning_rate.len() {
            let mut w = weights[run * p..][..p].to_vec();
            let expected = naive::pass(&network, &w, &x, &y);
            prop_assert!(close(&found.gradients[run * p..][..p], &expected.gradients, 1e-12));
            prop_assert!(close(&found.loss[run..=run], &[expected.loss], 1e-12));
            let outputs: Vec<f64> = x
                .chunks(network.inputs())
                .flat_map(|x| naive::outputs(&network, &w, x))
                .collect();
            let ours = &predictions[run * outputs.len()..][..outputs.len()];
            prop_assert!(close(ours, &outputs, 1e-12));
            let mut moved = w.clone();
            let differences: Vec<f64> = (0..p)
                .map(|index| {
                    let mut loss = |step: f64| {
                        moved[index] = w[index] + step;
                        naive::pass(&network, &moved, &x, &y).loss
                    };
                    let difference = (loss(1e-6) - loss(-1e-6)) / 2e-6;
                    moved[index] = w[index];
                    difference
                })
                .collect();
            // Where a kink lies within the step, the difference is neither slope.
            let smooth = [network.activation(), network.output()]
                .iter()
                .all(|own| !matches!(own, Activation::Relu | Activation::LeakyRelu));
            prop_assert!(!smooth || close(&found.gradients[run * p..][..p], &differences, 1e-6));
            // How far a training carries a rounding apart is measured by a second twin, whose
            // start differs by a few thousand roundings.
            let mut nudged: Vec<f64> = w.iter().map(|w| w * (1.0 + 1e-12)).collect();
            for _ in 0..epochs {
                for w in [&mut w, &mut nudged] {
                    let pass = naive::pass(&network, w, &x, &y);
                    naive::update(w, &pass.gradients, learning_rate[run]);
                }
            }
            let apart = w.iter().zip(&nudged).fold(0.0_f64, |all, (w, n)| all.max((w - n).abs()));
            if training.outcome[run] != Outcome::Diverged && apart < 1e-3 {
                prop_assert!(close(&training.weights[run * p..][..p], &w, 1e-9 + 10.0 * apart));
            }
        }
    }
}
