"""Prints tables, those of an explanation among them."""

from __future__ import annotations

from rich.measure import Measurement
from rich.table import Table

from backprop_svc.interactive.terminal import Terminal
from backprop_svc.steps import Check, Explanation


def print_table(table: Table) -> None:
    """Print a table as wide as it is: a terminal wraps what a narrow table would cut off."""
    wide = Terminal(width=100_000)
    width = Measurement.get(wide, wide.options, table).maximum
    Terminal(width=max(1, width)).print(table)


def print_explanation(walk: Explanation) -> None:
    """Print every step with its formula, its numbers and its check."""
    console = Terminal()
    console.print(walk.title, style="bold", soft_wrap=True)
    for title, steps in walk.sections.items():
        checked = any(step.check for step in steps)
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for column in ("", "formula", "numbers", "value"):
            table.add_column(
                column, no_wrap=True, justify="right" if column == "value" else "left"
            )
        if checked:
            table.add_column("finite diff.", justify="right", no_wrap=True)
        for step in steps:
            cells = [step.name, step.formula, step.numbers, f"{step.value:.10g}"]
            table.add_row(*cells, *([_check(step.check)] if checked else []))
        console.print()
        print_table(table)


def _check(check: Check | None) -> str:
    if check is None:
        return "at the kink"
    mark = "✓" if check.error < 1e-5 else "✗"
    return f"{check.value:.6g} {mark}"
