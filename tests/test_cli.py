"""The command as a user runs it: real processes, a real MLflow store."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from pyarrow import parquet

import backprop_svc as bp
import stores
from command import CLEAN, COMMAND, call, call_anew


def runs_in(folder: Path, order: str = "attributes.start_time") -> list[Run]:
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("backprop-svc")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=[order]))


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the guide's run and a small sweep were tracked."""
    folder = tmp_path_factory.mktemp("tracked")
    done = call_anew(folder, "train")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert str(folder / "mlflow.db") in done.stdout
    return folder


def test_train_prints_the_guides_table(tracked: Path) -> None:
    done = call(tracked, "train", "tracking=none")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["epoch", "loss", "prediction", "[$k]", "w1", "w2"]
    assert lines[1] == ["0", "2", "100.00", "0.500000", "1.000000"]
    assert lines[2] == ["1", "0.3528", "216.00", "0.900000", "1.200000"]
    assert len(lines) == 24
    assert "w1 = 1.1067121375451405, w2 = 1.3553659972747827" in done.stdout
    assert "last loss 2.2813955986604814e-26" in done.stdout


def test_the_run_is_in_mlflow(tracked: Path) -> None:
    (run,) = runs_in(tracked)
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "network": "Network(1, 1, 1, activation='relu')",
        "data": "guide",
        "train.lr": "0.1",
        "train.epochs": "20",
        "init.w1": "0.5",
        "init.w2": "1.0",
    }
    assert run.data.metrics["w1"] == 1.1067121375451405
    assert run.data.metrics["w2"] == 1.3553659972747827
    assert run.data.metrics["loss"] == 2.2813955986604814e-26
    assert run.data.tags["outcome"] == "converged"
    assert {"backprop.version", "mlflow.version", "python.version"} <= set(run.data.tags)
    client = MlflowClient(f"sqlite:///{tracked}/mlflow.db")
    history = {
        name: [m.value for m in client.get_metric_history(run.info.run_id, name)]
        for name in ("loss", "prediction", "grad_w1", "grad_w2")
    }
    assert {name: len(values) for name, values in history.items()} == dict.fromkeys(history, 20)
    assert history["loss"][0] == 2.0
    assert history["grad_w1"][0] == -4.0
    assert history["grad_w2"][0] == -2.0
    assert history["prediction"][:2] == [1.0, 2.16]
    steps = [m.step for m in client.get_metric_history(run.info.run_id, "loss")]
    assert steps == list(range(20))
    names = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert names == ["config.yaml", "training.png", "weights"]
    local = client.download_artifacts(run.info.run_id, "training.png", str(tracked))
    assert Path(local).read_bytes().startswith(b"\x89PNG")


def test_a_sweep_has_one_parent(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    done = call(tmp_path, "train", "-m", "train.lr=0.01,0.1", "init.w1=range(-0.5,1,0.5)")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", "mlruns"}
    runs = runs_in(tmp_path)
    (parent,) = [r for r in runs if r.data.tags.get("backprop.kind") == "sweep"]
    children = [r for r in runs if r is not parent]
    assert {r.info.status for r in runs} == {"FINISHED"}
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parent.info.run_id}
    points = {(r.data.params["train.lr"], r.data.params["init.w1"]) for r in children}
    assert points == {(lr, w) for lr in ("0.01", "0.1") for w in ("-0.5", "0.0", "0.5")}
    dead = [r for r in children if float(r.data.params["init.w1"]) <= 0]
    assert {r.data.tags["outcome"] for r in dead} == {"dead"}


