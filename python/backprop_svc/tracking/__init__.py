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
    """Return the writer for a tracking URI; MLflow is imported here and not before.

    Raises
    ------
    StoreError
        The store cannot be opened.
    SettingError
        The experiment was deleted.
    """
    from backprop_svc.tracking.client import ClientWriter

    if uri.startswith(("postgresql", "mysql", "mssql")):
        from backprop_svc.tracking.database import reach

        reach(uri)
    if not uri.startswith(("sqlite:", "postgresql")):
        return ClientWriter(uri, experiment)
    from backprop_svc.tracking.database import DatabaseWriter

    return DatabaseWriter.or_client(uri, experiment)
