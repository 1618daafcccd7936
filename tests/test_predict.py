"""A tracked network predicts for new rows as they are, from the command line and in Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import backprop_svc as bp
import stores
from command import call
from houses import HOUSES

WORDS = (
    *("data=csv", "data.path=houses.csv", "data.x=all", "data.y=price", "data.missing=mean"),
    *("network.hidden=[4]", "data.x_scale=standard", "data.y_scale=max", "train.epochs=30"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("houses")
    stores.empty_database(folder / "mlflow.db")
    (folder / "houses.csv").write_text(HOUSES, encoding="utf-8")
    done = call(folder, "sweep", *WORDS, "train.lr=0.01,0.1", "init.seed=0,1")
    assert done.returncode == 0, done.stderr
    return folder


def by_hand(run: bp.TrackedRun, size: float, rooms: float, city: str) -> float:
    """Predict with nothing but NumPy: the columns stand in the order of the file."""
    sizes, all_rooms = np.array([50, 80, 120, 65, 90, 110]), np.array([2, 3, 4, 2, 3, 4])
    x = np.array(
        [
            (size - sizes.mean()) / sizes.std(),
            *(float(city == name) for name in ("Bonn", "Köln", "Trier")),
            (rooms - all_rooms.mean()) / all_rooms.std(),
        ]
    )
    assert run.weights is not None
    hidden = np.maximum(run.weights[:20].reshape(4, 5) @ x, 0)
    return float(run.weights[20:] @ hidden * 390)


def test_predictions_in_the_unit_of_the_target(folder: Path) -> None:
    new = "rooms,city,size\n3,Trier,85\n,Bonn,60\n"
    (folder / "new.csv").write_text(new, encoding="utf-8")
    done = call(folder, "predict", "run=best", "data.path=new.csv", "out=found.csv")
    assert done.returncode == 0, done.stderr
    uri = f"sqlite:///{folder}/mlflow.db"
    table = bp.load_sweep("last", tracking=uri).to_pandas()
    best = table["run_id"][table["loss"].idxmin()]
    assert done.stdout == f"2 predictions in found.csv, by the run {best}\n"
    run = bp.load_run(best, tracking=uri)
    # The missing number of rooms is the mean of the five that are there.
    expected = [by_hand(run, 85, 3, "Trier"), by_hand(run, 60, 3, "Bonn")]
    found = pd.read_csv(folder / "found.csv")
    assert list(found) == ["price"]
    np.testing.assert_allclose(found["price"], expected, rtol=1e-12)
    own = run.model.predict(pd.read_csv(folder / "new.csv"))
    np.testing.assert_array_equal(own["price"], found["price"])


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ("size,rooms\n1,2\n", "'city'"),
        (
            "size,rooms,city\n1,2,Wien\n",
            "the categories of training: Bonn, Köln, Trier",
        ),
        ("size,rooms,city\nx,2,Bonn\n", "'x' in row 1 (line 2)"),
        ("size,rooms,city\n", "no rows"),
    ],
)
def test_rows_that_do_not_fit(folder: Path, new: str, told: str) -> None:
    (folder / "bad.csv").write_text(new, encoding="utf-8")
    done = call(folder, "predict", "run=best", "data.path=bad.csv", "out=bad.parquet")
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (folder / "bad.parquet").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data.path=new.csv", "out=a.csv"], "was not told run"),
        (["run=best", "out=a.csv"], "was not told data.path"),
        (["run=best", "data.path=new.csv"], "allowed: files that end with"),
        (["run=best", "data.path=nowhere.csv", "out=a.csv"], "which is no file"),
        (["run=x", "data.path=new.csv", "out=a.csv"], "run is 'x'; allowed: a run id"),
        (["run=x", "sweep=last", "data.path=new.csv", "out=a.csv"], "leave one out"),
        (["best", "data.path=new.csv"], "was told 'best'"),
        (
            ["--run=best", "data.path=new.csv"],
            "tracking.uri=…; write run=best",
        ),
    ],
)
def test_words_that_do_not_fit(folder: Path, words: list[str], told: str) -> None:
    done = call(folder, "predict", *words)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("binary", [False, True])
def test_classes_by_their_names(tmp_path: Path, binary: bool) -> None:
    rng = np.random.default_rng(3)
    names = ["no", "yes"] if binary else ["blue", "green", "red"]
    labels = np.arange(30) % len(names)
    table = pd.DataFrame(
        {
            "a": rng.normal(size=30) + 3 * labels,
            "b": rng.normal(size=30),
            "kind": np.array(names)[labels],
        }
    )
    table.to_csv(tmp_path / "kinds.csv", index=False)
    loss = "binary_cross_entropy" if binary else "softmax_cross_entropy"
    words = ("data=csv", "data.path=kinds.csv", "data.x=all", "data.y=kind")
    uri = stores.empty_database(tmp_path / "mlflow.db")
    done = call(tmp_path, "train", *words, "network.hidden=[5]", f"network.loss={loss}")
    assert done.returncode == 0, done.stderr
    from mlflow import MlflowClient

    (found,) = MlflowClient(uri).search_runs(["1"])
    run = bp.load_run(found.info.run_id, tracking=uri)
    predicted = run.model.predict(table[["b", "a"]])
    assert list(predicted) == ["kind", *(f"p({name})" for name in names)]
    shares = np.column_stack([predicted[f"p({name})"] for name in names])
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert run.network is not None
    assert run.weights is not None
    outputs = bp.predict(run.network, run.weights, table[["a", "b"]].to_numpy())[0]
    np.testing.assert_allclose(shares[:, 1 if binary else 0], outputs[:, 0])
    assert predicted["kind"].tolist() == np.array(names)[shares.argmax(axis=1)].tolist()


def test_arrays_are_predicted_too(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    bp.sweep(bp.Network(1, 1, 1), 2.0, 3.0, {"lr": [0.1]}, tracking=uri, progress=False)
    run = bp.load_run(bp.tracking.best_run("last", tracking=uri), tracking=uri)
    assert run.model.predict([[2.0], [4.0]])["y1"].tolist() == pytest.approx([3, 6])
