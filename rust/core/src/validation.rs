//! Looks at the rows of validation: histories of what runs achieve there, and early stopping.
//!
//! A look at epoch `e` is one at the weights after `e` epochs, which are those before the update
//! of epoch `e`. So histories hold looks 0 to `epochs − 1`, and early stopping, which looks after
//! every epoch, those from 1 on. Both share a look.

use std::ops::Range;

use crate::kernel::{predictor, unload, Number, Predictor, Trace};
use crate::record::{Looks, Recorded};
use crate::results::Runs;
use crate::settings::EarlyStopping;
use crate::task::Task;
use crate::{Data, Outcome};

/// Looks at a block of runs.
pub(crate) struct Validation<'a, N: Number> {
    task: Task<'a>,
    data: &'a Data<'a>,
    /// What the runs have of their own, shape (numbers, width).
    own: Vec<f64>,
    predictor: Box<dyn Predictor<N> + 'a>,
    /// The class of each row.
    classes: Vec<Option<usize>>,
    /// Epochs of the histories, if there are any.
    recorded: Option<Recorded>,
    /// The epoch of the last look.
    looked: Option<usize>,
    /// What it saw, shape (width,); of accuracy nothing but for a cross-entropy.
    seen: Looks<Vec<f64>>,
    stopping: Option<Stopping<N>>,
}

/// The best look at each run so far.
struct Stopping<N> {
    rule: EarlyStopping,
    /// Shape (width,), infinite before the first look.
    loss: Vec<f64>,
    /// Its epoch, 0 before the first look.
    epoch: Vec<usize>,
    /// The weights and what the optimizer remembers, shape (values, width) each.
    state: [Vec<N>; 2],
    /// Whether a run ends with the last look.
    told: Vec<bool>,
}

impl<'a, N: Number> Validation<'a, N> {
    /// For blocks of so many runs, and numbers in each part of their state; `None` where nobody
    /// asks.
    pub fn new(task: Task<'a>, width: usize, state: [usize; 2]) -> Option<Self> {
        let (settings, network) = (task.settings, task.network);
        let data = task.data.validation().filter(|_| settings.validates())?;
        let classified = network.loss().is_cross_entropy();
        Some(Self {
            task,
            data,
            own: Vec::new(),
            predictor: predictor(network, settings.machine, task.progress),
            classes: if classified {
                data.classes()
            } else {
                Vec::new()
            },
            recorded: settings.record_validation.then(|| settings.recorded()),
            looked: None,
            seen: Looks {
                loss: vec![0.0; width],
                accuracy: vec![0.0; if classified { width } else { 0 }],
            },
            stopping: settings.early_stopping.map(|rule| Stopping {
                rule,
                loss: vec![f64::INFINITY; width],
                epoch: vec![0; width],
                state: state.map(|values| vec![N::rounded(0.0); values]),
                told: vec![false; width],
            }),
        })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.data.rows()
    }

    /// Begins with other runs, which have these numbers of their own, shape (numbers, width).
    pub fn begin(&mut self, own: &[f64]) {
        self.looked = None;
        self.own.clear();
        self.own.extend_from_slice(own);
        if let Some(stopping) = &mut self.stopping {
            stopping.loss.fill(f64::INFINITY);
            stopping.epoch.fill(0);
            stopping.told.fill(false);
        }
    }

    /// Looks at weights of shape (parameters, width), those after so many epochs. Of runs that
    /// are no longer active nothing may be seen.
    fn look(&mut self, epoch: usize, weights: &[N], active: &[bool]) {
        if self.looked == Some(epoch) {
            return;
        }
        self.looked = Some(epoch);
        let (width, lanes) = (active.len(), self.predictor.width());
        let Looks { loss, accuracy } = &mut self.seen;
        for (group, active) in active.chunks(lanes).enumerate() {
            if !active.contains(&true) {
                continue;
            }
            let first = group * lanes;
            let planes = self.predictor.weights().chunks_exact_mut(lanes);
            for (own, plane) in planes.zip(weights.chunks_exact(width)) {
                own.copy_from_slice(&plane[first..][..lanes]);
            }
            self.task
                .give_gains(&self.own, width, first..first + lanes, |gains, slopes| {
                    self.predictor.set_gains(gains, slopes);
                });
            let accuracy = match accuracy.len() {
                0 => &mut [],
                _ => &mut accuracy[first..][..lanes],
            };
            let loss = &mut loss[first..][..lanes];
            self.predictor
                .measure(self.data, &self.classes, loss, accuracy);
        }
    }

