//! The compiled extension `backprop_svc._core`: arrays in, arrays out, no arithmetic.
//! Its Python signatures are in `python/backprop_svc/_core.pyi`.
#![forbid(unsafe_code)]
// PyO3 hands arguments over by value, and methods must take `&self`.
#![allow(clippy::needless_pass_by_value)]

mod convert;
mod interrupt;
mod network;
mod results;
mod settings;

use backprop_core::{
    check_memory, Activation, Data, Ends, Error, Hyperparameters, Machine, Network, Outcome,
    Quantity, Record, Settings, Stall, Start, Weights,
};
use numpy::{PyArray1, PyArrayDyn, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{array, in_row_order, values, PyCoreError};
use crate::interrupt::{interruptible, Callback};
use crate::network::PyNetwork;
use crate::results::Results;
use crate::settings::{core_settings, machine, time_limit};

#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn train<'py>(
    py: Python<'py>,
    network: &PyNetwork,
    weights: PyReadonlyArrayDyn<'py, f64>,
    learning_rate: PyReadonlyArrayDyn<'py, f64>,
    own: Bound<'py, PyDict>,
    memory: Option<PyReadonlyArrayDyn<'py, f64>>,
    first_epoch: usize,
    x: PyReadonlyArrayDyn<'py, f64>,
    y: PyReadonlyArrayDyn<'py, f64>,
    validation: Option<(PyReadonlyArrayDyn<'py, f64>, PyReadonlyArrayDyn<'py, f64>)>,
    settings: Bound<'py, PyAny>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let network = &network.0;
    let (x, y) = (values(&x)?, values(&y)?);
    let data = Data::new(network, &x, &y).map_err(PyCoreError)?;
    let aside = validation.map(|(x, y)| PyResult::Ok((values(&x)?, values(&y)?)));
    let aside = aside.transpose()?;
    let aside = aside.as_ref().map(|(x, y)| Data::new(network, x, y));
    let of_validation = |error: Error| PyCoreError(error.within("validation"));
    let aside = aside.transpose().map_err(of_validation)?;
    let data = aside.iter().fold(data, Data::with_validation);
    let own = Own::of(&own)?;
    let start = Start {
        weights: in_row_order(&weights)?,
        learning_rate: in_row_order(&learning_rate)?,
        hyperparameters: Hyperparameters {
            momentum: own.values("momentum")?,
            beta2: own.values("beta2")?,
            weight_decay: own.values("weight_decay")?,
            gain: own.values("gain")?,
            negative_slope: own.values("negative_slope")?,
        },
        batch_seed: own.seeds.as_ref().map(in_row_order).transpose()?,
        memory: memory.as_ref().map(in_row_order).transpose()?,
        epoch: first_epoch,
    };
    let limit = time_limit(&settings)?;
    let settings = core_settings(&settings)?;
    let (parameters, epochs) = (network.parameters(), settings.epochs);
    let runs = start.weights.len() / parameters;
    let report = progress.map(|call| Callback {
        call,
        total: (runs as u64).saturating_mul(epochs as u64),
    });
    // The orders of rows before the first epoch are drawn, too.
    let orders = settings.batches.map_or(0, |_| first_epoch);
    let work = runs
        .saturating_mul(epochs)
        .saturating_mul(parameters)
        .saturating_add(orders)
        .saturating_mul(data.rows() + aside.as_ref().map_or(0, Data::rows));
    check_memory(network, data.rows(), runs, &settings).map_err(PyCoreError)?;
    let mut results = Results::new(py, network, &settings, runs)?;
    results.write(|arrays| {
        interruptible(py, work, report, limit, |progress| {
            backprop_core::train_into(network, &data, &start, &settings, progress, arrays)
        })
    })?;
    results.into_dict(py, network, &settings)
}

/// What runs have of their own: arrays of shape (runs,) by the names of their settings.
struct Own<'py> {
    values: Vec<(String, PyReadonlyArrayDyn<'py, f64>)>,
    seeds: Option<PyReadonlyArrayDyn<'py, u32>>,
}

impl<'py> Own<'py> {
    fn of(given: &Bound<'py, PyDict>) -> PyResult<Self> {
        let (mut values, mut seeds) = (Vec::new(), None);
        for (name, array) in given.iter() {
            let name: String = name.extract()?;
            if name == "batch_seed" {
                seeds = Some(array.extract()?);
            } else {
                values.push((name, array.extract()?));
            }
        }
        Ok(Self { values, seeds })
    }

    fn values(&self, name: &str) -> PyResult<Option<&[f64]>> {
        let own = self.values.iter().find(|(known, _)| known == name);
        own.map(|(_, values)| in_row_order(values)).transpose()
    }

    /// Weights with what decides, besides them, what runs compute.
    fn weights<'a>(&'a self, values: &'a [f64]) -> PyResult<Weights<'a>> {
        Ok(Weights {
            values,
            gain: self.values("gain")?,
            negative_slope: self.values("negative_slope")?,
        })
    }
}

