"""A tracked run goes on from the command line, in any store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import backprop_svc as bp
import stores
from backprop_svc import datasets
from backprop_svc.tracking import best_runs
from backprop_svc.tracking.read import opened
from command import call
from houses import HOUSES

WORDS = (
    *("data=csv", "data.path=houses.csv", "data.x=all", "data.y=price", "data.missing=mean"),
    *("data.validation=0.2", "network.hidden=[4]", "data.x_scale=standard"),
    *("data.y_scale=max", "train.optimizer=adam", "train.schedule=cosine", "train.warmup=3"),
    *("train.schedule_epochs=30", "train.batch_size=2", "train.weight_decay=0.01"),
)
SWEEP = (*WORDS, "train.lr=0.01,0.1", "init.seed=0,1", "network.activation=relu,tanh")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, a sweep of 12 epochs, and one of the same runs of 30."""
    folder = tmp_path_factory.mktemp("going-on")
    stores.empty_database(folder / "mlflow.db")
    (folder / "houses.csv").write_text(HOUSES, encoding="utf-8")
    for epochs in ("12", "30"):
        done = call(
            folder, "sweep", *SWEEP, f"train.epochs={epochs}",
            f"tracking.experiment=of-{epochs}", f"sweep.id={int(epochs):016x}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return folder


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


def run_id(folder: Path, *arguments: str, **env: str) -> str:
    """Train one run; return its id."""
    done = call(folder, "train", *arguments, **env)
    assert done.returncode == 0, done.stderr
    found = re.search(r"\b[0-9a-f]{32}\b", done.stdout)
    assert found is not None, done.stdout
    return found[0]


def test_a_run_of_a_sweep_goes_on_as_if_it_had_never_stopped(folder: Path) -> None:
    uri = uri_of(folder)
    before = bp.load_run(f"{12:016x}{5:016x}", tracking=uri)
    assert before.state is not None
    assert before.state.epoch == 12
    assert before.state.optimizer == "adam"
    assert before.network is not None
    assert before.state.memory.shape == (1, 2 * before.network.parameters)
    own = run_id(folder, f"init.run={before.run_id}", "train.epochs=18")
    whole, after = (bp.load_run(i, tracking=uri) for i in (f"{30:016x}{5:016x}", own))
    assert after.weights is not None
    assert whole.weights is not None
    assert after.weights.tobytes() == whole.weights.tobytes()
    assert after.state == whole.state
    assert after.network == whole.network
    assert after.preparation == whole.preparation
    assert after.tags["mlflow.parentRunId"] == before.run_id
    assert after.params["data"] == "csv"
    assert after.params["train.epochs"] == "18"
    steps, losses = after.histories["loss"]
    assert steps.tolist() == list(range(12, 30))
    assert losses.tobytes() == whole.histories["loss"][1][12:].tobytes()
    for name in ("val_loss", "grad_norm"):
        assert after.metrics[name] == whole.metrics[name]
    # What went on goes on, by its own configuration, once more; and in Python.
    once_more = run_id(folder, f"init.run={own}", "train.epochs=2", "train.schedule_epochs=99")
    assert bp.load_run(once_more, tracking=uri).histories["loss"][0].tolist() == [30, 31]
    model = after.model
    assert model.preparation is not None
    rows = model.preparation.apply(datasets.read(str(folder / "houses.csv")))
    assert after.state is not None
    result = bp.train(
        model.network, after.weights, *rows, state=after.state, optimizer="adam", epochs=1
    )
    assert result.recorded.tolist() == [30]


def test_the_best_runs_of_a_sweep_go_on_as_a_sweep(folder: Path) -> None:
    uri, name = uri_of(folder), "tracking.experiment=best"
    words = ("init.run=best", "init.best=3", f"init.sweep={12:016x}", "train.epochs=18", name)
    begun = call(folder, "sweep", *words)
    assert begun.returncode == 0, begun.stderr
    best = best_runs(f"{12:016x}", 3, tracking=uri)
    identity = re.search(r"sweep ([0-9a-f]{16})", begun.stdout)
    assert identity is not None
    table = bp.load_sweep(identity[1], tracking=uri).to_pylist()
    whole = bp.load_sweep(f"{30:016x}", tracking=uri).to_pylist()
    assert [row["init.run"] for row in table] == best
    for row in table:
        same = whole[int(row["init.run"][16:], 16)]
        assert row["weights"] == same["weights"]
        assert row["loss"] == same["loss"]
    parent = bp.load_run(table[0]["run_id"], tracking=uri).tags["mlflow.parentRunId"]
    of = bp.load_run(best[0], tracking=uri).tags["mlflow.parentRunId"]
    assert bp.load_run(parent, tracking=uri).tags["mlflow.parentRunId"] == of
    # The sweep that is resumed is the same one, though the newest sweep is now another one.
    again = call(
        folder, "sweep", f"init.run={','.join(best)}", "train.epochs=18", name,
        f"sweep.resume={identity[1]}",
    )  # fmt: skip
    assert "0 runs tracked, 3 were there" in again.stdout, again.stderr
    other = call(
        folder, "sweep", f"init.run={','.join(best[::-1])}", "train.epochs=18", name,
        f"sweep.resume={identity[1]}",
    )  # fmt: skip
    assert "begun with other axes or settings" in other.stderr
    # One of these, which knows of its data by way of the run that it went on from.
    last = run_id(folder, "init.run=best", "train.epochs=1", "train.schedule=constant")
    assert bp.load_run(last, tracking=uri).tags["mlflow.parentRunId"].startswith(identity[1])


def test_arrays_of_settings_go_on_from_one_run(folder: Path) -> None:
    uri, run = uri_of(folder), f"{12:016x}{0:016x}"
    done = call(
        folder, "sweep", f"init.run={run}", "train.lr=0.01,0.05", "train.epochs=18",
        f"sweep.id={77:016x}", "sweep.shards=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = bp.load_sweep(f"{77:016x}", tracking=uri).to_pylist()
    whole = bp.load_run(f"{30:016x}{0:016x}", tracking=uri)
    assert whole.weights is not None
    assert first["weights"] == whole.weights.tolist() != second["weights"]
    parent = bp.load_run(first["run_id"], tracking=uri).tags["mlflow.parentRunId"]
    sweep = bp.load_run(parent, tracking=uri)
    assert sweep.tags["mlflow.parentRunId"] == run
    # What the losses of the sweep are told by goes on from there, too.
    assert sweep.histories["sweep/loss_best"][0].tolist() == list(range(12, 30))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("init.run=no",), "init.run is 'no'; allowed: 32 hex digits"),
        ((f"init.run={'0' * 32}",), "has no such run"),
        (("init.best=3",), "init.best is given without init.run=best"),
        (("init.run=best", "init.best=9", f"init.sweep={12:016x}"), "allowed: up to 8"),
        (("init.run=best", "init.best=0"), "init.best is '0'; allowed: whole numbers"),
        (("RUN", "init.w1=1"), "init.w1 is given with init.run; allowed: one of them"),
        (("RUN", "init.seed=1"), "init.seed is given with init.run"),
        (("RUN", "network.hidden=[5]"), "which the run 000000000000000c0000000000000000 has"),
        (("RUN", "train.optimizer=nesterov"), "train.optimizer is 'nesterov'; allowed: adam"),
        (
            ("RUN", "train.epochs=30"),
            "train.schedule_epochs is 30; allowed: whole",
        ),
        (("RUN", "data.path=new.csv"), "the categories of training: Bonn, Köln, Trier"),
        (("RUN", "data=guide"), "data has other columns or classes"),
    ],
)
def test_what_cannot_go_on_is_told_in_a_line(
    folder: Path, words: tuple[str, ...], told: str
) -> None:
    (folder / "new.csv").write_text(HOUSES.replace("Bonn", "Wien"), encoding="utf-8")
    own = [f"init.run={12:016x}{0:016x}" if word == "RUN" else word for word in words]
    done = call(folder, "train", *own)
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_runs_of_before(tmp_path: Path) -> None:
    """Their files have neither epochs nor memory: gradient descent needs only the first."""
    plain = run_id(tmp_path, "train.epochs=7")
    adam = run_id(tmp_path, "train.epochs=7", "train.optimizer=adam")
    for run in (plain, adam):
        _, client = opened(uri_of(tmp_path))
        (file,) = client.list_artifacts(run, "weights")
        (path,) = tmp_path.glob(f"mlruns/*/{run}/artifacts/{file.path}")
        table = pq.read_table(path).select(["index", "weights", "gradients"])
        told = dict(table.schema.metadata)
        del told[b"backprop.optimizer"]
        pq.write_table(table.replace_schema_metadata(told), path)
    after = run_id(tmp_path, f"init.run={plain}", "train.epochs=13")
    whole = run_id(tmp_path, "train.epochs=20")
    one, two = (bp.load_run(i, tracking=uri_of(tmp_path)) for i in (after, whole))
    assert one.metrics["w1"] == two.metrics["w1"]
    assert one.histories["loss"][0].tolist() == list(range(7, 20))
    done = call(tmp_path, "train", f"init.run={adam}")
    assert f"init.run is {adam}, which was kept without what adam remembers" in done.stderr
    wild = run_id(tmp_path, "train.divergence_bound=1")
    done = call(tmp_path, "train", f"init.run={wild}")
    assert f"init.run is {wild}, which diverged" in done.stderr
    none = run_id(tmp_path, "train.epochs=3", "tracking.weights=none")
    done = call(tmp_path, "train", f"init.run={none}")
    assert f"the run {none} is tracked without its weights" in done.stderr


