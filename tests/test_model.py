"""The model that MLflow loads and serves predicts what the network does."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import urllib.request
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType

import backprop_svc as bp
import stores
from backprop_svc import datasets
from backprop_svc._core import ACTIVATIONS
from backprop_svc.datasets.model import Model
from backprop_svc.datasets.reading import Reading
from backprop_svc.serving.model import TrainedNetwork, forward, numbers
from backprop_svc.tracking import client_of, mlflow_model, model_folder, states
from backprop_svc.tracking.mlflow_model import log_model
from backprop_svc.tracking.model_folder import Identity
from backprop_svc.tracking.remote import connect
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
    st.sampled_from(["float64", "float32"]),
    st.integers(0, 2**32 - 1),
)
def test_numpy_computes_the_same(
    sizes: list[int],
    activation: str,
    output: str,
    loss: str,
    gain: float,
    bias: bool,
    dtype: str,
    seed: int,
) -> None:
    network = bp.Network(
        *sizes, activation=activation, output=output if loss == "mse" else "identity",
        loss=loss, gain=gain, bias=bias, dtype=dtype,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    weights, x = rng.normal(size=network.parameters), rng.normal(size=(7, sizes[0]))
    own = forward(json.loads(states.to_json(network)), weights, x)
    expected = bp.predict(network, weights, x)[0]
    near = 1e-12 if dtype == "float64" else 1e-5
    # What cancels is as near as its parts.
    np.testing.assert_allclose(
        own, expected, rtol=near, atol=near * max(1, abs(expected).max())
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("houses")
    stores.empty_database(folder / "mlflow.db")
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


@pytest.mark.parametrize("with_columns", [True, False])
def test_the_folder_is_what_mlflow_writes(
    tmp_path: Path, logged: tuple[bp.TrackedRun, str], with_columns: bool
) -> None:
    model = logged[0].model if with_columns else Model(bp.Network(2, 1, 2), np.ones(4))
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    model_folder.write(model, Identity("0" * 32, "m-1", "/somewhere"), ours)
    if model.preparation is not None:
        example: Any = _example_in(ours)
        inputs: list[Any] = [ColSpec(AnyType(), name) for name in ("size", "city", "rooms")]
        outputs: list[Any] = [ColSpec(DataType.double, "price")]
    else:
        example = np.array([[0.5, 0.5]])
        inputs = [ColSpec(AnyType()), ColSpec(AnyType())]
        outputs = [ColSpec(DataType.double, name) for name in ("y1", "y2")]
    mlflow.pyfunc.save_model(
        theirs,
        python_model=str(ours / "model.py"),
        artifacts={"network": str(ours / "artifacts" / "network")},
        signature=ModelSignature(Schema(inputs), Schema(outputs)),
        input_example=example,
        pip_requirements=[f"mlflow=={mlflow.__version__}", "numpy", "pandas"],
    )
    names = [
        {
            str(file.relative_to(folder))
            for file in folder.rglob("*")
            if file.is_file() and file.parent.name != "__pycache__"
        }
        for folder in (ours, theirs)
    ]
    assert names[0] == names[1]
    for name in sorted(names[0]):
        texts = [(folder / name).read_bytes() for folder in (ours, theirs)]
        if name.endswith((".json", ".yaml")) or name == "MLmodel":
            a, b = (_without_chance(name, yaml.safe_load(text)) for text in texts)
            assert a == b, name
        else:
            assert texts[0] == texts[1], name


def _without_chance(name: str, told: Any) -> Any:
    """What a file of a model says, but for ids, places, sizes, and MLflow's own defaults."""
    if name == "MLmodel":
        own = ("artifact_path", "model_id", "model_uuid", "run_id", "utc_time_created")
        left_out = {*own, "model_size_bytes", "is_signature_from_type_hint", "prompts"}
        left_out.add("type_hint_from_example")
        found = {key: value for key, value in told.items() if key not in left_out}
        flavor = found["flavors"]["python_function"]
        # Nothing is pickled.
        flavor.pop("cloudpickle_version", None)
        flavor["artifacts"]["network"].pop("uri")
        flavor["model_code_path"] = Path(flavor["model_code_path"]).name
        return found
    # The versions of what installs packages.
    if name == "python_env.yaml":
        told["build_dependencies"] = [
            one.partition("==")[0] for one in told["build_dependencies"]
        ]
    if name == "conda.yaml":
        told["dependencies"] = [
            one.partition("<")[0] if isinstance(one, str) else one
            for one in told["dependencies"]
        ]
    return told


