"""What MLflow refuses or cuts of names and values."""

from __future__ import annotations

import os
import posixpath
import re

MAX_KEY, MAX_PARAM, MAX_TAG, MAX_EXPERIMENT_NAME = 250, 6000, 8000, 500
"""Characters of names, of values, and of the names of experiments."""
_NAME = re.compile(r"[/\w.\- ]*" if os.name == "nt" else r"[/\w.\- :]*")


class RefusedError(ValueError):
    """A store does not take a name or a value."""


def checked_name(kind: str, name: str) -> str:
    """Return the name of a param, a metric or a tag.

    Raises
    ------
    RefusedError
        MLflow takes no such name: it is too long, has other signs, or is no plain path.
    """
    normal = posixpath.normpath(name)
    if normal != name or normal == "." or normal.startswith(("..", "/")):
        raise RefusedError(f"the {kind} {name!r} would be the path {normal!r}")
    if not _NAME.fullmatch(name):
        raise RefusedError(
            f"the {kind} {name!r} has other signs than letters, digits, _ - . : / and spaces"
        )
    if len(name) > MAX_KEY:
        raise RefusedError(f"the {kind} {name[:50]!r}… has more than {MAX_KEY} characters")
    return name


def cut(kind: str, value: str, most: int) -> str:
    """Return as much of a value as MLflow keeps.

    Raises
    ------
    RefusedError
        It is longer, and MLFLOW_TRUNCATE_LONG_VALUES says that nothing is cut.
    """
    if len(value) <= most:
        return value
    if os.environ.get("MLFLOW_TRUNCATE_LONG_VALUES", "true").lower() in {"false", "0"}:
        raise RefusedError(f"the {kind} {value[:50]!r}… has more than {most} characters")
    return value[:most]