@pytest.fixture(scope="module", params=["postgresql", "server"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        if request.param == "server":
            database = stores.empty_database(folder / "mlflow.db")
            yield stack.enter_context(stores.mlflow_server(database, folder))
        else:
            yield stack.enter_context(stores.postgres())


def test_a_run_goes_on_in_any_store(store: str, tmp_path: Path) -> None:
    words = (
        f"tracking.uri={store}", "train.optimizer=adam", "network.hidden=[5]", "data.x=[1,2,3]",
        "data.y=[1,2,2]", "train.batch_size=2",
    )  # fmt: skip
    done = call(tmp_path, "sweep", *words, "init.seed=0,1", "train.epochs=9")
    assert done.returncode == 0, done.stderr
    after = run_id(
        tmp_path, f"tracking.uri={store}", "init.run=best", "init.sweep=last", "train.epochs=11"
    )
    run = bp.load_run(after, tracking=store)
    seed = bp.load_run(run.tags["mlflow.parentRunId"], tracking=store).params["init.seed"]
    whole = run_id(tmp_path, *words, f"init.seed={seed}", "train.epochs=20")
    expected = bp.load_run(whole, tracking=store)
    assert run.weights is not None
    assert expected.weights is not None
    assert run.weights.tobytes() == expected.weights.tobytes()
    assert run.state == expected.state
    assert run.histories["loss"][0].tolist() == list(range(9, 20))
