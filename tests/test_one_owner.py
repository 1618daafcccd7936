"""One process at a time writes a sweep; what two of them write agrees all the same."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import stores
from backprop_svc.errors import SettingError
from backprop_svc.tracking import client_of
from backprop_svc.tracking.client import ClientWriter
from backprop_svc.tracking.database import DatabaseWriter
from backprop_svc.tracking.lease import HEARTBEAT, OWNER, Lease
from backprop_svc.tracking.plan import Plan
from backprop_svc.tracking.record import Sweep
from command import Running
from test_tracking import chunk

POINTS = 60
AXES = ["train.lr=interval(0.01,0.3)", "init.w1=interval(0.1,1)", "sweep.points=[12,5]"]
IDENTITY = "abcdef0123456789"


def start(folder: Path, uri: str, *more: str) -> Running:
    return Running(folder, "sweep", *AXES, f"tracking.uri={uri}", *more)


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "http"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp(request.param)
    file = stores.empty_database(folder / "mlflow.db")
    if request.param == "sqlite":
        yield file
    elif request.param == "http":
        with stores.mlflow_server(file, folder) as address:
            yield address
    else:
        with stores.postgres() as address:
            yield address


def parent_of(client: MlflowClient, sweep: str = IDENTITY) -> Run:
    experiments = [e.experiment_id for e in client.search_experiments()]
    (found,) = client.search_runs(experiments, f"attributes.run_name LIKE 'sweep%{sweep}%'")
    return found


def positions(client: MlflowClient, parent: Run) -> list[int]:
    condition = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    runs = client.search_runs([parent.info.experiment_id], condition)
    assert {run.info.status for run in runs} <= {"FINISHED"}
    return sorted(int(run.data.tags["backprop.index"]) for run in runs)


def claims(client: MlflowClient, run_id: str) -> dict[str, str]:
    tags = client.get_run(run_id).data.tags
    return {name: text for name, text in tags.items() if name.startswith(OWNER)}


def test_two_resumes_at_the_same_time(store: str, tmp_path: Path) -> None:
    """After a kill two processes take the sweep up: one does, the other says who has it."""
    client = MlflowClient(store)
    first = start(tmp_path, store, f"sweep.id={IDENTITY}")
    end = time.monotonic() + 120
    while time.monotonic() < end and first.poll() is None:
        experiments = [e.experiment_id for e in client.search_experiments()]
        if client.search_runs(experiments, f"tags.`backprop.sweep_id` = '{IDENTITY}'"):
            break
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    two = [start(tmp_path, store, f"sweep.resume={IDENTITY}") for _ in range(2)]
    ends = [process.communicate() for process in two]
    done = [out for process, (out, _) in zip(two, ends, strict=True) if process.returncode == 0]
    refused = [err for process, (_, err) in zip(two, ends, strict=True) if process.returncode]
    assert done, ends
    told = (
        rf"backprop-svc: the sweep {IDENTITY} is being written by process \d+ on \S+, which "
        r"gave a sign of life \d+ s ago; allowed: one process at a time; "
        r"wait until it ends, or stop it"
    )
    for line in refused:
        assert re.fullmatch(rf"{told}\n", line), line
    parent = parent_of(client)
    assert parent.info.status == "FINISHED"
    assert positions(client, parent) == list(range(POINTS))


def number_of(client: MlflowClient, run_id: str, owner: Lease) -> int:
    """Return the number of the only claim: one that came too late has one, too."""
    (claim,) = claims(client, run_id)
    number, name = claim.removeprefix(OWNER).split(".")
    assert name == owner.name
    return int(number)


def test_of_many_claims_one_is_the_owner(store: str) -> None:
    client = MlflowClient(store)
    writer = ClientWriter(store, "claims")
    run = client.create_run(writer.experiment)

    def take(_: int) -> Lease | SettingError:
        try:
            return Lease.take(client_of(store), run.info.run_id)
        except SettingError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(take, range(8)))
    owners = [lease for lease in found if isinstance(lease, Lease)]
    assert len(owners) == 1, found
    first = number_of(client, run.info.run_id, owners[0])
    owners[0].give_back()
    again = Lease.take(client_of(store), run.info.run_id)
    assert number_of(client, run.info.run_id, again) > first
    with pytest.raises(SettingError, match="was taken over by process"):
        owners[0].confirm()
    again.give_back()


class FailsOnce:
    """A client of a server that fails between a claim and what follows."""

    def __init__(self, client: Any) -> None:
        self._client, self._calls = client, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def set_tag(self, *given: str) -> None:
        self._calls += 1
        if self._calls == 2:
            raise ConnectionError("the server failed")
        self._client.set_tag(*given)


def test_a_claim_that_failed_is_not_in_the_way_of_the_next(store: str) -> None:
    client: Any = FailsOnce(client_of(store))
    run = MlflowClient(store).create_run(ClientWriter(store, "claims").experiment)
    with pytest.raises(ConnectionError, match="the server failed"):
        Lease.take(client, run.info.run_id)
    Lease.take(client, run.info.run_id).give_back()


def test_a_process_elsewhere_is_given_up_when_it_is_silent(store: str) -> None:
    client = MlflowClient(store)
    writer = ClientWriter(store, "elsewhere")
    run = client.create_run(writer.experiment)
    run_id = run.info.run_id
    Lease.take(client_of(store), run_id).give_back()
    (owner,) = claims(client, run_id).values()
    far = json.loads(owner)
    far["process"] |= {"host": "far", "machine": "far", "pid": 7}
    client.set_tag(run_id, f"{OWNER}2.{far['lease']}", json.dumps(far))
    client.set_tag(run_id, HEARTBEAT, json.dumps({**far, "time": time.time() - 5}))
    with pytest.raises(SettingError, match=r"process 7 on far, .* try again in \d+ s$"):
        Lease.take(client_of(store), run_id)
    client.set_tag(run_id, HEARTBEAT, json.dumps({**far, "time": time.time() - 60}))
    Lease.take(client_of(store), run_id).give_back()


def test_who_lost_a_sweep_writes_no_more(store: str) -> None:
    """A process that slept for so long that another one took its sweep."""
    kind = ClientWriter if store.startswith("http") else DatabaseWriter
    sweep = Sweep("a" * 16, plan=Plan.of(axes="a"))
    sleeper = kind(store, "lost")
    parent = sleeper.open_sweep(sweep)
    runs = chunk(sweep="a" * 16)
    assert sleeper.write_runs(runs.select(np.arange(2)), parent) == 2
    client = MlflowClient(store)
    (mine,) = claims(client, parent).values()
    client.set_tag(
        parent, f"{OWNER}2.other", json.dumps({**json.loads(mine), "lease": "other"})
    )
    with pytest.raises(SettingError, match="was taken over by process"):
        sleeper.write_runs(runs, parent)
    sleeper.close_sweep(parent, "FAILED")
    assert client.get_run(parent).info.status == "RUNNING"
    assert len(positions(client, client.get_run(parent))) == 2


def test_jobs_that_write_the_same_runs_at_the_same_time_agree(store: str) -> None:
    """The jobs of a launcher have one parent; a database gives each run to one of them."""
    if store.startswith("http"):
        pytest.skip("the ids of runs are the server's: there the lease is what helps")
    sweep = Sweep("b" * 16, plan=Plan.of(axes="a"))
    owner = DatabaseWriter(store, "jobs")
    parent = owner.open_sweep(sweep)
    runs = [chunk(first, sweep="b" * 16) for first in range(0, 600, 6)]

    def job(_: int) -> int:
        writer = DatabaseWriter(store, "jobs")
        assert writer.open_sweep(Sweep("b" * 16, lease=owner.lease)) == parent
        written = sum(writer.write_runs(some, parent) for some in runs)
        writer.leave_sweep()
        return written

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(job, range(4))) == 600
    owner.close_sweep(parent, "FINISHED")
    client = MlflowClient(store)
    assert positions(client, client.get_run(parent)) == list(range(600))


def test_a_stopped_process_keeps_its_sweep(tmp_path: Path) -> None:
    """SIGSTOP, as Ctrl-Z does: it may go on any moment, so that nobody else may."""
    uri = stores.empty_database(tmp_path / "mlflow.db")
    client = MlflowClient(uri)
    long = ("train.epochs=20000", "tracking.history=last", "sweep.points=[100,300]")
    process = start(tmp_path, uri, *long, f"sweep.id={IDENTITY}")
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        runs = client.search_runs(["1"]) if client.search_experiments() else []
        if any(HEARTBEAT in run.data.tags for run in runs):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)
    try:
        again = start(tmp_path, uri, *long, "sweep.resume=last")
        _, err = again.communicate()
        assert again.returncode == 1
        assert f"is being written by process {process.pid} on " in err
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 143, err
    assert parent_of(client).info.status == "KILLED"
