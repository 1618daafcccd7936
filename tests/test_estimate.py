"""What a sweep says that it needs, and what it then takes."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backprop_svc as bp
import stores
from backprop_svc.datasets import Dataset
from backprop_svc.errors import RoomError
from backprop_svc.memory import told
from backprop_svc.sweep.axes import Axis
from backprop_svc.sweep.estimate import SUMMARY, TABLE, Estimate
from backprop_svc.sweep.experiment import Experiment
from backprop_svc.sweep.parent import Tracking
from backprop_svc.sweep.space import Grid
from backprop_svc.train import SHARED
from command import call

GUIDE = Experiment(
    network=bp.Network(1, 1, 1),
    data=Dataset(np.array([[2.0]]), np.array([[3.0]])),
    validation=None,
    init=np.array([0.5, 1.0]),
    rates={"train.lr": 0.1},
    settings=dict(SHARED),
    data_name="guide",
)
AXES: dict[str, Axis] = {"lr": bp.LogInterval(0.01, 1), "w1": np.linspace(-2, 2, 10)}
GRID = Grid({"train.lr": np.geomspace(0.01, 1, 100)}, {"init.w1": np.linspace(-2, 2, 10)})
NEEDED = Estimate(
    runs=10**9,
    measured=64,
    training=1.0,
    writing=1.0,
    memory=1000,
    memory_without_table=100,
    store={"all": 18 * 10**12, "last": 2 * 10**12, "none": 10**12},
    free=10**14,
)


def size(database: Path) -> int:
    """Bytes that its tables take, without what a later sweep would fill."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return database.stat().st_size - int(free) * 16384


@pytest.mark.parametrize(
    ("history", "also"),
    [
        ("all", {}),
        ("every:5", {}),
        ("last", {}),
        ("none", {}),
        ("every:5", {"sharpness": True, "smallest_eigenvalue": True, "lyapunov_epochs": 9}),
    ],
)
def test_the_store_takes_what_was_said(
    tmp_path: Path, history: str, also: dict[str, Any]
) -> None:
    uri = stores.empty_database(tmp_path / "kept.db")
    before = size(tmp_path / "kept.db")
    asked = replace(GUIDE, settings={**SHARED, **also})
    needed = Estimate.of(asked, GRID, len(GRID), Tracking(uri, history=history), table=True)
    guide = bp.Network(1, 1, 1)
    outcomes = bp.sweep(
        guide, 2.0, 3.0, AXES,
        points=100, tracking=uri, history=history, progress=False, **also,
    )  # fmt: skip
    # Pages are filled by some three quarters at least, and never by more than all.
    taken = size(tmp_path / "kept.db") - before
    assert 0.75 < needed.store[history] / taken < 1.25
    kept = sum(chunk.nbytes for chunk in outcomes.chunks)
    assert needed.memory_without_table == kept + SUMMARY * len(outcomes)
    assert needed.memory == needed.memory_without_table + TABLE * len(outcomes)


def test_a_sample_is_measured_in_a_moment_whatever_a_run_takes() -> None:
    for endless in ({"epochs": 10**12, "tolerance": 0.0}, {"lyapunov_epochs": 10**12}):
        work = replace(GUIDE, settings={**SHARED, **endless})
        needed = Estimate.of(work, GRID, len(GRID), None, table=False)
        # A thousand runs of 10^12 epochs: no machine does 10^11 of them in a second.
        assert needed.training > 10**4
    assert needed.writing is None
    assert needed.store == {}
    sharp = replace(
        GUIDE,
        network=bp.Network(1, 32, 1, bias=True),
        init=np.ones(97),
        settings={**SHARED, "epochs": 500, "sharpness": True},
    )
    rates = Grid({"train.lr": np.geomspace(1e-4, 1e-3, 100)})
    slow = Estimate.of(sharp, rates, 100, Tracking("sqlite:///no.db"), table=False)
    assert slow.measured < 64
    twice = Estimate.of(GUIDE, GRID, len(GRID), None, table=False, share=2.0)
    assert twice.memory == Estimate.of(GUIDE, GRID, len(GRID), None, table=False).memory