/// Refuses a pass for which there is not enough memory.
fn fits(network: &Network, weights: &[f64], rows: usize, machine: Machine) -> PyResult<()> {
    let settings = Settings {
        machine,
        record: Record::of(&[Quantity::Gradients]),
        ..Settings::default()
    };
    let runs = weights.len() / network.parameters();
    Ok(check_memory(network, rows, runs, &settings).map_err(PyCoreError)?)
}

type LossAndGradients<'py> = (Bound<'py, PyArrayDyn<f64>>, Bound<'py, PyArrayDyn<f64>>);

#[pyfunction]
fn gradients<'py>(
    py: Python<'py>,
    network: &PyNetwork,
    weights: PyReadonlyArrayDyn<'py, f64>,
    own: Bound<'py, PyDict>,
    x: PyReadonlyArrayDyn<'py, f64>,
    y: PyReadonlyArrayDyn<'py, f64>,
) -> PyResult<LossAndGradients<'py>> {
    let network = &network.0;
    let (weights, x, y) = (values(&weights)?, values(&x)?, values(&y)?);
    let data = Data::new(network, &x, &y).map_err(PyCoreError)?;
    let work = weights.len().saturating_mul(data.rows());
    let machine = machine(None)?;
    fits(network, &weights, data.rows(), machine)?;
    let own = Own::of(&own)?;
    let there = own.weights(&weights)?;
    let pass = interruptible(py, work, None, None, |progress| {
        backprop_core::gradients(network, &data, there, machine, progress)
    })?;
    let runs = pass.loss.len();
    Ok((
        array(py, pass.loss, &[runs])?,
        array(py, pass.gradients, &[runs, network.parameters()])?,
    ))
}

#[pyfunction]
fn predict<'py>(
    py: Python<'py>,
    network: &PyNetwork,
    weights: PyReadonlyArrayDyn<'py, f64>,
    own: Bound<'py, PyDict>,
    x: PyReadonlyArrayDyn<'py, f64>,
) -> PyResult<Bound<'py, PyArrayDyn<f64>>> {
    let network = &network.0;
    let (weights, x) = (values(&weights)?, values(&x)?);
    let work = weights.len().saturating_mul(x.len() / network.inputs());
    let machine = machine(None)?;
    fits(network, &weights, x.len() / network.inputs(), machine)?;
    let own = Own::of(&own)?;
    let there = own.weights(&weights)?;
    let predictions = interruptible(py, work, None, None, |progress| {
        backprop_core::predict(network, &x, there, machine, progress)
    })?;
    let runs = weights.len() / network.parameters();
    let rows = x.len() / network.inputs();
    array(py, predictions, &[runs, rows, network.outputs()])
}

type Eigenvalues<'py> = Bound<'py, PyArrayDyn<f64>>;

#[pyfunction]
fn curvature<'py>(
    py: Python<'py>,
    network: &PyNetwork,
    weights: PyReadonlyArrayDyn<'py, f64>,
    own: Bound<'py, PyDict>,
    x: PyReadonlyArrayDyn<'py, f64>,
    y: PyReadonlyArrayDyn<'py, f64>,
    both: bool,
) -> PyResult<(Eigenvalues<'py>, Option<Eigenvalues<'py>>, Eigenvalues<'py>)> {
    let network = &network.0;
    let (weights, x, y) = (values(&weights)?, values(&x)?, values(&y)?);
    let data = Data::new(network, &x, &y).map_err(PyCoreError)?;
    let work = weights
        .len()
        .saturating_mul(data.rows())
        .saturating_mul(network.parameters());
    let (ends, machine) = (
        if both { Ends::Both } else { Ends::Largest },
        machine(None)?,
    );
    let own = Own::of(&own)?;
    let there = own.weights(&weights)?;
    let found = interruptible(py, work, None, None, |progress| {
        backprop_core::curvature(network, &data, there, ends, machine, progress)
    })?;
    let runs = found.largest.len();
    let smallest = both.then(|| array(py, found.smallest, &[runs]));
    Ok((
        array(py, found.largest, &[runs])?,
        smallest.transpose()?,
        array(py, found.error, &[runs])?,
    ))
}

/// Version, build profile, the instruction set in use and the default number of threads.
#[pyfunction]
fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("profile", env!("BUILD_PROFILE"))?;
    info.set_item("simd", machine(None)?.instruction_set.name())?;
    info.set_item("threads", backprop_core::threads())?;
    Ok(info)
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Loads NumPy and its interface now: Ctrl-C in the middle of that would be a panic.
    module.py().import("numpy")?;
    drop(PyArray1::<f64>::zeros(module.py(), 0, false));
    module.add_class::<PyNetwork>()?;
    module.add_function(wrap_pyfunction!(train, module)?)?;
    module.add_function(wrap_pyfunction!(gradients, module)?)?;
    module.add_function(wrap_pyfunction!(predict, module)?)?;
    module.add_function(wrap_pyfunction!(curvature, module)?)?;
    module.add_function(wrap_pyfunction!(build_info, module)?)?;
    module.add(
        "ACTIVATIONS",
        Activation::ALL.map(Activation::name).to_vec(),
    )?;
    module.add("OUTCOMES", Outcome::ALL.map(Outcome::name).to_vec())?;
    module.add("STALLS", Stall::ALL.map(Stall::name).to_vec())?;
    module.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
