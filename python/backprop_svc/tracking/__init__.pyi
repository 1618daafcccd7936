from backprop_svc.tracking.access import DEFAULT_URI, client_of, default_uri, open_writer
from backprop_svc.tracking.entities import Client
from backprop_svc.tracking.log import Logged, log_runs
from backprop_svc.tracking.mlflow_model import log_model
from backprop_svc.tracking.read import (
    TrackedRun,
    best_run,
    best_runs,
    load_run,
    load_sweep,
    run_file,
    sweep_file,
)
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
    "Client",
    "Logged",
    "RunRecord",
    "Runs",
    "Summary",
    "Sweep",
    "TrackedRun",
    "Writer",
    "best_run",
    "best_runs",
    "checked_uri",
    "client_of",
    "default_uri",
    "load_run",
    "load_sweep",
    "log_model",
    "log_runs",
    "open_writer",
    "remember",
    "run_file",
    "shown_uri",
    "sweep_file",
    "without_password",
]
