"""Ten thousand tracked runs: ours, also as a command, beside MLflow's APIs and bare SQLite."""

from __future__ import annotations

import platform
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from rich.table import Table

import backprop_svc as bp
from backprop_svc.interactive.experiment import build
from backprop_svc.sweep.axes import grid
from backprop_svc.sweep.engine import run
from backprop_svc.sweep.experiment import Experiment
from backprop_svc.sweep.parent import Parent, Tracking
from backprop_svc.sweep.runs import to_runs
from backprop_svc.sweep.sampler import GridSampler
from backprop_svc.sweep.space import Grid
from backprop_svc.tracking import Runs, Sweep, open_writer
from backprop_svc.tracking.client import ClientWriter
from backprop_svc.tracking.record import RunRecord
from report import CONSOLE, Goal, show_goals

# Where the tests start real stores.
sys.path.append(str(Path(__file__).parents[1] / "tests"))

RUNS, FEW, SEVERAL = 10_000, 120, 5
WORKERS, WARM_UP = 4, 8.0
"""Of a server: how many it has by default, and seconds until all of them answer."""
TIMES_FLUENT = 300
"""How much faster the command should keep a run, its start included."""
TRANSACTIONS = 6
AXES = {"train.lr": (0.001, 0.15), "init.w1": (0.1, 1.0), "init.w2": (0.1, 1.0)}
SWEEP = "0123456789abcdef"
TABLES = ("runs", "tags", "params", "metrics", "latest_metrics")


def points() -> Grid:
    axes = {name: bp.Interval(low, high) for name, (low, high) in AXES.items()}
    return grid(axes, sampler="sobol", samples=RUNS)


def guide(grid: Grid) -> Experiment:
    network = bp.Network(1, 1, 1)
    return build(network, 2.0, 3.0, grid, None, None, None, "guide", {})


def ours(uri: str, experiment: Experiment, grid: Grid) -> None:
    parent = Parent.open(Tracking(uri), Sweep(SWEEP))
    run(experiment, GridSampler(grid), sweep=SWEEP, parent=parent)


def few_runs(experiment: Experiment, grid: Grid) -> Runs:
    few = grid.points(0, FEW)
    now = int(time.time() * 1000)
    result = experiment.train(experiment.starts(few), ("loss", "gradients"))
    return to_runs(
        experiment, few, result, {},
        sweep=SWEEP, first=0, settings={}, history="all", keep="all", time=(now, now),
    )  # fmt: skip


def records(experiment: Experiment, grid: Grid) -> list[RunRecord]:
    return list(few_runs(experiment, grid).records())


def fluent(kept: list[RunRecord]) -> None:
    for record in kept:
        steps: dict[int, dict[str, float]] = {}
        for name, value, step in record.metrics:
            steps.setdefault(step, {})[name] = value
        with mlflow.start_run(run_name=record.name, tags=dict(record.tags)):
            mlflow.log_params(dict(record.params))
            for step, values in steps.items():
                mlflow.log_metrics(values, step=step)


def client(uri: str, kept: list[RunRecord]) -> None:
    writer = ClientWriter(uri, "backprop-svc")
    for record in kept:
        writer.write(record)


