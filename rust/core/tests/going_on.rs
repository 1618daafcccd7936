//! A training in parts has the bits of one that goes straight through.
use std::ops::Range;

use backprop_core::{
    train, Activation, Batches, Data, Decay, Dtype, InstructionSet, Loss, Machine, Network,
    Optimizer, Outcome, Precision, Progress, Quantity, Record, Schedule, Settings, Start, Training,
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
    /// Where a part ends and the next one begins, the last epoch among them.
    ends: Vec<usize>,
}

fn networks() -> impl Strategy<Value = Network> {
    let sizes = prop_oneof![Just(vec![1, 1]), Just(vec![1, 1, 1]), vec(1..5_usize, 2..5),];
    let activation = prop_oneof![
        Just(Activation::Relu),
        Just(Activation::Identity),
        Just(Activation::Tanh),
    ];
    let loss = prop_oneof![Just(Loss::HalfSquaredError), Just(Loss::BinaryCrossEntropy)];
    let dtype = prop_oneof![Just(Dtype::Float64), Just(Dtype::Float32)];
    (sizes, activation, loss, dtype, any::<bool>()).prop_map(
        |(sizes, activation, loss, dtype, bias)| {
            let network = Network::new(&sizes, activation).unwrap();
            let network = network.with_loss(loss).with_dtype(dtype);
            network.with_bias(bias).unwrap()
        },
    )
}

fn cases() -> impl Strategy<Value = Case> {
    // Many runs of a block of the smallest networks, and so many epochs that spans grow long.
    let ends = prop_oneof![vec(0..30_usize, 2..4), vec(0..150_usize, 2..3)];
    (networks(), 1..8_usize, 1..40_usize, ends).prop_flat_map(|(network, rows, runs, mut ends)| {
        let number = prop_oneof![9 => -2.0..2.0_f64, 1 => Just(0.0), 1 => Just(-0.0)];
        let rates = prop_oneof![9 => 1e-3..1.0_f64, 1 => 2.0..1e3_f64];
        ends.sort_unstable();
        (
            vec(number.clone(), rows * network.inputs()),
            vec(0.0..1.0_f64, rows * network.outputs()),
            vec(number, runs * network.parameters()),
            vec(rates, runs),
        )
            .prop_map(move |(x, y, weights, learning_rate)| Case {
                network: network.clone(),
                x,
                y,
                weights,
                learning_rate,
                ends: ends.clone(),
            })
    })
}

fn all_settings() -> impl Strategy<Value = Settings> {
    let (momentum, beta2, epsilon) = (0.9, 0.99, 1e-8);
    let optimizer = prop_oneof![
        Just(Optimizer::GradientDescent),
        Just(Optimizer::Momentum { momentum }),
        Just(Optimizer::Nesterov { momentum }),
        Just(Optimizer::Adam {
            momentum,
            beta2,
            epsilon
        }),
    ];
    let decay = prop_oneof![
        Just(Decay::Constant),
        (1..9_usize).prop_map(|every| Decay::Step { every, factor: 0.7 }),
        Just(Decay::Cosine),
    ];
    let batches = proptest::option::of((1..5_usize, any::<u32>()));
    let sets = InstructionSet::ALL
        .into_iter()
        .filter(|set| set.is_available());
    let machine = (
        1..3_usize,
        proptest::sample::select(sets.collect::<Vec<_>>()),
    );
    let precision = prop_oneof![Just(Precision::Exact), Just(Precision::Fast)];
    let weight_decay = prop_oneof![Just(0.0), 1e-3..0.1_f64];
    let kept = (proptest::option::of(any::<bool>()), 1..3_usize);
    (
        (optimizer, decay, 0..9_usize, weight_decay),
        (batches, machine, precision, any::<bool>()),
        kept,
    )
        .prop_map(
            |(
                (optimizer, decay, warmup, weight_decay),
                (batches, machine, precision, bound),
                kept,
            )| {
                Settings {
                    optimizer,
                    schedule: Schedule { warmup, decay },
                    weight_decay,
                    batches: batches.map(|(size, seed)| Batches { size, seed }),
                    machine: Machine {
                        threads: Some(machine.0),
                        instruction_set: machine.1,
                    },
                    precision,
                    divergence_bound: if bound { 1e3 } else { f64::INFINITY },
                    record: match kept.0 {
                        None => Record::of(&[]),
                        Some(false) => Record::of(&[Quantity::Loss]),
                        Some(true) => Record::of(&Quantity::ALL),
                    },
                    record_every: kept.1 % 2,
                    ..Settings::default()
                }
            },
        )
}

fn bits(values: &[f64]) -> Vec<u64> {
    // Every NaN is the same NaN: its payload is the processor's business.
    values
        .iter()
        .map(|v| if v.is_nan() { f64::NAN } else { *v }.to_bits())
        .collect()
}

/// What belongs to some of the runs.
fn rows(values: &[f64], runs: usize, chosen: &[usize]) -> Vec<f64> {
    let each = values.len() / runs.max(1);
    let row = |run: &usize| values[run * each..][..each].to_vec();
    chosen.iter().flat_map(row).collect()
}

