"""Rows put through what an earlier training did to the columns of its data."""

from __future__ import annotations

import numpy as np

from backprop_svc.datasets.columns import Reader
from backprop_svc.datasets.preparation import (
    Preparation,
    encode_targets,
    filled,
    refuse_missing,
)
from backprop_svc.datasets.prepare import Encoded, Prepared, without_missing
from backprop_svc.datasets.rows import Dataset, split
from backprop_svc.datasets.scale import apply
from backprop_svc.datasets.table import Table
from backprop_svc.errors import SettingError


def encode_again(table: Table, preparation: Preparation) -> Encoded:
    """Return the columns of the training as numbers, NaN where a value is missing.

    Raises
    ------
    SettingError
        A column is missing; a cell is of another kind than in training, of a category that was
        not trained on, or missing where missing values were refused.
    """
    blocks = preparation.encoded(table)
    targets = encode_targets(Reader(table, preparation.reading), preparation)
    if preparation.missing is None:
        columns = (*preparation.inputs, *preparation.targets)
        refuse_missing(table, columns, [*blocks, targets], "fill or remove these rows")
    rows = Dataset(np.concatenate(blocks, axis=1), targets)
    rows, notes = without_missing(table, rows, preparation.missing)
    return Encoded(rows, preparation, notes)


def same_columns(encoded: Encoded, preparation: Preparation) -> Encoded:
    """Return rows of arrays as if they were of the columns of the training.

    Raises
    ------
    SettingError
        They have other columns, or other classes.
    """
    own = encoded.preparation
    if (own.inputs, own.targets) != (preparation.inputs, preparation.targets):
        raise SettingError(
            "data", "other columns or classes than the training", "the same ones",
            "give the data of the training, or leave them out to have these", verb="has",
        )  # fmt: skip
    return Encoded(encoded.rows, preparation, encoded.notes)


def finish_again(
    encoded: Encoded,
    *,
    validation: float = 0.0,
    validation_seed: int = 0,
    folds: int | None = None,
    fold: int | None = None,
) -> Prepared:
    """Split rows, fill and scale them: see :func:`backprop_svc.datasets.finish`.

    What is filled in and what scales are those of the training.
    """
    preparation = encoded.preparation
    y_shift, y_divisor = np.array(preparation.y_shift), np.array(preparation.y_divisor)
    parts = split(encoded.rows, validation, validation_seed, folds=folds, fold=fold)
    done = [
        Dataset(
            preparation.scaled_inputs(filled(part.x, preparation.fill)),
            apply(part.y, y_shift, y_divisor),
        )
        for part in parts
        if len(part.x)
    ]
    return Prepared(done[0], done[1] if len(done) > 1 else None, preparation, encoded.notes)
