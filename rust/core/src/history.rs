//! Recorded quantities on their way from a kernel to the caller's arrays.

use std::ops::Range;

use crate::kernel::{Number, Trace};
use crate::record::{PerQuantity, Quantity, Recorded};

/// Histories of the runs of a block, each of shape (runs, places, values) or empty.
pub(crate) struct Histories<'h, 'a> {
    pub arrays: &'h mut PerQuantity<&'a mut [f64]>,
    pub runs: usize,
    pub recorded: Recorded,
}

impl Histories<'_, '_> {
    /// Records what was traced of a span, for the runs that are still active.
    #[inline(never)]
    pub fn record<N: Number>(&mut self, span: &Range<usize>, trace: &Trace<N>, active: &[bool]) {
        let (traced, every) = (span.start + trace.first, self.recorded.every);
        let Some(from) = self.recorded.place(traced) else {
            return;
        };
        let to = span.end.div_ceil(every).min(self.recorded.regular());
        if from >= to {
            return;
        }
        let (width, count) = (active.len(), self.recorded.count());
        for quantity in Quantity::ALL {
            let history = &mut *self.arrays[quantity];
            if history.is_empty() {
                continue;
            }
            let values = history.len() / self.runs / count;
            let planes = &trace.planes[quantity][(from * every - traced) * values * width..];
            let groups = history
                .chunks_mut(GROUP * count * values)
                .zip(active.chunks(GROUP));
            let slots = from * values..to * values;
            for (index, (group, active)) in groups.enumerate() {
                let lane = index * GROUP;
                let whole = group.len() == GROUP * count * values && !active.contains(&false);
                if every == 1 && whole {
                    copy_group(group, slots.clone(), &planes[lane..], width);
                    continue;
                }
                let runs = group.chunks_exact_mut(count * values).zip(active);
                for (lane, (run, _)) in (lane..).zip(runs).filter(|(_, (_, active))| **active) {
                    let epochs = run[slots.clone()].chunks_exact_mut(values);
                    for (place, slots) in epochs.enumerate() {
                        copy_lane(
                            slots,
                            &planes[place * every * values * width..],
                            lane,
                            width,
                        );
                    }
                }
            }
        }
    }

    /// Ends the histories of a run after so many epochs. What it did not reach is NaN; the
    /// place for its last epoch gets the last one that was traced, if there was any.
    pub fn end<N: Number>(&mut self, lane: usize, width: usize, done: usize, last: &Last<N>) {
        let Recorded { epochs, every } = self.recorded;
        if every == 1 && done == epochs {
            return;
        }
        let (regular, count) = (self.recorded.regular(), self.recorded.count());
        let reached = self.recorded.reached(done);
        for quantity in Quantity::ALL {
            let history = &mut *self.arrays[quantity];
            if history.is_empty() {
                continue;
            }
            let values = history.len() / self.runs / count;
            let run = &mut history[lane * count * values..][..count * values];
            run[reached * values..].fill(f64::NAN);
            if self.recorded.has_last() && done > 0 {
                let planes = &last.trace.planes[quantity][last.place * values * width..];
                copy_lane(&mut run[regular * values..], planes, lane, width);
            }
        }
    }
}

/// The last epoch that was traced, by its place in the trace.
pub(crate) struct Last<'t, N> {
    pub trace: &'t Trace<N>,
    pub place: usize,
}

/// How many runs are copied together: as many as share a line of the cache.
const GROUP: usize = 8;

/// Copies the values of neighbouring lanes, of planes that begin with the first of them, to
/// some slots of each run.
#[allow(clippy::many_single_char_names)]
fn copy_group<N: Number>(group: &mut [f64], slots: Range<usize>, planes: &[N], width: usize) {
    let count = slots.len();
    let mut runs = group.chunks_exact_mut(group.len() / GROUP);
    let mut rows: [&mut [f64]; GROUP] = std::array::from_fn(|_| match runs.next() {
        Some(run) => &mut run[slots.clone()][..count],
        None => &mut [],
    });
    let [a, b, c, d, e, f, g, h] = &mut rows;
    let (a, b, c, d) = (
        &mut a[..count],
        &mut b[..count],
        &mut c[..count],
        &mut d[..count],
    );
    let (e, f, g, h) = (
        &mut e[..count],
        &mut f[..count],
        &mut g[..count],
        &mut h[..count],
    );
    for slot in 0..count {
        let plane = &planes[slot * width..][..GROUP];
        a[slot] = plane[0].into();
        b[slot] = plane[1].into();
        c[slot] = plane[2].into();
        d[slot] = plane[3].into();
        e[slot] = plane[4].into();
        f[slot] = plane[5].into();
        g[slot] = plane[6].into();
        h[slot] = plane[7].into();
    }
}

/// Copies the values of one lane out of planes that hold a value for each lane.
fn copy_lane<N: Number>(slots: &mut [f64], planes: &[N], lane: usize, width: usize) {
    for (slot, plane) in slots.iter_mut().zip(planes.chunks_exact(width)) {
        *slot = plane[lane].into();
    }
}
