"""What goes wrong in stores, as one error that says what to do."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Callable, Iterator
from tempfile import gettempdir
from typing import Any, TypeVar, cast

from backprop_svc.errors import StoreError
from backprop_svc.tracking import sqlite
from backprop_svc.tracking.uri import STORES, leaks, remember, shown_uri, without_password

T = TypeVar("T")
PACKAGES = {
    "s3": "boto3",
    "gs": "google-cloud-storage",
    "wasbs": "azure-storage-blob azure-identity",
    "abfss": "azure-storage-file-datalake azure-identity",
    "sftp": "paramiko",
}
"""What is installed to reach artifacts, by the schemes of their addresses."""
PASSING = {"INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED", "TEMPORARILY_UNAVAILABLE"}
"""MLflow's codes for what may be gone in some seconds; the first is also a lost answer."""
OF_SERVERS = {
    r"error code 401|UNAUTHENTICATED": "give the right MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    r"error code 403|PERMISSION_DENIED": "ask for the permission, keep the runs in another "
    "experiment",
    r"error code 404 != 200": "give the whole address, with the path at which MLflow is",
    r"SSLCertVerificationError|CERTIFICATE_VERIFY_FAILED": "give the certificate as "
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    r"SSLError|WRONG_VERSION_NUMBER": "write http:// where the server has no https",
    r"ProxyError": "correct http_proxy or https_proxy, add the host to no_proxy",
}
"""What helps against an error of a server, by a sign of it."""
_OF_RUNS = "/api/2.0/mlflow/"
"""Within the addresses that a server has for runs, and not for artifacts."""


class ArtifactError(OSError):
    """The artifacts of a run cannot be written or read where they belong."""

    def __init__(self, place: str, cause: Exception) -> None:
        super().__init__(str(cause))
        remember(place)
        self.place = place
        # What is asked of an error of a store: whether it may pass, and what would mend it.
        self.error_code = getattr(cause, "error_code", None)
        self.errno = getattr(cause, "errno", None)
        self.module = cause.name if isinstance(cause, ImportError) else None


@contextlib.contextmanager
def artifact_errors(
    place: Callable[[], str], failures: tuple[type[Exception], ...]
) -> Iterator[None]:
    """Tell what goes wrong with artifacts from what goes wrong with their store.

    Parameters
    ----------
    place
        Returns where the artifacts belong. Where that fails too, it is the store that failed.
    failures
        What may be raised.
    """
    try:
        yield
    except failures as error:
        if isinstance(error, (StoreError, ArtifactError)) or _OF_RUNS in str(error):
            raise
        try:
            where = place()
        except failures:
            raise error from None
        raise ArtifactError(where, error) from error


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
        fix = next(
            (what for sign, what in OF_SERVERS.items() if re.search(sign, reason)),
            "correct it, install its driver, start the server",
        )
        # What requests says before is the same in all cases, and long.
        reason = re.sub(r"HTTPS?ConnectionPool\(.*\(Caused by (.*)\)$", r"\1", reason)
        if len(reason) > 300:
            reason = reason[:300] + "…"
        failed, allowed = "which failed", STORES
        if isinstance(error, ArtifactError):
            # The sign @ of a folder hides nothing.
            place = shown_uri(error.place) if "://" in error.place else error.place
            failed = f"whose artifacts belong in {place!r}, which failed"
            allowed = "artifacts that this machine can reach"
            fix = _fix_of_artifacts(uri, error)
        if has_no_room(error):
            fix = f"make room there and in {gettempdir()}"
        raise StoreError(
            "tracking",
            f"{shown_uri(uri)!r}, {failed}: {reason}",
            allowed,
            f"{fix}, or do not track",
        ) from (None if leaks(error) else error)


def _fix_of_artifacts(uri: str, error: ArtifactError) -> str:
    if error.module is not None:
        package = PACKAGES.get(error.place.partition(":")[0])
        return f"run `pip install {package}`" if package else f"install {error.module}"
    if error.place.startswith("mlflow-artifacts:"):
        return "give the http://… of the MLflow server that keeps them"
    # An experiment keeps the place that it began with.
    new = "keep new runs in an experiment of another name"
    if uri.startswith("http"):
        return f"let the server keep them (`mlflow server --serve-artifacts`) and {new}"
    return f"{new}, whose artifacts are then here"


def is_lasting(error: Exception) -> bool:
    """Tell whether SQLite has no room or no right to write, or a server no certificate."""
    return any(sign in str(error) for sign in ("is full", "readonly", "SSLError"))


def may_pass(error: Exception) -> bool:
    """Tell whether an error of MLflow's may be gone in some seconds."""
    return getattr(error, "error_code", None) in PASSING and not is_lasting(error)


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
