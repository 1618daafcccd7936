"""One part of a sweep: a configuration, and arrays of points trained chunk by chunk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

import backprop_svc as bp
from backprop_svc.arrays import Floats
from backprop_svc.cli import show
from backprop_svc.cli.schema import Config
from backprop_svc.cli.setup import Setup
from backprop_svc.result import OUTCOMES
from backprop_svc.tracking import Sweep, open_writer
from backprop_svc.tracking.patience import patiently
from backprop_svc.tracking.record import MOST_NAMED_WEIGHTS, history_interval
from backprop_svc.train import Record

MOST_ROWS = 200_000
"""Values of history that a chunk may bring to the store: some 40 MB on their way."""
MOST_BYTES = 1 << 26
"""Of histories trained at once."""
MOST_RUNS = 1 << 18


@dataclass(frozen=True)
class Part:
    """What became of some neighbouring points of a sweep."""

    first: int
    """Position in the sweep of the first point."""
    overrides: list[str]
    """The settings of this part that differ from those of other parts."""
    points: dict[str, Floats]
    """Of each axis, shape (runs,)."""
    loss: Floats
    """Last loss, infinite where it diverged; shape (runs,)."""
    outcome_code: NDArray[np.uint8]
    epochs: NDArray[np.int64]
    """That each run went through, shape (runs,)."""
    cut: int
    """Runs that ``train.time_limit`` ended."""
    diverged_at: NDArray[np.int64]
    period: NDArray[np.uint8]
    loss_ratio: Floats
    """Mean of the last losses over the first, shape (runs,)."""
    achieved: dict[str, Floats]
    """Accuracy and val_…, where they apply and are asked for; each of shape (runs,)."""
    weights: Floats | None
    """Final weights of small networks, shape (runs, parameters)."""
    written: int
    """Runs that were not yet in the store."""

    @property
    def outcome(self) -> NDArray[np.str_]:
        """Of every run, shape (runs,)."""
        return OUTCOMES[self.outcome_code]


def run_part(
    config: DictConfig, *, data: str, overrides: list[str], first: int | None = None
) -> Part:
    """Train the points of one part, and keep them while the next chunk is trained.

    Parameters
    ----------
    config
        With ``sweep.axes`` for the arrays, none for a single point.
    data
        Name of the data set.
    overrides
        What distinguishes this part from others.
    first
        Position in the sweep of its first point; derived from ``sweep.part`` by default.
    """
    setup = Setup.of(config)
    settings, total = setup.config, len(setup.points)
    shard, shards = settings.sweep.shard, min(settings.sweep.shards, total)
    start, stop = total * shard // shards, total * (shard + 1) // shards
    offset = first if first is not None else (settings.sweep.part or 0) * total
    record = _recorded(settings)
    size = _chunk(setup, record)
    writer, parent = None, ""
    if settings.tracking.enabled:
        # It was there when the sweep began: that it is away may pass.
        writer = patiently(
            lambda: open_writer(settings.tracking.uri, settings.tracking.experiment),
            lambda error: isinstance(error, ConnectionError),
        )
        parent = writer.open_sweep(Sweep(settings.sweep.id or ""))
    chunks: list[bp.Result] = []
    evaluations: list[dict[str, Floats]] = []
    pending: list[Future[int]] = []
    written = 0

    def collect(most: int) -> None:
        nonlocal written
        while len(pending) > most:
            written += pending.pop(0).result()

    with show.SweepBar(stop - start) as bar, ThreadPoolExecutor(1) as pool:
        for low, high in _ranges(start, stop, size):
            points = setup.points.points(low, high)
            rates, weights = setup.starts(points, high - low)
            began = _now()
            result = setup.train(rates, weights, record)
            ended = _now()
            chunks.append(_essence(result))
            kept = writer is not None or settings.sweep.results is not None
            achieved = setup.achieved(result) if kept else {}
            evaluations.append(achieved)
            if writer is not None:
                batch = setup.batch(
                    result, achieved, points, offset + low, data, overrides, began, ended
                )
                # One batch is written while the next is trained; never more wait.
                collect(1)
                pending.append(pool.submit(writer.write_batch, batch, parent))
            losses = last_loss(result)
            bar.advance(losses, int((result.diverged_at >= 0).sum()))
            collect(1)
        collect(0)
    small = setup.work.network.parameters <= MOST_NAMED_WEIGHTS
    return Part(
        first=offset + start,
        overrides=overrides,
        points=setup.points.points(start, stop),
        loss=np.concatenate([last_loss(chunk) for chunk in chunks]),
        outcome_code=np.concatenate([chunk.outcome_code for chunk in chunks]),
        epochs=np.concatenate([chunk.epochs for chunk in chunks]),
        cut=sum(setup.count_cut(chunk) for chunk in chunks),
        diverged_at=np.concatenate([chunk.diverged_at for chunk in chunks]),
        period=np.concatenate([chunk.period for chunk in chunks]),
        loss_ratio=np.concatenate([chunk.loss_ratio for chunk in chunks]),
        achieved={
            name: np.concatenate([found[name] for found in evaluations])
            for name in evaluations[0]
        },
        weights=np.concatenate([chunk.weights for chunk in chunks]) if small else None,
        written=written,
    )


def last_loss(result: bp.Result) -> Floats:
    """Last recorded loss, infinite where it diverged, NaN without epochs; shape (runs,)."""
    return np.where(result.diverged_at >= 0, np.inf, result.last_loss)


def _essence(result: bp.Result) -> bp.Result:
    """Return what a :class:`Part` needs: it stays in memory to the end of the sweep."""
    small = result.network.parameters <= MOST_NAMED_WEIGHTS
    return replace(
        result,
        loss=None,
        prediction=None,
        gradients=None,
        weight_history=None,
        initial_weights=np.empty((len(result), 0)),
        weights=result.weights if small else np.empty((len(result), 0)),
    )


def _recorded(settings: Config) -> tuple[Record, ...]:
    if not settings.tracking.enabled:
        return ()
    every = history_interval(settings.tracking.history)
    return ("loss",) if every is None else ("loss", "gradients")


def _chunk(setup: Setup, record: tuple[Record, ...]) -> int:
    """Return how many runs to train at once: memory is bounded, whatever the sweep."""
    settings, parameters = setup.config, setup.work.network.parameters
    epochs = max(1, settings.train.epochs)
    wide = len(record) + (parameters - 1 if "gradients" in record else 0)
    size = MOST_BYTES // (8 * (epochs * wide + 2 * parameters))
    if settings.tracking.enabled:
        every = history_interval(settings.tracking.history)
        kept = 1 + (epochs // every if every else 0)
        size = min(size, MOST_ROWS // (kept * min(wide, 1 + MOST_NAMED_WEIGHTS) + 30))
    return max(1, min(size, MOST_RUNS))


def _ranges(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    for low in range(start, stop, size):
        yield low, min(low + size, stop)


def _now() -> int:
    return int(time.time() * 1000)
