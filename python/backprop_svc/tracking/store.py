"""Opens a store: makes its tables where there are none, and changes nothing else unasked."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from backprop_svc.errors import counted
from backprop_svc.scratch import scratch
from backprop_svc.tracking import sqlite, template
from backprop_svc.tracking.check import check, one_line, patience, refused
from backprop_svc.tracking.moved import ARTIFACTS, stay_together
from backprop_svc.tracking.revision import State

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
    if state in (State.NEW, State.HALF):
        make(uri)
    elif state is not None:
        gather(uri)


def make(uri: str) -> None:
    """Let MLflow make its tables in a database that has none, once for all processes."""
    url = sa.make_url(uri)
    file = sqlite.file_of(url) if url.get_backend_name() == "sqlite" else None
    try:
        with _alone(url) if file is None else sqlite.alone(file):
            # Another process may have been quicker.
            if check(uri) is State.CURRENT:
                return
            if file is None:
                from backprop_svc.tracking.remote import make_tables

                make_tables(uri)
            else:
                _fill(file)
    except (sqlite3.Error, sa.exc.SQLAlchemyError, TimeoutError) as error:
        raise refused(uri, f"which cannot be made: {one_line(error)}") from error


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


def _fill(file: Path) -> None:
    """Make a SQLite file with MLflow's tables, all or nothing: a kill leaves no half of it.

    SQLite itself fills the file, in one transaction. So it removes what an earlier database of
    that name left behind, such as a log of changes that would be replayed into this one.
    """
    with scratch() as folder:
        draft = folder / "mlflow.db"
        if not template.copy_to(draft):
            _make_file(draft)
            template.keep(draft)
        with closing(sqlite3.connect(draft)) as source, closing(sqlite3.connect(file)) as new:
            source.backup(new)


def _make_file(draft: Path) -> None:
    from backprop_svc.tracking.remote import make_tables

    with closing(sqlite3.connect(draft)) as database:
        database.execute(f"PRAGMA page_size = {PAGE}")
        database.execute("VACUUM")
    make_tables(sqlite.uri_of(draft))


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
