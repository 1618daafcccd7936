"""Rows of inputs and targets, and their split into training and validation."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backprop_svc.arrays import Floats, floats
from backprop_svc.errors import SettingError, counted, shown
from backprop_svc.settings import Natural, Seed, check


class Dataset(NamedTuple):
    """What a network trains on."""

    x: Floats
    """Shape (rows, inputs)."""
    y: Floats
    """Shape (rows, outputs)."""


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


def split(
    dataset: Dataset,
    fraction: float,
    seed: int = 0,
    *,
    folds: int | None = None,
    fold: int | None = None,
) -> tuple[Dataset, Dataset]:
    """Set rows aside: those to train on, and those to validate with.

    Parameters
    ----------
    dataset
        All rows.
    fraction
        The share of ⌈fraction·rows⌉ rows that are set aside, after NumPy's ``RandomState`` has
        shuffled all, as by scikit-learn's ``train_test_split``; 0 keeps them in their order.
    seed
        What shuffles them.
    folds, fold
        Instead of a fraction: in how many folds the shuffled rows are cut, and which of them,
        from 0, is set aside, as by scikit-learn's ``KFold(folds, shuffle=True)``.

    Raises
    ------
    SettingError
        The fraction is below 0 or not below 1, or leaves no row to train on; there is no such
        fold; x and y differ in their rows; the seed is impossible.

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
    generator = np.random.RandomState(check("data.validation_seed", seed, Seed))
    fraction = check("data.validation", fraction, float)
    if folds is not None or fold is not None:
        train, aside = _fold(rows, fraction, folds, fold, generator)
    else:
        train, aside = _share(rows, fraction, generator)
    return (
        Dataset(dataset.x[train], dataset.y[train]),
        Dataset(dataset.x[aside], dataset.y[aside]),
    )


def _share(
    rows: int, fraction: float, generator: np.random.RandomState
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not 0 <= fraction < 1:
        raise SettingError(
            "data.validation",
            shown(fraction),
            "shares of the rows from 0 to below 1",
            "such as 0.2",
        )
    count = math.ceil(fraction * rows)
    if fraction and count >= rows:
        raise SettingError(
            "data.validation",
            f"{shown(fraction)}, which leaves none of {counted(rows, 'row')} to train on",
            "shares that leave one or more",
            "give more rows, or a smaller share",
        )
    order = generator.permutation(rows) if count else np.arange(rows)
    return order[count:], order[:count]


def _fold(
    rows: int,
    fraction: float,
    folds: int | None,
    fold: int | None,
    generator: np.random.RandomState,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    folds, fold = (
        check("data.folds", folds, Natural | None),
        check("data.fold", fold, Natural | None),
    )
    if folds is None:
        raise SettingError(
            "data.fold", f"{fold}, without folds", "data.folds, too", "write data.folds=5"
        )
    if fraction:
        raise SettingError(
            "data.validation", f"{shown(fraction)}, with data.folds={folds}",
            "one of them", "write data.validation=0, or leave data.folds out",
        )  # fmt: skip
    if not 2 <= folds <= rows:
        raise SettingError(
            "data.folds", str(folds), f"from 2 to {rows}, the number of rows", "such as 5"
        )
    fix = f"write data.fold=0, or sweep over 'data.fold=range({folds})'"
    if fold is None:
        raise SettingError(
            "data.folds", f"{folds}, without data.fold", f"data.fold from 0 to {folds - 1}", fix
        )
    if fold >= folds:
        raise SettingError("data.fold", str(fold), f"from 0 to {folds - 1}", fix)
    aside = np.sort(np.array_split(generator.permutation(rows), folds)[fold])
    return np.setdiff1d(np.arange(rows), aside), aside
