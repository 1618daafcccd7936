"""Connections to databases, and whether their rows may be written without MLflow."""

from __future__ import annotations

import os
from functools import lru_cache

import sqlalchemy as sa

from backprop_svc.tracking.waiting import WAITING


@lru_cache(maxsize=100)
def connections(uri: str) -> sa.Engine:
    """Return our connections to a database; those that a restart has cut are made again."""
    waits = WAITING if uri.startswith("sqlite") else {}
    engine = sa.create_engine(uri, connect_args=waits, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        # As for MLflow's searches.
        sa.event.listen(
            engine, "connect", lambda own, _: own.execute("PRAGMA case_sensitive_like = true")
        )
    return engine


def has_workspaces(engine: sa.Engine) -> bool:
    """Tell whether MLflow keeps experiments apart in this database, or is told to."""
    if os.environ.get("MLFLOW_ENABLE_WORKSPACES", "").lower() in {"true", "1"}:
        return True
    columns = sa.inspect(engine).get_columns("experiments")
    if "workspace" not in {column["name"] for column in columns}:
        return False
    other = sa.text("SELECT 1 FROM experiments WHERE workspace <> 'default' LIMIT 1")
    with engine.connect() as database:
        return database.execute(other).first() is not None