def test_the_commit_of_the_working_directory_is_a_tag(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    commit = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    assert call(tmp_path, "train").returncode == 0
    (run,) = runs_in(tmp_path)
    assert run.data.tags["mlflow.source.git.commit"] == commit


def test_a_diverged_run_is_kept(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    done = call(tmp_path, "train", "network.activation=identity", "init.w1=50", "init.w2=50")
    assert done.returncode == 0, done.stderr
    (run,) = runs_in(tmp_path)
    assert run.info.status == "FINISHED"
    assert run.data.tags["outcome"] == "diverged"
    epoch = int(run.data.metrics["diverged_at"])
    assert f"diverged at epoch {epoch}" in done.stdout


def test_ames_reaches_least_squares(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    done = call(tmp_path, "train", "experiment=ames")
    assert done.returncode == 0, done.stderr
    (run,) = runs_in(tmp_path)
    metrics = run.data.metrics
    assert metrics["w1"] * metrics["w2"] == pytest.approx(1.1965173736, abs=1e-9)
    assert metrics["loss"] == pytest.approx(0.1605407547, abs=1e-9)
    assert run.data.tags["outcome"] == "converged"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_of_the_user(tmp_path: Path, kind: str) -> None:
    if kind == "csv":
        (tmp_path / "mine.csv").write_text("area,price\n2000,300\n1000,150\n")
    else:
        table = pa.table({"area": [2000, 1000], "price": [300, 150]})
        parquet.write_table(table, tmp_path / "mine.parquet")
    arguments = ["data=csv", f"data.path=mine.{kind}", "data.x=[area]", "data.y=price"]
    scales = ["data.x_scale=1000", "data.y_scale=100", "tracking=none", "train.epochs=300"]
    done = call(tmp_path, "train", *arguments, *scales)
    assert done.returncode == 0, done.stderr
    assert "converged" in done.stdout


def test_explain_walks_and_checks(tmp_path: Path) -> None:
    done = call(tmp_path, "explain")
    for step in ("∂L/∂ŷ", "∂ŷ/∂w2", "∂L/∂w2", "∂ŷ/∂h", "∂h/∂z1", "∂z1/∂w1", "∂L/∂w1"):
        assert any(line.startswith(f"{step} ") for line in done.stdout.splitlines())
    assert "0.3528" in done.stdout
    assert done.stdout.count("✓") == 7
    other = call(tmp_path, "explain", "init.w1=0.7", "data.x=1.5", "train.lr=0.05")
    assert "w1 = 0.7" in other.stdout
    assert other.stdout.count("✓") == 7
    chain = call(tmp_path, "explain", "example=chain_rule")
    assert "dy/dx" in chain.stdout
    assert "12" in chain.stdout


BAD = {
    "lr=0.1": "lr is not a setting; allowed: data, experiment, init, network, sweep, tracking,",
    "+foo=1": "foo is not a setting; allowed: data, experiment, init, network, sweep",
    "+train.foo=1": "train.foo is not a setting; allowed: lr, lr1, lr2, epochs",
    "+train.lr=1": "+train.lr=1 adds what is there already; allowed: name=value",
    "train.learning_rate=0.3": "write train.lr=0.3 (--cfg job",
    "optimizer=adam": "write train.optimizer=adam (--cfg job",
    "network.activation=ReLU": "gelu, softplus; write network.activation=relu",
    "train.optimizer=sgd": "nesterov, adam; write train.optimizer=gradient_descent",
    "tracking.history=lst": "weights only); write tracking.history=last",
    "data=amse": "xor, zero; write data=ames",
    "network.sizes=[12,choice(8,16),3]": (
        "has several values within one; allowed: one value, or a choice of whole values in a "
        "sweep; write network.sizes=choice([12,8,3],[12,16,3])"
    ),
    "data.x=[1,range(3)]": "data.x=[1,range(3)] has several values within one; allowed",
    "train.lrr=1": "train.lrr is not a setting; allowed: lr, lr1, lr2, epochs",
    "train.lr=-1": "train.lr is -1.0; allowed: finite numbers above 0",
    "train.lr=0": "train.lr is 0.0; allowed",
    "train.lr=nan": "train.lr is nan; allowed",
    "train.lr=fast": "train.lr is fast; allowed: a number; write train.lr=0.1",
    "train.patience=5": "write data.validation=0.2, or leave train.patience out",
    "network.hidden=8": "network.hidden is 8; allowed: a list of whole numbers or null; write "
    "network.hidden=[8]",
    "network.sizes=x": "network.sizes is x; allowed: a list of whole numbers; correct",
    "init.weights=0.5": "allowed: a list of numbers or null; write init.weights=[0.5]",
    "network.sizes=[]": "such as network.sizes=[1,1,1]",
    "train.epochs=1e3": "train.epochs is 1e3; allowed: a whole number; write train.epochs=1000",
    "train.batch_size=16.0": "allowed: a whole number or null; write train.batch_size=16",
    "train.epochs=2.5": "train.epochs is 2.5; allowed: a whole number; write train.epochs=20",
    "data.validation=20%": "is 20%; allowed: a number; write data.validation=0.2",
    "train.sharpness=ja": "sharpness is ja; allowed: true or false; write train.sharpness=true",
    "data.delimiter=,": "write 'data.delimiter=\",\"'",
    "data.delimiter=;": "write 'data.delimiter=\";\"'",
    "data.quote='": "write 'data.quote=\"'\"'\"'\"'",
    "data.y=Miete(€)": "write 'data.y=\"Miete(€)\"'",
    "data.x=[rooms,Miete(€)]": "write 'data.x=[rooms,\"Miete(€)\"]'",
    "data.x=[rooms": "it has [ and ] that do not belong together",
    "--lr=0.1": "--lr=0.1 is not an option; allowed: settings as name=value, and the options "
    "that --hydra-help shows; write train.lr=0.1",
    "--epochs 5": "--epochs is not an option; allowed: settings as name=value, and the options "
    "that --hydra-help shows; write train.epochs=5",
    "-lr 0.1": "write train.lr=0.1",
    "--batch-size=8": "write train.batch_size=8",
    "--verbose": "the options that --hydra-help shows; leave it out",
    "train.epochs=-1": "train.epochs is -1; allowed: whole numbers from 0",
    "data=houses": "data has no option 'houses'; allowed: ames, ames_features, breast",
    "experiment=none_such": "experiment has no option 'none_such'; allowed: ames",
    "data.x=[]": "data.x is []; allowed",
    "data.x=[1,2]": "data.y has 1 row; allowed: 2, as many as data.x",
    "data.validation=0.2": "data.validation is 0.2, which leaves none of 1 row to train on",
    "data=csv data.path=sklearn://mnist data.x=all data.y=target": "allowed: sklearn:// with",
    "network.sizes=[2,1,1]": "network.sizes=[2,1,1]; try network.sizes=[1,1,1] init=random",
    "network.sizes=[1,2,1]": "init gives 2 weights; allowed: 4",
    "init.weights=[1,2]": "allowed: one of them; write init=weights init.weights=[…]",
    "init.method=he": "init.method is 'he', and init gives weights too; allowed: one of them",
    "train.lr=interval(0.1": "close each bracket",
    "init=zeros init.seed=1": "init.seed is given and would change nothing",
    "tracking.uri=postgresql://a:port/x": "tracking.uri is 'postgresql://a:port/x', which",
    "train=3": "train=3 names no option; allowed: its options, guide, and its settings, as tr",
    "data=3": "data=3 names no option; allowed: its options, ames, ames_features,",
    "tracking=false": "tracking=false names no option; allowed: its options, mlflow, none, and "
    "its settings, as tracking.name=value; write tracking=none",
    "experiment=1": "experiment=1 names no option; allowed: its options, ames,",
    "tracking=off": "tracking has no option 'off'; allowed: mlflow, none; write tracking=none",
    "~train.lr2": "train.lr2 cannot be removed",
    "train.threads=0": "allowed: whole numbers from 1 to 2^63 − 1; try train.threads=1",
    "tracking.uri=foo://x": "tracking.uri is 'foo://x', which failed",
    "network=linear": "use init=linear, init=random or",
    "init=random init.seed=-1": "init.seed is -1; allowed: whole numbers from 0",
    "train.lr=null": "train.lr is null; allowed: a number; write train.lr=0.1, say",
    "train.lr=": "train.lr is ''; allowed: a number; write train.lr=0.1, say",
    "train.lr=${foo}": "train.lr refers to foo, which is no setting; allowed: a number; write",
    "train.lr=${train.lr}": "train.lr refers to itself; allowed: a number",
    "train.lr=${oc.env:NOT_SET}": "to the environment variable NOT_SET, which is not set",
    "train.lr=${foo:1}": "train.lr refers to foo:, which nothing resolves; allowed: a number",
    "train.lr": "train.lr cannot be read: it has no =; allowed: name=value, without spaces; "
    "write train.lr=…",
    "train.lr = 0.1": "write train.lr=…",
    "5": "5 cannot be read: it has no =; allowed: name=value, without spaces; leave it out",
    "LR=0.1": "write train.lr=0.1",
    "train.LR=0.1": "write train.lr=0.1",
    "train.Learning-Rate=0.1": "write train.lr=0.1",
    "train.batch-size=8": "write train.batch_size=8",
    "experiments=ames": "write experiment=ames",
    "Network=linear": "write network=linear",
    "network.sizes=[1,range(1,3),1]": "write network.sizes=choice([1,1,1],[1,2,1])",
    "train.lr=0.1,0.2": "to train with each write backprop-svc sweep train.lr=0.1,0.2",
    "train.lr=interval(0,1)": "to train with each write backprop-svc sweep 'train.lr=int",
    "train.lr=[0.1": "train.lr=[0.1 cannot be read: ",
    "init.w1=nan": "init.w1 is nan; allowed: finite numbers; correct it",
    "init=weights init.weights=[1,inf]": "init.weights[1] is inf; allowed: finite numbers",
    "experiment=mine": "choose one of them; MLflow's experiment is tracking.experiment=mine",
    "train.batch_size=x": "allowed: a whole number or null; correct train.batch_size",
    "hydra/launcher=rq": "install the plugin that has rq, or",
    "train.momentum=0.5": "train.momentum is given and would change nothing; allowed: with",
    "train.optimizer=momentum train.beta2=0.9": "train.beta2 is given and would change",
    "train.step_factor=0.1": "train.step_factor is given and would change nothing",
    "train.batch_seed=1": "train.batch_seed is given and would change nothing",
    "train.lr=0.1 train.lr1=0.1 train.lr2=0.1": "train.lr is given and would change nothing",
    "+network=linear": "+network=linear adds a group that is there already; allowed",
    "tracking.uri=": "tracking.uri is ''; allowed: sqlite:///mlflow.db",
    "tracking.uri='sqlite:///x.db?mode=ro'": "which is not understood: Query string",
    "network.hidden=[64,64] data=ames train.epochs=20000000000": "give fewer train.epochs, or",
    "network=linear init=linear train.lr2=0.1": "train.lr2 is given and would change nothing",
    "init.scale=2": "init.scale is given and would change nothing; allowed: with init=random",
    "network=linear init=linear network.gain=2": "network.gain is given and would change",
    "tracking=none tracking.history=last": "tracking.history is given and would change nothing",
    "network.loss=binary_cross_entropy": "data.y[0, 0] is 3",
    "train.lr=0.1,0.3": "allowed: one for a single run; to train with each write backprop-svc",
    "network.sizes=1,2,1": "network.sizes=[1,2,1] for a list",
    "network.hidden=8,8": "network.hidden=[8,8] for a list",
    "data=iris data.x=[sepal(cm)]": "texts with other signs",
    "network.negative_slope=0.1": "network.negative_slope is given and would change nothing",
    "data.validation_seed=1": "data.validation_seed is given and would change nothing",
    "network.hidden=${data.unit}": "network.hidden: Invalid value assigned: str is not a List",
    "init.weights=${train}": "init.weights: Cannot merge DictConfig with ListConfig",
    "network.activation=tan": "network.activation is 'tan'; allowed: identity, relu",
    "init.w1=inf": "init.w1 is inf; allowed: finite",
    "data=csv": "data.path, data.x, data.y not set",
    "data=csv data.path=no.csv data.x=a data.y=b": "data.path is 'no.csv', which is no file",
    "data=csv data.path=empty.csv data.x=a data.y=b": "empty.csv has no rows",
    "data=csv data.path=gap.csv data.x=a data.y=b": "missing values in 1 row: 'a' 1 (",
    "data=csv data.path=gap.csv data.x=a data.y=b data.decimal=;": "data.decimal=; cannot be",
    "data=csv data.path=gap.csv data.x=a data.y=b data.decimal=pipe": "decimal is 'pipe'; all",
    "data=csv data.path=gap.csv data.x=a data.y=b data.missing=median": "allowed: drop, mean",
    "data.missing=mean": "data.missing is given and would change nothing",
    "network.hidden=[0]": "network.hidden is [0]; allowed: whole numbers from 1",
    "network.hidden=[2] init.w1=1": "init.w1 is given and would change nothing",
    "network.hidden=[2] network.sizes=[1,1]": "network.sizes is given and would change nothing",
    "data=ames data.x=rooms": "data.x names the column 'rooms', which pkg://ames.csv does not",
    "data=ames data.x_scale=min": "x_scale is 'min'; allowed: max, standard",
}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_line_and_no_run(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "empty.csv").write_text("a,b\n")
    (tmp_path / "gap.csv").write_text("a,b\n1,2\n,3\n")
    done = call(tmp_path, "train", *arguments.split())
    assert done.returncode != 0
    # What was trained is shown before its store is opened.
    assert done.stdout == "" or arguments.startswith("tracking.uri=")
    (line,) = done.stderr.splitlines()
    assert BAD[arguments] in line
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.lr = 0.1", "it has spaces around its =; allowed: name=value, without spaces; "),
        (" train.lr=0.1", "it has spaces around its ="),
        ("train.lr=0.1 train.epochs=3", "it is several words in one"),
    ],
)
def test_spaces_around_words_are_named(tmp_path: Path, word: str, said: str) -> None:
    done = call(tmp_path, "train", word)
    assert done.returncode == 1
    assert f"{word} cannot be read: {said}" in done.stderr
    more = " train.epochs=3" if "epochs" in word else ""
    assert done.stderr.endswith(f"; write train.lr=0.1{more}\n")


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        ("http", "takes no connection"),
        ("postgresql", "takes no connection"),
        ("silent postgresql", "timeout expired"),
    ],
)
def test_a_server_that_is_away_is_named(tmp_path: Path, scheme: str, reason: str) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if scheme.startswith("silent"):
            # It takes connections, and never answers.
            server.listen()
        uri = f"{scheme.split()[-1]}://127.0.0.1:{server.getsockname()[1]}/runs"
        begun = time.monotonic()
        done = call(tmp_path, "train", f"tracking.uri={uri}")
    assert time.monotonic() - begun < 60, "MLflow alone tries a database for minutes"
    assert done.returncode == 1
    assert "converged" in done.stdout
    assert "tracked as" not in done.stdout
    line = done.stderr.splitlines()[-1]
    assert f"tracking.uri is '{uri}', wh" in line
    assert reason in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        "network=linear init=linear",
        "experiment=edge_of_stability init=random",
        "experiment=xor init=random",
        "experiment=logistic init=xavier",
        f"experiment=xor init=weights init.weights=[{','.join('1' * 17)}]",
    ],
)
def test_networks_and_initial_weights_are_chosen_apart(tmp_path: Path, words: str) -> None:
    done = call(tmp_path, "train", *words.split(), "train.epochs=3", "tracking=none")
    assert done.returncode == 0, done.stderr


