//! The compiled extension `backprop_svc._core`: arrays in, arrays out, no arithmetic.
//! Its Python signatures are in `python/backprop_svc/_core.pyi`.
#![forbid(unsafe_code)]
// PyO3 hands arguments over by value, and methods must take `&self`.
#![allow(clippy::needless_pass_by_value)]

mod convert;
mod interrupt;
mod network;
mod settings;

use backprop_core::{Arrays, Data, Outcome, Start};
use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{array, empty, in_row_order, values, PyCoreError};
use crate::interrupt::{interruptible, Callback};
use crate::network::PyNetwork;
use crate::settings::PySettings;

#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn train<'py>(
    py: Python<'py>,
    network: &PyNetwork,
    weights: PyReadonlyArrayDyn<'py, f64>,
    learning_rate: PyReadonlyArrayDyn<'py, f64>,
    x: PyReadonlyArrayDyn<'py, f64>,
    y: PyReadonlyArrayDyn<'py, f64>,
    order: PyReadonlyArrayDyn<'py, u32>,
    settings: PySettings,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let network = &network.0;
    let (x, y, order) = (values(&x), values(&y), values(&order));
    let data = Data::new(network, &x, &y).map_err(PyCoreError)?;
    let start = Start {
        weights: in_row_order(&weights)?,
        learning_rate: in_row_order(&learning_rate)?,
    };
    let limit = settings.time_limit()?;
    let settings = settings.core(&order)?;
    let (parameters, epochs) = (network.parameters(), settings.epochs);
    let runs = start.weights.len() / parameters;
    let report = progress.map(|call| Callback {
        call,
        total: (runs as u64).saturating_mul(epochs as u64),
    });
    let work = runs
        .saturating_mul(epochs)
        .saturating_mul(data.rows())
        .saturating_mul(parameters);
    let final_weights = empty(py, runs, parameters)?;
    let [last_loss, loss_ratio] = [empty(py, runs, 1)?, empty(py, runs, 1)?];
    let epochs_done = empty(py, runs, 1)?;
    let (mut outcome, mut period) = (vec![Outcome::default(); runs], vec![0_u8; runs]);
    let [loss, prediction, gradients, weight_history] = settings.columns(network);
    let loss = empty(py, runs, loss)?;
    let prediction = empty(py, runs, prediction)?;
    let gradients = empty(py, runs, gradients)?;
    let weight_history = empty(py, runs, weight_history)?;
    {
        let [mut weights, mut last_loss, mut loss_ratio] =
            [&final_weights, &last_loss, &loss_ratio].map(PyArrayMethods::readwrite);
        let mut epochs = epochs_done.readwrite();
        let [mut loss, mut prediction, mut gradients, mut weight_history] =
            [&loss, &prediction, &gradients, &weight_history].map(PyArrayMethods::readwrite);
        let arrays = Arrays {
            weights: weights.as_slice_mut()?,
            outcome: &mut outcome,
            epochs: epochs.as_slice_mut()?,
            last_loss: last_loss.as_slice_mut()?,
            loss_ratio: loss_ratio.as_slice_mut()?,
            period: &mut period,
            loss: loss.as_slice_mut()?,
            prediction: prediction.as_slice_mut()?,
            gradients: gradients.as_slice_mut()?,
            weight_history: weight_history.as_slice_mut()?,
        };
        interruptible(py, work, report, limit, |progress| {
            backprop_core::train_into(network, &data, &start, &settings, progress, arrays)
        })?;
    }
    let codes: Vec<u8> = outcome.iter().map(|outcome| *outcome as u8).collect();
    let result = PyDict::new(py);
    result.set_item("weights", final_weights.reshape([runs, parameters])?)?;
    result.set_item("outcome_code", array(py, codes, &[runs])?)?;
    result.set_item("epochs", epochs_done)?;
    result.set_item("last_loss", last_loss)?;
    result.set_item("loss_ratio", loss_ratio)?;
    result.set_item("period", array(py, period, &[runs])?)?;
    let (record, records) = (settings.record, settings.records());
    for (name, wanted, array) in [
        ("loss", record.loss, loss),
        ("prediction", record.prediction, prediction),
    ] {
        let array = wanted.then(|| array.reshape([runs, records])).transpose()?;
        result.set_item(name, array)?;
    }
    for (name, wanted, array) in [
        ("gradients", record.gradients, gradients),
        ("weight_history", record.weights, weight_history),
    ] {
        let shape = [runs, records, parameters];
        let array = wanted.then(|| array.reshape(shape)).transpose()?;
        result.set_item(name, array)?;
    }
    Ok(result)
}

type LossAndGradients<'py> = (Bound<'py, PyArrayDyn<f64>>, Bound<'py, PyArrayDyn<f64>>);

#[pyfunction]
fn gradients<'py>(
    py: Python<'py>,
    network: &PyNetwork,
    weights: PyReadonlyArrayDyn<'py, f64>,
    x: PyReadonlyArrayDyn<'py, f64>,
    y: PyReadonlyArrayDyn<'py, f64>,
) -> PyResult<LossAndGradients<'py>> {
    let network = &network.0;
    let (weights, x, y) = (values(&weights), values(&x), values(&y));
    let data = Data::new(network, &x, &y).map_err(PyCoreError)?;
    let work = weights.len().saturating_mul(data.rows());
    let pass = interruptible(py, work, None, None, |progress| {
        backprop_core::gradients(network, &data, &weights, progress)
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
    x: PyReadonlyArrayDyn<'py, f64>,
) -> PyResult<Bound<'py, PyArrayDyn<f64>>> {
    let network = &network.0;
    let (weights, x) = (values(&weights), values(&x));
    let work = weights.len().saturating_mul(x.len() / network.inputs());
    let predictions = interruptible(py, work, None, None, |progress| {
        backprop_core::predict(network, &x, &weights, progress)
    })?;
    let runs = weights.len() / network.parameters();
    let rows = x.len() / network.inputs();
    array(py, predictions, &[runs, rows, network.outputs()])
}

/// Version, build profile, instruction set and default number of threads.
#[pyfunction]
fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("profile", env!("BUILD_PROFILE"))?;
    info.set_item("simd", backprop_core::instruction_set())?;
    info.set_item("threads", backprop_core::threads())?;
    Ok(info)
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Loads NumPy's interface now: Ctrl-C in the middle of that would be a panic.
    drop(PyArray1::<f64>::zeros(module.py(), 0, false));
    module.add_class::<PyNetwork>()?;
    module.add_function(wrap_pyfunction!(train, module)?)?;
    module.add_function(wrap_pyfunction!(gradients, module)?)?;
    module.add_function(wrap_pyfunction!(predict, module)?)?;
    module.add_function(wrap_pyfunction!(build_info, module)?)?;
    module.add("OUTCOMES", Outcome::ALL.map(Outcome::name).to_vec())?;
    Ok(())
}
