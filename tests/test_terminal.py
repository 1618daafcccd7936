"""What a user reads, and what is kept, when a terminal, a reader or a store goes wrong."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from mlflow import MlflowClient
from omegaconf import OmegaConf

import backprop_svc as bp
import stores
from backprop_svc import conf
from backprop_svc.cli.commands.results import write_file
from backprop_svc.cli.commands.train import _kept_by
from backprop_svc.cli.config.choices import CHOICES, INTERNAL
from backprop_svc.cli.terminal import show
from backprop_svc.errors import SettingError, StoreError
from backprop_svc.interactive import progress
from backprop_svc.interactive.progress import Status, SweepBar
from backprop_svc.sweep.chunk import Chunk, percentages
from backprop_svc.tracking import RunRecord, open_writer
from command import CLEAN, COMMAND, call, call_anew

GRID = ["train.lr=tag(log,interval(0.001,1))", "init.w1=interval(-2,2)"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is loaded")
@pytest.mark.parametrize("moment", ["numpy", "_core.abi3", "yaml", "pandas", "pyarrow"])
def test_ctrl_c_while_packages_are_imported(moment: str, tmp_path: Path) -> None:
    store = f"tracking.uri={stores.empty_database(tmp_path / 'kept.db')}"
    process = subprocess.Popen(
        [*COMMAND, "sweep", *GRID, "sweep.points=[499,499]", store],
        cwd=tmp_path,
        env=CLEAN,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    maps = Path(f"/proc/{process.pid}/maps")
    # Of those that are not loaded, the time says when.
    end = time.monotonic() + 3
    while moment not in maps.read_text() and time.monotonic() < end:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert err.splitlines()[-1] == "backprop-svc: stopped"
    assert "Traceback" not in err


SWALLOWED = """
import os, signal
from backprop_svc.cli import main
def run(arguments):
    try:
        os.kill(os.getpid(), signal.{name})
    except BaseException:
        raise ValueError("what a library makes of it") from None
main.COMMANDS["train"] = main.COMMANDS["train"]._replace(run=run)
main.main()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_no_library_swallows_a_signal(tmp_path: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED.format(name=name), "train"],
        cwd=tmp_path,
        env=CLEAN,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 128 + getattr(signal, name), done.stderr
    assert done.stderr == ("backprop-svc: stopped\n" if name == "SIGINT" else "")


def test_a_reader_that_goes_away_ends_no_sweep(tmp_path: Path) -> None:
    results = "sweep.results=table.parquet"
    process = subprocess.Popen(
        [*COMMAND, "sweep", *GRID, "tracking=none", results],
        cwd=tmp_path,
        env=CLEAN,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"sweep ")
    process.stdout.close()
    said = process.stderr.read().decode()
    assert (process.wait(60), said) == (0, "")
    assert (tmp_path / "table.parquet").exists()
    process.stderr.close()


