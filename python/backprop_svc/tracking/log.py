"""Anybody's arrays as runs in MLflow, many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from backprop_svc.errors import SettingError, SettingTypeError, shown
from backprop_svc.settings import check
from backprop_svc.tracking.access import default_uri, open_writer
from backprop_svc.tracking.entities import status_after
from backprop_svc.tracking.identity import new_sweep_id
from backprop_svc.tracking.limits import MAX_TAG, RefusedError, checked_name, cut
from backprop_svc.tracking.record import Runs, Series, Summary, Sweep, now
from backprop_svc.tracking.uri import checked_uri

MOST_ROWS = 200_000
"""Rows of a transaction: some 40 MB on their way."""
T = TypeVar("T")
OURS = ("mlflow.parentRunId", "mlflow.runName", "backprop.")
"""Tags that say where a run belongs."""


@dataclass(frozen=True)
class Logged:
    """Where the runs are."""

    sweep: str
    """Identity by which :func:`backprop_svc.load_sweep` reads them back."""
    parent: str
    """Run id of their parent."""
    place: str
    """Where to look at them."""


def log_runs(
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, ArrayLike] | None = None,
    *,
    tags: Mapping[str, Any] | None = None,
    steps: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    description: str = "",
    experiment: str = "backprop-svc",
    uri: str | None = None,
) -> Logged:
    """Keep many finished runs in MLflow, as children of one parent, by a few statements.

    What MLflow's client reads of them is what it would have written itself. SQLite and
    PostgreSQL take thousands of runs a second; on other stores each run is written by itself.

    Parameters
    ----------
    params
        A value for each run, shape (runs,), or one for all of them; they are kept as texts.
    metrics
        Numbers of shape (runs,), or (runs, steps) for a history. Masked values are left out.
    tags
        As ``params``.
    steps
        The steps of all histories, shape (steps,); 0, 1, 2, … by default.
    names
        The name of each run; numbers from 0 by default.
    description
        What the parent says of them.
    experiment, uri
        MLflow's experiment, and its tracking URI; by default that of the environment, else
        ``sqlite:///mlflow.db``.

    Returns
    -------
    The identity under which they are there.

    Raises
    ------
    SettingError, SettingTypeError
        Arrays that do not fit together; names that MLflow does not take; not a number in a
        metric; nothing was written. They are a ``ValueError`` and a ``TypeError``.
    ConnectionError
        The store cannot be opened, is full, or away for longer than a minute.

    >>> import numpy as np, backprop_svc as bp
    >>> rates = np.geomspace(0.001, 1, 10_000)
    >>> losses = np.exp(-np.outer(rates, np.arange(20)))
    >>> bp.tracking.log_runs({"lr": rates}, {"loss": losses})  # doctest: +SKIP
    """
    description = check("description", description, str)
    experiment = check("experiment", experiment, str)
    uri = check("uri", uri, str | None)
    texts = {name: _texts("params", name, of) for name, of in _items("params", params)}
    marks = {name: _texts("tags", name, of) for name, of in _items("tags", tags)}
    series = {name: _series(name, of, steps) for name, of in _items("metrics", metrics)}
    titles = None if names is None else _texts("names", "names", names)
    sizes = {name: len(of) for name, of in {**texts, **marks}.items()}
    sizes |= {name: len(of.values) for name, of in series.items()}
    count = _count(sizes if titles is None else {**sizes, "names": len(titles)})
    sweep, time = new_sweep_id(), now()
    runs = Runs(
        sweep,
        np.arange(count),
        [f"run {row}" for row in range(count)] if titles is None else titles,
        {name: _for_each(of, count) for name, of in texts.items()},
        {name: of.select(np.arange(count) % len(of.values)) for name, of in series.items()},
        {name: _for_each(of, count) for name, of in marks.items()},
        time,
        time,
    )
    where = checked_uri(uri or default_uri())
    return _written(runs, where, experiment, description)


def _written(runs: Runs, uri: str, experiment: str, description: str) -> Logged:
    writer = open_writer(uri, experiment)
    parent = writer.open_sweep(Sweep(runs.sweep, description))
    wide = sum(one.values.shape[1] for one in runs.series.values())
    size = max(1, MOST_ROWS // (2 * wide + len(runs.params) + len(runs.tags) + 10))
    try:
        for first in range(0, len(runs), size):
            some = np.arange(first, min(first + size, len(runs)))
            writer.write_runs(runs.select(some), parent)
        summary = Summary([("runs", float(len(runs)), 0)])
        return Logged(runs.sweep, parent, writer.close_sweep(parent, "FINISHED", summary))
    except BaseException as error:
        with suppress(ConnectionError):
            writer.close_sweep(parent, status_after(error))
        raise


def _items(kind: str, given: object) -> list[tuple[str, Any]]:
    """Return values by their names, which MLflow has to take."""
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise SettingTypeError(
            kind, shown(given), "values by their names", 'write {"lr": rates}, say'
        )
    for name in given:
        if not isinstance(name, str):
            raise SettingTypeError(kind, shown(name), "names that are texts", "write a text")
        if kind == "tags" and name.startswith(OURS):
            raise SettingError(
                kind, shown(name), f"names that do not begin with {', '.join(OURS)}",
                "choose another name", verb="has",
            )  # fmt: skip
        try:
            checked_name(kind.removesuffix("s"), name)
        except RefusedError as error:
            raise SettingError(
                kind, shown(name), f"names that MLflow takes: {error}", "choose another name",
                verb="has",
            ) from None  # fmt: skip
    return list(given.items())


def _texts(kind: str, name: str, values: Any) -> list[str]:
    """Return a text for each run, as MLflow's client makes it of a value; or one for all."""
    shape = _shape(values)
    if len(shape) > 1:
        raise SettingError(
            f"{kind} {name!r}", f"shape {shape}", "(runs,), or one value for all runs",
            "give one for each run", verb="has",
        )  # fmt: skip
    if not shape:
        values = [values]
    # A NumPy number says its type, a Python number does not.
    found = values.tolist() if hasattr(values, "tolist") else list(values)
    return [cut("tag", str(value), MAX_TAG) for value in found]


