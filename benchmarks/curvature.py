"""The sharpness of many runs beside JAX: the same eigenvalues, the same threads.

JAX has two ways: all of the Hessian and its eigenvalues, and Lanczos' method by products of
the Hessian with vectors, with as few steps as give ten digits. `--quick` takes one run of 16.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

import backprop_svc as bp
from backprop_svc.arrays import Floats
from peers.jax import mean_loss
from report import CONSOLE, Goal, show_goals
from timing import best
from work import SEED, Work, fractal, guide

OURS, HESSIAN = "ours", "JAX jit(vmap(hessian)), eigvalsh"
STEPS = range(8, 80, 8)
"""Of Lanczos' method in JAX."""
MOST_FULL = 300
"""Parameters up to which JAX computes all of the Hessian."""
DIGITS = 1e-10
FASTER = 5.0


def small(runs: int, *sizes: int, rows: int) -> Work:
    network = bp.Network(*sizes, activation="tanh", bias=True)
    random = np.random.default_rng(SEED)
    x, y = random.normal(size=(rows, sizes[0])), random.normal(size=(rows, sizes[-1]))
    weights = random.normal(0, 0.5, (runs, network.parameters))
    return Work(network, weights, np.ones(runs), x, y, 0)


def full(work: Work) -> Callable[[], Floats]:
    hessian = jax.hessian(mean_loss(work))
    return _call(lambda w: jnp.linalg.eigvalsh(hessian(w))[-1], work)


def lanczos(work: Work, steps: int) -> Callable[[], Floats]:
    loss = mean_loss(work)
    start = np.random.default_rng(SEED).normal(size=work.network.parameters)
    first = jnp.asarray(start / np.linalg.norm(start))

    def sharpness(w: Any) -> Any:
        def step(state: Any, index: Any) -> tuple[Any, Any]:
            basis, vector = state
            basis = basis.at[index].set(vector)
            image = jax.jvp(jax.grad(loss), (w,), (vector,))[1]
            along = vector @ image
            image = image - basis.T @ (basis @ image)
            image = image - basis.T @ (basis @ image)
            rest = jnp.linalg.norm(image)
            return (basis, image / rest), (along, rest)

        basis = jnp.zeros((steps, len(first)))
        _, (along, rest) = jax.lax.scan(step, (basis, first), jnp.arange(steps))
        matrix = jnp.diag(along) + jnp.diag(rest[:-1], 1) + jnp.diag(rest[:-1], -1)
        return jnp.linalg.eigvalsh(matrix)[-1]

    return _call(sharpness, work)


def _call(sharpness: Callable[[Any], Any], work: Work) -> Callable[[], Floats]:
    call, weights = jax.jit(jax.vmap(sharpness)), jnp.asarray(work.weights)
    return lambda: np.asarray(call(weights))


def clock(work: Work) -> dict[str, float]:
    """See that all ways find the same, then time them: microseconds of a run."""

    def ours() -> Floats:
        return bp.sharpness(work.network, work.weights, work.x, work.y)

    expected, ways = ours(), {OURS: ours}

    def agrees(way: Callable[[], Floats]) -> bool:
        return bool(np.allclose(way(), expected, rtol=DIGITS, atol=DIGITS * expected.max()))

    parameters = work.network.parameters
    if parameters <= MOST_FULL:
        ways[HESSIAN] = full(work)
        assert agrees(ways[HESSIAN])
    if parameters > STEPS[0]:
        for steps in STEPS:
            way = lanczos(work, min(steps, parameters))
            if agrees(way):
                ways[f"JAX, {min(steps, parameters)} steps of Lanczos"] = way
                break
    return {name: each / len(work.rates) * 1e6 for name, each in best(ways).items()}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of 16")
    part = 16 if parser.parse_args().quick else 1
    goals = []
    for work in (
        guide(65_536 // part, 1),
        small(16_384 // part, 2, 2, 1, rows=4),
        small(4096 // part, 2, 6, 1, rows=16),
        small(1024 // part, 4, 16, 1, rows=64),
        fractal(64 // part, 1),
    ):
        sizes = "-".join(map(str, work.network.sizes))
        what = f"{sizes}, {work.network.parameters} parameters, {len(work.x)} rows"
        timings = clock(work)
        title = f"sharpness of {what}, {len(work.rates):,} runs"
        table = Table("", "µs per run", "ours is faster by", title=title, title_justify="left")
        for name, each in timings.items():
            table.add_row(name, f"{each:,.3f}", f"{each / timings[OURS]:.2f} ×")
        CONSOLE.print(table)
        mine = timings.pop(OURS)
        goals.append(Goal(f"{what}, beside JAX", min(timings.values()) / mine, "×", FASTER))
    show_goals("goals, sharpness", goals)


if __name__ == "__main__":
    main()
