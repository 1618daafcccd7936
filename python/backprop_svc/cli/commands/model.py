"""Logs the network of a tracked run as a model of MLflow's."""

from __future__ import annotations

from collections.abc import Sequence

from backprop_svc.cli.commands import words
from backprop_svc.cli.config.schema import TrackingConfig
from backprop_svc.cli.terminal import show
from backprop_svc.cli.terminal.errors import foreseen, stop
from backprop_svc.errors import SettingError, StoreError, counted
from backprop_svc.interactive.terminal import say
from backprop_svc.tracking import DEFAULT_URI

USAGE = f"""\
backprop-svc model run=… [register=NAME] [tracking.uri={DEFAULT_URI}]
Logs the network of a tracked run as a model that MLflow's tools load and serve.
  run       a run id (32 hex digits), or best: the best run of sweep=… (its identity, or last)
  register  the name under which it is registered, too"""
WITHOUT_MODEL = "since its weights are not finite, or it was trained with data.affixes=drop"
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
    """Log the network of a run as a model, and say where it is and how to serve it."""
    with show.waiting("logging the model"):
        from backprop_svc.tracking.mlflow_model import log_model

        where = log_model(run_id, tracking=uri, register=register)
    say(f"the model of the run {run_id}: {where}")
    say(f"serve it with: mlflow models serve --env-manager local -m {where}")


def log_asked(run_ids: Sequence[str], where: TrackingConfig, whose: str) -> None:
    """Log the models of a command's runs, as far as its configuration asks for them.

    The first run is the best one; ``whose`` says in a message which one it is.
    """
    if where.model == "none" or not run_ids:
        return
    from backprop_svc.tracking.mlflow_model import log_models

    chosen = run_ids if where.model == "all" else run_ids[:1]
    with show.waiting("logging the model"):
        found = log_models(chosen, tracking=where.uri, register=where.register)
    if len(chosen) > 1:
        say(f"models of {len(found):,} of {counted(len(chosen), 'run')} logged")
    elif found:
        say(f"{whose}: {found[0]}")
    elif where.model is not None or where.register is not None:
        say(f"no model of the run {chosen[0]} was logged, {WITHOUT_MODEL}", stderr=True)
