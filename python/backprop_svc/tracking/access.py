"""Opens a store for what is to be done in it."""

from __future__ import annotations

import os

from backprop_svc.tracking.entities import Client
from backprop_svc.tracking.record import Writer

DEFAULT_URI = "sqlite:///mlflow.db"
"""Where the command keeps runs, unless it is told otherwise."""


def default_uri() -> str:
    """Return where runs are kept, as the environment says, else :data:`DEFAULT_URI`."""
    return os.environ.get("MLFLOW_TRACKING_URI", "").strip() or DEFAULT_URI


def open_writer(uri: str, experiment: str) -> Writer:
    """Return the writer for a tracking URI.

    MLflow is imported for a store that only its own client knows, once that is known to be
    there; what it can do in its own tables is done without it.

    Raises
    ------
    StoreError
        The store cannot be opened, or belongs to another MLflow than the installed one.
    SettingError
        The experiment was deleted.
    """
    from backprop_svc.tracking import check, store

    try:
        store.prepare(uri)
        if store.is_bulk(uri):
            from backprop_svc.tracking.database import DatabaseWriter

            return DatabaseWriter.or_client(uri, experiment)
        from backprop_svc.tracking.client import ClientWriter

        return ClientWriter(uri, experiment)
    except ImportError as error:
        # MLflow 3.1 to 3.8 with SQLAlchemy 2.1, say: only opening a store shows that.
        raise check.refused(
            uri,
            f"which the installed MLflow cannot open with the installed packages: {error}",
            "install those of docs/compatibility.md, such as `pip install --upgrade mlflow`",
        ) from error


def client_of(uri: str) -> Client:
    """Return the client for a store that is there: without MLflow where that can be."""
    import sqlalchemy as sa

    from backprop_svc.tracking import store

    if store.is_bulk(uri):
        from backprop_svc.tracking.connections import connections, has_workspaces
        from backprop_svc.tracking.local import LocalClient
        from backprop_svc.tracking.tables import difference

        engine = connections(uri)
        if difference(sa.inspect(engine)) is None and not has_workspaces(engine):
            return LocalClient(uri)
    from backprop_svc.tracking.remote import connect

    return connect(uri)
