"""Writes the runs of a tracked sweep into a table."""

from __future__ import annotations

from backprop_svc.cli.commands import words
from backprop_svc.cli.commands.results import write_file
from backprop_svc.cli.terminal.errors import foreseen
from backprop_svc.errors import SettingError, StoreError, counted
from backprop_svc.interactive.terminal import say
from backprop_svc.tracking import DEFAULT_URI, load_sweep

USAGE = f"""\
backprop-svc export sweep=last out=runs.parquet [tracking.uri={DEFAULT_URI}]
Writes one row for each run of a sweep: its settings, what came of it, and its final weights
and gradients where they were kept.
  sweep  the identity of a sweep (16 hex digits), the run id of its parent, or last
  out    a file that ends with .parquet, .feather or .csv"""


def export(arguments: list[str]) -> None:
    """Write the table that the arguments ask for."""
    given = words.read("export", arguments, ("sweep", "out", "tracking.uri"), USAGE)
    out = words.table_file(given)
    with foreseen(StoreError, SettingError):
        table = load_sweep(given.get("sweep", "last"), tracking=given.get("tracking.uri"))
        write_file(out, words.content(table, out), "out")
    say(f"{counted(table.num_rows, 'run')} in {out}")
