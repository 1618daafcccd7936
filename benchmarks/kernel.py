"""Training beside plain Python, NumPy, numba, JAX and PyTorch: same work, same threads.

Each instruction set that the machine has, from AVX2 up, is measured in a process of its own,
with the peers held to it too: so a machine with AVX-512 also shows what others get.

`kernel.py --level avx2` measures one of them; `--quick` trains one run of 64, which shows
within a minute that everything works, but none of the figures.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from types import ModuleType

import numpy as np

import levels
import roofline
from comparison import clock, identical, on, others, our_ways, ours, us
from peers import NUMBA_BLOCKS, installed, jax, numpy, python
from report import Goal, show, show_goals
from timing import best
from work import THREADS, digits, fractal, guide, restless


@dataclass(frozen=True)
class Bench:
    """All that is measured at one level."""

    level: str
    part: int
    """One of so many runs is trained."""
    modules: list[ModuleType]
    """The peers that train any of the networks."""

    def goals(self) -> list[Goal]:
        """Print a table of each work; return our figures beside what they should be."""
        goals = self.guide()
        self.restless()
        return [*goals, *self.histories(), *self.fractal(), *self.digits(), alone()]

    def guide(self) -> list[Goal]:
        """Measure the guide's network, of which nothing but the final weights is kept."""
        work = guide(65_536 // self.part, 1000)
        few, fast = work.few(1024 // self.part), replace(work, precision="fast")
        identical(ours(few, THREADS), ours(few, 1), numpy.train(few), python.train(few))
        ways = others(work, [numpy, *self.modules]) | our_ways(work, 1, 2) | our_ways(fast)
        timings = clock(few, python.ways(few)) | clock(work, ways)
        exact, fused = timings[us()], timings[us("fast")]
        goals = [Goal("guide's network, exact, beside JAX", timings[jax.NAME] / exact, "×", 3)]
        if NUMBA_BLOCKS in timings:
            blocks, wide = timings[NUMBA_BLOCKS], self.level == "avx512"
            goals += [
                Goal("exact, beside numba's blocks", blocks / exact, "×", 1.0 if wide else 1.2),
                Goal("fast, beside numba's blocks", blocks / fused, "×", 1.15 if wide else 1.4),
            ]
        threads = timings[us(threads=1)] / timings[us(threads=2)]
        goals.append(Goal("exact, 2 threads beside 1", threads, "×", 1.85))
        title = f"guide's network, {len(work.rates):,} runs × 1,000 epochs"
        show(title, timings, work.updates, us(), {})
        return goals

    def restless(self) -> None:
        """Measure the same where no run comes to rest: every epoch has to be computed."""
        work = restless(65_536 // self.part, 1000)
        fast = replace(work, precision="fast")
        roofs: dict[str, roofline.Limit] = {}
        if find_spec("llvmlite"):
            roofs = roofline.limits("exact") | roofline.limits("fast")
        else:
            print("The roofline is measured with numba's compiler and left out")
        loops = {name: roof.work for name, roof in roofs.items()}
        ways = others(work, [jax, *installed("numba")]) | our_ways(work, 1) | our_ways(fast)
        timings = clock(work, ways, loops)
        least: dict[str, tuple[float, str]] = {}
        for name, roof in roofs.items():
            way = us("exact" if name.startswith("exact") else "fast")
            each = timings.pop(name) * work.steps / roof.epochs
            key = f"roofline, {name.partition(',')[0]}"
            least[key] = min((each, way), least.get(key, (each, way)))
        title = f"the same, where no run comes to rest, {len(work.rates):,} runs × 1,000 epochs"
        show(title, timings, work.updates, us(), least)

    def histories(self) -> list[Goal]:
        """Measure the same with what is mostly memory to be written."""
        work = guide(1_000_000 // self.part, 20, ("loss", "gradients"))
        few = work.few(1024)
        identical(ours(few, THREADS), ours(few, 1), numpy.train(few))
        # Loss and two gradients of each step. Everybody returns fresh arrays, which are made
        # of pages that the system has to give first.
        values = work.steps * 3
        touched = np.full(values, 1.0)
        fresh = f"memset, fresh, {on(THREADS)}"
        memsets: dict[str, Callable[[], object]] = {
            "memset, fresh, 1 thread": lambda: np.full(values, 1.0),
            fresh: lambda: roofline.fill(np.empty(values)),
            f"memset, touched, {on(THREADS)}": lambda: roofline.fill(touched),
        }
        ways = others(work, [numpy, *self.modules]) | our_ways(work)
        timings = clock(work, ways, memsets)
        limits = {name: (timings.pop(name), us()) for name in memsets}
        title = f"the same with loss and gradients kept, {len(work.rates):,} runs × 20 epochs"
        show(title, timings, work.updates, us(), limits)
        mine = timings[us()]
        goals = [Goal(f"histories, of {fresh}", limits[fresh][0] / mine * 100, "%", 50)]
        if NUMBA_BLOCKS in timings:
            ratio = timings[NUMBA_BLOCKS] / mine
            goals.insert(0, Goal("histories, beside numba's blocks", ratio, "×", 1))
        return goals

    def fractal(self) -> list[Goal]:
        """Measure a small network on many rows: matrix products and tanh."""
        work = fractal(max(1, 256 // self.part), 500)
        fast = replace(work, precision="fast")
        ways = others(work, self.modules) | our_ways(work, 1) | our_ways(fast)
        timings = clock(work, ways)
        rows = f"16-16-1 tanh on {len(work.x)} rows (arXiv 2402.06184)"
        title = f"{rows}, {len(work.rates)} runs × {work.epochs} epochs"
        show(title, timings, work.updates, us(), {})
        goals = []
        for each, least in ((work, 3), (fast, 3.5)):
            mine = timings[us(each.precision)]
            speed = f"{1e9 / (mine * work.updates):,.0f} networks/s"
            what = f"fractal, {each.precision}, {speed}, beside JAX"
            goals.append(Goal(what, timings[jax.NAME] / mine, "×", least))
        return goals

    def digits(self) -> list[Goal]:
        """Measure a classifier in float32 with mini-batches."""
        work = digits(max(1, 256 // self.part), 5, batch_size=32)
        exact = replace(work, precision="exact")
        timings = clock(work, others(work, self.modules) | our_ways(exact) | our_ways(work))
        runs = f"{len(work.rates)} runs × {work.epochs} epochs"
        title = f"64-32-10 digits, float32, batches of 32, {runs}"
        show(title, timings, work.updates, us("fast"), {})
        ratio = timings[jax.NAME] / timings[us("fast")]
        return [Goal("digits, fast, beside JAX", ratio, "×", 2)]


def alone() -> Goal:
    work = replace(guide(1, 1_000_000), rates=np.array([1e-9]))
    (seconds,) = best({"": lambda: ours(work, 1)}).values()
    return Goal("one run of one network, a step", seconds / work.steps * 1e9, "ns", most=15)


def main() -> None:
    """See that results are equal, then time them; our figures beside what they should be."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--level", choices=levels.PEERS, help="one instruction set")
    parser.add_argument("--quick", action="store_true", help="one run of 64")
    parser.add_argument("--held", action="store_true", help="the variables are set already")
    told = parser.parse_args()
    if not told.held:
        chosen = [told.level] if told.level else levels.available()
        if not chosen:
            parser.error(f"this machine has none of {', '.join(levels.PEERS)}")
        for level in chosen:
            command = [sys.executable, __file__, *sys.argv[1:], "--held", "--level", level]
            subprocess.run(command, env=levels.environment(level), check=True)
        return
    levels.check(told.level)
    part = 64 if told.quick else 1
    print(f"\n{platform.machine()}, everybody held to {told.level}, {on(THREADS)}")
    modules = [jax, *installed("numba", "torch")]
    goals = Bench(told.level, part, modules).goals()
    note = f", which are for {part} times as many runs" if told.quick else ""
    show_goals(f"goals, {told.level}{note}", goals)


if __name__ == "__main__":
    main()
