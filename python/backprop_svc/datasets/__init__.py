"""Rows of inputs and targets: read from a table, split, filled and scaled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backprop_svc.datasets.again import encode_again, finish_again, same_columns
from backprop_svc.datasets.columns import Column
from backprop_svc.datasets.preparation import Preparation
from backprop_svc.datasets.prepare import (
    Encoded,
    Prepared,
    encode,
    finish,
    of_arrays,
)
from backprop_svc.datasets.reading import Reading
from backprop_svc.datasets.rows import Dataset, one_hot, split
from backprop_svc.datasets.scale import Scale, scaled
from backprop_svc.datasets.source import BUNDLED, read
from backprop_svc.datasets.table import Table

__all__ = [
    "BUNDLED",
    "Column",
    "Dataset",
    "Encoded",
    "Preparation",
    "Prepared",
    "Reading",
    "Scale",
    "Table",
    "encode",
    "encode_again",
    "finish",
    "finish_again",
    "load",
    "of_arrays",
    "one_hot",
    "prepare",
    "read",
    "same_columns",
    "scaled",
    "split",
]


def load(
    path: Any,
    x: Sequence[str] | str,
    y: Sequence[str] | str,
    *,
    exclude: Sequence[str] = (),
    missing: str | None = None,
    one_hot: bool | None = None,
    reading: Reading | None = None,
) -> Dataset:
    """Read columns of a table as numbers: see :func:`prepare`, of which it is the rows.

    ``pkg://ames.csv`` is carried in this package. ``sklearn://`` with a name is a set within
    scikit-learn, one of :data:`BUNDLED`; its columns are ``target`` and those of its feature
    names. ``x="all"`` is every column but those of y.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    SettingError
        As for :func:`prepare`.

    >>> load("pkg://ames.csv", ["living_area_sqft"], ["sale_price_usd"]).x.shape
    (2930, 1)
    """
    prepared = prepare(
        path, x, y, exclude=exclude, missing=missing, one_hot=one_hot, reading=reading
    )
    return prepared.train


def prepare(
    path: Any,
    x: Sequence[str] | str,
    y: Sequence[str] | str,
    *,
    exclude: Sequence[str] = (),
    missing: str | None = None,
    one_hot: bool | None = None,
    x_scale: Scale = 1,
    y_scale: Scale = 1,
    validation: float = 0.0,
    validation_seed: int = 0,
    folds: int | None = None,
    fold: int | None = None,
    reading: Reading | None = None,
) -> Prepared:
    """Read a table, and make of it rows to train on and to validate with.

    Texts become categories, a column for each; labels that are texts become classes, an output
    for each. What is filled in and what scales come from is what the rows of training hold.

    Parameters
    ----------
    path
        A file, a folder, a set that a package carries, a DataFrame, a table of Arrow, or arrays
        in a dictionary: see :func:`read`.
    x, y
        Names of columns or patterns such as ``size*``; ``"all"`` as x for those that y leaves.
    exclude
        Names or patterns of columns that x leaves out.
    missing
        ``"drop"`` leaves out rows with missing values; ``"mean"`` fills inputs with the mean of
        their column (of a category's columns: its share). They are refused by default.
    one_hot
        Whether labels become an output for each class; by default those that are texts do.
    x_scale, y_scale, validation, validation_seed, folds, fold
        See :func:`scaled` and :func:`split`.
    reading
        What is told of the table, such as ``Reading(delimiter=";", decimal=",")``.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    SettingError
        The file is no table or has no rows; there is no such set or column; a cell is not a
        finite number; values are missing; scikit-learn is not installed.

    >>> prepare({"city": ["Bonn", "Trier"], "y": [1, 2]}, "all", "y").preparation.input_names
    ['city=Bonn', 'city=Trier']
    """
    encoded = encode(
        read(path, reading), x, y, exclude=exclude, missing=missing, one_hot=one_hot,
        reading=reading,
    )  # fmt: skip
    return finish(
        encoded,
        x_scale=x_scale,
        y_scale=y_scale,
        validation=validation,
        validation_seed=validation_seed,
        folds=folds,
        fold=fold,
    )
