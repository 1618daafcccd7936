//! Numbers that decide how a run is trained, and that each run may have of its own.

use crate::error::within;
use crate::{Activation, Error, Network, Optimizer, Result, Settings};

/// One thing for each hyperparameter that runs may have of their own, besides the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Hyperparameters<T> {
    /// β of the momentum, β₁ of Adam: see [`Optimizer`].
    pub momentum: T,
    /// β₂ of Adam.
    pub beta2: T,
    /// See [`Settings::weight_decay`].
    pub weight_decay: T,
    /// See [`Network::with_gain`].
    pub gain: T,
    /// See [`Network::with_negative_slope`].
    pub negative_slope: T,
}

/// The values of all runs, shape (runs,), where they have their own.
pub(crate) type Given<'a> = Hyperparameters<Option<&'a [f64]>>;
/// Where they are among the numbers of a run.
pub(crate) type Columns = Hyperparameters<Option<usize>>;

impl<T> Hyperparameters<T> {
    pub(crate) fn into_array(self) -> [T; 5] {
        let Self {
            momentum,
            beta2,
            weight_decay,
            gain,
            negative_slope,
        } = self;
        [momentum, beta2, weight_decay, gain, negative_slope]
    }

    /// What a function makes of each.
    pub(crate) fn map<U>(self, make: impl FnMut(T) -> U) -> Hyperparameters<U> {
        let [momentum, beta2, weight_decay, gain, negative_slope] = self.into_array().map(make);
        Hyperparameters {
            momentum,
            beta2,
            weight_decay,
            gain,
            negative_slope,
        }
    }

    /// Each with that of another one.
    pub(crate) fn zip<U>(self, other: Hyperparameters<U>) -> Hyperparameters<(T, U)> {
        Hyperparameters {
            momentum: (self.momentum, other.momentum),
            beta2: (self.beta2, other.beta2),
            weight_decay: (self.weight_decay, other.weight_decay),
            gain: (self.gain, other.gain),
            negative_slope: (self.negative_slope, other.negative_slope),
        }
    }

    pub(crate) fn each_mut(&mut self) -> Hyperparameters<&mut T> {
        Hyperparameters {
            momentum: &mut self.momentum,
            beta2: &mut self.beta2,
            weight_decay: &mut self.weight_decay,
            gain: &mut self.gain,
            negative_slope: &mut self.negative_slope,
        }
    }
}

impl Hyperparameters<f64> {
    /// Those that all runs have which have none of their own.
    pub(crate) fn shared(network: &Network, settings: &Settings) -> Self {
        let (momentum, beta2) = match settings.optimizer {
            Optimizer::GradientDescent => (0.0, 0.0),
            Optimizer::Momentum { momentum } | Optimizer::Nesterov { momentum } => (momentum, 0.0),
            Optimizer::Adam {
                momentum, beta2, ..
            } => (momentum, beta2),
        };
        Self {
            momentum,
            beta2,
            weight_decay: settings.weight_decay,
            gain: network.gain(),
            negative_slope: network.negative_slope(),
        }
    }

    /// An optimizer with the values of a run.
    pub(crate) fn of_optimizer(self, optimizer: Optimizer) -> Optimizer {
        let Self {
            momentum, beta2, ..
        } = self;
        match optimizer {
            Optimizer::GradientDescent => optimizer,
            Optimizer::Momentum { .. } => Optimizer::Momentum { momentum },
            Optimizer::Nesterov { .. } => Optimizer::Nesterov { momentum },
            Optimizer::Adam { epsilon, .. } => Optimizer::Adam {
                momentum,
                beta2,
                epsilon,
            },
        }
    }
}

/// Refuses arrays of other sizes than there are runs, and values that no run can have.
pub(crate) fn check(given: Given, runs: usize) -> Result<()> {
    type Test = fn(f64) -> bool;
    let below_one: (Test, _, _) = (
        |value| (0.0..1.0).contains(&value),
        "numbers from 0 to below 1",
        "try 0.9",
    );
    let rules: Hyperparameters<(&str, (Test, &'static str, &'static str))> = Hyperparameters {
        momentum: ("momentum", below_one),
        beta2: ("beta2", below_one),
        weight_decay: (
            "weight_decay",
            (
                |value| value >= 0.0 && value.is_finite(),
                "finite numbers from 0",
                "try 1e-4",
            ),
        ),
        gain: (
            "gain",
            (
                |value| value > 0.0 && value.is_finite(),
                "finite numbers above 0",
                "try 1",
            ),
        ),
        negative_slope: (
            "negative_slope",
            (
                |value| (0.0..=1.0).contains(&value),
                "numbers from 0 to 1",
                "try 0.01",
            ),
        ),
    };
    for (values, (name, (is_allowed, allowed, fix))) in given.zip(rules).into_array() {
        let Some(values) = values else { continue };
        if values.len() != runs {
            return Err(one_a_run(name, values.len(), runs));
        }
        if let Some(run) = values.iter().position(|value| !is_allowed(*value)) {
            let name = format!("{name}[{run}]");
            within(&name, values[run], is_allowed, allowed, fix)?;
        }
    }
    Ok(())
}

/// The error of an array that has not one value for each run.
pub(crate) fn one_a_run(name: &'static str, found: usize, runs: usize) -> Error {
    Error::Shape {
        name: name.into(),
        found: format!("{found} values"),
        allowed: format!("{runs}, one for each run"),
        fix: "give as many as rows of weights",
    }
}

/// Those that change anything.
pub(crate) fn used<'a>(given: Given<'a>, network: &Network, settings: &Settings) -> Given<'a> {
    let optimizer = settings.optimizer;
    let is_adam = matches!(optimizer, Optimizer::Adam { .. });
    let leaks = [network.activation(), network.output()].contains(&Activation::LeakyRelu);
    let uses = Hyperparameters {
        momentum: optimizer != Optimizer::GradientDescent,
        beta2: is_adam,
        weight_decay: true,
        gain: network.layers().len() > 1,
        negative_slope: leaks,
    };
    given
        .zip(uses)
        .map(|(values, is_used)| values.filter(|_| is_used))
}
