"""Opening stores, in real processes: what cannot be opened, and what must stay as it is."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

import backprop_svc as bp
import stores
from backprop_svc.tracking import sqlite, store
from backprop_svc.tracking.revision import installed_revisions
from command import CLEAN, COMMAND, Running, call

FEW = ("train", "train.epochs=2")
OLDER = Path(__file__).with_name("mlflow-3.1.sql")
"""The tables that MLflow 3.1.4 makes, with one run, as SQLite dumps them."""


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def older_database(file: Path) -> str:
    """Write the database of MLflow 3.1.4; return its URI."""
    with closing(sqlite3.connect(file)) as database:
        database.executescript(OLDER.read_text())
    return f"sqlite:///{file}"


def revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    with stores.mounted(tmp_path / "read-only", "ro", "a read-only folder") as folder:
        yield folder


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("sqlite:////proc/x.db", "/proc cannot hold it"),
        ("sqlite:////nowhere/x.db", "there is no folder /nowhere"),
        ("sqlite:///folder", "which is a folder"),
        ("sqlite:////dev/null", "which is no file"),
        ("sqlite:///text.txt", "file is not a database"),
        ("sqlite://", "which names no file"),
        ("sqlite:///", "which names no file"),
        ("sqlite:///:memory:", "which names no file"),
        ("sqlite:///file::memory:?uri=true", "which names no file"),
        ("sqlite:///file:x?mode=memory&uri=true", "which names no file"),
        (f"sqlite:///{'x' * 300}.db", "File name too long"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/runs", "takes no connection at port 1"),
        ("mysql://me:secret@127.0.0.1/x", "whose driver MySQLdb is not installed"),
        ("sqlite+aiosqlite:///x.db", "whose driver aiosqlite is not installed"),
        ("http://127.0.0.1:1", "takes no connection at port 1"),
        ("http://localhost:port", "which is not understood"),
    ],
)
def test_what_cannot_be_opened_is_said_before_mlflow_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.txt").write_text("no database, but a text that is long enough for one")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    began = time.monotonic()
    with pytest.raises(ConnectionError, match=re.escape(said)) as caught:
        store.prepare(uri)
    # MLflow alone tries for minutes.
    assert time.monotonic() - began < 30
    assert "secret" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_database_of_another_program_stays_as_it_is(tmp_path: Path) -> None:
    for number, statement in enumerate(
        [
            "CREATE TABLE a (b)",
            "CREATE TABLE experiments (b)",
            "CREATE VIEW v AS SELECT 1",
            "CREATE TABLE alembic_version AS SELECT 'of another' AS version_num",
        ]
    ):
        file = tmp_path / f"{number}.db"
        with closing(sqlite3.connect(file)) as database:
            database.execute(statement)
        before = digest(file)
        with pytest.raises(ConnectionError, match=r"another program.*give another database"):
            store.prepare(f"sqlite:///{file}")
        with pytest.raises((ConnectionError, ValueError)):
            bp.load_sweep("last", tracking=f"sqlite:///{file}")
        assert digest(file) == before


@pytest.mark.parametrize("program", ["MLflow", "another"])
def test_what_another_program_makes_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """No other program takes the lock under which we make a database."""
    file, write = tmp_path / "new.db", store._write

    def meanwhile(draft: Path) -> None:
        write(draft)
        if program == "MLflow":
            client = MlflowClient(stores.empty_database(file))
            client.create_run(client.create_experiment("theirs"))
        else:
            with closing(sqlite3.connect(file)) as database:
                database.execute("CREATE TABLE a (b)")
        made.append(digest(file))

    made: list[str] = []
    monkeypatch.setattr(store, "_write", meanwhile)
    if program == "MLflow":
        store.prepare(f"sqlite:///{file}")
    else:
        with pytest.raises(ConnectionError, match="another program"):
            store.prepare(f"sqlite:///{file}")
    assert made == [digest(file)]


def test_an_empty_database_may_be_in_wal_mode_and_in_use(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for mode, begin in [("delete", "BEGIN IMMEDIATE"), ("delete", "BEGIN"), ("wal", "BEGIN")]:
        file = tmp_path / f"{mode}-{begin}.db"
        other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        other.execute(f"PRAGMA journal_mode = {mode}")
        other.execute(begin)
        other.execute("SELECT count(*) FROM sqlite_master").fetchone()
        release = threading.Timer(3, lambda own=other: own.execute("ROLLBACK"))
        release.start()
        store.prepare(f"sqlite:///{file}")
        release.join()
        other.close()
        assert MlflowClient(f"sqlite:///{file}").search_experiments()
    assert "another program has locked" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("sqlite:///a%20b.db", "a b.db"),
        ("sqlite:///file:a%2520b.db?uri=true", "a b.db"),
        ("sqlite:////x/y.db", "/x/y.db"),
        ("sqlite:///file:/x/y.db?uri=true", "/x/y.db"),
        ("sqlite:///file:y.db?uri=false", "file:y.db"),
        ("sqlite://h:abc/x.db", None),
        ("sqlite:///:memory:", None),
        ("postgresql://host/x", None),
    ],
)
def test_the_file_of_a_uri_is_the_one_that_sqlite_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, named: str | None
) -> None:
    file = sqlite.file_named_by(uri)
    assert file == (None if named is None else Path(named))
    if named is not None and not named.startswith("/"):
        monkeypatch.chdir(tmp_path)
        sa.create_engine(uri).connect().exec_driver_sql("CREATE TABLE a (b)").connection.close()
        assert [file.name for file in tmp_path.iterdir()] == [named]


def test_mlflow_makes_its_tables_beside_others_of_postgresql(tmp_path: Path) -> None:
    with stores.postgres_server(tmp_path / "postgres") as uri:
        engine = sa.create_engine(uri, poolclass=sa.NullPool)
        with engine.begin() as database:
            database.execute(sa.text("CREATE TABLE a (b int)"))
        store.prepare(uri)
        assert {"a", "runs"} <= set(sa.inspect(engine).get_table_names())


@pytest.mark.parametrize(("size", "where"), [("64k", "temporary"), ("3m", "of the store")])
def test_a_full_disk_is_told_with_the_place_that_needs_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str, where: str
) -> None:
    store.prepare(f"sqlite:///{tmp_path}/first.db")
    with stores.mounted(tmp_path / "full", f"size={size}", "a full disk") as full:
        if where == "temporary":
            monkeypatch.setattr(tempfile, "tempdir", str(full))
        file = tmp_path / "new.db" if where == "temporary" else full / "new.db"
        fix = (
            f"make room in {full}, or set TMPDIR"
            if where == "temporary"
            else "make room beside"
        )
        with pytest.raises(ConnectionError, match=fix):
            store.prepare(f"sqlite:///{file}")
        sizes = [left.stat().st_size for left in full.rglob("*")]
        assert sum(sizes) == 0


@pytest.mark.parametrize(
    ("uri", "fix"),
    [
        ("mysql://me:secret@127.0.0.1/x", "run `pip install mysqlclient`"),
        ("sqlite+aiosqlite:///x.db", "write sqlite:///x.db"),
        ("postgresql+asyncpg://me:secret@host/x", "write postgresql://me:***@host/x"),
    ],
)
def test_a_driver_that_is_not_there_is_told(uri: str, fix: str) -> None:
    with pytest.raises(ConnectionError) as caught:
        store.prepare(uri)
    assert f"; {fix}, or do not" in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        ("sqlite://x.db", "sqlite:///x.db"),
        ("sqlite:x.db", "sqlite:///x.db"),
        ("sqlite:/x.db", "sqlite:///x.db"),
        ("sqlite:/home/me/x.db", "sqlite:////home/me/x.db"),
        ("SQLite:///x.db", "sqlite:///x.db"),
        ("postgres://me:secret@host/runs", "postgresql://me:***@host/runs"),
        ("postgres+psycopg://host/runs", "postgresql+psycopg://host/runs"),
        ("http:/localhost:5000", "http://localhost:5000"),
        ("localhost:5000", "http://localhost:5000"),
        ("10.0.0.1:5000", "http://10.0.0.1:5000"),
    ],
)
def test_a_uri_that_begins_otherwise_is_told_as_it_was_meant(uri: str, meant: str) -> None:
    with pytest.raises(bp.SettingError) as caught:
        store.prepare(uri)
    assert caught.value.fix == f"write {meant}"
    assert "secret" not in str(caught.value)


def test_a_read_only_folder_is_said(read_only: Path) -> None:
    done = call(read_only.parent, *FEW, f"tracking.uri=sqlite:///{read_only}/x.db")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "Read-only file system" in line
    assert "tracking=none" in line


def test_an_older_database_is_neither_migrated_nor_written(tmp_path: Path) -> None:
    older_database(tmp_path / "mlflow.db")
    before = digest(tmp_path / "mlflow.db")
    for command in (FEW, ("sweep", "train.lr=0.1,0.2"), ("ui",)):
        done = call(tmp_path, *command)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert "older than the installed MLflow" in line
        assert "backprop-svc upgrade tracking.uri=sqlite:///mlflow.db" in line
    assert digest(tmp_path / "mlflow.db") == before
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'feedfeedfeed'")
    with pytest.raises(ConnectionError, match=r"newer than .*feedfeedfeed.*upgrade mlflow"):
        store.prepare(uri)


def test_an_upgrade_keeps_the_runs_and_the_old_file(tmp_path: Path) -> None:
    uri = older_database(tmp_path / "mlflow.db")
    old = revision(tmp_path / "mlflow.db")
    done = call(tmp_path, "upgrade")
    assert done.returncode == 0, done.stderr
    assert f"mlflow.db.{old}" in done.stdout
    assert revision(tmp_path / f"mlflow.db.{old}") == old
    assert revision(tmp_path / "mlflow.db") == installed_revisions()[1]
    client = MlflowClient(uri)
    (run,) = client.search_runs(["1"])
    assert run.data.metrics == {"loss": 0.5}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mlflow.db", f"mlflow.db.{old}"]
    again = call(tmp_path, "upgrade")
    assert "nothing to do" in again.stdout
    # A database that somebody has open is left alone.
    older_database(tmp_path / "used.db")
    with closing(sqlite3.connect(tmp_path / "used.db")) as used:
        used.execute("PRAGMA journal_mode = WAL")
        used.execute("SELECT count(*) FROM runs").fetchone()
        done = call(tmp_path, "upgrade", "tracking.uri=sqlite:///used.db")
    assert done.returncode == 1
    assert "another program has open" in done.stderr
    assert revision(tmp_path / "used.db") == old


def group_is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("also_its_mlflow", [True, False])
def test_an_upgrade_killed_at_any_moment_leaves_a_database(
    tmp_path: Path, also_its_mlflow: bool
) -> None:
    # Its signs mean something in a URI.
    folder = tmp_path / "100%20 #1?ü"
    folder.mkdir()
    moments, file = random.Random(3), folder / "mlflow.db"
    older_database(file)
    old = revision(file)
    for _ in range(3):
        process = subprocess.Popen(
            [*COMMAND, "upgrade"], cwd=folder, env=CLEAN, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(moments.uniform(0.8, 8))
        except subprocess.TimeoutExpired:
            (os.killpg if also_its_mlflow else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            end = time.monotonic() + 10
            while group_is_there(process.pid):
                assert time.monotonic() < end
                time.sleep(0.05)
        assert revision(file) in {old, installed_revisions()[1]}
        with closing(sqlite3.connect(file)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert call(folder, "upgrade").returncode == 0
    assert revision(file) == installed_revisions()[1]
    assert not [left for left in folder.iterdir() if "upgrade" in left.name]
    assert list(tmp_path.iterdir()) == [folder]


def test_what_a_removed_database_left_is_not_replayed(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.execute("CREATE TABLE old (number)")
        old.executemany("INSERT INTO old VALUES (?)", [(number,) for number in range(9999)])
        old.commit()
        for end in ("-wal", "-shm"):
            shutil.copy(f"{file}{end}", f"{file}{end}.kept")
    file.unlink()
    for end in ("-wal", "-shm"):
        Path(f"{file}{end}.kept").rename(f"{file}{end}")
    mine = tmp_path / "mlflow.db.new"
    mine.write_text("mine")
    done = call(tmp_path, *FEW)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert "old" not in tables
    assert mine.read_text() == "mine"


def test_processes_make_one_database_and_leave_no_lock(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    target = tmp_path / "precious"
    target.write_text("precious")
    name = hashlib.sha256(str(tmp_path / "mlflow.db").encode()).hexdigest()[:16]
    for folder in (temporary, tmp_path):
        (folder / f"backprop-svc-{name}.lock").symlink_to(target)
    several = [
        subprocess.Popen(
            [*COMMAND, *FEW], cwd=tmp_path, env={**CLEAN, "TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in several:
        _, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
    assert target.read_text() == "precious"
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (2,)
        assert database.execute("PRAGMA page_size").fetchone() == (store.PAGE,)
    left = {file.name for file in tmp_path.iterdir() if ".lock" not in file.name}
    assert left <= {
        "temporary", "precious", "mlruns", "mlflow.db", "mlflow.db-wal", "mlflow.db-shm",
    }  # fmt: skip


def test_a_lock_ends_with_its_process_and_is_every_users(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    hold = (
        "import sys; from pathlib import Path; from backprop_svc.tracking import sqlite\n"
        "with sqlite.alone(Path(sys.argv[1])):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "x.db")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    wait = sqlite.WAIT
    try:
        sqlite.WAIT = 1
        with pytest.raises(TimeoutError), sqlite.alone(tmp_path / "x.db"):
            pass
    finally:
        sqlite.WAIT = wait
    holder.kill()
    holder.communicate()
    with sqlite.alone(tmp_path / "x.db"):
        pass
    tmp_path.chmod(0o755)
    assert not list(tmp_path.iterdir())


def test_a_run_waits_for_a_locked_database(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    sweep(tmp_path, 0.1)
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    process = Running(tmp_path, *FEW)
    while "after 2 epochs" not in process.said():
        assert process.poll() is None
        time.sleep(0.1)
    # It has trained, and waits longer than MLflow would.
    time.sleep(25)
    assert process.poll() is None
    holder.execute("ROLLBACK")
    holder.close()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    said = f"backprop-svc: another program has locked {tmp_path}/mlflow.db; waiting for it"
    assert err.splitlines()
    assert all(line.startswith(said) for line in err.splitlines())
    runs = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").search_runs(["1"])
    assert [run.info.status for run in runs] == ["FINISHED"] * 3


def sweep(folder: Path, *starts: float, uri: str | None = None) -> None:
    """Track a sweep from a folder, in this process."""
    uri = uri or f"sqlite:///{folder}/mlflow.db"
    with chdir(folder):
        axes = {"w1": list(starts)}
        bp.sweep(bp.Network(1, 1, 1), 2.0, 3.0, axes, tracking=uri, epochs=2, progress=False)


def places(folder: Path) -> tuple[int, set[Path]]:
    """Return how many runs the database of a folder has, and where their artifacts are."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    runs = client.search_runs(["1"])
    for run in runs:
        if "mlflow.parentRunId" not in run.data.tags:
            # Their files are found, too.
            assert "config.yaml" in {f.path for f in client.list_artifacts(run.info.run_id)}
    return len(runs), {Path(run.info.artifact_uri).parents[2] for run in runs}


