use backprop_core::{collected, Error};
use numpy::ndarray::{ArrayD, IxDyn};
use numpy::{
    Element, IntoPyArray, PyArray1, PyArrayDyn, PyReadonlyArrayDyn, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyKeyboardInterrupt, PyMemoryError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The one place where an error of the core becomes a Python exception.
pub struct PyCoreError(pub Error);

impl From<PyCoreError> for PyErr {
    fn from(PyCoreError(error): PyCoreError) -> Self {
        match error {
            Error::Value {
                name,
                value,
                allowed,
                fix,
            } => setting_error([&name, &value, &allowed, fix, "is"]),
            Error::Shape {
                name,
                found,
                allowed,
                fix,
            } => setting_error([&name, &found, &allowed, fix, "has"]),
            Error::OutOfMemory { .. } => PyMemoryError::new_err(error.to_string()),
            Error::Cancelled => PyKeyboardInterrupt::new_err(error.to_string()),
        }
    }
}

/// Python's `backprop_svc.errors.SettingError`, from name, value, allowed, fix and verb.
fn setting_error(fields: [&str; 5]) -> PyErr {
    Python::attach(|py| {
        let raised = py.import("backprop_svc.errors").and_then(|errors| {
            errors
                .getattr("SettingError")?
                .call1(PyTuple::new(py, fields)?)
        });
        raised.map_or_else(|error| error, PyErr::from_value)
    })
}

/// Checks the value of a keyword with the Python function that checks those of `train`; `kind`
/// is the name of a built-in type.
pub fn checked<'py, T>(name: &str, given: &Bound<'py, PyAny>, kind: &str) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    let py = given.py();
    let kind = py.import("builtins")?.getattr(kind)?;
    let check = py.import("backprop_svc.settings")?.getattr("check")?;
    check.call1((name, given, kind))?.extract()
}

/// Any value as messages show it.
pub fn shown(given: &Bound<'_, PyAny>) -> PyResult<String> {
    let shown = given.py().import("backprop_svc.errors")?.getattr("shown")?;
    shown.call1((given,))?.extract()
}

/// A copy in row-major order: the caller may change its array while the GIL is released.
pub fn values<T: Element + Copy>(array: &PyReadonlyArrayDyn<T>) -> Result<Vec<T>, PyCoreError> {
    let copy = match in_row_order(array) {
        Ok(values) => collected(values.iter().copied()),
        Err(_) => collected(array.as_array().iter().copied()),
    };
    copy.map_err(PyCoreError)
}

/// The values of an array that is in row order; a slice of another's would mix them up.
pub fn in_row_order<'a, T: Element>(array: &'a PyReadonlyArrayDyn<T>) -> PyResult<&'a [T]> {
    if !array.is_c_contiguous() {
        let message = "an array is not in row order; allowed: C-contiguous arrays; use \
                       numpy.ascontiguousarray";
        return Err(PyValueError::new_err(message));
    }
    Ok(array.as_slice()?)
}

/// An array in NumPy's memory, for values that will all be set: NumPy asks the system for
/// large pages, which are filled much faster.
pub fn empty<T: Element>(
    py: Python<'_>,
    runs: usize,
    columns: usize,
) -> PyResult<Bound<'_, PyArray1<T>>> {
    // A shape may be beyond memory although there are no runs.
    backprop_core::room(runs.max(1), columns).map_err(PyCoreError)?;
    let count = runs * columns;
    let empty = py.import("numpy")?.getattr("empty")?;
    Ok(empty.call1((count, T::get_dtype(py)))?.cast_into()?)
}

/// Hands the memory over to NumPy.
pub fn array<'py, T: Element>(
    py: Python<'py>,
    values: Vec<T>,
    shape: &[usize],
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let array = ArrayD::from_shape_vec(IxDyn(shape), values)
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(array.into_pyarray(py))
}
