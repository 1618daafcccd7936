"""What is subtracted from columns, and what they are divided by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backprop_svc.arrays import Booleans, Floats, floats
from backprop_svc.datasets.rows import Dataset
from backprop_svc.errors import SettingError, counted, shown
from backprop_svc.settings import check

Scale = float | Sequence[float] | str
"""Divide by a number (or one for each column), by the largest |value| ("max"), or
subtract the mean and divide by the standard deviation ("standard")."""


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
    x_shift, x_divisor = measure("data.x_scale", train.x, x_scale)
    y_shift, y_divisor = measure("data.y_scale", train.y, y_scale)
    return [
        Dataset(apply(each.x, x_shift, x_divisor), apply(each.y, y_shift, y_divisor))
        for each in (train, *others)
    ]


def apply(values: Floats, shift: Floats, divisor: Floats) -> Floats:
    """Return scaled columns."""
    # What becomes infinite is refused by the training, with its place.
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: Floats = (values - shift) / divisor
    return scaled


def measure(
    name: str, values: Floats, scale: Scale, is_number: Booleans | None = None
) -> tuple[Floats, Floats]:
    """Return what to subtract and what to divide by, for each column.

    Columns that are no numbers, but stand for a category, are left as they are.

    Raises
    ------
    SettingError
        As for :func:`scaled`.
    """
    columns = values.shape[1]
    scales = np.ones(columns, dtype=np.bool_) if is_number is None else is_number
    shift, divisor = np.zeros(columns), np.ones(columns)
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
        numbers = floats(name, scale)
        count = int(scales.sum())
        if numbers.ndim and numbers.shape != (count,):
            raise SettingError(
                name,
                counted(numbers.size, "number"),
                f"one, or one for each of {counted(count, 'column')}",
                "make them fit",
                verb="has",
            )
        divisor[scales] = numbers
    bad = ~(np.isfinite(divisor) & (divisor != 0))
    if bad.any():
        given = (
            divisor.tolist() if np.ndim(scale) or isinstance(scale, str) else divisor[bad][0]
        )
        raise SettingError(
            name,
            f"{shown(scale)}, and would divide by {shown(given)}",
            "finite numbers but 0",
            "correct it, or use max or standard",
        )
    return np.where(scales, shift, 0.0), np.where(scales, divisor, 1.0)
