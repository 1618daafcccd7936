"""What the parent of a sweep shows: its axes, its links, how far it is; names of its runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import backprop_svc as bp
import stores
from backprop_svc.sweep import pace
from backprop_svc.sweep import parent as parents
from backprop_svc.sweep.description import axes, range_text, text
from backprop_svc.sweep.naming import Naming
from backprop_svc.sweep.space import Grid, Points
from backprop_svc.tracking import links
from command import call

GUIDE = bp.Network(1, 1, 1)
SWEEP = "tags.`backprop.kind` = 'sweep'"


def found(uri: str) -> tuple[Run, list[Run]]:
    """The parent of the only sweep in a store, and its runs in their order."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("backprop-svc")
    assert experiment is not None
    own = [experiment.experiment_id]
    (parent,) = client.search_runs(own, SWEEP)
    children = client.search_runs(own, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    return parent, sorted(children, key=lambda run: int(run.data.tags["backprop.index"]))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0.1], "0.1"),
        ([0.1, 0.30000000000000004, 2], "0.1, 0.3, 2"),
        ([0.1, 0.10000001], "0.1, 0.10000001"),
        (np.geomspace(0.01, 1, 40), "0.01 … 1, 40 values, log"),
        (np.linspace(-2, 2, 1001), "-2 … 2, 1,001 values"),
        (np.random.default_rng(0).permutation(20), "0 … 19, 20 values"),
        (np.exp(np.random.default_rng(0).uniform(-9, 0, 64)), "log"),
        ([3.0] * 9, "3 … 3, 9 values"),
    ],
)
def test_an_axis_is_told_by_its_range(values: Any, told: str) -> None:
    assert range_text(np.asarray(values, dtype=float)).endswith(told)


def test_a_description_names_every_axis_of_many() -> None:
    grid = Grid({"train.lr": [0.1, 0.2], "init.w1": [1, 2]}, {"init.w2": np.arange(9)})
    words = {
        f"data.name{i}": [f"/a/long/path/{i}/{j}.csv" for j in range(50)] for i in range(30)
    }
    told = axes(grid, words)
    assert told["train.lr"] == "0.1, 0.2 (together with init.w1)"
    assert told["data.name0"].endswith("… (50 values)")
    note = text(told, 36)
    assert note.startswith("36 runs over 33 axes:\n")
    assert all(f"- `{name}`: " in note for name in told)
    assert len(links.note("1", "f" * 32, note, "f" * 32)) <= 5000


@pytest.mark.parametrize(
    ("tables", "words", "last"),
    [
        ([{"train.lr": [0.1, 0.2]}], {}, "lr=0.2"),
        ([{"train.lr": [0.1]}, {"init.seed": [0, 12345678]}], {}, "seed=12345678"),
        (
            [{"train.lr": [0.1, 0.3]}, {"init.seed": [0, 3]}],
            {"network.activation": "tanh"},
            "activation=tanh lr=0.3 seed=3",
        ),
        ([], {"data.x": "[a, b]", "network.x": "1"}, "data.x=[a, b] network.x=1"),
        ([], {"init": "he\n\x1b[2J"}, r"init=he \x1b[2J"),
        ([{"train.lr": [1 / 3, 1 / 3 + 1e-9]}], {}, "lr=0.333333334333"),
    ],
)
def test_runs_are_named_by_what_differs(tables: Any, words: Any, last: str) -> None:
    grid = Grid(*tables)
    assert Naming.of(grid, words).names(grid.points())[-1] == last


def test_the_names_of_an_axis_differ_as_its_values_do() -> None:
    for values in (np.linspace(0, 1, 1001), np.geomspace(1e-300, 1e300, 999), [1e16, 1e16 + 2]):
        grid = Grid({"train.lr": values})
        assert len(set(Naming.of(grid).names(grid.points()))) == len(values)


