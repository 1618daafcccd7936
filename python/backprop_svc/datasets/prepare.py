"""From a table to rows that are trained on: encoded, split, filled and scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from backprop_svc.arrays import Floats
from backprop_svc.datasets.choose import choose
from backprop_svc.datasets.columns import Column, Reader
from backprop_svc.datasets.preparation import (
    Preparation,
    encode_targets,
    filled,
    number_inputs,
    refuse_missing,
)
from backprop_svc.datasets.reading import Reading, texts, with_column
from backprop_svc.datasets.rows import Dataset, one_hot, split
from backprop_svc.datasets.scale import Scale, apply, measure
from backprop_svc.datasets.table import Table, same_length
from backprop_svc.errors import SettingError, counted, shown
from backprop_svc.settings import check

Missing = Literal["drop", "mean"]


@dataclass(frozen=True)
class Prepared:
    """Rows to train on and to validate with, and how they came out of their table."""

    train: Dataset
    validation: Dataset | None
    preparation: Preparation
    notes: tuple[str, ...] = ()
    """What was done unasked, or to how many rows: a line for each."""


@dataclass(frozen=True)
class Encoded:
    """Columns as numbers, NaN where a value is missing, before they are split and scaled."""

    rows: Dataset
    preparation: Preparation
    notes: tuple[str, ...] = ()


def encode(
    table: Table,
    x: Sequence[str] | str,
    y: Sequence[str] | str,
    *,
    exclude: Sequence[str] = (),
    missing: str | None = None,
    one_hot: bool | None = None,
    one_output: bool = False,
    reading: Reading | None = None,
) -> Encoded:
    """Choose columns of a table and return them as numbers.

    Parameters
    ----------
    table
        What :func:`backprop_svc.datasets.read` returned.
    x, y
        Names or patterns of columns; ``"all"`` as x for those that y leaves.
    exclude
        Names or patterns of columns that x leaves out.
    missing
        ``"drop"`` leaves rows out, ``"mean"`` fills inputs; they are refused by default.
    one_hot
        Whether labels become an output for each class; by default those that are texts do.
    one_output
        Whether two classes share one output instead.
    reading
        What is told of the table.

    Raises
    ------
    SettingError
        Columns that are not there; cells that cannot be read; values that are missing.
    """
    reading = Reading() if reading is None else reading
    missing = check("data.missing", missing, Missing | None)
    one_hot = check("data.one_hot", one_hot, bool | None)
    inputs, outputs, notes = choose(table, x, y, texts("data.exclude", exclude))
    same_length(table, [*outputs, *inputs], "data.x")
    reader = Reader(table, reading)
    features = tuple(reader.describe(name) for name in inputs)
    labels = tuple(reader.describe(name, label=True) for name in outputs)
    preparation = Preparation(features, labels, missing=missing, reading=reading)
    preparation = _with_classes(table, preparation, one_hot, one_output)
    blocks = [reader.encode(column) for column in features]
    targets = encode_targets(reader, preparation)
    if missing is None:
        help_ = "write data.missing=drop to leave these rows out" + (
            "" if np.isnan(targets).any() else ", or data.missing=mean to fill them in"
        )
        refuse_missing(table, (*features, *labels), [*blocks, targets], help_)
    rows = Dataset(np.concatenate(blocks, axis=1), targets)
    if preparation.classes is None and one_hot:
        rows, preparation = _numbered(rows, preparation)
    rows, dropped = without_missing(table, rows, missing)
    return Encoded(rows, preparation, (*notes, *dropped))


def finish(
    encoded: Encoded,
    *,
    x_scale: Scale = 1,
    y_scale: Scale = 1,
    validation: float = 0.0,
    validation_seed: int = 0,
    folds: int | None = None,
    fold: int | None = None,
) -> Prepared:
    """Split rows into training and validation, then fill and scale them.

    What is filled in and what scales come from is what the rows of training hold.

    Raises
    ------
    SettingError
        As for :func:`backprop_svc.datasets.split` and :func:`backprop_svc.datasets.scaled`.
    """
    parts = split(encoded.rows, validation, validation_seed, folds=folds, fold=fold)
    train, preparation = parts[0], encoded.preparation
    notes = encoded.notes
    fill = None
    if preparation.missing == "mean":
        fill = _means(train.x, preparation)
        total = sum(int(np.isnan(part.x).any(axis=1).sum()) for part in parts)
        if total:
            notes += (f"data.missing=mean fills in values of {counted(total, 'row')}",)
    complete = [Dataset(filled(part.x, fill), part.y) for part in parts]
    train = complete[0]
    if preparation.classes is not None and not _is_one(y_scale):
        raise SettingError(
            "data.y_scale", f"{shown(y_scale)}, and data.y has classes", "1 with classes",
            "leave it out",
        )  # fmt: skip
    x_shift, x_divisor = measure(
        "data.x_scale", train.x, x_scale, number_inputs(preparation.inputs)
    )
    y_shift, y_divisor = measure("data.y_scale", train.y, y_scale)
    done = [
        Dataset(apply(part.x, x_shift, x_divisor), apply(part.y, y_shift, y_divisor))
        for part in complete
        if len(part.x)
    ]
    preparation = replace(
        preparation,
        fill=fill,
        x_shift=tuple(x_shift.tolist()),
        x_divisor=tuple(x_divisor.tolist()),
        y_shift=tuple(y_shift.tolist()),
        y_divisor=tuple(y_divisor.tolist()),
    )
    return Prepared(done[0], done[1] if len(done) > 1 else None, preparation, notes)


def of_arrays(x: Floats, y: Floats, *, one_hot: bool | None = None) -> Encoded:
    """Return arrays as if they were columns of a table, called x0, x1 and so on, and y0."""
    one_hot = check("data.one_hot", one_hot, bool | None)
    columns = [
        tuple(Column(f"{name}{number}") for number in range(values.shape[1]))
        for name, values in (("x", x), ("y", y))
    ]
    preparation = Preparation(columns[0], columns[1])
    rows = Dataset(x, y)
    if one_hot:
        rows, preparation = _numbered(rows, preparation)
    return Encoded(rows, preparation)


def _with_classes(
    table: Table, preparation: Preparation, one_hot: bool | None, one_output: bool
) -> Preparation:
    """Say what becomes of labels that are texts."""
    labels = [column for column in preparation.targets if column.kind == "category"]
    if not labels:
        return preparation
    if len(preparation.targets) > 1:
        raise SettingError(
            "data.y", f"{len(preparation.targets)} columns, and {labels[0].name!r} has texts",
            "one column of class labels, or numbers", "choose one column", verb="has",
        )  # fmt: skip
    count = len(labels[0].categories)
    if count < 2:
        raise _single(table.called(labels[0].name), labels[0].categories)
    if one_hot is False and count > 2:
        raise SettingError(
            "data.one_hot", f"False, and {table.called(labels[0].name)} has {count} classes",
            "true, or two classes", "leave it out",
        )  # fmt: skip
    return replace(
        preparation,
        one_output=count == 2 and (one_hot is False or (one_output and not one_hot)),
    )


def _numbered(rows: Dataset, preparation: Preparation) -> tuple[Dataset, Preparation]:
    """Turn labels that are whole numbers into an output for each class."""
    here = ~np.isnan(rows.y).any(axis=1) if preparation.missing else np.full(len(rows.y), True)
    encoded = one_hot(rows.y[here])
    if encoded.shape[1] < 2:
        raise _single("data.y", ())
    y = np.full((len(rows.y), encoded.shape[1]), np.nan)
    y[here] = encoded
    names = tuple(f"{value:.0f}" for value in np.unique(rows.y[here]))
    label = Column(preparation.targets[0].name, "category", names)
    return rows._replace(y=y), replace(preparation, targets=(label,), numbered=True)


def _single(name: str, categories: Sequence[str]) -> SettingError:
    told = "".join(f", {shown(category)}" for category in categories)
    return SettingError(
        name,
        f"a single class{told}",
        "with data.one_hot or labels that are texts two or more",
        "choose a column of class labels, or leave out data.one_hot",
        verb="has",
    )


def without_missing(
    table: Table, rows: Dataset, missing: str | None
) -> tuple[Dataset, tuple[str, ...]]:
    """Leave out rows whose target is missing, and with ``drop`` those without an input."""
    if missing is None:
        return rows, ()
    bad = np.asarray(np.isnan(rows.y).any(axis=1))
    what = "without a target"
    if missing == "drop":
        bad |= np.isnan(rows.x).any(axis=1)
        what = f"of {len(bad):,}"
    if bad.all():
        raise SettingError(
            table.source, "missing values in each row", "rows without, or data.missing=mean",
            "exclude the columns that are mostly empty", verb="has",
        )  # fmt: skip
    if not bad.any():
        return rows, ()
    note = f"data.missing={missing} leaves out {counted(int(bad.sum()), 'row')} {what}"
    return Dataset(rows.x[~bad], rows.y[~bad]), (note,)


def _means(x: Floats, preparation: Preparation) -> tuple[float, ...]:
    """Return the mean of what is there of each column."""
    there = ~np.isnan(x)
    counts = there.sum(axis=0)
    if not counts.all():
        name = preparation.input_names[int(counts.argmin())]
        raise SettingError(
            "data.missing", f"mean, and the column {name!r} has no value to train on",
            "columns with values", f"write {with_column('exclude', name)}",
        )  # fmt: skip
    means = np.where(there, x, 0.0).sum(axis=0) / counts
    return tuple(means.tolist())


def _is_one(scale: Any) -> bool:
    return isinstance(scale, (int, float)) and scale == 1
