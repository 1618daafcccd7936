"""Progress of a sweep: a live line in a terminal, or a line in a log now and then."""

from __future__ import annotations

import threading
import time
from importlib.util import find_spec

import numpy as np
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

from backprop_svc.errors import counted
from backprop_svc.interactive.terminal import Terminal, say
from backprop_svc.result import OUTCOMES
from backprop_svc.sweep.chunk import Chunk, percentages

FIRST_LINE, MOST_BETWEEN = 5.0, 60.0
"""Seconds until the first line where nobody sees a bar, and the most until the next one:
from one to the next they double."""
TOLD = ("dead", "diverged")
"""Outcomes whose share is shown while a sweep runs: they say that its axes reach too far."""
WIDE = 110
"""Columns of a terminal that has room for a bar beside the numbers."""


class Status:
    """How far a sweep is: what was done, how quickly, and what is left.

    A run counts once it is done: trained and, where it is tracked, written. Runs that were
    there when the sweep was resumed took no time of this process, and are in no rate.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self._there, self._best = 0, np.inf
        self._counts = np.zeros(len(OUTCOMES), dtype=np.int64)
        self._since, self._busy, self._chunks = time.monotonic(), 0.0, 0

    def begin(self) -> None:
        """Begin to count time: what was done before, such as opening a store, is in no rate."""
        self._since = time.monotonic()

    def add(self, chunk: Chunk) -> None:
        """Take a chunk that is done."""
        now = time.monotonic()
        self.done += len(chunk.result)
        self._there += chunk.there
        self._counts += chunk.counts
        self._best = min(self._best, np.nanmin(chunk.loss, initial=np.inf))
        if chunk.there < len(chunk.result):
            self._busy += now - self._since
            self._chunks += 1
        self._since = now

    def text(self) -> str:
        """Write it on one line."""
        # Rounded down: it is not done before the last run is.
        percent = 100 * self.done // self.total
        parts = [
            f"{self.done:,} of {counted(self.total, 'run')} ({percent} %)",
            *([f"{self._there:,} were there"] if self._there else []),
        ]
        if self._chunks and self.done > self._there:
            # Of the chunk on its way some has passed; one that takes too long slows all down.
            spent, usual = time.monotonic() - self._since, self._busy / self._chunks
            busy = self._busy + max(0.0, spent - usual)
            rate = (self.done - self._there) / max(busy, 1e-9)
            left = duration((self.total - self.done) / rate - min(spent, usual))
            parts += [f"{number(rate)} runs/s", f"{left} left"]
        if self.done:
            shares = dict(zip(OUTCOMES.tolist(), percentages(self._counts, 0), strict=True))
            parts.append(f"best loss {self._best:.3g}")
            parts += [f"{shares[name]}% {name}" for name in TOLD]
        return ", ".join(parts)


class SweepBar:
    """Shows how far a sweep is; the engine calls it.

    Parameters
    ----------
    total
        Runs of the sweep.
    shown
        Whether a bar is shown; by default in a terminal and a notebook.
    lines
        Whether a line is printed now and then where no bar is shown.
    """

    def __init__(self, total: int, shown: bool | None = None, *, lines: bool = False) -> None:
        console = Terminal(stderr=True)
        self._status = Status(total)
        bar = [BarColumn(20)] if console.is_jupyter or console.width >= WIDE else []
        self._bar = Progress(*bar, _Told(self._status), console=console, transient=True)
        # Without these widgets a notebook would show a warning instead of a bar.
        notebook = console.is_jupyter and find_spec("ipywidgets") is not None
        self._shown = (console.is_live or notebook) if shown is None else shown
        self._lines = lines and not self._shown
        self._task = self._bar.add_task("", total=total)
        self._ended = threading.Event()
        self._writer = threading.Thread(target=self._write_lines, daemon=True)

    def __call__(self, chunk: Chunk) -> None:
        """Advance the bar by a chunk that was trained."""
        self._status.add(chunk)
        self._bar.update(self._task, completed=self._status.done)

    def start(self) -> None:
        """Begin to show it."""
        self._status.begin()
        if self._shown:
            self._bar.start()
        elif self._lines and not self._writer.is_alive():
            self._writer.start()

    def stop(self) -> None:
        """Show it no longer."""
        self._ended.set()
        if self._bar.live.is_started:
            self._bar.stop()

    def __enter__(self) -> SweepBar:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write_lines(self) -> None:
        between = FIRST_LINE
        while not self._ended.wait(between) and self._status.done < self._status.total:
            say(self._status.text(), stderr=True)
            between = min(between * 2, MOST_BETWEEN)


class _Told(ProgressColumn):
    """The numbers beside the bar, those of a log."""

    max_refresh = 0.5

    def __init__(self, status: Status) -> None:
        super().__init__()
        self._status = status

    def render(self, task: Task) -> Text:
        return Text(self._status.text(), no_wrap=True, overflow="ellipsis")


def number(rate: float) -> str:
    """Write a rate, a small one with two digits."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def duration(seconds: float) -> str:
    """Write a time as hours, minutes and seconds."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
