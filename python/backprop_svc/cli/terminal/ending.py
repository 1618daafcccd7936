"""The end of the program: all that matters is done, then it ends at once.

Taking apart what libraries have made takes a second once MLflow was imported, and nobody needs
it: the system takes all back.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn


def leave(code: object) -> NoReturn:
    """End the program with a code, or with a text on standard error and code 1.

    Threads that are no daemons, what was registered with :mod:`atexit`, handlers of logs,
    databases and streams come to their end before.
    """
    number = code if isinstance(code, int) else 1
    if code is None:
        number = 0
    elif not isinstance(code, int):
        print(code, file=sys.stderr)
    try:
        # As Python itself does it.
        getattr(threading, "_shutdown")()  # noqa: B009
        atexit._run_exitfuncs()
    except BaseException:
        # Ctrl-C among it: the program ends in any case.
        sys.excepthook(*sys.exc_info())
    logging.shutdown()
    close_databases()
    if not flush():
        number = number or 120
    os._exit(number & 0xFF)


def flush() -> bool:
    """Bring out what was printed; tell whether that could be done."""
    done = True
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            done = stream is None
    return done


def close_databases() -> None:
    """Let SQLite bring its files into one, as it does at the end of a program."""
    sqlite = sys.modules.get("sqlite3")
    if sqlite is None:
        return
    for found in gc.get_objects():
        # Not isinstance(): objects of libraries may import something when they are asked.
        if issubclass(type(found), sqlite.Connection):
            used = getattr(found, "used", None)
            # A thread that nobody waits for may be using it.
            if used is None or used.acquire(timeout=1):
                with suppress(sqlite.Error):
                    found.close()
