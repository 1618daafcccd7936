"""Says soon whether a store can be opened, and by the MLflow that is installed."""

from __future__ import annotations

import shlex
import socket
import time
import warnings
from urllib.parse import urlsplit

import sqlalchemy as sa

from backprop_svc.errors import StoreError, shown
from backprop_svc.tracking import sqlite
from backprop_svc.tracking.revision import State, installed_mlflow, read_state
from backprop_svc.tracking.uri import STORES, checked_uri, shown_uri, without_password

CONNECT_TIMEOUT = 2
"""Seconds that a host may take to take a connection."""
ANSWER_TIMEOUT = 10
"""Seconds that a database server may take to answer."""
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Of database servers, where the URI names none."""
PACKAGES = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "mysql": "mysql-connector-python",
}
"""What is installed to get a driver, where that has another name."""

PASSING = {
    sqlite.LOCKED: ("which another program has kept locked", "end that program"),
    "the database system is": ("which has been starting or stopping", "look at its log"),
}
"""What a database says that is soon to be had, and what is told if it is not."""


def is_database(uri: str) -> bool:
    """Tell whether MLflow's tables are reached without a server of MLflow's."""
    return uri.startswith(("sqlite", *PORTS))


def check(uri: str, *, refuse_older: bool = True) -> State | None:
    """Refuse a store that cannot be opened, or that would have to be migrated.

    MLflow, which would try for minutes and say nothing, is not imported for it.

    Parameters
    ----------
    uri
        The store.
    refuse_older
        Whether a database of an older MLflow is refused.

    Returns
    -------
    The state of a database; ``None`` of another store.

    Raises
    ------
    StoreError
        It cannot be opened.
    SettingError
        It is no URI, or one whose password would be cut in two.
    """
    checked_uri(uri)
    if uri.startswith(("http://", "https://")):
        _check_address(uri)
        return None
    if not is_database(uri):
        return None
    try:
        url = sa.make_url(uri)
        with warnings.catch_warnings():
            # What it does not understand of a query it would leave out.
            warnings.simplefilter("error", sa.exc.SAWarning)
            engine = sa.create_engine(url, connect_args=patience(url), poolclass=sa.NullPool)
    except ModuleNotFoundError as error:
        fix = f"run `pip install {PACKAGES.get(error.name or '', error.name)}`"
        if url.get_dialect().is_async:
            # MLflow could not use it.
            fix = f"write {shown_uri(uri).replace(f'+{url.get_driver_name()}', '', 1)}"
        raise refused(uri, f"whose driver {error.name} is not installed", fix) from error
    except (sa.exc.SQLAlchemyError, sa.exc.SAWarning, TypeError, ValueError) as error:
        raise refused(uri, f"which is not understood: {one_line(error)}") from error
    if url.get_backend_name() == "sqlite":
        return _check_file(uri, url, engine, refuse_older)
    if url.host and not url.query.get("host"):
        _reach(uri, url.host, url.port or PORTS[url.get_backend_name()])
    return _state(uri, engine, refuse_older)


def refused(
    uri: str, reason: str, fix: str = "correct it", allowed: str = STORES
) -> StoreError:
    """Return the error about a store that cannot be used."""
    return StoreError(
        "tracking",
        f"{shown(shown_uri(uri))}, {reason}",
        allowed,
        f"{fix}, or do not track",
    )


def _check_address(uri: str) -> None:
    from urllib.request import getproxies, proxy_bypass

    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise refused(uri, f"which is not understood: {one_line(error)}") from error
    if parts.scheme not in getproxies() or proxy_bypass(host or ""):
        _reach(uri, host, port or (443 if parts.scheme == "https" else 80))


def _check_file(uri: str, url: sa.URL, engine: sa.Engine, refuse_older: bool) -> State:
    file = sqlite.file_of(url)
    if file is None:
        raise refused(
            uri, "which names no file: its runs would be gone with this process",
            "write sqlite:///mlflow.db",
        )  # fmt: skip
    reason = sqlite.trouble(file)
    if reason is not None:
        raise refused(uri, reason, "give a file in a folder that is there and can be written")
    return _state(uri, engine, refuse_older) if file.exists() else State.NEW


def _state(uri: str, engine: sa.Engine, refuse_older: bool) -> State:
    """Read the state of a database, and refuse those that MLflow would change or spoil."""
    is_file = engine.dialect.name == "sqlite"
    end = time.monotonic() + sqlite.WAIT
    while True:
        try:
            state, revision = read_state(engine)
            break
        except (sa.exc.SQLAlchemyError, OSError) as error:
            signs = [told for sign, told in PASSING.items() if sign in str(error)]
            if not signs:
                raise refused(
                    uri, f"which failed: {one_line(error)}",
                    "correct it, install its driver, start the server",
                ) from error  # fmt: skip
            if time.monotonic() > end:
                reason, fix = signs[0]
                raise refused(
                    uri, f"{reason} for {sqlite.WAIT} s", f"{fix}, or give another database"
                ) from error
            time.sleep(0.1)
    this = f"MLflow {installed_mlflow()}"
    if state is State.OLDER and refuse_older:
        how = (
            f"run `backprop-svc upgrade tracking.uri={shlex.quote(shown_uri(uri))}`"
            if is_file
            else "make a backup and run `mlflow db upgrade` with its URI"
        )
        raise refused(
            uri, f"whose tables are of an MLflow older than the installed {this} "
            f"(schema {revision}), and which that MLflow could no longer use once upgraded",
            f"{how}, or give another database",
            "databases of the installed MLflow, and new ones",
        )  # fmt: skip
    if state is State.UNKNOWN:
        raise refused(
            uri, f"whose tables are of an MLflow newer than the installed {this} "
            f"(schema {revision})",
            "run `pip install --upgrade mlflow`, or give another database",
            "databases of the installed MLflow, and new ones",
        )  # fmt: skip
    if state is State.HALF and is_file:
        raise refused(
            uri, "which has tables named as MLflow's, but no revision of it: MLflow did not "
            "finish them, or another program made them",
            "give another database", "databases of the installed MLflow, and new ones",
        )  # fmt: skip
    # Beside others in a PostgreSQL MLflow can have its tables, but not their revision.
    if state is State.FOREIGN and (is_file or revision):
        raise refused(
            uri, "which is the database of another program",
            "give another database", "databases of the installed MLflow, and new ones",
        )  # fmt: skip
    return state


def patience(url: sa.URL) -> dict[str, object]:
    """Return how long a driver waits for an answer, as it is told."""
    if url.get_backend_name() == "sqlite":
        # Short, since Ctrl-C is not heard meanwhile; it is tried again.
        return {"timeout": 0.5}
    return {"connect_timeout": ANSWER_TIMEOUT} if "psycopg" in url.get_driver_name() else {}


def _reach(uri: str, host: str | None, port: int) -> None:
    """Connect to a host once, and say at once where that cannot be done."""
    if host is None:
        raise refused(uri, "which names no host")
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise refused(
            uri, f"where {host} takes no connection at port {port}: {reason}",
            "correct it, start the server",
        ) from error  # fmt: skip


def one_line(error: BaseException) -> str:
    """Write an error on one line, without passwords."""
    reason = getattr(error, "orig", None) or error
    text = without_password(" ".join(str(reason).split()))
    return text if len(text) <= 300 else f"{text[:300]}…"
