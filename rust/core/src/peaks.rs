//! The highest of the losses that were traced, of the runs of a block.

use pulp::NullaryFnOnce;

use crate::kernel::Number;

/// Lanes that are looked at together: what is known of them stays in registers, epoch after epoch.
const LANES: usize = 16;

/// Highest losses and their first epochs, shape (width,) each.
pub(crate) struct Peaks<N> {
    pub loss: Vec<N>,
    /// −1 if it is not known.
    pub at: Vec<i64>,
}

impl<N: Number> Peaks<N> {
    pub fn new(width: usize) -> Self {
        Self {
            loss: vec![N::rounded(f64::NAN); width],
            at: vec![-1; width],
        }
    }

    /// Begins with losses that are not known.
    pub fn begin(&mut self) {
        self.loss.fill(N::rounded(f64::NAN));
        self.at.fill(-1);
    }

    #[inline(always)]
    fn look<const L: usize>(&mut self, lane: usize, losses: &[N], first: i64) {
        let width = self.loss.len();
        let (mut highest, mut at) = ([N::rounded(0.0); L], [0; L]);
        highest.copy_from_slice(&self.loss[lane..][..L]);
        at.copy_from_slice(&self.at[lane..][..L]);
        for (epoch, losses) in (first..).zip(losses.chunks_exact(width)) {
            let losses = &losses[lane..][..L];
            for own in 0..L {
                let higher = losses[own] > highest[own];
                highest[own] = if higher { losses[own] } else { highest[own] };
                at[own] = if higher { epoch } else { at[own] };
            }
        }
        self.loss[lane..][..L].copy_from_slice(&highest);
        self.at[lane..][..L].copy_from_slice(&at);
    }
}

/// Raises peaks to the losses of some epochs from `first` on, shape (epochs, width).
pub(crate) struct Look<'l, N> {
    pub losses: &'l [N],
    pub first: i64,
    pub peaks: &'l mut Peaks<N>,
}

impl<N: Number> NullaryFnOnce for Look<'_, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self {
            losses,
            first,
            peaks,
        } = self;
        let width = peaks.loss.len();
        let whole = width / LANES * LANES;
        for lane in (0..whole).step_by(LANES) {
            peaks.look::<LANES>(lane, losses, first);
        }
        for lane in whole..width {
            peaks.look::<1>(lane, losses, first);
        }
    }
}

/// Whether one of some numbers is above its counterpart.
pub(crate) struct IsAbove<'i, N> {
    pub a: &'i [N],
    pub b: &'i [N],
}

impl<N: Number> NullaryFnOnce for IsAbove<'_, N> {
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        let pairs = self.a.iter().zip(self.b);
        pairs.fold(false, |any, (a, b)| any | (a > b))
    }
}