def test_what_does_not_fit_is_refused_with_what_helps() -> None:
    NEEDED.refuse()
    with pytest.raises(RoomError) as error:
        replace(NEEDED, free=3 * 10**12).refuse()
    assert str(error.value) == (
        "the sweep needs some 18 TB in the store for 1,000,000,000 runs; allowed: what fits "
        "into the 3 TB that are free; write tracking.history=last (2 TB) or "
        "tracking.history=none (1 TB) or tracking=none, or give fewer points"
    )
    with pytest.raises(MemoryError, match=r"history=none .1 TB. or tracking=None, or give"):
        replace(NEEDED, free=10**12).refuse(history="history=", none="tracking=None")
    with pytest.raises(RoomError, match=r"write tracking=none and leave sweep.results out, or"):
        replace(NEEDED, memory=10**18).refuse()
    with pytest.raises(RoomError, match="are free; give fewer points, or sweep a part"):
        replace(NEEDED, memory=10**18, memory_without_table=10**18).refuse()


MANY = "sweep.points=[1000000,1000000] train.lr=interval(0.1,1) init.w1=interval(-2,2)"
TOO_MANY = {
    MANY: "needs some 18,000 TB in the store for 1,000,000,000,000 runs",
    f"{MANY} tracking.uri=postgresql://127.0.0.1:1/x": "needs some 3",
    f"{MANY} tracking=none": "in memory for 1,000,000,000,000 runs; allowed: what fits into",
    f"{MANY} tracking=none sweep.dry_run=true": "give fewer points, or sweep a part of them",
    "train.lr=interval(0.1,1) sweep.points=1000000000000": "needs more than 60 TB of memory",
    "train.lr=range(0.1,1e9,1e-9) tracking=none": "needs more than",
    "train.epochs=range(0,1000000000000) tracking=none": "needs more than 1,200 TB of memory",
}


@pytest.mark.parametrize("words", TOO_MANY)
def test_too_many_points_are_refused_before_they_are_made(tmp_path: Path, words: str) -> None:
    done = call(tmp_path, "sweep", *words.split())
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert TOO_MANY[words] in line.replace("19 PB", "18,000 TB").replace("1.2 PB", "1,200 TB")
    assert list(tmp_path.iterdir()) == []


def test_python_refuses_them_too(tmp_path: Path) -> None:
    many: dict[str, Axis] = {"lr": np.linspace(0.1, 1, 10**6), "w1": np.linspace(0.1, 1, 10**6)}
    guide = bp.Network(1, 1, 1)
    with pytest.raises(MemoryError, match="more than 60 TB of memory"):
        bp.sweep(guide, 2.0, 3.0, many)
    with pytest.raises(MemoryError, match=r"19 PB in the store .* or give fewer points"):
        bp.sweep(guide, 2.0, 3.0, many, tracking=f"sqlite:///{tmp_path}/kept.db")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_what_is_needed(tmp_path: Path) -> None:
    words = ("train.lr=0.05,0.1", "init.w1=interval(-2,2)", "sweep.points=20000")
    done = call(tmp_path, "sweep", *words, "sweep.dry_run=true")
    assert done.returncode == 0, done.stderr
    needs, measured = done.stdout.splitlines()[3:]
    # Those 40,000 runs took 736 MB, as dbstat told.
    assert re.fullmatch(r"  needs 7[0-9]{2} MB in the store, [0-9]+ MB of memory, .*", needs)
    rate = r"[0-9.,e+]+"
    assert re.fullmatch(
        rf"  measured on 64 runs: {rate} trained, {rate} written a second", measured
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("bytes_", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (9_400_000, "9.4 MB"), (18e12, "18 TB")],
)
def test_sizes_are_written_with_two_digits(bytes_: float, text: str) -> None:
    assert told(bytes_) == text
