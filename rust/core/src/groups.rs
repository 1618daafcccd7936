//! Runs that cannot be trained side by side: those of other mini-batches, and those for which
//! another kernel is the right one. Each group is trained by itself, and every result then goes to
//! the place of its run.

use std::ops::Range;

use crate::activation::scales;
use crate::hyperparameters::{Columns, Given};
use crate::memory::{collected, filled, list};
use crate::results::{ordered, Arrays, Runs, Starts};
use crate::task::Group;
use crate::{Hyperparameters, Network, Result, Settings, Start};

/// The numbers that each run has of its own, and the runs in the order in which they are trained.
pub(crate) struct Arranged<'a> {
    /// Shape (runs, numbers), empty where these are the learning rates alone.
    own: Vec<f64>,
    pub columns: Columns,
    /// Where they were changed: weights and memory in the order of the groups.
    weights: Vec<f64>,
    memory: Vec<f64>,
    /// The run at each place; empty if the order is that of the caller.
    order: Vec<usize>,
    pub groups: Vec<(Group, Range<usize>)>,
    start: Start<'a>,
}

impl<'a> Arranged<'a> {
    /// For so many runs with so many learning rates each. Only hyperparameters that are used are
    /// given.
    pub fn new(
        network: &Network,
        settings: &Settings,
        start: Start<'a>,
        given: Given<'a>,
        [runs, rates]: [usize; 2],
    ) -> Result<Self> {
        let mut next = rates;
        let columns = given.map(|values| {
            values.map(|_| {
                next += 1;
                next - 1
            })
        });
        let shared = Hyperparameters::shared(network, settings);
        let seeds = start.batch_seed.filter(|_| settings.batches.is_some());
        let usual = Group {
            seed: settings.batches.map_or(0, |batches| batches.seed),
            decays: shared.weight_decay > 0.0,
            scales: scales(shared.gain),
        };
        let of = |run: usize| Group {
            seed: seeds.map_or(usual.seed, |seeds| seeds[run]),
            decays: given.weight_decay.map_or(usual.decays, |d| d[run] > 0.0),
            scales: given.gain.map_or(usual.scales, |gains| scales(gains[run])),
        };
        let one = seeds.is_none() && given.weight_decay.is_none() && given.gain.is_none();
        let mut arranged = Self {
            own: Vec::new(),
            columns,
            weights: Vec::new(),
            memory: Vec::new(),
            order: Vec::new(),
            groups: Vec::new(),
            start,
        };
        if one || runs == 0 {
            arranged.groups.push((usual, 0..runs));
        } else {
            arranged.order = collected(0..runs)?;
            arranged.order.sort_by_key(|run| of(*run));
            let pairs = arranged.order.windows(2);
            let ends = pairs.filter(|pair| of(pair[0]) != of(pair[1])).count();
            arranged.groups = list(ends + 1)?;
            for (place, run) in arranged.order.iter().enumerate() {
                let group = of(*run);
                match arranged.groups.last_mut() {
                    Some((last, places)) if *last == group => places.end = place + 1,
                    _ => arranged.groups.push((group, place..place + 1)),
                }
            }
            if arranged.order.is_sorted() {
                arranged.order = Vec::new();
            }
        }
        arranged.put_together(given, [runs, rates], next)?;
        Ok(arranged)
    }

    /// Puts together what each run has of its own, and brings it into order.
    fn put_together(
        &mut self,
        given: Given,
        [runs, rates]: [usize; 2],
        numbers: usize,
    ) -> Result<()> {
        let (start, order) = (self.start, &self.order);
        let run_at = |place: usize| order.get(place).copied().unwrap_or(place);
        if numbers > rates || !order.is_empty() {
            self.own = filled(0.0, runs * numbers)?;
            for (place, own) in self.own.chunks_exact_mut(numbers).enumerate() {
                let run = run_at(place);
                let (own_rates, others) = own.split_at_mut(rates);
                own_rates.copy_from_slice(&start.learning_rate[run * rates..][..rates]);
                let values = given.into_array().into_iter().flatten();
                for (own, values) in others.iter_mut().zip(values) {
                    *own = values[run];
                }
            }
        }
        if !order.is_empty() {
            self.weights = ordered(start.weights, order)?;
            self.memory = ordered(start.memory.unwrap_or_default(), order)?;
        }
        Ok(())
    }

    /// The runs with the places for their results, group after group.
    pub fn runs<'r>(&'r self, arrays: Arrays<'r>) -> Runs<'r> {
        let start = self.start;
        let own = if self.own.is_empty() {
            start.learning_rate
        } else {
            &self.own
        };
        let moved = !self.order.is_empty();
        Runs {
            start: Starts {
                weights: if moved { &self.weights } else { start.weights },
                own,
                memory: start
                    .memory
                    .map(|memory| if moved { &self.memory[..] } else { memory }),
            },
            arrays,
        }
    }

    /// Brings the results to the places of their runs.
    pub fn put_back(&self, arrays: &mut Arrays) {
        if !self.order.is_empty() {
            arrays.put_back(&self.order);
        }
    }
}
