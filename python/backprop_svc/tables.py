"""Tables: read from a file or a set that a package carries, and their columns as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backprop_svc.arrays import Floats
from backprop_svc.errors import SettingError, SettingTypeError, shortened, shown
from backprop_svc.settings import check

if TYPE_CHECKING:
    import pyarrow as pa

PACKAGED = "pkg://"
SKLEARN = "sklearn://"
BUNDLED = ("breast_cancer", "diabetes", "digits", "iris", "wine")
"""Sets within scikit-learn; none of them is downloaded."""


def read(path: str) -> pa.Table:
    """Read a CSV or Parquet file, or a set that a package carries.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    SettingError
        The file cannot be read, there is no such set, or scikit-learn is not installed.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    if path.startswith(SKLEARN):
        return _bundled(path)
    if path.startswith(PACKAGED):
        source = resources.files("backprop_svc") / "data" / path.removeprefix(PACKAGED)
        file = Path(str(source))
    else:
        file = Path(path)
    try:
        file = file.expanduser()
        found = file.is_file()
    except (OSError, RuntimeError):
        # Names that are too long, and homes of nobody.
        found = False
    if not found:
        raise FileNotFoundError(
            f"data.path is {shown(path)}, which is no file; allowed: a CSV or Parquet file; "
            f"correct the path (looked for {shortened(str(file.absolute()))})"
        )
    reader = parquet.read_table if file.suffix in {".parquet", ".pq"} else csv.read_csv
    try:
        return reader(file)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise SettingError(
            "data.path",
            f"{path!r}, which cannot be read: {reason}",
            "a CSV file with a header, or a Parquet file",
            "repair it",
        ) from None


def _bundled(path: str) -> pa.Table:
    import pyarrow as pa

    name = path.removeprefix(SKLEARN)
    if name not in BUNDLED:
        allowed = f"{SKLEARN} with {', '.join(BUNDLED)}"
        raise SettingError("data.path", shown(path), allowed, "choose one of them")
    try:
        from sklearn import datasets
    except ModuleNotFoundError:
        raise SettingError(
            "data.path",
            f"{path!r}, and scikit-learn is not installed",
            "files, or its sets with it",
            "pip install 'backprop-svc[sklearn]'",
        ) from None
    found = getattr(datasets, f"load_{name}")()
    columns = zip(found.feature_names, found.data.T, strict=True)
    return pa.table({**dict(columns), "target": found.target})


def names_of(name: str, columns: object) -> list[str]:
    """Refuse what is no list of names, or has none."""
    # Not a class of somebody else's, which may be anything but a list.
    if isinstance(columns, (list, tuple)) and type(columns) in (list, tuple) and columns:
        return [check(name, column, str) for column in columns]
    fix = "such as {name}=[living_area_sqft]"
    raise SettingTypeError(name, shown(columns), "a list of one or more columns", fix)


def columns(table: pa.Table, name: str, names: Sequence[str], path: str) -> Floats:
    """Return columns of numbers, shape (rows, names).

    Raises
    ------
    SettingError
        There is no such column, or more than one; a cell is not a finite number.
    """
    import pyarrow as pa

    found = []
    for column in names:
        if table.column_names.count(column) > 1:
            raise SettingError(
                path,
                f"the column {shown(column)} more than once",
                "names that occur once",
                "rename one of them",
                verb="has",
            )
        if column not in table.column_names:
            raise SettingError(
                name,
                f"the column {shown(column)}, which {path} does not have",
                ", ".join(table.column_names),
                "choose among them",
                verb="names",
            )
        try:
            values = table.column(column).cast(pa.float64()).to_numpy()
        except pa.ArrowException as error:
            raise SettingError(
                f"the column {column!r} of {path}",
                f"not numeric: {error}",
                "numbers",
                "choose another column",
            ) from None
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise SettingError(
                f"the column {column!r} of {path}",
                f"{values[bad[0]]} in row {bad[0] + 1}",
                "finite numbers",
                "fill or remove that row",
            )
        found.append(values)
    return np.column_stack(found).astype(np.float64)
