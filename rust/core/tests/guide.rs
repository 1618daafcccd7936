//! The numbers of the guide, and how runs end.
#![allow(clippy::float_cmp, clippy::unreadable_literal)]

use std::sync::atomic::Ordering;

use backprop_core::{
    gradients, predict, train, train_into, Activation, Arrays, Data, Error, Machine, Network,
    Outcome, PerQuantity, Progress, Quantity, Record, Settings, Stall, Start, Training,
};

fn guide() -> Network {
    Network::new(&[1, 1, 1], Activation::Relu).unwrap()
}

fn run(weights: &[f64], learning_rate: &[f64], settings: Settings) -> Result<Training, Error> {
    let network = guide();
    let data = Data::new(&network, &[2.0], &[3.0]).unwrap();
    let start = Start {
        weights,
        learning_rate,
        ..Start::default()
    };
    train(&network, &data, &start, &settings, &Progress::default())
}

#[test]
fn the_guide_s_twenty_epochs() {
    let training = run(&[0.5, 1.0], &[0.1], Settings::default()).unwrap();
    assert_eq!(training.histories[Quantity::Loss][0], 2.0);
    assert!((training.histories[Quantity::Loss][1] - 0.3528).abs() < 1e-15);
    assert_eq!(training.histories[Quantity::Prediction][..2], [1.0, 2.16]);
    assert_eq!(training.histories[Quantity::Gradients][..2], [-4.0, -2.0]);
    assert_eq!(training.weights, [1.1067121375451405, 1.3553659972747827]);
    assert_eq!(
        training.histories[Quantity::Prediction][19],
        3.0000000000002136
    );
    assert_eq!(
        training.histories[Quantity::Loss][19],
        2.2813955986604814e-26
    );
    assert_eq!(training.outcome, [Outcome::Converged]);
}

#[test]
fn one_pass_of_the_guide() {
    let network = guide();
    let data = Data::new(&network, &[2.0], &[3.0]).unwrap();
    let pass = gradients(
        &network,
        &data,
        &[0.5, 1.0],
        Machine::default(),
        &Progress::default(),
    )
    .unwrap();
    assert_eq!((pass.loss[0], pass.gradients), (2.0, vec![-4.0, -2.0]));
    let predictions = predict(
        &network,
        &[2.0, -2.0],
        &[0.5, 1.0],
        Machine::default(),
        &Progress::default(),
    )
    .unwrap();
    assert_eq!(predictions, [1.0, 0.0]);
}

#[test]
fn a_dead_network_stays_where_it_is() {
    let training = run(&[-0.5, 1.0], &[0.1], Settings::default()).unwrap();
    assert_eq!(training.weights, [-0.5, 1.0]);
    assert_eq!(training.outcome, [Outcome::Dead]);
    assert!(training.histories[Quantity::Gradients]
        .iter()
        .all(|gradient| *gradient == 0.0));
}

#[test]
fn a_diverging_run_ends_and_its_neighbours_do_not() {
    // In the first epoch of the second run the update overflows.
    let weights = [0.5, 1.0, 1e100, 1e100, 0.5, 1.0];
    let training = run(&weights, &[0.1; 3], Settings::default()).unwrap();
    assert_eq!(
        training.outcome,
        [Outcome::Converged, Outcome::Diverged, Outcome::Converged]
    );
    assert_eq!(training.epochs[0], 20);
    let epoch = usize::try_from(training.epochs[1]).unwrap() - 1;
    assert!(training.weights.iter().all(|weight| weight.is_finite()));
    assert!(training.histories[Quantity::Loss][20 + epoch + 1..40]
        .iter()
        .all(|loss| loss.is_nan()));
    assert_eq!(training.weights[..2], training.weights[4..]);
    assert_eq!(
        training.weights[..2],
        [1.1067121375451405, 1.3553659972747827]
    );
}

