"""Opens a store: makes its tables where there are none, and changes nothing else unasked."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from backprop_svc.errors import StoreError, counted
from backprop_svc.scratch import scratch
from backprop_svc.tracking import sqlite, template
from backprop_svc.tracking.check import check, one_line, patience, refused
from backprop_svc.tracking.failures import has_no_room
from backprop_svc.tracking.moved import ARTIFACTS, stay_together
from backprop_svc.tracking.revision import State
from backprop_svc.tracking.waiting import WAITING

PAGE = 16384
"""Bytes of a page in a new SQLite file: a sweep fills it a tenth to a fifth faster."""


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
    if state in (State.NEW, State.HALF, State.FOREIGN):
        make(uri)
    elif state is not None:
        gather(uri)


def make(uri: str) -> None:
    """Let MLflow make its tables in a database that has none, once for all processes."""
    url = sa.make_url(uri)
    file = sqlite.file_of(url) if url.get_backend_name() == "sqlite" else None
    with _errors(uri), _alone(url) if file is None else sqlite.alone(file):
        # Another process may have been quicker.
        if check(uri) is State.CURRENT:
            return
        if file is None:
            _let_make(uri)
            return
        with scratch() as folder:
            draft = folder / "mlflow.db"
            with _errors(uri, folder.parent):
                _write(draft)
            _fill(file, draft)
    check(uri)


def gather(uri: str) -> None:
    """Keep the runs of a SQLite file and the artifacts beside it together."""
    url = sa.make_url(uri)
    file = sqlite.file_of(url) if url.get_backend_name() == "sqlite" else None
    if file is None:
        return
    try:
        moved = stay_together(file)
    except sqlite3.Error as error:
        raise refused(uri, f"which failed: {one_line(error)}") from error
    if moved:
        print(
            f"backprop-svc: {file} was moved or copied: the artifacts of "
            f"{counted(moved, 'run')} are now those in {file.resolve().parent / ARTIFACTS}",
            file=sys.stderr,
        )


def _write(draft: Path) -> None:
    """Write a database with MLflow's tables: a copy of one that it made before, if there is."""
    if not template.copy_to(draft):
        with closing(sqlite3.connect(draft)) as database:
            database.execute(f"PRAGMA page_size = {PAGE}")
            database.execute("VACUUM")
        _let_make(sqlite.uri_of(draft))
        template.keep(draft)
    template.settle(draft)


def _fill(file: Path, draft: Path) -> None:
    """Give an empty database the content of another one, in one transaction of its own.

    A kill leaves all of it or nothing. What another program, which knows nothing of our locks,
    has put there meanwhile stays as it is.
    """
    with (
        closing(sqlite3.connect(draft)) as source,
        closing(sqlite3.connect(file, isolation_level=None, **WAITING)) as new,
    ):
        # All but the words that begin and end a transaction.
        statements = list(source.iterdump())[1:-1]
        new.execute(f"PRAGMA page_size = {PAGE}")
        new.execute("PRAGMA foreign_keys = OFF")
        new.execute("BEGIN IMMEDIATE")
        (tables,) = new.execute("SELECT count(*) FROM sqlite_master").fetchone()
        for statement in [] if tables else statements:
            new.execute(statement)
        new.execute("COMMIT")


def _let_make(uri: str) -> None:
    from backprop_svc.tracking.remote import RemoteClient, make_tables

    try:
        make_tables(uri)
    except RemoteClient.failures as error:
        raise OSError(one_line(error)) from error


@contextmanager
def _errors(uri: str, temporary: Path | None = None) -> Iterator[None]:
    """Say of a store why it cannot be made, and where room is needed."""
    try:
        yield
    except (sqlite3.Error, sa.exc.SQLAlchemyError, OSError) as error:
        if isinstance(error, StoreError):
            raise
        fix = "correct it"
        if has_no_room(error):
            where = "beside it" if temporary is None else f"in {temporary}, or set TMPDIR"
            fix = f"make room {where}"
        raise refused(uri, f"which cannot be made: {one_line(error)}", fix) from error


@contextmanager
def _alone(url: sa.URL) -> Iterator[None]:
    """Keep other processes from making the tables of the same PostgreSQL meanwhile."""
    if url.get_backend_name() != "postgresql":
        yield
        return
    engine = sa.create_engine(url, connect_args=patience(url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f"SET lock_timeout = '{sqlite.WAIT}s'"))
        connection.execute(sa.text("SELECT pg_advisory_lock(hashtext('backprop-svc'))"))
        yield
