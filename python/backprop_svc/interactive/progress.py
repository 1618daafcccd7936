"""Progress of a sweep: a live line in a terminal, or a line in a log now and then."""

from __future__ import annotations

import time
from importlib.util import find_spec

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from backprop_svc.interactive.terminal import Terminal, say
from backprop_svc.result import OUTCOMES
from backprop_svc.sweep.outcomes import Chunk

BETWEEN_LINES = 15.0
"""Seconds between two lines where nobody sees a bar."""
TOLD = ("dead", "diverged")
"""Outcomes whose share is shown while a sweep runs: they say that its axes reach too far."""


class SweepBar:
    """Shows how far a sweep is; the engine calls it.

    Parameters
    ----------
    total
        Runs of the sweep.
    shown
        Whether a bar is shown; by default in a terminal and a notebook.
    lines
        Whether a line is printed every 15 seconds where no bar is shown.
    """

    def __init__(self, total: int, shown: bool | None = None, *, lines: bool = False) -> None:
        console = Terminal(stderr=True)
        self._bar = Progress(
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} runs{task.fields[there]}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        # Without these widgets a notebook would show a warning instead of a bar.
        notebook = console.is_jupyter and find_spec("ipywidgets") is not None
        self._shown = (console.is_terminal or notebook) if shown is None else shown
        self._lines = lines and not self._shown
        self._task = self._bar.add_task("", total=total, there="", told="…")
        self._total, self._begin = total, time.monotonic()
        self._line_at = self._begin + BETWEEN_LINES
        self._done, self._there, self._best = 0, 0, np.inf
        self._counts = np.zeros(len(OUTCOMES), dtype=np.int64)

    def __call__(self, chunk: Chunk) -> None:
        """Advance the bar by a chunk that was trained."""
        self._done += len(chunk.loss)
        self._there += chunk.there
        self._counts += np.bincount(chunk.result.outcome_code, minlength=len(OUTCOMES))
        self._best = min(self._best, np.nanmin(chunk.loss, initial=np.inf))
        # What was there took no time of this process.
        new, now = self._done - self._there, time.monotonic()
        rate = new / max(now - self._begin, 1e-9)
        shares = dict(zip(OUTCOMES.tolist(), self._counts / self._done, strict=True))
        outcomes = "  ".join(f"{shares[name]:.0%} {name}" for name in TOLD)
        told = f"{rate:,.0f} runs/s  best {self._best:.3g}  {outcomes}"
        there = f" ({self._there:,} were there)" if self._there else ""
        self._bar.update(self._task, completed=self._done, there=there, told=told)
        if self._lines and now >= self._line_at:
            self._line_at = now + BETWEEN_LINES
            left = _duration((self._total - self._done) / rate) if new else "…"
            say(
                f"{self._done:,} of {self._total:,} runs{there}  {told}  {left} left",
                stderr=True,
            )

    def __enter__(self) -> SweepBar:
        if self._shown:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar.live.is_started:
            self._bar.stop()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