def test_a_long_name_fits_keeps_its_ends_and_is_its_own() -> None:
    grid = Grid({"train.lr": [0.1, 0.2]}, {"init.seed": [1, 2]})
    long = {f"data.setting_{i}": f"/start/{'x' * 500}/end{i}" for i in range(20)}
    for own in (grid, Grid()):
        for name in Naming.of(own, long).names(own.points(0, 1), 7):
            assert name.startswith("setting_0=/start/")
            assert name.endswith("lr=0.1 seed=1 #7" if own is grid else "/end19 #7")
            assert len(name) <= 250
    many = Grid({f"train.setting_{i}": [0.1, 0.2] for i in range(30)}, {"train.lr": [1, 2]})
    # Some differ in the middle only.
    for words in (long, {}):
        names = Naming.of(many, words).names(many.points(0, 4))
        assert len(set(names)) == 4
        assert max(map(len, names)) <= 250
    alike = [{"data.path": f"{'x' * 30}{i}{'y' * 60}"} for i in range(2)]
    (one,), (other,) = (
        Naming.of(Grid(), words).names(Grid().points(0, 1), place)
        for place, words in enumerate(alike)
    )
    assert one != other
    assert Naming.of(Grid()).names(Points(2, {})) == ["", ""]


def test_the_parent_says_what_its_runs_share_and_what_its_axes_do(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    words = ("network.activation=relu,tanh", "init=he,xavier", "init.seed=range(0,2)")
    more = ("train.lr=tag(log,interval(0.01,1))", "network.sizes=[1,3,1]", "train.epochs=5")
    done = call(tmp_path, "sweep", *words, *more, "sweep.points=7", "train.optimizer=adam")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    parent, children = found(uri)
    assert parent.info.run_name.startswith("sweep activation init seed lr (")
    varied = {
        "network.activation": "relu, tanh",
        "init": "he, xavier",
        "init.seed": "0, 1",
        "train.lr": "0.01 … 1, 7 values, log",
        "network": ", ".join(str(bp.Network(1, 3, 1, activation=a)) for a in ("relu", "tanh")),
    }
    params = parent.data.params
    assert {name: params[name] for name in varied} == varied
    same: set[tuple[str, str]] = set(children[0].data.params.items())
    for child in children:
        same &= set(child.data.params.items())
    assert {name: params[name] for name in dict(same)} == dict(same)
    assert params.keys() == dict(same).keys() | varied.keys()
    assert params["train.optimizer"] == "adam"
    note = parent.data.tags["mlflow.note.content"]
    for name in ("network.activation", "init", "init.seed", "train.lr"):
        assert f"- `{name}`: `{varied[name]}`" in note
    names = [child.info.run_name for child in children]
    assert len(set(names)) == len(children) == 56
    assert names[0] == "activation=relu init=he seed=0 lr=0.01"
    assert names[-1] == "activation=tanh init=xavier seed=1 lr=1"
    shares = {n: v for n, v in parent.data.metrics.items() if n.startswith("share_")}
    outcomes = [child.data.tags["outcome"] for child in children]
    assert shares == {f"share_{n}": outcomes.count(n) / 56 for n in set(outcomes)}
    best = min(children, key=lambda run: run.data.metrics["loss"])
    losses = {run.info.run_id: run.data.metrics["loss"] for run in children}
    linked = re.match(r"\[Best run\]\(#/experiments/1/runs/([0-9a-f]{32})\?", note)
    assert linked is not None
    assert losses[linked[1]] == losses[best.info.run_id]


def test_jobs_of_hydras_own_sweeper_are_named_by_their_words(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    words = ("hydra/sweeper=basic", "train.lr=0.1,0.2", "network.activation=relu,tanh")
    done = call(tmp_path, "sweep", *words)
    assert done.returncode == 0
    parent, children = found(uri)
    assert done.stdout.count(f"runs/{parent.info.run_id}/") == 1
    for child in children:
        walk = call(tmp_path, "explain", f"run={child.info.run_id}")
        assert "as it was tracked" in walk.stdout, walk.stderr
    names = [child.info.run_name for child in children]
    assert names[:2] == ["lr=0.1 activation=relu", "lr=0.1 activation=tanh"] or sorted(
        names
    ) == [f"activation={a} lr={lr}" for a in ("relu", "tanh") for lr in (0.1, 0.2)]


@pytest.fixture(params=["bulk", "client", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "postgresql":
        with stores.postgres() as uri:
            yield uri
    else:
        yield stores.empty_database(tmp_path / f"{request.param}.db")


def test_a_parent_tells_how_far_its_sweep_is(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped twice and resumed, each step is told once, and what is told is true."""
    from backprop_svc.tracking.client import ClientWriter
    from backprop_svc.tracking.database import DatabaseWriter

    uri = store
    # Artifacts of PostgreSQL are in the folder where a command begins.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parents, "BETWEEN_REPORTS", 0.0)
    monkeypatch.setattr(pace, "MOST_RUNS", 7)
    if "client" in uri:
        monkeypatch.setattr(DatabaseWriter, "or_client", ClientWriter)
    arguments: dict[str, Any] = {
        "axes": {"lr": np.linspace(0.01, 2, 24)}, "epochs": 30, "tracking": uri
    }  # fmt: skip
    identity = "a123456789abcdef"

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt, match="goes on"):
            bp.sweep(GUIDE, 2.0, 3.0, sweep_id=identity, progress=stop, **arguments)
    outcomes = bp.sweep(GUIDE, 2.0, 3.0, sweep_id=identity, **arguments)
    client = MlflowClient(uri)
    parent, children = found(uri)
    loss = np.array([float(run.data.metrics["loss"]) for run in children])
    loss[[run.data.tags["outcome"] == "diverged" for run in children]] = np.inf
    outcome = [run.data.tags["outcome"] for run in children]
    history = client.get_metric_history(parent.info.run_id, "runs")
    steps = [point.step for point in history]
    # Reports keep a distance to each other, which may leave some out.
    assert steps == sorted({*steps}) == [point.value for point in history]
    assert steps[0] == 7
    assert {24} <= {*steps} <= {7, 14, 21, 24}
    for name in ("min_loss", *(f"share_{name}" for name in set(outcome))):
        points = client.get_metric_history(parent.info.run_id, name)
        assert len({point.step for point in points}) == len(points)
        for point in points:
            so_far = outcome[: point.step]
            share = so_far.count(name.removeprefix("share_")) / len(so_far)
            best = np.min(loss[: point.step])
            assert point.value == (best if name == "min_loss" else share)
    assert len(client.get_metric_history(parent.info.run_id, "min_loss")) == len(steps)
    assert parent.data.metrics["min_loss"] == outcomes.best_loss()
    assert parent.data.metrics["runs"] == 24
    best_run = outcomes.best(1)[0]
    expected = f"lr={best_run['train.lr']:g}"
    note = parent.data.tags["mlflow.note.content"]
    linked = re.match(r"\[Best run\]\(#/experiments/\d+/runs/([0-9a-f]{32})\?", note)
    assert linked is not None
    assert client.get_run(linked[1]).info.run_name == expected


def test_a_parent_says_how_many_runs_are_the_best(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    starts = {"w1": [-1.0, -2.0, -3.0]}
    bp.sweep(GUIDE, 2.0, 3.0, starts, tracking=uri, progress=False)
    (parent, _) = found(uri)
    # ReLU is off in all of them: ŷ stays 0.
    told = "3 runs tie for the best loss, 4.5"
    assert parent.data.tags["mlflow.note.content"].endswith(told)


def test_a_note_that_a_user_has_changed_stays(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    client = MlflowClient(uri)
    arguments: dict[str, Any] = {"axes": {"lr": [0.1, 0.2]}, "tracking": uri}
    identity = "a123456789abcdef"
    bp.sweep(GUIDE, 2.0, 3.0, sweep_id=identity, **arguments)
    parent, _ = found(uri)
    first = parent.data.tags["mlflow.note.content"]
    for note in ("My own words.", f"{first}\n\nMy own words."):
        client.set_tag(parent.info.run_id, "mlflow.note.content", note)
        bp.sweep(GUIDE, 2.0, 3.0, sweep_id=identity, **arguments)
        assert client.get_run(parent.info.run_id).data.tags["mlflow.note.content"] == note
