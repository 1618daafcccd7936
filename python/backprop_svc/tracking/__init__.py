"""Where runs are kept."""

from backprop_svc.tracking.record import (
    RunRecord,
    Runs,
    Summary,
    Sweep,
    Writer,
)
from backprop_svc.tracking.uri import checked_uri, remember, shown_uri, without_password

__all__ = [
    "DEFAULT_URI",
    "RunRecord",
    "Runs",
    "Summary",
    "Sweep",
    "Writer",
    "checked_uri",
    "open_writer",
    "remember",
    "shown_uri",
    "without_password",
]

DEFAULT_URI = "sqlite:///mlflow.db"
"""Where the command keeps runs, unless it is told otherwise."""


def open_writer(uri: str, experiment: str) -> Writer:
    """Return the writer for a tracking URI.

    MLflow is imported here and not before, once the store is known to be there.

    Raises
    ------
    StoreError
        The store cannot be opened, or belongs to another MLflow than the installed one.
    SettingError
        The experiment was deleted.
    """
    from backprop_svc.tracking import store

    store.prepare(uri)
    if store.is_bulk(uri):
        from backprop_svc.tracking.database import DatabaseWriter

        return DatabaseWriter.or_client(uri, experiment)
    from backprop_svc.tracking.client import ClientWriter

    return ClientWriter(uri, experiment)
