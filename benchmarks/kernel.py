"""Training beside plain Python, NumPy, numba, JAX and PyTorch: same work, same threads.

`kernel.py 64` trains one of so many runs, to see whether all are equal.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

import backprop_svc as bp
import roofline
from backprop_svc.train import Precision
from peers import installed, jax, numpy, python
from timing import seconds
from work import SEED, THREADS, Trained, Way, Work, digits, fractal, guide

CONSOLE = Console()
Timings = dict[str, float]
"""Of each way, nanoseconds in a step."""


class Goal(NamedTuple):
    """A figure, and what it should be: from `least` on, or up to `most`."""

    what: str
    figure: float
    unit: str
    least: float | None = None
    most: float | None = None

    def row(self) -> tuple[str, ...]:
        """Return what it is, the figure, the target, and whether that is met."""
        low, high = self.least, self.most
        target = f"≤ {high:g}" if low is None else f"≥ {low:g}"
        met = (low is None or self.figure >= low) and (high is None or self.figure <= high)
        figures = (f"{self.figure:,.2f} {self.unit}", f"{target} {self.unit}")
        return self.what, *figures, "met" if met else "missed"


def ours(work: Work, threads: int) -> bp.Result:
    return bp.train(
        work.network,
        work.weights,
        work.x,
        work.y,
        learning_rate=work.rates,
        epochs=work.epochs,
        batch_size=work.batch_size,
        batch_seed=SEED,
        precision=work.precision,
        record=work.record,
        threads=threads,
    )


def us(precision: Precision = "exact", threads: int = THREADS) -> str:
    return f"ours, {precision}, {threads} thread{'s' * (threads > 1)}"


def our_ways(work: Work, *threads: int) -> dict[str, Way]:
    return {us(work.precision, n): partial(ours, work, n) for n in sorted({*threads, THREADS})}


APART = 0.1
"""How far values in float32 may ever be apart."""


def same(name: str, found: Trained | bp.Result, expected: bp.Result) -> None:
    """See that all is equal but for rounding.

    In float32 a sum now and then rounds to the other side of 0, and ReLU is on or off for
    one row more: such runs end a little apart.
    """
    rough = expected.network.dtype == "float32"
    share, relative, absolute = (0.9, 0.0, 1e-4) if rough else (1.0, 1e-6, 1e-9)
    for values in ("weights", "loss", "gradients"):
        theirs, mine = getattr(found, values), getattr(expected, values)
        if mine is not None:
            close = np.isclose(np.asarray(theirs), mine, rtol=relative, atol=absolute)
            assert close.mean() >= share, f"{name} has other {values}"
            far = np.abs(np.asarray(theirs) - mine)[~close]
            assert (far < APART).all(), f"{name} has {values} that are {far.max()} off"


def identical(*trained: Trained | bp.Result) -> None:
    """See that all is equal, bit by bit."""
    for values in ("weights", "loss", "gradients"):
        found = [getattr(each, values) for each in trained]
        assert len({each.tobytes() for each in found if each is not None}) <= 1, values


def clock(work: Work, ways: Mapping[str, Way]) -> Timings:
    """See that all return the same, which compiles them, then time them."""
    expected = ours(replace(work, precision="exact"), THREADS)
    for name, way in ways.items():
        same(name, way(), expected)
    return {name: seconds(way) / work.steps * 1e9 for name, way in ways.items()}


def others(work: Work, modules: Sequence[ModuleType]) -> dict[str, Way]:
    return {name: way for module in modules for name, way in module.ways(work).items()}


def show(
    title: str, work: Work, timings: Timings, limits: dict[str, tuple[float, str]] | None = None
) -> None:
    """Print how we compare: of a limit, given with one of our ways, what it reaches of it."""
    best = timings[us(work.precision)]
    table = Table(title=title, title_justify="left")
    for column in ("", "ns per step", "runs/s", "ours is faster by"):
        table.add_column(column, justify="right")
    rows = [(name, each, f"{each / best:.2f} ×") for name, each in timings.items()]
    for name, (each, way) in (limits or {}).items():
        rows.append((name, each, f"reached to {each / timings[way]:.0%}"))
    for name, each, ratio in rows:
        runs = f"{1e9 / (each * work.updates):,.0f}"
        table.add_row(name, f"{each:,.3f}", runs, ratio)
    CONSOLE.print(table)


def guides(part: int, modules: list[ModuleType]) -> list[Goal]:
    work = guide(65_536 // part, 1000)
    few, fast = work.few(1024), replace(work, precision="fast")
    identical(ours(few, THREADS), ours(few, 1), numpy.train(few), python.train(few))
    timings = clock(few, python.ways(few))
    timings |= clock(work, others(work, [numpy, *modules]) | our_ways(work, 1, 2))
    timings |= clock(fast, our_ways(fast))
    exact, fused = us(), us("fast")
    threads = timings[us(threads=1)] / timings[us(threads=2)]
    goals = [
        Goal("exact, beside JAX", timings[jax.NAME] / timings[exact], "×", least=3),
        Goal("exact, beside NumPy", timings[numpy.NAME] / timings[exact], "×", least=20),
        Goal("fast, beside JAX", timings[jax.NAME] / timings[fused], "×", least=5),
        Goal("exact, 2 threads beside 1", threads, "×", least=1.85),
    ]
    limits = {}
    if find_spec("llvmlite"):
        limits["roofline, exact"] = roofline.step("exact"), exact
        limits["roofline, fast"] = roofline.step("fast"), fused
        share = limits["roofline, exact"][0] / timings[exact] * 100
        goals.append(Goal("exact, of the roofline", share, "%", least=70))
    else:
        print("The roofline is measured with numba and left out")
    show(f"guide's network, {len(work.rates):,} runs × 1,000 epochs", work, timings, limits)
    return goals


def histories(part: int, modules: list[ModuleType]) -> list[Goal]:
    work = guide(1_000_000 // part, 20, ("loss", "gradients"))
    few = work.few(1024)
    identical(ours(few, THREADS), ours(few, 1), numpy.train(few))
    timings = clock(work, others(work, [numpy, *modules]) | our_ways(work))
    # Loss and two gradients of each step. A fresh array, as everybody returns one, is made of
    # pages that the system gives first.
    values, mine = work.steps * 3, timings[us()]
    touched = np.full(values, 1.0)
    memsets: dict[str, Callable[[], object]] = {
        "memset, fresh, 1 thread": lambda: np.full(values, 1.0),
        f"memset, fresh, {THREADS} threads": lambda: roofline.fill(np.empty(values)),
        f"memset, touched, {THREADS} threads": lambda: roofline.fill(touched),
    }
    limits = {
        name: (seconds(memset) / work.steps * 1e9, us()) for name, memset in memsets.items()
    }
    show(
        f"the same with loss and gradients kept, {len(work.rates):,} runs × 20 epochs",
        work,
        timings,
        limits,
    )
    goals = [Goal("histories, beside JAX", timings[jax.NAME] / mine, "×", least=15)]
    for name, (each, _) in list(limits.items())[:2]:
        goals.append(Goal(f"histories, of {name}", each / mine * 100, "%", least=50))
    return goals


def fractals(part: int, modules: list[ModuleType]) -> list[Goal]:
    work = fractal(max(1, 256 // part), 500)
    fast = replace(work, precision="fast")
    timings = clock(work, others(work, modules) | our_ways(work, 1) | our_ways(fast))
    show(
        f"16-16-1 tanh on 272 rows (arXiv 2402.06184), {len(work.rates)} runs × 500 epochs",
        work,
        timings,
    )
    goals = []
    for precision in (work.precision, fast.precision):
        mine = timings[us(precision)]
        speed = f"fractal, {precision}, {1e9 / (mine * work.updates):,.0f} networks a second"
        goals.append(Goal(f"{speed}, beside JAX", timings[jax.NAME] / mine, "×", least=3))
    return goals


def images(part: int, modules: list[ModuleType]) -> list[Goal]:
    work = digits(max(1, 256 // part), 5, batch_size=32)
    exact = replace(work, precision="exact")
    timings = clock(work, others(work, modules) | our_ways(exact) | our_ways(work))
    show(
        f"64-32-10 digits, float32, batches of 32, {len(work.rates)} runs × 5 epochs",
        work,
        timings,
    )
    return [Goal("digits, beside JAX", timings[jax.NAME] / timings[us("fast")], "×", least=2)]


def alone() -> Goal:
    work = replace(guide(1, 1_000_000), rates=np.array([1e-9]))
    each = seconds(lambda: ours(work, 1)) / work.steps * 1e9
    return Goal("one run of one network, a step", each, "ns", most=15)


def main() -> None:
    """See that results are equal, then time them; our figures beside what they should be."""
    part = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    print(f"{platform.machine()}, {bp.build_info()['simd']}, {THREADS} threads")
    modules = [jax, *installed("numba", "torch")]
    goals = [
        *guides(part, modules),
        *histories(part, modules),
        *fractals(part, modules),
        *images(part, modules),
        alone(),
    ]
    title = "targets" if part == 1 else f"targets, which are for {part} times as many runs"
    table = Table("", "figure", "target", "", title=title, title_justify="left")
    for goal in goals:
        table.add_row(*goal.row())
    CONSOLE.print(table)


if __name__ == "__main__":
    main()
