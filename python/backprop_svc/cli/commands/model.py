"""Logs the network of a tracked run as a model of MLflow's."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from backprop_svc.cli.commands import words
from backprop_svc.cli.config.schema import TrackingConfig
from backprop_svc.cli.terminal import show
from backprop_svc.cli.terminal.errors import describe, foreseen, stop
from backprop_svc.errors import SettingError, StoreError, counted
from backprop_svc.interactive.terminal import say
from backprop_svc.tracking import DEFAULT_URI, default_uri, shown_uri

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
    """Log the network of a run as a model, and say where it is and how to serve it."""
    with show.waiting("logging the model"):
        from backprop_svc.tracking.mlflow_model import log_model

        where = log_model(run_id, tracking=uri, register=register)
    say(f"the model of the run {run_id}: {where}")
    serve = shlex.join(["mlflow", "models", "serve", "--env-manager", "local", "-m", where])
    say(f"serve it with: {show.with_store(serve, uri or default_uri())}")


def log_asked(run_ids: Sequence[str], where: TrackingConfig, whose: str) -> None:
    """Log the models of a command's runs, as far as its configuration asks for them.

    The first run is the best one; ``whose`` says in a message which one it is.
    """
    if where.model == "none" or not run_ids:
        return
    from backprop_svc.tracking.mlflow_model import log_models

    chosen = run_ids if where.model == "all" else run_ids[:1]
    try:
        with show.waiting("logging the model"):
            found = log_models(chosen, tracking=where.uri, register=where.register)
    except (SettingError, OSError) as error:
        # What was trained is kept, whatever becomes of its model.
        say(
            f"backprop-svc: {whose} was not logged: {describe(error)}; what was trained is "
            f"kept; log it with: {_again(chosen[0], where)}",
            stderr=True,
        )
        return
    logged = [one.address for one in found if one.address is not None]
    if len(chosen) > 1:
        say(f"models of {len(logged):,} of {counted(len(chosen), 'run')} logged")
    elif logged:
        say(f"{whose}: {logged[0]}")
    elif where.model is not None or where.register is not None:
        say(f"{whose} was not logged, since {found[0].why_not}", stderr=True)


def _again(run_id: str, where: TrackingConfig) -> str:
    words = ["backprop-svc", "model", f"run={run_id}", f"tracking.uri={shown_uri(where.uri)}"]
    if where.register is not None:
        words.append(f"register={where.register}")
    return shlex.join(words)
