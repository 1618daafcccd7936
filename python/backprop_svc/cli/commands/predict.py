"""Predicts for the rows of a table with a tracked network."""

from __future__ import annotations

from backprop_svc.cli.commands import words
from backprop_svc.cli.commands.results import write_file
from backprop_svc.cli.terminal.errors import foreseen, stop
from backprop_svc.errors import SettingError, StoreError, counted
from backprop_svc.interactive.terminal import say
from backprop_svc.tracking import DEFAULT_URI, load_run

USAGE = f"""\
backprop-svc predict run=… data.path=new.csv out=predictions.csv [tracking.uri={DEFAULT_URI}]
Predicts the target for each row of a table, which has the columns of the training by their
names: in the unit of the target, or its class and the probability of each class.
  run    a run id (32 hex digits), or best: the best run of sweep=… (its identity, or last)
  out    a file that ends with .parquet, .feather or .csv"""
SETTINGS = ("run", "sweep", "data.path", "out", "tracking.uri")


def predict(arguments: list[str]) -> None:
    """Write the predictions that the arguments ask for."""
    given = words.read("predict", arguments, SETTINGS, USAGE)
    out, uri = words.table_file(given), given.get("tracking.uri")
    for name, example in (("run", "run=best"), ("data.path", "data.path=new.csv")):
        if name not in given:
            stop(f"predict was not told {name}; allowed: {example}, say; add it")
    with foreseen(StoreError, SettingError, FileNotFoundError):
        import pyarrow as pa

        run_id = words.run_of("predict", given)
        run = load_run(run_id, tracking=uri)
        table = pa.table(run.model.predict(given["data.path"]))
        write_file(out, words.content(table, out), "out")
    say(f"{counted(table.num_rows, 'prediction')} in {out}, by the run {run_id}")
