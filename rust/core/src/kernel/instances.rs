//! Every kernel that is compiled: for each instruction set, each arithmetic.
//!
//! The scalar set has neither fused arithmetic nor a kernel for single neurons: it is there
//! for machines that have nothing else, and for tests.

#[cfg(target_arch = "aarch64")]
use pulp::aarch64::Neon;
#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};
use pulp::{NullaryFnOnce, Scalar, Simd};

use super::arithmetic::{Arithmetic, Number};
use super::backprop::Workspace;
use super::chain::Chain;
use super::dense::Dense;
use super::spectrum::Ends;
use super::{Kernel, Predictor, Spectrum};
use crate::task::Task;
use crate::{InstructionSet, Machine, Network, Precision, Progress};

/// Runs `$call` with the token of an instruction set, or `$scalar` where there is none.
macro_rules! dispatch {
    ($set:expr, |$simd:ident| $call:expr, $scalar:expr) => {{
        #[cfg(target_arch = "aarch64")]
        if let (InstructionSet::Neon, Some($simd)) = ($set, Neon::try_new()) {
            return $call;
        }
        #[cfg(target_arch = "x86_64")]
        if let (InstructionSet::Avx512, Some($simd)) = ($set, V4::try_new()) {
            return $call;
        }
        #[cfg(target_arch = "x86_64")]
        if let (InstructionSet::Avx2, Some($simd)) = ($set, V3::try_new()) {
            return $call;
        }
        $scalar
    }};
}

/// Runs `work`, compiled for an instruction set: loops that the compiler turns into vector
/// instructions. All that it calls has to be inlined into it.
pub(crate) fn vectorized<W: NullaryFnOnce>(set: InstructionSet, work: W) -> W::Output {
    dispatch!(set, |simd| simd.vectorize(work), work.call())
}

/// The kernel that trains so many runs.
pub(crate) fn kernel<N: Number>(task: Task<'_>, runs: usize) -> Box<dyn Kernel<N> + '_> {
    dispatch!(
        task.settings.machine.instruction_set,
        |simd| match task.settings.precision {
            Precision::Exact => fitting::<_, N::Exact>(simd, task, runs),
            Precision::Fast => fitting::<_, N::Fast>(simd, task, runs),
        },
        Box::new(Dense::<_, N::Exact>::new(Scalar, task))
    )
}

/// The kernel that computes outputs.
pub(crate) fn predictor<'a, N: Number>(
    network: &'a Network,
    machine: Machine,
    progress: &'a Progress,
) -> Box<dyn Predictor<N> + 'a> {
    dispatch!(
        machine.instruction_set,
        |simd| Box::new(Workspace::<_, N::Exact>::new(simd, network, progress)),
        Box::new(Workspace::<_, N::Exact>::new(Scalar, network, progress))
    )
}

/// What finds the ends of the spectrum of the Hessian.
pub(crate) fn spectrum<'a>(
    network: &'a Network,
    machine: Machine,
    progress: &'a Progress,
) -> Box<dyn Spectrum + 'a> {
    dispatch!(
        machine.instruction_set,
        |simd| Box::new(Ends::new(simd, network, progress)),
        Box::new(Ends::new(Scalar, network, progress))
    )
}

/// A network of single neurons has a kernel of its own, in double precision alone: in single
/// precision losses are evaluated in double and rounded, which it does not do. The condition
/// is a constant, so that nothing is compiled for single precision.
fn fitting<'a, S: Simd, A: Arithmetic>(
    simd: S,
    task: Task<'a>,
    runs: usize,
) -> Box<dyn Kernel<A::Number> + 'a> {
    if const { size_of::<A::Number>() == size_of::<f64>() } {
        if Chain::<S, A, 1>::fits(&task) {
            return Box::new(Chain::<S, A, 1>::new(simd, task, runs));
        }
        if Chain::<S, A, 2>::fits(&task) {
            return Box::new(Chain::<S, A, 2>::new(simd, task, runs));
        }
    }
    Box::new(Dense::<S, A>::new(simd, task))
}
