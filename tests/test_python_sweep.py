"""Sweeps from Python: the runs of the command, and what a user of arrays expects."""

from __future__ import annotations

import doctest
import importlib
import os
import pickle
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

import backprop_svc as bp
import stores
from backprop_svc.arrays import Floats
from backprop_svc.result import FACTS
from backprop_svc.sweep.chunk import Chunk
from backprop_svc.sweep.engine import run
from backprop_svc.sweep.experiment import Experiment
from backprop_svc.sweep.parent import Parent, Tracking
from backprop_svc.sweep.space import Points
from backprop_svc.tracking import Sweep
from backprop_svc.train import SHARED
from command import CLEAN, call

GUIDE = bp.Network(1, 1, 1)
SWEEP = "0123456789abcdef"
GRID: dict[str, Any] = {"lr": bp.LogInterval(0.01, 1), "w1": np.linspace(-2, 2, 9)}


def content(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of the runs of a sweep, without when and by whom they were written."""
    child = "run_uuid in (select run_uuid from tags where key = 'backprop.index')"
    queries = {
        "runs": f"select run_uuid, name, status from runs where {child}",
        "metrics": f"select run_uuid, key, step, value, is_nan from metrics where {child}",
        "latest": f"select run_uuid, key, step, value from latest_metrics where {child}",
        "params": f"select run_uuid, key, value from params where {child}",
        "tags": "select run_uuid, key, value from tags"
        f" where {child} and key in ('outcome', 'backprop.index', 'backprop.sweep_id')",
    }
    with sqlite3.connect(database) as db:
        found = {name: sorted(db.execute(query)) for name, query in queries.items()}
    db.close()
    return found


def parent_of(uri: str) -> Any:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("backprop-svc")
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`backprop.kind` = 'sweep'")
    return parent


CASES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "a grid": (
        [
            "train.lr=tag(log,interval(0.01,1))",
            "init.w1=-2,-1,0.5,2",
            "sweep.points=5",
            "train.epochs=12",
            "train.optimizer=momentum",
        ],
        {
            "axes": {"lr": bp.LogInterval(0.01, 1), "w1": [-2, -1, 0.5, 2]},
            "points": 5,
            "epochs": 12,
            "optimizer": "momentum",
        },
    ),
    "samples": (
        [
            "train.lr1=interval(0.01,1)",
            "train.lr2=interval(0.01,1)",
            "init.seed=range(0,3)",
            "init=normal",
            "sweep.sampler=sobol",
            "sweep.samples=6",
            "sweep.seed=7",
            "tracking.history=every:7",
        ],
        {
            "axes": {
                "lr1": bp.Interval(0.01, 1),
                "lr2": bp.Interval(0.01, 1),
                "init.seed": range(3),
            },
            "init": "normal",
            "sampler": "sobol",
            "samples": 6,
            "sampler_seed": 7,
            "history": "every:7",
        },
    ),
    "zipped": (
        ["train.lr=tag(zip,choice(0.1,0.2))", "init.w2=1,2", "init.w1=tag(zip,choice(0.5,-1))"],
        {"axes": {"lr": bp.Zipped([0.1, 0.2]), "w2": [1, 2], "w1": bp.Zipped([0.5, -1])}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_python_writes_what_the_command_writes(tmp_path: Path, case: str) -> None:
    words, arguments = CASES[case]
    stores.empty_database(tmp_path / "mlflow.db")
    done = call(tmp_path, "sweep", *words, f"sweep.id={SWEEP}", "sweep.results=map.parquet")
    assert done.returncode == 0, done.stderr
    uri = stores.empty_database(tmp_path / "python.db")
    outcomes = bp.sweep(
        GUIDE, x=2.0, y=3.0, data="guide", tracking=uri, sweep_id=SWEEP, **arguments
    )
    assert f"{outcomes.written} runs tracked" in done.stdout
    assert content(tmp_path / "python.db") == content(tmp_path / "mlflow.db")
    other, own = parent_of(f"sqlite:///{tmp_path}/mlflow.db"), parent_of(uri)
    assert own.info.status == other.info.status == "FINISHED"
    speed = "runs_per_second"
    assert own.data.metrics.pop(speed) > 0
    assert other.data.metrics.pop(speed) > 0
    assert own.data.metrics == other.data.metrics
    assert own.data.params == other.data.params
    note = "mlflow.note.content"
    told = [run.data.tags[note].replace(run.info.run_id, "") for run in (own, other)]
    assert told[0] == told[1]
    from pyarrow import parquet

    table = parquet.read_table(tmp_path / "map.parquet").to_pydict()
    for name, column in outcomes.to_arrow().to_pydict().items():
        np.testing.assert_array_equal(column, table[name])


def test_the_outcomes_are_those_of_train() -> None:
    outcomes = bp.sweep(GUIDE, 2.0, 3.0, GRID, points=20, epochs=50, record=("loss", "weights"))
    rates = np.repeat(np.geomspace(0.01, 1, 20), 9)
    weights = np.column_stack([np.tile(np.linspace(-2, 2, 9), 20), np.ones(180)])
    expected = bp.train(
        GUIDE, weights, 2.0, 3.0,
        learning_rate=rates, epochs=50, record=["loss", "weights"],
    )  # fmt: skip
    assert len(outcomes) == 180
    np.testing.assert_array_equal(outcomes["lr"], rates)
    np.testing.assert_array_equal(outcomes["init.w1"], weights[:, 0])
    np.testing.assert_array_equal(outcomes["outcome"], expected.outcome)
    for name in FACTS:
        np.testing.assert_array_equal(outcomes[name], getattr(expected, name))
    histories = outcomes.histories()
    assert set(histories) == {"loss", "weights"}
    np.testing.assert_array_equal(histories["loss"], expected.loss)
    np.testing.assert_array_equal(histories["weights"], expected.weight_history)
    frame = outcomes.to_pandas()
    np.testing.assert_array_equal(np.stack(frame["weights"].to_list()), expected.weights)
    assert frame["run_id"].is_unique
    best = outcomes.best(3)
    assert [row["loss"] for row in best] == sorted(outcomes.loss)[:3]
    assert sum(outcomes.shares().values()) == pytest.approx(1)
    assert "180 runs" in repr(outcomes)
    assert len(pickle.loads(pickle.dumps(outcomes))) == 180
    assert bp.figure(outcomes).axes
    with pytest.raises(
        bp.SettingError, match=r"a column is 'los'; allowed: train\.lr, init\.w1"
    ):
        outcomes["los"]


def test_a_sweep_of_seeds_with_validation() -> None:
    network = bp.Network(2, 40, 1, bias=True, loss="binary_cross_entropy")
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    draw = bp.Draw("he", scale=0.5)
    outcomes = bp.sweep(
        network, x, y, {"seed": range(5)}, init=draw, validation=(x[:2], y[:2]), learning_rate=1
    )
    weights = bp.initial_weights(network, range(5), "he", scale=0.5)
    expected = bp.train(network, weights, x, y, learning_rate=1)
    of_rows = bp.evaluate(network, expected.weights, x[:2], y[:2])
    np.testing.assert_array_equal(outcomes["val_loss"], of_rows.loss)
    np.testing.assert_array_equal(outcomes["val_accuracy"], of_rows.accuracy)
    table = outcomes.to_arrow()
    assert table.schema.field("init.seed").type == "int64"
    assert "weights" not in table.column_names, "those of large networks would fill the memory"


@pytest.mark.parametrize("module", ["sweep.space", "sweep.axes", "interactive.sweep"])
def test_documented_examples_run(module: str) -> None:
    results = doctest.testmod(importlib.import_module(f"backprop_svc.{module}"))
    assert results.attempted > 0
    assert results.failed == 0


def test_progress_is_told_of_each_chunk() -> None:
    seen: list[Chunk] = []
    bp.sweep(GUIDE, 2.0, 3.0, {"lr": [0.1, 0.2]}, progress=seen.append)
    assert [len(chunk.loss) for chunk in seen] == [2]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a tuple": ({"axes": {"lr": (0.01, 1)}}, r"'train.lr' is \(0.01, 1\); allowed: a list"),
    "a text": ({"axes": {"lr": "0.1,0.2"}}, "'train.lr' is '0.1,0.2'"),
    "no axis": ({"axes": {"epochs": [1, 2]}}, "an axis has the name 'epochs'"),
    "the same axis": ({"axes": {"lr": [1], "train.lr": [2]}}, "axes has one of them twice"),
    "a bad rate": ({"axes": {"lr": [0.1, -1]}}, "train.lr is -1.0; allowed: finite numbers"),
    "a bad seed": ({"axes": {"seed": [0.5]}, "init": "he"}, "init.seed is 0.5"),
    "a seed of nothing": ({"axes": {"seed": [1]}}, "'init.seed' is given and would change"),
    "a drawn weight": ({"axes": {"w1": [1]}, "init": "he"}, "'init.w1' is given and would"),
    "no setting": ({"axes": {"lr": [1]}, "epoch": 3}, "epoch is no setting of a sweep"),
    "a bad setting": ({"axes": {"lr": [1]}, "epochs": -1}, "epochs is -1"),
    "bad weights": ({"axes": {"lr": [1]}, "init": [1, 2, 3]}, "allowed: 2 weights"),
    "a bad method": ({"axes": {"lr": [1]}, "init": "she"}, "method is 'she'"),
    "a bad history": ({"axes": {"lr": [1]}, "history": "some", "tracking": "x"}, "history is"),
    "a bad sampler": ({"axes": {"lr": bp.Interval(1, 2)}, "sampler": "x"}, "sampler is 'x'"),
    "bad points": ({"axes": {"lr": bp.Interval(1, 2)}, "points": [1, 2]}, "points is"),
    "no axes": ({"axes": [0.1, 0.2]}, r"axes is \[0.1, 0.2\]; allowed: axes by their names"),
    "no histories": ({"axes": {"lr": [1]}, "record": 3}, "record is 3; allowed: a list"),
    "a bad record": ({"axes": {"lr": [1]}, "record": ["los"]}, "record is 'los'; allowed"),
    "no rows": ({"axes": {"lr": [1]}, "validation": 3}, r"validation is 3; .* write \(x, y\)"),
    "no store": ({"axes": {"lr": [1]}, "tracking": 3}, "tracking is 3; allowed: a text or"),
    "no name": ({"axes": {"lr": [1]}, "data": 3}, "data is 3; allowed: a text"),
    "no sampler": ({"axes": {"lr": [1]}, "sampler": np.ones(2)}, "sampler is array"),
    "untracked": ({"axes": {"lr": [1]}, "resume": "last"}, "resume is 'last', but nothing"),
    "no identity": (
        {"axes": {"lr": [1]}, "sweep_id": "x"},
        "^sweep_id is 'x'; allowed: the",
    ),
    "two identities": (
        {"axes": {"lr": [1]}, "sweep_id": SWEEP, "resume": "last"},
        "sweep_id is '0123456789abcdef', beside resume",
    ),
    "no progress": ({"axes": {"lr": [1]}, "progress": "no"}, "progress is 'no'; allowed: True"),
    "nowhere": ({"axes": {"lr": [1]}, "history": "bogus"}, "history is 'bogus'; allowed: all"),
    "a bad sampler seed": ({"axes": {"lr": [1]}, "sampler_seed": -1}, "^sampler_seed is -1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case: str) -> None:
    arguments, message = BAD[case]
    with pytest.raises(bp.SettingError, match=message):
        bp.sweep(GUIDE, 2.0, 3.0, **arguments)


def test_a_store_that_fails_is_named_as_python_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"^tracking is 'foo://x', which failed"):
        bp.sweep(GUIDE, 2.0, 3.0, {"lr": [1]}, tracking="foo://x")
    uri = stores.empty_database(tmp_path / "mlflow.db")
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment("old"))
    with pytest.raises(bp.SettingError, match=r"^experiment is 'old', which was deleted"):
        bp.sweep(GUIDE, 2.0, 3.0, {"lr": [1]}, tracking=uri, experiment="old")


def test_outcomes_refuse_what_they_cannot_take() -> None:
    outcomes = bp.sweep(GUIDE, 2.0, 3.0, {"lr": [0.1]})
    assert "1 run;" in repr(outcomes)
    assert outcomes.best(0) == []
    anything: Any = outcomes
    for refused, message in (
        (lambda: anything[[1]], r"a column is \[1\]; allowed: a text"),
        (lambda: anything.best("x"), "count is 'x'"),
        (lambda: anything.best(-1), "count is -1"),
        (lambda: bp.figure(3), "outcomes is 3; allowed: Outcomes"),  # type: ignore[arg-type]
    ):
        with pytest.raises(bp.SettingError, match=message):
            refused()
    with pytest.raises(TypeError, match="not iterable"):
        iter(anything)
    frame = outcomes.to_pandas()
    columns = ["loss", *FACTS]
    assert frame.columns.tolist() == ["run_id", "train.lr", *columns, "weights"]


def test_outcomes_keep_no_starts() -> None:
    (chunk,) = bp.sweep(GUIDE, 2.0, 3.0, {"lr": [0.1, 0.2]}).chunks
    assert chunk.result.learning_rate.size == chunk.result.initial_weights.size == 0


PROGRAM = """
import numpy as np
import backprop_svc as bp
axes = {"lr": np.geomspace(0.001, 1, 30), "w1": np.linspace(-2, 2, 200)}
bp.sweep(bp.Network(1, 1, 1), 2.0, 3.0, axes, tracking="sqlite:///mlflow.db"%s)
"""


def test_ctrl_c_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM % ""],
        env=CLEAN, text=True, stderr=subprocess.PIPE,
    )  # fmt: skip
    database, end, count = tmp_path / "mlflow.db", time.monotonic() + 100, 0
    while count < 100 and time.monotonic() < end:
        time.sleep(0.05)
        # Its tables come a moment after it.
        if database.exists() and database.stat().st_size:
            with sqlite3.connect(database, timeout=30) as db:
                (count,) = db.execute("select count(*) from runs").fetchone()
            db.close()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    told = re.search(
        r"KeyboardInterrupt: the sweep was stopped; .*resume='([0-9a-f]{16})'", err
    )
    assert told, err
    assert parent_of(f"sqlite:///{database}").info.status == "KILLED"
    for resume in ("last", told[1]):
        exec(PROGRAM % f", resume={resume!r}", {})
    found = content(database)
    assert [run_id for run_id, *_ in found["runs"]] == [
        f"{told[1]}{index:016x}" for index in range(6_000)
    ]
    assert parent_of(f"sqlite:///{database}").info.status == "FINISHED"
    with pytest.raises(bp.SettingError, match="was begun with other axes or settings"):
        bp.sweep(GUIDE, 2, 3, {"lr": [1]}, tracking=f"sqlite:///{database}", resume=told[1])
    with pytest.raises(bp.SettingError, match=r"^resume is last, and .* no sweep that was not"):
        bp.sweep(GUIDE, 2, 3, {"lr": [1]}, tracking=f"sqlite:///{database}", resume="last")


class Halving:
    """Asks for the middle of the interval that the better of two rates bounds."""

    def __init__(self) -> None:
        self.low, self.high, self.rounds = 0.01, 1.0, 5

    def __len__(self) -> int:
        return 2 * self.rounds

    def ask(self, most: int) -> Points | None:
        if not self.rounds:
            return None
        self.rounds -= 1
        return Points(2, {"train.lr": np.array([self.low, self.high])})

    def tell(self, points: Points, loss: Floats) -> None:
        middle = (self.low * self.high) ** 0.5
        if loss[0] < loss[1]:
            self.high = middle
        else:
            self.low = middle


def test_a_sampler_that_learns_is_replayed(tmp_path: Path) -> None:
    experiment = Experiment(
        network=GUIDE,
        data=bp.datasets.Dataset(np.array([[2.0]]), np.array([[3.0]])),
        validation=None,
        init=np.array([0.5, 1.0]),
        rates={"train.lr": 0.1},
        settings=SHARED,
        data_name="guide",
    )
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db")
    written = []
    for _ in range(2):
        parent = Parent.open(tracking, Sweep(SWEEP))
        outcomes = run(experiment, Halving(), sweep=SWEEP, parent=parent)
        parent.finish()
        written.append(outcomes.written)
    assert written == [10, 0], "what was asked for again is there already"
    rates = outcomes["train.lr"].reshape(5, 2)
    losses = outcomes["loss"].reshape(5, 2)
    assert (losses.min(axis=1)[1:] <= losses.max(axis=1)[:-1]).all()
    assert (np.diff(np.log(rates), axis=1)[:, 0] > 0).all()
    assert len(content(tmp_path / "mlflow.db")["runs"]) == 10


def test_a_notebook_or_a_terminal_sees_a_bar(tmp_path: Path) -> None:
    import pty

    program = "import backprop_svc as bp; bp.sweep(bp.Network(1, 1, 1), 2, 3, {'lr': [1, 2]}%s)"
    for more, shown in (("", True), (", progress=False", False)):
        reader, writer = pty.openpty()
        command = [sys.executable, "-c", program % more]
        subprocess.run(command, stderr=writer, check=True, env={**CLEAN, "TERM": "xterm"})
        os.write(writer, b"end")
        text = os.read(reader, 1 << 16).decode()
        assert ("2 of 2 runs" in text) == shown, text
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"axes": {"lr": [0.1, 0.2]}, "learning_rate": 0.3},
            "learning_rate is 0.3, and train.lr",
        ),
        ({"axes": {"lr": [0.1, 0.2]}, "points": 5}, "points is 5 and would change nothing"),
        ({"axes": {"w1": bp.Interval(0, 1)}, "samples": 5}, "samples is 5 and would change"),
        (
            {"axes": {"w1": [0.1]}, "history": "last"},
            "history is 'last', and nothing is tracked",
        ),
        ({"axes": {"w1": [0.1]}, "experiment": "x"}, "experiment is 'x', and nothing is"),
    ],
)
def test_what_would_change_nothing_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(bp.SettingError, match=message):
        bp.sweep(bp.Network(1, 1, 1), 2.0, 3.0, **arguments)
