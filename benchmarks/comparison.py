"""Ways to do the same work: first that their results are equal, then how long they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType

import numpy as np

import backprop_svc as bp
from backprop_svc.train import Precision
from timing import best
from work import SEED, THREADS, Trained, Way, Work

Timings = dict[str, float]
"""Nanoseconds in a step, by the name of the way."""

APART = 0.1
"""The most that values of a float32 network may differ anywhere."""


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
    """Return the name of our way."""
    return f"ours, {precision}, {on(threads)}"


def on(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def our_ways(work: Work, *threads: int) -> dict[str, Way]:
    return {us(work.precision, n): partial(ours, work, n) for n in sorted({*threads, THREADS})}


def others(work: Work, modules: Sequence[ModuleType]) -> dict[str, Way]:
    return {name: way for module in modules for name, way in module.ways(work).items()}


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


def clock(
    work: Work,
    ways: Mapping[str, Way],
    beside: Mapping[str, Callable[[], object]] | None = None,
) -> Timings:
    """See that all ways return the same, which compiles them, then time them.

    What stands beside them returns something else; it takes its turns with them.
    """
    expected = ours(replace(work, precision="exact"), THREADS)
    for name, way in ways.items():
        same(name, way(), expected)
    seconds = best({**ways, **(beside or {})})
    return {name: each / work.steps * 1e9 for name, each in seconds.items()}
