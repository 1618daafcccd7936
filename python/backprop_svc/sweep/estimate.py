"""What a sweep will need, before it begins: time, memory, room in the store.

A sample of its runs is trained, and written to a database that is thrown away.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backprop_svc.arrays import Floats
from backprop_svc.errors import RoomError, counted
from backprop_svc.measured import UNASKED, asked
from backprop_svc.memory import available, told
from backprop_svc.result import Result
from backprop_svc.separation import EVERY
from backprop_svc.sweep.chunk import Chunk, with_histories
from backprop_svc.sweep.experiment import Experiment
from backprop_svc.sweep.pace import chunk_size, tracked_histories, tracked_interval
from backprop_svc.sweep.parent import Tracking
from backprop_svc.sweep.runs import to_runs
from backprop_svc.sweep.space import Grid, Points
from backprop_svc.tracking.room import bytes_of, free, seconds_to_write
from backprop_svc.train import Record

SAMPLE = 64
"""Runs that are measured."""
LIMIT = 0.1
"""Seconds after which the training of the sample ends; the rest of it is reckoned."""
MOST_SECONDS = 1.0
"""What the sample may take where more than the training is measured."""
LARGE = 4096
"""Runs of which Lyapunov exponents are measured."""
SHORT = 0.02
"""Seconds below which it is measured twice."""
SUMMARY = 40
"""Bytes of each run while a sweep is summed up: its loss, its rank, the code of its outcome."""
TABLE = 250
"""Further bytes of each run while its row is written to the table of results, and drawn."""


@dataclass(frozen=True)
class Estimate:
    """What the runs of a sweep will need."""

    runs: int
    measured: int
    """Runs of the sample."""
    training: float
    """Seconds to train all runs."""
    writing: float | None
    """Seconds to write all runs; ``None`` where nothing is written, or only the store can
    tell."""
    memory: int
    """Bytes at the end of the sweep."""
    memory_without_table: int
    store: dict[str, int]
    """Bytes that all runs take in a database, for ``history`` as it is, and for less."""
    free: int | None
    """Bytes on the disk of the database, if it is a file."""
    there: int = 0
    """Runs that are in the store."""

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        grid: Grid,
        runs: int,
        tracking: Tracking | None,
        *,
        table: bool,
        share: float = 1.0,
    ) -> Estimate:
        """Measure a sample of a sweep.

        Parameters
        ----------
        experiment, grid
            The sweep, or its first configuration.
        runs
            Runs of all configurations.
        tracking
            Where they are kept, if they are.
        table
            Whether a table of results is made.
        share
            Epochs of a run of all configurations, as a multiple of those of the first.
        """
        wanted, every = tracked_histories(experiment, tracking), tracked_interval(tracking)
        most = chunk_size(experiment, wanted, every, tracking is not None)
        count = min(SAMPLE, len(grid), most)
        exponents = {"lyapunov_epochs": 1} if experiment.settings["lyapunov_epochs"] else {}
        limited = _with(experiment, time_limit=LIMIT, **exponents)
        if asked(experiment.settings):
            # No limit ends what is computed after the training: one run tells how many more.
            seconds = _measured(limited, grid.points(0, 1), wanted, every)[2]
            count = min(count, max(1, int(MOST_SECONDS / seconds)))
        points = grid.select(np.linspace(0, len(grid) - 1, count).astype(np.int64))
        result, achieved, seconds = _measured(limited, points, wanted, every)
        if seconds < SHORT:
            # The first time may have found cold caches.
            result, achieved, seconds = _measured(limited, points, wanted, every)
        epochs, went = int(experiment.settings["epochs"]), max(1, int(result.epochs.sum()))
        of_epoch = seconds / went
        if limited.count_out_of_time(result):
            seconds *= count * epochs / went
        seconds += count * _seconds_of_exponent(experiment, grid, most, of_epoch)
        chunk = Chunk.of(0, points, result, achieved, 0, ())
        kept = chunk.nbytes / count
        writing, store = None, {}
        if tracking is not None:
            all_of = {
                history: to_runs(
                    experiment, points, with_histories(result, wanted), achieved,
                    sweep="0" * 16, first=0, settings={}, history=history,
                    keep=tracking.weights, time=(0, 0),
                )
                for history in dict.fromkeys((tracking.history, "last", "none"))
            }  # fmt: skip
            store = {h: int(runs / count * bytes_of(own, share)) for h, own in all_of.items()}
            each = seconds_to_write(tracking.uri, all_of[tracking.history])
            writing = None if each is None else runs * each * share
        without = int(runs * (kept + SUMMARY))
        return cls(
            runs=runs,
            measured=count,
            training=runs * share * seconds / count,
            writing=writing,
            memory=without + (runs * TABLE if table else 0),
            memory_without_table=without,
            store=store,
            free=None if tracking is None else free(tracking.uri),
        )

    def after(self, there: int) -> Estimate:
        """Return what is needed where some runs are there: the others alone are written."""
        left = (self.runs - there) / self.runs
        return replace(
            self,
            writing=None if self.writing is None else self.writing * left,
            store={history: int(size * left) for history, size in self.store.items()},
            there=there,
        )

    def refuse(self, history: str = "tracking.history=", none: str = "tracking=none") -> None:
        """Refuse a sweep that does not fit.

        Parameters
        ----------
        history, none
            How less is kept, as the caller writes it.

        Raises
        ------
        RoomError
            It needs more memory, or more room on the disk, than there is.
        """
        needed = next(iter(self.store.values()), 0)
        if self.free is not None and needed > self.free:
            fitting = [
                f"{history}{kept} ({told(size)})"
                for kept, size in self.store.items()
                if size <= self.free
            ]
            fix = f"write {' or '.join([*fitting, none])}, or give fewer points"
            raise self._too_large("the store", needed, self.free, fix)
        room = available()
        if self.memory > room:
            less = self.memory_without_table <= room
            fix = f"write {none} and leave sweep.results out, or " if less else ""
            fix += "give fewer points, or sweep a part of them at a time"
            raise self._too_large("memory", self.memory, room, fix)

    def _too_large(self, place: str, needed: int, room: int, fix: str) -> RoomError:
        runs = counted(self.runs, "run")
        return RoomError(
            "the sweep", f"some {told(needed)} in {place} for {runs}",
            f"what fits into the {told(room)} that are free", fix, verb="needs",
        )  # fmt: skip


def _with(experiment: Experiment, **settings: Any) -> Experiment:
    return replace(experiment, settings={**experiment.settings, **settings})


def _seconds_of_exponent(
    experiment: Experiment, grid: Grid, most: int, of_epoch: float
) -> float:
    """Return how long the Lyapunov exponent of a run takes, if it is asked for.

    It is measured on as many runs as take a moment, since a call takes as long for a few as for
    hundreds; ``of_epoch`` is roughly what an epoch of one of them takes.
    """
    if experiment.settings["lyapunov_epochs"] is None:
        return 0.0
    epochs = int(experiment.settings["lyapunov_epochs"])
    few = min(epochs, EVERY)
    count = min(len(grid), most, LARGE, 1 + int(LIMIT / (2 * few * of_epoch)))
    points = grid.select(np.linspace(0, len(grid) - 1, count).astype(np.int64))
    alone = _with(experiment, **{**UNASKED, "lyapunov_epochs": few})
    start = alone.starts(points)
    before = time.perf_counter()
    alone.train(start, (), epochs=0)
    return (time.perf_counter() - before) / count * epochs / few


def _measured(
    experiment: Experiment, points: Points, record: tuple[Record, ...], every: int
) -> tuple[Result, dict[str, Floats], float]:
    """Train and evaluate some runs; return how long that took, too."""
    before = time.perf_counter()
    start = experiment.starts(points)
    result = experiment.train(start, record, record_every=every)
    achieved = experiment.evaluate(result)
    return result, achieved, time.perf_counter() - before
