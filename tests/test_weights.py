"""The weights and gradients in which runs ended come back from MLflow."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from pyarrow import csv, feather, parquet

import backprop_svc as bp
import stores
from backprop_svc.tracking import states
from backprop_svc.tracking.client import ClientWriter
from backprop_svc.tracking.record import RunRecord
from backprop_svc.tracking.table import Cells, table
from command import call

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=(12, 2))
WIDE = bp.Network(3, 5, 2, bias=True, activation="tanh")
AXES: dict[str, Any] = {"lr": bp.LogInterval(0.001, 0.2), "seed": [0, 1, 2]}


def sweep(uri: str, keep: states.Keep = "all", history: str = "all") -> bp.Outcomes:
    return bp.sweep(
        WIDE, X, Y, AXES, init="he", points=4, epochs=6, tracking=uri, keep_weights=keep,
        history=history, progress=False,
    )  # fmt: skip


def again(row: dict[str, Any]) -> bp.Result:
    start = bp.initial_weights(WIDE, row["init.seed"], "he")
    return bp.train(WIDE, start, X, Y, learning_rate=row["train.lr"], epochs=6)


def rows(uri: str, outcomes: bp.Outcomes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bp.load_sweep(outcomes.sweep, tracking=uri).to_pylist()
    assert len(found) == 12
    return found


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return stores.empty_database(tmp_path_factory.mktemp("store") / "mlflow.db")


@pytest.mark.parametrize("history", ["all", "every:4", "last", "none"])
def test_every_run_keeps_its_weights_bit_for_bit(uri: str, history: str) -> None:
    found = rows(uri, sweep(uri, history=history))
    for row in (found[0], found[7], found[11]):
        twin = again(row)
        assert twin.gradients is not None
        assert twin.loss is not None
        run = bp.load_run(row["run_id"], tracking=uri)
        assert run.network == WIDE
        assert run.weights is not None
        assert run.gradients is not None
        assert run.weights.tolist() == row["weights"] == twin.weights[0].tolist()
        assert run.gradients.tolist() == row["gradients"] == twin.gradients[0, -1].tolist()
        assert row["loss"] == twin.last_loss[0]
        if history == "all":
            steps, losses = run.histories["loss"]
            assert steps.tolist() == list(range(6))
            assert losses.tolist() == twin.loss[0].tolist()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    database = stores.empty_database(folder / "mlflow.db")
    with stores.mlflow_server(database, folder) as uri:
        yield uri


def test_a_server_gives_back_the_same(server: str) -> None:
    found = rows(server, sweep(server))
    run = bp.load_run(found[5]["run_id"], tracking=server)
    twin = again(found[5])
    assert run.weights is not None
    assert run.weights.tolist() == found[5]["weights"] == twin.weights[0].tolist()
    assert [row["index"] for row in found] == list(range(12))


def test_mlflow_and_pyarrow_are_enough(uri: str) -> None:
    row = rows(uri, sweep(uri))[3]
    client = MlflowClient(uri)
    run = client.get_run(row["run_id"])
    parent = run.data.tags["mlflow.parentRunId"]
    files = [file.path for file in client.list_artifacts(parent, "weights")]
    folder = Path(client.download_artifacts(parent, "weights"))
    assert {f"weights/{file.name}" for file in folder.iterdir()} == {*files}
    found = parquet.read_table(folder).to_pylist()
    (own,) = [one for one in found if str(one["index"]) == run.data.tags["backprop.index"]]
    assert own["weights"] == again(row).weights[0].tolist()


def test_a_run_that_failed_costs_no_weights_of_others(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = ClientWriter._create
    failed: list[dict[str, str]] = []

    def fails_once(self: ClientWriter, record: RunRecord, tags: dict[str, str]) -> str:
        if tags.get("backprop.index") == "0" and not failed:
            failed.append(tags)
            raise MlflowException("the answer was lost")
        return create(self, record, tags)

    monkeypatch.setattr(ClientWriter, "_create", fails_once)
    found = rows(server, sweep(server))
    assert failed
    for row in found:
        assert row["weights"] == again(row).weights[0].tolist()


def test_the_parent_of_a_sweep_is_no_run_of_it(uri: str) -> None:
    row = rows(uri, sweep(uri))[0]
    parent = bp.load_run(row["run_id"], tracking=uri).tags["mlflow.parentRunId"]
    found = bp.load_run(parent, tracking=uri)
    assert found.weights is None
    with pytest.raises(bp.SettingError, match="the parent of a sweep"):
        _ = found.model


def test_validation_decides_which_run_is_the_best(uri: str) -> None:
    outcomes = bp.sweep(
        WIDE, X[:8], Y[:8], {"lr": [0.001, 0.4], "seed": range(4)}, init="he", epochs=60,
        validation=(X[8:], Y[8:]), tracking=uri, keep_weights="best", progress=False,
    )  # fmt: skip
    table = bp.load_sweep(outcomes.sweep, tracking=uri).to_pandas()
    best = table["val_loss"].idxmin()
    assert best != table["loss"].idxmin()
    assert bp.tracking.best_run(outcomes.sweep, tracking=uri) == table["run_id"][best]
    assert outcomes.best(1)[0]["run_id"] == table["run_id"][best]
    assert bp.load_run(table["run_id"][best], tracking=uri).weights is not None


def test_the_best_run_of_a_chunk_or_none(uri: str) -> None:
    found = rows(uri, sweep(uri, "best"))
    best = min(found, key=lambda row: row["loss"])
    kept = [row["run_id"] for row in found if row["weights"]]
    assert best["run_id"] in kept
    assert len(kept) < len(found)
    assert best["weights"] == again(best).weights[0].tolist()
    other = next(row for row in found if not row["weights"])
    assert bp.load_run(other["run_id"], tracking=uri).weights is None
    assert "weights" not in rows(uri, sweep(uri, "none"))[0]


def test_norms_of_the_gradients_of_each_layer(uri: str) -> None:
    row = rows(uri, sweep(uri))[4]
    gradients = again(row).gradients
    assert gradients is not None
    run = bp.load_run(row["run_id"], tracking=uri)
    # 3·5 weights and 5 biases, then 5·2 and 2.
    for name, own in (
        ("grad_norm", slice(0, 32)),
        ("grad_norm_1", slice(0, 20)),
        ("grad_norm_2", slice(20, 32)),
    ):
        expected = np.sqrt((gradients[0, :, own] ** 2).sum(axis=1))
        np.testing.assert_allclose(run.histories[name][1], expected, rtol=1e-14)


def test_a_single_run_keeps_its_own(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    assert call(tmp_path, "train").returncode == 0
    (found,) = MlflowClient(uri).search_runs(["1"])
    run = bp.load_run(found.info.run_id, tracking=uri)
    twin = bp.train(bp.Network(1, 1, 1), [0.5, 1.0], 2.0, 3.0, learning_rate=0.1)
    assert run.weights is not None
    assert run.weights.tolist() == twin.weights[0].tolist()
    assert bp.predict(bp.Network(1, 1, 1), run.weights, 2.0)[0, 0, 0] == pytest.approx(3)


def test_files_that_overlap_give_each_run_once() -> None:
    """A sweep that was resumed may have been cut in other chunks before."""

    def state(first: int, count: int) -> states.States:
        index = np.arange(first, first + count)
        values = np.repeat(index[:, np.newaxis], 32, axis=1).astype(np.float64)
        return states.States(WIDE, index, values, -values)

    runs = [(f"{i:032x}", i, "", "FINISHED") for i in range(10)]
    found = table(Cells(runs, [], [], []), [state(6, 3), state(4, 4), state(0, 5)])
    assert found.num_rows == 10
    firsts = [None if row is None else row[0] for row in found["weights"].to_pylist()]
    assert firsts == [0, 1, 2, 3, 4, 5, 6, 7, 8, None]


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
    st.sampled_from(["relu", "leaky_relu", "tanh"]),
    st.floats(1e-300, 1e300),
    st.floats(0, 1),
    st.booleans(),
    st.sampled_from(["mse", "softmax_cross_entropy"]),
    st.sampled_from(["float32", "float64"]),
)
def test_networks_are_written_down(
    sizes: list[int],
    activation: str,
    gain: float,
    slope: float,
    bias: bool,
    loss: str,
    dtype: str,
) -> None:
    network = bp.Network(
        *sizes, activation=activation, gain=gain, negative_slope=slope, bias=bias, loss=loss,
        dtype=dtype,
    )  # fmt: skip
    assert states.from_json(states.to_json(network)) == network
    layers = states.parameters_of_layers(network)
    assert [own.start for own in layers] == [0, *(own.stop for own in layers[:-1])]
    assert layers[-1].stop == network.parameters


def export(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return call(folder, "export", *words)


def test_export(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    outcomes = sweep(uri)
    expected = bp.load_sweep("last", tracking=uri)
    for ending in ("parquet", "feather", "csv"):
        done = export(tmp_path, f"sweep={outcomes.sweep}", f"out=runs.{ending}")
        assert done.stdout == f"12 runs in runs.{ending}\n", done.stderr
    assert parquet.read_table(tmp_path / "runs.parquet").equals(expected)
    assert feather.read_table(tmp_path / "runs.feather").equals(expected)
    assert csv.read_csv(tmp_path / "runs.csv")["loss"].equals(expected["loss"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["out=runs.xlsx"], "allowed: files that end with .parquet, .feather, .csv"),
        (["sweep=last"], "allowed: files that end with"),
        (["runs=last"], "export was told 'runs=last'"),
        (["out=a.csv", "sweep=ffffffffffffffff"], "which has no runs"),
        (["out=a.csv", "sweep=x", "tracking.uri=sqlite:///nowhere.db"], "which has no runs"),
    ],
)
def test_export_refuses(tmp_path: Path, words: list[str], told: str) -> None:
    done = export(tmp_path, *words)
    assert done.returncode == 1
    assert told in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there(uri: str) -> None:
    sweep(uri)
    for run_id in ("0" * 32, "x", "'" * 32, 3):
        with pytest.raises(bp.SettingError, match="run_id"):
            bp.load_run(run_id, tracking=uri)  # type: ignore[arg-type]
    for told in ("0" * 16, "x", 3):
        with pytest.raises((bp.SettingError, bp.SettingTypeError), match="sweep"):
            bp.load_sweep(told, tracking=uri)  # type: ignore[arg-type]
    for keep in ("some", None, 3):
        with pytest.raises(bp.SettingError, match="keep_weights"):
            sweep(uri, keep)  # type: ignore[arg-type]
