"""What was done to the columns of a table, so that new rows can be put through the same."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from backprop_svc.arrays import Booleans, Floats
from backprop_svc.datasets.columns import Column, Reader
from backprop_svc.datasets.reading import Reading
from backprop_svc.datasets.rows import Dataset
from backprop_svc.datasets.scale import apply
from backprop_svc.datasets.table import Table, same_length
from backprop_svc.errors import SettingError, counted

VERSION = 1
"""Of the JSON form."""


@dataclass(frozen=True)
class Preparation:
    """From the columns of a table to the inputs and targets of a network, and back.

    All tuples of numbers have one for each input (of x) or output (of y) of the network.
    """

    inputs: tuple[Column, ...]
    targets: tuple[Column, ...]
    one_output: bool = False
    """Whether two classes share one output, 1 for the second of them."""
    numbered: bool = False
    """Whether the classes are numbers."""
    missing: str | None = None
    fill: tuple[float, ...] | None = None
    """What stands for missing inputs: the means of the rows that were trained on."""
    x_shift: tuple[float, ...] = ()
    x_divisor: tuple[float, ...] = ()
    y_shift: tuple[float, ...] = ()
    y_divisor: tuple[float, ...] = ()
    reading: Reading = field(default_factory=Reading)

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs: columns, and ``column=category``."""
        return [name for column in self.inputs for name in column.names]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes, where the target is one."""
        (first, *more) = self.targets
        return first.categories if first.kind == "category" and not more else None

    def apply(self, table: Table) -> Dataset:
        """Return rows of a table, scaled, with their targets.

        Raises
        ------
        SettingError
            A column is not there; a cell is of another kind than in training, of a new
            category, or missing where missing values are not filled.
        """
        rows = Dataset(
            self.apply_inputs(table),
            apply(
                encode_targets(Reader(table, self.reading), self),
                np.array(self.y_shift),
                np.array(self.y_divisor),
            ),
        )
        refuse_missing(table, self.targets, [rows.y], "give every row its target")
        return rows

    def apply_inputs(self, table: Table) -> Floats:
        """Return the inputs alone, scaled, shape (rows, inputs); errors are those of apply."""
        return self.scaled_inputs(self._inputs(table))

    def scaled_inputs(self, x: Floats) -> Floats:
        """Return inputs, shape (rows, inputs), as the network takes them."""
        return apply(x, np.array(self.x_shift), np.array(self.x_divisor))

    def in_units(self, predictions: Floats) -> Floats:
        """Return predictions, shape (…, outputs), in the unit of the target."""
        found: Floats = predictions * np.array(self.y_divisor) + np.array(self.y_shift)
        return found

    def to_json(self) -> str:
        """Write it as JSON, from which :meth:`from_json` makes the same again."""
        return json.dumps({"version": VERSION, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Preparation:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        SettingError
            It is of a version that is not known.
        """
        told: dict[str, Any] = json.loads(text)
        version = told.pop("version", None)
        if version != VERSION:
            raise SettingError(
                "the preparation of a table", f"of version {version}", str(VERSION),
                "install the backprop-svc that wrote it",
            )  # fmt: skip
        for name in ("inputs", "targets"):
            told[name] = tuple(
                Column(each["name"], each["kind"], tuple(each["categories"]))
                for each in told[name]
            )
        told["reading"] = Reading(**told["reading"])
        for name, value in told.items():
            told[name] = tuple(value) if isinstance(value, list) else value
        return cls(**told)

    def encoded(self, table: Table) -> list[Floats]:
        """Return each column of inputs as numbers, NaN where a value is missing."""
        names = [column.name for column in self.inputs]
        for name in names:
            if table.counts[name] != 1:
                several = f"the column {name!r} more than once"
                raise SettingError(
                    table.source, several if table.counts[name] else f"no column {name!r}",
                    "the columns of the training, " + ", ".join(names),
                    "give each of them once", verb="has",
                )  # fmt: skip
        same_length(table, names, "data.x")
        reader = Reader(table, self.reading)
        return [reader.encode(column) for column in self.inputs]

    def _inputs(self, table: Table) -> Floats:
        blocks = self.encoded(table)
        if self.fill is None:
            refuse_missing(table, self.inputs, blocks, "fill or remove these rows")
        return filled(np.concatenate(blocks, axis=1), self.fill)


def encode_targets(reader: Reader, preparation: Preparation) -> Floats:
    """Return the targets before scaling, shape (rows, outputs); NaN where one is missing."""
    if preparation.numbered:
        # A label is the same number however it is written: 1, 1.0.
        (label,) = preparation.targets
        values = reader.encode(Column(label.name))
        same = values == np.array([float(each) for each in label.categories])
        return np.where(np.isnan(values), np.nan, same.astype(np.float64))
    blocks = [reader.encode(column) for column in preparation.targets]
    y = np.concatenate(blocks, axis=1)
    return y[:, 1:] if preparation.one_output else y


def filled(values: Floats, fill: tuple[float, ...] | None) -> Floats:
    """Return values with the missing ones of each column filled, if they are."""
    return values if fill is None else np.where(np.isnan(values), np.array(fill), values)


def refuse_missing(
    table: Table, columns: tuple[Column, ...], blocks: list[Floats], fix: str
) -> None:
    """Raise an error that counts the missing values of each column, if there are some.

    Raises
    ------
    SettingError
        There are missing values.
    """
    masks = {
        column.name: np.isnan(block[:, 0])
        for column, block in zip(columns, blocks, strict=False)
    }
    bad = np.any(list(masks.values()), axis=0)
    if not bad.any():
        return
    parts = [
        f"{name!r} {int(mask.sum()):,} (first in {table.place(int(mask.argmax()))})"
        for name, mask in masks.items()
        if mask.any()
    ]
    shown = ", ".join(parts[:5]) + (f" and {len(parts) - 5} more columns" if parts[5:] else "")
    rows = counted(int(bad.sum()), "row")
    raise SettingError(
        table.source, f"missing values in {rows}: {shown}", "a value in each cell", fix,
        verb="has",
    )  # fmt: skip


def number_inputs(columns: tuple[Column, ...]) -> Booleans:
    """Tell which inputs are numbers and not categories, and so are scaled."""
    kinds = [column.kind != "category" for column in columns for _ in column.names]
    return np.array(kinds, dtype=np.bool_)
