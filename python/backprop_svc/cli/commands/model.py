"""Logs the network of a tracked run as a model of MLflow's."""

from __future__ import annotations

from backprop_svc.cli.commands import words
from backprop_svc.cli.terminal import show
from backprop_svc.cli.terminal.errors import foreseen, stop
from backprop_svc.errors import SettingError, StoreError
from backprop_svc.interactive.terminal import say
from backprop_svc.tracking import DEFAULT_URI

USAGE = f"""\
backprop-svc model run=… [register=NAME] [tracking.uri={DEFAULT_URI}]
Logs the network of a tracked run as a model that MLflow's tools load and serve.
  run       a run id (32 hex digits), or best: the best run of sweep=… (its identity, or last)
  register  the name under which it is registered, too"""
SETTINGS = ("run", "sweep", "register", "tracking.uri")


def model(arguments: list[str]) -> None:
    """Log the model that the arguments ask for."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return
    given = words.read("model", arguments, SETTINGS)
    if "run" not in given:
        stop("model was not told run; allowed: run=best, say; add it")
    with foreseen(StoreError, SettingError), show.waiting("logging the model"):
        from backprop_svc.tracking.mlflow_model import log_model

        run_id, uri = words.run_of("model", given), given.get("tracking.uri")
        where = log_model(run_id, tracking=uri, register=given.get("register"))
    say(f"the model of the run {run_id}: {where}")
    say(f"serve it with: mlflow models serve --env-manager local -m {where}")
