"""Real stores for the tests: SQLite, PostgreSQL, a tracking server."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

import shared
from command import Running


def empty_database(file: Path) -> str:
    """Write a SQLite store without an experiment; return its URI.

    MLflow makes a store by all the migrations of its history, which takes seconds. Here that
    happens once for all processes.
    """
    with shared.alone("mlflow") as folder:
        made = folder / "mlflow.db"
        if not made.exists():
            draft = folder / "draft.db"
            MlflowClient(f"sqlite:///{draft}").search_experiments()
            with closing(sqlite3.connect(draft)) as db, db:
                # MLflow's own experiment names this folder; the next who opens it adds another.
                db.execute("DELETE FROM experiments")
            draft.rename(made)
        shutil.copyfile(made, file)
    return f"sqlite:///{file}"


def free_port() -> int:
    """Return a port that no other test gets, nor the system for a connection meanwhile."""
    with shared.alone("port") as folder:
        last = folder / "port"
        port = int(last.read_text()) if last.exists() else random.randrange(10_000, 30_000)
        while True:
            port += 1
            with socket.socket() as probe, suppress(OSError):
                probe.bind(("127.0.0.1", port))
                last.write_text(str(port))
                return port


def _program(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@contextmanager
def postgres() -> Iterator[str]:
    """A database of one's own with MLflow's tables; yields its URI.

    All tests share one PostgreSQL, and MLflow's migrations.
    """
    name = f"own_{uuid.uuid4().hex}"
    with shared.alone("postgres") as folder:
        told = folder / "postgres.uri"
        if not told.exists():
            told.write_text(_postgres_with_tables(folder / "postgres"))
        uri = told.read_text()
        _administer(uri, f"CREATE DATABASE {name} TEMPLATE tables")
    yield uri.removesuffix("postgres") + name
    _administer(uri, f"DROP DATABASE {name} WITH (FORCE)")


def _postgres_with_tables(folder: Path) -> str:
    """Start a PostgreSQL, which ends with the tests, and let MLflow make its tables there."""
    # The tests end processes, and not the machine: nothing has to be on the disk itself.
    uri, server = _start_postgres(folder, "fsync=off", "max_connections=300")
    # Nobody waits for it.
    server.returncode = 0
    _administer(uri, "CREATE DATABASE tables")
    tables = uri.removesuffix("postgres") + "tables"
    MlflowClient(tables).search_experiments()
    _administer(tables, "DELETE FROM experiments")
    # Nobody else may be connected to what is copied.
    _administer(uri, "ALTER DATABASE tables ALLOW_CONNECTIONS false")
    _administer(
        uri, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tables'"
    )
    return uri


def _administer(uri: str, statement: str) -> None:
    engine = sa.create_engine(uri, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(statement))


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """A PostgreSQL of one's own, without tables, which may be hurt; yields its URI."""
    uri, server = _start_postgres(folder)
    try:
        yield uri
    finally:
        # PostgreSQL's "fast" shutdown: it does not wait for its clients.
        server.send_signal(signal.SIGINT)
        server.wait(30)


def _start_postgres(folder: Path, *settings: str) -> tuple[str, subprocess.Popen[bytes]]:
    """Start a PostgreSQL on a free loopback port."""
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
    subprocess.run(  # type: ignore[call-overload]
        [*initdb, "-E", "UTF8", "--no-sync"], check=True, stdout=subprocess.DEVNULL, **user
    )
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(  # type: ignore[call-overload]
            [
                *(str(programs["postgres"]), "-D", str(data), "-p", str(port)),
                *("-c", "listen_addresses=127.0.0.1", "-k", str(folder)),
                *(word for setting in settings for word in ("-c", setting)),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
            **user,
        )
    driver = "psycopg" if find_spec("psycopg") else "psycopg2"
    uri = f"postgresql+{driver}://postgres@127.0.0.1:{port}/postgres"
    # The port is open before it takes work.
    engine = sa.create_engine(uri, poolclass=sa.NullPool)
    wait_for(lambda: engine.connect().close())
    return uri, server


@contextmanager
def mlflow_server(
    uri: str, folder: Path, port: int | None = None, workers: int = 1
) -> Iterator[str]:
    """A stock tracking server, whose own default is four workers; yields its address."""
    port = port or free_port()
    server = Running(
        folder,
        *("server", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", str(workers), "--default-artifact-root", str(folder / "artifacts")),
        module="mlflow",
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: urllib.request.urlopen(f"{address}/health", timeout=2).close())
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate()


@contextmanager
def flaky(address: str, share: float) -> Iterator[str]:
    """A proxy before a server that fails in a share of the requests; yields its address.

    Of these a half is refused, and of the others the answer is lost.
    """
    chance = random.Random(3)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fails, is_lost = chance.random() < share, chance.random() < 0.5
            if fails and not is_lost:
                self.send_error(503)
                return
            headers = {"Content-Type": self.headers.get("Content-Type") or "text/plain"}
            request = urllib.request.Request(
                address + self.path, body or None, headers, method=self.command
            )
            try:
                with urllib.request.urlopen(request) as found:
                    status, content = found.status, found.read()
            except urllib.error.HTTPError as error:
                with error:
                    status, content = error.code, error.read()
            if fails:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


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


def wait_for(probe: object, seconds: float = 180) -> None:
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
