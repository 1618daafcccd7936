//! Single neurons are trained without a look at their losses. Nothing may be missed by that.

use backprop_core::{
    train, Activation, Data, InstructionSet, Machine, Network, Outcome, Progress, Record, Settings,
    Start,
};
use proptest::prelude::*;

/// Weights, learning rates, x and y of many sizes, some beyond what the kernel's proof takes.
fn number(smallest: f64, largest: f64) -> impl Strategy<Value = f64> {
    (smallest..largest, any::<bool>()).prop_map(|(exponent, negative)| {
        let size = 10_f64.powf(exponent);
        if negative {
            -size
        } else {
            size
        }
    })
}

fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => number(-2.0, 2.0),
        2 => number(-30.0, 60.0),
        1 => number(-323.0, 308.0),
        1 => prop_oneof![Just(0.0), Just(-0.0), Just(5e-324), Just(1e-315)],
    ]
}

fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![6 => number(-4.0, 1.0), 1 => number(-35.0, 35.0)].prop_map(f64::abs)
}

/// Epochs that a run did, and its weights, in plain code. The run that diverges keeps the
/// weights from before its last epoch.
fn plain(
    relu: bool,
    [mut w1, mut w2]: [f64; 2],
    lr: f64,
    x: f64,
    y: f64,
    epochs: i64,
) -> (i64, [f64; 2]) {
    for epoch in 0..epochs {
        let z = w1 * x;
        let is_on = z > 0.0 || !relu;
        let (h, slope) = if is_on { (z, 1.0) } else { (0.0, 0.0) };
        let error = y - w2 * h;
        let loss = 0.5 * (error * error);
        let dw1 = -error * w2 * (slope * x);
        let dw2 = -error * h;
        let after = [w1 - lr * dw1, w2 - lr * dw2];
        if !loss.is_finite() || !after.iter().all(|w| w.is_finite()) {
            return (epoch + 1, [w1, w2]);
        }
        [w1, w2] = after;
    }
    (epochs, [w1, w2])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn no_overflow_on_the_way_is_missed(
        relu in any::<bool>(),
        weights in proptest::collection::vec(weight(), 2 * 40),
        rates in proptest::collection::vec(rate(), 40),
        x in prop_oneof![4 => number(-2.0, 2.0), 1 => number(-320.0, 100.0), 1 => Just(0.0)],
        y in prop_oneof![4 => number(-2.0, 2.0), 1 => number(-320.0, 100.0), 1 => Just(-0.0)],
        runs in prop_oneof![Just(1_usize), Just(40)],
    ) {
        let activation = if relu { Activation::Relu } else { Activation::Identity };
        let network = Network::new(&[1, 1, 1], activation).unwrap();
        let (x, y) = ([x], [y]);
        let data = Data::new(&network, &x, &y).unwrap();
        let start = Start { weights: &weights[..2 * runs], learning_rate: &rates[..runs], ..Start::default() };
        for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            let settings = Settings {
                epochs: 600,
                record: Record::of(&[]),
                machine: Machine { threads: Some(1), instruction_set: set },
                ..Settings::default()
            };
            let training = train(&network, &data, &start, &settings, &Progress::default()).unwrap();
            for run in 0..runs {
                let own = [weights[2 * run], weights[2 * run + 1]];
                let (epochs, after) = plain(relu, own, rates[run], x[0], y[0], 600);
                let found = &training.weights[2 * run..][..2];
                prop_assert_eq!(training.epochs[run], epochs, "{:?} {} {:?}", own, rates[run], set);
                prop_assert_eq!(training.outcome[run] == Outcome::Diverged, epochs < 600);
                prop_assert_eq!(found[0].to_bits(), after[0].to_bits(), "{:?} {} {:?}", own, rates[run], set);
                prop_assert_eq!(found[1].to_bits(), after[1].to_bits(), "{:?} {} {:?}", own, rates[run], set);
            }
        }
    }
}
