"""The folder of a model of MLflow's: a trained network, and the code that predicts with it.

It is what ``mlflow.pyfunc.save_model`` would write of that code. MLflow itself, whose import
takes longer than a training, is not needed for it.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from backprop_svc.datasets.cells import MISSING_NUMBERS
from backprop_svc.datasets.model import Model
from backprop_svc.evaluate import classifies
from backprop_svc.tracking.states import to_json

CODE, NETWORK = "model.py", "artifacts/network"
EXAMPLE, SERVING_EXAMPLE = "input_example.json", "serving_input_example.json"


@dataclass(frozen=True)
class Identity:
    """What MLflow knows a model by."""

    run_id: str
    model_id: str
    location: str
    """The address of the folder."""


def write(model: Model, identity: Identity, folder: Path) -> None:
    """Write a model into an empty folder.

    Parameters
    ----------
    model
        The trained network.
    identity
        Where the folder will be, and what it belongs to.
    folder
        Where it is written.
    """
    network = folder / NETWORK
    network.mkdir(parents=True)
    text = json.dumps(_described(model), ensure_ascii=False, indent=1)
    (network / "model.json").write_text(text, encoding="utf-8")
    np.savez(network / "weights.npz", weights=model.weights)
    code = files("backprop_svc.serving").joinpath("model.py").read_bytes()
    (folder / CODE).write_bytes(code)
    example = _example(model)
    for name, content in ((EXAMPLE, example.plain), (SERVING_EXAMPLE, example.serving)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    packages = [f"mlflow=={version('mlflow')}", "numpy", "pandas"]
    (folder / "requirements.txt").write_text("\n".join(packages))
    python = platform.python_version()
    _dump(
        folder / "python_env.yaml",
        python=python,
        build_dependencies=["pip", "setuptools", "wheel"],
        dependencies=["-r requirements.txt"],
    )
    _dump(
        folder / "conda.yaml",
        channels=["conda-forge"],
        dependencies=[f"python={python}", "pip", {"pip": packages}],
        name="mlflow-env",
    )
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    _dump(
        folder / "MLmodel",
        artifact_path=identity.location,
        flavors={"python_function": _flavor(identity, python)},
        mlflow_version=version("mlflow"),
        model_id=identity.model_id,
        model_size_bytes=size,
        model_uuid=identity.model_id,
        run_id=identity.run_id,
        saved_input_example_info=example.info,
        signature=_signature(model),
        utc_time_created=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%S.%f}",
    )


def _flavor(identity: Identity, python: str) -> dict[str, Any]:
    return {
        "artifacts": {"network": {"path": NETWORK, "uri": f"{identity.location}/{NETWORK}"}},
        "code": None,
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        "loader_module": "mlflow.pyfunc.loaders.code_model",
        "model_code_path": CODE,
        "python_version": python,
        "streamable": False,
    }


def _dump(file: Path, **content: Any) -> None:
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    file.write_text(text, encoding="utf-8")


def _described(model: Model) -> dict[str, Any]:
    """Return what the code of the model reads, which has no defaults."""
    preparation = model.preparation
    told = {"network": json.loads(to_json(model.network)), "preparation": None}
    if preparation is not None:
        told["preparation"] = json.loads(preparation.to_json())
        reading = preparation.reading
        told["preparation"]["reading"] |= {
            "missing_texts": reading.missing,
            "missing_numbers": MISSING_NUMBERS if reading.missing_values is None else (),
        }
    return told


@dataclass(frozen=True)
class _Example:
    plain: Any
    """As the file of the example has it."""
    serving: dict[str, Any]
    """As a server of models takes it."""
    info: dict[str, Any]


def _example(model: Model) -> _Example:
    """Return a row such as the model takes."""
    paths = {"artifact_path": EXAMPLE, "serving_input_path": SERVING_EXAMPLE}
    if model.preparation is None:
        rows = [[0.5] * model.network.inputs]
        return _Example(rows, {"inputs": rows}, {**paths, "type": "ndarray"})
    cells = dict(_usual_cells(model))
    frame = {"columns": list(cells), "data": [list(cells.values())]}
    info = {**paths, "pandas_orient": "split", "type": "dataframe"}
    return _Example(frame, {"dataframe_split": frame}, info)


def _usual_cells(model: Model) -> Iterator[tuple[str, Any]]:
    """Return a cell of each column: the mean of the training, or the first category."""
    preparation = model.preparation
    assert preparation is not None
    place = 0
    for column in preparation.inputs:
        usual = [float(preparation.x_shift[place]), 0.5, 0.25]
        if preparation.fill is not None:
            usual.insert(0, float(preparation.fill[place]))
        place += len(column.names)
        if column.kind == "category":
            yield column.name, column.categories[0]
        elif column.kind == "date":
            day = datetime(1970, 1, 1) + timedelta(days=int(usual[0]))
            yield column.name, day.strftime(preparation.reading.date_format or "%Y-%m-%d")
        else:
            marks = preparation.reading.missing_values
            yield column.name, next(n for n in usual if n != 0 and not _is_one_of(n, marks))


def _is_one_of(number: float, marks: Any) -> bool:
    """Tell whether a number stands for a missing value."""
    return any(
        repr(number).removesuffix(".0") == str(m).removesuffix(".0") for m in marks or ()
    )


def _signature(model: Model) -> dict[str, Any]:
    """Say which columns it takes, of any type as in training, and which ones it returns."""
    inputs: list[dict[str, Any]]
    preparation = model.preparation
    if preparation is None:
        # A tensor would be refused if it is not of float64.
        inputs = [{"type": "any", "required": True}] * model.network.inputs
        names = [f"y{place}" for place in range(1, model.network.outputs + 1)]
        outputs = [_column("double", name) for name in names]
    else:
        inputs = [_column("any", column.name) for column in preparation.inputs]
        names = [column.name for column in preparation.targets]
        if preparation.classes is None:
            outputs = [_column("double", name) for name in names]
        else:
            outputs = [_column("string", names[0])]
            if classifies(model.network):
                outputs += [_column("double", f"p({name})") for name in preparation.classes]
    return {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None}


def _column(kind: str, name: str) -> dict[str, Any]:
    return {"type": kind, "name": name, "required": True}