def _shape(values: Any) -> tuple[int, ...]:
    try:
        return np.shape(values)
    except ValueError:
        # Rows of different lengths.
        return (len(values), -1)


def _series(name: str, values: ArrayLike, steps: ArrayLike | None) -> Series:
    """Return a metric with one row for each run, or one for all."""
    try:
        found = np.ma.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise SettingTypeError(
            f"metrics {name!r}", shown(values), "numbers", "give numbers of shape (runs,)"
        ) from None
    if found.ndim > 2:
        raise SettingError(
            f"metrics {name!r}", f"shape {found.shape}", "(runs,) or (runs, steps)",
            "give each part a name of its own", verb="has",
        )  # fmt: skip
    history = found.ndim == 2
    found = found.reshape(-1, 1) if not history else found
    width = found.shape[1]
    at = np.arange(width)
    if history and steps is not None:
        at = np.asarray(steps)
        if at.shape != (width,) or not np.issubdtype(at.dtype, np.integer):
            raise SettingError(
                "steps", f"shape {at.shape} of {at.dtype}",
                f"whole numbers of shape ({width},), one for each step of {name!r}",
                "give one for each step",
                verb="has",
            )  # fmt: skip
    if not width or len(np.unique(at)) < width:
        raise SettingError(
            "steps", f"{width} steps for {name!r}, {len(np.unique(at))} of them different",
            "one or more, each once", "give each value a step of its own", verb="has",
        )  # fmt: skip
    order = np.argsort(at)
    found, at = found[:, order], at[order]
    return Series(found.filled(np.nan), at.astype(np.int64), ~np.ma.getmaskarray(found))


def _count(sizes: Mapping[str, int]) -> int:
    """Return how many runs there are; what has one value has it for all of them."""
    several = {name: size for name, size in sizes.items() if size != 1}
    counts = set(several.values()) or set(sizes.values())
    if not counts or 0 in counts:
        raise SettingError(
            "log_runs", "no runs", "params or metrics of shape (runs,)", "give it some",
            verb="was given",
        )  # fmt: skip
    if len(counts) > 1:
        told = ", ".join(f"{name!r} {size}" for name, size in several.items())
        raise SettingError(
            "log_runs", f"other numbers of runs: {told}", "as many in each",
            "give one value for each run", verb="was given",
        )  # fmt: skip
    return counts.pop()


def _for_each(values: list[T], count: int) -> list[T]:
    return values * count if len(values) == 1 else values
