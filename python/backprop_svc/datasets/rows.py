"""Rows of inputs and targets, and their split into training and validation."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from backprop_svc.arrays import Floats, floats
from backprop_svc.errors import SettingError, counted, shown
from backprop_svc.settings import Seed, check


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