def test_it_is_logged_once_and_as_by_mlflow(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    client, found = MlflowClient(uri), []
    for kind in (connect(uri), client_of(uri)):
        done = call(tmp_path, "train", f"tracking.uri={uri}", "tracking.model=none")
        assert done.returncode == 0, done.stderr
        run = client.search_runs(["1"], order_by=["attributes.start_time DESC"])[0]
        own = bp.load_run(run.info.run_id, tracking=uri)
        write = functools.partial(mlflow_model._write, own.model, own.run_id)
        ids = {kind.log_model(own.run_id, "network", write) for _ in range(2)}
        (model_id,) = ids
        model = client.get_logged_model(model_id)
        assert model.artifact_location == f"{tmp_path}/mlruns/1/models/{model_id}/artifacts"
        told = model.to_dictionary()
        chance = ("model_id", "model_uri", "artifact_location", "metrics", "source_run_id")
        assert model.source_run_id == own.run_id
        told = {k: v for k, v in told.items() if k not in chance and "timestamp" not in k}
        metrics = {(m.key, m.value, m.step) for m in model.metrics or ()}
        assert {(m.timestamp, m.run_id) for m in model.metrics or ()} <= {
            (run.info.end_time, own.run_id)
        }
        found.append((told, model.params, metrics))
    if not found[0][2] and mlflow.__version__.startswith("3.1."):
        # This release refuses metrics of models in a store without a default experiment.
        found[0] = (*found[0][:2], found[1][2])
    assert found[0] == found[1]
    assert {key for key, *_ in found[0][2]} == set(run.data.metrics)
    assert len(client.search_logged_models(["1"])) == 2
    outputs = client.get_run(own.run_id).outputs
    assert outputs is not None
    assert [output.model_id for output in outputs.model_outputs] == [model_id]
    # One that was deleted may be logged again; what MLflow logged is there, too.
    for kind in (client_of(uri), connect(uri), client_of(uri)):
        client.delete_logged_model(model_id)
        again = kind.log_model(own.run_id, "network", write)
        assert str(client.get_logged_model(again).status) == "READY"
        other = client_of(uri)
        assert other.log_model(own.run_id, "network", write) == again
        model_id = again


def test_what_was_trained_is_kept_whatever_becomes_of_its_model(tmp_path: Path) -> None:
    folder = tmp_path / "with # and ?"
    folder.mkdir()
    uri = stores.empty_database(tmp_path / "mlflow.db")
    single = call(folder, "train", f"tracking.uri={uri}")
    assert single.returncode == 0, single.stderr
    # By default it is logged, within the folder of the project.
    assert "its model: models:/m-" in single.stdout
    models = folder / "mlruns" / "1" / "models"
    assert len(list(models.iterdir())) == 1
    models.rename(folder / "before")
    models.touch()
    swept = call(folder, "sweep", "train.lr=0.1,0.2", f"tracking.uri={uri}")
    assert swept.returncode == 0
    assert "model of the best run was not logged" in swept.stderr
    assert "log it with: backprop-svc model run=" in swept.stderr
    client = MlflowClient(uri)
    assert {run.info.status for run in client.search_runs(["1"])} == {"FINISHED"}
    assert len(client.search_runs(["1"])) == 4
    models.unlink()
    parent = client.search_runs(["1"], "tags.`backprop.kind` = 'sweep'")[0]
    words = ("train.lr=0.1,0.2", "tracking.model=all", f"tracking.uri={uri}")
    every = call(folder, "sweep", *words)
    assert "models of 2 of 2 runs logged" in every.stdout, every.stderr
    assert parent.info.status == "FINISHED"


def test_mlflow_serves_it(folder: Path, logged: tuple[bp.TrackedRun, str]) -> None:
    run, where = logged
    port = stores.free_port()
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "models", "serve", "-m", where),
            *("--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)),
        ],
        env={
            **CLEAN,
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            # MLflow starts its server by name, which is beside this interpreter.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"

    def answers() -> None:
        urllib.request.urlopen(f"{address}/ping").close()

    try:
        stores.wait_for(answers, 120)
        # Whole numbers and texts are numbers, too, as in a file of the user's.
        some = TABLE.drop(columns="price").head(4).assign(rooms=["2", "3.0", " 4", "NA"])
        rows = some.astype({"size": int}).to_dict(orient="split", index=False)
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
    np.testing.assert_allclose(found, run.model.predict(some)["price"], rtol=1e-12)


DAYS = ["03.01.2024", "04.02.2024", "05.03.2024", "06.04.2024"]
READINGS: dict[str, tuple[dict[str, Any], dict[str, Any], pd.DataFrame]] = {
    "a number that is missing": (
        {"missing_values": [-999]},
        {"a": [1.0, 2, -999, 4], "b": [3, -999, 5, 8]},
        pd.DataFrame({"a": [-999, 2], "b": [1, -999]}),
    ),
    "zero is missing": (
        {"missing_values": ["0"]},
        {"a": [1.0, 2, 0, 4]},
        pd.DataFrame({"a": ["0", "7"]}),
    ),
    "dates": (
        {"dates": ["a"], "date_format": "%d.%m.%Y"},
        {"a": DAYS},
        pd.DataFrame({"a": ["01.02.2025", None, "?", " 03.04.2025"]}),
    ),
    "dates of ISO 8601": (
        {"dates": ["a"]},
        {"a": ["2024-01-03", "2024-01-03T12:00:00+01:00", "2024-04-05", None]},
        pd.DataFrame({"a": ["2025-02-01", "2025-02-01 06:30", "-"]}),
    ),
    "times": (
        {"dates": ["a"]},
        {"a": ["2024-01-03", "2024-02-03", "2024-04-05", None]},
        pd.DataFrame({"a": pd.to_datetime(pd.Series(["2025-02-01 12:00", None]))}),
    ),
    "categories that are numbers": (
        {"categories": ["a"]},
        {"a": [1, 2, 2, 3]},
        pd.DataFrame({"a": [1.0, np.nan, 3.0]}),
    ),
    "categories that are texts": (
        {"categories": ["a"], "missing_values": ["none"]},
        {"a": ["x", "NA", "none", "x"]},
        pd.DataFrame({"a": ["NA ", "none", "x", None]}),
    ),
    "true and false": (
        {},
        {"a": ["true", "false", "True", "?"]},
        pd.DataFrame({"a": ["FALSE", "true", "NA"]}),
    ),
    "truths": ({}, {"a": [True, False, True, True]}, pd.DataFrame({"a": [False, True]})),
    "signs": (
        {"decimal": ",", "thousands": "."},
        {"a": ["1,5", "1.234,5", "2", "-"]},
        pd.DataFrame({"a": ["1.000,25", "\u22123,5", "--", "1234,5"]}),
    ),
    "texts": (
        {},
        {"a": [1.5, 2.5, 3, 4]},
        pd.DataFrame({"a": ["1e1", "+.5", " 7 ", "null", "None"]}),
    ),
}


@pytest.mark.parametrize("case", READINGS)
def test_cells_are_read_as_in_training(case: str, tmp_path: Path) -> None:
    told, columns, rows = READINGS[case]
    table = pd.DataFrame({**columns, "y": [1.0, 2, 3, 5]})
    encoded = datasets.encode(
        datasets.read(table), "all", ["y"], missing="mean", reading=Reading(**told)
    )
    preparation = datasets.finish(encoded, x_scale="standard").preparation
    network = bp.Network(len(preparation.input_names), 2, 1, activation="tanh")
    model = Model(network, np.linspace(-1, 1, network.parameters), preparation)
    model_folder.write(model, Identity("", "", ""), tmp_path)
    served = TrainedNetwork()
    network_folder = tmp_path / "artifacts" / "network"
    served.load_context(SimpleNamespace(artifacts={"network": network_folder}))
    for some in (rows, table, rows.head(1), _example_in(tmp_path)):
        found = served.predict(None, some)["y"]
        np.testing.assert_allclose(found, model.predict(some)["y"], rtol=1e-12)


def _example_in(folder: Path) -> pd.DataFrame:
    frame = json.loads((folder / "input_example.json").read_text(encoding="utf-8"))
    return pd.DataFrame(frame["data"], columns=frame["columns"])


@pytest.mark.parametrize("bad", ["1,5", "$5", "inf", "9007199254740993", "2024-01-01"])
def test_cells_that_are_refused(bad: str) -> None:
    reading = {
        **{"missing_values": None, "missing_texts": ["", "?"], "missing_numbers": ["-"]},
        **{"decimal": None, "thousands": None},
    }
    with pytest.raises(ValueError, match=r"'a' is .* in row 2; allowed: "):
        numbers("a", pd.Series(["1", bad]), reading)


def test_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, other = stores.empty_database(tmp_path / "mlflow.db"), f"sqlite:///{tmp_path}/other.db"
    bp.sweep(bp.Network(1, 1, 1), 2.0, 3.0, {"lr": [0.1]}, tracking=uri, progress=False)
    run_id = bp.tracking.best_run("last", tracking=uri)
    own = MlflowClient(uri).get_run(run_id).info.experiment_id
    for before in (None, uri):
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        if before is None:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
            where = log_model(run_id, tracking=uri, register="guide")
            assert os.environ["MLFLOW_TRACKING_URI"] == other
            assert mlflow.get_tracking_uri() == other
            continue
        # Another experiment and run are the active ones of the process.
        mlflow.set_experiment("another")
        with mlflow.start_run():
            where = log_model(run_id, tracking=uri, register="guide")
        assert "MLFLOW_TRACKING_URI" not in os.environ
        assert mlflow.get_tracking_uri() == uri
    models = MlflowClient(uri).search_logged_models([own])
    assert [model.source_run_id for model in models] == [run_id]
    assert not (tmp_path / "other.db").exists()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = mlflow.pyfunc.load_model(where)
    assert not [one for one in said if "type hint" in str(one.message).lower()]
    expected = bp.load_run(run_id, tracking=uri).model.predict([[2.0], [4.0]])["y1"]
    for dtype in (np.float64, np.float32, np.int64):
        found = model.predict(np.array([[2], [4]], dtype=dtype))
        np.testing.assert_allclose(found["y1"], expected, rtol=1e-12)
    local = Path(mlflow.artifacts.download_artifacts(where))
    assert (local / "artifacts" / "network" / "weights.npz").is_file()


def test_words_that_do_not_fit(folder: Path) -> None:
    for words, told in (([], "was not told run"), (["run=x"], "run is 'x'; allowed: a run id")):
        done = call(folder, "model", *words)
        assert done.returncode == 1
        assert told in done.stderr


def test_commands_log_the_models_that_are_asked_for(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    where = [f"tracking.uri={uri}", "tracking.model=best", "tracking.register=guide"]
    single = call(tmp_path, "train", *where)
    assert single.returncode == 0, single.stderr
    swept = call(tmp_path, "sweep", "train.lr=0.1,0.01,0.05", *where)
    assert swept.returncode == 0, swept.stderr
    client = MlflowClient(uri)
    versions = sorted(
        client.search_model_versions("name='guide'"), key=lambda found: int(found.version)
    )
    assert len(versions) == 2
    runs = [client.get_run(str(version.run_id)) for version in versions]
    assert "parentRunId" not in str(runs[0].data.tags)
    others = client.search_runs(
        [runs[1].info.experiment_id], f"tags.`mlflow.parentRunId` = '{_parent(runs[1])}'"
    )
    assert runs[1].data.metrics["loss"] == min(run.data.metrics["loss"] for run in others)
    mlflow.set_tracking_uri(uri)
    for run, version in zip(runs, versions, strict=True):
        loaded = mlflow.pyfunc.load_model(f"models:/guide/{version.version}")
        weights = [run.data.metrics[name] for name in ("w1", "w2")]
        expected = weights[1] * max(0.0, weights[0] * 2.0)
        (column,) = loaded.metadata.get_input_schema().input_names()
        predicted = np.ravel(loaded.predict(pd.DataFrame({column: [2.0]})))[0]
        assert predicted == pytest.approx(expected, rel=1e-12)
    refused = call(tmp_path, "train", *where[:2], "tracking.weights=none")
    assert "tracking.model is best, with weights=none; allowed: weights=all" in refused.stderr
    refused = call(tmp_path, "train", where[0], "tracking.register=a/b")
    assert "register is 'a/b'; allowed: names of models without / and :" in refused.stderr


def _parent(run: Any) -> str:
    found: str = run.data.tags["mlflow.parentRunId"]
    return found
