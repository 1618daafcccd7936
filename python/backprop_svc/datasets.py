"""Rows of inputs and targets: read, split into training and validation, scaled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from backprop_svc.arrays import Floats, floats
from backprop_svc.errors import SettingError, counted, shown
from backprop_svc.settings import Seed, check
from backprop_svc.tables import columns, names_of, read

Scale = float | Sequence[float] | str
"""Divide by a number (or one for each column), by the largest |value| ("max"), or
subtract the mean and divide by the standard deviation ("standard")."""


class Dataset(NamedTuple):
    """What a network trains on."""

    x: Floats
    """Shape (rows, inputs)."""
    y: Floats
    """Shape (rows, outputs)."""


def load(path: str, x: Sequence[str] | Literal["all"], y: Sequence[str]) -> Dataset:
    """Read columns of a CSV or Parquet file, or of a set that a package carries.

    ``pkg://ames.csv`` is carried in this one. ``sklearn://`` with a name is a set within
    scikit-learn, one of :data:`backprop_svc.tables.BUNDLED`; its columns are ``target`` and
    those of its feature names. ``x="all"`` is every column but those of y.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    SettingError
        The file is no table or has no rows; there is no such set or column; a cell is not a
        finite number; scikit-learn is not installed.

    >>> load("pkg://ames.csv", ["living_area_sqft"], ["sale_price_usd"]).x.shape
    (2930, 1)
    """
    every = isinstance(x, str) and check("data.x", x, str) == "all"
    inputs, outputs = [] if every else names_of("data.x", x), names_of("data.y", y)
    table = read(check("data.path", path, str))
    if table.num_rows == 0:
        raise SettingError(path, "no rows", "one or more", "choose another file", verb="has")
    targets = columns(table, "data.y", outputs, path)
    names = [n for n in table.column_names if n not in outputs] if every else inputs
    if not names:
        raise SettingError(
            "data.x",
            f"all, and {path} has no columns but those of data.y",
            "one or more columns",
            "choose another file",
        )
    return Dataset(columns(table, "data.x", names, path), targets)


def one_hot(labels: Floats) -> Floats:
    """Turn class labels, shape (rows, 1), into one column for each class, sorted.

    Raises
    ------
    SettingError
        There is more than one column, or a label is not a whole number.

    >>> one_hot(np.array([[7.0], [3.0], [7.0]]))
    array([[0., 1.],
           [1., 0.],
           [0., 1.]])
    """
    labels = floats("data.y", labels)
    count = labels.shape[1] if labels.ndim == 2 else 0
    if count != 1:
        raise SettingError(
            "data.y",
            counted(count, "column"),
            "with data.one_hot one, of class labels",
            "choose one column, or leave out data.one_hot",
            verb="has",
        )
    bad = np.flatnonzero(~np.isfinite(labels) | (labels != np.floor(labels)))
    if bad.size:
        raise SettingError(
            "data.y",
            f"{labels[bad[0], 0]} in row {bad[0] + 1}",
            "with data.one_hot whole numbers, one for each class",
            "correct it, or leave out data.one_hot",
        )
    return np.asarray(labels == np.unique(labels), dtype=np.float64)


def split(dataset: Dataset, fraction: float, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Set rows aside: those to train on, and a share of ⌈fraction·rows⌉ to validate with.

    The rows are shuffled by NumPy's ``RandomState``, as scikit-learn's ``train_test_split``
    does; a fraction of 0 keeps all of them in their order.

    Raises
    ------
    SettingError
        The fraction is below 0 or not below 1, or leaves no row to train on; x and y differ in
        their rows; the seed is impossible.

    >>> train, validation = split(Dataset(np.eye(5), np.ones((5, 1))), 0.2)
    >>> len(train.x), len(validation.x)
    (4, 1)
    """
    rows = len(dataset.x)
    if len(dataset.y) != rows:
        raise SettingError(
            "data.y",
            counted(len(dataset.y), "row"),
            f"{rows}, as many as data.x",
            "give one target for each row",
            verb="has",
        )
    fraction = check("data.validation", fraction, float)
    if not 0 <= fraction < 1:
        raise SettingError(
            "data.validation",
            shown(fraction),
            "shares of the rows from 0 to below 1",
            "such as 0.2",
        )
    generator = np.random.RandomState(check("data.validation_seed", seed, Seed))
    aside = math.ceil(fraction * rows)
    if fraction and aside >= rows:
        raise SettingError(
            "data.validation",
            f"{shown(fraction)}, which leaves none of {counted(rows, 'row')} to train on",
            "shares that leave one or more",
            "give more rows, or a smaller share",
        )
    order = generator.permutation(rows) if aside else np.arange(rows)
    train, validation = order[aside:], order[:aside]
    return (
        Dataset(dataset.x[train], dataset.y[train]),
        Dataset(dataset.x[validation], dataset.y[validation]),
    )


def scaled(
    train: Dataset, *others: Dataset, x_scale: Scale = 1, y_scale: Scale = 1
) -> list[Dataset]:
    """Scale all of them by what the rows of ``train`` hold.

    Raises
    ------
    SettingError
        A scale is not known, does not fit the columns, or divides by 0. (Columns that are
        constant, or 0 with "max", are not divided, as in scikit-learn.)

    >>> train, other = Dataset(*np.full((2, 1, 1), 4.0)), Dataset(*np.full((2, 1, 1), 6.0))
    >>> scaled(train, other, x_scale="max", y_scale=2)[1]
    Dataset(x=array([[1.5]]), y=array([[3.]]))
    """
    x_shift, x_divisor = _scale("data.x_scale", train.x, x_scale)
    y_shift, y_divisor = _scale("data.y_scale", train.y, y_scale)
    # What becomes infinite is refused by the training, with its place.
    with np.errstate(over="ignore", invalid="ignore"):
        return [
            Dataset((each.x - x_shift) / x_divisor, (each.y - y_shift) / y_divisor)
            for each in (train, *others)
        ]


def _scale(name: str, values: Floats, scale: Scale) -> tuple[Floats, Floats]:
    """Return what to subtract and what to divide by, each a number or one for each column."""
    shift = np.zeros(())
    scale = check(name, scale, str) if isinstance(scale, str) else scale
    if isinstance(scale, str) and scale == "max":
        largest = np.abs(values).max(axis=0)
        divisor = np.where(largest == 0, 1.0, largest)
    elif isinstance(scale, str) and scale == "standard":
        # A constant column becomes 0, as in scikit-learn. Rounding gives equal values that
        # are no binary fraction a deviation above 0.
        varies = np.ptp(values, axis=0) > 0
        shift = np.where(varies, values.mean(axis=0), values[0])
        divisor = np.where(varies, values.std(axis=0), 1.0)
    elif isinstance(scale, str):
        allowed = "max, standard, a number or one per column"
        raise SettingError(name, shown(scale), allowed, "choose one of them")
    else:
        divisor = floats(name, scale)
        if divisor.ndim and divisor.shape != (values.shape[1],):
            raise SettingError(
                name,
                counted(divisor.size, "number"),
                f"one, or one for each of {counted(values.shape[1], 'column')}",
                "make them fit",
                verb="has",
            )
    if not np.all(np.isfinite(divisor) & (divisor != 0)):
        raise SettingError(
            name,
            f"{shown(scale)}, and would divide by {shown(divisor.tolist())}",
            "finite numbers but 0",
            "correct it, or use max or standard",
        )
    return shift, divisor
