//! Where a call meets the machine: instruction set, threads, memory.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::{Dtype, Error, Network, Result};

/// Runs handed to a thread at a time: enough to hide the cost of handing over.
const LARGEST_SHARE: usize = 1536;

/// Values that are looked at by a thread at a time.
const SLICE: usize = 1 << 16;

/// What vector registers a kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstructionSet {
    /// One number at a time, on any machine; products are never fused with sums.
    Scalar,
    /// 128 bits, on AArch64.
    Neon,
    /// 256 bits and fused multiply-add (x86-64-v3).
    Avx2,
    /// 512 bits (x86-64-v4).
    Avx512,
}

impl InstructionSet {
    /// Every one, the widest last.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Neon, Self::Avx2, Self::Avx512];

    /// The name used in configuration and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this machine has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        crate::kernel::is_available(self)
    }

    /// The widest one of this machine.
    #[must_use]
    pub fn best() -> Self {
        let widest = Self::ALL.into_iter().rev().find(|set| set.is_available());
        widest.unwrap_or(Self::Scalar)
    }

    /// The instruction set of that name.
    ///
    /// # Errors
    /// There is none, or this machine lacks it.
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|set| set.name() == name);
        found.filter(|set| set.is_available()).ok_or_else(|| {
            let there = Self::ALL.into_iter().filter(|set| set.is_available());
            let names: Vec<_> = there.map(Self::name).collect();
            Error::Value {
                name: "instruction_set".into(),
                value: format!("{name:?}"),
                allowed: format!("{} on this machine", names.join(", ")).into(),
                fix: "choose one of them, or leave it out for the widest",
            }
        })
    }
}

/// What of the machine a call uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Threads; `None` for one on every core.
    pub threads: Option<usize>,
    /// The widest one of the machine by default.
    pub instruction_set: InstructionSet,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            threads: None,
            instruction_set: InstructionSet::best(),
        }
    }
}

impl Machine {
    pub(crate) fn threads(self) -> usize {
        self.threads.unwrap_or_else(threads)
    }
}

/// Threads that a call uses when not told how many.
#[must_use]
pub fn threads() -> usize {
    // Asking rayon would start its threads, which a forked process does not have.
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How many runs to give to a thread at a time, so that all have as much to do.
pub(crate) fn share(network: &Network, runs: usize, machine: Machine) -> usize {
    // Whole blocks of any kernel: those of the smallest networks are eight registers wide.
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

/// Whether all values pass a test, which is quick and made of vector instructions.
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
            // Without a way out of the loop.
            if !slice.iter().fold(true, |all, value| all & test(value)) {
                passed.store(false, Ordering::Relaxed);
            }
        },
    )?;
    Ok(passed.into_inner())
}

pub(crate) fn bad_threads(threads: usize) -> Error {
    Error::Value {
        name: "threads".into(),
        value: threads.to_string(),
        allowed: "1 to what the system can start".into(),
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
