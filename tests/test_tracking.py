"""What the bulk writer keeps is what MLflow's own client would have kept."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

import backprop_svc as bp
import stores
from backprop_svc.tracking import database, open_writer
from backprop_svc.tracking.client import ClientWriter
from backprop_svc.tracking.database import DatabaseWriter
from backprop_svc.tracking.plan import Plan
from backprop_svc.tracking.record import Runs, Summary, Sweep, history_interval, series_of
from backprop_svc.tracking.tables import TABLES

SWEEP = "0123456789abcdef"


def chunk(first: int = 0, history: str = "all", sweep: str = SWEEP) -> Runs:
    """Converged, dead, oscillating and diverged runs; NaN and infinities among the values."""
    network = bp.Network(1, 1, 1, activation="identity")
    rates = np.array([0.1, 0.1, 0.2, 0.9, 5.0, 0.01])
    starts = np.array([[0.5, 1], [-1, 0.5], [1.2, 1.2], [3, 3], [1e80, 1e80], [0.0, 0.0]])
    result = bp.train(
        network, starts, 2.0, 3.0,
        learning_rate=rates,
        record=["loss", "prediction", "gradients", "weights"],
        sharpness=True,
        smallest_eigenvalue=True,
        lyapunov_epochs=8,
    )  # fmt: skip
    assert "diverged" in result.outcome
    assert np.isinf(result.loss[:, 0]).any() if result.loss is not None else False
    series = series_of(result, history)
    odd = np.array([np.nan, np.inf, -np.inf, 1e308, 5e-324, -0.0])[:, np.newaxis]
    series["odd"] = type(series["w1"])(odd, np.array([3]), np.ones((6, 1), dtype=bool))
    count = len(result)
    return Runs(
        sweep=sweep,
        index=np.arange(first, first + count),
        names=[f"run {first + i}" for i in range(count)],
        params={
            "lr": [str(rate) for rate in rates],
            "long": ["long " * 1400] * count,
            "text": ["tab\tnew\nline \\N 'quoted' “ü”"] * count,
            "empty": [""] * count,
        },
        series=series,
        tags={"outcome": result.outcome.tolist()},
        start_time=1_700_000_000_000,
        end_time=1_700_000_000_123,
    )


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


@pytest.fixture(scope="module")
def both(uri: str) -> tuple[MlflowClient, dict[str, str]]:
    """The same runs written by both writers, each into an experiment of its own."""
    experiments = {}
    for name, sweep, writer in (
        ("client", "c" * 16, ClientWriter(uri, "client")),
        ("bulk", SWEEP, open_writer(uri, "bulk")),
    ):
        assert type(writer) is (DatabaseWriter if name == "bulk" else ClientWriter)
        parent = writer.open_sweep(Sweep(sweep, "what for", plan=Plan.of(axes="a")))
        for history, first in (("all", 0), ("every:7", 6), ("last", 12), ("none", 18)):
            with pytest.MonkeyPatch.context() as patch:
                if history == "every:7":
                    # Statements of two runs, four metrics and nine tags.
                    patch.setattr(database, "VARIABLES", 29)
                assert writer.write_runs(chunk(first, history, sweep), parent) == 6
                assert writer.write_runs(chunk(first, history, sweep), parent) == 0
        writer.close_sweep(parent, "FINISHED", Summary([("runs", 24.0, 0)]))
        experiments[name] = writer.experiment
    return MlflowClient(uri), experiments


@pytest.mark.parametrize("limit", [6, 999, 32_766])
def test_sqlite_may_take_few_values_at_once(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("loss", float(i), i, i, False, f"{i:032x}") for i in range(6000)]
    with closing(sqlite3.connect(":memory:")) as memory:
        columns = TABLES["metrics"].columns
        memory.execute(f"CREATE TABLE metrics ({', '.join(columns)})")
        if sys.version_info >= (3, 11):
            memory.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, limit)
        else:
            # It can neither set a limit nor ask for one.
            monkeypatch.setattr(database, "VARIABLES", limit)
        DatabaseWriter._insert(memory.cursor(), "metrics", rows)
        assert memory.execute("SELECT * FROM metrics").fetchall() == rows


def exactly(value: float) -> str:
    """Write a number with all its digits, and the sign of a zero where MLflow keeps it.

    By psycopg2 it writes a negative zero as a decimal, and those of PostgreSQL have none.
    """
    return repr(value + 0.0 if "psycopg2" in sys.modules else value)


def plain(client: MlflowClient, run: Run, parent: str) -> dict[str, Any]:
    """All that a client returns of a run, but for what must differ between two runs."""
    tags = {k: "parent" if v == parent else v for k, v in run.data.tags.items()}
    assert tags.pop("backprop.sweep_id") in {SWEEP, "c" * 16}
    histories = {
        key: sorted(
            (m.step, m.timestamp, exactly(m.value))
            for m in client.get_metric_history(run.info.run_id, key)
        )
        for key in run.data.metrics
    }
    info = {
        k: v
        for k, v in dict(run.info).items()
        if k not in {"run_id", "run_uuid", "artifact_uri", "experiment_id"}
    }
    assert run.info.artifact_uri.endswith(f"/{run.info.run_id}/artifacts")
    metrics = {k: exactly(v) for k, v in run.data.metrics.items()}
    return {
        "info": info,
        "tags": tags,
        "params": run.data.params,
        "metrics": metrics,
        "histories": histories,
        "inputs": run.inputs.dataset_inputs if run.inputs else [],
    }


def children(client: MlflowClient, experiment: str, **search: Any) -> list[Run]:
    clause = search.pop("filter_string", "")
    only = f"tags.`backprop.index` != '' {'and ' + clause if clause else ''}"
    return list(client.search_runs([experiment], only, **search))


def test_the_client_reads_the_same(both: tuple[MlflowClient, dict[str, str]]) -> None:
    client, experiments = both
    found = {}
    for name, experiment in experiments.items():
        runs = children(client, experiment)
        parent = runs[0].data.tags["mlflow.parentRunId"]
        by_index = {int(run.data.tags["backprop.index"]): run for run in runs}
        assert sorted(by_index) == list(range(24))
        found[name] = {i: plain(client, run, parent) for i, run in by_index.items()}
    assert found["bulk"] == found["client"]
    assert found["bulk"][0]["metrics"]["odd"] == "nan"


@pytest.mark.parametrize(
    ("clause", "order"),
    [
        ("", ["metrics.loss ASC", "attributes.run_name ASC"]),
        ("", ["metrics.odd DESC", "attributes.run_name ASC"]),
        ("", ["params.lr DESC", "attributes.run_name ASC"]),
        ("metrics.loss < 1", ["attributes.run_name ASC"]),
        ("params.lr = '0.1'", ["metrics.w1 DESC", "attributes.run_name ASC"]),
        ("tags.outcome = 'diverged'", ["attributes.run_name DESC"]),
        ("attributes.run_name LIKE 'run 1%'", ["attributes.run_name ASC"]),
        ("attributes.status = 'FINISHED'", ["attributes.run_name ASC"]),
    ],
)
def test_searches_agree(
    both: tuple[MlflowClient, dict[str, str]], clause: str, order: list[str]
) -> None:
    client, experiments = both
    names = {
        name: [
            r.info.run_name for r in children(client, e, filter_string=clause, order_by=order)
        ]
        for name, e in experiments.items()
    }
    assert names["bulk"] == names["client"]
    assert names["bulk"]


def test_the_client_can_change_what_was_written(uri: str) -> None:
    writer = DatabaseWriter(uri, "changed")
    parent = writer.open_sweep(Sweep("feedfeedfeedfeed"))
    runs = chunk(sweep="feedfeedfeedfeed")
    writer.write_runs(runs, parent)
    client, run_id = MlflowClient(uri), runs.run_ids[0]
    client.log_metric(run_id, "loss", 0.25, step=99)
    client.set_tag(run_id, "outcome", "seen")
    client.log_param(run_id, "more", "1")
    client.update_run(run_id, name="renamed")
    changed = client.get_run(run_id)
    assert (changed.data.metrics["loss"], changed.data.tags["outcome"]) == (0.25, "seen")
    assert (changed.data.params["more"], changed.info.run_name) == ("1", "renamed")
    client.delete_run(run_id)
    experiment = writer.experiment
    left = client.search_runs([experiment], "", ViewType.ACTIVE_ONLY)
    assert run_id not in {run.info.run_id for run in left}
    # A sweep that goes on has all of its runs: the deleted one comes back as it was.
    assert writer.write_runs(runs, parent) == 1
    restored = client.get_run(run_id)
    assert restored.info.lifecycle_stage == "active"
    assert restored.data.tags["outcome"] == "seen"
    assert writer.write_runs(runs, parent) == 0


def test_through_a_stock_server(uri: str, tmp_path: Path, both: object) -> None:
    with stores.mlflow_server(uri, tmp_path) as address:
        client = MlflowClient(address)
        experiment = client.get_experiment_by_name("bulk")
        assert experiment is not None
        assert len(children(client, experiment.experiment_id)) == 24
        # The client writer resumes by tags, without bulk rows.
        writer = ClientWriter(address, "over http")
        sweep = f"{len(uri):016x}"
        parent = writer.open_sweep(Sweep(sweep, plan=Plan.of(axes="a")))
        runs = chunk(sweep=sweep)
        some = runs.select(np.array([0, 3]))
        assert writer.write_runs(some, parent) == 2
        assert writer.write_runs(runs, parent) == 4
        assert writer.write_runs(runs, parent) == 0
        assert writer.last_sweep() == sweep
        place = writer.close_sweep(parent, "FINISHED")
        assert place.startswith(address)
        assert client.get_run(parent).info.status == "FINISHED"


def test_a_sweep_is_resumed_only_by_its_own_command(uri: str) -> None:
    writer = DatabaseWriter(uri, "digest")
    begun = Sweep("a" * 16, plan=Plan.of(axes="one", epochs="3"))
    parent = writer.open_sweep(begun)
    assert writer.open_sweep(Sweep("a" * 16)) == parent
    writer.close_sweep(parent, "KILLED")
    assert writer.open_sweep(begun) == parent
    with pytest.raises(ValueError, match="other axes or settings: axes was one and is two;"):
        writer.open_sweep(Sweep("a" * 16, plan=Plan.of(axes="two", epochs="3")))


@pytest.mark.parametrize("bulk_first", [True, False])
def test_a_sweep_goes_on_with_the_other_writer(uri: str, bulk_first: bool) -> None:
    sweep = "bc"[bulk_first] * 15 + "0"
    kinds = [DatabaseWriter, ClientWriter]
    experiment = f"both {bulk_first}"
    for number, kind in enumerate((kinds if bulk_first else kinds[::-1]) * 2):
        writer = kind(uri, experiment)
        parent = writer.open_sweep(Sweep(sweep, plan=Plan.of(axes="a")))
        runs = chunk(0, sweep=sweep)
        first = runs.select(np.arange(number + 1))
        assert writer.write_runs(first, parent) == 1
        writer.close_sweep(parent, "KILLED")
    assert writer.open_sweep(Sweep(sweep, plan=Plan.of(axes="a"))) == parent
    assert writer.write_runs(runs, parent) == 2
    writer.close_sweep(parent, "FINISHED")
    found = children(MlflowClient(uri), writer.experiment)
    assert sorted(int(run.data.tags["backprop.index"]) for run in found) == list(range(6))


@pytest.mark.parametrize("history", ["", "some", "every:0", "every:-1", "every:x"])
def test_unknown_histories_are_refused(history: str) -> None:
    with pytest.raises(ValueError, match=r"history is"):
        history_interval(history)