def test_a_printed_command_can_be_pasted(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "my #1ü.db")
    stores.empty_database(tmp_path / "a b.db")
    uri = "tracking.uri='sqlite:///my #1ü.db'"
    done = call(tmp_path, "train", uri, "train.epochs=1")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("look at it")]
    words = shlex.split(line.partition(": ")[2])
    assert words == ["backprop-svc", "ui", "tracking.uri=sqlite:///my #1ü.db"]
    for word in (uri, words[-1]):
        assert call(tmp_path, "upgrade", word).stdout.startswith("nothing to do")
    # What is written as a code is told as it is.
    done = call(tmp_path, "train", "tracking.uri=sqlite:///a%20b.db", "train.epochs=1")
    assert f"in {tmp_path}/a b.db\n" in done.stdout
    taken = call(
        tmp_path, "ui", "tracking.uri=sqlite:///a%20b.db", f"port={stores.free_port()}x"
    )
    assert "does not exist" not in taken.stderr


NETWORK = bp.Network(1, 1, 1)
CHOICES: dict[str, Callable[[], object]] = {
    "network.activation": lambda: bp.Network(1, activation="?"),
    "network.loss": lambda: bp.Network(1, loss="?"),
    "network.dtype": lambda: bp.Network(1, dtype="?"),
    "train.optimizer": lambda: bp.train(NETWORK, [1, 1], 1, 1, optimizer="?"),  # type: ignore[arg-type]
    "train.schedule": lambda: bp.train(NETWORK, [1, 1], 1, 1, schedule="?"),  # type: ignore[arg-type]
    "train.precision": lambda: bp.train(NETWORK, [1, 1], 1, 1, precision="?"),  # type: ignore[arg-type]
    "init.method": lambda: bp.initial_weights(NETWORK, method="?"),
}