/// The epochs of a history, shape (runs, epochs, values).
fn of_epochs(history: &[f64], runs: usize, all: usize, epochs: Range<usize>) -> Vec<f64> {
    let values = history.len() / (runs * all).max(1);
    let part = |run| &history[(run * all + epochs.start) * values..][..epochs.len() * values];
    (0..runs).flat_map(part).copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn parts_are_a_training_straight_through(case in cases(), settings in all_settings()) {
        let Case { network, x, y, weights, learning_rate, ends } = case;
        let data = Data::new(&network, &x, &y).unwrap();
        let run = |start: &Start, epochs, span: usize| -> Training {
            let warmup = settings.schedule.warmup.min(span);
            let schedule = Schedule { warmup, ..settings.schedule };
            let settings = Settings { epochs, schedule, schedule_epochs: Some(span), ..settings };
            train(&network, &data, start, &settings, &Progress::default()).unwrap()
        };
        let all = *ends.last().unwrap();
        let start = Start { weights: &weights, learning_rate: &learning_rate, ..Start::default() };
        let straight = run(&start, all, all);
        let runs = learning_rate.len();
        let mut chosen: Vec<usize> = (0..runs).collect();
        let (mut weights, mut rates, mut memory) = (weights, learning_rate, None::<Vec<f64>>);
        let mut first = 0;
        for end in ends {
            let start = Start {
                weights: &weights,
                learning_rate: &rates,
                memory: memory.as_deref(),
                epoch: first,
                ..Start::default()
            };
            let part = run(&start, end - first, all);
            let here = chosen.len();
            let ended: Vec<bool> = (0..here)
                .map(|run| part.outcome[run] == Outcome::Diverged)
                .collect();
            let (over, on): (Vec<usize>, Vec<usize>) = (0..here).partition(|run| ended[*run]);
            // Those that diverged did so in the same epoch, from the same weights and memory.
            let of_all = |local: &[usize]| local.iter().map(|run| chosen[*run]).collect::<Vec<_>>();
            let known = of_all(&over);
            for (local, run) in over.iter().zip(&known) {
                prop_assert_eq!(straight.outcome[*run], Outcome::Diverged);
                prop_assert_eq!(straight.epochs[*run], part.epochs[*local] + i64::try_from(first).unwrap());
            }
            for (part, straight) in [(&part.weights, &straight.weights), (&part.memory, &straight.memory)] {
                prop_assert_eq!(bits(&rows(part, here, &over)), bits(&rows(straight, runs, &known)));
            }
            if settings.record_every == 1 {
                for quantity in Quantity::ALL {
                    let whole = rows(&straight.histories[quantity], runs, &chosen);
                    let expected = of_epochs(&whole, here, all, first..end);
                    prop_assert_eq!(bits(&part.histories[quantity]), bits(&expected));
                }
            }
            if end == all {
                prop_assert_eq!(bits(&rows(&part.weights, here, &on)), bits(&rows(&straight.weights, runs, &of_all(&on))));
                prop_assert_eq!(bits(&rows(&part.memory, here, &on)), bits(&rows(&straight.memory, runs, &of_all(&on))));
                if end > first {
                    prop_assert_eq!(bits(&rows(&part.last_loss, here, &on)), bits(&rows(&straight.last_loss, runs, &of_all(&on))));
                }
            }
            weights = rows(&part.weights, here, &on);
            memory = Some(rows(&part.memory, here, &on));
            rates = rows(&rates, here, &on);
            chosen = of_all(&on);
            first = end;
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let network = Network::new(&[1, 1, 1], Activation::Relu).unwrap();
    let data = Data::new(&network, &[2.0], &[3.0]).unwrap();
    let adam = Settings {
        optimizer: Optimizer::Adam {
            momentum: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        },
        ..Settings::default()
    };
    let error = |memory: &[f64], epoch, settings: &Settings| {
        let start = Start {
            weights: &[0.5, 1.0],
            learning_rate: &[0.1],
            memory: Some(memory),
            epoch,
            ..Start::default()
        };
        let found = train(&network, &data, &start, settings, &Progress::default());
        found.unwrap_err().to_string()
    };
    let plain = Settings::default();
    assert!(
        error(&[0.0; 2], 0, &plain).starts_with("state.memory has 2 values; allowed: 1 runs × 0")
    );
    assert!(
        error(&[0.0; 2], 0, &adam).starts_with("state.memory has 2 values; allowed: 1 runs × 4")
    );
    assert!(error(&[0.0, f64::NAN, 1.0, 1.0], 0, &adam).starts_with("state.memory[0, 1] is NaN"));
    assert!(error(&[0.0, 1.0, 1.0, -1.0], 0, &adam).starts_with("state.memory[0, 3] is -1"));
    assert!(error(&[], 50, &adam).starts_with("state.memory has 0 values"));
    assert!(
        error(&[], usize::MAX, &plain).starts_with("epochs is 20; allowed: whole numbers up to")
    );
    let short = Settings {
        schedule_epochs: Some(69),
        ..plain
    };
    assert!(
        error(&[], 50, &short).starts_with("schedule_epochs is 69; allowed: whole numbers from 70")
    );
}
