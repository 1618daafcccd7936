//! Runs with hyperparameters of their own have the bits of runs that are trained alone.
use backprop_core::{
    train, Activation, Batches, Data, Dtype, Hyperparameters, InstructionSet, Machine, Network,
    Optimizer, Progress, Quantity, Settings, Start, Training,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const RUNS: usize = 21;

#[derive(Debug, Clone)]
struct Case {
    network: Network,
    settings: Settings,
    x: Vec<f64>,
    y: Vec<f64>,
    weights: Vec<f64>,
    /// One for each layer of each run; of the first layer alone if not `layered`.
    rates: Vec<f64>,
    layered: bool,
    own: [Vec<f64>; 5],
    seeds: Vec<u32>,
}

fn several(values: &'static [f64]) -> impl Strategy<Value = Vec<f64>> {
    vec(select(values), RUNS)
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = prop_oneof![Just(vec![1, 1]), Just(vec![1, 1, 1]), vec(1..4_usize, 2..5)];
    let shape = (
        sizes,
        select(&Activation::ALL[..]),
        select(&Dtype::ALL[..]),
        any::<bool>(),
    );
    let optimizer = (
        0..4_usize,
        proptest::option::of(1..4_usize),
        select(&[0, 1, 41, 300][..]),
    );
    let sets: Vec<_> = InstructionSet::ALL
        .into_iter()
        .filter(|set| set.is_available())
        .collect();
    let own = [
        several(&[0.0, 0.5, 0.9]),
        several(&[0.0, 0.9, 0.999]),
        several(&[0.0, 0.0, 0.1]),
        several(&[1.0, 1.0, 0.5, 2.0]),
        several(&[0.0, 0.01, 0.5]),
    ];
    (
        shape,
        optimizer,
        (select(sets), 1..3_usize, any::<bool>()),
        own,
        1..6_usize,
    )
        .prop_flat_map(
            |((sizes, activation, dtype, bias), (which, size, epochs), machine, own, rows)| {
                let network = Network::new(&sizes, activation).unwrap().with_dtype(dtype);
                let network = network.with_bias(bias).unwrap();
                let (instruction_set, threads, layered) = machine;
                let machine = Machine {
                    threads: Some(threads),
                    instruction_set,
                };
                let number = -1.5..1.5_f64;
                let layers = network.sizes().len() - 1;
                (
                    (
                        vec(number.clone(), rows * network.inputs()),
                        vec(number.clone(), rows * network.outputs()),
                    ),
                    vec(number, RUNS * network.parameters()),
                    vec(
                        prop_oneof![4 => 1e-3..1.0_f64, 1 => Just(0.0)],
                        RUNS * layers,
                    ),
                    vec(0..3_u32, RUNS),
                )
                    .prop_map(move |((x, y), weights, mut rates, seeds)| {
                        // A run has a layer that learns.
                        for own in rates.chunks_exact_mut(layers) {
                            if !layered || own.iter().all(|rate| *rate == 0.0) {
                                own[0] = own[0].max(0.01);
                            }
                        }
                        Case {
                            settings: Settings {
                                epochs,
                                optimizer: optimizer_of(which, 0.0, 0.0),
                                batches: size.map(|size| Batches { size, seed: 0 }),
                                machine,
                                ..Settings::default()
                            },
                            network: network.clone(),
                            x,
                            y,
                            weights,
                            rates,
                            layered,
                            own: own.clone(),
                            seeds,
                        }
                    })
            },
        )
}

fn optimizer_of(which: usize, momentum: f64, beta2: f64) -> Optimizer {
    let epsilon = 1e-8;
    [
        Optimizer::GradientDescent,
        Optimizer::Momentum { momentum },
        Optimizer::Nesterov { momentum },
        Optimizer::Adam {
            momentum,
            beta2,
            epsilon,
        },
    ][which]
}

/// What is known of a run, NaN being equal to itself.
fn told(training: &Training, run: usize) -> String {
    let runs = training.outcome.len();
    let of = |values: &[f64]| {
        let each = values.len() / runs;
        let own = &values[run * each..][..each];
        own.iter()
            .map(|value| if value.is_nan() { 0 } else { value.to_bits() })
            .collect::<Vec<_>>()
    };
    let histories = Quantity::ALL.map(|quantity| of(&training.histories[quantity]));
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {histories:?}",
        training.outcome[run],
        training.stall[run],
        [
            training.epochs[run],
            training.died_at[run],
            training.highest_loss_at[run]
        ],
        training.period[run],
        of(&training.weights),
        of(&training.memory),
        [
            of(&training.loss_ratio),
            of(&training.last_loss),
            of(&training.highest_loss)
        ],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn runs_side_by_side_are_what_they_are_alone(case in cases()) {
        let Case { network, settings, x, y, weights, rates, layered, own, seeds } = case;
        let data = Data::new(&network, &x, &y).unwrap();
        let (parameters, layers) = (network.parameters(), network.sizes().len() - 1);
        let single: Vec<f64> = rates.iter().step_by(layers).copied().collect();
        let given = if layered { &rates } else { &single };
        let [momentum, beta2, weight_decay, gain, negative_slope] = own.each_ref().map(|own| Some(&own[..]));
        let start = Start {
            weights: &weights,
            learning_rate: given,
            hyperparameters: Hyperparameters { momentum, beta2, weight_decay, gain, negative_slope },
            batch_seed: Some(&seeds),
            ..Start::default()
        };
        let progress = Progress::default();
        let together = train(&network, &data, &start, &settings, &progress).unwrap();
        let which = ["gradient_descent", "momentum", "nesterov", "adam"];
        let which = which.iter().position(|name| *name == settings.optimizer.name()).unwrap();
        for run in 0..RUNS {
            let network = network.clone().with_gain(own[3][run]).unwrap();
            let network = network.with_negative_slope(own[4][run]).unwrap();
            let data = Data::new(&network, &x, &y).unwrap();
            let settings = Settings {
                optimizer: optimizer_of(which, own[0][run], own[1][run]),
                weight_decay: own[2][run],
                batches: settings.batches.map(|batches| Batches { seed: seeds[run], ..batches }),
                ..settings
            };
            let each = given.len() / RUNS;
            let start = Start {
                weights: &weights[run * parameters..][..parameters],
                learning_rate: &given[run * each..][..each],
                ..Start::default()
            };
            let alone = train(&network, &data, &start, &settings, &progress).unwrap();
            prop_assert_eq!(told(&together, run), told(&alone, 0), "run {}", run);
        }
    }
}
