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

from backprop_svc.datasets.cells import MISSING_NUMBERS
from backprop_svc.datasets.model import Model
from backprop_svc.errors import SettingError
from backprop_svc.evaluate import classifies
from backprop_svc.tracking import sqlite
from backprop_svc.tracking.failures import store_errors
from backprop_svc.tracking.read import opened, read_run
from backprop_svc.tracking.states import to_json

NAME = "network"
URI = "MLFLOW_TRACKING_URI"


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
        The store has no such run, the weights of the run were not kept, or it was trained with
        ``data.affixes=drop``.
    ConnectionError
        The store cannot be opened, or refuses the model.
    """
    uri, client = opened(tracking)
    found = read_run(run_id, uri, client)
    # A server may have drawn an id of its own for a run of a sweep.
    run_id, model = found.run_id, found.model
    _refuse_affixes(run_id, model)
    run = client.get_run(run_id)
    import mlflow

    from backprop_svc.tracking import remote

    with (
        store_errors(uri, remote.RemoteClient.failures),
        TemporaryDirectory() as folder,
        catch_warnings(),
        as_file(files("backprop_svc.serving") / "model.py") as code,
        _tracking_to(uri),
    ):
        _write(model, Path(folder) / NAME)
        # MLflow asks for type hints that say less than the signature.
        simplefilter("ignore")
        logged = mlflow.MlflowClient(uri).create_logged_model(
            run.info.experiment_id,
            name=NAME,
            source_run_id=run_id,
            params={name: str(value) for name, value in run.data.params.items()},
        )
        info = mlflow.models.Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            run_id=run_id,
            name=NAME,
            model_id=logged.model_id,
            registered_model_name=register,
            python_model=str(code),
            artifacts={"network": str(Path(folder) / NAME)},
            signature=_signature(model),
            input_example=_example(model),
            pip_requirements=[f"mlflow=={mlflow.__version__}", "numpy", "pandas"],
        )
    _gather_changes(uri)
    return str(info.model_uri)


def _refuse_affixes(run_id: str, model: Model) -> None:
    preparation = model.preparation
    if preparation is None or preparation.reading.affixes == "keep":
        return
    raise SettingError(
        f"the run {run_id}", "with data.affixes=drop, which a served model cannot do",
        "runs with data.affixes=keep", "train on numbers without what stands beside them",
        verb="was trained",
    )  # fmt: skip


def _gather_changes(uri: str) -> None:
    url = sa.make_url(uri) if uri.startswith("sqlite") else None
    file = None if url is None else sqlite.file_of(url)
    if file is not None:
        sqlite.gather_changes(file)


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


def _write(model: Model, folder: Path) -> None:
    folder.mkdir()
    preparation = model.preparation
    told = {"network": json.loads(to_json(model.network)), "preparation": None}
    if preparation is not None:
        told["preparation"] = json.loads(preparation.to_json())
        reading = preparation.reading
        # The code that goes with the model has no defaults.
        told["preparation"]["reading"] |= {
            "missing_texts": reading.missing,
            "missing_numbers": MISSING_NUMBERS if reading.missing_values is None else (),
        }
    text = json.dumps(told, ensure_ascii=False, indent=1)
    (folder / "model.json").write_text(text, encoding="utf-8")
    np.savez(folder / "weights.npz", weights=model.weights)


def _example(model: Model) -> Any:
    """Return a row such as the model takes: means of training, and first categories."""
    import pandas as pd

    preparation = model.preparation
    if preparation is None:
        return np.full((1, model.network.inputs), 0.5)
    cells: dict[str, list[Any]] = {}
    place = 0
    for column in preparation.inputs:
        usual = [preparation.x_shift[place], 0.5, 0.25]
        if preparation.fill is not None:
            usual.insert(0, preparation.fill[place])
        place += len(column.names)
        if column.kind == "category":
            cells[column.name] = [column.categories[0]]
        elif column.kind == "date":
            time = pd.Timestamp(0) + pd.Timedelta(days=int(usual[0]))
            cells[column.name] = [time.strftime(preparation.reading.date_format or "%Y-%m-%d")]
        else:
            cells[column.name] = [next(n for n in usual if n != 0 and not _is_mark(n, model))]
    return pd.DataFrame(cells)


def _is_mark(number: float, model: Model) -> bool:
    """Tell whether a number stands for a missing value."""
    marks = model.preparation.reading.missing_values if model.preparation else None
    return any(
        repr(number).removesuffix(".0") == str(m).removesuffix(".0") for m in marks or ()
    )


def _signature(model: Model) -> Any:
    """Say which columns it takes, of any type as in training, and which ones it returns."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType

    preparation = model.preparation
    outputs: list[Any]
    if preparation is None:
        # A tensor would be refused if it is not of float64.
        inputs = Schema([ColSpec(AnyType()) for _ in range(model.network.inputs)])
        names = [f"y{place}" for place in range(1, model.network.outputs + 1)]
        outputs = [ColSpec(DataType.double, name) for name in names]
        return ModelSignature(inputs, Schema(outputs))
    inputs = Schema([ColSpec(AnyType(), column.name) for column in preparation.inputs])
    names = [column.name for column in preparation.targets]
    if preparation.classes is None:
        outputs = [ColSpec(DataType.double, name) for name in names]
    else:
        outputs = [ColSpec(DataType.string, names[0])]
        if classifies(model.network):
            outputs += [ColSpec(DataType.double, f"p({name})") for name in preparation.classes]
    return ModelSignature(inputs, Schema(outputs))
