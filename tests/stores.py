"""Real stores for the tests: SQLite, PostgreSQL, a tracking server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

from command import CLEAN


def empty_database(file: Path) -> str:
    """Write a SQLite store without an experiment; return its URI.

    MLflow makes a store by all the migrations of its history, which takes seconds. Here that
    happens once.
    """
    file.write_bytes(_empty_database())
    return f"sqlite:///{file}"


@cache
def _empty_database() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "mlflow.db"
        MlflowClient(f"sqlite:///{file}").search_experiments()
        with closing(sqlite3.connect(file)) as db, db:
            # MLflow's own experiment names this folder; the next who opens it adds another.
            db.execute("DELETE FROM experiments")
        return file.read_bytes()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL of one's own on a free loopback port; yields its URI."""
    programs = {name: _program(name) for name in ("initdb", "postgres", "psql")}
    if None in programs.values():
        pytest.skip("no PostgreSQL here; install it with: apt-get install postgresql")
    # PostgreSQL refuses to run as root.
    root = os.geteuid() == 0
    folder.mkdir(parents=True, exist_ok=True)
    user: dict[str, str] = {"user": "postgres"} if root else {}
    if root:
        # However deep its folder is, it has to get there; what others may enter stays as it is.
        for parent in (folder, *folder.parents):
            if not (mode := parent.stat().st_mode) & 0o001:
                parent.chmod(mode | 0o011)
        shutil.chown(folder, "postgres")
    data, port = folder / "data", free_port()
    initdb = [str(programs["initdb"]), "-D", str(data), "-A", "trust", "-U", "postgres"]
    subprocess.run([*initdb, "-E", "UTF8"], check=True, stdout=subprocess.DEVNULL, **user)  # type: ignore[call-overload]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(  # type: ignore[call-overload]
            [
                *(str(programs["postgres"]), "-D", str(data), "-p", str(port)),
                *("-c", "listen_addresses=127.0.0.1", "-k", str(folder)),
            ],
            stdout=log,
            stderr=log,
            **user,
        )
    try:
        driver = "psycopg" if find_spec("psycopg") else "psycopg2"
        uri = f"postgresql+{driver}://postgres@127.0.0.1:{port}/postgres"
        # The port is open before it takes work.
        engine = sa.create_engine(uri, poolclass=sa.NullPool)
        wait_for(lambda: engine.connect().close())
        yield uri
    finally:
        # PostgreSQL's "fast" shutdown: it does not wait for its clients.
        server.send_signal(signal.SIGINT)
        server.wait(30)


@contextmanager
def mlflow_server(uri: str, folder: Path, port: int | None = None) -> Iterator[str]:
    """A stock tracking server; yields its address."""
    port = port or free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--default-artifact-root", str(folder / "artifacts")]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=CLEAN, stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: urllib.request.urlopen(f"{address}/health", timeout=2).close())
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


@contextmanager
def mounted(folder: Path, options: str, what: str) -> Iterator[Path]:
    """A file system of its own in memory, mounted on a new folder."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"{what} needs the right to mount one: run the tests as root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def wait_for(probe: object, seconds: float = 60) -> None:
    assert callable(probe)
    end = time.monotonic() + seconds
    while True:
        try:
            probe()
        except (OSError, sa.exc.OperationalError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return
