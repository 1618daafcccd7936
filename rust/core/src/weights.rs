//! Weights of many runs that are looked at, not trained.

use crate::hyperparameters::{self, Given};
use crate::train::runs_of;
use crate::{Hyperparameters, Machine, Network, Result};

/// The weights of some runs, and what else of their own decides what they compute.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weights<'a> {
    /// Shape (runs, parameters).
    pub values: &'a [f64],
    /// Gains, shape (runs,), or `None` where all runs have that of the network.
    pub gain: Option<&'a [f64]>,
    /// The same of negative slopes.
    pub negative_slope: Option<&'a [f64]>,
}

impl<'a, T: AsRef<[f64]> + ?Sized> From<&'a T> for Weights<'a> {
    fn from(values: &'a T) -> Self {
        Self {
            values: values.as_ref(),
            ..Self::default()
        }
    }
}

impl<'a> Weights<'a> {
    /// How many runs there are, after checking all values.
    pub(crate) fn runs(&self, network: &Network, machine: Machine) -> Result<usize> {
        let runs = runs_of(network, self.values, machine)?;
        hyperparameters::check(self.hyperparameters(), runs)?;
        Ok(runs)
    }

    pub(crate) fn hyperparameters(&self) -> Given<'a> {
        Hyperparameters {
            gain: self.gain,
            negative_slope: self.negative_slope,
            ..Hyperparameters::default()
        }
    }

    /// The runs, so many at a time.
    pub(crate) fn chunks(self, size: usize, network: &Network) -> impl Iterator<Item = Self> + 'a {
        let each = network.parameters();
        let runs = self.values.len() / each;
        (0..runs).step_by(size).map(move |first| {
            let end = runs.min(first + size);
            Self {
                values: &self.values[first * each..end * each],
                gain: self.gain.map(|gains| &gains[first..end]),
                negative_slope: self.negative_slope.map(|slopes| &slopes[first..end]),
            }
        })
    }

    /// Hands over gains and negative slopes for as many lanes, if runs have their own. The lanes
    /// that are left over repeat the last run.
    pub(crate) fn give_gains(
        &self,
        network: &Network,
        width: usize,
        give: impl FnOnce(&[f64], &[f64]),
    ) {
        if self.gain.is_none() && self.negative_slope.is_none() {
            return;
        }
        let of = |own: Option<&[f64]>, shared: f64| -> Vec<f64> {
            let value = |lane: usize| own.map_or(shared, |own| own[lane.min(own.len() - 1)]);
            (0..width).map(value).collect()
        };
        let gains = of(self.gain, network.gain());
        give(&gains, &of(self.negative_slope, network.negative_slope()));
    }
}
