//! The machine that a call runs on: its threads and its instruction set.

use crate::{Error, Result};

/// The instruction set, and so the vector registers, that a kernel is compiled for.
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
    /// Every instruction set, the widest last.
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

    /// Whether this machine has the instruction set.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().is_some(),
            _ => false,
        }
    }

    /// The widest instruction set of this machine.
    #[must_use]
    pub fn best() -> Self {
        let widest = Self::ALL.into_iter().rev().find(|set| set.is_available());
        widest.unwrap_or(Self::Scalar)
    }

    /// The instruction set of that name.
    ///
    /// # Errors
    /// No instruction set has that name, or this machine lacks it.
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

/// Threads that a call may have on any machine; otherwise four on each core.
const LEAST_BOUND: usize = 64;

/// The threads and the instruction set that a call uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// The number of threads; `None` for one on every core. There are never more than 64, or
    /// four on each core where these are more.
    pub threads: Option<usize>,
    /// The instruction set; by default the widest one of the machine.
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
        let cores = threads();
        // More would not be quicker, and thousands take minutes to start.
        let most = cores.saturating_mul(4).max(LEAST_BOUND);
        self.threads.unwrap_or(cores).min(most)
    }
}

/// The number of threads that a call uses when it is not told how many.
#[must_use]
pub fn threads() -> usize {
    // Asking rayon would start its threads, and a process that is forked later would lack them.
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

pub(crate) fn bad_threads(threads: usize) -> Error {
    Error::Value {
        name: "threads".into(),
        value: threads.to_string(),
        allowed: "1 to what the system can start".into(),
        fix: "ask for another number, or leave it out to use every core",
    }
}
