"""The network of a tracked run as a model of MLflow's, which its tools load and serve."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import sqlalchemy as sa

from backprop_svc.datasets.model import Model
from backprop_svc.tracking import sqlite
from backprop_svc.tracking.failures import store_errors
from backprop_svc.tracking.read import load_run, opened
from backprop_svc.tracking.states import to_json

NAME = "network"


def log_model(run_id: str, *, tracking: str | None = None, register: str | None = None) -> str:
    """Log the network of a tracked run as a model, and return the model's URI.

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
        The store has no such run, or the weights of the run were not kept.
    ConnectionError
        The store cannot be opened, or refuses the model.
    """
    model = load_run(run_id, tracking=tracking).model
    uri, client = opened(tracking)
    experiment = client.get_run(run_id).info.experiment_id
    import mlflow

    from backprop_svc.tracking import remote

    before = mlflow.get_tracking_uri()
    with (
        _environment("MLFLOW_EXPERIMENT_ID", experiment),
        store_errors(uri, remote.RemoteClient.failures),
        TemporaryDirectory() as folder,
        catch_warnings(),
        as_file(files("backprop_svc.serving") / "model.py") as code,
    ):
        _write(model, Path(folder))
        # MLflow asks for type hints that say less than the signature.
        simplefilter("ignore")
        mlflow.set_tracking_uri(uri)
        try:
            info = mlflow.models.Model.log(
                artifact_path=None,
                flavor=mlflow.pyfunc,
                run_id=run_id,
                name=NAME,
                registered_model_name=register,
                python_model=str(code),
                artifacts={"network": folder},
                signature=_signature(model),
                input_example=_example(model),
                pip_requirements=[f"mlflow=={mlflow.__version__}", "numpy", "pandas"],
            )
        finally:
            mlflow.set_tracking_uri(before)
    _gather_changes(uri)
    return str(info.model_uri)


def _gather_changes(uri: str) -> None:
    url = sa.make_url(uri) if uri.startswith("sqlite") else None
    file = None if url is None else sqlite.file_of(url)
    if file is not None:
        sqlite.gather_changes(file)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _write(model: Model, folder: Path) -> None:
    preparation = model.preparation
    told = {
        "network": json.loads(to_json(model.network)),
        "preparation": None if preparation is None else json.loads(preparation.to_json()),
    }
    text = json.dumps(told, ensure_ascii=False, indent=1)
    (folder / "model.json").write_text(text, encoding="utf-8")
    np.savez(folder / "weights.npz", weights=model.weights)


def _example(model: Model) -> Any:
    """Return a row such as the model takes: zeros, and the first category."""
    import pandas as pd

    if model.preparation is None:
        return np.zeros((1, model.network.inputs))
    return pd.DataFrame(
        {
            column.name: [
                column.categories[0]
                if column.kind == "category"
                else pd.Timestamp(0)
                if column.kind == "date"
                else 0.0
            ]
            for column in model.preparation.inputs
        }
    )


def _signature(model: Model) -> Any:
    import pandas as pd
    from mlflow.models import infer_signature

    example = _example(model)
    return infer_signature(example, pd.DataFrame(model.predict(example)))