def test_help_shows_the_choices_that_errors_name(tmp_path: Path) -> None:
    lines = [
        line.split(maxsplit=1) for line in call(tmp_path, "train", "--help").stdout.splitlines()
    ]
    shown = {line[0]: line[1] for line in lines if len(line) == 2}
    for setting, ask in CHOICES.items():
        with pytest.raises(ValueError, match="allowed") as error:
            ask()
        allowed = str(error.value).split("allowed: ")[1].split("; ")[0]
        assert shown[setting].partition(" (")[0] == allowed


def test_what_changes_nothing_in_a_walk_is_refused(tmp_path: Path) -> None:
    for words in (["example.x=3"], ["train.epochs=3"], ["example=chain_rule", "data.x=3"]):
        done = call(tmp_path, "explain", *words)
        assert done.returncode == 1
        assert f"{words[-1].split('=')[0]} is given and would change nothing" in done.stderr
    assert "36" in call(tmp_path, "explain", "example=chain_rule", "example.x=4").stdout
    assert "y = (2x + 1)²" in call(tmp_path, "explain", "example.name=chain_rule").stdout
    assert "allowed: network, chain_rule" in call(tmp_path, "explain", "example.name=x").stderr


def test_a_wide_walk_is_not_cut_off(tmp_path: Path) -> None:
    words = ("init.w1=0.123456", "init.w2=-1.654321", "data.x=2.34567", "data.y=-3.45678")
    done = call(tmp_path, "explain", *words, COLUMNS="40")
    assert "…" not in done.stdout
    assert done.stdout.count("✓") == 7


