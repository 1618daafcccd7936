"""The arguments of commands that Hydra does not compose: name=value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from backprop_svc.cli.config.choices import SETTINGS_OF_USERS
from backprop_svc.cli.terminal.errors import stop
from backprop_svc.cli.terminal.nearest import nearest_of
from backprop_svc.interactive.terminal import Terminal
from backprop_svc.tracking import best_run

BEST = "best"
"""Names the best run of a sweep."""
ENDINGS = (".parquet", ".feather", ".csv")
"""Files into which a table is written."""


def read(
    command: str, arguments: Sequence[str], allowed: Iterable[str], usage: str
) -> dict[str, str]:
    """Return the values of the arguments by their names, or end the program with one line.

    Who asks for help is shown the usage, which ends the program, too.
    """
    if {"-h", "--help"} & set(arguments):
        Terminal().print(usage, soft_wrap=True)
        raise SystemExit(0)
    given: dict[str, str] = {}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name not in allowed or not value:
            meant = nearest_of(name.lstrip("-"), allowed)
            fix = f"write {meant}={value or '…'}" if meant else "correct it"
            # A setting of training is not a mistyped argument.
            fix = "leave it out" if name in SETTINGS_OF_USERS and value else fix
            stop(
                f"{command} was told {argument!r}; allowed: "
                f"{', '.join(f'{name}=…' for name in allowed)}; {fix}"
            )
        given[name] = _unquoted(value)
    return given


def _unquoted(value: str) -> str:
    """Take off the quotes that Hydra's commands need around some texts."""
    in_quotes = len(value) > 2 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if in_quotes else value


def run_of(command: str, given: dict[str, str]) -> str:
    """Return the id of a run that is told, or of the best one of a sweep.

    Raises
    ------
    SettingError
        There is no such sweep.
    """
    run_id, sweep = given["run"], given.get("sweep")
    if run_id == BEST:
        return best_run(sweep or "last", tracking=given.get("tracking.uri"))
    if sweep is not None:
        stop(
            f"{command} was told run={run_id} and sweep={sweep}; allowed: one run; leave one "
            "out"
        )
    if not (len(run_id) == 32 and run_id.isalnum()):
        stop(
            f"run is {run_id!r}; allowed: a run id (32 hex digits), or {BEST}, the best run of "
            f"sweep=… (its identity, or last); copy an id from MLflow, or write run={BEST}"
        )
    return run_id


def table_file(given: dict[str, str]) -> str:
    """Return the file for a table, or end the program with one line."""
    out = given.get("out", "")
    if Path(out).suffix not in ENDINGS:
        stop(f"out is {out!r}; allowed: files that end with {', '.join(ENDINGS)}; name one")
    return out


def content(table: Any, file: str) -> bytes:
    """Return the content of a file with a table; a text file has lists as JSON has them."""
    import pyarrow as pa
    from pyarrow import csv, feather, parquet

    sink, ending = pa.BufferOutputStream(), Path(file).suffix
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
    found: bytes = sink.getvalue().to_pybytes()
    return found