def bare(source: Path, target: Path) -> float:
    """Time of inserting the rows of one database into another, in transactions like ours."""
    with sqlite3.connect(source) as old:
        rows = {name: old.execute(f"SELECT * FROM {name}").fetchall() for name in TABLES}
    new = sqlite3.connect(target)
    for pragma in ("foreign_keys = OFF", "synchronous = NORMAL", "cache_size = -262144"):
        new.execute(f"PRAGMA {pragma}")
    begin = time.perf_counter()
    for part in range(TRANSACTIONS):
        for name, content in rows.items():
            low, high = (len(content) * p // TRANSACTIONS for p in (part, part + 1))
            marks = ", ".join("?" * len(content[0]))
            new.executemany(f"INSERT INTO {name} VALUES ({marks})", content[low:high])
        new.commit()
    seconds = time.perf_counter() - begin
    new.close()
    return seconds


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def command(folder: Path) -> None:
    axes = [f"{name}=interval({low},{high})" for name, (low, high) in AXES.items()]
    sampled = ["sweep.sampler=sobol", f"sweep.samples={RUNS}"]
    words = [*axes, *sampled, "tracking.uri=sqlite:///command.db"]
    program = [sys.executable, "-m", "backprop_svc", "sweep", *words]
    (folder / "command.db").unlink(missing_ok=True)
    subprocess.run(program, cwd=folder, check=True, capture_output=True)


@contextmanager
def postgres(folder: Path) -> Iterator[str | None]:
    """Yield the address of a PostgreSQL; ``None`` where there is none to start."""
    import pytest

    import stores

    try:
        with stores.postgres_server(folder / "postgres") as uri:
            open_writer(uri, "backprop-svc")
            yield uri
    except pytest.skip.Exception:
        yield None


def servers(folder: Path, experiment: Experiment, grid: Grid) -> dict[str, float]:
    """Send few runs to a server as `mlflow server` starts it; return the seconds of each."""
    import stores

    taken = {}
    uri = stores.empty_database(folder / "server.db")
    with stores.mlflow_server(uri, folder, workers=WORKERS) as address:
        # The workers begin one after another.
        time.sleep(WARM_UP)
        parent = Parent.open(Tracking(address), Sweep(SWEEP))
        runs = few_runs(experiment, grid)
        taken["ours"] = seconds(lambda: parent.write(runs)) / FEW
        parent.finish()
        mlflow.set_tracking_uri(address)
        mlflow.set_experiment("backprop-svc")
        several = list(runs.records())[:SEVERAL]
        taken["fluent"] = seconds(lambda: fluent(several)) / SEVERAL
    return taken


def metrics(database: Path) -> int:
    with sqlite3.connect(database) as connection:
        return int(connection.execute("SELECT count(*) FROM metrics").fetchone()[0])


def main() -> None:
    """Time every way of keeping the same runs, each in a database of its own."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        uris = {n: f"sqlite:///{folder}/{n}.db" for n in ("ours", "fluent", "client", "bare")}
        for uri in uris.values():
            # The tables are made before the clock starts, for everybody.
            open_writer(uri, "backprop-svc")
        where = points()
        experiment = guide(where)
        kept = records(experiment, where)
        own = seconds(lambda: ours(uris["ours"], experiment, where)) / RUNS
        loop = bare(folder / "ours.db", folder / "bare.db") / RUNS
        assert metrics(folder / "ours.db") == metrics(folder / "bare.db")
        slow_client = seconds(lambda: client(uris["client"], kept)) / FEW
        mlflow.set_tracking_uri(uris["fluent"])
        mlflow.set_experiment("backprop-svc")
        slow_fluent = seconds(lambda: fluent(kept)) / FEW
        each = metrics(folder / "ours.db") // RUNS
        assert metrics(folder / "client.db") == metrics(folder / "fluent.db")
        assert metrics(folder / "client.db") == sum(len(record.metrics) for record in kept)
        whole = seconds(lambda: command(folder)) / RUNS
        remote = servers(folder, experiment, where)
        with postgres(folder) as address:
            if address is not None:
                other = seconds(lambda: ours(address, experiment, where)) / RUNS
    rows = {
        "MLflow, fluent": slow_fluent,
        "MLflow, client (log_batch)": slow_client,
        "MLflow, fluent, to its server": remote["fluent"],
        "ours, to MLflow's server": remote["ours"],
        "bare sqlite3.executemany": loop,
        "ours, command with its start": whole,
        "ours, training and writing": own,
        **({} if address is None else {"ours, training and writing, PostgreSQL": other}),
    }
    table = Table(
        title=f"guide's network, 20 epochs, all histories ({each} values a run), {RUNS:,} runs "
        f"into a fresh SQLite; {FEW} for MLflow's APIs, {SEVERAL} for its fluent one "
        f"to a server of {WORKERS} workers; {platform.machine()}"
    )
    for column in ("", "runs/s", "ours is faster by", "faster than fluent there by"):
        table.add_column(column, justify="right")
    for way, taken in rows.items():
        there = remote["fluent"] if way.endswith("server") else slow_fluent
        ratios = f"{taken / own:.2f} ×", f"{there / taken:,.1f} ×"
        table.add_row(way, f"{1 / taken:,.0f}", *ratios)
    CONSOLE.print(table)
    command_wins = Goal("command beside fluent", slow_fluent / whole, "×", least=TIMES_FLUENT)
    show_goals("tracking", [command_wins])


if __name__ == "__main__":
    main()
