//! The keyword arguments of `train`, as `backprop_svc.train` has checked and named them.

use std::env;
use std::time::Duration;

use backprop_core::{
    Batches, Decay, EarlyStopping, Error, InstructionSet, Machine, Optimizer, Precision, Record,
    Schedule, Settings,
};
use pyo3::prelude::*;

use crate::convert::PyCoreError;
use crate::network::named;

/// Holds every call to an instruction set: for tests and benchmarks.
const INSTRUCTION_SET: &str = "BACKPROP_INSTRUCTION_SET";

/// The name by which histories on the rows of validation are recorded.
const VALIDATION: &str = "val_loss";

/// Threads and instruction set of a call.
pub fn machine(threads: Option<usize>) -> Result<Machine, PyCoreError> {
    let instruction_set = match env::var_os(INSTRUCTION_SET) {
        Some(name) if !name.is_empty() => match InstructionSet::named(&name.to_string_lossy()) {
            Err(Error::Value {
                value,
                allowed,
                fix,
                ..
            }) => Err(Error::Value {
                name: INSTRUCTION_SET.into(),
                value,
                allowed,
                fix,
            }),
            named => named,
        },
        _ => Ok(InstructionSet::best()),
    };
    Ok(Machine {
        threads,
        instruction_set: instruction_set.map_err(PyCoreError)?,
    })
}

/// The time after which all runs end where they are.
pub fn time_limit(settings: &Bound<'_, PyAny>) -> PyResult<Option<Duration>> {
    let limit: Option<f64> = settings.getattr("time_limit")?.extract()?;
    let limit = limit.map(|seconds| {
        let limit = Duration::try_from_secs_f64(seconds).ok();
        limit.filter(|limit| !limit.is_zero()).ok_or(seconds)
    });
    let limit = limit.transpose().map_err(|seconds| {
        PyCoreError(Error::Value {
            name: "time_limit".into(),
            value: seconds.to_string(),
            allowed: "seconds from 1e-9 to 2^64".into(),
            fix: "leave it out for no limit",
        })
    });
    Ok(limit?)
}

/// The settings of the core, each from the attribute of its name.
pub fn core_settings(settings: &Bound<'_, PyAny>) -> PyResult<Settings> {
    let get = |name| settings.getattr(name);
    let momentum = get("momentum")?.extract()?;
    let adam = Optimizer::Adam {
        momentum,
        beta2: get("beta2")?.extract()?,
        epsilon: get("epsilon")?.extract()?,
    };
    let optimizer = named(
        "optimizer",
        &get("optimizer")?.extract::<String>()?,
        [
            Optimizer::GradientDescent,
            Optimizer::Momentum { momentum },
            Optimizer::Nesterov { momentum },
            adam,
        ]
        .map(|known| (known.name(), known)),
    )?;
    let step = Decay::Step {
        every: get("step_epochs")?.extract()?,
        factor: get("step_factor")?.extract()?,
    };
    let decay = named(
        "schedule",
        &get("schedule")?.extract::<String>()?,
        [
            ("constant", Decay::Constant),
            ("step", step),
            ("cosine", Decay::Cosine),
        ],
    )?;
    let precision = named(
        "precision",
        &get("precision")?.extract::<String>()?,
        Precision::ALL.map(|known| (known.name(), known)),
    )?;
    let seed = get("batch_seed")?.extract()?;
    let batch_size: Option<usize> = get("batch_size")?.extract()?;
    let record: Vec<String> = get("record")?.extract()?;
    let patience: Option<usize> = get("patience")?.extract()?;
    let min_delta = get("min_delta")?.extract()?;
    Ok(Settings {
        epochs: get("epochs")?.extract()?,
        optimizer,
        weight_decay: get("weight_decay")?.extract()?,
        schedule: Schedule {
            warmup: get("warmup")?.extract()?,
            decay,
        },
        schedule_epochs: get("schedule_epochs")?.extract()?,
        batches: batch_size.map(|size| Batches { size, seed }),
        precision,
        stop_when_converged: get("stop_when_converged")?.extract()?,
        early_stopping: patience.map(|patience| EarlyStopping {
            patience,
            min_delta,
        }),
        tolerance: get("tolerance")?.extract()?,
        divergence_bound: get("divergence_bound")?.extract()?,
        record: Record::new(|quantity| record.iter().any(|name| name == quantity.name())),
        record_every: get("record_every")?.extract()?,
        record_validation: record.iter().any(|name| name == VALIDATION),
        machine: machine(get("threads")?.extract()?)?,
    })
}
