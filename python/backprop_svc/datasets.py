"""Rows of inputs and targets: given values, or columns of a CSV or Parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Scale = float | Sequence[float] | str
"""Divide by a number (or one for each column), by the largest |value| ("max"), or
subtract the mean and divide by the standard deviation ("standard")."""

PACKAGED = "pkg://"


class Dataset(NamedTuple):
    """What a network trains on."""

    x: Floats
    """Shape (rows, inputs)."""
    y: Floats
    """Shape (rows, outputs)."""


def load(
    path: str, x: Sequence[str], y: Sequence[str], *, x_scale: Scale = 1, y_scale: Scale = 1
) -> Dataset:
    """Read columns of a CSV or Parquet file; ``pkg://ames.csv`` is carried in the package.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        Not a table; no such column; no rows; cells that are not finite numbers; a scale
        that is not known or is zero.

    >>> load("pkg://ames.csv", ["living_area_sqft"], ["sale_price_usd"], x_scale=1000).x.shape
    (2930, 1)
    """
    table = _read(path)
    if table.num_rows == 0:
        raise ValueError(f"{path} has no rows; allowed: one or more; choose another file")
    return Dataset(
        scaled("x_scale", _columns(table, "x", x, path), x_scale),
        scaled("y_scale", _columns(table, "y", y, path), y_scale),
    )


def scaled(name: str, values: Floats, scale: Scale) -> Floats:
    """Apply a :data:`Scale` to values of shape (rows, columns)."""
    shift: Floats | float = 0.0
    if scale == "max":
        divisor = np.abs(values).max(axis=0)
    elif scale == "standard":
        shift, divisor = values.mean(axis=0), values.std(axis=0)
    elif isinstance(scale, str):
        raise ValueError(
            f"{name} is {scale!r}; allowed: max, standard, a number or one per column; "
            "choose one of them"
        )
    else:
        divisor = np.asarray(scale, dtype=np.float64)
        if divisor.ndim and divisor.shape != (values.shape[1],):
            raise ValueError(
                f"{name} has {divisor.size} numbers; allowed: one, or one for each of the "
                f"{values.shape[1]} columns; make them fit"
            )
    if not np.all(np.isfinite(divisor) & (divisor != 0)):
        raise ValueError(
            f"{name} {scale!r} divides by {divisor}; allowed: finite numbers but 0; "
            "leave out a constant column or give the scale as a number"
        )
    return np.asarray((values - shift) / divisor if scale == "standard" else values / divisor)


def _read(path: str) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv, parquet

    if path.startswith(PACKAGED):
        source = resources.files("backprop_svc") / "data" / path.removeprefix(PACKAGED)
        file = Path(str(source))
    else:
        file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(
            f"data.path is {path!r}, which is no file; allowed: a CSV or Parquet file; "
            f"correct the path (looked for {file.absolute()})"
        )
    reader = parquet.read_table if file.suffix in {".parquet", ".pq"} else csv.read_csv
    try:
        return reader(file)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"data.path {path!r} cannot be read: {reason}; allowed: a CSV file with a header, "
            "or a Parquet file; repair it"
        ) from None


def _columns(table: pa.Table, name: str, names: Sequence[str], path: str) -> Floats:
    import pyarrow as pa

    columns = []
    for column in names:
        if table.column_names.count(column) > 1:
            raise ValueError(
                f"{path} has the column {column!r} more than once; allowed: names that occur "
                "once; rename one of them"
            )
        if column not in table.column_names:
            raise ValueError(
                f"data.{name} names the column {column!r}, which {path} does not have; "
                f"allowed: {', '.join(table.column_names)}; choose among them"
            )
        try:
            values = table.column(column).cast(pa.float64()).to_numpy()
        except pa.ArrowException as error:
            raise ValueError(
                f"the column {column!r} of {path} is not numeric: {error}; "
                "allowed: numbers; choose another column"
            ) from None
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ValueError(
                f"the column {column!r} of {path} is {values[bad[0]]} in row {bad[0] + 1}; "
                "allowed: finite numbers; fill or remove that row"
            )
        columns.append(values)
    return np.column_stack(columns).astype(np.float64)
