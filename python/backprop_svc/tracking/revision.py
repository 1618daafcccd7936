"""Which MLflow a database belongs to: nothing is migrated by the way.

MLflow's client brings the tables of any database to its own revision as soon as it opens it.
An older MLflow can no longer use them then, and a kill meanwhile can leave no MLflow that can.
"""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from enum import Enum
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sqlalchemy as sa

_LINE = re.compile(r"^(revision|down_revision)\b[^=\n]*=\s*(.+)$", re.MULTILINE)


class State(Enum):
    """Of the tables of a database, seen from the MLflow that is installed."""

    NEW = "has no tables"
    CURRENT = "is of this MLflow"
    OLDER = "is of an older MLflow"
    UNKNOWN = "is of a newer MLflow"
    HALF = "has some tables of MLflow, and no revision"
    FOREIGN = "has tables of another program"


def read_state(engine: sa.Engine) -> tuple[State, str]:
    """Return the state of a database, and its revision where it has one."""
    inspector = sa.inspect(engine)
    tables = [*inspector.get_table_names(), *inspector.get_view_names()]
    is_of_mlflow, revision = not {"experiments", "runs"}.isdisjoint(tables), ""
    if "alembic_version" in tables:
        with engine.connect() as connection:
            found = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
            revision = ",".join(sorted(found.scalars()))
    if revision:
        known, newest = installed_revisions()
        if revision == newest:
            return State.CURRENT, revision
        if revision in known:
            return State.OLDER, revision
        return (State.UNKNOWN if is_of_mlflow else State.FOREIGN), revision
    if is_of_mlflow:
        return State.HALF, ""
    return (State.FOREIGN if tables else State.NEW), ""


def installed_revisions() -> tuple[frozenset[str], str]:
    """Return all revisions that the installed MLflow knows, and its own, the last of them.

    Alembic tells them too, but imports all of MLflow for it.
    """
    package = find_spec("mlflow")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("MLflow is not installed", name="mlflow")
    folder = Path(package.submodule_search_locations[0], "store", "db_migrations", "versions")
    told = [_constants(file) for file in folder.glob("*.py")]
    known = {str(one["revision"]) for one in told if "revision" in one}
    before: set[str] = set()
    for one in told:
        down = one.get("down_revision") or ()
        before |= {down} if isinstance(down, str) else set(down)
    return frozenset(known), ",".join(sorted(known - before))


def installed_mlflow() -> str:
    """Return the version of the MLflow that is installed."""
    return version("mlflow")


def _constants(file: Path) -> dict[str, Any]:
    """Return the revisions that a module names, which are a line each in all but odd ones."""
    text = file.read_text(encoding="utf-8")
    try:
        return {found[1]: ast.literal_eval(found[2]) for found in _LINE.finditer(text)}
    except (ValueError, SyntaxError):
        return _assigned(text)


def _assigned(text: str) -> dict[str, Any]:
    """Return what the top of a module assigns to single names, where it is plain."""
    found: dict[str, Any] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and node.value is not None:
                with suppress(ValueError):
                    found[target.id] = ast.literal_eval(node.value)
    return found