#[test]
fn the_bound_ends_a_run() {
    let settings = Settings {
        divergence_bound: 1.0,
        ..Settings::default()
    };
    let training = run(&[0.5, 1.0], &[0.1], settings).unwrap();
    assert_eq!(training.epochs, [1]);
    assert_eq!(training.weights, [0.5, 1.0]);
}

/// At x = 1, y = 1 and balanced weights u, a step maps u to u·(1 + η(1 − u²)): the cubic
/// map of Chen et al., arXiv 2310.01687, whose slope at u = 1 is 1 − 2η. So the minimum
/// attracts up to η = 1, and beyond it a cycle of period 2 does.
#[test]
fn beyond_the_edge_of_stability_the_loss_oscillates() {
    let network = guide();
    let data = Data::new(&network, &[1.0], &[1.0]).unwrap();
    let settings = Settings {
        epochs: 2000,
        ..Settings::default()
    };
    let start = Start {
        weights: &[0.9, 0.9, 0.9, 0.9],
        learning_rate: &[0.95, 1.1],
        ..Start::default()
    };
    let training = train(&network, &data, &start, &settings, &Progress::default()).unwrap();
    assert_eq!(training.outcome, [Outcome::Converged, Outcome::Oscillating]);
    assert_eq!(training.period, [0, 2]);
}

#[test]
fn no_epochs_leave_the_start() {
    let settings = Settings {
        epochs: 0,
        ..Settings::default()
    };
    let training = run(&[0.5, 1.0], &[0.1], settings).unwrap();
    assert_eq!(training.weights, [0.5, 1.0]);
    assert_eq!(training.outcome, [Outcome::Unresolved]);
    assert!(training.histories[Quantity::Loss].is_empty());
}

#[test]
fn sixteen_threads_give_the_bits_of_one() {
    let count = 1003_u32;
    let weights: Vec<f64> = (0..2 * count).map(|i| f64::from(i).sin() * 2.0).collect();
    let rates: Vec<f64> = (0..count).map(|i| 0.01 + f64::from(i) * 3e-4).collect();
    let with = |threads| {
        let settings = Settings {
            machine: Machine {
                threads,
                ..Machine::default()
            },
            record: Record::of(&Quantity::ALL),
            ..Settings::default()
        };
        format!("{:?}", run(&weights, &rates, settings).unwrap())
    };
    assert_eq!(with(Some(1)), with(Some(16)));
    assert_eq!(with(Some(1)), with(None));
}

#[test]
fn bad_input_is_named() {
    let network = guide();
    let messages = [
        Data::new(&network, &[], &[]).unwrap_err(),
        Data::new(&network, &[2.0, f64::NAN], &[3.0, 3.0]).unwrap_err(),
        Data::new(&network, &[2.0], &[3.0, 4.0]).unwrap_err(),
        run(&[0.5, f64::INFINITY], &[0.1], Settings::default()).unwrap_err(),
        run(&[0.5], &[0.1], Settings::default()).unwrap_err(),
        run(&[0.5, 1.0], &[0.1; 3], Settings::default()).unwrap_err(),
        run(&[0.5, 1.0], &[-0.1], Settings::default()).unwrap_err(),
        run(&[0.5, 1.0], &[f64::NAN], Settings::default()).unwrap_err(),
        run(
            &[0.5, 1.0],
            &[0.1],
            Settings {
                machine: Machine {
                    threads: Some(0),
                    ..Machine::default()
                },
                ..Settings::default()
            },
        )
        .unwrap_err(),
        run(
            &[0.5, 1.0],
            &[0.1],
            Settings {
                epochs: usize::MAX,
                ..Settings::default()
            },
        )
        .unwrap_err(),
    ];
    let starts = [
        "x has 0 values; allowed: one or more rows",
        "x[1, 0] is NaN; allowed: finite",
        "y has 2 values; allowed: 1 rows × 1 outputs",
        "weights[0, 1] is inf; allowed: finite",
        "weights has 1 values; allowed: 2 parameters",
        "learning_rate has 3 values; allowed: 1, one",
        "learning_rate[0] is -0.1; allowed: finite numbers above 0",
        "learning_rate[0] is NaN; allowed",
        "threads is 0; allowed: 1",
        "the results need",
    ];
    for (error, start) in messages.iter().zip(starts) {
        let message = error.to_string();
        assert!(message.starts_with(start), "{message}");
    }
}

