use backprop_core::{Activation, Dtype, Error, Loss, Network};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};

use crate::convert::{checked, shown, PyCoreError};

/// The shape of a network: fully connected layers, and what training makes small.
///
/// ``Network(1, 1, 1)`` is the guide's network, ŷ = w2·ReLU(w1·x). The parameters of one
/// run are one flat vector: layer after layer, each layer's matrix row by row, one row per
/// neuron, then its biases if it has them. Networks compare by value, can be hashed and
/// pickled.
///
/// Parameters
/// ----------
/// *sizes
///     Numbers of neurons, from the inputs to the outputs; two or more, each from 1.
/// activation
///     Of the hidden layers, φ: ``"relu"``, ``"identity"``, ``"leaky_relu"``, ``"tanh"``,
///     ``"sigmoid"``, ``"gelu"`` (by the error function, arXiv 1606.08415) or ``"softplus"``.
/// output
///     Activation of the outputs, ŷ = φ(z), one of the same; ``"identity"``, ŷ = z, by default.
///     Cross-entropies have their own, so that they take ``"identity"``, and the binary one
///     ``"sigmoid"``, which is its own.
/// gain
///     Hidden neurons compute φ(gain·z); a finite number above 0.
/// negative_slope
///     Of leaky ReLU where z ≤ 0; from 0 to 1.
/// bias
///     Whether every neuron adds a bias to its weighted sum.
/// loss
///     Of one row, over several rows the mean: ``"half_squared_error"`` ½ Σ (y − ŷ)²;
///     ``"mse"``, the mean of (y − ŷ)² over the outputs; ``"binary_cross_entropy"``, the mean
///     of −y·ln ŷ − (1 − y)·ln(1 − ŷ) with ŷ = 1 / (1 + e^−z); ``"softmax_cross_entropy"``,
///     −Σ y·ln ŷ with ŷ = e^z / Σ e^z. z are the weighted sums of the last layer.
/// dtype
///     What it computes with, float64 or float32, as NumPy takes it; activations and losses are
///     evaluated in float64 and rounded. All arrays are float64, which holds every float32.
///
/// Raises
/// ------
/// SettingError
///     Impossible sizes; an unknown activation, loss or type; an output activation that the
///     loss does not take; a gain or negative_slope out of range.
/// SettingTypeError
///     A value of another type than its setting has.
#[pyclass(name = "Network", module = "backprop_svc", frozen, eq, hash)]
#[derive(PartialEq, Eq, Hash)]
pub struct PyNetwork(pub Network);

