use std::time::Duration;

use backprop_core::{Batches, Decay, Error, Optimizer, Precision, Record, Schedule, Settings};
use pyo3::prelude::*;

use crate::convert::PyCoreError;
use crate::network::named;

/// The keyword arguments of `train`, as a dataclass of `backprop_svc.training` has them.
#[derive(FromPyObject)]
pub struct PySettings {
    epochs: usize,
    optimizer: String,
    momentum: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
    schedule: String,
    warmup: usize,
    step_epochs: usize,
    step_factor: f64,
    batch_size: Option<usize>,
    precision: String,
    stop_early: bool,
    time_limit: Option<f64>,
    tolerance: f64,
    divergence_bound: f64,
    record: Vec<String>,
    record_every: usize,
    threads: Option<usize>,
}

impl PySettings {
    /// After which all runs end where they are.
    pub fn time_limit(&self) -> Result<Option<Duration>, PyCoreError> {
        let limit = self.time_limit.map(|seconds| {
            let limit = Duration::try_from_secs_f64(seconds).ok();
            limit.filter(|limit| !limit.is_zero()).ok_or(seconds)
        });
        limit.transpose().map_err(|seconds| {
            PyCoreError(Error::Value {
                name: "time_limit".into(),
                value: seconds.to_string(),
                allowed: "seconds above 0",
                fix: "leave it out for no limit",
            })
        })
    }

    /// With the rows of every epoch in their order, for mini-batches.
    pub fn core<'a>(&self, order: &'a [u32]) -> Result<Settings<'a>, PyCoreError> {
        let momentum = self.momentum;
        let adam = Optimizer::Adam {
            momentum,
            beta2: self.beta2,
            epsilon: self.epsilon,
        };
        let optimizer = named(
            "optimizer",
            &self.optimizer,
            [
                Optimizer::GradientDescent,
                Optimizer::Momentum { momentum },
                Optimizer::Nesterov { momentum },
                adam,
            ]
            .map(|known| (known.name(), known)),
            "gradient_descent, momentum, nesterov, adam",
        )?;
        let step = Decay::Step {
            every: self.step_epochs,
            factor: self.step_factor,
        };
        let decay = named(
            "schedule",
            &self.schedule,
            [
                ("constant", Decay::Constant),
                ("step", step),
                ("cosine", Decay::Cosine),
            ],
            "constant, step, cosine",
        )?;
        let precision = named(
            "precision",
            &self.precision,
            Precision::ALL.map(|known| (known.name(), known)),
            "exact, fast",
        )?;
        let records = |name: &str| self.record.iter().any(|wanted| wanted == name);
        Ok(Settings {
            epochs: self.epochs,
            optimizer,
            weight_decay: self.weight_decay,
            schedule: Schedule {
                warmup: self.warmup,
                decay,
            },
            batches: self.batch_size.map(|size| Batches { size, order }),
            precision,
            stop_early: self.stop_early,
            tolerance: self.tolerance,
            divergence_bound: self.divergence_bound,
            record: Record {
                loss: records("loss"),
                prediction: records("prediction"),
                gradients: records("gradients"),
                weights: records("weights"),
            },
            record_every: self.record_every,
            threads: self.threads,
        })
    }
}
