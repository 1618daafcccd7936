"""Params, metrics and tags of a run, as rows of MLflow's tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import sqlalchemy as sa

from backprop_svc.tracking.entities import Metric
from backprop_svc.tracking.limits import RefusedError
from backprop_svc.tracking.tables import LATEST_METRICS, METRICS, PARAMS, TAGS

_LARGEST = 1.7976931348623157e308
_LATER = ("step", "timestamp", "value")
"""What decides which value of a metric is the latest."""


def log_params(database: sa.Connection, run_id: str, given: Mapping[str, str]) -> None:
    """Add params to a run.

    Raises
    ------
    RefusedError
        One of them has another value already.
    """
    if not given:
        return
    chosen = sa.select(PARAMS.c.key, PARAMS.c.value).where(PARAMS.c.run_uuid == run_id)
    there = {row.key: row.value for row in database.execute(chosen)}
    for key, value in given.items():
        if there.get(key, value) != value:
            raise RefusedError(f"the param {key!r} of the run {run_id} has another value")
    new = [
        {"key": key, "value": value, "run_uuid": run_id}
        for key, value in given.items()
        if key not in there
    ]
    if new:
        database.execute(PARAMS.insert(), new)


def log_metrics(database: sa.Connection, run_id: str, metrics: Sequence[Metric]) -> None:
    """Add values of metrics to a run; those that are there already change nothing."""
    if not metrics:
        return
    rows = [_row(metric, run_id) for metric in metrics]
    database.execute(_insert(database, METRICS).on_conflict_do_nothing(), rows)
    _log_latest(database, rows)


def log_tag(database: sa.Connection, run_id: str, key: str, value: str) -> None:
    """Set a tag of a run."""
    insert = _insert(database, TAGS).values(key=key, value=value, run_uuid=run_id)
    place = ["key", "run_uuid"]
    database.execute(insert.on_conflict_do_update(index_elements=place, set_={"value": value}))


def _log_latest(database: sa.Connection, rows: list[dict[str, Any]]) -> None:
    """Bring the latest value of each metric up to date: by step, time and value."""
    latest: dict[str, dict[str, Any]] = {}
    for row in rows:
        before = latest.get(row["key"])
        if before is None or _when(row) > _when(before):
            latest[row["key"]] = row
    insert, own = _insert(database, LATEST_METRICS), LATEST_METRICS.c
    new = insert.excluded
    later = sa.tuple_(*(new[name] for name in _LATER)) > sa.tuple_(
        *(own[name] for name in _LATER)
    )
    update = insert.on_conflict_do_update(
        index_elements=["key", "run_uuid"],
        set_={name: new[name] for name in (*_LATER, "is_nan")},
        where=later,
    )
    # All writers in one order, so that none waits for another that waits for it.
    database.execute(update, [latest[key] for key in sorted(latest)])


def _insert(database: sa.Connection, table: sa.Table) -> Any:
    # Each dialect says in its own way what is done with rows that are there.
    return import_module(f"sqlalchemy.dialects.{database.dialect.name}").insert(table)


def _row(metric: Metric, run_id: str) -> dict[str, Any]:
    """Return what SQL keeps of a value: it has neither NaN nor infinities."""
    is_nan = math.isnan(metric.value)
    return {
        "key": metric.key,
        "value": 0.0 if is_nan else min(max(metric.value, -_LARGEST), _LARGEST),
        "timestamp": metric.timestamp,
        "step": metric.step,
        "is_nan": is_nan,
        "run_uuid": run_id,
    }


def _when(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _LATER)
