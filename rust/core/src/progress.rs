//! What a call shares with other threads while it works.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{Error, Result};

/// Shared with other threads while [`crate::train`] works.
#[derive(Debug, Default)]
pub struct Progress {
    /// The epochs that are done so far, summed over the runs.
    pub epochs: AtomicU64,
    /// Setting this ends the call with [`Error::Cancelled`].
    pub cancel: AtomicBool,
    /// Setting this ends every run where it is, or at most 32 epochs later.
    pub stop: AtomicBool,
}

impl Progress {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// Whether nothing more is to be begun.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_cancelled() || self.stop.load(Ordering::Relaxed)
    }

    /// Returns an error if the call was cancelled: its results are incomplete.
    pub(crate) fn finished(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}
