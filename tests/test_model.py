"""The model that MLflow loads and serves predicts what the network does."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

import backprop_svc as bp
import stores
from backprop_svc._core import ACTIVATIONS
from backprop_svc.serving.model import forward
from backprop_svc.tracking import states
from backprop_svc.tracking.mlflow_model import log_model
from command import CLEAN, call

TABLE = pd.DataFrame(
    {
        "size": [50.0, 80, 120, 65, 90, 110],
        "city": ["Bonn", "Trier", "Bonn", "Köln", "Köln", "Trier"],
        "rooms": [2, 3, 4, 2, np.nan, 4],
        "price": [150, 180, 390, 260, 330, 260],
    }
)


@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=4),
    st.sampled_from(ACTIVATIONS),
    st.sampled_from(ACTIVATIONS),
    st.sampled_from(["mse", "binary_cross_entropy", "softmax_cross_entropy"]),
    st.floats(0.1, 3),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_numpy_computes_the_same(
    sizes: list[int],
    activation: str,
    output: str,
    loss: str,
    gain: float,
    bias: bool,
    seed: int,
) -> None:
    network = bp.Network(
        *sizes, activation=activation, output=output if loss == "mse" else "identity",
        loss=loss, gain=gain, bias=bias,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    weights, x = rng.normal(size=network.parameters), rng.normal(size=(7, sizes[0]))
    own = forward(json.loads(states.to_json(network)), weights, x)
    np.testing.assert_allclose(own, bp.predict(network, weights, x)[0], rtol=1e-12, atol=1e-13)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("houses")
    TABLE.to_csv(folder / "houses.csv", index=False)
    words = ("data=csv", "data.path=houses.csv", "data.x=all", "data.y=price")
    more = ("data.missing=mean", "data.x_scale=standard", "data.y_scale=standard")
    done = call(folder, "train", *words, *more, "network.hidden=[4]", "train.epochs=30")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def logged(folder: Path) -> tuple[bp.TrackedRun, str]:
    uri = f"sqlite:///{folder}/mlflow.db"
    (found,) = MlflowClient(uri).search_runs(["1"])
    run = bp.load_run(found.info.run_id, tracking=uri)
    done = call(folder, "model", f"run={run.run_id}", "register=houses")
    assert done.returncode == 0, done.stderr
    where = done.stdout.splitlines()[0].rpartition(" ")[2]
    assert where.startswith("models:/m-")
    return run, where


def test_mlflow_loads_it(folder: Path, logged: tuple[bp.TrackedRun, str]) -> None:
    run, where = logged
    uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    expected = run.model.predict(TABLE)["price"]
    for name in (where, "models:/houses/1"):
        model = mlflow.pyfunc.load_model(name)
        found = model.predict(TABLE[["rooms", "city", "size"]])
        np.testing.assert_allclose(found["price"], expected, rtol=1e-12)
        with pytest.raises(Exception, match="allowed: Bonn, Köln, Trier"):
            model.predict(TABLE.assign(city="Wien"))
    (own,) = client.search_logged_models(["1"])
    assert own.source_run_id == run.run_id
    assert client.get_run(run.run_id).info.status == "FINISHED"
    local = mlflow.artifacts.download_artifacts(where)
    assert not [file for file in Path(local).rglob("*") if file.suffix in {".pkl", ".pickle"}]


def test_mlflow_serves_it(folder: Path, logged: tuple[bp.TrackedRun, str]) -> None:
    run, where = logged
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "models", "serve", "-m", where),
            *("--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)),
        ],
        env={**CLEAN, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{address}/ping") as response:
                return bool(response.status == 200)
        except OSError:
            return False

    try:
        stores.wait_for(answers, 120)
        rows = TABLE.drop(columns="price").head(4).to_dict(orient="split", index=False)
        request = urllib.request.Request(
            f"{address}/invocations",
            json.dumps({"dataframe_split": rows}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            told: dict[str, Any] = json.load(response)
    finally:
        server.terminate()
        server.wait(30)
    found = [row["price"] for row in told["predictions"]]
    np.testing.assert_allclose(found, run.model.predict(TABLE)["price"][:4], rtol=1e-12)


def test_arrays(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    bp.sweep(bp.Network(1, 1, 1), 2.0, 3.0, {"lr": [0.1]}, tracking=uri, progress=False)
    run_id = bp.tracking.best_run("last", tracking=uri)
    where = log_model(run_id, tracking=uri)
    mlflow.set_tracking_uri(uri)
    found = mlflow.pyfunc.load_model(where).predict(np.array([[2.0], [4.0]]))
    expected = bp.load_run(run_id, tracking=uri).model.predict([[2.0], [4.0]])["y1"]
    np.testing.assert_allclose(found["y1"], expected, rtol=1e-12)


def test_words_that_do_not_fit(folder: Path) -> None:
    for words, told in (([], "was not told run"), (["run=x"], "run_id is 'x'")):
        done = call(folder, "model", *words)
        assert done.returncode == 1
        assert told in done.stderr