#[test]
fn progress_counts_epochs_and_can_cancel() {
    let network = guide();
    let data = Data::new(&network, &[2.0], &[3.0]).unwrap();
    let start = Start {
        weights: &[0.5, 1.0],
        learning_rate: &[0.1],
        ..Start::default()
    };
    let settings = Settings {
        epochs: 150,
        ..Settings::default()
    };
    let progress = Progress::default();
    train(&network, &data, &start, &settings, &progress).unwrap();
    assert_eq!(progress.epochs.load(Ordering::Relaxed), 150);
    progress.cancel.store(true, Ordering::Relaxed);
    let cancelled = train(&network, &data, &start, &settings, &progress);
    assert_eq!(cancelled, Err(Error::Cancelled));
}

#[test]
fn a_product_that_overflows_is_no_zero_where_relu_is_off() {
    // As the guide has it: (−(y − ŷ)·w2)·0 = ∞·0.
    let network = guide();
    let data = Data::new(&network, &[1.0], &[1e150]).unwrap();
    let start = Start {
        weights: &[-1.0, 1e200],
        learning_rate: &[0.1],
        ..Start::default()
    };
    let training = train(
        &network,
        &data,
        &start,
        &Settings::default(),
        &Progress::default(),
    );
    assert_eq!(training.unwrap().outcome, [Outcome::Diverged]);
}

#[test]
fn stopped_runs_end_where_they_are() {
    let progress = Progress::default();
    progress.stop.store(true, Ordering::Relaxed);
    for sizes in [&[1, 1, 1][..], &[1, 2, 1], &[200, 200, 200]] {
        let network = Network::new(sizes, Activation::Relu).unwrap();
        let data = (vec![1.0; sizes[0]], vec![1.0; sizes[2]]);
        let data = Data::new(&network, &data.0, &data.1).unwrap();
        let start = Start {
            weights: &vec![0.01; network.parameters()],
            learning_rate: &[1e-4],
            ..Start::default()
        };
        for epochs in [1, 20, 10_000] {
            let settings = Settings {
                epochs,
                record: Record::of(&[]),
                ..Settings::default()
            };
            let training = train(&network, &data, &start, &settings, &progress).unwrap();
            assert_eq!(training.epochs, [0]);
        }
    }
}

#[test]
fn results_are_written_where_the_caller_wants_them() {
    let network = guide();
    let data = Data::new(&network, &[2.0], &[3.0]).unwrap();
    let start = Start {
        weights: &[0.5, 1.0],
        learning_rate: &[0.1],
        ..Start::default()
    };
    let settings = Settings::default();
    assert_eq!(
        Quantity::ALL.map(|quantity| settings.columns(&network)[quantity]),
        [20, 20, 40, 0]
    );
    let into = |weights: &mut [f64], loss: &mut [f64]| {
        let (mut prediction, mut gradients) = ([0.0; 20], [0.0; 40]);
        let mut histories = PerQuantity::<&mut [f64]>::default();
        histories[Quantity::Loss] = loss;
        histories[Quantity::Prediction] = &mut prediction;
        histories[Quantity::Gradients] = &mut gradients;
        let arrays = Arrays {
            memory: &mut [],
            weights,
            outcome: &mut [Outcome::Dead],
            epochs: &mut [0],
            last_loss: &mut [0.0],
            loss_ratio: &mut [0.0],
            period: &mut [0],
            stall: &mut [Stall::None],
            died_at: &mut [0],
            highest_loss: &mut [0.0],
            highest_loss_at: &mut [0],
            histories,
            ..Arrays::default()
        };
        let progress = Progress::default();
        train_into(&network, &data, &start, &settings, &progress, arrays)
    };
    let (mut weights, mut loss) = ([0.0; 2], [0.0; 20]);
    into(&mut weights, &mut loss).unwrap();
    assert_eq!(weights, [1.1067121375451405, 1.3553659972747827]);
    assert_eq!(loss[0], 2.0);
    let message = into(&mut weights, &mut [0.0; 19]).unwrap_err().to_string();
    assert_eq!(
        message,
        "loss history has 19 values; allowed: 1 runs × 20; give an array of that size"
    );
}

