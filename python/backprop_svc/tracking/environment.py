"""What MLflow is told before it is imported."""

from __future__ import annotations

from collections.abc import Mapping

_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A request whose answer was lost must not be sent again blindly: the writer asks first.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def told(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with the variables that MLflow is told something by."""
    # MLflow would print an address for each run, with the password that the URI has.
    quiet = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    return {**_DEFAULTS, **environ, **quiet}
