//! Runs and values shared out to threads.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::machine::{bad_threads, Machine};
use crate::{Dtype, Network, Result};

/// Runs handed to a thread at a time: enough to hide the cost of handing over, and that those which
/// are looked at after training fill the registers of a kernel.
const LARGEST_SHARE: usize = 4096;

/// Values that are looked at by a thread at a time.
const SLICE: usize = 1 << 16;

/// How many runs to give to a thread at a time, so that all have as much to do.
pub(crate) fn share(network: &Network, runs: usize, machine: Machine) -> usize {
    // Whole blocks of any kernel: those of the smallest networks are sixteen registers wide.
    let block = match network.dtype() {
        _ if network.parameters() <= 2 => 128,
        Dtype::Float64 => 8,
        Dtype::Float32 => 16,
    };
    let fair = runs.div_ceil(machine.threads().clamp(1, runs.max(1)).saturating_mul(4));
    fair.next_multiple_of(block).clamp(block, LARGEST_SHARE)
}

/// Does `work` on every task with the threads of the machine.
pub(crate) fn for_each<T: Send>(
    tasks: Vec<T>,
    machine: Machine,
    work: impl Fn(T) + Sync + Send,
) -> Result<()> {
    let threads = machine.threads().min(tasks.len());
    if threads <= 1 {
        tasks.into_iter().for_each(work);
        return Ok(());
    }
    // A pool for each call: one that outlives it is missing in a forked process.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|_| bad_threads(threads))?
        .install(|| tasks.into_par_iter().for_each(work));
    Ok(())
}

/// Whether all values pass a test.
pub(crate) fn all(
    values: &[f64],
    machine: Machine,
    test: impl Fn(&f64) -> bool + Sync + Send,
) -> Result<bool> {
    let passed = AtomicBool::new(true);
    for_each(
        values.chunks(SLICE).collect(),
        machine,
        |slice: &[f64]| {
            // The loop has no early exit, so that it is made of vector instructions.
            if !slice.iter().fold(true, |all, value| all & test(value)) {
                passed.store(false, Ordering::Relaxed);
            }
        },
    )?;
    Ok(passed.into_inner())
}
