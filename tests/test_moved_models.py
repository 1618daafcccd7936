"""Models of MLflow's are found after their folder was moved."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

import backprop_svc as bp
from backprop_svc.tracking.mlflow_model import log_model


def test_models_move_with_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    monkeypatch.chdir(old)
    uri = f"sqlite:///{old}/mlflow.db"
    bp.sweep(bp.Network(1, 1, 1), 2.0, 3.0, {"lr": [0.1]}, tracking=uri, progress=False)
    run_id = bp.tracking.best_run("last", tracking=uri)
    where = log_model(run_id, tracking=uri, register="moved")
    # A copy of the file alone has everything.
    log = old / "mlflow.db-wal"
    assert not log.exists() or log.stat().st_size == 0
    old.rename(new)
    uri = f"sqlite:///{new}/mlflow.db"
    expected = bp.load_run(run_id, tracking=uri).model.predict([[2.0]])["y1"]
    assert "was moved or copied" in capfd.readouterr().err
    with closing(sqlite3.connect(new / "mlflow.db")) as database:
        assert str(old) not in "".join(database.iterdump())
    assert MlflowClient(uri).get_logged_model(where.rpartition("/")[2]).source_run_id == run_id
    mlflow.set_tracking_uri(uri)
    try:
        for name in (where, "models:/moved/1"):
            model = mlflow.pyfunc.load_model(name)
            found = model.predict(np.array([[2.0]]))["y1"]
            np.testing.assert_allclose(found, expected)
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
