"""How fast this machine can be: chains of operations in registers, memory that is set."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from backprop_svc.arrays import Floats
from timing import seconds
from work import THREADS

OPERATIONS = {"exact": 17, "fast": 14}
"""Vector operations in a step of the guide's network, as the kernel does it.

Products and sums, 13: z = w1·x; ŷ = w2·h and the error y − ŷ; the loss ½·(error·error), 2;
∂L/∂w2 = δ·h; δ·w2 and times the slope; ∂L/∂w1 = that·x; w − rate·∂L/∂w, 2 for each weight.
Others, 4: z > 0; h and the slope chosen by it; loss ≤ bound. (δ = −error costs nothing: what
is subtracted is added instead.) Fast fuses three products with the sums that follow them: the
error and the two weights.
"""
CHAINS = 12
"""Independent of one another: a core has some in flight in each of its units, and registers
have room for all."""
TURNS = 4_000_000
WIDTHS = (2, 4, 8)
"""float64 in a register: the fastest width is the machine's."""


def step(precision: str) -> float:
    """Least nanoseconds for a step of a run of the guide's network, all cores together."""
    fused = precision == "fast"
    return OPERATIONS[precision] / max(rate(width, fused) for width in WIDTHS) * 1e9


def rate(width: int, fused: bool) -> float:
    """Operations on float64 a second of all cores: products and sums, or both fused as one."""
    from llvmlite import binding  # It comes with numba.

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten()
    )
    module = binding.parse_assembly(source(width, fused))
    engine = binding.create_mcjit_compiler(module, target)
    engine.finalize_object()
    signature = ctypes.CFUNCTYPE(None, ctypes.c_int64)
    chains = signature(engine.get_function_address("chains"))
    with ThreadPoolExecutor(THREADS) as pool:
        best = seconds(lambda: list(pool.map(chains, [TURNS] * THREADS)))
    return THREADS * TURNS * CHAINS * 2 * width / best


def source(width: int, fused: bool) -> str:
    """LLVM's language for CHAINS times a ← ½·a + ¼, twice if fused: two operations each."""
    vector = f"<{width} x double>"
    half, quarter = (f"<{', '.join([f'double {v}'] * width)}>" for v in (0.5, 0.25))
    starts, steps, ends = [], [], []
    for chain in range(CHAINS):
        first = f"<{', '.join([f'double {chain}.0'] * width)}>"
        starts.append(f"%a{chain} = phi {vector} [{first}, %entry], [%c{chain}, %loop]")
        if fused:
            call = f"call {vector} @llvm.fma.v{width}f64({vector}"
            constants = f"{vector} {half}, {vector} {quarter})"
            steps.append(f"%b{chain} = {call} %a{chain}, {constants}")
            steps.append(f"%c{chain} = {call} %b{chain}, {constants}")
        else:
            steps.append(f"%b{chain} = fmul {vector} %a{chain}, {half}")
            steps.append(f"%c{chain} = fadd {vector} %b{chain}, {quarter}")
        ends.append(f"store volatile {vector} %c{chain}, ptr %sink")
    lines = [
        f"declare {vector} @llvm.fma.v{width}f64({vector}, {vector}, {vector})",
        f'define void @chains(i64 %turns) "prefer-vector-width"="{64 * width}" {{',
        "entry:",
        f"%sink = alloca {vector}",
        "br label %loop",
        "loop:",
        "%turn = phi i64 [0, %entry], [%next, %loop]",
        *starts,
        *steps,
        "%next = add i64 %turn, 1",
        "%more = icmp ult i64 %next, %turns",
        "br i1 %more, label %loop, label %end",
        "end:",
        *ends,
        "ret void",
        "}",
    ]
    return "\n".join(lines)


def fill(array: Floats) -> None:
    """Set memory, all cores together."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda part: part.fill(1.0), np.array_split(array, THREADS)))
