"""Hydra's launchers, where they are installed: shards in other processes, on other nodes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

import backprop_svc as bp
import stores
from command import CLEAN, COMMAND

SWEEP = "a123456789abcdef"
GUIDE = bp.Network(1, 1, 1)
ALONE = {"joblib": "joblib", "submitit": "submitit_local"}
"""Launchers that need nothing but themselves, by their extra."""


def needs(extra: str) -> None:
    if find_spec(f"hydra_plugins.hydra_{extra}_launcher") is None:
        pytest.skip(f"the launcher is not installed: pip install 'backprop-svc[{extra}]'")


def kept(database: Path) -> tuple[list[tuple[str, ...]], list[tuple[str, str]]]:
    """The rows of all runs of the sweep, and the state of each parent."""
    with closing(sqlite3.connect(database)) as db:
        runs = db.execute(
            "SELECT run_uuid, name, key, value FROM runs JOIN metrics USING (run_uuid)"
            " WHERE run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'backprop.index')"
            " ORDER BY run_uuid, key, step"
        ).fetchall()
        parents = db.execute("SELECT name, status FROM runs WHERE name LIKE 'sweep %'")
        return runs, parents.fetchall()


@pytest.mark.parametrize("extra", ALONE)
def test_a_launcher_does_what_one_process_does(tmp_path: Path, extra: str) -> None:
    needs(extra)
    rates, weights = [0.01, 0.1, 0.3], [-1, 0.5, 1]
    uri = stores.empty_database(tmp_path / "one.db")
    folder = tmp_path / "folder"
    folder.mkdir()
    stores.empty_database(folder / "mlflow.db")
    words = [f"hydra/launcher={ALONE[extra]}", "train.lr=0.01,0.1,0.3", "init.w1=-1,0.5,1"]
    done = subprocess.run(
        [*COMMAND, "sweep", *words, "sweep.shards=2", f"sweep.id={SWEEP}"],
        cwd=folder, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(f"sweep {SWEEP}: 9 runs\n"), "a banner came first"
    assert "\n9 runs tracked: " in done.stdout
    bp.sweep(
        GUIDE, 2.0, 3.0, {"lr": rates, "w1": weights},
        tracking=uri, sweep_id=SWEEP, data="guide",
    )  # fmt: skip
    assert kept(folder / "mlflow.db") == kept(tmp_path / "one.db")
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "mlruns"}


@contextmanager
def ray_cluster(folder: Path, env: dict[str, str]) -> Iterator[str]:
    """Two nodes of Ray with one processor each, on loopback; yields the address."""
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    address = f"127.0.0.1:{stores.free_port()}"
    port = address.partition(":")[2]
    common = ["--num-cpus=1", "--node-ip-address=127.0.0.1", "--disable-usage-stats", "--block"]
    nodes = []
    with (folder / "ray.log").open("w") as log:
        try:
            for where in (
                ["--head", f"--port={port}", "--include-dashboard=false"],
                [f"--address={address}"],
            ):
                command = [*ray, "start", *where, *common, "--object-store-memory=100000000"]
                nodes.append(
                    subprocess.Popen(
                        command,
                        cwd=folder,
                        env=env,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
                state = [*ray, "health-check", f"--address={address}"]
                end = time.monotonic() + 90
                while subprocess.run(
                    state, env=env, capture_output=True, check=False
                ).returncode:
                    assert time.monotonic() < end, (folder / "ray.log").read_text()
                    time.sleep(0.5)
            yield address
        finally:
            for node in nodes:
                os.killpg(node.pid, signal.SIGTERM)
            for node in nodes:
                try:
                    node.wait(30)
                except subprocess.TimeoutExpired:
                    os.killpg(node.pid, signal.SIGKILL)
                    node.wait(30)


def workers() -> dict[int, str]:
    """Processes that do a job for Ray."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                title = (entry / "cmdline").read_text().strip("\0 ")
            except OSError:
                continue
            if title.startswith("ray::_run_job"):
                found[int(entry.name)] = title
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to find workers in")
def test_rays_cluster_does_the_shard_of_a_killed_worker_again(tmp_path: Path) -> None:
    needs("ray")
    database = tmp_path / "mlflow.db"
    uri = stores.empty_database(database)
    # The token of the cluster is kept in the home folder.
    env = {**CLEAN, "HOME": str(tmp_path), "RAY_TMPDIR": "/tmp"}
    count = 40_000
    with ray_cluster(tmp_path, env) as address:
        words = ["hydra/launcher=ray", f"hydra.launcher.ray.init.address='{address}'"]
        # The launcher sets it for every cluster, and Ray takes it for a new one only.
        words += ["+hydra.launcher.ray.init.object_store_memory=null"]
        words += ["train.lr=interval(0.01,0.1)", f"sweep.points={count}", "sweep.shards=4"]
        words += [f"sweep.id={SWEEP}", f"tracking.uri={uri}"]
        with (tmp_path / "said").open("w") as said:
            command = subprocess.Popen(
                [*COMMAND, "sweep", *words], cwd=tmp_path, env=env, stdout=said, stderr=said
            )
        killed = 0
        end = time.monotonic() + 300
        while command.poll() is None and time.monotonic() < end:
            with closing(sqlite3.connect(database, timeout=20)) as db:
                (there,) = db.execute(
                    "SELECT count(*) FROM runs WHERE run_uuid LIKE ?", (f"{SWEEP}%",)
                ).fetchone()
            jobs = workers()
            if killed < 1 and there and jobs:
                os.kill(min(jobs), signal.SIGKILL)
                killed += 1
            time.sleep(0.1)
        told = (tmp_path / "said").read_text()
        assert command.wait(10) == 0, told
    assert killed, told
    assert told.startswith(f"sweep {SWEEP}: {count:,} runs\n"), "a banner came first"
    with closing(sqlite3.connect(database)) as db:
        runs = db.execute(
            "SELECT run_uuid FROM tags WHERE key = 'backprop.index' ORDER BY run_uuid"
        ).fetchall()
        states = db.execute("SELECT DISTINCT status FROM runs").fetchall()
    assert runs == [(f"{SWEEP}{position:016x}",) for position in range(count)]
    assert states == [("FINISHED",)]
