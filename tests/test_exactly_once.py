"""Sweeps that are killed, stopped and doubled, in real processes."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

import stores
from command import CLEAN, COMMAND, Running

AXES = [
    "train.lr=tag(log,interval(0.001,1))",
    "init.w1=interval(-2,2)",
    "sweep.points=[50,120]",
]
RUNS = 6000


def start(folder: Path, *more: str) -> Running:
    # A server on a busy machine may take long for its first answer.
    return Running(folder, "sweep", *AXES, *more, MLFLOW_HTTP_REQUEST_TIMEOUT="120")


def finish(process: Running) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def content(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all runs by position, without what differs from sweep to sweep."""
    with sqlite3.connect(folder / "mlflow.db") as db:
        queries = {
            "runs": "select substr(run_uuid, 17), name, status from runs"
            " where name like 'lr=%'",
            "metrics": "select substr(run_uuid, 17), key, step, value, is_nan from metrics"
            " where run_uuid in (select run_uuid from runs where name like 'lr=%')",
            "params": "select substr(run_uuid, 17), key, value from params"
            " where run_uuid in (select run_uuid from runs where name like 'lr=%')",
            "tags": "select substr(run_uuid, 17), key, value from tags"
            " where key in ('outcome', 'backprop.index')",
        }
        found = {
            name: db.execute(f"{query} order by 1, 2, 3").fetchall()
            for name, query in queries.items()
        }
    db.close()
    return found


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[tuple[object, ...]]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    stores.empty_database(folder / "mlflow.db")
    finish(start(folder))
    found = content(folder)
    assert len(found["runs"]) == RUNS
    return found


def test_a_sweep_killed_at_any_moment_ends_as_if_undisturbed(
    tmp_path: Path, undisturbed: dict[str, list[tuple[object, ...]]]
) -> None:
    moments = random.Random(20261124)
    begun = "0123456789abcdef"
    kills = 0
    for _ in range(6):
        # Killed before it began or after: the same command goes on.
        process = start(tmp_path, f"sweep.id={begun}")
        try:
            process.wait(moments.uniform(0.3, 4))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills
    out = finish(start(tmp_path, f"sweep.id={begun}"))
    assert re.search(r"runs tracked", out)
    assert content(tmp_path) == undisturbed
    out = finish(start(tmp_path, f"sweep.resume={begun}"))
    assert f"0 runs tracked, {RUNS:,} were there" in out
    assert content(tmp_path) == undisturbed
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("backprop-svc")
    assert experiment is not None
    parents = client.search_runs([experiment.experiment_id], "tags.`backprop.kind` = 'sweep'")
    assert [parent.info.status for parent in parents] == ["FINISHED"]


def test_two_sweeps_into_one_database(tmp_path: Path) -> None:
    both = [start(tmp_path), start(tmp_path)]
    for process in both:
        finish(process)
    assert len(content(tmp_path)["runs"]) == 2 * RUNS


def test_ctrl_c_keeps_what_was_written(
    tmp_path: Path, undisturbed: dict[str, list[tuple[object, ...]]]
) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    finish(start(tmp_path, "sweep.points=2", "init.w2=7"))
    process = start(tmp_path)
    database = tmp_path / "mlflow.db"
    wait_for_rows(database, 100)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    resume = re.search(r"sweep\.resume=([0-9a-f]{16})", err)
    assert resume, err
    assert "Traceback" not in err
    client = MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("backprop-svc")
    assert experiment is not None
    (parent,) = client.search_runs(
        [experiment.experiment_id],
        f"tags.`backprop.sweep_id` = '{resume[1]}' and tags.`backprop.kind` = 'sweep'",
    )
    assert parent.info.status == "KILLED"
    tracked = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    there = len(client.search_runs([experiment.experiment_id], tracked, max_results=RUNS))
    assert f"\n{there:,} runs are in the store\n" in f"\n{err}"
    told = finish(start(tmp_path, "sweep.resume=last"))
    assert f"  {there:,} of them are in the store\n  still needs" in told
    assert f"{RUNS - there:,} runs tracked, {there:,} were there" in told
    kept = content(tmp_path)["runs"]
    assert set(undisturbed["runs"]) <= set(kept)
    assert len(kept) == RUNS + 4
    assert client.get_run(parent.info.run_id).info.status == "FINISHED"