def test_a_time_limit_is_said(tmp_path: Path) -> None:
    long = ("train.epochs=20000000", "train.time_limit=0.05", "tracking=none")
    done = call(tmp_path, "train", *long)
    assert done.stdout.endswith("train.time_limit ended it before its last epoch\n")
    done = call(tmp_path, "sweep", *long, "train.lr=0.01,0.1", "train.optimizer=adam")
    assert done.stdout.endswith("train.time_limit ended 2 of them before their last epoch\n")
    stop = ("train.stop_when_converged=true", "train.time_limit=60")
    ended = ("init.w1=-1,0.5", "train.lr=0.1,9", *stop)
    done = call(tmp_path, "sweep", "tracking=none", *ended)
    assert "dead" in done.stdout
    assert "time_limit" not in done.stdout


def test_printed_epochs_show_a_cycle(tmp_path: Path) -> None:
    done = call(tmp_path, "train", "experiment=edge_of_stability", "tracking=none")
    losses = [line.split()[1] for line in done.stdout.splitlines()[6:20]]
    assert losses[0] == losses[2] != losses[1] == losses[3]


def test_a_sweep_may_be_asked_for_anywhere(tmp_path: Path) -> None:
    rates = "train.lr=0.1,0.2"
    for words in (["-m", rates], [rates, "-m"], ["train.epochs=3", "--multirun", rates]):
        done = call(tmp_path, "train", *words, "tracking=none")
        assert "2 runs in" in done.stdout, done.stderr
    shown = call(tmp_path, "train", "-m", "--cfg", "job", "train.epochs=3")
    assert "epochs: 3" in shown.stdout, shown.stderr


