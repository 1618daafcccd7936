"""Searches for runs in MLflow's tables, of the conditions that are asked here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from backprop_svc.tracking.entities import ACTIVE, DELETED, Run, RunData, RunInfo, ViewType
from backprop_svc.tracking.tables import LATEST_METRICS, PARAMS, RUNS, TAGS

STAGES = {
    ViewType.ACTIVE_ONLY: [ACTIVE],
    ViewType.DELETED_ONLY: [DELETED],
    ViewType.ALL: [ACTIVE, DELETED],
}
AT_ONCE = 500
"""Runs whose details one statement asks for: databases bound how many values it may have."""
_CONDITION = re.compile(
    r"\s*(?P<kind>tags|attributes)\.(?:`(?P<quoted>[^`]+)`|(?P<name>[\w.]+))"
    r"\s*(?P<sign>!?=|LIKE)\s*'(?P<value>[^']*)'\s*(?:and\b|$)",
    re.IGNORECASE,
)
_ORDER = re.compile(r"attributes\.(\w+)(?: (ASC|DESC))?", re.IGNORECASE)
_COMPARED: dict[str, Callable[[Any, str], sa.ColumnElement[bool]]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "LIKE": lambda column, value: column.like(value),
}
_COLUMNS = {"run_id": RUNS.c.run_uuid, "run_name": RUNS.c.name}
"""Attributes that a table calls by another name."""


def statement(
    experiment_ids: list[str], conditions: str, view_type: int, order_by: list[str] | None
) -> sa.Select[Any]:
    """Return the statement that finds runs.

    Parameters
    ----------
    experiment_ids
        The experiments that are looked at.
    conditions
        In MLflow's language, joined by ``and``: tags and attributes that are (``=``), are not
        (``!=``) or are like (``LIKE``) a quoted text.
    view_type
        Whether deleted runs are looked at.
    order_by
        Attributes, each with ``ASC`` or ``DESC``; the newest runs come first by default.

    Raises
    ------
    NotImplementedError
        A condition or an order that is none of these.
    """
    chosen = sa.select(RUNS).where(
        RUNS.c.experiment_id.in_(list(map(int, experiment_ids))),
        RUNS.c.lifecycle_stage.in_(STAGES[view_type]),
    )
    end = 0
    while end < len(conditions.rstrip()):
        found = _CONDITION.match(conditions, end)
        if found is None:
            raise NotImplementedError(f"no such condition: {conditions[end:]!r}")
        end = found.end()
        chosen = _where(chosen, **found.groupdict())
    keys = []
    for text in order_by or ["attributes.start_time DESC"]:
        found = _ORDER.fullmatch(text)
        if found is None:
            raise NotImplementedError(f"no such order: {text!r}")
        column = _column(found[1])
        keys.append(column.desc() if (found[2] or "").upper() == "DESC" else column)
    return chosen.order_by(*keys, RUNS.c.run_uuid)


def runs(database: sa.Connection, chosen: sa.Select[Any]) -> list[Run]:
    """Return the runs that a statement finds, with all that a client tells of them."""
    rows = database.execute(chosen).all()
    found: dict[str, RunData] = {row.run_uuid: RunData({}, {}, {}) for row in rows}
    ids = list(found)
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        for table in (TAGS, PARAMS, LATEST_METRICS):
            for row in database.execute(table.select().where(table.c.run_uuid.in_(some))):
                of = found[row.run_uuid]
                if table is LATEST_METRICS:
                    value = math.nan if row.is_nan else row.value
                    of.metrics[row.key] = value  # type: ignore[index]
                else:
                    cells = of.tags if table is TAGS else of.params
                    cells[row.key] = row.value  # type: ignore[index]
    return [Run(_info(row), found[row.run_uuid]) for row in rows]


def _info(row: Any) -> RunInfo:
    return RunInfo(
        run_id=row.run_uuid,
        run_name=row.name,
        experiment_id=str(row.experiment_id),
        user_id=row.user_id,
        status=row.status,
        start_time=row.start_time,
        end_time=row.end_time,
        lifecycle_stage=row.lifecycle_stage,
        artifact_uri=row.artifact_uri,
    )


def _column(attribute: str) -> sa.ColumnElement[Any]:
    found = _COLUMNS.get(attribute, RUNS.c.get(attribute))
    if found is None:
        raise NotImplementedError(f"no such attribute: {attribute!r}")
    return found


def _where(
    chosen: sa.Select[Any],
    kind: str,
    quoted: str | None,
    name: str | None,
    sign: str,
    value: str,
) -> sa.Select[Any]:
    key = quoted or name or ""
    compared = _COMPARED[sign.upper()]
    if kind.lower() == "attributes":
        return chosen.where(compared(_column(key), value))
    # Not `exists`: a database may begin with the tag that fewest runs have.
    tag = TAGS.alias()
    chosen = chosen.join(tag, tag.c.run_uuid == RUNS.c.run_uuid)
    return chosen.where(tag.c.key == key, compared(tag.c.value, value))
