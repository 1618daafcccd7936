"""Which sweep goes on, and with what: the same one or none."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

import backprop_svc as bp
import stores
from backprop_svc.sweep.plan import ARITHMETIC
from backprop_svc.tracking.lease import HEARTBEAT, OWNER
from backprop_svc.tracking.parents import PLAN
from command import CLEAN, call

GUIDE = bp.Network(1, 1, 1)
SWEEP = "abcdefabcdefabcd"
AXES = ("train.lr=0.01,0.02", "init.w1=0.5,1")
CSV = ("data=csv", "data.path=${oc.env:ROWS}", "data.x=[a]", "data.y=b")
EPOCHS = "train.epochs=${oc.env:EPOCHS}"
RUNS = 4


@dataclass
class Begun:
    """A sweep of the command that was stopped."""

    folder: Path
    client: MlflowClient
    experiment: str

    def go_on(self, *words: str, rows: str = "secret.csv", epochs: str = "5") -> Any:
        return call(self.folder, "sweep", *words, ROWS=rows, EPOCHS=epochs)

    def parent(self) -> Run:
        (found,) = self.client.search_runs(
            [self.experiment], f"attributes.run_name LIKE 'sweep%{SWEEP}%'"
        )
        return found

    def everything(self) -> dict[str, Any]:
        """All that the parent keeps, but for who wrote it and when."""
        run = self.parent()
        run_id = run.info.run_id
        histories = {
            name: sorted(
                (point.step, point.timestamp, point.value)
                for point in self.client.get_metric_history(run_id, name)
            )
            for name in run.data.metrics
        }
        files = {file.path for file in self.client.list_artifacts(run_id)}
        pictures = sorted(file.path for file in self.client.list_artifacts(run_id, "images"))
        process = (HEARTBEAT, OWNER)
        tags = {n: v for n, v in run.data.tags.items() if not n.startswith(process)}
        assert len(tags) == len(run.data.tags) - 2
        return {"histories": histories, "files": files, "pictures": pictures, "tags": tags}

    def children(self) -> list[Run]:
        condition = f"tags.`mlflow.parentRunId` = '{self.parent().info.run_id}'"
        return list(self.client.search_runs([self.experiment], condition))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    folder = tmp_path_factory.mktemp("begun")
    client = MlflowClient(stores.empty_database(folder / "mlflow.db"))
    (folder / "secret.csv").write_text("a,b\n1,2\n2,3\n3,5\n")
    found = Begun(folder, client, "1")
    done = found.go_on(*CSV, *AXES, EPOCHS, f"sweep.id={SWEEP}")
    assert done.returncode == 0, done.stderr
    client.set_terminated(found.parent().info.run_id, "KILLED")
    return found


def test_a_refusal_names_everything_that_differs(begun: Begun) -> None:
    before = begun.parent()
    rows = begun.folder / "edited.csv"
    rows.write_text("a,b\n1,2\n2,3\n3,6\n")
    others = ("init.w1=0.5,2", "train.lr=0.01,0.02", "tracking.history=last")
    done = begun.go_on(
        *CSV, *others, EPOCHS, "data.x_scale=2", "sweep.resume=last",
        rows="edited.csv", epochs="6",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    for difference in (
        f"the sweep {SWEEP} was begun with other axes or settings: ",
        "train.epochs was 5 and is 6; ",
        "tracking.history was all and is last; ",
        "the content of the data differs (data.x_scale was 1 and is 2); ",
        "the axis init.w1 was 2 values from 0.5 to 1 and is 2 values from 0.5 to 2",
        "the axes was train.lr, init.w1 and is init.w1, train.lr; ",
        "allowed: the same axes, settings and data; begin a new sweep, or resume this one as",
    ):
        assert difference in done.stderr, difference
    assert done.stderr.count("\n") == 1
    # What is in the environment is nowhere in what is kept of it.
    plan = before.data.tags[PLAN]
    assert "${oc.env:ROWS}" in plan
    assert "secret.csv" not in plan
    after = begun.parent()
    assert after.info.status == "KILLED"
    assert after.data.to_dictionary() == before.data.to_dictionary()
    assert len(begun.children()) == RUNS


def test_an_edited_file_of_data_is_seen(begun: Begun) -> None:
    rows = begun.folder / "same shape.csv"
    rows.write_text("a,b\n1,2\n2,3\n3,5.000001\n")
    done = begun.go_on(*CSV, *AXES, EPOCHS, f"sweep.resume={SWEEP}", rows="same shape.csv")
    assert done.returncode == 1
    assert "settings: the content of the data differs; allowed" in done.stderr


def test_another_release_of_hydra_is_named_where_it_explains_all(begun: Begun) -> None:
    parent = begun.parent()
    plan = json.loads(parent.data.tags[PLAN])
    text, because = plan["the axis init.w1"]
    assert text.startswith("2 values from 0.5 to 1 #")
    plan["the axis init.w1"] = [
        "3 values from 0.5 to 1.5 #" + "0" * 16,
        {**because, "Hydra": "1.2"},
    ]
    run_id = parent.info.run_id
    tags = {PLAN: json.dumps(plan), "backprop.digest": "0" * 16}
    for name, value in tags.items():
        begun.client.set_tag(run_id, name, value)
    done = begun.go_on(*CSV, *AXES, EPOCHS, f"sweep.resume={SWEEP}")
    for name in tags:
        begun.client.set_tag(run_id, name, parent.data.tags[name])
    assert "the axis init.w1 was 3 values from 0.5 to 1.5 and is 2 values" in done.stderr
    assert "(Hydra was 1.2 and is 1." in done.stderr
    assert "or resume this one with hydra-core==1.2\n" in done.stderr


def test_what_changes_no_run_may_differ(begun: Begun) -> None:
    """Threads, shards, the place of the file, a default that is written out, a table."""
    gone = [run.info.run_id for run in begun.children()[:2]]
    for run_id in gone:
        begun.client.delete_run(run_id)
    (begun.folder / "moved.csv").write_bytes((begun.folder / "secret.csv").read_bytes())
    store = f"tracking.uri=sqlite:///{begun.folder}/mlflow.db"
    before = begun.everything()
    done = begun.go_on(
        *CSV[:1], "data.path=moved.csv", *CSV[2:], *AXES, "train.epochs=5",
        "train.threads=1", "sweep.shards=2", "train.optimizer=gradient_descent", "data.unit=m",
        "sweep.results=map.parquet", store, "sweep.resume=last",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 runs tracked, 2 were there" in done.stdout
    found = begun.children()
    assert sorted(int(run.data.tags["backprop.index"]) for run in found) == list(range(RUNS))
    assert set(gone) < {run.info.run_id for run in found}
    # It was finished before: nothing of its parent comes twice.
    assert before["pictures"]
    assert before == begun.everything()
    assert begun.parent().info.status == "FINISHED"


def test_half_a_picture_is_completed(begun: Begun) -> None:
    """What a kill between the two files of a picture leaves."""
    before = begun.everything()
    folder = Path(begun.parent().info.artifact_uri.removeprefix("file://")) / "images"
    half = sorted(folder.glob("*.webp"))[0]
    half.unlink()
    words = (*CSV, *AXES, EPOCHS, f"sweep.resume={SWEEP}")
    done = begun.go_on(*words)
    assert f"0 runs tracked, {RUNS} were there" in done.stdout, done.stderr
    assert half.exists()
    assert begun.everything() == before


def sweep(folder: Path, **changes: Any) -> bp.Outcomes:
    given = {"axes": {"lr": [0.01, 0.02]}, "x": [1.0, 2.0], "y": [2.0, 4.5], **changes}
    uri = f"sqlite:///{folder}/mlflow.db"
    return bp.sweep(given.pop("network", GUIDE), tracking=uri, **given)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("python")
    stores.empty_database(folder / "mlflow.db")
    sweep(folder, sweep_id=SWEEP)
    return folder


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "rows": ({"x": [1.0, 2.5]}, "the content of the data differs"),
    "more rows": (
        {"x": [1, 2, 3.0], "y": [2, 4, 6.0]},
        "the content of the data was 2 rows of 1 input and is 3 rows of 1 input",
    ),
    "validation": (
        {"validation": ([1.0], [2.0])},
        "the content of the validation data was not there and is 1 row of 1 input",
    ),
    "an axis": (
        {"axes": {"lr": [0.01, 0.03]}},
        "axis train.lr was 2 values from 0.01 to 0.02 and is 2 values from 0.01 to 0.03",
    ),
    "an order": ({"axes": {"lr": [0.02, 0.01]}}, "the axis train.lr differs"),
    "another axis": ({"axes": {"w1": [1, 2]}}, "the axes was train.lr and is init.w1"),
    "epochs": ({"epochs": 3}, "train.epochs was 20 and is 3"),
    "an optimizer": ({"optimizer": "adam"}, "train.optimizer was gradient_descent and is adam"),
    "a start": ({"init": [0.5, 2.0]}, "init.w2 was 1.0 and is 2.0"),
    "a draw": ({"init": "he"}, "init.method was not there and is he"),
    "a loss": ({"network": bp.Network(1, 1, 1, loss="mse")}, "network.loss was half_squared"),
    "precision": ({"precision": "fast"}, "the instruction set was not there and is "),
    "the smallest eigenvalue": (
        {"smallest_eigenvalue": True},
        "train.smallest_eigenvalue was not there and is True",
    ),
    "Lyapunov exponents": (
        {"lyapunov_epochs": 9},
        "train.lyapunov_epochs was not there and is 9",
    ),
    "batches": ({"batch_size": 1}, "train.batch_size was None and is 1"),
    "a history": ({"history": "none"}, "tracking.history was all and is none"),
    "a name": ({"data": "mine"}, "data was arrays and is mine"),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_each_thing_that_decides_a_run_is_in_the_plan(python: Path, what: str) -> None:
    changes, message = DIFFERENT[what]
    for name in ("resume", "sweep_id"):
        with pytest.raises(bp.SettingError, match="was begun with other axes or set") as raised:
            sweep(python, **changes, **{name: SWEEP})
        assert message in str(raised.value)


def test_the_same_call_goes_on_with_what_may_differ(python: Path) -> None:
    outcomes = sweep(python, resume=SWEEP, threads=1, progress=False, record="loss")
    assert (len(outcomes), outcomes.written) == (2, 0)
    axes = {"train.lr": np.array([0.01, 0.02])}
    rows: dict[str, Any] = {"x": np.array([[1], [2]]), "y": [[2.0], [4.5]]}
    assert sweep(python, sweep_id=SWEEP, axes=axes, **rows).written == 0


def children(client: MlflowClient, parent: str, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    experiments = [e.experiment_id for e in client.search_experiments()]
    condition = f"tags.`mlflow.parentRunId` = '{parent}'"
    return list(client.search_runs(experiments, condition, view))


REFUSED: dict[str, tuple[Callable[[MlflowClient, str], object], dict[str, Any], str]] = {
    "another experiment": (
        lambda client, parent: None,
        {"experiment": "other", "resume": SWEEP},
        f"resume is {SWEEP}, a sweep of the experiment 'backprop-svc'; allowed: sweeps of the "
        "experiment 'other'; name the experiment 'backprop-svc', or leave resume out",
    ),
    "the same identity in another experiment": (
        lambda client, parent: None,
        {"experiment": "other", "sweep_id": SWEEP, "axes": {"lr": [1, 2, 3]}},
        f"sweep_id is {SWEEP}, a sweep of the experiment 'backprop-svc'; allowed",
    ),
    "a deleted parent": (
        lambda client, parent: client.delete_run(parent),
        {"resume": SWEEP},
        f"resume is {SWEEP}, a sweep that was deleted; allowed: a sweep that is there; restore "
        "it with `MLFLOW_TRACKING_URI=sqlite:///",
    ),
    "the identity of a deleted one": (
        lambda client, parent: client.delete_run(parent),
        {"sweep_id": SWEEP},
        f"sweep_id is {SWEEP}, a sweep that was deleted",
    ),
    "a mistyped identity": (
        lambda client, parent: client.set_terminated(parent, "KILLED"),
        {"resume": "f" * 16},
        f"no such sweep; allowed: one that can go on: {SWEEP} (KILLED, begun 20",
    ),
    "a mistyped identity where all are finished": (
        lambda client, parent: None,
        {"resume": "f" * 16},
        "no such sweep; allowed: one that can go on, but there is none; correct it, or leave",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_only_a_sweep_that_is_there_goes_on(tmp_path: Path, what: str) -> None:
    change, arguments, message = REFUSED[what]
    client = MlflowClient(stores.empty_database(tmp_path / "mlflow.db"))
    sweep(tmp_path, sweep_id=SWEEP)
    (parent,) = client.search_runs(["1"], f"attributes.run_name LIKE 'sweep%{SWEEP}%'")
    change(client, parent.info.run_id)
    with pytest.raises(bp.SettingError) as raised:
        sweep(tmp_path, **arguments)
    assert message in str(raised.value)
    told = re.search("`(.*)`", str(raised.value))
    if told is not None:
        # What is printed can be pasted.
        path = f"{Path(sys.executable).parent}:{CLEAN['PATH']}"
        own = {**CLEAN, "PATH": path}
        subprocess.run(told[1], shell=True, check=True, cwd=tmp_path, env=own)
        assert client.get_run(parent.info.run_id).info.lifecycle_stage == "active"
    assert len(children(client, parent.info.run_id)) == 2
    every = client.search_runs(
        [e.experiment_id for e in client.search_experiments()], "", ViewType.ALL
    )
    assert len(every) == 3


def test_a_mistyped_identity_begins_no_sweep(begun: Begun) -> None:
    done = begun.go_on(*CSV, *AXES, EPOCHS, "sweep.resume=ffffffffffffffff")
    assert done.returncode == 1
    assert done.stderr.startswith("backprop-svc: sweep.resume is ffffffffffffffff, and sqlite:")
    assert done.stderr.count("\n") == 1
    assert len(begun.client.search_runs(["1"], "tags.`backprop.kind` = 'sweep'")) == 1


def test_runs_under_a_parent_that_is_gone_are_no_runs_of_another(tmp_path: Path) -> None:
    """What `mlflow gc` may leave: nothing says whose they are."""
    client = MlflowClient(stores.empty_database(tmp_path / "mlflow.db"))
    sweep(tmp_path, sweep_id=SWEEP)
    (parent,) = client.search_runs(["1"], f"attributes.run_name LIKE 'sweep%{SWEEP}%'")
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
            db.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (parent.info.run_id,))
    db.close()
    with pytest.raises(bp.SettingError, match="is there already, under the parent"):
        sweep(tmp_path, sweep_id=SWEEP)
    assert len(children(client, parent.info.run_id)) == 2


GOLDEN = "8904c832016bd4da"


def test_bits_change_with_the_version_of_the_arithmetic_alone() -> None:
    """A sweep that goes on after an update has runs of one kind, or is refused."""
    sign = hashlib.sha256()
    x, y = np.linspace(-1, 1, 9), np.linspace(-1, 1, 9) ** 2
    guide = bp.train(GUIDE, [[0.5, 1.0], [-1.5, 0.7]], 2.0, 3.0, learning_rate=[0.1, 0.17])
    sign.update(guide.weights.tobytes())
    for optimizer in ("gradient_descent", "momentum", "nesterov", "adam"):
        network = bp.Network(1, 5, 1, bias=True, loss="mse")
        start = bp.initial_weights(network, [1, 2, 3], "he")
        result = bp.train(
            network, start, x, y, learning_rate=0.05, optimizer=optimizer, batch_size=4
        )
        sign.update(result.weights.tobytes())
        sign.update(result.last_loss.tobytes())
    assert ARITHMETIC == 2
    assert sign.hexdigest()[:16] == GOLDEN, "raise ARITHMETIC in sweep/plan.py, and renew this"
