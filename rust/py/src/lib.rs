//! The compiled extension `backprop_svc._core`: arrays in, arrays out, no arithmetic.
//! Its Python signatures are in `python/backprop_svc/_core.pyi`.
#![forbid(unsafe_code)]
// PyO3 hands arguments over by value, and methods must take `&self`.
#![allow(clippy::needless_pass_by_value)]

mod convert;
mod interrupt;
mod network;

use backprop_core::{Data, Histories, Outcome, Record, Settings, Start};
use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{array, history, values, PyCoreError};
use crate::interrupt::{interruptible, Callback};
use crate::network::PyNetwork;

#[pyfunction]
#[pyo3(signature = (
    network, weights, learning_rate, x, y, *, epochs, tolerance, divergence_bound,
    record_loss, record_prediction, record_gradients, record_weights, threads, progress
))]
#[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
fn train<'py>(
    py: Python<'py>,
    network: &PyNetwork,
    weights: PyReadonlyArrayDyn<'py, f64>,
    learning_rate: PyReadonlyArrayDyn<'py, f64>,
    x: PyReadonlyArrayDyn<'py, f64>,
    y: PyReadonlyArrayDyn<'py, f64>,
    epochs: usize,
    tolerance: f64,
    divergence_bound: f64,
    record_loss: bool,
    record_prediction: bool,
    record_gradients: bool,
    record_weights: bool,
    threads: Option<usize>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let network = &network.0;
    let (weights, learning_rate) = (values(&weights), values(&learning_rate));
    let (x, y) = (values(&x), values(&y));
    let data = Data::new(network, &x, &y).map_err(PyCoreError)?;
    let start = Start {
        weights: &weights,
        learning_rate: &learning_rate,
    };
    let settings = Settings {
        epochs,
        tolerance,
        divergence_bound,
        record: Record {
            loss: record_loss,
            prediction: record_prediction,
            gradients: record_gradients,
            weights: record_weights,
        },
        threads,
    };
    let runs = learning_rate.len();
    let report = progress.map(|call| Callback {
        call,
        total: (runs as u64).saturating_mul(epochs as u64),
    });
    let work = runs
        .saturating_mul(epochs)
        .saturating_mul(data.rows())
        .saturating_mul(network.parameters());
    // NumPy's memory: it asks the system for large pages, which are filled much faster.
    let columns = settings.columns(network);
    let histories = columns.map(|columns| history(py, runs, columns));
    let [loss, prediction, gradients, weight_history] = histories;
    let arrays = [loss?, prediction?, gradients?, weight_history?];
    let done = {
        let [mut loss, mut prediction, mut gradients, mut weights] =
            arrays.each_ref().map(PyArrayMethods::readwrite);
        let histories = Histories {
            loss: loss.as_slice_mut()?,
            prediction: prediction.as_slice_mut()?,
            gradients: gradients.as_slice_mut()?,
            weights: weights.as_slice_mut()?,
        };
        interruptible(py, work, report, |progress| {
            backprop_core::train_into(network, &data, &start, &settings, progress, histories)
        })?
    };
    let parameters = network.parameters();
    let codes: Vec<u8> = done.outcome.iter().map(|outcome| *outcome as u8).collect();
    let result = PyDict::new(py);
    result.set_item("weights", array(py, done.weights, &[runs, parameters])?)?;
    result.set_item("outcome_code", array(py, codes, &[runs])?)?;
    result.set_item("diverged_at", array(py, done.diverged_at, &[runs])?)?;
    result.set_item("period", array(py, done.period, &[runs])?)?;
    let [loss, prediction, gradients, weight_history] = arrays;
    for (name, wanted, array) in [
        ("loss", record_loss, loss),
        ("prediction", record_prediction, prediction),
    ] {
        let array = wanted.then(|| array.reshape([runs, epochs])).transpose()?;
        result.set_item(name, array)?;
    }
    for (name, wanted, array) in [
        ("gradients", record_gradients, gradients),
        ("weight_history", record_weights, weight_history),
    ] {
        let shape = [runs, epochs, parameters];
        let array = wanted.then(|| array.reshape(shape)).transpose()?;
        result.set_item(name, array)?;
    }
    Ok(result)
}

type Arrays<'py> = (Bound<'py, PyArrayDyn<f64>>, Bound<'py, PyArrayDyn<f64>>);

#[pyfunction]
fn gradients<'py>(
    py: Python<'py>,
    network: &PyNetwork,
    weights: PyReadonlyArrayDyn<'py, f64>,
    x: PyReadonlyArrayDyn<'py, f64>,
    y: PyReadonlyArrayDyn<'py, f64>,
) -> PyResult<Arrays<'py>> {
    let network = &network.0;
    let (weights, x, y) = (values(&weights), values(&x), values(&y));
    let data = Data::new(network, &x, &y).map_err(PyCoreError)?;
    let pass = py
        .detach(|| backprop_core::gradients(network, &data, &weights))
        .map_err(PyCoreError)?;
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
    let predictions = py
        .detach(|| backprop_core::predict(network, &x, &weights))
        .map_err(PyCoreError)?;
    let runs = weights.len() / network.parameters();
    let rows = x.len() / network.inputs();
    array(py, predictions, &[runs, rows, network.outputs()])
}

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
