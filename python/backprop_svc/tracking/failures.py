"""What goes wrong in stores, as one error that says what to do."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from tempfile import gettempdir
from typing import Any, TypeVar, cast

from backprop_svc.errors import StoreError
from backprop_svc.tracking import sqlite
from backprop_svc.tracking.uri import leaks, shown_uri, without_password

T = TypeVar("T")


@contextlib.contextmanager
def store_errors(uri: str, failures: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn what a store raises into one :class:`StoreError` that says what to do."""
    try:
        yield
    except failures as error:
        if isinstance(error, StoreError):
            raise
        # SQLAlchemy's own text has the statement and all its values, too.
        told = getattr(error, "orig", None) or error
        reason = without_password(" ".join(str(told).split()))
        if len(reason) > 300:
            reason = reason[:300] + "…"
        fix = "correct it, install its driver, start the server"
        if has_no_room(error):
            fix = f"make room there and in {gettempdir()}"
        raise StoreError(
            "tracking",
            f"{shown_uri(uri)!r}, which failed: {reason}",
            "sqlite:///mlflow.db, postgresql://…, http://… and other stores of MLflow",
            f"{fix}, or do not track",
        ) from (None if leaks(error) else error)


def is_lasting(error: Exception) -> bool:
    """Tell whether SQLite has no room or no right to write."""
    return "is full" in str(error) or "readonly" in str(error)


def has_no_room(error: Exception) -> bool:
    """Tell whether a disk is full."""
    return "is full" in str(error) or getattr(error, "errno", None) == errno.ENOSPC


def is_locked(error: Exception) -> bool:
    """Tell whether SQLite did nothing, since another program writes."""
    return sqlite.LOCKED in str(error)


class _Guarded:
    def __init__(self, client: Any, uri: str) -> None:
        self._client, self._uri = client, uri

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*given: Any, **named: Any) -> Any:
            with store_errors(self._uri, self._client.failures):
                return method(*given, **named)

        return call


def guarded(client: T, uri: str) -> T:
    """Return a client whose methods raise :class:`StoreError` instead of errors of its own."""
    return cast(T, _Guarded(client, uri))
