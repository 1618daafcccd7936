"""Where runs and sweeps are in MLflow's UI."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, urlsplit

from backprop_svc.metric import MAXIMIZED
from backprop_svc.tracking.uri import shown_uri

LOCAL = "http://127.0.0.1:5000"
"""Where ``backprop-svc ui`` serves, unless it is told otherwise."""
METRICS = "/model-metrics"
"""The tab of a run's page on which the pictures and curves of a sweep are."""
REPORT = "report.html"
"""The report of a sweep, among the artifacts of its parent."""
SWEEPS = "tags.`backprop.kind` = 'sweep'"
"""A search for the parents of all sweeps."""
# Without it MLflow 3 opens on language models: traces instead of runs.
_TRAINING = "workflowType=machine_learning"
EXPERIMENTS = f"#/experiments?{_TRAINING}"
"""The page with all experiments."""


class Place(NamedTuple):
    """Where the runs of a sweep are in a tracking store."""

    address: str
    """That of the UI."""
    experiment: str
    parent: str
    """The run id of the parent."""
    numbered: bool
    """Whether the id of a run is that of the sweep and its position; else a server gave it."""


def run_page(experiment: str, run_id: str, tab: str = "") -> str:
    """Return the page of a run, relative to the address of the UI."""
    return f"#/experiments/{experiment}/runs/{run_id}{tab}?{_TRAINING}"


def sweeps_page(experiment: str) -> str:
    """Return the page with all sweeps of an experiment."""
    return _runs_page(experiment, SWEEPS)


def children_page(experiment: str, parent: str, metric: str = "loss") -> str:
    """Return the page with the runs of a sweep, the best ones by a metric first."""
    ascending = "false" if metric in MAXIMIZED else "true"
    order = f"&orderByKey={quote(f'metrics.`{metric}`')}&orderByAsc={ascending}"
    return _runs_page(experiment, f"tags.`mlflow.parentRunId` = '{parent}'") + order


def note(
    experiment: str, parent: str, description: str, best: str | None = None, metric: str = ""
) -> str:
    """Return what the parent of a sweep says of it, in Markdown.

    The links come first, as MLflow folds all but the first lines. They are relative, so they
    hold wherever the UI is served.

    Parameters
    ----------
    experiment, parent
        Ids of the experiment and of the parent.
    description
        What the sweep is.
    best
        The id of its best run, once that is known.
    metric
        What tells which run is the best; the loss by default.
    """
    ended = {}
    if best is not None:
        ended["Best run"] = run_page(experiment, best)
        ended["Report"] = run_page(experiment, parent, f"/artifacts/{REPORT}")
    pages = {
        **ended,
        "All its runs, the best first": children_page(experiment, parent, metric or "loss"),
        "All sweeps": sweeps_page(experiment),
    }
    links = " · ".join(f"[{title}]({page})" for title, page in pages.items())
    return f"{links}\n\n{description}".rstrip()


def address(uri: str) -> str | None:
    """Return where the UI of a tracking server is, without a password; ``None`` of a database.

    >>> address("https://me:secret@host/mlflow/"), address("sqlite:///mlflow.db")
    ('https://host/mlflow', None)
    """
    shown = urlsplit(shown_uri(uri))
    if shown.scheme.lower() not in {"http", "https"}:
        return None
    # A browser asks for the password itself.
    host = shown.netloc.rpartition("@")[2]
    return f"{shown.scheme}://{host}{shown.path}".rstrip("/")


def _runs_page(experiment: str, search: str) -> str:
    return f"#/experiments/{experiment}/runs?{_TRAINING}&searchFilter={quote(search)}"
