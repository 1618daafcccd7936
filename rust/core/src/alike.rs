//! Which runs are trained side by side: those that come to rest at about the same time.
//!
//! Once all runs of a block return, bit for bit, a kernel leaves out the epochs that would only
//! repeat what was. Most runs of a sweep rest long before its last epoch, but a block of any runs
//! nearly always has one that does not. So the runs of a share are put into an order first: those
//! that rest at once, then the quick ones, the slow ones, and those that never rest. The result of
//! a run does not depend on the runs beside it.

use crate::kernel::{Kernel, Number};
use crate::results::{ordered, Arrays, Runs, Starts};

/// Trainings of fewer epochs end before it is worth it.
pub(crate) const LONG: usize = 128;

/// Where runs start, in the order in which they are trained.
pub(crate) struct Alike {
    weights: Vec<f64>,
    own: Vec<f64>,
    /// The run at each place.
    order: Vec<usize>,
}

impl Alike {
    /// `None` if the kernel does not know how soon runs rest, or there is no memory for it.
    pub fn new<N: Number>(kernel: &dyn Kernel<N>, start: Starts, runs: usize) -> Option<Self> {
        let (mut contraction, each) = (vec![0.0; runs], start.own.len() / runs);
        let rates: Vec<f64> = start.own.iter().step_by(each).copied().collect();
        if !kernel.contraction(start.weights, &rates, &mut contraction) {
            return None;
        }
        let mut order: Vec<usize> = (0..runs).collect();
        order.sort_unstable_by_key(|run| contraction[*run].to_bits());
        Some(Self {
            weights: ordered(start.weights, &order).ok()?,
            own: ordered(start.own, &order).ok()?,
            order,
        })
    }

    /// The runs, with the places for their results.
    pub fn runs<'r>(&'r self, arrays: Arrays<'r>) -> Runs<'r> {
        Runs {
            start: Starts {
                weights: &self.weights,
                own: &self.own,
                memory: None,
            },
            arrays,
        }
    }

    /// Brings the results to the places of their runs.
    pub fn put_back(&self, arrays: &mut Arrays) {
        arrays.put_back(&self.order);
    }
}
