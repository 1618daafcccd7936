"""Ctrl-C, and how schedulers end a command, also where a library swallows the signal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from backprop_svc import deferred
from backprop_svc.cli.terminal import ending

ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""How schedulers and terminals end a process."""
_asked: list[int] = []
"""Signals that came, the first one first."""


def listen() -> None:
    """Note each signal from now on; it raises what stops the command, as it always does.

    Ctrl-C is a ``KeyboardInterrupt``, the others a ``SystemExit``: no run is left behind that
    seems to go on.
    """
    # A script's background jobs ignore Ctrl-C, and nohup ignores SIGHUP.
    if signal.getsignal(signal.SIGINT) in {signal.default_int_handler, deferred.stop}:
        signal.signal(signal.SIGINT, _note)
    for number in ENDS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _note)
    sys.unraisablehook = _ignored


def is_asked() -> bool:
    """Tell whether a signal came."""
    return bool(_asked)


def answer() -> None:
    """Raise what a signal raises that came, and that nobody answered."""
    if _asked:
        raise _raised()


def cause(error: BaseException) -> BaseException:
    """Return what a signal raised that came, of which a library made another error."""
    return _raised() if _asked else error


def forget() -> None:
    """Take a signal that came for answered, where it is the way to end a command."""
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
    """End the program with the code that shells give to its signal.

    After Ctrl-C it says one line, and ends at once.
    """
    if _asked and _asked[0] != signal.SIGINT:
        raise _raised()
    ending.flush()
    ending.close_databases()
    # What libraries do at the end of a program may take seconds, and show tracebacks.
    deferred.stop()
    raise SystemExit(130)


def _note(number: int, _: object) -> NoReturn:
    _asked.append(number)
    if number in ENDS:
        # Schedulers and terminals send several: nothing interrupts what the first one began.
        for each in ENDS:
            # Not SIG_IGN: Python complains of signals that came before.
            signal.signal(each, lambda *_: None)
    raise _raised()


def _ignored(what: sys.UnraisableHookArgs) -> None:
    """Tell of an error that Python cannot raise where it came, but not of a noted signal."""
    if not (_asked and isinstance(what.exc_value, (KeyboardInterrupt, SystemExit))):
        sys.__unraisablehook__(what)


def _raised() -> BaseException:
    number = _asked[0]
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
