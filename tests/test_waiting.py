"""Connections to SQLite that wait for locks."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backprop_svc.tracking.waiting import WAITING


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A database with a table of one column, which keeps no log of changes."""
    file = tmp_path / "own.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE numbers (number)")
    database.close()
    yield file
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT count(*) FROM numbers").fetchone() == (3,)
    database.close()


def held(file: Path, statement: str, seconds: float) -> threading.Thread:
    """Let another connection hold a lock for some time."""
    begun = threading.Event()

    def hold() -> None:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN")
        other.execute(statement).fetchall()
        begun.set()
        time.sleep(seconds)
        other.execute("ROLLBACK")
        other.close()

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait()
    return thread


READ = "SELECT * FROM numbers"
"""Keeps others from a commit."""
WRITE = "INSERT INTO numbers VALUES (7)"
"""Keeps others from beginning to write."""


@pytest.mark.parametrize("statement", [READ, WRITE])
@pytest.mark.parametrize("way", ["with", "commit", "cursor"])
def test_a_lock_is_waited_for(file: Path, way: str, statement: str) -> None:
    rows: Any = iter([(1,), (2,), (3,)])
    database = sqlite3.connect(file, **WAITING)
    other = held(file, statement, 1.0)
    if way == "with":
        with database:
            database.executemany("INSERT INTO numbers VALUES (?)", rows)
    else:
        cursor = database.cursor()
        if way == "cursor":
            cursor.execute("BEGIN IMMEDIATE")
        cursor.executemany("INSERT INTO numbers VALUES (?)", rows)
        database.commit()
    other.join()
    database.close()


def test_an_error_rolls_back(file: Path) -> None:
    database = sqlite3.connect(file, **WAITING)
    script = "BEGIN; INSERT INTO numbers VALUES (1); SELECT * FROM missing"
    with pytest.raises(sqlite3.OperationalError, match="no such table"), database:
        database.executescript(script)
    with database:
        database.executemany("INSERT INTO numbers VALUES (?)", [(1,), (2,), (3,)])
    database.close()
