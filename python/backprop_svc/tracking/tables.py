"""The tables that are written without MLflow, and whether those of a database are the same.

MLflow's release and the revision of its schema say nothing of that: most of them change other
tables. So the columns, keys and constraints themselves are read from the database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

_ID: sa.types.TypeEngine[Any] = sa.String(32)
_KEY: sa.types.TypeEngine[Any] = sa.String(250)
_POINT: dict[str, sa.types.TypeEngine[Any]] = {
    "key": _KEY,
    "value": sa.Float(53),
    "timestamp": sa.BigInteger(),
    "step": sa.BigInteger(),
    "is_nan": sa.Boolean(),
    "run_uuid": _ID,
}


@dataclass(frozen=True)
class Table:
    """What is written of a table."""

    columns: dict[str, sa.types.TypeEngine[Any]]
    """In the order of the rows; a text has at least this length."""
    key: frozenset[str]
    """Of its primary key."""
    refers: dict[str, str]
    """Columns that refer to another table, and which."""
    nulls: frozenset[str] = frozenset()
    """Columns that are written without a value."""
    unique: tuple[frozenset[str], ...] = ()
    """Columns whose values may have to differ: what is written takes care of that."""


_OF_A_RUN = {"run_uuid": "runs"}
TABLES = {
    "experiments": Table(
        {
            "experiment_id": sa.Integer(),
            "name": sa.String(256),
            "artifact_location": sa.String(256),
            "lifecycle_stage": sa.String(32),
            "creation_time": sa.BigInteger(),
            "last_update_time": sa.BigInteger(),
        },
        frozenset({"experiment_id"}),
        {},
        unique=(frozenset({"name"}), frozenset({"workspace", "name"})),
    ),
    "experiment_tags": Table(
        {"key": _KEY, "value": sa.String(5000), "experiment_id": sa.Integer()},
        frozenset({"key", "experiment_id"}),
        {"experiment_id": "experiments"},
    ),
    "runs": Table(
        {
            "run_uuid": _ID,
            "name": sa.String(250),
            "source_type": sa.String(20),
            "source_name": sa.String(500),
            "entry_point_name": sa.String(50),
            "user_id": sa.String(256),
            "status": sa.String(8),
            "start_time": sa.BigInteger(),
            "end_time": sa.BigInteger(),
            "deleted_time": sa.BigInteger(),
            "source_version": sa.String(50),
            "lifecycle_stage": sa.String(20),
            "artifact_uri": sa.String(200),
            "experiment_id": sa.Integer(),
        },
        frozenset({"run_uuid"}),
        {"experiment_id": "experiments"},
        frozenset({"deleted_time", "end_time"}),
    ),
    "tags": Table(
        {"key": _KEY, "value": sa.String(5000), "run_uuid": _ID},
        frozenset({"key", "run_uuid"}),
        _OF_A_RUN,
    ),
    "params": Table(
        {"key": _KEY, "value": sa.String(6000), "run_uuid": _ID},
        frozenset({"key", "run_uuid"}),
        _OF_A_RUN,
    ),
    "metrics": Table(_POINT, frozenset(_POINT), _OF_A_RUN),
    "latest_metrics": Table(_POINT, frozenset({"key", "run_uuid"}), _OF_A_RUN),
}
"""In the order in which they are written: rows refer to those before them."""
_MODEL_ID: sa.types.TypeEngine[Any] = sa.String(36)
_OF_A_MODEL = {"model_id": "logged_models", "experiment_id": "experiments"}
MODEL_TABLES = {
    "logged_models": Table(
        {
            "model_id": _MODEL_ID,
            "experiment_id": sa.Integer(),
            "name": sa.String(500),
            "artifact_location": sa.String(1000),
            "creation_timestamp_ms": sa.BigInteger(),
            "last_updated_timestamp_ms": sa.BigInteger(),
            "status": sa.Integer(),
            "lifecycle_stage": sa.String(32),
            "source_run_id": _ID,
        },
        frozenset({"model_id"}),
        {"experiment_id": "experiments"},
    ),
    "logged_model_params": Table(
        {
            "experiment_id": sa.Integer(),
            "model_id": _MODEL_ID,
            "param_key": _KEY,
            "param_value": sa.String(6000),
        },
        frozenset({"model_id", "param_key"}),
        _OF_A_MODEL,
    ),
    "logged_model_tags": Table(
        {
            "model_id": _MODEL_ID,
            "experiment_id": sa.Integer(),
            "tag_key": _KEY,
            "tag_value": sa.Text(),
        },
        frozenset({"model_id", "tag_key"}),
        _OF_A_MODEL,
    ),
    "logged_model_metrics": Table(
        {
            "model_id": _MODEL_ID,
            "metric_name": _KEY,
            "metric_timestamp_ms": sa.BigInteger(),
            "metric_step": sa.BigInteger(),
            "metric_value": sa.Float(53),
            "experiment_id": sa.Integer(),
            "run_id": _ID,
        },
        frozenset({"model_id", "metric_name", "metric_timestamp_ms", "metric_step", "run_id"}),
        {**_OF_A_MODEL, "run_id": "runs"},
    ),
    "inputs": Table(
        {
            "input_uuid": _MODEL_ID,
            "source_type": _MODEL_ID,
            "source_id": _MODEL_ID,
            "destination_type": _MODEL_ID,
            "destination_id": _MODEL_ID,
        },
        frozenset({"source_type", "source_id", "destination_type", "destination_id"}),
        {},
    ),
}
"""Those of models, which are written for a model of a run only."""
CHECKED = {
    "source_type": ("'UNKNOWN'",),
    "status": ("'RUNNING'", "'FINISHED'", "'FAILED'", "'KILLED'"),
    "lifecycle_stage": ("'active'", "'deleted'"),
    "is_nan": ("is_nan",),
}
"""Columns that a check may be about, and what its text has to hold for our rows to pass."""


def _for_statements(name: str) -> sa.Table:
    about = {**TABLES, **MODEL_TABLES}[name]
    columns = [
        sa.Column(column, kind, primary_key=column in about.key)
        for column, kind in about.columns.items()
    ]
    return sa.Table(name, sa.MetaData(), *columns)


EXPERIMENTS, EXPERIMENT_TAGS = map(_for_statements, ("experiments", "experiment_tags"))
RUNS, TAGS, PARAMS = map(_for_statements, ("runs", "tags", "params"))
METRICS, LATEST_METRICS = map(_for_statements, ("metrics", "latest_metrics"))
LOGGED_MODELS, LOGGED_MODEL_PARAMS = map(
    _for_statements, ("logged_models", "logged_model_params")
)
LOGGED_MODEL_TAGS, LOGGED_MODEL_METRICS = map(
    _for_statements, ("logged_model_tags", "logged_model_metrics")
)
INPUTS = _for_statements("inputs")
"""The same tables, as statements name them."""


def difference(inspector: sa.Inspector, tables: Mapping[str, Table] = TABLES) -> str | None:
    """Return what of a database is not as it is written here, or ``None``."""
    there = set(inspector.get_table_names())
    for name, table in tables.items():
        if name not in there:
            return f"the table {name} is not there"
        for what in _differences(inspector, name, table):
            return what
    return None


def _differences(inspector: sa.Inspector, name: str, table: Table) -> Iterator[str]:
    found = {column["name"]: column for column in inspector.get_columns(name)}
    for column, needed in table.columns.items():
        if column not in found:
            yield f"the column {name}.{column} is not there"
        elif not _holds(found[column]["type"], needed):
            yield f"the column {name}.{column} has the type {found[column]['type']}"
        elif column in table.nulls and not found[column]["nullable"]:
            yield f"the column {name}.{column} must have a value"
    for column, about in found.items():
        if column not in table.columns and not _fills_itself(about):
            yield f"the column {name}.{column} is new and has no default"
    key = inspector.get_pk_constraint(name)["constrained_columns"]
    if set(key) != table.key:
        yield f"the primary key of {name} is ({', '.join(key)})"
    for reference in inspector.get_foreign_keys(name):
        columns, target = reference["constrained_columns"], reference["referred_table"]
        if [table.refers.get(column) for column in columns] != [target]:
            yield f"the column {name}.{', '.join(columns)} refers to {target}"
    unique = [one["column_names"] for one in inspector.get_unique_constraints(name)]
    # An index over an expression has no name for it.
    unique += [
        [str(column) for column in index["column_names"]]
        for index in inspector.get_indexes(name)
        if index["unique"]
    ]
    for columns in unique:
        if frozenset(columns) in table.unique:
            continue
        yield f"the column {name}.{', '.join(columns)} must be unique"
    for check in inspector.get_check_constraints(name):
        text = check["sqltext"]
        words = set(re.findall(r"\w+", text))
        about_columns = words & set(found)
        words_needed = [
            word for column in about_columns for word in CHECKED.get(column, ("\0",))
        ]
        if not all(word in text for word in words_needed):
            yield f"the column {name}.{', '.join(sorted(about_columns))} is checked by {text}"


def _holds(found: Any, needed: sa.types.TypeEngine[Any]) -> bool:
    """Tell whether a column holds every value that is written to it."""
    if isinstance(needed, sa.String):
        long_enough = getattr(found, "length", None) is None or found.length >= needed.length
        return isinstance(found, sa.String) and not isinstance(found, sa.Enum) and long_enough
    families = (sa.BigInteger, sa.Integer, sa.Boolean, sa.Float)
    family = next(family for family in families if isinstance(needed, family))
    # REAL has four bytes where it is not another word for FLOAT.
    return isinstance(found, family) and not isinstance(found, sa.REAL)


def _fills_itself(column: Any) -> bool:
    """Tell whether a row may leave the column out."""
    return bool(
        column["nullable"]
        or column.get("default") is not None
        or column.get("computed")
        or column.get("identity")
    )
