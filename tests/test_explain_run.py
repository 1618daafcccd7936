"""A tracked run is trained again, and walked through at one of its epochs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

import backprop_svc as bp
import stores
from command import call


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("walks")
    stores.empty_database(folder / "mlflow.db")
    (folder / "own.csv").write_text("a,b\n1,2\n2,3\n3,5\n4,4\n", encoding="utf-8")
    done = call(folder, "sweep", "train.lr=0.02,0.1", "init.w1=0.5,0.7", "train.epochs=12")
    assert done.returncode == 0, done.stderr
    return folder


def sweep_of(folder: Path) -> tuple[str, list[str]]:
    uri = f"sqlite:///{folder}/mlflow.db"
    return uri, bp.load_sweep("last", tracking=uri)["run_id"].to_pylist()


def test_the_run_of_a_sweep(folder: Path) -> None:
    _, runs = sweep_of(folder)
    guide = bp.Network(1, 1, 1)
    again = bp.train(
        guide, [0.7, 1.0], 2.0, 3.0, learning_rate=0.1, epochs=12, record=["loss", "weights"]
    )
    assert again.weight_history is not None
    assert again.loss is not None
    done = call(folder, "explain", f"run={runs[3]}", "epoch=5", "out=walk.html")
    assert done.returncode == 0, done.stderr
    first, title, *_ = done.stdout.splitlines()
    assert f"run {runs[3]} (" in first
    assert f"epoch 5 of 12; loss {again.loss[0, 5]:.10g}, as it was tracked" in first
    w1, w2 = again.weight_history[0, 5]
    assert f"w1 = {w1:.6g}, w2 = {w2:.6g}, learning rate 0.1" in title
    html = (folder / "walk.html").read_text(encoding="utf-8")
    found = json.loads(re.findall(r'id="content">(.*?)</script>', html)[0])
    # The gradients that are drawn are those of the training.
    exact = bp.gradients(guide, [w1, w2], 2.0, 3.0)
    drawn = [layer["gradients"][0][0] for layer in found["edges"]]
    np.testing.assert_allclose(drawn, exact.gradients[0], rtol=1e-14)
    assert found["loss"] == pytest.approx(again.loss[0, 5])
    last = call(folder, "explain", f"run={runs[3]}")
    assert "epoch 11 of 12" in last.stdout


def test_a_table_whose_names_need_quotes(tmp_path: Path) -> None:
    """A store keeps values as they are, without what the command line needs beside them."""
    uri = stores.empty_database(tmp_path / "mlflow.db")
    rows = "".join(f"{i / 9},{'oil' if i % 2 else 'gas'},{i}\n" for i in range(9))
    (tmp_path / "my own.csv").write_text(f"living area,Heat: type,Price €\n{rows}", "utf-8")
    words = (
        *("data=csv", "data.path='my own.csv'", 'data.y="Price €"', "init=random"),
        *('data.categories=["Heat: type"]', "train.epochs=5", "network.hidden=[2]"),
        r"data.exclude=[Heat\: type]",
    )
    one, several = "data.x=[living area]", "data.x=[living area],[living\\ area]"
    for command in (("train", *words, one), ("sweep", *words, several, "train.lr=0.01,0.02")):
        done = call(tmp_path, *command)
        assert done.returncode == 0, done.stderr
    client = MlflowClient(uri)
    runs = client.search_runs(["1"], "params.`data.path` = 'my own.csv'")
    assert len(runs) == 1 + 1 + 4
    for run in runs:
        params = run.data.params
        assert params["data.y"] == "Price €"
        assert params["data.categories"] == "[Heat: type]"
        if "backprop.kind" not in run.data.tags:
            assert params["data.x"] == "[living area]"
            done = call(tmp_path, "explain", f"run={run.info.run_id}")
            assert done.returncode == 0, done.stderr
            assert "as it was tracked" in done.stdout


def test_columns_that_are_called_as_other_values_are(tmp_path: Path) -> None:
    """Each run of a sweep is trained again on its own column, however that is called."""
    uri = stores.empty_database(tmp_path / "mlflow.db")
    names = ["2019", "12:30", "null", "a #b", "2020-01-01", "yes", "007", "- b", "true"]
    rows = [",".join(str(row * column % 7) for column in range(10)) for row in range(1, 9)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(["a", *names]), *rows]), "utf-8")
    told = ",".join(f"'{name}'" for name in names)
    words = ("data=csv", "data.path=t.csv", "data.x=[a]", "data.x_scale=1e-1", "init.seed=3")
    done = call(tmp_path, "sweep", *words, "init=random", f"data.y={told}", "train.epochs=3")
    assert done.returncode == 0, done.stderr
    single = call(tmp_path, "train", *words, "init=random", "data.y=a", "train.epochs=3")
    assert single.returncode == 0, single.stderr
    runs = MlflowClient(uri).search_runs(["1"], "metrics.loss >= 0")
    assert len(runs) == len(names) + 1
    for run in runs:
        walk = call(tmp_path, "explain", f"run={run.info.run_id}", "epoch=1")
        assert "as it was tracked" in walk.stdout, (run.data.params, walk.stderr)


@pytest.mark.parametrize("sweeper", ["arrays", "basic"])
def test_a_run_of_another_group_is_not_taken_for_that_of_the_first(
    tmp_path: Path, sweeper: str
) -> None:
    """A sweep keeps the configuration of its first job, and losses tell whose it is."""
    uri = stores.empty_database(tmp_path / "mlflow.db")
    words = ("data=guide,one", "train.epochs=3", "tracking.history=none")
    assert call(tmp_path, "sweep", f"hydra/sweeper={sweeper}", *words).returncode == 0
    for run in MlflowClient(uri).search_runs(["1"], "metrics.loss >= 0"):
        walk = call(tmp_path, "explain", f"run={run.info.run_id}", "epoch=1")
        if run.data.params["data"] == "guide":
            assert "x = 2, y = 3" in walk.stdout
        else:
            assert walk.returncode == 1
            assert "cannot be trained again: its loss in epoch 2 was" in walk.stderr


def test_a_network_with_drawn_weights_on_a_table(folder: Path) -> None:
    words = (
        *("data=csv", "data.path=own.csv", "data.x=a", "data.y=b", "data.x_scale=standard"),
        *("network.hidden=[3]", "network.activation=tanh,sigmoid", "network.bias=true"),
        *("init.seed=4,5", "train.optimizer=adam", "train.epochs=9", "train.batch_size=2"),
    )
    done = call(folder, "sweep", *words)
    assert done.returncode == 0, done.stderr
    uri, runs = sweep_of(folder)
    for run in runs[1::2]:
        tracked = bp.load_run(run, tracking=uri)
        done = call(folder, "explain", f"run={run}", "epoch=7", "row=2", "out=walk.html")
        assert done.returncode == 0, done.stderr
        loss = tracked.histories["loss"][1][7]
        assert f"loss of all 4 rows {loss:.10g}, as it was tracked" in done.stdout
        assert "row 2 alone; the update shown is" in done.stdout
        assert f"activation='{tracked.params['network.activation']}'" in done.stdout
        html = (folder / "walk.html").read_text(encoding="utf-8")
        found = json.loads(re.findall(r'id="content">(.*?)</script>', html)[0])
        weights = [
            number
            for layer in found["edges"]
            for number in (*np.ravel(layer["weights"]), *layer["biases"])
        ]
        gradients = [
            number
            for layer in found["edges"]
            for number in (*np.ravel(layer["gradients"]), *layer["delta"])
        ]
        x = (3 - 2.5) / np.std([1, 2, 3, 4])
        network = bp.Network(
            1, 3, 1, activation=tracked.params["network.activation"], bias=True
        )
        exact = bp.gradients(network, weights, x, 5.0).gradients[0]
        np.testing.assert_allclose(gradients, exact, rtol=1e-10)
    # The same run with other data is another run.
    table = folder / "own.csv"
    before = table.read_text(encoding="utf-8")
    table.write_text(before.replace("4,4", "4,6"), encoding="utf-8")
    done = call(folder, "explain", f"run={runs[0]}", "epoch=7")
    table.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert "cannot be trained again: its loss in epoch 8 was" in done.stderr


def test_runs_that_go_on_and_settings_with_signs_of_yaml(folder: Path) -> None:
    days = [f"0{day}.01.2024;{day * 10}" for day in range(1, 7)]
    (folder / "days.csv").write_text("\n".join(["day;price", *days]), encoding="utf-8")
    words = (
        *("data=csv", "data.path=days.csv", "data.x=day", "data.y=price", "data.dates=[day]"),
        *("data.date_format=%d.%m.%Y", "data.x_scale=standard", "data.y_scale=standard"),
        *("network.hidden=[2]", "train.epochs=6", "init.seed=1,2"),
    )
    assert call(folder, "sweep", *words).returncode == 0
    on = call(folder, "sweep", "init.run=best", "init.best=2", "train.epochs=4")
    assert on.returncode == 0, on.stderr
    uri, runs = sweep_of(folder)
    for run in runs:
        steps, losses = bp.load_run(run, tracking=uri).histories["loss"]
        assert steps.tolist() == [6, 7, 8, 9]
        done = call(folder, "explain", f"run={run}", "epoch=8")
        assert done.returncode == 0, done.stderr
        assert "epoch 8 of 4 from 6 on; " in done.stdout
        assert f"loss of all 6 rows {losses[2]:.10g}, as it was tracked" in done.stdout
    early = call(folder, "explain", f"run={runs[0]}", "epoch=5")
    assert "allowed: whole numbers from 6 to 9" in early.stderr


def test_mistakes(folder: Path) -> None:
    _, runs = sweep_of(folder)
    own = f"run={runs[0]}"
    for words, said in (
        ([own, "epoch=99"], "epoch is 99, and the run has "),
        ([own, "epoch=-1"], "epoch is '-1'; allowed: whole numbers from 0"),
        ([own, "row=7"], "row is 7, and the run has "),
        ([own, "out=walk.txt"], "allowed: files that end with .html"),
        ([own, "train.lr=1"], "explain was told 'train.lr=1'"),
        ([own, "train.lr=1"], "tracking.uri=…; leave it out"),
        ([f"run={'0' * 32}"], "has no such run"),
    ):
        done = call(folder, "explain", *words)
        assert done.returncode == 1, words
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
