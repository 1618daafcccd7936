use crate::error::all_finite;
use crate::{Error, Loss, Network, Result};

/// Rows of inputs and targets that every run trains on.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    x: &'a [f64],
    y: &'a [f64],
    rows: usize,
    inputs: usize,
    outputs: usize,
    validation: Option<&'a Data<'a>>,
}

impl<'a> Data<'a> {
    /// Takes inputs `x` of shape (rows, inputs) and targets `y` of shape (rows, outputs), both
    /// in row-major order.
    ///
    /// # Errors
    /// No rows, sizes that do not fit the network, NaN or infinite values.
    pub fn new(network: &Network, x: &'a [f64], y: &'a [f64]) -> Result<Self> {
        let (inputs, outputs) = (network.inputs(), network.outputs());
        let rows = rows_of(network, x)?;
        if y.len() != rows * outputs {
            return Err(Error::Shape {
                name: "y".into(),
                found: format!("{} values", y.len()),
                allowed: format!("{rows} rows × {outputs} outputs, as many rows as x"),
                fix: "give one target per row of x and output of the network",
            });
        }
        all_finite("y", y, outputs)?;
        if network.loss().is_cross_entropy() {
            are_probabilities(network, y)?;
        }
        Ok(Self {
            x,
            y,
            rows,
            inputs,
            outputs,
            validation: None,
        })
    }

    /// Adds rows that are not trained on: see [`Settings::record_validation`] and
    /// [`Settings::early_stopping`].
    ///
    /// [`Settings::record_validation`]: crate::Settings::record_validation
    /// [`Settings::early_stopping`]: crate::Settings::early_stopping
    #[must_use]
    pub const fn with_validation(self, validation: &'a Data<'a>) -> Self {
        Self {
            validation: Some(validation),
            ..self
        }
    }

    /// The rows that are not trained on.
    #[must_use]
    pub const fn validation(&self) -> Option<&'a Data<'a>> {
        self.validation
    }

    /// The number of rows.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Row by row.
    pub(crate) const fn x(&self) -> &'a [f64] {
        self.x
    }

    /// Row by row.
    pub(crate) const fn y(&self) -> &'a [f64] {
        self.y
    }

    pub(crate) fn inputs(&self, row: usize) -> &'a [f64] {
        &self.x[row * self.inputs..][..self.inputs]
    }

    pub(crate) fn target(&self, row: usize, output: usize) -> f64 {
        self.y[row * self.outputs + output]
    }

    /// The class of each row.
    pub(crate) fn classes(&self) -> Vec<Option<usize>> {
        let rows = self.y.chunks_exact(self.outputs);
        rows.map(|row| class_of(row.iter().copied())).collect()
    }
}

/// The class that outputs stand for: the largest one, the first of equal ones; of a single output
/// whether it is above ½. `None` if one of them is NaN.
#[inline(always)]
pub(crate) fn class_of(outputs: impl ExactSizeIterator<Item = f64>) -> Option<usize> {
    let count = outputs.len();
    let (mut largest, mut class, mut known) = (f64::NEG_INFINITY, 0, true);
    for (index, output) in outputs.enumerate() {
        known &= !output.is_nan();
        if output > largest {
            (largest, class) = (output, index);
        }
    }
    if count == 1 {
        class = usize::from(largest > 0.5);
    }
    known.then_some(class)
}

/// Targets of a cross-entropy.
fn are_probabilities(network: &Network, y: &[f64]) -> Result<()> {
    let outputs = network.outputs();
    if let Some(index) = y.iter().position(|y| !(0.0..=1.0).contains(y)) {
        return Err(Error::Value {
            name: format!("y[{}, {}]", index / outputs, index % outputs),
            value: y[index].to_string(),
            allowed: "numbers from 0 to 1 for a cross-entropy".into(),
            fix: "give probabilities, or choose a squared error",
        });
    }
    let sum = |row: &[f64]| row.iter().sum::<f64>();
    let softmax = network.loss() == Loss::SoftmaxCrossEntropy;
    let mut rows = y.chunks_exact(outputs).enumerate();
    match rows.find(|(_, row)| softmax && (sum(row) - 1.0).abs() > 1e-6) {
        None => Ok(()),
        Some((index, row)) => Err(Error::Value {
            name: format!("the sum of y[{index}]"),
            value: sum(row).to_string(),
            allowed: "1 for softmax_cross_entropy".into(),
            fix: "give a column for each class, with the probabilities of the classes",
        }),
    }
}

/// Checks `x`, and returns the number of its rows.
pub(crate) fn rows_of(network: &Network, x: &[f64]) -> Result<usize> {
    let inputs = network.inputs();
    if x.is_empty() || !x.len().is_multiple_of(inputs) {
        return Err(Error::Shape {
            name: "x".into(),
            found: format!("{} values", x.len()),
            allowed: format!("one or more rows × {inputs} inputs"),
            fix: "give at least one row, with one value per input of the network",
        });
    }
    all_finite("x", x, inputs)?;
    network.dtype().check("x", x, inputs)?;
    Ok(x.len() / inputs)
}