def test_help_and_configuration(tmp_path: Path) -> None:
    assert "backprop-svc explain" in call_anew(tmp_path, "--help").stdout
    assert (
        "experiment: ames, ames_features, bifurcation, catapult, digits, edge_of_stability"
        in call_anew(tmp_path, "train", "--help").stdout
    )
    assert "lr: 0.1" in call_anew(tmp_path, "train", "--cfg", "job").stdout
    assert "shards: 1" in call_anew(tmp_path, "sweep", "--cfg", "job").stdout
    wrong = call_anew(tmp_path, "tarin")
    assert wrong.returncode == 1
    assert "'tarin' is no command; allowed: train, sweep, explain, ui" in wrong.stderr
    assert "write train, or see" in wrong.stderr
    assert list(tmp_path.iterdir()) == []


def test_shell_completion_knows_the_command(tmp_path: Path) -> None:
    line = "backprop-svc train train.e"
    # As the installed script calls it: with the name of the program alone.
    done = call_anew(tmp_path, "-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
    assert "train.epochs=" in done.stdout, done.stderr
    done = call_anew(
        tmp_path, "-sc", "query=bash", COMP_LINE="backprop-svc ex", COMP_POINT="15"
    )
    assert done.stdout.split() == ["explain", "export"]


def test_shell_completion_knows_files(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name in ("set/of it.csv", "set/of_it.csv", "set/.hidden", "new.csv", "old.csv"):
        (tmp_path / name).touch()
    for line, offered in {
        "train data=csv data.path=ne": ["data.path=new.csv"],
        "train data.path=s": ["data.path=set/"],
        "sweep data.path=set/": ["data.path=set/of_it.csv"],
        f"train data.path={tmp_path}/n": [f"data.path={tmp_path}/new.csv"],
        "predict run=best out=o": ["out=old.csv"],
        "train data.path=nowhere/": [],
    }.items():
        line = f"backprop-svc {line}"
        done = call(tmp_path, "-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
        assert [word for word in done.stdout.split("\n") if word] == offered, done.stderr


def test_an_empty_variable_tells_nothing(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    done = call(
        tmp_path, "train", "train.epochs=1", MLFLOW_TRACKING_URI=" ", MLFLOW_EXPERIMENT_NAME=""
    )
    assert f"in {tmp_path}/mlflow.db\nlook at it with: backprop-svc ui\n" in done.stdout


@pytest.mark.parametrize("columns", ["0", "00", "1", "x", "-1"])
def test_a_terminal_without_columns_is_told_all(tmp_path: Path, columns: str) -> None:
    words = ("sweep", "train.lr=0.05,0.1", "train.epochs=2", "tracking=none")
    done = call(tmp_path, *words, COLUMNS=columns)
    for part in ("2 runs\n", "train.lr", "best runs", "100.0% unresolved", "2 runs in"):
        assert part in done.stdout


def test_ui_serves_the_runs(tracked: Path) -> None:
    free_port = stores.free_port()
    process = subprocess.Popen(
        [*COMMAND, "ui", f"port={free_port}"],
        cwd=tracked,
        env=CLEAN,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/health") as reply:
                    assert reply.read() == b"OK"
                    break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.3)
        client = MlflowClient(f"http://127.0.0.1:{free_port}")
        experiment = client.get_experiment_by_name("backprop-svc")
        assert experiment is not None
        assert len(client.search_runs([experiment.experiment_id])) == 1
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def test_ui_without_runs_says_so(tmp_path: Path) -> None:
    done = call(tmp_path, "ui")
    assert done.returncode == 1
    assert "run backprop-svc train first" in done.stderr
