"""Columns of a table as numbers: what kind each is, and what it becomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from backprop_svc.arrays import Booleans, Floats
from backprop_svc.datasets.cells import (
    MISSING_NUMBERS,
    MOST_EXACT,
    Notation,
    number_like,
    trimmed,
)
from backprop_svc.datasets.choose import matching
from backprop_svc.datasets.reading import Reading, with_column
from backprop_svc.datasets.table import Table
from backprop_svc.errors import SettingError, shown

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["number", "date", "category"]
MOST_CATEGORIES = 1000
FEW_CATEGORIES = 20
"""So many categories may be as many as the rows."""
DAY = 86_400 * 1_000_000
"""Microseconds."""


@dataclass(frozen=True)
class Column:
    """What a column of a table becomes: itself, or a column for each category."""

    name: str
    kind: Kind = "number"
    categories: tuple[str, ...] = ()
    """Sorted; a column for each is 1 where the value is this one, else 0."""

    @property
    def names(self) -> list[str]:
        """Names of the columns that it becomes."""
        if self.kind != "category":
            return [self.name]
        return [f"{self.name}={category}" for category in self.categories]


class Reader:
    """Reads columns of one table, with what is told and found of it."""

    def __init__(self, table: Table, reading: Reading) -> None:
        import pyarrow as pa

        self._table, self._reading = table, reading
        texts = [c for c in table.columns if _is_text(c.type) and not pa.types.is_null(c.type)]
        self._notation = Notation.of(texts, reading, table.delimiter)
        self._parsed: dict[str, tuple[pa.ChunkedArray, Floats, Booleans]] = {}
        self._dates = set(_some(table, "data.dates", reading.dates))
        self._categories = set(_some(table, "data.categories", reading.categories))

    def describe(self, name: str, *, label: bool = False) -> Column:
        """Say what a column is.

        Raises
        ------
        SettingError
            It has cells that are neither numbers nor categories, or too many categories.
        """
        import pyarrow as pa

        values = self._table.column(name)
        if name in self._dates:
            return Column(name, "date")
        if name not in self._categories and not self._is_category(name, values):
            return Column(name)
        cells = self._texts(values)
        present = cells.filter(pa.array(~self._missing(cells)))
        found = sorted(present.unique().to_pylist())
        most = max(FEW_CATEGORIES, min(len(present) // 2, MOST_CATEGORIES))
        if len(found) > most:
            what = "labels of classes" if label else "categories"
            raise SettingError(
                self._table.called(name),
                f"{len(found)} different texts, such as {shown(found[0])}",
                f"numbers, or up to {most} {what}",
                "choose another"
                if label
                else f"leave it out with {with_column('exclude', name)}",
                verb="has",
            )
        return Column(name, "category", tuple(found))

    def encode(self, column: Column) -> Floats:
        """Return a column as numbers, shape (rows, its names); NaN where a value is missing.

        Raises
        ------
        SettingError
            A cell is no finite number, no date or none of the categories.
        """
        values = self._table.column(column.name)
        if column.kind == "category":
            return self._indicators(column, values)
        if column.kind == "date":
            return self._days(column.name, values)[:, np.newaxis]
        return self._numbers(column.name, values)[:, np.newaxis]

    def _is_category(self, name: str, values: pa.ChunkedArray) -> bool:
        import pyarrow as pa

        if not _is_text(values.type) or pa.types.is_null(values.type):
            return False
        cells = trimmed(values)
        parsed = self._notation.numbers(cells)
        # What a column is and what its values are is asked one after the other.
        self._parsed[name] = (cells, *parsed)
        good = parsed[1]
        if good.all():
            return False
        present = ~(self._missing(cells, numbers=True) & ~good)
        count = int(present.sum())
        if 2 * int(good.sum()) >= count or _booleans(cells, present) is not None:
            return False
        like = number_like(cells) & ~good & present
        return 2 * int(like.sum()) < count

    def _missing(self, cells: pa.ChunkedArray, *, numbers: bool = False) -> Any:
        """Tell which trimmed cells stand for a missing value."""
        import pyarrow as pa
        import pyarrow.compute as pc

        texts: list[str] = ["", *self._reading.missing]
        if numbers and self._reading.missing_values is None:
            texts += MISSING_NUMBERS
        found = pc.is_in(cells, value_set=pa.array(texts, pa.string()))
        return np.asarray(found.to_numpy(), dtype=np.bool_)

    def _texts(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return values of any type as the texts of categories."""
        import pyarrow as pa

        if _is_text(values.type):
            return trimmed(values)
        if pa.types.is_boolean(values.type) or pa.types.is_integer(values.type):
            return trimmed(values.cast(pa.string()))
        plain = [None if v is None or v != v else _short(v) for v in values.to_pylist()]
        return trimmed(pa.chunked_array([pa.array(plain, pa.string())]))

    def _indicators(self, column: Column, values: pa.ChunkedArray) -> Floats:
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = self._texts(values)
        missing = self._missing(cells)
        codes = pc.index_in(cells, value_set=pa.array(column.categories, pa.string()))
        numbers = np.asarray(pc.fill_null(codes, -1).to_numpy())
        self._refuse(
            column.name,
            (numbers < 0) & ~missing,
            lambda row: shown(cells[row].as_py()),
            f"the categories of training: {', '.join(column.categories[:20])}",
            lambda _: "correct it, or train with such rows",
        )
        found = np.zeros((len(cells), len(column.categories)))
        there = np.flatnonzero(~missing)
        found[there, numbers[there]] = 1.0
        found[missing] = np.nan
        return found

    def _numbers(self, name: str, values: pa.ChunkedArray) -> Floats:
        import pyarrow as pa

        kind = values.type
        if _is_text(kind):
            return self._from_texts(name, values)
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            raise SettingError(
                self._table.called(name), f"of the type {kind}", "numbers and categories",
                f"write {with_column('dates', name)}, or leave the column out",
            )  # fmt: skip
        if pa.types.is_dictionary(kind):
            return self._numbers(name, values.cast(kind.value_type))
        try:
            if isinstance(kind, pa.BaseExtensionType) or pa.types.is_duration(kind):
                # The integers of a period of pandas, say, mean nothing here.
                raise ValueError
            found = np.array(values.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
        except (pa.ArrowException, ValueError):
            raise SettingError(
                self._table.called(name), f"not numeric but of the type {kind}",
                "numbers, texts and dates", "choose another column",
            ) from None  # fmt: skip
        if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0):
            self._refuse_inexact(name, values, found)
        self._refuse(
            name, np.isinf(found), lambda row: str(found[row]), "finite numbers",
            lambda _: "fill or remove that row",
        )  # fmt: skip
        for text in self._reading.missing_values or ():
            # A number that stands for a missing value, such as -999.
            number, good = self._notation.numbers(pa.chunked_array([pa.array([text])]))
            if good[0]:
                found[found == number[0]] = np.nan
        return found

    def _from_texts(self, name: str, values: pa.ChunkedArray) -> Floats:
        parsed = self._parsed.pop(name, None)
        if parsed is None:
            cells = trimmed(values)
            parsed = (cells, *self._notation.numbers(cells))
        cells, found, good = parsed
        # A text that is told to be missing is so even if it is a number.
        told = self._reading.missing_values is not None
        if good.all() and not told:
            missing = np.zeros(len(good), dtype=np.bool_)
        else:
            missing = self._missing(cells, numbers=True)
            missing = missing if told else missing & ~good
            booleans = _booleans(cells, ~missing)
            if booleans is not None:
                return np.where(missing, np.nan, booleans)

        self._refuse(
            name, ~good & ~missing, lambda row: shown(cells[row].as_py()), "numbers",
            lambda row: self._notation.remedy(cells[row].as_py(), name),
        )  # fmt: skip
        large = np.flatnonzero(good & ~missing & (np.abs(found) >= MOST_EXACT))
        inexact = np.zeros(len(found), dtype=np.bool_)
        for row in large:
            digits = cells[int(row)].as_py().replace("\u2212", "-")
            if digits.lstrip("+-").isdecimal() and int(digits) != int(found[row]):
                inexact[row] = True
                break
        self._refuse_integers(name, inexact, lambda row: cells[row].as_py())
        self._refuse(
            name, np.isinf(found) & ~missing, lambda row: shown(cells[row].as_py()),
            "numbers that float64 holds", lambda _: "correct it",
        )  # fmt: skip
        found[missing] = np.nan
        return found

    def _refuse_inexact(self, name: str, values: pa.ChunkedArray, found: Floats) -> None:
        large = np.flatnonzero(np.abs(found) >= MOST_EXACT)
        inexact = np.zeros(len(found), dtype=np.bool_)
        for row in large:
            if values[int(row)].as_py() != int(found[row]):
                inexact[row] = True
                break
        self._refuse_integers(name, inexact, lambda row: str(values[row].as_py()))

    def _refuse_integers(self, name: str, bad: Any, show: Callable[[int], str]) -> None:
        as_texts = with_column("categories", name)
        self._refuse(
            name, bad, show, "whole numbers that float64 holds, such as those up to 2^53",
            lambda _: f"leave the column out, write {as_texts}, or round it",
        )  # fmt: skip

    def _days(self, name: str, values: pa.ChunkedArray) -> Floats:
        """Return dates as days since 1970-01-01."""
        import pandas as pd
        import pyarrow as pa

        kind = values.type
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            times = values.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False)
            found = np.array(times.cast(pa.int64()).to_numpy(), dtype=np.float64)
            return found / DAY
        if not _is_text(kind) and not pa.types.is_integer(kind):
            raise SettingError(
                self._table.called(name),
                f"of the type {kind}",
                "dates",
                "choose another column",
            )
        cells = trimmed(values.cast(pa.string()))
        missing = self._missing(cells, numbers=True)
        written = self._reading.date_format or "ISO8601"
        series = pd.Series(cells.to_pylist(), dtype=object).where(~missing, None)
        try:
            read = pd.to_datetime(series, format=written, errors="coerce", utc=True)
        except (ValueError, TypeError) as error:
            raise SettingError(
                "data.date_format", f"{shown(written)}: {error}",
                "formats of strptime, such as %d.%m.%Y", "correct it",
            ) from None  # fmt: skip
        self._refuse(
            name,
            np.asarray(read.isna()) & ~missing,
            lambda row: shown(cells[row].as_py()),
            f"dates as {'ISO 8601 has them' if written == 'ISO8601' else written}",
            lambda _: "write data.date_format=%d.%m.%Y or %m/%d/%Y, say, or correct it",
        )
        naive = read.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
        days = naive.astype(np.int64) / DAY
        return np.where(missing, np.nan, days)

    def _refuse(
        self,
        name: str,
        bad: Any,
        show: Callable[[int], str],
        allowed: str,
        fix: Callable[[int], str],
    ) -> None:
        rows = np.flatnonzero(bad)
        if not rows.size:
            return
        row = int(rows[0])
        more = f" and {rows.size - 1:,} more" if rows.size > 1 else ""
        raise SettingError(
            self._table.called(name),
            f"{show(row)} in {self._table.place(row)}{more}",
            allowed,
            fix(row),
        )


def _some(table: Table, setting: str, patterns: Sequence[str]) -> list[str]:
    return matching(table, setting, patterns) if patterns else []


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    of_texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(kind) for is_kind in of_texts)


def _booleans(cells: pa.ChunkedArray, present: Any) -> Floats | None:
    """Return 1 for true and 0 for false, where all that is present is one of both."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lower = pc.utf8_lower(cells)
    true, false = (
        np.asarray(pc.equal(lower, pa.scalar(text)).to_numpy(), dtype=np.bool_)
        for text in ("true", "false")
    )
    if present.any() and bool((true | false)[present].all()):
        return np.asarray(true, dtype=np.float64)
    return None


def _short(value: Any) -> str:
    """Write a number of any type as short as it can be: 1.0 is 1."""
    return repr(float(value)).removesuffix(".0")
