"""A table as it was read: columns of Arrow, their names, and where each row stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from backprop_svc.errors import SettingError, SettingTypeError, shown

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Table:
    """Columns, which may be of any type of Arrow, and even of different length."""

    names: tuple[str, ...]
    columns: tuple[pa.ChunkedArray, ...]
    source: str
    """What messages call the table."""
    line: Callable[[int], int] | None = None
    """The line of a row in a text file."""
    delimiter: str | None = None
    """Between the cells of a text file."""
    index: frozenset[str] = frozenset()
    """Columns that pandas wrote as the index of the rows."""
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names that stand for several columns: arrays of several columns."""

    @cached_property
    def counts(self) -> Counter[str]:
        """How often a name is there."""
        return Counter(self.names)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def column(self, name: str) -> pa.ChunkedArray:
        """Return the column of this name, which is there once."""
        return self.columns[self._places[name]]

    def place(self, row: int) -> str:
        """Say where a row is, counted from 1, in a text file with its line."""
        line = f" (line {self.line(row)})" if self.line is not None else ""
        return f"row {row + 1}{line}"

    def called(self, name: str) -> str:
        """Say which column of which table."""
        return f"the column {name!r} of {self.source}"


def from_arrow(table: pa.Table, source: str) -> Table:
    """Return a table of Arrow with the index that pandas may have written into it."""
    index = []
    for each in (table.schema.pandas_metadata or {}).get("index_columns", []):
        # A running number is described alone, without a column.
        if isinstance(each, str) and each in table.column_names:
            index.append(each)
    columns = tuple(_with_texts(column) for column in table.columns)
    return Table(tuple(table.column_names), columns, source, index=frozenset(index))


def from_arrays(arrays: Mapping[str, Any], source: str) -> Table:
    """Return a table of arrays by their names; those of several columns are groups.

    Masked values are missing.

    Raises
    ------
    SettingError, SettingTypeError
        An array that Arrow cannot hold, or of no rows at all.
    """
    names: list[str] = []
    columns: list[pa.ChunkedArray] = []
    groups: dict[str, tuple[str, ...]] = {}
    for name, values in arrays.items():
        array = np.ma.asanyarray(values) if np.ma.isMaskedArray(values) else np.asarray(values)
        if array.dtype.names:
            parts = {str(own): array[own] for own in array.dtype.names}
        elif array.ndim < 2:
            parts = {name: np.atleast_1d(array)}
        else:
            # Pictures are rows of pixels.
            flat = array.reshape(len(array), int(np.prod(array.shape[1:])))
            parts = {f"{name}_{number}": flat[:, number] for number in range(flat.shape[1])}
            groups[name] = tuple(parts)
        for own, part in parts.items():
            names.append(own)
            columns.append(_column(f"the column {own!r} of {source}", part))
    return Table(tuple(names), tuple(columns), source, groups=groups)


def from_frame(frame: Any, source: str) -> Table:
    """Return a table of a pandas DataFrame, without its index."""
    names = tuple(str(name) for name in frame.columns)
    columns = [
        _column(f"the column {name!r} of {source}", frame.iloc[:, number])
        for number, name in enumerate(names)
    ]
    return Table(names, tuple(columns), source)


def _column(called: str, values: Any) -> pa.ChunkedArray:
    import pyarrow as pa

    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    plain = np.ma.getdata(values) if mask is not None else values
    try:
        found = pa.array(plain, mask=mask, from_pandas=True)
    except Exception:
        # Objects of several kinds, such as numbers and texts, or what raises when looked at.
        try:
            texts = [None if _is_none(value) else _text(value) for value in list(plain)]
            found = pa.array(texts, pa.string(), mask=mask)
        except Exception:
            raise SettingTypeError(
                called, f"of the type {values.dtype}", "numbers and texts", "convert it"
            ) from None
    whole = found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])
    return _with_texts(whole)


def _with_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column whose bytes, as some programs write their texts, are texts."""
    import pyarrow as pa

    try:
        is_bytes = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
        return column.cast(pa.string()) if is_bytes else column
    except pa.ArrowException:
        return column


def _is_none(value: Any) -> bool:
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _text(value: Any) -> str:
    if isinstance(value, (str, bytes)):
        return value if isinstance(value, str) else value.decode()
    if isinstance(value, (bool, np.bool_, int, float, np.number)) or hasattr(value, "as_tuple"):
        return str(value)
    raise TypeError


def same_length(table: Table, names: Sequence[str], setting: str) -> int:
    """Return the number of rows of columns, which has to be the same and above 0.

    Raises
    ------
    SettingError
        They differ, or there are no rows.
    """
    counts = {name: len(table.column(name)) for name in names}
    for name, count in counts.items():
        if count != counts[names[0]]:
            raise SettingError(
                setting,
                f"the column {shown(name)} with {count} rows",
                f"{counts[names[0]]}, as {shown(names[0])} has",
                "choose columns of the same rows",
                verb="names",
            )
    rows = counts[names[0]]
    if rows == 0:
        fix = "choose another file"
        raise SettingError(table.source, "no rows", "one or more", fix, verb="has")
    return rows
