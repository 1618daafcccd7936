"""Ctrl-C, also where a library swallows it: in the middle of an import or of a clean-up."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event
from typing import NoReturn

from backprop_svc import deferred

_asked = Event()


def listen() -> None:
    """Note each Ctrl-C from now on; it raises ``KeyboardInterrupt`` as it always does."""
    # A script's background jobs ignore it.
    if signal.getsignal(signal.SIGINT) in {signal.default_int_handler, deferred.stop}:
        signal.signal(signal.SIGINT, _note)


def is_asked() -> bool:
    """Tell whether a Ctrl-C came."""
    return _asked.is_set()


def answer() -> None:
    """Raise the ``KeyboardInterrupt`` of a Ctrl-C that came, and that nobody answered."""
    if _asked.is_set():
        raise KeyboardInterrupt


def forget() -> None:
    """Take the Ctrl-C that came for answered, where it is the way to end a command."""
    _asked.clear()


@contextmanager
def held() -> Iterator[None]:
    """Take no further Ctrl-C: impatience would leave a run that seems to go on."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end() -> NoReturn:
    """Say one line, and end the program at once with the code that shells give to Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    _close_databases()
    # What libraries do at the end of a program may take seconds, and show tracebacks.
    deferred.stop()
    raise SystemExit(130)


def _close_databases() -> None:
    """Let SQLite bring its files into one, as it does at the end of a program."""
    sqlite = sys.modules.get("sqlite3")
    if sqlite is None:
        return
    for found in gc.get_objects():
        if type(found) is sqlite.Connection:
            with suppress(sqlite.Error):
                found.close()


def _note(signal: int, _: object) -> NoReturn:
    _asked.set()
    raise KeyboardInterrupt
