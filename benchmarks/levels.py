"""The instruction sets that are compared, and how a process is held to one.

Libraries choose their instructions when they are loaded. So each level has a process of its
own, which starts with these variables. On the best level of a machine nothing holds the peers:
they do what they do by default.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import numpy as np

import backprop_svc as bp

OURS = "BACKPROP_INSTRUCTION_SET"
PEERS: dict[str, dict[str, str]] = {
    "avx2": {
        # Without features of its own numba takes those of the machine, whatever the name.
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx2,+fma",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
        "NPY_DISABLE_CPU_FEATURES": " ".join(
            name
            for name in np.show_config("dicts")["SIMD Extensions"].get("found", ())
            if name == "X86_V4" or name.startswith("AVX512")
        ),
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "TORCHINDUCTOR_CPP_MARCH": "haswell",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "avx512": {},
    "neon": {},
}
"""What holds the peers to each level; ours is held by its name."""


def available() -> list[str]:
    """Return the levels that this machine has."""
    before = os.environ.get(OURS)
    found = []
    for level in PEERS:
        os.environ[OURS] = level
        try:
            in_use = bp.build_info()["simd"]
        except ValueError:  # The machine lacks it.
            continue
        if in_use == level:
            found.append(level)
    os.environ.pop(OURS)
    if before is not None:
        os.environ[OURS] = before
    return found


def environment(level: str) -> dict[str, str]:
    """Return the variables of a process that is held to a level."""
    return {**os.environ, **PEERS[level], OURS: level}


def check(level: str) -> None:
    """See that this process is held to a level, as far as libraries say what they use."""
    used = bp.build_info()["simd"]
    assert used == level, f"ours uses {used}"
    if level == "avx2" and find_spec("torch"):
        import torch

        used = torch.backends.cpu.get_cpu_capability()
        assert used == "AVX2", f"PyTorch uses {used}"
