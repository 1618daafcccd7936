use backprop_core::{Activation, Error, Network};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::PyCoreError;

/// The shape of a network; see `_core.pyi`.
#[pyclass(name = "Network", module = "backprop_svc", frozen, eq, hash)]
#[derive(PartialEq, Eq, Hash)]
pub struct PyNetwork(pub Network);

#[pymethods]
impl PyNetwork {
    #[new]
    #[pyo3(signature = (*sizes, activation = "relu"))]
    fn new(sizes: Vec<i64>, activation: &str) -> PyResult<Self> {
        // A negative size is as impossible as a zero, and is named as it was given.
        if let Some(size) = sizes.iter().find(|size| **size < 0) {
            return Err(PyCoreError(Error::Value {
                name: "network size".into(),
                value: size.to_string(),
                allowed: "whole numbers from 1",
                fix: "give inputs, hidden layers and outputs, such as 1, 1, 1",
            })
            .into());
        }
        let sizes: Vec<usize> = sizes
            .into_iter()
            .filter_map(|size| usize::try_from(size).ok())
            .collect();
        let found = Activation::ALL
            .into_iter()
            .find(|known| known.name() == activation);
        let Some(activation) = found else {
            return Err(PyCoreError(Error::Value {
                name: "activation".into(),
                value: format!("{activation:?}"),
                allowed: "identity, relu",
                fix: "choose one of them",
            })
            .into());
        };
        Ok(Self(Network::new(&sizes, activation).map_err(PyCoreError)?))
    }

    #[getter]
    fn sizes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.sizes())
    }

    #[getter]
    fn activation(&self) -> &'static str {
        self.0.activation().name()
    }

    #[getter]
    fn inputs(&self) -> usize {
        self.0.inputs()
    }

    #[getter]
    fn outputs(&self) -> usize {
        self.0.outputs()
    }

    #[getter]
    fn parameters(&self) -> usize {
        self.0.parameters()
    }

    #[getter]
    fn parameter_names(&self) -> Vec<String> {
        self.0.parameter_names()
    }

    fn __repr__(&self) -> String {
        let sizes: Vec<String> = self.0.sizes().iter().map(ToString::to_string).collect();
        format!(
            "Network({}, activation='{}')",
            sizes.join(", "),
            self.activation()
        )
    }

    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyAny>)> {
        let keywords = [("activation", self.activation())];
        Ok((
            self.sizes(py)?,
            pyo3::types::IntoPyDict::into_py_dict(keywords, py)?.into_any(),
        ))
    }
}
