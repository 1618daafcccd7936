//! The results of training: NumPy arrays that the core writes to.

use backprop_core::{
    collected, filled, Arrays, Looks, Network, Outcome, PerQuantity, Quantity, Settings, Stall,
};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{array, empty, PyCoreError};

type Floats<'py> = Bound<'py, PyArray1<f64>>;
type Integers<'py> = Bound<'py, PyArray1<i64>>;

/// As in [`backprop_core::Training`].
pub struct Results<'py> {
    runs: usize,
    weights: Floats<'py>,
    memory: Floats<'py>,
    outcome: Vec<Outcome>,
    epochs: Integers<'py>,
    last_loss: Floats<'py>,
    loss_ratio: Floats<'py>,
    period: Vec<u8>,
    stall: Vec<Stall>,
    died_at: Integers<'py>,
    highest_loss: Floats<'py>,
    highest_loss_at: Integers<'py>,
    histories: PerQuantity<Floats<'py>>,
    validation: Looks<Floats<'py>>,
    best_epoch: Integers<'py>,
}

impl<'py> Results<'py> {
    pub fn new(
        py: Python<'py>,
        network: &Network,
        settings: &Settings,
        runs: usize,
    ) -> PyResult<Self> {
        let columns = settings.columns(network);
        let looks = settings.columns_of_validation(network);
        let each = || empty::<f64>(py, runs, 1);
        let count = || empty::<i64>(py, runs, 1);
        Ok(Self {
            runs,
            weights: empty(py, runs, network.parameters())?,
            memory: empty(py, runs, settings.optimizer.memory(network))?,
            outcome: filled(Outcome::default(), runs).map_err(PyCoreError)?,
            epochs: count()?,
            last_loss: each()?,
            loss_ratio: each()?,
            period: filled(0, runs).map_err(PyCoreError)?,
            stall: filled(Stall::default(), runs).map_err(PyCoreError)?,
            died_at: count()?,
            highest_loss: each()?,
            highest_loss_at: count()?,
            histories: PerQuantity::try_new(|quantity| empty(py, runs, columns[quantity]))?,
            validation: Looks {
                loss: empty(py, runs, looks.loss)?,
                accuracy: empty(py, runs, looks.accuracy)?,
            },
            best_epoch: empty(py, runs, usize::from(settings.early_stopping.is_some()))?,
        })
    }

    /// Lets somebody write to the arrays.
    pub fn write(&mut self, write: impl FnOnce(Arrays) -> PyResult<()>) -> PyResult<()> {
        let [mut weights, mut memory, mut last_loss, mut loss_ratio, mut highest_loss] = [
            &self.weights,
            &self.memory,
            &self.last_loss,
            &self.loss_ratio,
            &self.highest_loss,
        ]
        .map(PyArrayMethods::readwrite);
        let looks = &self.validation;
        let [mut loss, mut accuracy] =
            [&looks.loss, &looks.accuracy].map(PyArrayMethods::readwrite);
        let [mut epochs, mut best_epoch, mut died_at, mut highest_loss_at] = [
            &self.epochs,
            &self.best_epoch,
            &self.died_at,
            &self.highest_loss_at,
        ]
        .map(PyArrayMethods::readwrite);
        let mut written = PerQuantity::new(|quantity| self.histories[quantity].readwrite());
        let mut slices = written.iter_mut();
        write(Arrays {
            weights: weights.as_slice_mut()?,
            memory: memory.as_slice_mut()?,
            outcome: &mut self.outcome,
            epochs: epochs.as_slice_mut()?,
            last_loss: last_loss.as_slice_mut()?,
            loss_ratio: loss_ratio.as_slice_mut()?,
            period: &mut self.period,
            stall: &mut self.stall,
            died_at: died_at.as_slice_mut()?,
            highest_loss: highest_loss.as_slice_mut()?,
            highest_loss_at: highest_loss_at.as_slice_mut()?,
            histories: PerQuantity::try_new(|_| match slices.next() {
                Some(history) => history.as_slice_mut(),
                None => Ok(&mut []),
            })?,
            validation: Looks {
                loss: loss.as_slice_mut()?,
                accuracy: accuracy.as_slice_mut()?,
            },
            best_epoch: best_epoch.as_slice_mut()?,
        })
    }

    /// The arrays by their names; histories that were not recorded are None.
    pub fn into_dict(
        self,
        py: Python<'py>,
        network: &Network,
        settings: &Settings,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (runs, parameters) = (self.runs, network.parameters());
        let codes = self.outcome.iter().map(|outcome| *outcome as u8);
        let codes = collected(codes).map_err(PyCoreError)?;
        let stalls = self.stall.iter().map(|stall| *stall as u8);
        let stalls = collected(stalls).map_err(PyCoreError)?;
        let memory = settings.optimizer.memory(network);
        let result = PyDict::new(py);
        result.set_item("weights", self.weights.reshape([runs, parameters])?)?;
        result.set_item("memory", self.memory.reshape([runs, memory])?)?;
        result.set_item("outcome_code", array(py, codes, &[runs])?)?;
        result.set_item("epochs", self.epochs)?;
        result.set_item("last_loss", self.last_loss)?;
        result.set_item("loss_ratio", self.loss_ratio)?;
        result.set_item("period", array(py, self.period, &[runs])?)?;
        result.set_item("stall_code", array(py, stalls, &[runs])?)?;
        result.set_item("died_at", self.died_at)?;
        result.set_item("highest_loss", self.highest_loss)?;
        result.set_item("highest_loss_at", self.highest_loss_at)?;
        set_histories(&result, &self.histories, settings, [runs, parameters])?;
        let records = settings.records();
        let shaped = |history: &Floats<'py>, is_kept: bool| {
            let shaped = is_kept.then(|| history.reshape([runs, records]));
            shaped.transpose()
        };
        let validates = settings.record_validation;
        let classifies = validates && network.loss().is_cross_entropy();
        let looks = &self.validation;
        result.set_item("val_loss", shaped(&looks.loss, validates)?)?;
        result.set_item("val_accuracy", shaped(&looks.accuracy, classifies)?)?;
        let stops = settings.early_stopping.is_some();
        result.set_item("best_epoch", stops.then_some(self.best_epoch))?;
        Ok(result)
    }
}

/// Gives a result its histories of the shape (runs, records), or (runs, records, parameters).
fn set_histories<'py>(
    result: &Bound<'py, PyDict>,
    histories: &PerQuantity<Floats<'py>>,
    settings: &Settings,
    [runs, parameters]: [usize; 2],
) -> PyResult<()> {
    let records = settings.records();
    for quantity in Quantity::ALL {
        let history = &histories[quantity];
        let history = match (settings.record[quantity], quantity.is_per_parameter()) {
            (false, _) => None,
            (true, false) => Some(history.reshape([runs, records])?.into_any()),
            (true, true) => Some(history.reshape([runs, records, parameters])?.into_any()),
        };
        // The weights of a result are its final ones.
        let name = match quantity {
            Quantity::Weights => "weight_history",
            _ => quantity.name(),
        };
        result.set_item(name, history)?;
    }
    Ok(())
}