#[pymethods]
impl PyNetwork {
    #[new]
    #[pyo3(signature = (
        *sizes, activation = "relu".into(), gain = 1.0, negative_slope = 0.01, bias = false,
        loss = "half_squared_error".into(), dtype = DtypeName("float64".into()),
        output = "identity".into()
    ), text_signature = "(*sizes, activation='relu', gain=1.0, negative_slope=0.01, \
        bias=False, loss='half_squared_error', dtype='float64', output='identity')")]
    #[allow(clippy::too_many_arguments)]
    fn new(
        sizes: Vec<Bound<'_, PyAny>>,
        #[pyo3(from_py_with = activation)] activation: String,
        #[pyo3(from_py_with = gain)] gain: f64,
        #[pyo3(from_py_with = negative_slope)] negative_slope: f64,
        #[pyo3(from_py_with = bias)] bias: bool,
        #[pyo3(from_py_with = loss)] loss: String,
        dtype: DtypeName,
        #[pyo3(from_py_with = output_name)] output: String,
    ) -> PyResult<Self> {
        let sizes = sizes.iter().map(size).collect::<Result<Vec<_>, _>>()?;
        let activation = named(
            "activation",
            &activation,
            Activation::ALL.map(|known| (known.name(), known)),
        )?;
        let output = named(
            "output",
            &output,
            Activation::ALL.map(|known| (known.name(), known)),
        )?;
        let loss = named("loss", &loss, Loss::ALL.map(|known| (known.name(), known)))?;
        let dtype = named(
            "dtype",
            &dtype.0,
            Dtype::ALL.map(|known| (known.name(), known)),
        )?;
        let network = Network::new(&sizes, activation)
            .and_then(|network| network.with_loss(loss).with_dtype(dtype).with_bias(bias))
            .and_then(|network| network.with_output(output))
            .and_then(|network| network.with_gain(gain))
            .and_then(|network| network.with_negative_slope(negative_slope));
        Ok(Self(network.map_err(PyCoreError)?))
    }

    /// Numbers of neurons, from the inputs to the outputs.
    #[getter]
    fn sizes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.sizes())
    }

    /// The activation of the hidden layers.
    #[getter]
    fn activation(&self) -> &'static str {
        self.0.activation().name()
    }

    /// The activation of the outputs; that of a cross-entropy is its own.
    #[getter]
    fn output(&self) -> &'static str {
        self.0.output().name()
    }

    /// What z is multiplied by before the activation.
    #[getter]
    fn gain(&self) -> f64 {
        self.0.gain()
    }

    /// Of leaky ReLU where z ≤ 0.
    #[getter]
    fn negative_slope(&self) -> f64 {
        self.0.negative_slope()
    }

    /// Whether every neuron adds a bias to its weighted sum.
    #[getter]
    fn bias(&self) -> bool {
        self.0.bias()
    }

    /// What training makes small.
    #[getter]
    fn loss(&self) -> &'static str {
        self.0.loss().name()
    }

    /// What it computes with.
    #[getter]
    fn dtype(&self) -> &'static str {
        self.0.dtype().name()
    }

    /// Number of layers of weights.
    #[getter]
    fn layers(&self) -> usize {
        self.0.sizes().len() - 1
    }

    /// Number of inputs.
    #[getter]
    fn inputs(&self) -> usize {
        self.0.inputs()
    }

    /// Number of outputs.
    #[getter]
    fn outputs(&self) -> usize {
        self.0.outputs()
    }

    /// Number of parameters of one run.
    #[getter]
    fn parameters(&self) -> usize {
        self.0.parameters()
    }

    /// ``w1`` or ``w1_<neuron>_<input>``; ``b1`` or ``b1_<neuron>``; counted from 1.
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
        let leaks = [self.0.activation(), self.0.output()].contains(&Activation::LeakyRelu);
        let negative_slope = if leaks {
            format!(", negative_slope={}", self.0.negative_slope())
        } else {
            String::new()
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
        let output = match self.0.output() {
            Activation::Identity => String::new(),
            output => format!(", output='{}'", output.name()),
        };
        format!(
            "Network({}, activation='{}'{gain}{negative_slope}{bias}{loss}{dtype}{output})",
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
        keywords.set_item("negative_slope", self.0.negative_slope())?;
        keywords.set_item("bias", self.0.bias())?;
        keywords.set_item("loss", self.loss())?;
        keywords.set_item("dtype", self.dtype())?;
        keywords.set_item("output", self.output())?;
        Ok((self.sizes(py)?, keywords))
    }
}

/// Declares how each keyword is read: of the type that `train`'s keywords have.
macro_rules! keywords {
    ($($name:ident: $type:ty = $kind:literal,)*) => {
        $(fn $name(given: &Bound<'_, PyAny>) -> PyResult<$type> {
            checked(stringify!($name), given, $kind)
        })*
    };
}

keywords! {
    activation: String = "str",
    gain: f64 = "float",
    negative_slope: f64 = "float",
    bias: bool = "bool",
    loss: String = "str",
}

/// Not called by the name of its setting, which is one of PyO3's own here.
fn output_name(given: &Bound<'_, PyAny>) -> PyResult<String> {
    checked("output", given, "str")
}

/// A number of neurons; a wrong one is named as it was given.
fn size(given: &Bound<'_, PyAny>) -> PyResult<usize> {
    if !given.is_instance_of::<PyBool>() {
        if let Ok(size) = given.extract() {
            return Ok(size);
        }
    }
    Err(PyErr::from(PyCoreError(Error::Value {
        name: "network size".into(),
        value: shown(given)?,
        allowed: "whole numbers from 1".into(),
        fix: "give inputs, hidden layers and outputs, such as Network(1, 1, 1)",
    })))
}

/// What NumPy calls a type of numbers, however it was given; or else what was given.
struct DtypeName(String);

impl<'a, 'py> FromPyObject<'a, 'py> for DtypeName {
    type Error = PyErr;

    fn extract(given: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let numpy = given.py().import("numpy")?;
        match numpy.call_method1("dtype", (given,)) {
            Ok(dtype) => Ok(Self(dtype.getattr("name")?.extract()?)),
            Err(_) => Ok(Self(shown(&given)?)),
        }
    }
}

/// What a setting is called by a name.
pub fn named<T, const N: usize>(
    setting: &str,
    name: &str,
    known: [(&str, T); N],
) -> Result<T, PyCoreError> {
    let allowed = known.each_ref().map(|(known, _)| *known).join(", ");
    let found = known.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value).ok_or_else(|| {
        PyCoreError(Error::Value {
            name: setting.into(),
            value: shortened(name),
            allowed: allowed.into(),
            fix: "choose one of them",
        })
    })
}

/// A text in quotes, cut off where a message would become unreadable.
fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("'{}…'", &text[..end]),
        None => format!("'{text}'"),
    }
}
