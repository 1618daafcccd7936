"""The sweep as a whole in the tracking store: the parent of its runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from backprop_svc.errors import SettingError, shown
from backprop_svc.tracking import (
    Runs,
    Summary,
    Sweep,
    Writer,
    checked_uri,
    open_writer,
    shown_uri,
)
from backprop_svc.tracking.identity import check_sweep_id, new_sweep_id
from backprop_svc.tracking.links import Place
from backprop_svc.tracking.patience import patiently
from backprop_svc.tracking.record import history_interval
from backprop_svc.tracking.states import Keep, check_keep

LAST = "last"
"""Names the newest sweep that was not finished."""
BETWEEN_REPORTS = 10.0
"""Seconds between two reports of a sweep that runs."""
SIGNAL = 128
"""Codes of an exit above it are those of a signal."""


@dataclass(frozen=True)
class Tracking:
    """Where the runs of a sweep are kept, and how much of them."""

    uri: str
    experiment: str = "backprop-svc"
    history: str = "all"
    """See :func:`backprop_svc.tracking.record.history_interval`."""
    weights: Keep = "all"
    """Of which runs the final weights are kept: of all, the best of each chunk, or none."""

    def __post_init__(self) -> None:
        checked_uri(self.uri)
        history_interval(self.history)
        check_keep(self.weights)


class Pace:
    """Lets something happen every few seconds, in at most a twentieth of the time."""

    def __init__(self) -> None:
        self._next = time.monotonic() + BETWEEN_REPORTS / 2

    def is_due(self) -> bool:
        """Tell whether it is time."""
        return time.monotonic() >= self._next

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Do it, and wait the longer the longer it took."""
        began = time.monotonic()
        try:
            yield
        finally:
            ended = time.monotonic()
            self._next = ended + max(BETWEEN_REPORTS, 20 * (ended - began))


@dataclass(frozen=True)
class Parent:
    """The run that the runs of a sweep belong to."""

    tracking: Tracking
    writer: Writer
    run_id: str
    _reports: Pace = field(default_factory=Pace)

    @classmethod
    def open(cls, tracking: Tracking, sweep: Sweep, *, again: bool = False) -> Parent:
        """Make the parent of a sweep, or take it up.

        Parameters
        ----------
        tracking
            The store.
        sweep
            What the parent says of the sweep.
        again
            The store was there when the sweep began: a store that is away may come back.
        """

        def writer() -> Writer:
            return open_writer(tracking.uri, tracking.experiment)

        found = (
            patiently(writer, lambda e: isinstance(e, ConnectionError)) if again else writer()
        )
        return cls(tracking, found, found.open_sweep(sweep))

    def write(self, runs: Runs) -> int:
        """Keep the runs that are not there yet; return how many.

        Now and then the parent is told how far the sweep is.
        """
        written, rows = 0, np.arange(len(runs))
        for start in range(0, len(runs), self.writer.most):
            some = rows[start : start + self.writer.most]
            part = runs if len(some) == len(runs) else runs.select(some)
            written += self.writer.write_runs(part, self.run_id)
            if self._reports.is_due():
                # A store that is away is waited for when runs are written.
                with self._reports.measured(), suppress(ConnectionError):
                    self.writer.report(self.run_id)
        return written

    @property
    def there(self) -> int:
        """Runs that the store has of it."""
        return self.writer.progress(self.run_id).runs

    @property
    def links(self) -> tuple[str, str]:
        """The addresses of its page and of that with all sweeps."""
        return self.writer.links(self.run_id)

    @property
    def place(self) -> Place:
        """Where its runs are."""
        return self.writer.place(self.run_id)

    def finish(self, summary: Summary | None = None) -> str:
        """End it as FINISHED; return where to look at it."""
        return self.writer.close_sweep(self.run_id, "FINISHED", summary)

    def fail(self, error: BaseException) -> None:
        """End it as FAILED after an error, as KILLED after an interrupt or a signal."""
        self.writer.close_sweep(self.run_id, "KILLED" if _stopped(error) else "FAILED")

    def leave(self) -> None:
        """End a job of it; who launched the job ends the sweep."""
        self.writer.leave_sweep()


def _stopped(error: BaseException) -> bool:
    """Tell whether an error is an interrupt, or came of one on the way out."""
    seen: BaseException | None = error
    while seen is not None:
        code = seen.code if isinstance(seen, SystemExit) else None
        if isinstance(seen, KeyboardInterrupt) or (isinstance(code, int) and code > SIGNAL):
            return True
        seen = seen.__context__
    return False


def identity(
    tracking: Tracking | None,
    *,
    resume: object = None,
    told: object = None,
    names: tuple[str, str] = ("resume", "sweep_id"),
) -> str:
    """Return which sweep it is: a new one, a told one, or one that is to go on.

    Parameters
    ----------
    tracking
        The store, in which ``last`` is looked for.
    resume
        ``last``, or the identity of a sweep that was begun.
    told
        The identity of a new sweep.
    names
        What errors call ``resume`` and ``told``.

    Raises
    ------
    SettingError
        What is no identity; ``last`` where no sweep can go on; ``resume`` of an untracked
        sweep.
    """
    setting, setting_of_told = names
    if resume is None:
        return new_sweep_id() if told is None else check_sweep_id(setting_of_told, told)
    if tracking is None:
        raise SettingError(
            setting, f"{shown(resume)}, but nothing is tracked", "a tracked sweep",
            "leave out {name}, or track the sweep",
        )  # fmt: skip
    if not isinstance(resume, str) or resume != LAST:
        return check_sweep_id(setting, resume)
    found = open_writer(tracking.uri, tracking.experiment).last_sweep()
    if found is None:
        raise SettingError(
            setting,
            f"{LAST}, and the experiment {tracking.experiment!r} in "
            f"{shown_uri(tracking.uri)} has no sweep that was not finished",
            f"{LAST} after one was stopped, or the identity of a sweep",
            "leave it out to begin a new one",
        )
    return found