def artifacts(folder: Path) -> list[Path]:
    return sorted((folder / "mlruns").rglob("*"))


def test_a_folder_keeps_its_artifacts(tmp_path: Path) -> None:
    old, copied, moved = (tmp_path / name for name in ("old", "copied", "moved"))
    old.mkdir()
    stores.empty_database(old / "mlflow.db")
    sweep(old, 0.1, 0.2)
    before = artifacts(old)
    shutil.copytree(old, copied)
    done = call(copied, "sweep", "init.w1=0.3,0.4", "train.epochs=2")
    assert done.returncode == 0, done.stderr
    assert "the artifacts of 3 runs are now those in" in done.stderr
    assert artifacts(old) == before
    assert places(copied) == (6, {copied / "mlruns"})
    assert places(old) == (3, {old / "mlruns"})
    old.rename(moved)
    sweep(moved, 0.5)
    assert not old.exists()
    assert places(moved) == (5, {moved / "mlruns"})


def test_a_database_by_itself_keeps_its_artifacts_elsewhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without the files of its runs beside it, they are still those where they were."""
    folder, data = tmp_path / "work", tmp_path / "data"
    folder.mkdir()
    data.mkdir()
    uri = stores.empty_database(data / "mlflow.db")
    (data / "mlruns" / "1" / "another").mkdir(parents=True)
    for start in (0.1, 0.2):
        sweep(folder, start, uri=uri)
    assert "moved" not in capfd.readouterr().err
    assert places(data) == (4, {folder / "mlruns"})
    # They are gone there: what comes now is kept beside the database.
    (folder / "mlruns").rename(tmp_path / "gone")
    sweep(folder, 0.3, uri=uri)
    assert artifacts(data)
    assert not (folder / "mlruns").exists()


def test_artifacts_that_cannot_be_kept_where_they_belong(tmp_path: Path) -> None:
    """They are named, and not their store; runs are ended, or kept elsewhere."""
    places = {
        "folder": ("/proc/no@where=here", "No such file or directory"),
        "driver": ("sftp://me:se'cret@127.0.0.1/x", "run `pip install paramiko`"),
        "scheme": ("foo://nowhere/x", "an experiment of another name"),
    }
    file = stores.empty_database(tmp_path / "mlflow.db")
    with stores.mlflow_server(file, tmp_path) as address:
        client = MlflowClient(file)
        for name, (place, _) in places.items():
            client.create_experiment(name, artifact_location=place)
        for uri in (file, address):
            for name, (place, said) in places.items():
                where = (f"tracking.uri={uri}", f"tracking.experiment={name}")
                done = call(tmp_path, "sweep", "train.lr=0.1,0.2", *where)
                assert done.returncode == 1
                shown = place.replace("se'cret", "***")
                assert f"whose artifacts belong in '{shown}" in done.stderr
                assert said in done.stderr
                assert "cret" not in done.stderr
                done = call(tmp_path, "train", *where)
                assert "whose artifacts belong in" in done.stderr
                assert "the run is kept in" in done.stderr
                done = call(tmp_path, *FEW, *where, "tracking.experiment=new")
                assert done.returncode == 0, done.stderr
        runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
        assert {run.info.status for run in runs} == {"FAILED", "FINISHED"}
        assert sum(run.info.status == "FINISHED" for run in runs) == 6
    assert len(list(tmp_path.glob("backprop-svc-*.db"))) == 6


@contextmanager
def chdir(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def test_a_copied_file_has_everything_although_the_ui_has_it_open(tmp_path: Path) -> None:
    database, copy = tmp_path / "mlflow.db", tmp_path / "copy.db"
    stores.empty_database(database)
    # A database in use keeps its log: only a command that asks for it brings that in.
    with closing(sqlite3.connect(database)) as reader:
        reader.execute("PRAGMA journal_mode = WAL")
        for number, words in enumerate((["train"], ["sweep", "train.lr=0.1,0.2"]), 1):
            assert reader.execute("SELECT count(*) FROM runs").fetchone()
            done = call(tmp_path, *words)
            assert done.returncode == 0, done.stderr
            shutil.copy(database, copy)
            with closing(sqlite3.connect(copy)) as db:
                (runs,) = db.execute(
                    "SELECT count(*) FROM runs WHERE status = 'FINISHED'"
                ).fetchone()
            assert runs == [0, 1, 4][number]
