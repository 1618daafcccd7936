"""The engine of a sweep: ask, train, write, tell, chunk by chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from backprop_svc.errors import SettingError
from backprop_svc.sweep.chunk import Chunk, with_histories
from backprop_svc.sweep.experiment import Experiment
from backprop_svc.sweep.naming import Naming
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.sweep.pace import Pace, chunk_size, tracked_histories, tracked_interval
from backprop_svc.sweep.parent import Parent
from backprop_svc.sweep.runs import to_runs
from backprop_svc.sweep.sampler import Sampler
from backprop_svc.tracking import Runs
from backprop_svc.tracking.patience import given_up
from backprop_svc.tracking.record import now
from backprop_svc.train import RECORDS, Record


def run(
    experiment: Experiment,
    sampler: Sampler,
    *,
    sweep: str,
    first: int = 0,
    parent: Parent | None = None,
    settings: Mapping[str, str] | None = None,
    naming: Naming | None = None,
    record: Sequence[Record] = (),
    evaluate: bool = True,
    progress: Callable[[Chunk], object] | None = None,
) -> Outcomes:
    """Train the points that a sampler asks for, and keep them while the next are trained.

    Memory is bounded, whatever the size of the sweep: of each run a row of
    :class:`Outcomes` stays, and the histories of one chunk at a time. What has been written
    stays, whatever ends the sweep; writing a run twice changes nothing.

    Parameters
    ----------
    experiment
        What all points share; checked before (:meth:`Experiment.check`).
    sampler
        Which points to train.
    sweep
        Identity of the sweep: with its position it names a run.
    first
        Position in the sweep of the first point.
    parent
        Where the runs are kept; they are not by default.
    settings
        Further settings that identify these runs, as they were written.
    naming
        Names the runs; by default where they start does.
    record
        Histories that the outcomes keep: memory is then no longer bounded.
    evaluate
        Compute accuracy and val_… of all runs, where they apply.
    progress
        Called with each chunk that is done: trained, and written where runs are kept.

    Raises
    ------
    ConnectionError
        The store is away for longer than a minute, or full.
    KeyboardInterrupt
        Ctrl-C.
    """
    where = None if parent is None else parent.tracking
    tracked = tracked_histories(experiment, where)
    wanted: tuple[Record, ...] = tuple(n for n in RECORDS if n in tracked or n in record)
    # Outcomes show whole histories; a store is given what it is told to keep.
    every = 1 if record else tracked_interval(where)
    pace = Pace(
        chunk_size(experiment, wanted, every, parent is not None),
        tracked=parent is not None,
        together=experiment.settings["time_limit"] is not None,
    )
    chunks: list[Chunk] = []
    pending: list[tuple[Chunk, Future[int] | None]] = []
    position, begin, metric = first, time.time(), experiment.by

    def write(runs: Runs) -> int:
        before = time.monotonic()
        written = parent.write(runs) if parent is not None else 0
        pace.wrote(written, time.monotonic() - before)
        return written

    def take() -> None:
        """Take the oldest chunk on its way as done."""
        chunk, writing = pending.pop(0)
        there = 0 if writing is None else len(chunk.result) - writing.result()
        chunks.append(replace(chunk, there=there))
        if progress is not None:
            progress(chunks[-1])

    with _thread() as pool:
        while (points := sampler.ask(pace.size)) is not None:
            start = experiment.starts(points)
            began, before = now(), time.monotonic()
            result = experiment.train(start, wanted, record_every=every)
            ended = now()
            achieved = experiment.evaluate(result) if evaluate or metric != "loss" else {}
            pace.trained(points.count, time.monotonic() - before)
            cut = experiment.count_out_of_time(result)
            chunk = Chunk.of(position, points, result, achieved, cut, record, metric)
            writing = None
            if parent is not None:
                runs = to_runs(
                    experiment,
                    points,
                    with_histories(result, tracked),
                    achieved,
                    sweep=sweep,
                    first=position,
                    settings=settings or {},
                    history=parent.tracking.history,
                    keep=parent.tracking.weights,
                    time=(began, ended),
                    naming=naming,
                )
                writing = pool.submit(write, runs)
            pending.append((chunk, writing))
            position += points.count
            sampler.tell(points, chunk.loss)
            # Its histories go before those of the next chunk come.
            del result
            # One chunk is written while the next is trained; never more wait.
            if writing is None or len(pending) > 1:
                take()
        while pending:
            take()
    if not chunks:
        raise SettingError(
            "the sampler", "no points", "one point or more", "give it points", verb="has"
        )
    kept = parent is not None
    written = sum(len(chunk.result) - chunk.there for chunk in chunks) if kept else 0
    return Outcomes(sweep, chunks, written, spans=[(begin, time.time())])


@contextmanager
def _thread() -> Iterator[ThreadPoolExecutor]:
    """Write in a thread of its own; what only waits to be written is left at an error."""
    pool = ThreadPoolExecutor(1)
    try:
        yield pool
    except BaseException:
        with given_up():
            pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()
