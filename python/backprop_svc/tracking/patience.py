"""Waiting for a store that is busy or away, with a bound."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from backprop_svc.tracking.failures import may_pass

T = TypeVar("T")
ATTEMPTS, PAUSE = 8, 0.5
"""Tries, and seconds before the second; they double: a minute in all, as a restart takes."""
ANSWER = 60.0
"""Seconds that one call of a server may take; of artifacts and models, ten times as many."""

TRIES, SOON = 4, 2.0
"""Tries of a call that a server, or a proxy before it, refuses within these seconds."""
ONCE = ("create_run", "delete", "log_image")
"""How calls begin that do more if they are made again after an answer that was lost."""


class _Bounded:
    def __init__(self, client: object) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not callable(method):
            return method
        is_long = any(part in name for part in ("artifact", "image", "log_model"))
        seconds = ANSWER * 10 if is_long else ANSWER
        tries = 1 if name.startswith(ONCE) else TRIES

        def call(*given: Any, **named: Any) -> Any:
            return _soon_again(lambda: _within(seconds, lambda: method(*given, **named)), tries)

        return call


def bounded(client: T, uri: str) -> T:
    """Return a client of a server whose calls end, however slowly the server answers.

    The time limits of HTTP libraries begin again with each byte that comes.
    """
    return cast(T, _Bounded(client)) if uri.startswith(("http:", "https:")) else client


def _soon_again(call: Callable[[], T], tries: int) -> T:
    """Call a server, and call it again where it only happened to fail."""
    for attempt in range(1, tries):
        began = time.monotonic()
        try:
            return call()
        except Exception as error:
            took_long = time.monotonic() - began > SOON
            if not may_pass(error) or took_long or _ending.wait(PAUSE / 2 * attempt):
                raise
    return call()


def _within(seconds: float, work: Callable[[], T]) -> T:
    done: list[T] = []
    failed: list[BaseException] = []

    def call() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    # Nothing can end it before its time: the program does not wait for it at its end.
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError(f"the server has not answered within {seconds:.0f} s")
    return done[0]


_ending = threading.Event()


@contextmanager
def given_up() -> Iterator[None]:
    """Let nothing be tried again meanwhile: who waits for it has been told to stop."""
    _ending.set()
    try:
        yield
    finally:
        _ending.clear()


def is_given_up() -> bool:
    """Tell whether nothing shall be tried again."""
    return _ending.is_set()


def patiently(work: Callable[[], T], passes: Callable[[Exception], bool]) -> T:
    """Try again while what is raised may pass; the last error is raised."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return work()
        except Exception as error:
            if not passes(error) or _ending.wait(PAUSE * 2**attempt):
                raise
    return work()
