"""Connections to SQLite that wait for locks of other programs, and hear Ctrl-C meanwhile."""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast
from weakref import ref

from backprop_svc.tracking import sqlite
from backprop_svc.tracking.patience import is_given_up

T = TypeVar("T")
PATIENCE = 20.0
"""Seconds that a statement waits for another program's lock."""
STEP, QUIET = 0.2, 0.8
"""Seconds in which Ctrl-C is not heard, and after which it is said what is waited for."""
_quiet_until = {True: 0.0, False: 0.0}
"""Of the main thread, which ends a sweep, and of all others."""
_own: list[ref[Connection]] = []
"""What this process has open; of lists, threads never see half a change."""


class Cursor(sqlite3.Cursor):
    """Waits for another program's lock in steps: SQLite itself would not hear Ctrl-C."""

    def execute(self, *given: Any) -> Cursor:
        """Execute a statement."""
        own = cast(Connection, self.connection)
        return _heard(own, lambda: super(Cursor, self).execute(*given))

    def executemany(self, *given: Any) -> Cursor:
        """Execute a statement for many rows, of which no part is done if there is a lock."""
        own = cast(Connection, self.connection)
        with own.used:
            if own.isolation_level is not None and not own.in_transaction:
                self.execute("BEGIN IMMEDIATE")
            return super().executemany(*given)


class Connection(sqlite3.Connection):
    """A connection whose statements wait so."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.used = threading.RLock()
        """Held while a thread uses it: who closes it meanwhile would crash the program."""
        _own.append(ref(self, _own.remove))

    def cursor(self, factory: Any = Cursor) -> Any:
        """Return a cursor."""
        return super().cursor(factory)

    def execute(self, *given: Any) -> sqlite3.Cursor:
        """Execute a statement with a cursor of its own."""
        cursor: sqlite3.Cursor = self.cursor().execute(*given)
        return cursor

    def executemany(self, *given: Any) -> sqlite3.Cursor:
        """Execute a statement for many rows with a cursor of its own."""
        cursor: sqlite3.Cursor = self.cursor().executemany(*given)
        return cursor

    def __exit__(self, *error: Any) -> Any:
        # sqlite3's own would not come to the commit below.
        if error[0] is None:
            try:
                self.commit()
            except BaseException:
                self.rollback()
                raise
        return super().__exit__(*error)

    def commit(self) -> None:
        """End a transaction, whose changes are then there."""
        _heard(self, super().commit)


WAITING: dict[str, Any] = {"timeout": STEP, "factory": Connection}
"""What makes :func:`sqlite3.connect` return such a connection."""


def _heard(connection: Connection, work: Callable[[], T]) -> T:
    began = time.monotonic()
    while True:
        try:
            with connection.used:
                return work()
        except sqlite3.OperationalError as error:
            waited = time.monotonic() - began
            if sqlite.LOCKED not in str(error) or waited > PATIENCE or is_given_up():
                raise
            if waited > QUIET:
                _say(connection)
            # Where waiting cannot help SQLite refuses at once.
            time.sleep(STEP / 10)


def _writes(own: ref[Connection]) -> bool:
    connection = own()
    # One that is closed refuses to tell.
    with suppress(sqlite3.ProgrammingError):
        return connection is not None and connection.in_transaction
    return False


def _say(connection: sqlite3.Connection) -> None:
    if any(_writes(own) for own in list(_own) if own() is not connection):
        return
    is_main = threading.current_thread() is threading.main_thread()
    now = time.monotonic()
    if now < _quiet_until[is_main]:
        return
    _quiet_until[is_main] = now + PATIENCE
    _, _, file = sqlite3.Connection.execute(connection, "PRAGMA database_list").fetchone()
    print(
        f"backprop-svc: another program has locked {file}; "
        f"waiting for it, for {PATIENCE:.0f} s at most",
        file=sys.stderr,
        flush=True,
    )
