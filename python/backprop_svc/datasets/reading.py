"""How a table is read: what is told of its signs, and their names on a command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from backprop_svc.errors import SettingError, SettingTypeError, shown
from backprop_svc.settings import check

SIGNS = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "pipe": "|",
    "space": " ",
    "point": ".",
    "apostrophe": "'",
    "quote": '"',
}
"""Names of signs that a command line cannot have without quotes."""
MISSING_TEXTS = (
    *("", "?", "NA", "N/A", "n/a", "N.A.", "n.a.", "#N/A", "<NA>", "NaN", "nan"),
    *("null", "NULL", "\\N"),
)
"""What stands for a missing value, unless ``missing_values`` says otherwise."""

Affixes = Literal["keep", "drop"]


@dataclass(frozen=True)
class Reading:
    """What is told of a table. What is not told is found, where there is no doubt."""

    delimiter: str | None = None
    """Between the cells of a text file; ``space`` stands for any number of blanks."""
    quote: str | None = None
    """Around cells of a text file."""
    encoding: str | None = None
    """Of a text file, such as ``latin-1``; UTF-8, or what its first bytes say."""
    header: bool | int | None = None
    """Whether the first line of a text file names the columns, or the number of that line."""
    decimal: str | None = None
    """Between whole and fraction of numbers that are written as text."""
    thousands: str | None = None
    """Between the groups of three digits; none unless told."""
    affixes: Affixes = "keep"
    """``drop`` leaves out what stands before or after every number of a column: $, %, km."""
    missing_values: Sequence[str | float] | None = None
    """Texts (or numbers) that stand for a missing value; :data:`MISSING_TEXTS` by default."""
    dates: Sequence[str] = ()
    """Columns of dates (names or patterns), which become days since 1970-01-01."""
    date_format: str | None = None
    """How dates are written, such as ``%d.%m.%Y``; ISO 8601 by default."""
    categories: Sequence[str] = ()
    """Columns (names or patterns) whose values are categories, though they may be numbers."""

    def __post_init__(self) -> None:
        for name, allowed in (
            ("delimiter", ",;\t| :"),
            ("quote", "\"'"),
            ("decimal", ".,"),
            ("thousands", ",.' _"),
        ):
            self._set(name, _sign(f"data.{name}", getattr(self, name), allowed))
        for name in ("encoding", "date_format"):
            self._set(name, check(f"data.{name}", getattr(self, name), str | None))
        self._set("affixes", check("data.affixes", self.affixes, Affixes))
        header: Any = self.header
        is_line = type(header) is int and header > 0
        if not (header is None or isinstance(header, bool) or is_line):
            raise SettingError(
                "data.header",
                shown(header),
                "true, false, or the number of the line with the names of the columns",
                "try {name}=true",
            )
        for name in ("dates", "categories"):
            self._set(name, tuple(texts(f"data.{name}", getattr(self, name))))
        if self.missing_values is not None:
            self._set(
                "missing_values",
                tuple(texts("data.missing_values", self.missing_values, numbers=True)),
            )
        if self.thousands is not None and self.thousands == self.decimal:
            raise SettingError(
                "data.thousands",
                f"{shown(self.thousands)}, and data.decimal the same",
                "two different signs",
                "correct one of them",
            )

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def missing(self) -> tuple[str, ...]:
        """The texts that stand for a missing value."""
        return (
            MISSING_TEXTS
            if self.missing_values is None
            else tuple(map(str, self.missing_values))
        )


def _sign(name: str, value: object, allowed: str) -> str | None:
    text = check(name, value, str | None)
    sign = SIGNS.get(text, text) if text is not None else None
    if sign is None or (len(sign) == 1 and sign in allowed):
        return sign
    raise SettingError(name, shown(text), ", ".join(map(sign_name, allowed)), "choose one")


def with_column(setting: str, column: str) -> str:
    r"""Write a setting of columns as a word of the command line, which can be pasted.

    >>> with_column("dates", "sold"), with_column("exclude", "House no.")
    ('data.dates=[sold]', "'data.exclude=[House no.]'")
    >>> with_column("categories", "area (m²)")
    '\'data.categories=["area (m²)"]\''
    """
    is_plain = re.fullmatch(r"[A-Za-z_][\w.-]*( [\w.-]+)*", column, re.ASCII)
    if not is_plain or column.lower() in {"null", "true", "false", "nan", "inf"}:
        # As Hydra reads it: backslashes mean something before a quote, and nowhere else.
        column = re.sub(r'(\\*)"', r"\1\1\"", column)
        column = '"' + re.sub(r"(\\*)$", r"\1\1", column, count=1) + '"'
    word = f"data.{setting}=[{column}]"
    return word if re.fullmatch(r"\S*", word) and '"' not in word else shlex.quote(word)


def sign_name(sign: str) -> str:
    """Return the name of a sign, as a command line has it."""
    return next((name for name, own in SIGNS.items() if own == sign), sign)


def texts(name: str, values: object, *, numbers: bool = False) -> list[str]:
    """Return texts; one alone is a list of one.

    Raises
    ------
    SettingError, SettingTypeError
        Something else than texts, or where told numbers.
    """
    if isinstance(values, str):
        values = [values]
    # Not a class of somebody else's, which may be anything but a list.
    if type(values) not in (list, tuple):
        raise SettingTypeError(name, shown(values), "a list of texts", "such as {name}=[a]")
    found = []
    for value in values:  # type: ignore[attr-defined]
        if numbers:
            value = str(value) if type(value) is float else _written(value)
        found.append(check(name, value, str))
    return found


def _written(value: object) -> object:
    """Return a whole number as a text, but for a long one, which Python refuses to write."""
    return str(value) if type(value) is int and value.bit_length() < 1 << 10 else value


def names_of(name: str, columns: object) -> list[str]:
    """Return names or patterns of columns; refuse what is no list of them, or has none."""
    if isinstance(columns, str):
        columns = [columns]
    # Not a class of somebody else's, which may be anything but a list.
    if type(columns) in (list, tuple) and columns:
        # Columns may be called by a number.
        return [check(name, _written(column), str) for column in columns]  # type: ignore[attr-defined]
    fix = "such as {name}=[living_area_sqft]"
    raise SettingTypeError(name, shown(columns), "a list of one or more columns", fix)