def test_no_command_line_ends_with_a_traceback_or_obeys_what_it_reads(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("a\x1b[2Jb,\u202eprice\n1,2\n2,4\n")
    (tmp_path / "cells.csv").write_text("a,price\n1,\x1b]0;pwn\x07\n")
    (tmp_path / "large.csv").write_text("area,price\n2000,300000\n1000,150000\n")
    data = ["tracking=none", "data=csv", "data.x=[area]", "data.y=price"]
    cases = {
        ("sweep", "--run", "train.lr=0.1,0.2"): (1, "allowed: one of them"),
        ("sweep", "-sc", "install=bash"): (0, "COMP_WORDBREAKS"),
        ("sweep", "hydra.launcher._target_=a.B", "train.lr=0.1,0.2"): (1, "Invalid plugin"),
        ("sweep", "hydra.sweeper._target_=a.B", "train.lr=0.1,0.2"): (1, "Invalid plugin"),
        ("train", "hydra.run.dir=/proc/x", "tracking=none"): (1, "/proc/x"),
        ("train", "--experimental-rerun", "x.pickle"): (1, "pickle"),
        ("train", "--exp", "x.pickle"): (1, "pickle"),
        ("train", *data, "data.path=names.csv"): (1, r"a\x1b[2Jb, \u202eprice"),
        ("train", *data, "data.path=cells.csv", "data.x=[a]"): (1, r"\x1b]0;pwn\x07"),
        ("train", *data, "data.path=large.csv"): (0, "try data.x_scale=standard"),
        ("train", "data.unit='[/x]'", "tracking=none"): (0, "last prediction 300 [/x]"),
        ("train", "data.unit='\x1b[2J'", "tracking=none"): (0, r"300 \x1b[2J"),
        ("train", "tracking.history=every:" + "9" * 5000): (1, "K from 1 to 2^63"),
        ("train", "tracking.history=every:9223372036854775808"): (1, "K from 1 to 2^63"),
        ("train", "tracking.uri=mlflow.db"): (1, "write sqlite:///mlflow.db"),
        ("train", "lr=0.1"): (1, "write train.lr"),
        ("train", "train.learning_rate=0.1"): (1, "write train.lr"),
        ("train", "train.optimiser=adam"): (1, "write train.optimizer"),
        ("train", "+train.foo=1", "tracking=none"): (1, "train.foo is not a setting"),
        ("train", "data.path=large.csv", "tracking=none"): (1, "write data=csv"),
        ("sweep", "train.lr=1e-3,0.1234567891", "tracking=none"): (0, "0.1234567891"),
    }
    for words, (code, text) in cases.items():
        done = call(tmp_path, *words)
        said = done.stdout + done.stderr
        assert (done.returncode, "Traceback" in said) == (code, False), (words, said)
        assert text in said, (words, said)
        assert not {"\x1b", "\x07", "\u202e"} & {*said}, words


def test_a_working_directory_that_was_deleted(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"rmdir {gone}; exec {sys.executable} -m backprop_svc train tracking=none"
    done = subprocess.run(
        ["sh", "-c", script], cwd=gone, env=CLEAN, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "the working directory is not there" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_is_replaced_or_stays(tmp_path: Path) -> None:
    table, link = tmp_path / "table.parquet", tmp_path / "link.parquet"
    table.write_bytes(b"before")
    table.chmod(0o640)
    link.symlink_to(table)
    write_file(str(link), b"after")
    assert (table.read_bytes(), link.is_symlink()) == (b"after", True)
    assert table.stat().st_mode & 0o777 == 0o640
    # As on a full disk: no file may be larger.
    code = f"""
import resource, signal
from backprop_svc.cli.commands.results import write_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_file({str(link)!r}, b"x" * 2000)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "sweep.results" in done.stderr
    assert table.read_bytes() == b"after"
    assert sorted(tmp_path.iterdir()) == [link, table]
    with pytest.raises(SettingError, match="cannot be written"):
        write_file(str(tmp_path / "nowhere" / "table.parquet"), b"")


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server that sends a byte of its answer now and then; yields its address."""
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while not ended.wait(0.2):
                connection.sendall(b"H")

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=drip, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=[server], daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        ended.set()
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_server_that_drips_bytes_is_given_up(
    dripping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backprop_svc.tracking.patience.ANSWER", 2.0)
    begin = time.monotonic()
    with pytest.raises(StoreError, match="has not answered within 2 s"):
        open_writer(dripping, "e")
    assert time.monotonic() - begin < 60


def test_a_full_temporary_folder_is_told(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    with stores.mounted(tmp_path / "full", "size=64k", "a full disk") as full:
        words = ("sweep", "train.lr=0.1,0.2", "train.epochs=2")
        done = call_anew(tmp_path, *words, TMPDIR=str(full))
    assert "Traceback" not in done.stderr
    # What a run takes to be written is not known, and nothing else missing of the estimate.
    assert "trained a second" in done.stdout
    assert f"make room there and in {full}, or do not track" in done.stderr
    assert "go on with: backprop-svc sweep" in done.stderr


def test_a_printed_command_has_no_part_of_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "postgresql://me:secret@host/db"
    told = "backprop-svc ui 'tracking.uri=postgresql://me:***@host/db', and what *** hides"
    assert show.look(uri) == told
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert show.look(uri) == "backprop-svc ui"


def test_a_signal_in_the_middle_of_a_clean_up_shows_no_traceback(tmp_path: Path) -> None:
    program = """
import os, signal, time
from backprop_svc.cli.terminal import interrupt
interrupt.listen()
class Held:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
held = Held()
del held
assert interrupt.is_asked()
class Faulty:
    def __del__(self):
        raise ValueError("told")
Faulty()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "KeyboardInterrupt" not in done.stderr
    assert "ValueError: told" in done.stderr


def test_a_run_whose_store_fails_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with stores.mlflow_server(stores.empty_database(tmp_path / "a.db"), tmp_path) as address:
        writer = open_writer(address, "e")
    run = RunRecord("name", {"p": "1"}, [("loss", 0.5, 3)], {}, 1000, 2000)
    stores.empty_database(tmp_path / "backprop-svc-1000.db")
    with pytest.raises(StoreError) as caught:
        _kept_by(writer, run, "e")
    kept = f"sqlite:///{tmp_path}/backprop-svc-1000.db"
    assert f"backprop-svc ui tracking.uri={kept}" in str(caught.value)
    client = MlflowClient(kept)
    experiment = client.get_experiment_by_name("e")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.data.metrics, found.data.params) == ({"loss": 0.5}, {"p": "1"})


def chunk_of(*, there: int = 0) -> Chunk:
    """Three runs, the first of them dead."""
    seen: list[Chunk] = []
    axes = {"w1": [-1.0, 0.5, 0.5]}
    bp.sweep(bp.Network(1, 1, 1), 2.0, 3.0, axes, epochs=50, progress=seen.append)
    return Chunk(**{**vars(seen[0]), "there": there})


def test_a_log_tells_how_far_a_sweep_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "FIRST_LINE", 0.5)
    chunks, said = [chunk_of(), chunk_of(there=3)], ""
    with SweepBar(9, lines=True) as bar:
        for count in range(1, 4):
            while said.count("\n") < count:
                time.sleep(0.01)
                said += capsys.readouterr().err
            if chunks:
                bar(chunks.pop(0))
    first, second, third = said.splitlines()
    assert first == "0 of 9 runs (0 %)"
    number = r"[0-9.,e-]+"
    left = "0:0[0-9]:[0-9]{2} left"
    told = f"{number} runs/s, {left}, best loss {number}, 33% dead, 0% diverged"
    assert re.fullmatch(rf"3 of 9 runs \(33 %\), {told}", second)
    assert re.fullmatch(rf"6 of 9 runs \(66 %\), 3 were there, {told}", third)


def test_what_was_there_took_no_time_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 100.0, 101.0, 101.0, 104.0, 104.0])
    chunks = [chunk_of(there=3), chunk_of(), chunk_of(there=1)]
    monkeypatch.setattr("backprop_svc.interactive.progress.time.monotonic", lambda: next(clock))
    status = Status(21)
    status.add(chunks[0])
    assert "runs/s" not in status.text()
    status.add(chunks[1])
    # Three runs in one second, and 15 to go.
    assert "3 runs/s" in status.text()
    status.add(chunks[2])
    # Five in four seconds, and 12 to go.
    assert "1.2 runs/s" in status.text()


def test_a_store_that_stands_still_slows_the_rate_down(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 3.0, 3.0, 6.0, 30.0])
    chunk = chunk_of()
    monkeypatch.setattr("backprop_svc.interactive.progress.time.monotonic", lambda: next(clock))
    status = Status(21)
    status.add(chunk)
    # Three runs in three seconds, and 18 to go.
    assert "1 runs/s, 0:00:18 left" in status.text()
    # The next three are due.
    assert "1 runs/s, 0:00:15 left" in status.text()
    # Three runs in 27 seconds and three that are due, or a ninth of one in a second.
    assert "0.11 runs/s, 0:02:39 left" in status.text()


def test_what_comes_before_the_first_run_is_in_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 100.0, 101.0, 101.0])
    chunk = chunk_of()
    monkeypatch.setattr("backprop_svc.interactive.progress.time.monotonic", lambda: next(clock))
    bar = SweepBar(21, shown=False)
    bar.start()
    bar._status.add(chunk)
    # Three runs in the second since it began.
    assert "3 runs/s" in bar._status.text()


@pytest.mark.parametrize("counts", [[1, 1, 1], [1, 2, 3, 0, 5], [0, 7], [1] * 7, [999, 1], [3]])
@pytest.mark.parametrize("digits", [0, 1])
def test_percentages_add_up(counts: list[int], digits: int) -> None:
    shares = [Decimal(share) for share in percentages(counts, digits)]
    assert sum(shares) == 100
    for share, count in zip(shares, counts, strict=True):
        exact = Fraction(100 * count, sum(counts))
        assert abs(Fraction(share) - exact) < Fraction(1, 10**digits)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_signs_that_a_terminal_lacks_are_replaced(tmp_path: Path, encoding: str) -> None:
    cases = {
        ("explain",): (0, "? = w2?ReLU(w1?x), L = "),
        ("sweep", "train.lr=0.1,0.2", "data.unit='\u0177'", "tracking=none"): (0, "2 runs in"),
        ("train", "train.lr=\u0177"): (1, "train.lr=? cannot be read"),
    }
    for words, (code, text) in cases.items():
        done = subprocess.run(
            [*COMMAND, *words],
            cwd=tmp_path,
            env={**CLEAN, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
            capture_output=True,
            check=False,
        )
        said = (done.stdout + done.stderr).decode(encoding)
        assert done.returncode == code, said
        assert re.search(re.escape(text).replace(r"\?", "[?\u00b7]"), said), said


def test_a_table_in_a_pipe_is_as_wide_as_it_is(tmp_path: Path) -> None:
    words = ["train.lr1=0.123456789,0.2", "train.lr2=0.123456789123,0.3", "train.epochs=20,30"]
    words += ["network.activation=relu,tanh", "train.divergence_bound=1e10,1e11"]
    done = call(tmp_path, "sweep", *words, "tracking=none", COLUMNS="40", FORCE_COLOR="1")
    assert done.returncode == 0, done.stderr
    assert "\N{HORIZONTAL ELLIPSIS}" not in done.stdout
    assert "0.123456789123" in done.stdout
    table = done.stdout.partition("best runs")[2].splitlines()
    assert max(map(len, table[:12])) > 100
    assert "\r" not in done.stdout + done.stderr


def test_pythons_optimization_is_named(tmp_path: Path) -> None:
    for words in (["train.lr=range(0.1,1,0.1)"], ["train.lr=choice(1,2)", "train.epochs=3"]):
        done = call_anew(tmp_path, "sweep", *words, "tracking=none", PYTHONOPTIMIZE="1")
        (line,) = done.stderr.splitlines()
        assert line.startswith(
            f"backprop-svc: {words[0]} cannot be read, since Python optimizes"
        )


def test_what_libraries_warn_of_ends_no_command(tmp_path: Path) -> None:
    """MLflow, which makes the tables here, warns while it is imported."""
    done = call_anew(tmp_path, "train", "train.epochs=1", PYTHONWARNINGS="error")
    assert done.returncode == 0, done.stderr
    assert "tracked as run" in done.stdout


def test_verbose_shows_more(tmp_path: Path) -> None:
    words = ("sweep", "train.lr=0.1,0.2", "tracking=none")
    done = call(tmp_path, *words, "hydra.verbose=true")
    assert done.returncode == 0, done.stderr
    assert "backprop_svc: build: {" in done.stderr
    assert "backprop_svc.sweep.pace: trained 2 runs in" in done.stderr
    done = call(tmp_path, *words, "hydra.verbose=[backprop_svc.sweep]")
    assert "trained 2 runs in" in done.stderr
    assert "build" not in done.stderr
    secret = "tracking.uri=postgresql://me:secret@127.0.0.1:1/x"
    done = call(tmp_path, "train", secret, "hydra.verbose=true")
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["train", "explain"])
def test_a_shell_is_offered_what_a_configuration_has(tmp_path: Path, command: str) -> None:
    def offered(word: str) -> list[str]:
        line = f"backprop-svc {command} {word}"
        return call(
            tmp_path, "-sc", "query=bash", COMP_LINE=line, COMP_POINT="9"
        ).stdout.split()

    composed = OmegaConf.create(call(tmp_path, command, "--cfg", "job").stdout)
    begun = offered("")
    for section, values in composed.items():
        assert f"{section!s}." in begun
        names = {f"{section!s}.{name}=" for name in values}
        assert {*offered(f"{section!s}.")} == names - {f"{name}=" for name in INTERNAL}
    groups = {word for word in begun if word.endswith("=")}
    for group in groups:
        files = (Path(conf.__file__).parent / group.rstrip("=")).glob("*.yaml")
        assert offered(group) == sorted(f"{group}{file.stem}" for file in files)
    assert {"data=", "init=", "network=", "train="} <= groups
    assert ("experiment=" in groups) == (command == "train")
    assert "hydra/launcher=basic" in offered("hydra/launcher=")
    assert offered("train.nothing") == []


def test_a_shell_is_offered_the_words_of_commands_without_a_configuration(
    tmp_path: Path,
) -> None:
    line = {"COMP_LINE": "backprop-svc predict ", "COMP_POINT": "21"}
    done = call(tmp_path, "-sc", "query=bash", **line)
    assert done.stdout.split() == ["run=", "data.path=", "out="]


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_a_shell_is_offered_choices_and_nothing_internal(tmp_path: Path, shell: str) -> None:
    def offered(line: str) -> list[str]:
        done = call(tmp_path, "-sc", f"query={shell}", COMP_LINE=line, COMP_POINT="9")
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    for setting, names in CHOICES.items():
        line = f"backprop-svc sweep train.lr=0.1 {setting}="
        assert offered(line) == [f"{setting}={name}" for name in names]
    assert offered("backprop-svc sweep train.optimizer=adam,nes") == [
        "train.optimizer=adam,nesterov"
    ]
    assert offered("backprop-svc train +train.schedule=co") == [
        "+train.schedule=constant",
        "+train.schedule=cosine",
    ]
    own = ("dry_run", "metric", "points", "results", "resume", "sampler", "samples", "seed")
    assert offered("backprop-svc sweep sweep.") == [f"sweep.{n}=" for n in (*own, "shards")]
    assert "data=ames" in offered("backprop-svc train data=")


@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["ui", "-h"]])
def test_help_may_be_cut_off(tmp_path: Path, words: list[str]) -> None:
    read, write = os.pipe()
    # Nobody reads.
    os.close(read)
    with os.fdopen(write, "wb") as stream:
        done = subprocess.run(
            [*COMMAND, *words], cwd=tmp_path, stdout=stream, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")
