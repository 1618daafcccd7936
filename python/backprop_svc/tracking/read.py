"""Tracked runs read back: one with all that is known of it, or those of a sweep as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backprop_svc._core import Network
from backprop_svc.arrays import Floats
from backprop_svc.datasets import Preparation
from backprop_svc.datasets.model import Model
from backprop_svc.errors import SettingError, SettingTypeError, shown
from backprop_svc.metric import objective
from backprop_svc.scratch import scratch
from backprop_svc.state import DIVERGED_EPOCH, State
from backprop_svc.tracking.access import client_of, default_uri
from backprop_svc.tracking.entities import MLFLOW_PARENT_RUN_ID, Client, Run
from backprop_svc.tracking.parents import INDEX, KIND, METRIC, OUTCOME, SWEEP_ID, tag
from backprop_svc.tracking.states import FOLDER, States, span_of
from backprop_svc.tracking.states import read as read_states
from backprop_svc.tracking.uri import checked_uri, shown_uri

if TYPE_CHECKING:
    import pyarrow as pa

    from backprop_svc.tracking.table import Cells

PLAIN = "gradient_descent"
"""The optimizer that remembers nothing."""
LAST = "last"
"""Names the newest sweep."""


@dataclass(frozen=True, eq=False)
class TrackedRun:
    """A run as the tracking store has it."""

    run_id: str
    name: str
    status: str
    """``FINISHED``, ``RUNNING``, ``FAILED`` or ``KILLED``."""
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    """The last value of each metric."""
    histories: Mapping[str, tuple[NDArray[np.int64], Floats]]
    """The epochs and the values of each metric, in ascending order of the epochs."""
    network: Network | None
    """``None`` where its weights were not kept, as for ``weights`` and ``gradients``."""
    weights: Floats | None
    """After the last update, shape (parameters,)."""
    gradients: Floats | None
    """∂L/∂w of the last epoch, taken before its update, shape (parameters,)."""
    preparation: Preparation | None
    """What was done to the columns of the data, where they came from a table."""
    state: State | None = None
    """What training goes on from, with ``weights`` as the initial ones: ``bp.train(run.network,
    run.weights, x, y, state=run.state, …)``. ``None`` where the weights were not kept, or where
    an earlier version did not keep what the optimizer remembers."""

    @property
    def model(self) -> Model:
        """The trained network, which predicts for new rows as they are.

        Raises
        ------
        SettingError
            The weights of the run were not kept.
        """
        if self.tags.get(KIND) == "sweep":
            raise SettingError(
                f"the run {self.run_id}", "the parent of a sweep", "one of its runs",
                "choose one, or its best one: bp.tracking.best_run",
            )  # fmt: skip
        if self.network is None or self.weights is None:
            raise SettingError(
                f"the run {self.run_id}", "without its weights", "runs that keep them",
                "train it again with tracking.weights=all", verb="is tracked",
            )  # fmt: skip
        return Model(self.network, self.weights, self.preparation)

    def __repr__(self) -> str:
        """Name it, and say what it is of."""
        network = "no weights kept" if self.network is None else str(self.network)
        return f"<TrackedRun {self.run_id} {self.name!r}: {network}, {self.status}>"


def load_run(run_id: str, *, tracking: str | None = None) -> TrackedRun:
    """Return a tracked run with its histories, and with the weights in which it ended.

    Parameters
    ----------
    run_id
        32 hex digits, as MLflow shows them.
    tracking
        MLflow's tracking URI; by default that of the environment, else
        ``sqlite:///mlflow.db``.

    Raises
    ------
    SettingError
        The store has no such run; a ``ValueError``.
    ConnectionError
        The store cannot be opened.

    >>> import backprop_svc as bp
    >>> run = bp.load_run("00000000000000000000000000000000")  # doctest: +SKIP
    >>> run.model.predict("new.csv")  # doctest: +SKIP
    """
    return read_run(run_id, *opened(tracking))


def read_run(run_id: str, uri: str, client: Client) -> TrackedRun:
    """Return a run of a store that is open: see :func:`load_run`."""
    from backprop_svc.tracking.failures import store_errors

    if not isinstance(run_id, str) or len(run_id) != 32 or not run_id.isalnum():
        raise SettingError("run_id", shown(run_id), "32 hex digits", "copy it from MLflow")
    try:
        run = client.get_run(run_id)
    except client.failures as error:
        absent = "no run" in str(error).lower() or "not found" in str(error)
        # A server may hide from a user whether there is one.
        forbidden = getattr(error, "error_code", None) == "PERMISSION_DENIED"
        named = _named(client, uri, run_id) if absent or forbidden else None
        if named is not None:
            return read_run(named, uri, client)
        if not absent:
            with store_errors(uri, client.failures):
                raise
        raise SettingError(
            "run_id", f"{run_id}, and {shown_uri(uri)} has no such run", "a run that is there",
            "correct it, or name another store",
        ) from None  # fmt: skip
    with store_errors(uri, client.failures):
        found = {key: client.get_metric_history(run_id, key) for key in run.data.metrics}
        states = _state(client, run)
    histories = {}
    for key, points in found.items():
        points = sorted(points, key=lambda point: (point.step, point.timestamp))
        steps = np.array([point.step for point in points], dtype=np.int64)
        histories[key] = (steps, np.array([point.value for point in points]))
    return TrackedRun(
        run_id,
        run.info.run_name,
        run.info.status,
        dict(run.data.params),
        dict(run.data.tags),
        dict(run.data.metrics),
        histories,
        None if states is None else states.network_of(0),
        None if states is None else states.weights[0],
        None if states is None else states.gradients[0],
        None if states is None else states.preparation,
        None if states is None else states.state or _early_state(run, histories),
    )


def _early_state(run: Run, histories: Mapping[str, tuple[Any, Any]]) -> State | None:
    """Return the state of a run of before states were kept, if its optimizer has no memory."""
    loss = histories.get("loss")
    if run.data.params.get("train.optimizer", PLAIN) != PLAIN or loss is None:
        return None
    diverged = run.data.tags.get(OUTCOME) == "diverged"
    epoch = DIVERGED_EPOCH if diverged else int(loss[0][-1]) + 1
    return State(PLAIN, [epoch], np.empty((1, 0)))


def load_text(run_id: str, name: str, *, tracking: str | None = None) -> str | None:
    """Return a text among the artifacts of a run; ``None`` if it is not there."""
    from backprop_svc.tracking.failures import store_errors

    uri, client = opened(tracking)
    with store_errors(uri, client.failures):
        found = _file(client, run_id, name)
    return None if found is None else found.decode()


def load_sweep(sweep: str, *, tracking: str | None = None) -> pa.Table:
    """Return the runs of a tracked sweep as a table, one row a run, in their order.

    Its columns are ``run_id``, ``index`` (the position in the sweep), ``name``, ``status``,
    the params (numbers where all of them are), the last value of each metric,
    ``outcome``, and ``weights`` and ``gradients`` (lists) where they were kept.

    Parameters
    ----------
    sweep
        Its identity, 16 hex digits; the run id of its parent; or ``"last"``, the newest one.
    tracking
        MLflow's tracking URI; by default that of the environment, else
        ``sqlite:///mlflow.db``.

    Raises
    ------
    SettingError
        The store has no such sweep; a ``ValueError``.
    ConnectionError
        The store cannot be opened.
    """
    from backprop_svc.tracking.failures import store_errors
    from backprop_svc.tracking.table import table

    uri, client = opened(tracking)
    with store_errors(uri, client.failures):
        parent = _parent(client, uri, sweep)
        cells = _cells(client, parent)
        states = list(_states(client, parent.info.run_id))
    return table(cells, states)


def best_run(sweep: str, *, tracking: str | None = None) -> str:
    """Return the id of the best run of a sweep: see :func:`best_runs`."""
    return best_runs(sweep, 1, tracking=tracking)[0]


def best_runs(sweep: str, count: int, *, tracking: str | None = None) -> list[str]:
    """Return the ids of the best runs of a sweep: see :func:`load_sweep` for the arguments.

    The best is the one with the best value of the metric of the sweep (its ``metric``), the
    first of equal ones. There are fewer if fewer runs have a finite value.

    Raises
    ------
    SettingError
        No run of the sweep has a finite value of it; and as for :func:`load_sweep`.
    """
    from backprop_svc.tracking.failures import store_errors
    from backprop_svc.tracking.table import table

    uri, client = opened(tracking)
    with store_errors(uri, client.failures):
        parent = _parent(client, uri, sweep)
        found = table(_cells(client, parent), [])
    told = parent.data.tags.get(METRIC)
    # A sweep of another sweeper, or of before there was a choice, does not tell it.
    for name in ("val_loss", "loss") if told is None else (told,):
        column = f"metrics.{name}" if f"metrics.{name}" in found.column_names else name
        if column not in found.column_names:
            continue
        losses = objective(name, found[column].to_numpy().astype(np.float64))
        if OUTCOME in found.column_names:
            # Of a run that diverged the last loss may be a small one.
            outcomes = found[OUTCOME].to_pylist()
            losses[[outcome == "diverged" for outcome in outcomes]] = np.inf
        losses[~np.isfinite(losses)] = np.inf
        if np.isfinite(losses).any():
            order = np.argsort(losses, kind="stable")[: min(count, np.isfinite(losses).sum())]
            return [str(found["run_id"][int(row)]) for row in order]
        break
    raise SettingError(
        "sweep", f"{sweep}, of which no run has a finite {told or 'loss'}",
        "a sweep with such a run",
        "choose a run by its id",
    )  # fmt: skip


def run_file(run_id: str, name: str, *, tracking: str | None = None) -> bytes:
    """Return the content of an artifact of a run, or of the sweep that it belongs to.

    Raises
    ------
    SettingError
        Neither has such a file; and as for :func:`load_run`.
    """
    from backprop_svc.tracking.failures import store_errors

    uri, client = opened(tracking)
    tags = read_run(run_id, uri, client).tags
    owner = tags[MLFLOW_PARENT_RUN_ID] if INDEX in tags else run_id
    with store_errors(uri, client.failures):
        found = _file(client, owner, name)
    if found is None:
        raise SettingError(
            "run", f"{run_id}, which has no {name}", "a run that keeps it",
            "choose another run",
        )  # fmt: skip
    return found


def sweep_file(sweep: str, name: str, *, tracking: str | None = None) -> bytes:
    """Return the content of an artifact of the parent of a sweep.

    Parameters
    ----------
    sweep, tracking
        As for :func:`load_sweep`; or the run id of any run of it.
    name
        The file.

    Raises
    ------
    SettingError
        The sweep has no such file; and as for :func:`load_sweep`.
    """
    from backprop_svc.tracking.failures import store_errors

    uri, client = opened(tracking)
    if isinstance(sweep, str) and len(sweep) == 32:
        sweep = read_run(sweep, uri, client).tags.get(SWEEP_ID, sweep)
    with store_errors(uri, client.failures):
        parent = _parent(client, uri, sweep).info.run_id
        found = _file(client, parent, name)
    if found is None:
        raise SettingError(
            "sweep", f"{sweep}, which has no {name}",
            "a finished sweep of hydra/sweeper=arrays", "go on with it, or choose another one",
        )  # fmt: skip
    return found


def _file(client: Client, run_id: str, name: str) -> bytes | None:
    """Return the content of an artifact, if it is there."""
    if name not in {file.path for file in client.list_artifacts(run_id)}:
        return None
    with scratch() as folder:
        return Path(client.download_artifacts(run_id, name, str(folder))).read_bytes()


def opened(tracking: str | None) -> tuple[str, Client]:
    """Return the URI and the client of a store that is there."""
    # Importing the package needs none of what opens a store.
    from backprop_svc.tracking.check import check
    from backprop_svc.tracking.revision import State as Revision
    from backprop_svc.tracking.store import gather

    uri = tracking or default_uri()
    if not isinstance(uri, str):
        raise SettingTypeError("tracking", shown(uri), "a tracking URI", "leave it out")
    checked_uri(uri)
    state = check(uri)
    if state in (Revision.NEW, Revision.HALF, Revision.FOREIGN):
        raise SettingError(
            "tracking", f"{shown_uri(uri)}, which has no runs", "a store that is there",
            "name the store in which the runs are", verb="is",
        )  # fmt: skip
    if state is not None:
        gather(uri)
    return uri, client_of(uri)


def _parent(client: Client, uri: str, sweep: str) -> Run:
    if not isinstance(sweep, str):
        raise SettingTypeError("sweep", shown(sweep), "a text", "write its identity")
    everywhere = [one.experiment_id for one in client.search_experiments()]
    conditions = f"{tag(KIND)} = 'sweep'"
    if sweep != LAST:
        if not (sweep.isalnum() and len(sweep) in (16, 32)):
            raise SettingError(
                "sweep", shown(sweep),
                "its identity, 16 hex digits; the run id of its parent; last",
                "copy it from MLflow",
            )  # fmt: skip
        which = tag(SWEEP_ID) if len(sweep) == 16 else "attributes.run_id"
        conditions += f" and {which} = '{sweep}'"
    # Two commands may have begun a sweep in the same moment: its runs are those of the first.
    order = f"attributes.start_time {'DESC' if sweep == LAST else 'ASC'}"
    found = client.search_runs(everywhere, conditions, max_results=1, order_by=[order])
    if not found:
        raise SettingError(
            "sweep", f"{sweep}, and {shown_uri(uri)} has no such sweep", "one that is there",
            "correct it, or name another store",
        )  # fmt: skip
    return found[0]


def _cells(client: Client, parent: Run) -> Cells:
    from backprop_svc.tracking.local import LocalClient
    from backprop_svc.tracking.table import of_client, of_database

    if isinstance(client, LocalClient):
        with client.reading() as database:
            return of_database(database, parent.info.run_id)
    return of_client(client, parent)


def _files(client: Client, run_id: str) -> list[tuple[range, str]]:
    """Return the files with states, and between which positions their runs are."""
    listed = (file.path for file in client.list_artifacts(run_id, FOLDER))
    spans = ((span_of(path), path) for path in listed)
    return [(span, path) for span, path in spans if span is not None]


def _read(client: Client, run_id: str, path: str) -> States:
    with scratch() as folder:
        return read_states(client.download_artifacts(run_id, path, str(folder)))


def _states(client: Client, run_id: str) -> Iterator[States]:
    for _, path in _files(client, run_id):
        yield _read(client, run_id, path)


def _named(client: Client, uri: str, run_id: str) -> str | None:
    """Return the id of the run that its sweep calls so, where MLflow has drawn another one."""
    from backprop_svc.tracking.failures import store_errors

    try:
        sweep, position = run_id[:16], int(run_id[16:], 16)
    except ValueError:
        return None
    with store_errors(uri, client.failures):
        everywhere = [one.experiment_id for one in client.search_experiments()]
        search = f"{tag(SWEEP_ID)} = '{sweep}' and {tag(INDEX)} = '{position}'"
        found = client.search_runs(everywhere, search, max_results=1)
    own = found[0].info.run_id if found else run_id
    return None if own == run_id else str(own)


def _state(client: Client, run: Run) -> States | None:
    """Return the state of one run, which its sweep keeps, or itself."""
    tags = run.data.tags
    if tags.get(KIND) == "sweep":
        return None
    # Anybody may put a single run below another one.
    owner = tags[MLFLOW_PARENT_RUN_ID] if INDEX in tags else run.info.run_id
    position = int(tags.get(INDEX, 0))
    for span, path in _files(client, owner):
        if position in span:
            own = _read(client, owner, path).among(np.array([position]))
            if own is not None:
                return own
    return None
