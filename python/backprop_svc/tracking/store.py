"""Opens a store: says soon what cannot be opened, and changes nothing that nobody asked for."""

from __future__ import annotations

import shlex
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import sqlalchemy as sa

from backprop_svc.errors import StoreError, shown
from backprop_svc.tracking import sqlite
from backprop_svc.tracking.moved import ARTIFACTS, stay_together
from backprop_svc.tracking.revision import State, installed_mlflow, read_state
from backprop_svc.tracking.uri import shown_uri, without_password

CONNECT_TIMEOUT = 2
"""Seconds that a host may take to take a connection."""
ANSWER_TIMEOUT = 10
"""Seconds that a database server may take to answer."""
PAGE = 16384
"""Bytes of a page in a new SQLite file: a sweep fills it a tenth to a fifth faster."""
ALLOWED = "sqlite:///mlflow.db, postgresql://…, http://… and other stores of MLflow"
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Of database servers, where the URI names none."""


def is_database(uri: str) -> bool:
    """Tell whether MLflow's tables are reached without a server of MLflow's."""
    return uri.startswith(("sqlite", *PORTS))


def is_bulk(uri: str) -> bool:
    """Tell whether runs may be written to it by many rows at once."""
    return uri.startswith(("sqlite", "postgresql"))


def prepare(uri: str) -> None:
    """Check a store, and make its tables where there are none: MLflow can open it then.

    Raises
    ------
    StoreError
        It cannot be opened, or only by migrating it.
    """
    state = check(uri)
    if state in (State.NEW, State.HALF):
        make(uri)
    elif state is not None and uri.startswith("sqlite"):
        gather(uri)


def check(uri: str, *, migrated: bool = True) -> State | None:
    """Refuse a store that cannot be opened, or that would have to be migrated.

    MLflow, which would try for minutes and say nothing, is not imported for it.

    Parameters
    ----------
    uri
        The store.
    migrated
        Refuse databases of an older MLflow, too.

    Returns
    -------
    The state of a database; ``None`` of another store.

    Raises
    ------
    StoreError
        It cannot be opened.
    """
    if uri.startswith(("http://", "https://")):
        _check_address(uri)
        return None
    if not is_database(uri):
        return None
    try:
        url = sa.make_url(uri)
        engine = sa.create_engine(url, connect_args=_patience(url), poolclass=sa.NullPool)
    except (sa.exc.SQLAlchemyError, ModuleNotFoundError, TypeError, ValueError) as error:
        raise refused(uri, f"which is not understood: {_line(error)}") from error
    if url.get_backend_name() == "sqlite":
        return _check_file(uri, url, engine, migrated)
    if url.host and not url.query.get("host"):
        _reach(uri, url.host, url.port or PORTS[url.get_backend_name()])
    return _state(uri, engine, migrated)


def make(uri: str) -> None:
    """Let MLflow make its tables in a database that has none, once for all processes."""
    from backprop_svc.tracking.client import make_tables

    url = sa.make_url(uri)
    file = sqlite.file_of(url) if url.get_backend_name() == "sqlite" else None
    try:
        with _alone(url) if file is None else sqlite.alone(file):
            # Another process may have been quicker.
            if check(uri) is State.CURRENT:
                return
            if file is None:
                make_tables(uri)
            else:
                _fill(file)
    except (sqlite3.Error, sa.exc.SQLAlchemyError, TimeoutError) as error:
        raise refused(uri, f"which cannot be made: {_line(error)}") from error


def gather(uri: str) -> None:
    """Keep the runs of a SQLite file and the artifacts beside it together."""
    file = sqlite.file_of(sa.make_url(uri))
    if file is None:
        return
    try:
        moved = stay_together(file)
    except sqlite3.Error as error:
        raise refused(uri, f"which failed: {_line(error)}") from error
    if moved:
        print(
            f"backprop-svc: {file} was moved or copied: the artifacts of {moved:,} runs are "
            f"now those in {file.resolve().parent / ARTIFACTS}",
            file=sys.stderr,
        )


def _fill(file: Path) -> None:
    """Make a SQLite file with MLflow's tables, all or nothing: a kill leaves no half of it.

    SQLite itself fills the file, in one transaction. So it removes what an earlier database of
    that name left behind, such as a log of changes that would be replayed into this one.
    """
    from backprop_svc.tracking.client import make_tables

    with TemporaryDirectory(prefix="backprop-svc-", ignore_cleanup_errors=True) as folder:
        draft = Path(folder, "mlflow.db")
        with closing(sqlite3.connect(draft)) as database:
            database.execute(f"PRAGMA page_size = {PAGE}")
            database.execute("VACUUM")
        make_tables(f"sqlite:///{draft}")
        with closing(sqlite3.connect(draft)) as source, closing(sqlite3.connect(file)) as new:
            source.backup(new)


@contextmanager
def _alone(url: sa.URL) -> Iterator[None]:
    """Keep other processes from making the tables of the same PostgreSQL meanwhile."""
    if url.get_backend_name() != "postgresql":
        yield
        return
    engine = sa.create_engine(url, connect_args=_patience(url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f"SET lock_timeout = '{sqlite.WAIT}s'"))
        connection.execute(sa.text("SELECT pg_advisory_lock(hashtext('backprop-svc'))"))
        yield


def refused(
    uri: str, reason: str, fix: str = "correct it", allowed: str = ALLOWED
) -> StoreError:
    """Return the error about a store that cannot be used."""
    return StoreError(
        "tracking",
        f"{shown(shown_uri(uri))}, {reason}",
        allowed,
        f"{fix}, or do not track",
    )


def _check_address(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise refused(uri, f"which is not understood: {_line(error)}") from error
    if parts.scheme not in getproxies() or proxy_bypass(host or ""):
        _reach(uri, host, port or (443 if parts.scheme == "https" else 80))


def _check_file(uri: str, url: sa.URL, engine: sa.Engine, migrated: bool) -> State:
    file = sqlite.file_of(url)
    if file is None:
        raise refused(
            uri, "which names no file: its runs would be gone with this process",
            "write sqlite:///mlflow.db",
        )  # fmt: skip
    reason = sqlite.trouble(file)
    if reason is not None:
        raise refused(uri, reason, "give a file in a folder that is there and can be written")
    return _state(uri, engine, migrated) if file.exists() else State.NEW


def _state(uri: str, engine: sa.Engine, migrated: bool) -> State:
    """Read the state of a database, and refuse those that MLflow would change or spoil."""
    is_file = engine.dialect.name == "sqlite"
    end = time.monotonic() + sqlite.WAIT
    while True:
        try:
            state, revision = read_state(engine)
            break
        except (sa.exc.SQLAlchemyError, OSError) as error:
            if "database is locked" not in str(error):
                raise refused(
                    uri, f"which failed: {_line(error)}",
                    "correct it, install its driver, start the server",
                ) from error  # fmt: skip
            if time.monotonic() > end:
                raise refused(
                    uri, f"which another program has kept locked for {sqlite.WAIT} s",
                    "end that program, or give another database",
                ) from error  # fmt: skip
    this = f"MLflow {installed_mlflow()}"
    if state is State.OLDER and migrated:
        how = (
            f"run `backprop-svc upgrade tracking.uri={shlex.quote(shown_uri(uri))}`"
            if is_file
            else "make a backup and run `mlflow db upgrade` with its URI"
        )
        raise refused(
            uri, f"whose tables are of an MLflow older than the installed {this} "
            f"(schema {revision}), and which that MLflow could no longer use once upgraded",
            f"{how}, or give another database",
            "databases of the installed MLflow, and new ones",
        )  # fmt: skip
    if state is State.UNKNOWN:
        raise refused(
            uri, f"whose tables are of an MLflow newer than the installed {this} "
            f"(schema {revision})",
            "run `pip install --upgrade mlflow`, or give another database",
            "databases of the installed MLflow, and new ones",
        )  # fmt: skip
    if state is State.HALF and is_file:
        raise refused(
            uri, "whose tables MLflow began to make and did not finish",
            "remove it, or give another database",
            "databases of the installed MLflow, and new ones",
        )  # fmt: skip
    return state


def _patience(url: sa.URL) -> dict[str, object]:
    """Return how long a driver waits for an answer, as it is told."""
    if url.get_backend_name() == "sqlite":
        # Short, since Ctrl-C is not heard meanwhile; it is tried again.
        return {"timeout": 0.5}
    return {"connect_timeout": ANSWER_TIMEOUT} if "psycopg" in url.get_driver_name() else {}


def _reach(uri: str, host: str | None, port: int) -> None:
    """Connect to a host once, and say at once where that cannot be done."""
    if host is None:
        raise refused(uri, "which names no host")
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise refused(
            uri, f"where {host} takes no connection at port {port}: {reason}",
            "correct it, start the server",
        ) from error  # fmt: skip


def _line(error: BaseException) -> str:
    """Write an error on one line, without passwords."""
    reason = getattr(error, "orig", None) or error
    text = without_password(" ".join(str(reason).split()))
    return text if len(text) <= 300 else f"{text[:300]}…"
