"""Writes the runs of a tracked sweep into a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backprop_svc.cli.commands.results import write_file
from backprop_svc.cli.terminal.errors import foreseen, stop
from backprop_svc.errors import SettingError, StoreError
from backprop_svc.interactive.terminal import say
from backprop_svc.tracking import DEFAULT_URI, load_sweep

USAGE = f"""\
backprop-svc export sweep=last out=runs.parquet [tracking.uri={DEFAULT_URI}]
Writes one row for each run of a sweep: its settings, what came of it, and its final weights
and gradients where they were kept.
  sweep  the identity of a sweep (16 hex digits), the run id of its parent, or last
  out    a file that ends with .parquet, .feather or .csv"""
SETTINGS = ("sweep", "out", "tracking.uri")
ENDINGS = (".parquet", ".feather", ".csv")


def export(arguments: list[str]) -> None:
    """Write the table that the arguments ask for."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return
    given: dict[str, str] = {}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name not in SETTINGS or not value:
            stop(
                f"export was told {argument!r}; allowed: "
                f"{', '.join(f'{name}=…' for name in SETTINGS)}; correct it"
            )
        given[name] = value
    out = given.get("out", "")
    if Path(out).suffix not in ENDINGS:
        stop(f"out is {out!r}; allowed: files that end with {', '.join(ENDINGS)}; name one")
    with foreseen(StoreError, SettingError):
        table = load_sweep(given.get("sweep", "last"), tracking=given.get("tracking.uri"))
        write_file(out, _content(table, Path(out).suffix), "out")
    say(f"{table.num_rows:,} runs in {out}")


def _content(table: Any, ending: str) -> bytes:
    """Return the content of a file; a text file has lists as JSON has them."""
    import pyarrow as pa
    from pyarrow import csv, feather, parquet

    sink = pa.BufferOutputStream()
    if ending == ".parquet":
        parquet.write_table(table, sink)
    elif ending == ".feather":
        feather.write_feather(table, sink)
    else:
        for place, field in enumerate(table.schema):
            if pa.types.is_list(field.type):
                texts = [None if row is None else str(row) for row in table[place].to_pylist()]
                table = table.set_column(place, field.name, pa.array(texts, pa.string()))
        csv.write_csv(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content