    /// Writes what was seen of a run to a place of its histories.
    fn write(&self, histories: &mut Looks<&mut [f64]>, lane: usize, places: usize, place: usize) {
        histories.loss[lane * places + place] = self.seen.loss[lane];
        if !histories.accuracy.is_empty() {
            histories.accuracy[lane * places + place] = self.seen.accuracy[lane];
        }
    }

    /// Records the epochs of a span, for the runs that are still active.
    pub fn record(
        &mut self,
        histories: &mut Looks<&mut [f64]>,
        span: &Range<usize>,
        trace: &Trace<N>,
        active: &[bool],
    ) {
        let Some(recorded) = self.recorded else {
            return;
        };
        let (traced, places) = (span.start + trace.first, recorded.count());
        let runs = histories.loss.len() / places;
        let mut next = recorded.next(traced);
        while let Some(epoch) = next.filter(|epoch| *epoch < span.end) {
            self.look(epoch, trace.weights(epoch - traced), active);
            let place = recorded.reached(epoch);
            for lane in (0..runs).filter(|lane| active[*lane]) {
                self.write(histories, lane, places, place);
            }
            next = recorded.next(epoch + 1);
        }
    }

    /// Ends the histories of a run after so many epochs, as [`crate::history::Histories::end`]
    /// does. `last` are the weights with which its last epoch began.
    pub fn end_history(
        &mut self,
        histories: &mut Looks<&mut [f64]>,
        lane: usize,
        done: usize,
        last: &[N],
        active: &[bool],
    ) {
        let Some(recorded) = self.recorded else {
            return;
        };
        if recorded.every == 1 && done == recorded.epochs {
            return;
        }
        let (places, reached) = (recorded.count(), recorded.reached(done));
        for history in [&mut histories.loss, &mut histories.accuracy] {
            if !history.is_empty() {
                history[lane * places..][..places][reached..].fill(f64::NAN);
            }
        }
        if recorded.has_last() && done > 0 {
            self.look(done - 1, last, active);
            self.write(histories, lane, places, recorded.regular());
        }
    }

    /// Looks after so many epochs, if that ends runs, at those that are active and have not
    /// ended.
    pub fn look_whether_to_stop(
        &mut self,
        done: usize,
        state: [&[N]; 2],
        active: &[bool],
        ended: &[bool],
    ) {
        if self.stopping.is_none() {
            return;
        }
        self.look(done, state[0], active);
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        let (width, least) = (active.len(), stopping.rule.min_delta);
        for lane in (0..width).filter(|lane| active[*lane] && !ended[*lane]) {
            let loss = self.seen.loss[lane];
            if loss + least < stopping.loss[lane] {
                (stopping.loss[lane], stopping.epoch[lane]) = (loss, done);
                for (best, now) in stopping.state.iter_mut().zip(state) {
                    let planes = best.chunks_exact_mut(width);
                    for (best, plane) in planes.zip(now.chunks_exact(width)) {
                        best[lane] = plane[lane];
                    }
                }
            }
            stopping.told[lane] = done - stopping.epoch[lane] >= stopping.rule.patience;
        }
    }

    /// Whether the last look ends a run.
    pub fn is_told_to_stop(&self, lane: usize) -> bool {
        self.stopping.as_ref().is_some_and(|own| own.told[lane])
    }

    /// Whether runs end with the state of their best look.
    pub const fn restores(&self) -> bool {
        self.stopping.is_some()
    }

    /// Gives runs that have ended the state of their best look, if that can end runs.
    pub fn restore_best(&self, runs: &mut Runs) {
        let Some(stopping) = &self.stopping else {
            return;
        };
        for lane in 0..runs.count() {
            let epoch = match stopping.epoch[lane] {
                // It has the weights that any run would have.
                0 => {
                    let undone = runs.arrays.outcome[lane] == Outcome::Diverged;
                    runs.arrays.epochs[lane] - i64::from(undone)
                }
                epoch => {
                    for (planes, values) in stopping.state.iter().zip(runs.state_of(lane)) {
                        unload(planes, stopping.loss.len(), lane, values);
                    }
                    i64::try_from(epoch).unwrap_or(i64::MAX)
                }
            };
            runs.arrays.best_epoch[lane] = epoch;
        }
    }
}
