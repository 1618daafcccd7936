"""Tables of what was measured, and what it should be."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

CONSOLE = Console(width=None if sys.stdout.isatty() else 100)


class Goal(NamedTuple):
    """A figure, and what it should be: at least `least`, or at most `most`."""

    what: str
    figure: float
    unit: str
    least: float | None = None
    most: float | None = None

    def row(self) -> tuple[str, ...]:
        """Return what it is, the figure, the goal, and whether that is met."""
        low, high = self.least, self.most
        goal = f"≤ {high:g}" if low is None else f"≥ {low:g}"
        met = (low is None or self.figure >= low) and (high is None or self.figure <= high)
        figures = (f"{self.figure:,.2f} {self.unit}", f"{goal} {self.unit}")
        return self.what, *figures, "met" if met else "missed"


def show_goals(title: str, goals: Iterable[Goal]) -> None:
    table = Table("", "figure", "goal", "", title=title, title_justify="left")
    for goal in goals:
        table.add_row(*goal.row())
    CONSOLE.print(table)


def show(
    title: str,
    timings: Mapping[str, float],
    updates: int,
    best: str,
    limits: Mapping[str, tuple[float, str]],
) -> None:
    """Print nanoseconds per step, and how they compare with the best of ours.

    A limit is the time of something that nobody can be faster than, and the name of the way
    of ours that it is a limit to.
    """
    table = Table(title=title, title_justify="left")
    for column in ("", "ns per step", "runs/s", "ours is faster by"):
        table.add_column(column, justify="right")
    rows = [(name, each, f"{each / timings[best]:.2f} ×") for name, each in timings.items()]
    for name, (each, way) in limits.items():
        rows.append((name, each, f"reached to {each / timings[way]:.0%}"))
    for name, each, ratio in rows:
        table.add_row(name, f"{each:,.3f}", f"{1e9 / (each * updates):,.0f}", ratio)
    CONSOLE.print(table)
