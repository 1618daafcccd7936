"""What is written and read without MLflow is what its own client writes and reads."""

from __future__ import annotations

import io
import json
import math
import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from mlflow import MlflowClient
from mlflow.tracking.context import git_context
from mlflow.tracking.context.default_context import DefaultRunContext
from mlflow.tracking.context.git_context import GitRunContext
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import append_to_uri_path

import stores
from backprop_svc.tracking import client_of
from backprop_svc.tracking.artifacts import below, local_folder
from backprop_svc.tracking.client import ClientWriter
from backprop_svc.tracking.database import DatabaseWriter
from backprop_svc.tracking.entities import (
    MLFLOW_GIT_BRANCH,
    MLFLOW_GIT_REPO_URL,
    Client,
    Metric,
    Param,
    ViewType,
)
from backprop_svc.tracking.local import LocalClient
from backprop_svc.tracking.plan import Plan
from backprop_svc.tracking.record import RunRecord, Summary, Sweep
from backprop_svc.tracking.remote import connect
from backprop_svc.tracking.source import _of_the_program
from command import CLEAN, COMMAND


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def uri(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("store")
    if request.param == "sqlite":
        yield stores.empty_database(folder / "mlflow.db")
    else:
        with stores.postgres() as address:
            yield address


@pytest.fixture
def clients(uri: str) -> dict[str, Client]:
    local = client_of(uri)
    assert type(local) is LocalClient
    return {"local": local, "mlflow": connect(uri)}


def png(width: int, height: int) -> bytes:
    image = PIL.Image.linear_gradient("L").resize((width, height)).convert("RGBA")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def artifacts(run: Any) -> dict[str, Any]:
    """The artifacts of a run: texts as they are, pictures by their pixels."""
    root = local_folder(run.info.artifact_uri)
    assert root is not None
    found: dict[str, Any] = {}
    for file in sorted(root.rglob("*")):
        if file.is_dir():
            continue
        name = file.relative_to(root).as_posix()
        parts = name.replace("%", "+").split("+")
        if len(parts) > 1:
            # Neither its time nor its random number is the same.
            assert parts[1:4] == ["step", "0", "timestamp"]
            assert len(parts[5].removesuffix(".png")) == 36
            name = "+".join([name[: len(parts[0]) + 1], *parts[6:], file.suffix])
        content: Any = file.read_bytes()
        if file.suffix in {".png", ".webp"}:
            with PIL.Image.open(file) as image:
                content = image.format, image.mode, image.size, image.tobytes()
        found[name] = oct(file.stat().st_mode), content
    return found


def history(client: Any, run_id: str, key: str) -> list[tuple[int, int, str]]:
    """The history of a metric; of a NaN and a zero, which are one value to SQL, NaN is last."""

    def order(one: Any) -> tuple[int, int, float]:
        return one.timestamp, one.step, 0.0 if math.isnan(one.value) else one.value

    points = client.get_metric_history(run_id, key)
    return [
        (one.step, one.timestamp, repr(one.value))
        for _, equal in groupby(points, order)
        for one in sorted(equal, key=lambda one: repr(one.value))
    ]


def told(client: MlflowClient, run_id: str) -> dict[str, Any]:
    """All that a stock client tells of a run, but for what differs from run to run."""
    run = client.get_run(run_id)
    info = dict(run.info)
    assert info.pop("run_id") == run_id
    info.pop("run_uuid", None)
    own = f"/{info.pop('experiment_id')}/{run_id}/artifacts"
    assert info.pop("artifact_uri").endswith(own)
    histories = {key: history(client, run_id, key) for key in run.data.metrics}
    metrics = {key: repr(value) for key, value in run.data.metrics.items()}
    return {
        "info": info,
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": metrics,
        "histories": histories,
        "artifacts": artifacts(run),
    }


ODD = [math.nan, math.inf, -math.inf, 1e308, 5e-324, 0.1]
RECORD = RunRecord(
    name="a run with “signs” and a ' quote",
    params={"lr": "0.1", "long": "long " * 1400, "text": "tab\tnew\nline \\N", "empty": ""},
    metrics=[
        *(("odd", value, step) for step, value in enumerate(ODD)),
        *(("again", value, 3) for value in (2.0, 1.0, 2.0, math.nan)),
        ("a/b c.d-e:f", 1.5, 0),
        *((f"many{number}", float(number), -1) for number in range(1200)),
    ],
    tags={"outcome": "converged", "note": "n" * 7000},
    start_time=1_700_000_000_000,
    end_time=1_700_000_000_123,
    texts={"config.yaml": "a: ü\n", "notes.txt": ""},
    images={"training.png": lambda: png(30, 20)},
)


def test_a_single_run(uri: str) -> None:
    found = {}
    for kind in (ClientWriter, DatabaseWriter):
        writer = kind(uri, f"single {kind.kind}")
        found[kind.kind] = told(MlflowClient(uri), writer.write(RECORD))
    ours, theirs = found["DatabaseWriter"], found["ClientWriter"]
    assert ours == theirs
    assert len(ours["metrics"]) == 1203
    assert ours["info"]["status"] == "FINISHED"
    assert set(ours["artifacts"]) == {"config.yaml", "notes.txt", "training.png"}


def test_a_parent_that_is_stopped_taken_up_and_finished_twice(uri: str) -> None:
    summary = Summary(
        [("runs", 24.0, 0), ("sweep/loss", 2.0, 0), ("sweep/loss", 1.0, 1)],
        texts={"notes.txt": "n"},
        files={"results.parquet": b"\0\1"},
        figures={"sweep/one": lambda: png(600, 300), "two": lambda: png(300, 600)},
    )
    found = {}
    for kind, name in ((ClientWriter, "c" * 16), (DatabaseWriter, "d" * 16)):
        sweep = Sweep(name, "what for", config="config: 1", plan=Plan.of(axes="a"))
        for status in ("KILLED", "FINISHED", "FINISHED"):
            writer = kind(uri, f"parent {kind.kind}")
            parent = writer.open_sweep(sweep)
            assert MlflowClient(uri).get_run(parent).info.status == "RUNNING"
            writer.close_sweep(parent, status, summary)
        one = told(MlflowClient(uri), parent)
        tags = one["tags"]
        for key in [key for key in tags if key.startswith(("backprop.owner", "backprop.he"))]:
            # The claim has a name of its own.
            tags[".".join(key.split(".")[:3])] = len(json.loads(tags.pop(key)))
        assert tags.pop("backprop.writer") == kind.kind
        assert {tags.pop("backprop.sweep_id"), tags.pop("mlflow.runName")[6:]} == {name}
        info = one["info"]
        assert info.pop("run_name") == f"sweep {name}"
        assert info.pop("end_time") >= info["start_time"]
        begun = info.pop("start_time")
        assert all(time >= begun for own in one["histories"].values() for _, time, _ in own)
        one["histories"] = {
            key: [(step, value) for step, _, value in history]
            for key, history in one["histories"].items()
        }
        # Its links lead to itself.
        experiment = MlflowClient(uri).get_run(parent).info.experiment_id
        note = tags["mlflow.note.content"].replace(parent, "parent")
        tags["mlflow.note.content"] = note.replace(f"/experiments/{experiment}/", "/here/")
        found[kind.kind] = one
    assert found["DatabaseWriter"] == found["ClientWriter"]
    kept = found["DatabaseWriter"]
    assert len(kept["artifacts"]) == 3 + 4
    assert kept["histories"]["sweep/loss"] == [(0, "2.0"), (1, "1.0")]


def test_pictures_are_drawn_only_if_they_are_not_there(uri: str) -> None:
    drawn = []

    def draw() -> bytes:
        drawn.append(1)
        return png(3, 4)

    writer = DatabaseWriter(uri, "drawn")
    for _ in range(2):
        parent = writer.open_sweep(Sweep("e" * 16, plan=Plan.of(axes="a")))
        writer.close_sweep(parent, "FINISHED", Summary([], figures={"one": draw}))
    assert drawn == [1]


def test_values_of_metrics_in_any_order(uri: str, clients: dict[str, Client]) -> None:
    """Which value is the latest, and which is kept once, is decided as MLflow does."""
    chance = random.Random(1)
    stock = MlflowClient(uri)
    experiment = clients["mlflow"].create_experiment("any order", tags={})
    for _ in range(12):
        batches = [
            [
                Metric(
                    chance.choice("ab"),
                    chance.choice([1.0, 2.0, -1.0, 0.0, math.nan, math.inf]),
                    chance.choice([5, 6]),
                    chance.choice([0, 1, -1]),
                )
                for _ in range(chance.randrange(1, 9))
            ]
            for _ in range(3)
        ]
        # Older releases of MLflow fail where the same NaN comes twice.
        without, seen = [], set()
        for batch in batches:
            kept = []
            for one in batch:
                place = one.key, one.timestamp, one.step
                if not math.isnan(one.value) or place not in seen:
                    kept.append(one)
                if math.isnan(one.value):
                    seen.add(place)
            without.append(kept)
        batches = without
        found = []
        for client in clients.values():
            run_id = client.create_run(experiment, 5, {}, "a run").info.run_id
            for batch in batches:
                client.log_batch(run_id, batch)
            found.append(told(stock, run_id))
            run = client.get_run(run_id)
            assert {k: repr(v) for k, v in run.data.metrics.items()} == found[-1]["metrics"]
            assert history(client, run_id, "a") == found[-1]["histories"].get("a", [])
        assert found[0] == found[1], batches


REFUSED: dict[str, Any] = {
    "a sign in a metric": lambda c, r: c.log_batch(r, [Metric("a?", 1.0, 1)]),
    "a long metric": lambda c, r: c.log_batch(r, [Metric("a" * 251, 1.0, 1)]),
    "no plain metric": lambda c, r: c.log_batch(r, [Metric("a/../b", 1.0, 1)]),
    "a sign in a param": lambda c, r: c.log_batch(r, params=[Param("a@b", "1")]),
    "a long param": lambda c, r: c.log_batch(r, params=[Param("a" * 251, "1")]),
    "another param": lambda c, r: c.log_batch(r, params=[Param("there", "2")]),
    "a sign in a tag": lambda c, r: c.set_tag(r, "a@b", "1"),
    "an empty tag": lambda c, r: c.set_tag(r, "", "1"),
    "an absolute tag": lambda c, r: c.set_tag(r, "/a", "1"),
    "a tag that is not there": lambda c, r: c.delete_tag(r, "nothing"),
    "a run that is not there": lambda c, r: c.set_tag("f" * 32, "a", "1"),
    "no such run": lambda c, r: c.get_run("f" * 32),
    "an experiment that is there": lambda c, r: c.create_experiment("refused", tags={}),
    "an experiment without a name": lambda c, r: c.create_experiment("", tags={}),
    "a path to elsewhere": lambda c, r: c.log_text(r, "a", "../../a.txt"),
}


def test_the_same_is_refused(uri: str, clients: dict[str, Client]) -> None:
    experiment = clients["mlflow"].create_experiment("refused", tags={})
    for client in clients.values():
        run_id = client.create_run(experiment, 5, {}, "a run").info.run_id
        client.log_batch(run_id, params=[Param("there", "1")])
        before = told(MlflowClient(uri), run_id)
        for what, call in REFUSED.items():
            with pytest.raises(Exception) as error:  # noqa: PT011
                call(client, run_id)
            assert isinstance(error.value, client.failures), (what, client, error.value)
            assert told(MlflowClient(uri), run_id) == before, what
        client.delete_run(run_id)
        assert client.get_run(run_id).info.lifecycle_stage == "deleted"
        for call in (
            lambda c, r: c.set_tag(r, "a", "1"),
            lambda c, r: c.set_terminated(r, "FAILED"),
            lambda c, r: c.log_batch(r, [Metric("a", 1.0, 1)]),
        ):
            with pytest.raises(client.failures):
                call(client, run_id)
    MlflowClient(uri).delete_experiment(experiment)
    for client in clients.values():
        with pytest.raises(client.failures):
            client.create_run(experiment, 5, {}, "a run")
        found = client.get_experiment_by_name("refused")
        assert found is not None
        assert found.lifecycle_stage == "deleted"


def test_long_values_are_cut_or_refused(
    uri: str, clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = clients["mlflow"].create_experiment("long", tags={})
    found = []
    for client in clients.values():
        monkeypatch.delenv("MLFLOW_TRUNCATE_LONG_VALUES", raising=False)
        run_id = client.create_run(experiment, 5, {"mlflow.user": "me"}, "a run").info.run_id
        client.log_batch(run_id, params=[Param("long", "ü" * 6001)])
        client.set_tag(run_id, "long", "ü" * 8001)
        client.set_tag(run_id, "long", "ä" * 8002)
        monkeypatch.setenv("MLFLOW_TRUNCATE_LONG_VALUES", "false")
        with pytest.raises(client.failures):
            client.log_batch(run_id, params=[Param("longer", "ü" * 6001)])
        with pytest.raises(client.failures):
            client.set_tag(run_id, "longer", "ü" * 8001)
        found.append(told(MlflowClient(uri), run_id))
    assert found[0] == found[1]
    assert found[0]["tags"]["long"] == "ä" * 8000
    assert found[0]["info"]["user_id"] == "me"


def test_searches(clients: dict[str, Client]) -> None:
    experiment = clients["mlflow"].create_experiment("searched", tags={})
    other = clients["mlflow"].create_experiment("searched too", tags={})
    for number in range(12):
        tags = {"kind": "sweep" if number % 3 else "Sweep", "digest": "d" * (number % 2)}
        own = tags if number != 5 else {}
        where = other if number == 7 else experiment
        run = clients["mlflow"].create_run(where, 100 - number % 4, own, f"run {number}")
        if number % 4 == 1:
            clients["mlflow"].set_terminated(run.info.run_id, "FINISHED")
        if number == 8:
            clients["mlflow"].delete_run(run.info.run_id)
    questions: list[dict[str, Any]] = [
        {},
        {"run_view_type": ViewType.ALL},
        {"run_view_type": ViewType.DELETED_ONLY},
        {"filter_string": "tags.`kind` = 'sweep'"},
        {"filter_string": "tags.kind = 'sweep' and tags.`digest` LIKE '_%'"},
        {"filter_string": "tags.kind LIKE 's%'"},
        {"filter_string": "tags.`digest` != '' and attributes.status != 'FINISHED'"},
        {"filter_string": "attributes.run_name = 'run 3'"},
        {"order_by": ["attributes.start_time ASC"]},
        {"order_by": ["attributes.start_time DESC"], "max_results": 3},
        {"filter_string": "tags.kind = 'nothing'"},
    ]
    for asked in questions:
        for places in ([experiment], [experiment, other]):
            answers = []
            for client in clients.values():
                names, token = [], None
                while True:
                    page = client.search_runs(places, **asked, page_token=token)
                    names.append([(run.info.run_name, dict(run.data.tags)) for run in page])
                    token = page.token
                    if token is None:
                        break
                answers.append(names)
            assert answers[0] == answers[1], asked
    with pytest.raises(NotImplementedError, match="no such condition"):
        clients["local"].search_runs([experiment], "metrics.a = 1")
    with pytest.raises(NotImplementedError, match="no such order"):
        clients["local"].search_runs([experiment], order_by=["metrics.a"])


def test_experiments(uri: str, clients: dict[str, Client]) -> None:
    tags = {"mlflow.experimentKind": "custom_model_development"}
    stock, seen = MlflowClient(uri), []
    for name, client in clients.items():
        number = client.create_experiment(f"made by {name}", tags=tags)
        found = dict(stock.get_experiment(number))
        assert found.pop("artifact_location") == f"{Path.cwd()}/mlruns/{number}"
        assert (found.pop("name"), found.pop("experiment_id")) == (f"made by {name}", number)
        assert found.pop("creation_time") == found.pop("last_update_time")
        seen.append(found)
    assert seen[0] == seen[1]
    lists = [
        sorted(
            (e.experiment_id, e.name, e.artifact_location) for e in client.search_experiments()
        )
        for client in clients.values()
    ]
    assert lists[0] == lists[1]


@pytest.mark.parametrize(
    "place",
    ["/a/b", "/a/b/", "file:///a/b", "file:///a%20b/c", "s3://bucket/a", "s3://bucket",
     "s3://bucket/a?x=y", "mlflow-artifacts:/1", "dbfs:/a"],
)  # fmt: skip
def test_addresses_of_artifacts(place: str) -> None:
    assert below(place, "r", "artifacts") == append_to_uri_path(place, "r", "artifacts")
    folder = local_folder(place)
    if place.startswith(("/", "file:")):
        assert str(folder) == local_file_uri_to_path(place).rstrip("/")
    else:
        assert folder is None


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize("where", ["", "inner", "ignored", "ignored/deep", "../outside"])
@pytest.mark.parametrize("state", ["empty", "commit", "remote", "detached", "named"])
def test_who_ran_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, where: str
) -> None:
    repository = tmp_path / "repository"
    folder = repository / where
    for each in (repository, folder):
        each.mkdir(parents=True, exist_ok=True)
    program = folder / "program.py"
    program.touch()
    git(repository, "init", "-b", "trunk")
    (repository / ".gitignore").write_text("ignored\n")
    if state != "empty":
        git(repository, "add", ".gitignore")
        git(repository, "commit", "-m", "one")
    if state == "remote":
        git(repository, "remote", "add", "z", "https://user:token@example.com/z.git?a=b")
        git(repository, "remote", "add", "a", "git@example.com:a.git")
    if state == "detached":
        git(repository, "checkout", "--detach")
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("HOME", str(tmp_path))
    if state == "named":
        (tmp_path / ".mlflow").mkdir()
        credentials = "[mlflow]\nmlflow_tracking_username = she\n"
        (tmp_path / ".mlflow" / "credentials").write_text(credentials)
    if where == "inner":
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "he")
    contexts = [DefaultRunContext(), GitRunContext()]
    theirs = {k: v for one in contexts if one.in_context() for k, v in one.tags().items()}
    ours = _of_the_program()
    if not hasattr(git_context, "MLFLOW_GIT_BRANCH"):
        # Older releases know the commit only.
        ours = {
            k: v for k, v in ours.items() if k not in {MLFLOW_GIT_BRANCH, MLFLOW_GIT_REPO_URL}
        }
    assert ours == theirs


def imported(folder: Path, *words: str) -> set[str]:
    """Run a command, and return the modules that it imported."""
    done = subprocess.run(
        [COMMAND[0], "-X", "importtime", *COMMAND[1:], *words],
        cwd=folder, env=CLEAN, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


@pytest.mark.parametrize("words", [["train"], ["sweep", "train.lr=0.1,0.2"], ["explain"]])
def test_a_command_that_tracks_nothing_imports_no_sqlalchemy(
    tmp_path: Path, words: list[str]
) -> None:
    untracked = [] if words == ["explain"] else ["tracking=none"]
    found = imported(tmp_path, *words, *untracked)
    assert "hydra" in found
    assert not {"mlflow", "matplotlib", "pandas", "sqlalchemy"} & found


@pytest.mark.parametrize("words", [["train"], ["sweep", "train.lr=0.1,0.2"]])
def test_a_command_does_not_import_mlflow(tmp_path: Path, words: list[str]) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    found = imported(tmp_path, *words)
    assert {"sqlalchemy", "hydra"} <= found
    assert not {"mlflow", "matplotlib", "pandas"} & found
    runs = MlflowClient(uri).search_runs(["1"])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert any("config.yaml" in artifacts(run) for run in runs)
