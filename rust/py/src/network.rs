use backprop_core::{Activation, Dtype, Error, Loss, Network};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::convert::PyCoreError;

/// The shape of a network; see `_core.pyi`.
#[pyclass(name = "Network", module = "backprop_svc", frozen, eq, hash)]
#[derive(PartialEq, Eq, Hash)]
pub struct PyNetwork(pub Network);

#[pymethods]
impl PyNetwork {
    #[new]
    #[pyo3(signature = (
        *sizes, activation = "relu", gain = 1.0, slope = 0.01, bias = false,
        loss = "half_squared_error", dtype = "float64"
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        sizes: Vec<i64>,
        activation: &str,
        gain: f64,
        slope: f64,
        bias: bool,
        loss: &str,
        dtype: &str,
    ) -> PyResult<Self> {
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
        let activation = named(
            "activation",
            activation,
            Activation::ALL.map(|known| (known.name(), known)),
            "identity, relu, leaky_relu, tanh, sigmoid, gelu, softplus",
        )?;
        let loss = named(
            "loss",
            loss,
            Loss::ALL.map(|known| (known.name(), known)),
            "half_squared_error, mse, binary_cross_entropy, softmax_cross_entropy",
        )?;
        let dtype = named(
            "dtype",
            dtype,
            Dtype::ALL.map(|known| (known.name(), known)),
            "float32, float64",
        )?;
        let network = Network::new(&sizes, activation)
            .and_then(|network| network.with_loss(loss).with_dtype(dtype).with_bias(bias))
            .and_then(|network| network.with_gain(gain))
            .and_then(|network| network.with_slope(slope));
        Ok(Self(network.map_err(PyCoreError)?))
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
    fn gain(&self) -> f64 {
        self.0.gain()
    }

    #[getter]
    fn slope(&self) -> f64 {
        self.0.slope()
    }

    #[getter]
    fn bias(&self) -> bool {
        self.0.bias()
    }

    #[getter]
    fn loss(&self) -> &'static str {
        self.0.loss().name()
    }

    #[getter]
    fn dtype(&self) -> &'static str {
        self.0.dtype().name()
    }

    #[getter]
    fn layers(&self) -> usize {
        self.0.sizes().len() - 1
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
        let gain = match self.0.gain() {
            1.0 => String::new(),
            gain => format!(", gain={gain}"),
        };
        let slope = match self.0.activation() {
            Activation::LeakyRelu => format!(", slope={}", self.0.slope()),
            _ => String::new(),
        };
        let bias = if self.0.bias() { ", bias=True" } else { "" };
        let loss = match self.0.loss() {
            Loss::HalfSquaredError => String::new(),
            loss => format!(", loss='{}'", loss.name()),
        };
        let dtype = match self.0.dtype() {
            Dtype::Float64 => "",
            Dtype::Float32 => ", dtype='float32'",
        };
        format!(
            "Network({}, activation='{}'{gain}{slope}{bias}{loss}{dtype})",
            sizes.join(", "),
            self.activation()
        )
    }

    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let keywords = PyDict::new(py);
        keywords.set_item("activation", self.activation())?;
        keywords.set_item("gain", self.0.gain())?;
        keywords.set_item("slope", self.0.slope())?;
        keywords.set_item("bias", self.0.bias())?;
        keywords.set_item("loss", self.loss())?;
        keywords.set_item("dtype", self.dtype())?;
        Ok((self.sizes(py)?, keywords))
    }
}

/// What a setting is called by a name.
pub fn named<T, const N: usize>(
    setting: &str,
    name: &str,
    known: [(&str, T); N],
    allowed: &'static str,
) -> Result<T, PyCoreError> {
    let found = known.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value).ok_or_else(|| {
        PyCoreError(Error::Value {
            name: setting.into(),
            value: format!("{name:?}"),
            allowed,
            fix: "choose one of them",
        })
    })
}
