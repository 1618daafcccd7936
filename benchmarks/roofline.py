"""The least time that the guide's network could take on this machine, and setting memory.

What an epoch of a run needs, whoever computes it, with e = y − ŷ:

    z = w1·x    ŷ = w2·h    e = y − ŷ          a product each, and a sum
    e·w2    ∂L/∂w1 = −that·x    ∂L/∂w2 = −e·h  products; their signs cost nothing, as what
                                               is subtracted can be added instead
    w1 − rate·∂L/∂w1    w2 − rate·∂L/∂w2       a product and a sum each

That is 7 products and 3 sums. Where x is 2, as it is here, a product by x may be the sum of a
number and itself instead: 5 of each. On top of that ReLU needs one operation at least, which
asks whether z > 0. It needs no more: AVX-512 leaves out lanes at no cost, and a program for
other processors may go on as if all lanes were on, gather in one register whether any was not
(the `or` of their bits), and repeat the few epochs in which one was off. Neither loss nor
outcome are counted, as those whom we are compared with do not compute them.

With fused arithmetic (`fast`) results are rounded otherwise, so products may be shared too.
With r = rate·e:

    z = w1·x    e = y − w2·h    r    r·w2    w2 + r·h    w1 + (r·w2)·x

These are three products, of which the first may be a sum, and three products that are fused
with a sum. ReLU's question comes on top again.

How many of these a core does in a second is measured with the same mix of instructions, and
without what makes it hard: the chains do not wait for one another, all their numbers stay in
registers, nothing is read or written. Products, sums and logic go to whichever units of the
core take them. Registers of all widths are tried, since some cores have more units for the
narrower ones. The instruction set is numba's, so what holds numba holds this too.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np

from backprop_svc.arrays import Floats
from backprop_svc.train import Precision
from work import THREADS

MIXES: dict[Precision, list[str]] = {
    "exact": [
        "mul add mul add mul add mul add mul add",
        "mul mul add mul mul add mul mul add mul",
    ],
    "fast": ["add fma mul fma mul fma", "mul fma mul fma mul fma"],
}
"""The operations of an epoch but for ReLU's `or`, spread so that no unit waits."""
WIDTHS = (2, 4, 8)
"""float64 in a register. What is wider than the machine's becomes two of its own."""
CHAINS = 12
"""Units × cycles that an operation takes is less; the registers of AVX2 have room for these."""
TURNS = 400_000
ENGINES: list[object] = []
"""What was compiled is there as long as its engine."""


class Limit(NamedTuple):
    """What takes as long as so many epochs of a run have to take at least."""

    work: Callable[[], object]
    epochs: int


def limits(precision: Precision) -> dict[str, Limit]:
    """Return every mix in every width: the fastest of them is the limit."""
    from llvmlite import binding  # It comes with numba.

    kinds = dict(enumerate(product(MIXES[precision], WIDTHS)))
    vectors = {width: f"<{width} x double>" for width in WIDTHS}
    declared = [f"declare {v} @llvm.fma.v{w}f64({v}, {v}, {v})" for w, v in vectors.items()]
    loops = [loop(f"loop{n}", mix.split(), width) for n, (mix, width) in kinds.items()]
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    host, features = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=os.environ.get("NUMBA_CPU_NAME", host),
        features=os.environ.get("NUMBA_CPU_FEATURES", features),
    )
    module = binding.parse_assembly("\n".join([*declared, *loops]))
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    ENGINES.append(engine)
    signature = ctypes.CFUNCTYPE(None, ctypes.c_int64)
    found = {}
    for n, (mix, width) in kinds.items():
        call = signature(engine.get_function_address(f"loop{n}"))
        epochs = THREADS * TURNS * CHAINS * width
        found[f"{precision}, {mix}, {width}"] = Limit(partial(by_all, call), epochs)
    return found


def by_all(call: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(call, [TURNS] * THREADS))


def loop(name: str, mix: list[str], width: int) -> str:
    """LLVM's language for a function that does a mix of operations in every chain, in turns.

    A chain is a number that stays finite: a product is one by ½, a sum one with ¼.
    """
    vector, bits = f"<{width} x double>", f"<{width} x i64>"
    half, quarter, start = (repeated(width, f"double {v}") for v in (0.5, 0.25, 1.0))
    chains, last = range(CHAINS), len(mix)
    names = [[f"%v{chain}.{place}" for place in range(last + 1)] for chain in chains]
    phis = [f"%s0 = phi {bits} [{repeated(width, 'i64 0')}, %entry], [%s{CHAINS}, %loop]"]
    phis += [
        f"{chain[0]} = phi {vector} [{start}, %entry], [{chain[last]}, %loop]"
        for chain in names
    ]
    # One operation of all chains after the other: what is ready is never far.
    steps = []
    for place, operation in enumerate(mix):
        for chain in names:
            found, number = chain[place + 1], chain[place]
            if operation == "fma":
                three = f"{vector} {number}, {vector} {half}, {vector} {quarter}"
                steps.append(f"{found} = call {vector} @llvm.fma.v{width}f64({three})")
            else:
                other = half if operation == "mul" else quarter
                steps.append(f"{found} = f{operation} {vector} {number}, {other}")
    for n, chain in enumerate(names):
        steps.append(f"%b{n} = bitcast {vector} {chain[last]} to {bits}")
        steps.append(f"%s{n + 1} = or {bits} %s{n}, %b{n}")
    ends = [f"store volatile {vector} {chain[last]}, ptr %sink" for chain in names]
    ends.append(f"store volatile {bits} %s{CHAINS}, ptr %sink")
    return "\n".join(
        [
            f'define void @{name}(i64 %turns) "prefer-vector-width"="{64 * width}" {{',
            "entry:",
            f"%sink = alloca {vector}",
            "br label %loop",
            "loop:",
            "%turn = phi i64 [0, %entry], [%next, %loop]",
            *phis,
            *steps,
            "%next = add i64 %turn, 1",
            "%more = icmp ult i64 %next, %turns",
            "br i1 %more, label %loop, label %end",
            "end:",
            *ends,
            "ret void",
            "}",
        ]
    )


def repeated(width: int, value: str) -> str:
    """Return a constant of LLVM's with a value in each lane."""
    return f"<{', '.join([value] * width)}>"


def fill(array: Floats) -> None:
    """Set memory, all cores together."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda part: part.fill(1.0), np.array_split(array, THREADS)))
