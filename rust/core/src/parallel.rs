//! Where a call meets the machine: instruction set, threads, memory.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::{Dtype, Error, Network, Result};

/// Runs handed to a thread at a time: enough to hide the cost of handing over.
const LARGEST_SHARE: usize = 1536;

/// The widest instruction set of this machine, which every call uses.
#[must_use]
pub fn instruction_set() -> String {
    let name = format!("{:?}", pulp::Arch::new());
    name.split(['(', ' '])
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

/// Threads that a call uses when not told how many.
#[must_use]
pub fn threads() -> usize {
    // Asking rayon would start its threads, which a forked process does not have.
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How many runs to give to a thread at a time, so that all have as much to do.
pub(crate) fn share(network: &Network, runs: usize, threads: Option<usize>) -> usize {
    let threads = threads.unwrap_or_else(self::threads);
    // Whole blocks of any kernel: those of the smallest networks are eight registers wide.
    let block = match network.dtype() {
        _ if network.parameters() <= 2 => 128,
        Dtype::Float64 => 8,
        Dtype::Float32 => 16,
    };
    let fair = runs.div_ceil(4 * threads.min(runs.max(1)));
    fair.next_multiple_of(block).clamp(block, LARGEST_SHARE)
}

/// What is done with each task, compiled for every instruction set.
pub(crate) trait Work: Sync {
    type Task: Send;

    /// Inlines into a caller that is compiled for the instruction set of `simd`.
    fn run<S: Simd>(&self, simd: S, task: Self::Task);
}

struct Call<'a, W: Work>(&'a W, W::Task);

impl<W: Work> WithSimd for Call<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.run(simd, self.1);
    }
}

/// Do `work` on every task with the given number of threads. The instruction set is
/// chosen once per task, outside its loops.
pub(crate) fn for_each<W: Work>(
    tasks: Vec<W::Task>,
    threads: Option<usize>,
    work: &W,
) -> Result<()> {
    let arch = pulp::Arch::new();
    // One place that calls it: what it calls is large, and compiled for each place.
    let call = |task| arch.dispatch(Call(work, task));
    let threads = threads.unwrap_or_else(self::threads).min(tasks.len());
    if threads <= 1 {
        tasks.into_iter().for_each(call);
        return Ok(());
    }
    // A pool for each call: one that outlives it is missing in a forked process.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|_| bad_threads(threads))?.install(|| {
        tasks.into_par_iter().for_each(call);
    });
    Ok(())
}

pub(crate) fn bad_threads(threads: usize) -> Error {
    Error::Value {
        name: "threads".into(),
        value: threads.to_string(),
        allowed: "1 to what the system can start",
        fix: "ask for another number, or leave it out to use every core",
    }
}

/// The number of values in an array of `rows × columns`, if memory has room for it.
///
/// # Errors
/// [`Error::OutOfMemory`], where allocating would abort.
pub fn room(rows: usize, columns: usize) -> Result<usize> {
    let bytes = rows as u128 * columns as u128 * size_of::<f64>() as u128;
    let out_of_memory = Error::OutOfMemory { bytes };
    let Some(count) = rows.checked_mul(columns) else {
        return Err(out_of_memory);
    };
    if Vec::<f64>::new().try_reserve_exact(count).is_err() {
        return Err(out_of_memory);
    }
    Ok(count)
}

/// An array of `rows × columns` zeros. Its pages are touched first by the threads that
/// fill them.
pub(crate) fn zeros(rows: usize, columns: usize) -> Result<Vec<f64>> {
    Ok(vec![0.0; room(rows, columns)?])
}