#[test]
fn a_run_that_is_stopped_after_a_rollback_says_what_is_true_of_it() {
    // Half of the runs diverge now and then; the stop comes at any moment.
    let runs = 64;
    let weights: Vec<f64> = (0..2 * runs).map(|i| 0.5 + 0.01 * f64::from(i)).collect();
    let rates: Vec<f64> = (0..runs).map(|i| 1e-7 * 1.4_f64.powi(i)).collect();
    let settings = Settings {
        epochs: 1 << 40,
        record: Record::of(&[Quantity::Loss, Quantity::Gradients]),
        record_every: 0,
        tolerance: 1e-3,
        ..Settings::default()
    };
    let network = guide();
    let data = Data::new(&network, &[2.0], &[3.0]).unwrap();
    let start = Start {
        weights: &weights,
        learning_rate: &rates,
        ..Start::default()
    };
    for micros in (0..2000).step_by(20) {
        let progress = Progress::default();
        let training = std::thread::scope(|scope| {
            let training =
                scope.spawn(|| train(&network, &data, &start, &settings, &progress).unwrap());
            std::thread::sleep(std::time::Duration::from_micros(micros));
            progress.stop.store(true, Ordering::Relaxed);
            training.join().unwrap()
        });
        let (loss, gradients) = (
            &training.histories[Quantity::Loss],
            &training.histories[Quantity::Gradients],
        );
        for (run, gradients) in gradients.chunks_exact(2).enumerate() {
            let last = training.last_loss[run];
            assert!(training.epochs[run] == 0 || loss[run].to_bits() == last.to_bits());
            let ends = [&weights, &training.weights];
            let ends = ends.map(|w| w[2 * run].abs().max(w[2 * run + 1].abs()));
            let size = ends[0].max(ends[1]);
            if training.outcome[run] == Outcome::Converged {
                // A distance of tolerance·size makes an error of at most √8·size times that.
                let most = 20.0 * 1e-6 * size.powi(4);
                assert!(last <= most, "{last}, {gradients:?}");
            }
        }
    }
}

#[test]
fn histories_of_more_epochs_than_anybody_has() {
    for record_every in [0, 1 << 61, 1 << 62, usize::MAX] {
        for sizes in [&[1, 1, 1][..], &[1, 2, 1]] {
            let network = Network::new(sizes, Activation::Relu).unwrap();
            let data = Data::new(&network, &[2.0], &[3.0]).unwrap();
            let start = Start {
                weights: &vec![0.5; network.parameters()],
                learning_rate: &[0.1],
                ..Start::default()
            };
            let settings = Settings {
                epochs: 1 << 62,
                record_every,
                ..Settings::default()
            };
            let progress = Progress::default();
            let training = std::thread::scope(|scope| {
                let training =
                    scope.spawn(|| train(&network, &data, &start, &settings, &progress).unwrap());
                std::thread::sleep(std::time::Duration::from_millis(5));
                progress.stop.store(true, Ordering::Relaxed);
                training.join().unwrap()
            });
            let loss = &training.histories[Quantity::Loss];
            assert_eq!(loss.len(), settings.records());
            let (last, found) = (training.last_loss[0], loss[loss.len() - 1]);
            assert!(training.epochs[0] == 0 || last.to_bits() == found.to_bits());
        }
    }
}
