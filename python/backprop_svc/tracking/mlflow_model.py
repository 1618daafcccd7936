"""The network of a tracked run as a model of MLflow's, which its tools load and serve."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from backprop_svc.datasets.model import Model
from backprop_svc.errors import SettingError
from backprop_svc.tracking import model_folder, sqlite
from backprop_svc.tracking.entities import Client
from backprop_svc.tracking.failures import store_errors
from backprop_svc.tracking.read import TrackedRun, opened, read_run

NAME = "network"
URI = "MLFLOW_TRACKING_URI"


def log_model(run_id: str, *, tracking: str | None = None, register: str | None = None) -> str:
    """Log the network of a tracked run as a model, once, and return the model's URI.

    It predicts what :meth:`backprop_svc.Model.predict` does, is served by
    ``mlflow models serve``, and needs NumPy, pandas and MLflow only: its code goes with it,
    and nothing is pickled.

    Parameters
    ----------
    run_id
        32 hex digits; its weights have to be kept.
    tracking
        MLflow's tracking URI; by default that of the environment, else
        ``sqlite:///mlflow.db``.
    register
        The name under which the model is registered, too.

    Raises
    ------
    SettingError
        The store has no such run, the weights of the run were not kept or are not finite, or it
        was trained with ``data.affixes=drop``.
    ConnectionError
        The store cannot be opened, or refuses the model.
    """
    uri, client = opened(tracking)
    found = read_run(run_id, uri, client)
    reason = _why_not(found)
    if reason is not None:
        raise SettingError(
            f"the run {found.run_id}", f"no model, since {reason}",
            "runs of finite weights that are kept, on data with data.affixes=keep",
            "choose another run", verb="has",
        )  # fmt: skip
    try:
        return _log(found, uri, client, register)
    finally:
        _gather_changes(uri)


@dataclass(frozen=True)
class Asked:
    """What became of a model that a command was asked for."""

    address: str | None
    """``None`` where no model can be made."""
    why_not: str | None = None


def log_models(
    run_ids: Iterable[str], *, tracking: str | None = None, register: str | None = None
) -> list[Asked]:
    """Log the networks of those runs of which a model can be made.

    It can be if the weights were kept, all of them are finite, and a served model can read the
    columns as in training. The arguments are those of :func:`log_model`.
    """
    uri, client = opened(tracking)
    try:
        return [_asked(run_id, uri, client, register) for run_id in run_ids]
    finally:
        _gather_changes(uri)


def _asked(run_id: str, uri: str, client: Client, register: str | None) -> Asked:
    run = read_run(run_id, uri, client)
    reason = _why_not(run)
    return Asked(_log(run, uri, client, register) if reason is None else None, reason)


def _log(run: TrackedRun, uri: str, client: Client, register: str | None) -> str:
    model = run.model
    with store_errors(uri, client.failures):
        # A server may have drawn an id of its own for a run of a sweep.
        model_id = client.log_model(run.run_id, NAME, partial(_write, model, run.run_id))
    address = f"models:/{model_id}"
    if register is not None:
        _register(address, register, uri)
    return address


def _why_not(run: TrackedRun) -> str | None:
    """Say why there can be no model of a run; ``None`` where there can be one."""
    if run.weights is None:
        return "its weights were not kept"
    if not np.isfinite(run.weights).all():
        return "its weights are not finite"
    if run.preparation is not None and run.preparation.reading.affixes == "drop":
        return "it was trained with data.affixes=drop, which a served model cannot do"
    return None


def _write(model: Model, run_id: str, model_id: str, location: str, folder: Path) -> None:
    model_folder.write(model, model_folder.Identity(run_id, model_id, location), folder)


def _gather_changes(uri: str) -> None:
    url = sa.make_url(uri) if uri.startswith("sqlite") else None
    file = None if url is None else sqlite.file_of(url)
    if file is not None:
        sqlite.gather_changes(file)


def _register(address: str, name: str, uri: str) -> None:
    """Let MLflow make a new version of a registered model."""
    from backprop_svc.tracking import remote

    with store_errors(uri, remote.RemoteClient.failures), _tracking_to(uri):
        import mlflow

        mlflow.register_model(address, name)


@contextmanager
def _tracking_to(uri: str) -> Iterator[None]:
    """Let MLflow's functions use a store, and leave no trace of it in this process."""
    from mlflow.tracking._tracking_service.utils import _use_tracking_uri

    before = os.environ.get(URI)
    try:
        with _use_tracking_uri(uri):
            yield
    finally:
        # MLflow writes it, too, for the processes that it starts.
        os.environ.pop(URI, None)
        if before is not None:
            os.environ[URI] = before