def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    finish(start(tmp_path, "sweep.points=2"))
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    process = start(tmp_path, "sweep.points=3")
    time.sleep(2)
    holder.execute("BEGIN IMMEDIATE")
    time.sleep(8)
    holder.execute("ROLLBACK")
    holder.close()
    finish(process)
    assert len(content(tmp_path)["runs"]) == 13


def test_ctrl_c_is_heard_while_the_database_is_locked(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    process = start(tmp_path, "tracking.history=every:5")
    wait_for_rows(tmp_path / "mlflow.db", 100)
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None, timeout=0)
    held = False
    while not held:
        # Before the sweep is at its end, even if this process has to wait for a processor.
        process.send_signal(signal.SIGSTOP)
        with contextlib.suppress(sqlite3.OperationalError):
            holder.execute("BEGIN IMMEDIATE")
            held = True
        process.send_signal(signal.SIGINT if held else signal.SIGCONT)
        time.sleep(0.005)
    process.send_signal(signal.SIGCONT)
    stop = time.monotonic()
    time.sleep(4)
    # It waits for the lock, so that the sweep does not seem to go on.
    assert process.poll() is None
    holder.execute("ROLLBACK")
    holder.close()
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert time.monotonic() - stop < 60
    assert f"another program has locked {tmp_path}/mlflow.db; waiting for it" in err
    assert "what was written stays; go on with" in err
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        (status,) = db.execute("select status from runs where name not like 'lr=%'").fetchone()
    db.close()
    assert status == "KILLED"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with stores.mounted(tmp_path / "disk", "size=300m", "a full disk") as folder:
        yield folder


def test_a_full_disk_stops_a_sweep_that_can_be_resumed(
    small_disk: Path, undisturbed: dict[str, list[tuple[object, ...]]]
) -> None:
    stores.empty_database(small_disk / "mlflow.db")
    process = start(small_disk)
    # One that would not fit is refused: somebody else fills the disk meanwhile.
    wait_for_rows(small_disk / "mlflow.db", 500)
    free = shutil.disk_usage(small_disk).free
    # The sweep takes some of the room at the same time.
    with contextlib.suppress(OSError):
        (small_disk / "of somebody else").write_bytes(bytes(free))
    _, err = process.communicate()
    assert process.returncode == 1
    # MLflow's client adds an experiment of its own, for which there is no room either.
    subprocess.run(["mount", "-o", "remount,size=1g", str(small_disk)], check=True)
    client = MlflowClient(f"sqlite:///{small_disk}/mlflow.db")
    (parent,) = client.search_runs(["1"], "tags.`backprop.kind` = 'sweep'")
    assert parent.info.status == "FAILED"
    # Of the database, or of the file with the weights.
    assert "disk is full" in err or "No space left" in err
    assert "sweep.resume=" in err
    assert "Traceback" not in err
    finish(start(small_disk, "sweep.resume=last"))
    assert content(small_disk) == undisturbed


