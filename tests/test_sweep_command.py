"""Sweeps from the command line: what is refused, and what is the same again."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from pyarrow import parquet

import backprop_svc as bp
import stores
from backprop_svc.tracking.identity import check_sweep_id, new_sweep_id
from command import call

BAD = {
    **{
        f"{word} train.momentum=0.1": f"{word} has no values; allowed: one or more"
        for word in (
            *("train.lr=choice()", "train.lr=shuffle()", "train.lr=range(1,1)"),
            *("train.epochs=range(1,1)", "train.epochs=range(3,1)", "train.epochs=sort()"),
            *("network.activation=choice()", "data=glob(q*)", "train.lr=tag(zip,range(2,1))"),
        )
    },
    "train.epochs=range(1,1) hydra/sweeper=basic": "train.epochs=range(1,1) has no values",
    "train.lr=range(1,2,0)": "train.lr=range(1,2,0) has a step of 0; allowed: steps above",
    "train.lr=0.1,": "train.lr=0.1, has a comma without a value; allowed: a,b; write train.lr",
    "train.lr=0.1,,0.2": "write train.lr=0.1,0.2",
    "train.lr=np.linspace(0,1,5)": "write 'train.lr=interval(0,1)' sweep.points=5",
    "train.lr=logspace(-3,0)": "write 'train.lr=tag(log,interval(0.001,1))'",
    "train.lr=[0.1,0.2]": "allowed: one number, and in a sweep a,b or range(a,b,step) or inter",
    "init.w1=(0.1;0.2)": "write init.w1=0.1,0.2",
    "init.seed=0..9": "write 'init.seed=range(0,10)'",
    "train.lr=choice(0.1,)": "write 'train.lr=choice(0.1)'",
    "train.lr=0.1,range(3)": "train.lr=0.1,range(3) has several values within several; allowed",
    "~train.lr train.epochs=1,2": "train.lr cannot be removed; allowed: groups",
    "train.lr=interval(0.1,0.2) sweep.sampler=random sweep.samples=8,4": (
        "sweep.samples is 8,4; allowed: one value for the whole sweep"
    ),
    "train.lr=interval(0.1,0.2) ++sweep.points=4,2": "sweep.points is 4,2; allowed: one value",
    "train.warmup=0,10,40": "train.warmup is 40; allowed: whole numbers from 0 to the number",
    "init=random init.seed=0,-1": "init.seed is -1; allowed: whole numbers from 0",
    "train.momentum=0.5,0.9": "train.momentum is given and would change nothing",
    "sweep.points=4 train.lr=0.1,0.2": "sweep.points is given and would change nothing",
    "sweep.samples=4 train.lr=interval(1,2)": "sweep.samples is given and would change",
    "train.lr=0.1,0.2 sweep.results=a.parquet,b.parquet": "allowed: one value for the whole",
    "train.lr=0.1,0.2 sweep.results=map.csv": "sweep.results is 'map.csv'; allowed: a Parquet",
    "train.lr=tag(zip,interval(0.1,0.2)) sweep.sampler=sobol": "draws its intervals together",
    "train.epochs=tag(log,choice(10,20))": "has a tag, but cannot become an array",
    "train.lr=tag(lgo,interval(0.1,0.2))": "has the tag 'lgo'; allowed: log, zip",
    "train.epochs=interval(1,2)": "is an interval of a setting that cannot become an array",
    "train.lr=tag(zip,0.1,0.2) init.w1=tag(zip,1,2,3)": "zip",
    "train.lr=tag(zip,choice(1,2)) init.w1=tag(zip,choice(1,2,3))": (
        "axes that go together are 2 of train.lr, 3 of init.w1; allowed: as many of each"
    ),
    "train.lr=tag(zip,choice(1,2)) train.epochs=tag(zip,choice(1,2,3))": "allowed: 2, as the",
    "train.lr=tag(zip,interval(1,2)) train.epochs=tag(zip,choice(1,2))": "is an interval of a",
    "train.lr=0.1,0.2 sweep.shards=0": "sweep.shards is 0; allowed: whole numbers from 1",
    "train.lr=0.1,0.2 sweep.sampler=grit": "sweep.sampler is 'grit'; allowed: grid, random",
    "train.lr=0.1,0.2 sweep.resume=abc": "sweep.resume is 'abc'; allowed: last or the 16",
    "train.lr=0.1,0.2 sweep.id=xyz": "sweep.id is 'xyz'; allowed: the 16 hexadecimal",
    "train.lr=0.1,-0.2": "train.lr is -0.2; allowed: finite numbers above 0",
    "train.lr=0.1,0.2 tracking=none,mlflow": "tracking.enabled is false,true; allowed: one",
    "train.lr=0.1,0.2 sweep.sampler=sobol": "sweep.sampler is given and would change nothing",
    "train.lr=tag(log,0.1,1)": "allowed: tag(log,interval(low,high)), or tag(zip",
    "train.lr=interval(0.1)": "allowed: interval(low,high); give both ends",
    "train.lr=0.1,0.2 sweep.results=~/map.parquet": "write $HOME instead",
}


@pytest.mark.parametrize("arguments", BAD)
def test_a_bad_sweep_is_one_line_and_no_run(tmp_path: Path, arguments: str) -> None:
    done = call(tmp_path, "sweep", *arguments.split())
    assert done.returncode != 0
    assert BAD[arguments] in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("shards", [2, 8])
def test_shards_are_the_whole_sweep(tmp_path: Path, shards: int) -> None:
    # A percent sign in the path was once taken for a format.
    folder = tmp_path / "50%done"
    folder.mkdir()
    stores.empty_database(folder / "mlflow.db")
    done = call(folder, "sweep", "train.lr=0.05,0.1", "init.w1=0.5,1", f"sweep.shards={shards}")
    assert done.returncode == 0, done.stderr
    assert "4 runs tracked" in done.stdout
    with sqlite3.connect(folder / "mlflow.db") as db:
        found = db.execute("select artifact_uri from runs where name like 'lr=%'").fetchall()
    db.close()
    assert len(found) == 4
    assert all("/50%done/mlruns/" in uri for (uri,) in found)


def test_a_shuffled_sweep_is_the_same_again(tmp_path: Path) -> None:
    words = ["train.epochs=shuffle(range(1,9))", "tracking=none", "sweep.dry_run=true"]
    first, second = (call(tmp_path, "sweep", *words).stdout.splitlines()[1:3] for _ in range(2))
    assert first == second
    assert sorted(re.findall(r"\d", first[0])) == list("12345678")


def test_settings_that_are_composed_go_together(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b,y\n1,2,3\n2,1,4\n3,5,5\n")
    done = call(
        tmp_path, "sweep", "data=csv", "data.path=table.csv", "data.y=y", "tracking=none",
        "data.x=tag(zip,choice([a],[a,b]))", "train.lr=tag(zip,choice(0.01,0.02))",
        "network.sizes=tag(zip,choice([1,3,1],[2,4,1]))", "init=he", "init.seed=0,1",
        "sweep.results=map.parquet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "4 runs = 2 configurations × 2 points" in done.stdout
    found = parquet.read_table(tmp_path / "map.parquet").to_pandas()
    names = ["data.x", "network.sizes", "train.lr", "init.seed"]
    assert found[names].astype(str).to_numpy().tolist() == [
        ['["a"]', "[1,3,1]", "0.01", "0"], ['["a"]', "[1,3,1]", "0.01", "1"],
        ['["a","b"]', "[2,4,1]", "0.02", "0"], ['["a","b"]', "[2,4,1]", "0.02", "1"],
    ]  # fmt: skip


def test_hidden_layers_are_an_axis(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b,y\n1,2,3\n2,1,4\n3,5,5\n")
    uri = stores.empty_database(tmp_path / "kept.db")
    done = call(
        tmp_path, "sweep", "data=csv", "data.path=table.csv", "data.y=y", "data.x=all",
        "network.hidden=[],[3],[4,2]", "init.seed=0,1", f"tracking.uri={uri}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("backprop-svc")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`backprop.index` != ''")
    found = sorted((r.data.params["network.hidden"], r.data.params["network"]) for r in runs)
    assert [network.split(", act")[0] for _, network in found] == [
        "Network(2, 3, 1", "Network(2, 3, 1", "Network(2, 4, 2, 1", "Network(2, 4, 2, 1",
        "Network(2, 1", "Network(2, 1",
    ]  # fmt: skip
    assert {name for name, _ in found} == {"[]", "[3]", "[4,2]"}


def test_an_identity_is_no_number_to_hydra() -> None:
    for _ in range(1000):
        identity = new_sweep_id()
        assert check_sweep_id("sweep.id", identity) == identity
        assert identity[0] in "abcdef"


def test_learning_rates_of_two_layers_are_axes(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "kept.db")
    axes = ("train.lr1=0.05,0.1", "train.lr2=tag(log,interval(0.001,0.1))", "sweep.points=3")
    more = ("train.optimizer=momentum", "train.momentum=0.5", "train.precision=fast")
    done = call(tmp_path, "sweep", *axes, *more, f"tracking.uri={uri}")
    assert done.returncode == 0, done.stderr
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("backprop-svc")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`backprop.index` != ''")
    found = {}
    for run in runs:
        params = run.data.params
        assert params["train.optimizer"] == "momentum"
        assert params["train.precision"] == "fast"
        assert "train.lr" not in params
        rates = (float(params["train.lr1"]), float(params["train.lr2"]))
        found[rates] = [run.data.metrics["w1"], run.data.metrics["w2"]]
    grid = [(lr1, lr2) for lr1 in (0.05, 0.1) for lr2 in np.geomspace(0.001, 0.1, 3)]
    assert sorted(found) == sorted(grid)
    expected = bp.train(
        bp.Network(1, 1, 1), [0.5, 1.0], 2.0, 3.0,
        learning_rate=grid, optimizer="momentum", momentum=0.5, precision="fast",
    )  # fmt: skip
    assert [found[rates] for rates in grid] == expected.weights.tolist()


def test_results_are_a_file_where_nothing_is_tracked(tmp_path: Path) -> None:
    sweep = ("sweep", "tracking=none", "train.lr=0.05,0.1,2", "init.w1=0.5,1")
    done = call(tmp_path, *sweep, "sweep.results=map.parquet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("results: map.parquet\n")
    found = parquet.read_table(tmp_path / "map.parquet").to_pydict()
    rates, starts = np.repeat([0.05, 0.1, 2], 2), np.tile([0.5, 1], 3)
    guide = bp.Network(1, 1, 1)
    weights = np.column_stack([starts, np.ones(6)])
    expected = bp.train(guide, weights, 2.0, 3.0, learning_rate=rates)
    assert found["train.lr"] == rates.tolist()
    assert found["init.w1"] == starts.tolist()
    assert found["outcome"] == expected.outcome.tolist()
    assert found["loss_ratio"] == expected.loss_ratio.tolist()
    assert found["epochs"] == expected.epochs.tolist()
    assert found["period"] == expected.period.tolist()

    rows = ("experiment=xor", "init.seed=0,1", "train.epochs=2,3", "data.validation=0.25")
    done = call(tmp_path, "sweep", "tracking=none", *rows, "sweep.results=map.parquet")
    assert done.returncode == 0, done.stderr
    schema = parquet.read_schema(tmp_path / "map.parquet")
    types = {name: str(schema.field(name).type) for name in schema.names}
    assert types["init.seed"] == types["train.epochs"] == types["epochs"] == "int64"
    assert types["accuracy"] == types["val_loss"] == types["val_accuracy"] == "double"

    mixed = ("experiment=xor", "network.sizes=[2,2,1],[2,40,1]", "train.epochs=2")
    done = call(tmp_path, "sweep", "tracking=none", *mixed, "sweep.results=map.parquet")
    assert done.returncode == 0, done.stderr
    small, large = parquet.read_table(tmp_path / "map.parquet").to_pydict()["weights"]
    assert len(small) == bp.Network(2, 2, 1, bias=True).parameters
    assert large is None

    large = ("train.divergence_bound=10000000000000000000000", "sweep.results=large.parquet")
    (tmp_path / "large.parquet").symlink_to("target.parquet")
    assert call(tmp_path, *sweep, *large, "sweep.dry_run=true").returncode == 0
    assert (tmp_path / "large.parquet").is_symlink()
    assert not (tmp_path / "target.parquet").exists()
    done = call(tmp_path, *sweep, *large)
    assert done.returncode == 0, done.stderr
    bounds = parquet.read_table(tmp_path / "target.parquet")["train.divergence_bound"]
    assert bounds.to_pylist() == [1e22] * 6

    kinds = {
        "train.stop_when_converged=true,false": [True, False],
        "train.batch_size=null,1": [None, 1],
        "train.weight_decay=0,0.5": [0.0, 0.5],
        "init.weights=[1,1],[2,2]": ["[1,1]", "[2,2]"],
        "data.unit='a b','007'": ["a b", "007"],
        "data.unit='a b',5": ["a b", "5"],
    }
    for words, values in kinds.items():
        done = call(
            tmp_path, "sweep", "tracking=none", "init=weights", "init.weights=[1,1]", words,
            "sweep.results=map.parquet",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        column = parquet.read_table(tmp_path / "map.parquet")[words.partition("=")[0]]
        assert column.to_pylist() == values

    (tmp_path / "folder.parquet").mkdir()
    for place in ("no/map.parquet", "folder.parquet"):
        done = call(tmp_path, *sweep, f"sweep.results={place}")
        assert done.returncode == 1
        assert f"sweep.results is '{place}', which cannot be written" in done.stderr
        assert "runs in" not in done.stdout
        assert done.stderr.count("\n") == 1


def test_what_one_configuration_needs_may_mean_nothing_to_another(tmp_path: Path) -> None:
    words = ("train.optimizer=gradient_descent,momentum", "train.momentum=0.5,0.9")
    done = call(tmp_path, "sweep", *words, "sweep.dry_run=true")
    assert done.returncode == 0, done.stderr
    assert "4 runs = 2 configurations × 2 points" in done.stdout


def test_configurations_that_a_file_gives_the_same_points(tmp_path: Path) -> None:
    folder = tmp_path / "own" / "experiment"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        text = "# @package _global_\nsweep:\n  points: 4\n"
        (folder / f"{name}.yaml").write_text(text)
    words = ("--config-dir", "own", "experiment=a,b", "train.lr=interval(0.1,0.2)")
    done = call(tmp_path, "sweep", *words, "tracking=none")
    assert "8 runs = 2 configurations × 4 points" in done.stdout, done.stderr


def test_a_file_cannot_give_a_configuration_other_points(tmp_path: Path) -> None:
    folder = tmp_path / "own" / "experiment"
    folder.mkdir(parents=True)
    for name, points in (("a", 4), ("b", 2)):
        text = f"# @package _global_\nsweep:\n  points: {points}\n"
        (folder / f"{name}.yaml").write_text(text)
    words = ("--config-dir", "own", "experiment=a,b", "train.lr=interval(0.1,0.2)")
    done = call(tmp_path, "sweep", *words)
    assert done.returncode == 1
    assert "sweep.points is 4,2; allowed: one value for the whole sweep" in done.stderr
    assert not (tmp_path / "mlflow.db").exists()


def test_where_nothing_is_tracked_configurations_may_differ_in_it(tmp_path: Path) -> None:
    words = ("tracking.experiment=a,b", "tracking.history=all,last", "tracking.uri=x,y")
    done = call(tmp_path, "sweep", *words, "tracking=none")
    assert done.returncode == 0, done.stderr
    assert "8 runs in" in done.stdout


def test_a_curve_goes_on_after_a_run_converged(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "kept.db")
    words = (
        "train.stop_when_converged=true",
        "train.epochs=40",
        "train.lr=0.05,0.1",
        f"tracking.uri={uri}",
    )
    done = call(tmp_path, "sweep", *words)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("backprop-svc")
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`backprop.kind` = 'sweep'")
    curve = client.get_metric_history(parent.info.run_id, "sweep/loss_best")
    values = [point.value for point in sorted(curve, key=lambda point: point.step)]
    assert len(values) == 40
    assert values == sorted(values, reverse=True), "the best of all runs never gets worse"


def test_curves_are_those_of_all_configurations(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    words = ["train.lr=0.01,0.05,0.1", "train.optimizer=gradient_descent,adam,momentum"]
    done = call(tmp_path, "sweep", *words, "train.epochs=12")
    assert done.returncode == 0, done.stderr
    losses = "SELECT metrics.step, min(metrics.value) FROM metrics JOIN runs USING (run_uuid)"
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        told = db.execute(
            f"{losses} WHERE key = 'sweep/loss_best' GROUP BY metrics.step"
        ).fetchall()
        lowest = db.execute(f"{losses} WHERE key = 'loss' GROUP BY metrics.step").fetchall()
    db.close()
    assert len(told) == 12
    assert told == lowest
    # Histories that are not of the same epochs have no quantiles.
    done = call(tmp_path, "sweep", *words, "train.epochs=3,4")
    assert done.returncode == 0, done.stderr


def test_the_last_sweep_is_one_that_can_go_on(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    words = ("train.lr=0.05,0.1", "train.epochs=3")
    first, second = "a" * 16, "b" * 16
    for sweep in (first, second):
        assert call(tmp_path, "sweep", *words, f"sweep.id={sweep}").returncode == 0
    assert call(tmp_path, "sweep", *words, "hydra/sweeper=basic").returncode == 0
    done = call(tmp_path, "sweep", *words, "sweep.resume=last")
    assert "sweep.resume is last, and the experiment 'backprop-svc' in" in done.stderr
    assert "has no sweep that was not finished" in done.stderr
    client = MlflowClient(uri)
    (parent,) = client.search_runs(["1"], f"attributes.run_name LIKE 'sweep%{first}%'")
    client.set_terminated(parent.info.run_id, "KILLED")
    other = call(tmp_path, "sweep", "train.lr=1,2", "sweep.resume=last")
    assert f"the sweep {first} was begun with other axes or settings" in other.stderr
    assert other.stdout == ""
    again = call(tmp_path, "sweep", *words, "sweep.resume=last")
    assert "0 runs tracked, 2 were there" in again.stdout, again.stderr
    assert client.get_run(parent.info.run_id).info.status == "FINISHED"


def test_the_fractal_set_up_is_the_paper_s(tmp_path: Path) -> None:
    """Its equations in NumPy: ŷ = W₁·tanh(√2·W₀·x/√n)/n, the loss the mean of (ŷ − y)²."""
    axes = ("train.lr1=tag(log,interval(1e-4,1))", "train.lr2=tag(log,interval(1e-4,1))")
    few = ("experiment=fractal", "sweep.points=3", "train.epochs=60")
    uri = stores.empty_database(tmp_path / "kept.db")
    done = call(tmp_path, "sweep", *few, *axes, f"tracking.uri={uri}", "tracking.history=last")
    assert done.returncode == 0, done.stderr
    (table,) = tmp_path.rglob("results.parquet")
    results = parquet.read_table(table).to_pydict()

    draws = np.random.RandomState(0).standard_normal((272, 17))
    x, y, n = draws[:, :16], draws[:, 16], 16
    start = np.random.RandomState(0)
    first, second = start.standard_normal((n, n)), start.standard_normal((1, n))
    for lr1, lr2, ratio in zip(
        results["train.lr1"], results["train.lr2"], results["loss_ratio"], strict=True
    ):
        w0, w1, losses = first.copy(), second.copy(), []
        with np.errstate(all="ignore"):
            for _ in range(60):
                h = np.tanh(np.sqrt(2) * x @ w0.T / np.sqrt(n))
                error = (h @ w1.T)[:, 0] / n - y
                losses.append((error**2).mean())
                delta = 2 * error[:, None] / len(y) / n
                d1 = delta.T @ h
                d0 = ((delta * w1) * (1 - h**2) * np.sqrt(2 / n)).T @ x
                # A learning rate here is n² times larger than in the configuration.
                w0, w1 = w0 - lr1 * n**2 * d0, w1 - lr2 * n**2 * d1
            relative = np.array(losses) / losses[0]
        expected = np.where(relative < 1e6, relative, 1e6)[-20:].mean()
        if min(ratio, expected) < 1e3:
            # Where it does not diverge, trajectories stay together to many digits.
            assert np.isclose(ratio, expected, rtol=1e-3), (lr1, lr2)
        assert (ratio < 1) == (expected < 1)


def test_the_best_runs_show_settings_as_they_were_written(tmp_path: Path) -> None:
    words = ["network.gain=1,1.5", "train.momentum=0,0.5"]
    words += ["train.optimizer=momentum", "train.epochs=2"]
    done = call(tmp_path, "sweep", "tracking=none", *words)
    assert done.returncode == 0, done.stderr
    table = done.stdout.partition("best runs")[2]
    rows = [line.split()[:2] for line in table.splitlines()[2:6]]
    assert sorted(rows) == [["1", "0"], ["1", "0.5"], ["1.5", "0"], ["1.5", "0.5"]]
