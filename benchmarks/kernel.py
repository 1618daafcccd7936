"""The guide's network for many runs: ours beside NumPy and the guide's plain Python."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

import backprop_svc as bp

RUNS, EPOCHS = 65_536, 200
NETWORK = bp.Network(1, 1, 1)
X, Y = 2.0, 3.0


def starts(runs: int) -> tuple[bp.training.Floats, bp.training.Floats]:
    generator = np.random.default_rng(0)
    return generator.uniform(-1, 2, (runs, 2)), generator.uniform(0.001, 0.15, runs)


def ours(runs: int, threads: int | None) -> bp.training.Floats:
    weights, rates = starts(runs)
    return bp.train(
        NETWORK, weights, X, Y, learning_rate=rates, epochs=EPOCHS, record=(), threads=threads
    ).weights


def numpy(runs: int) -> bp.training.Floats:
    weights, rates = starts(runs)
    w1, w2 = weights.T.copy()
    for _ in range(EPOCHS):
        z = w1 * X
        h = np.where(z > 0, z, 0.0)
        delta = -(Y - w2 * h)
        gradient = delta * w2 * (z > 0) * X
        w2 = w2 - rates * (delta * h)
        w1 = w1 - rates * gradient
    return np.column_stack([w1, w2])


def plain(runs: int) -> bp.training.Floats:
    weights, rates = starts(runs)
    finals = []
    for (w1, w2), rate in zip(weights.tolist(), rates.tolist(), strict=True):
        for _ in range(EPOCHS):
            z = w1 * X
            h = max(0, z)
            delta = -(Y - w2 * h)
            dw1, dw2 = delta * w2 * (1 if z > 0 else 0) * X, delta * h
            w1, w2 = w1 - rate * dw1, w2 - rate * dw2
        finals.append((w1, w2))
    return np.array(finals)


def seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best


def main() -> None:
    """Check that the results are equal, then time them."""
    few = RUNS // 64
    assert ours(few, None).tobytes() == numpy(few).tobytes() == plain(few).tobytes()
    timings = {
        "plain Python": seconds(lambda: plain(few)) / few,
        "NumPy": seconds(lambda: numpy(RUNS)) / RUNS,
        "ours, 1 thread": seconds(lambda: ours(RUNS, 1)) / RUNS,
        "ours, all cores": seconds(lambda: ours(RUNS, None)) / RUNS,
    }
    best = timings["ours, all cores"]
    info = bp.build_info()
    table = Table(
        title=f"{RUNS} runs × {EPOCHS} epochs, float64, no history; {platform.machine()}, "
        f"{info['simd']}, {info['threads']} threads"
    )
    for column in ("", "ns per step", "ours is faster by"):
        table.add_column(column, justify="right")
    for name, time_per_run in timings.items():
        table.add_row(
            name, f"{time_per_run / EPOCHS * 1e9:.2f}", f"{time_per_run / best:.1f} ×"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
