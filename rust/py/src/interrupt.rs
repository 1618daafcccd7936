//! Runs long calls so that Ctrl-C ends them and that their progress is reported.
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{sync_channel, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{process, thread};

use backprop_core::{Progress, Result};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::convert::PyCoreError;

/// The number of multiplications below which a call ends before a thread would pay off.
const SMALL: usize = 1_000_000;
/// How often Python is asked for signals and told of progress.
const INTERVAL: Duration = Duration::from_millis(50);

/// A Python function that takes the epochs done and their total, over all runs.
pub struct Callback {
    pub call: Py<PyAny>,
    pub total: u64,
}

impl Callback {
    fn report(&self, py: Python<'_>, progress: &Progress) -> PyResult<()> {
        let done = progress.epochs.load(Ordering::Relaxed);
        self.call.call1(py, (done, self.total)).map(drop)
    }
}

/// Does `work` without the GIL. Larger work runs in a thread of its own, so that the caller's
/// thread can check for signals, report progress and end the work when its time is up.
pub fn interruptible<T: Send>(
    py: Python<'_>,
    size: usize,
    callback: Option<Callback>,
    limit: Option<Duration>,
    work: impl FnOnce(&Progress) -> Result<T> + Send,
) -> PyResult<T> {
    let progress = Progress::default();
    let work = |progress: &Progress| no_panic(|| work(progress));
    let result = if size < SMALL {
        py.detach(|| work(&progress))?
    } else {
        py.detach(|| in_thread(&progress, callback.as_ref(), limit, work))?
    };
    if let Some(callback) = callback {
        callback.report(py, &progress)?;
    }
    Ok(result)
}

/// Turns a panic, which is a mistake of this package, into an exception that says so.
fn no_panic<T>(work: impl FnOnce() -> Result<T>) -> PyResult<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => Ok(result.map_err(PyCoreError)?),
        Err(_) => Err(PyRuntimeError::new_err(
            "backprop-svc failed inside: this is a mistake of the package, not of the call; \
             please report it with the call that led to it",
        )),
    }
}

/// Ends a process that was forked in a progress callback and came back from it: the threads that
/// train are in the other process, and nothing can be waited for.
fn end_of_a_fork(py: Python<'_>) -> ! {
    eprintln!(
        "backprop-svc: a process was forked in a progress callback and came back from it; \
         allowed: forks that end there; call os._exit at their end"
    );
    // Without what Python does at the end of a program: it is not this process's to do.
    let ended = py
        .import("os")
        .and_then(|os| os.call_method1("_exit", (1,)));
    drop(ended);
    process::abort()
}

fn in_thread<T: Send>(
    progress: &Progress,
    callback: Option<&Callback>,
    limit: Option<Duration>,
    work: impl FnOnce(&Progress) -> PyResult<T> + Send,
) -> PyResult<T> {
    let (begin, process) = (Instant::now(), process::id());
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        thread::Builder::new()
            .spawn_scoped(scope, move || sender.send(work(progress)))
            .map_err(|error| {
                PyRuntimeError::new_err(format!(
                    "no thread could be started: {error}; allowed: room for one more; \
                     end other programs or raise the limit"
                ))
            })?;
        let mut stop = None;
        loop {
            match receiver.recv_timeout(INTERVAL) {
                Ok(result) => {
                    return match stop {
                        Some(error) => Err(error),
                        None => result,
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err("the training thread ended early"))
                }
                Err(RecvTimeoutError::Timeout) if stop.is_none() => {
                    stop = Python::attach(|py| {
                        py.check_signals()?;
                        let called =
                            callback.map_or(Ok(()), |callback| callback.report(py, progress));
                        if process::id() != process {
                            end_of_a_fork(py);
                        }
                        called
                    })
                    .err();
                    let cancel = stop.is_some();
                    progress.cancel.store(cancel, Ordering::Relaxed);
                    let late = limit.is_some_and(|limit| begin.elapsed() >= limit);
                    progress.stop.store(late, Ordering::Relaxed);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    })
}
