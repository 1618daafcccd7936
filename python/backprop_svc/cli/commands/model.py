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
    given = words.read("model", arguments, SETTINGS, USAGE)
    if "run" not in given:
        stop("model was not told run; allowed: run=best, say; add it")
    uri = given.get("tracking.uri")
    with foreseen(StoreError, SettingError):
        log(words.run_of("model", given), uri, given.get("register"))


def log(run_id: str, uri: str | None, register: str | None) -> None:
    """Log the network of a run as a model, and say where it is."""
    with show.waiting("logging the model"):
        # It imports MLflow.
        from backprop_svc.tracking.mlflow_model import log_model

        where = log_model(run_id, tracking=uri, register=register)
    say(f"the model of the run {run_id}: {where}")
    say(f"serve it with: mlflow models serve --env-manager local -m {where}")