def finished(uri: str) -> list[int]:
    """Positions of the runs that are there, each as often as it is there."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("backprop-svc")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    tags = [run.data.tags for run in runs]
    return sorted(int(t["backprop.index"]) for t in tags if "backprop.index" in t)


def wait_for_rows(database: Path, count: int) -> None:
    """Wait until a store has more runs: without MLflow, which would be busy with them."""
    end = time.monotonic() + 180
    while time.monotonic() < end:
        with closing(sqlite3.connect(database, timeout=30)) as db:
            (found,) = db.execute("select count(*) from runs").fetchone()
        if found > count:
            return
        time.sleep(0.02)
    raise AssertionError("no runs came")


def test_a_proxy_that_fails_now_and_then_is_asked_again(tmp_path: Path) -> None:
    store = stores.empty_database(tmp_path / "mlflow.db")
    with (
        stores.mlflow_server(store, tmp_path) as address,
        stores.flaky(address, 0.05) as proxy,
    ):
        finish(start(tmp_path, "sweep.points=[5,6]", f"tracking.uri={proxy}"))
        assert finished(address) == list(range(30))
        parent = "tags.`backprop.kind` = 'sweep'"
        assert len(MlflowClient(address).search_runs(["1"], parent)) == 1


def test_a_server_that_is_away_is_waited_for(tmp_path: Path) -> None:
    store, port = stores.empty_database(tmp_path / "mlflow.db"), stores.free_port()
    uri = f"tracking.uri=http://127.0.0.1:{port}"
    few = ["sweep.points=[8,8]", uri]
    with stores.mlflow_server(store, tmp_path, port) as address:
        process = start(tmp_path, *few)
        wait_for_rows(tmp_path / "mlflow.db", 10)
    time.sleep(3)
    with stores.mlflow_server(store, tmp_path, port) as address:
        finish(process)
        assert finished(address) == list(range(64))
        process = start(tmp_path, *few, "sweep.id=00000000deadbeef")
        wait_for_rows(tmp_path / "mlflow.db", 75)
    # It stays away: the sweep stops in bounded time, and can be taken up again.
    _, err = process.communicate()
    assert process.returncode == 1
    assert "sweep.resume=00000000deadbeef" in err
    assert "Traceback" not in err
    with stores.mlflow_server(store, tmp_path, port) as address:
        finish(start(tmp_path, *few, "sweep.resume=last"))
        assert finished(address) == sorted([*range(64), *range(64)])


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_postgresql_that_drops_its_connections(tmp_path: Path, driver: str) -> None:
    """Ended by an administrator, then by the crash of a process of the server's: a restart."""
    if driver == "psycopg2":
        pytest.importorskip("psycopg2")
    with stores.postgres_server(tmp_path / "postgres") as address:
        uri = address.replace("+psycopg:", f"+{driver}:")
        finish(start(tmp_path, f"tracking.uri={uri}", "sweep.points=2"))
        process = start(tmp_path, f"tracking.uri={uri}")
        engine = sa.create_engine(address, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
        copying = "FROM pg_stat_activity WHERE query LIKE 'COPY metrics%' AND state = 'active'"
        dropped = crashed = 0
        while process.poll() is None and not crashed:
            with engine.connect() as connection:
                if dropped < 2:
                    drop = f"SELECT pg_terminate_backend(pid) {copying}"
                    dropped += len(connection.execute(sa.text(drop)).fetchall())
                elif pids := connection.execute(sa.text(f"SELECT pid {copying}")).fetchall():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pids[0][0], signal.SIGKILL)
                        crashed += 1
            time.sleep(0.02)
        assert (dropped > 1, crashed) == (True, 1)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        assert "Traceback" not in err
        # What was written although its connection was lost was there then.
        assert " runs tracked" in out
        with engine.connect() as connection:
            count = "SELECT count(*), count(DISTINCT run_uuid) FROM runs WHERE name LIKE 'lr=%'"
            assert tuple(connection.execute(sa.text(count)).one()) == (RUNS + 4, RUNS + 4)
        engine.dispose()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_end_that_others_ask_for_is_no_failure(
    tmp_path: Path, number: signal.Signals
) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    process = start(tmp_path)
    wait_for_rows(tmp_path / "mlflow.db", 100)
    # A service manager sends both, the second in the middle of what the first began.
    for each in (number, signal.SIGHUP):
        process.send_signal(each)
    _, err = process.communicate()
    # Which of them Python sees first is chance.
    assert process.returncode in {128 + number, 128 + signal.SIGHUP}, err
    assert "Traceback" not in err
    assert "sweep.resume=" in err
    (parent,) = MlflowClient(uri).search_runs(["1"], "tags.`backprop.kind` = 'sweep'")
    assert parent.info.status == "KILLED"


def test_a_terminal_that_is_closed_kills_its_sweep(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    process, terminal = pty.fork()
    if not process:
        os.chdir(tmp_path)
        os.execve(COMMAND[0], [*COMMAND, "sweep", *AXES, "train.threads=1"], CLEAN)
    wait_for_rows(tmp_path / "mlflow.db", 100)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) != 0
    (parent,) = MlflowClient(uri).search_runs(["1"], "tags.`backprop.kind` = 'sweep'")
    assert parent.info.status == "KILLED"
