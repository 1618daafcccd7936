//! What a call shares with other threads while it works.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{Error, Result};

/// Shared with other threads while [`crate::train`] works.
#[derive(Debug, Default)]
pub struct Progress {
    /// Epochs done so far, summed over the runs.
    pub epochs: AtomicU64,
    /// Set it to end the call with [`Error::Cancelled`].
    pub cancel: AtomicBool,
    /// Set it to end every run where it is, or at most 32 epochs further.
    pub stop: AtomicBool,
}

impl Progress {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// Refuses what was cancelled, whose results are of no use.
    pub(crate) fn finished(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}
