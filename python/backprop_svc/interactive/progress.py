"""The live progress line of a sweep: runs, speed, best loss and how many diverged."""

from __future__ import annotations

import time
from importlib.util import find_spec

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from backprop_svc.sweep.outcomes import Chunk


class SweepBar:
    """Shows how far a sweep is, in a terminal or a notebook; the engine calls it.

    Parameters
    ----------
    total
        Runs of the sweep.
    shown
        Whether it is shown; by default where somebody sees it.
    """

    def __init__(self, total: int, shown: bool | None = None) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} runs"),
            BarColumn(),
            TextColumn("{task.fields[rate]} runs/s  best {task.fields[best]}"),
            TextColumn("{task.fields[diverged]} diverged"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        # Without these widgets a notebook would show a warning instead of a bar.
        notebook = console.is_jupyter and find_spec("ipywidgets") is not None
        self._shown = (console.is_terminal or notebook) if shown is None else shown
        self._task = self._bar.add_task("", total=total, rate="…", best="…", diverged="0 %")
        self._begin = time.monotonic()
        self._done, self._diverged, self._best = 0, 0, np.inf

    def __call__(self, chunk: Chunk) -> None:
        """Advance the bar by a chunk that was trained."""
        self._done += len(chunk.loss)
        self._diverged += int((chunk.result.diverged_at >= 0).sum())
        self._best = min(self._best, np.nanmin(chunk.loss, initial=np.inf))
        seconds = time.monotonic() - self._begin
        self._bar.update(
            self._task,
            completed=self._done,
            rate=f"{self._done / max(seconds, 1e-9):,.0f}",
            best=f"{self._best:.3g}",
            diverged=f"{self._diverged / self._done:.0%}",
        )

    def __enter__(self) -> SweepBar:
        if self._shown:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar.live.is_started:
            self._bar.stop()
