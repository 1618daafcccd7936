"""Anybody's arrays become runs that MLflow's client reads as if it had written them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

import backprop_svc as bp
import stores

LOSSES = np.ma.masked_array(
    [[3.0, 2.0, 1.0], [np.nan, np.inf, -np.inf], [1e-300, -0.0, 7.0]],
    mask=np.array([[0, 0, 0], [0, 0, 0], [0, 0, 1]], dtype=bool),
)
RATES = np.array([0.1, 0.01, 1e-9])


@pytest.fixture(params=["sqlite", "postgresql", "server"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "postgresql":
        with stores.postgres() as address:
            yield address
    elif request.param == "server":
        database = stores.empty_database(tmp_path / "mlflow.db")
        with stores.mlflow_server(database, tmp_path) as address:
            yield address
    else:
        yield f"sqlite:///{tmp_path}/mlflow.db"


def read(client: MlflowClient, run_id: str) -> dict[str, Any]:
    run = client.get_run(run_id)
    histories = {
        key: [(m.step, repr(m.value + 0.0)) for m in client.get_metric_history(run_id, key)]
        for key in run.data.metrics
    }
    theirs = ("mlflow.", "backprop.")
    tags = {k: v for k, v in run.data.tags.items() if not k.startswith(theirs)}
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "params": run.data.params,
        "tags": tags,
        "histories": {key: sorted(points) for key, points in histories.items()},
    }


def test_what_a_client_would_have_written(uri: str) -> None:
    kinds = ["a", "b", "x" * 9000]
    logged = bp.tracking.log_runs(
        {"lr": RATES, "model": "mine", "flag": [True, None, "text"]},
        {"loss": LOSSES, "score": RATES},
        tags={"kind": kinds},
        steps=[0, 10, 20],
        names=["one", "two", "three"],
        experiment="theirs",
        uri=uri,
    )
    client = MlflowClient(uri)
    other = client.create_experiment("by hand")
    table = bp.load_sweep(logged.sweep, tracking=uri)
    assert table["name"].to_pylist() == ["one", "two", "three"]
    for row, name in enumerate(table["name"].to_pylist()):
        twin = client.create_run(other, run_name=name).info.run_id
        client.set_tag(twin, "kind", kinds[row])
        client.log_param(twin, "lr", float(RATES[row]))
        client.log_param(twin, "model", "mine")
        client.log_param(twin, "flag", [True, None, "text"][row])
        client.log_metric(twin, "score", RATES[row], step=0)
        for step, loss in zip((0, 10, 20), LOSSES[row], strict=True):
            if loss is not np.ma.masked:
                client.log_metric(twin, "loss", float(loss), step=step)
        client.set_terminated(twin)
        own = table["run_id"][row].as_py()
        assert read(client, own) == read(client, twin)
        parent = client.get_run(own).data.tags["mlflow.parentRunId"]
        assert parent == logged.parent
    assert client.get_run(logged.parent).info.status == "FINISHED"


def test_one_value_is_for_all_runs(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    logged = bp.tracking.log_runs({"lr": range(3)}, {"a": 1.5, "b": [[1, 2]]}, uri=uri)
    table = bp.load_sweep(logged.sweep, tracking=uri)
    assert table["lr"].to_pylist() == [0, 1, 2]
    assert table["a"].to_pylist() == [1.5] * 3
    assert table["b"].to_pylist() == [2.0] * 3
    assert table["name"].to_pylist() == ["run 0", "run 1", "run 2"]


def test_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backprop_svc.tracking.log.MOST_ROWS", 100)
    uri = stores.empty_database(tmp_path / "mlflow.db")
    values = np.arange(57.0)
    logged = bp.tracking.log_runs(metrics={"v": values}, uri=uri)
    assert bp.load_sweep(logged.sweep, tracking=uri)["v"].to_pylist() == values.tolist()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "no runs"),
        ({"params": {"a": []}}, "no runs"),
        ({"params": {"a": [1, 2]}, "metrics": {"b": [1, 2, 3]}}, "'a' 2, 'b' 3"),
        ({"params": {"a": [[1], [2]]}}, "params 'a' has shape"),
        ({"metrics": {"a": np.zeros((2, 2, 2))}}, "metrics 'a' has shape"),
        ({"metrics": {"a": ["x"]}}, "metrics 'a' is"),
        ({"metrics": {"a\nb": [1]}}, "names that MLflow takes"),
        ({"metrics": {3: [1]}}, "names that are texts"),
        ({"metrics": [1]}, "values by their names"),
        ({"metrics": {"a": [[1, 2]]}, "steps": [1]}, "steps has shape"),
        ({"metrics": {"a": [[1, 2]]}, "steps": [1.5, 2]}, "steps has shape"),
        ({"params": {"a": [1, 2]}, "names": ["x", "y", "z"]}, "'names' 3"),
        ({"params": {"a": [1]}, "tags": {"mlflow.parentRunId": "x"}}, "tags has"),
        ({"params": {"a": [[1], [1, 2]]}}, "params 'a'"),
        ({"metrics": {"a": [[1, 2]]}, "steps": [3, 3]}, "steps has"),
        ({"metrics": {"a": np.zeros((2, 0))}}, "steps has"),
        ({"params": {"a": [1]}, "description": None}, "description is"),
        ({"params": {"a": [1]}, "experiment": 5}, "experiment is"),
    ],
)
def test_what_does_not_fit_writes_nothing(
    tmp_path: Path, given: dict[str, Any], told: str
) -> None:
    with pytest.raises((bp.SettingError, bp.SettingTypeError)) as caught:
        bp.tracking.log_runs(**given, uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert told in str(caught.value)
    assert "allowed: " in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_steps_in_any_order(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    values: dict[str, Any] = {"a": [[1.0, 2.0, 3.0]], "loss": [5.0]}
    logged = bp.tracking.log_runs(metrics=values, steps=[10, 5, 0], uri=uri)
    table = bp.load_sweep(logged.sweep, tracking=uri)
    # The latest value is that of the largest step.
    assert table["a"].to_pylist() == [1.0]
    run_id = bp.tracking.best_run(logged.sweep, tracking=uri)
    assert run_id == table["run_id"][0].as_py()
    assert bp.load_run(run_id, tracking=uri).histories["a"][1].tolist() == [3.0, 2.0, 1.0]


def test_names_of_columns_stay_apart(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    logged = bp.tracking.log_runs({"name": ["x"], "loss": [7]}, {"loss": [0.5]}, uri=uri)
    table = bp.load_sweep(logged.sweep, tracking=uri)
    assert table["params.name"].to_pylist() == ["x"]
    assert table["metrics.loss"].to_pylist() == [0.5]
    assert table["loss"].to_pylist() == [7]


def test_not_a_number_stays_one(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    logged = bp.tracking.log_runs(metrics={"a": [math.nan, 1.0]}, uri=uri)
    assert repr(bp.load_sweep(logged.sweep, tracking=uri)["a"].to_pylist()) == "[nan, 1.0]"
