"""Texts of cells as numbers: what is told or certain is read, all else is named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backprop_svc.arrays import Booleans, Floats
from backprop_svc.datasets.reading import Reading, sign_name, with_column

if TYPE_CHECKING:
    import pyarrow as pa

PLAIN = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
"""A number as programs write it."""
MOST_EXACT = 2.0**53
"""From here on float64 leaves out whole numbers."""
MISSING_NUMBERS = ("-", "--", ".", "NaN", "None", "none", "NONE", "na", "Na", "-nan", "Null")
"""Further texts that stand for a missing number, but may be a category."""
LIKE_DATES = (
    r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2}([T ].*)?)?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})( .*)?"
    r"|\d{1,2}:\d{2}(:\d{2})?|\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{2,4}"
)
BLANK_SIGNS = " \u00a0\u202f"
LIKE_GROUPS = rf"[+-]?\d[\d.,'’_{BLANK_SIGNS}]*"
LIKE_AFFIXES = (
    r"[+-]?(?:[A-Za-z]{0,3}\p{Sc}|[A-Za-z]{1,3}\.?\s)\s*[+-]?[\d.,]+"
    r"|[+-]?[\d.,]+\s?(?:\p{Sc}|%|‰|°[CF]?|[A-Za-z]{1,3})"
)
ORDINAL = r"\d+(?:st|nd|rd|th)"


def looks_like_number(cell: str) -> bool:
    """Tell whether a cell is a number in any of the usual ways of writing one."""
    return (
        re.fullmatch(r"[+-]?(?:\d[\d.,]*|[.,]\d+)(?:[eE][+-]?\d+)?", cell.strip()) is not None
    )


@dataclass(frozen=True)
class Notation:
    """How the numbers of a table are written."""

    decimal: str
    """Empty where a point may be the decimal sign or that of thousands."""
    thousands: str | None
    affixes: bool
    """Whether what stands before and after a number is left out."""

    @classmethod
    def of(
        cls, columns: Sequence[pa.ChunkedArray], reading: Reading, delimiter: str | None
    ) -> Notation:
        """Take what is told, and find the decimal sign where some number is certain of it."""
        import pyarrow.compute as pc

        affixes = reading.affixes == "drop"
        if reading.decimal is not None:
            return cls(reading.decimal, reading.thousands, affixes)
        if reading.thousands in {",", "."}:
            return cls("." if reading.thousands == "," else ",", reading.thousands, affixes)
        # Between commas a comma within a cell is as often that of thousands.
        no_comma = delimiter == "," or not any(map(_has_comma, columns))
        if delimiter != ";" and no_comma:
            return cls(".", reading.thousands, affixes)
        certain = dict.fromkeys(",.", False)
        doubtful = False
        for column in columns:
            cells = trimmed(column)
            if affixes:
                cells = _parts(cells)[1]
            if reading.thousands is not None:
                cells = pc.replace_substring_regex(cells, _separator(reading.thousands), "")
            cells = cells.filter(_matches(cells, r"\S"))
            if not len(cells) or not _mostly(_matches(cells, r"[+-]?[\d.,]+(?:[eE][+-]?\d+)?")):
                continue
            for sign in certain:
                certain[sign] |= bool(_matches(cells, _certain(sign)).any())
            pointed = cells.filter(_matches(cells, r"[^.]*\..*"))
            doubtful |= bool(len(pointed)) and bool(
                _matches(pointed, r"[+-]?[1-9]\d{0,2}\.\d{3}").all()
            )
        if certain[","] and not certain["."]:
            return cls(",", reading.thousands, affixes)
        if doubtful and delimiter == ";" and not certain["."]:
            return cls("", reading.thousands, affixes)
        return cls(".", reading.thousands, affixes)

    def numbers(self, cells: pa.ChunkedArray) -> tuple[Floats, Booleans]:
        """Return what trimmed cells are, NaN where they are no number, and where they are."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.decimal == "." and self.thousands is None and not self.affixes:
            try:
                values = np.array(cells.cast(pa.float64()).to_numpy(), dtype=np.float64)
                if np.isfinite(values).all():
                    # Most columns: nothing has to be looked at cell by cell.
                    return values, np.ones(len(values), dtype=np.bool_)
            except pa.ArrowException:
                pass
        if self.affixes:
            before, cells, after = _parts(cells)
            uneven = _differ(before, cells) | _differ(after, cells)
        else:
            uneven = np.zeros(len(cells), dtype=np.bool_)
        cells = pc.replace_substring(cells, "\u2212", "-")
        if self.thousands is not None:
            sign = _separator(self.thousands)
            rest = rf"(?:{re.escape(self.decimal)}\d*)?"
            grouped = _matches(cells, rf"[+-]?\d{{1,3}}(?:{sign}\d{{2,3}})*{sign}\d{{3}}{rest}")
            without = pc.replace_substring_regex(cells, sign, "")
            cells = pc.if_else(pa.array(grouped), without, cells)
        if self.decimal == "":
            good = _matches(cells, r"[+-]?\d+")
        elif self.decimal == ",":
            good = _matches(cells, PLAIN.replace(r"\.", ","))
            cells = pc.replace_substring(cells, ",", ".")
        else:
            good = _matches(cells, PLAIN)
        good &= ~uneven
        plain = pc.replace_substring_regex(cells, r"^\+", "")
        values = np.full(len(cells), np.nan)
        found = pc.filter(plain, pa.array(good)).cast(pa.float64())
        values[good] = found.to_numpy()
        return values, good

    def is_number(self, cell: str) -> bool:
        """Tell whether a text is a number."""
        import pyarrow as pa

        return bool(self.numbers(pa.chunked_array([[cell]]))[1][0])

    def remedy(self, cell: str, column: str) -> str:
        """Say what would read a cell that is no number."""
        import pyarrow as pa

        as_text = f"{with_column('categories', column)} takes the column as texts"
        if cell == column:
            return "it is the header again: remove that line"
        if re.fullmatch(LIKE_DATES, cell):
            told = "with data.date_format=%d.%m.%Y, say, where it is not ISO 8601"
            return f"if it is a date, write {with_column('dates', column)} ({told}); {as_text}"
        signs = _signs(cell) if self.thousands is None else ""
        if signs and re.fullmatch(LIKE_GROUPS, cell):
            return f"write {signs}; {as_text}"
        if self.thousands is not None and re.fullmatch(LIKE_GROUPS, cell):
            told = f"data.thousands={sign_name(self.thousands)}"
            return f"correct it, if its groups are not those of {told}; {as_text}"
        if not self.affixes and _matches(pa.chunked_array([[cell]]), LIKE_AFFIXES).all():
            told = "data.affixes=drop leaves out what stands beside the numbers"
            number = re.findall(r"\d[\d.,'’_\u00a0\u202f]*", cell)[0]
            signs = "" if self.is_number(number) or self.thousands else _signs(number)
            also = f", and {signs} reads the numbers" if signs else ""
            return f"{told}{also}; {as_text}"
        return f"correct it, or leave the column out; {as_text}"


def number_like(cells: pa.ChunkedArray) -> Booleans:
    """Tell which trimmed cells are dates or numbers with signs that no setting told."""
    like = _matches(cells, LIKE_DATES) | _matches(cells, LIKE_GROUPS)
    return like | (_matches(cells, LIKE_AFFIXES) & ~_matches(cells, ORDINAL))


def trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts without blanks around them, and without missing ones: these are empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.fill_null(pc.utf8_trim_whitespace(column.cast(pa.string())), "")


def _separator(sign: str) -> str:
    """Return the pattern of a sign of thousands, which has several forms."""
    return {" ": f"[{BLANK_SIGNS}]", "'": "['’]"}.get(sign, re.escape(sign))


def _signs(cell: str) -> str:
    """Say which settings read the signs within a number."""
    blank = r"[\u00a0\u202f]"
    within = re.findall(r"[.,' _]", re.sub(blank, " ", cell.replace("’", "'")))
    if not within:
        return ""
    first, last = within[0], within[-1]
    thousands, decimal = (
        f"data.thousands={sign_name(first)}",
        f"data.decimal={sign_name(last)}",
    )
    if first != last or len(within) > 1 or first not in ".,":
        return thousands
    is_group = re.search(rf"\d{re.escape(first)}\d{{3}}(?!\d)", cell) is not None
    return f"{thousands} or {decimal}, whichever it is" if is_group else decimal


def _certain(sign: str) -> str:
    """Return the pattern of numbers in which a sign cannot be that of thousands."""
    own, other = re.escape(sign), re.escape("." if sign == "," else ",")
    return (
        rf"[+-]?(?:\d*{own}(?:\d{{1,2}}|\d{{4,}})|0*{own}\d+|\d{{4,}}{own}\d+"
        rf"|\d{{1,3}}(?:{other}\d{{3}})+{own}\d+|\d*{own}\d+[eE][+-]?\d+)"
    )


def _matches(cells: pa.ChunkedArray, pattern: str) -> Booleans:
    import pyarrow.compute as pc

    found = pc.match_substring_regex(cells, f"^(?:{pattern})$" if pattern != r"\S" else pattern)
    return np.asarray(found.to_numpy(), dtype=np.bool_)


def _has_comma(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring(column.cast(pa.string()), ",")).as_py())


def _mostly(values: Booleans) -> bool:
    return float(values.mean()) >= 0.9


def _parts(cells: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray, pa.ChunkedArray]:
    """Return what stands before a number, the number, and what stands after it."""
    import pyarrow.compute as pc

    # A sign may stand before what is left out: -$5.
    before = r"(?P<b>[^\d()+-]*?)\s*(?P<s>[+-]?)(?P<c>[^\d()+-]*?)\s*"
    pattern = rf"^{before}(?P<n>[.,]?\d.*?|)(?P<a>\s*[^\d()]*)$"
    found = pc.extract_regex(cells, pattern)
    parts = {name: pc.fill_null(pc.struct_field(found, [name]), "") for name in "bscna"}
    number = pc.binary_join_element_wise(parts["s"], parts["n"], "")
    affix = pc.binary_join_element_wise(parts["b"], parts["c"], "")
    is_none = pc.equal(pc.binary_length(parts["n"]), 0)
    return (
        pc.utf8_trim_whitespace(affix),
        pc.if_else(is_none, cells, number),
        pc.utf8_trim_whitespace(parts["a"]),
    )


def _differ(affix: pa.ChunkedArray, cells: pa.ChunkedArray) -> Booleans:
    """Tell where an affix is another than the most frequent one of the column."""
    import pyarrow.compute as pc

    filled = np.asarray(pc.not_equal(cells, "").to_numpy(), dtype=np.bool_)
    texts = np.asarray(affix.to_pylist(), dtype=object)
    if not filled.any():
        return np.zeros(len(texts), dtype=np.bool_)
    values, counts = np.unique(texts[filled].astype(str), return_counts=True)
    return np.asarray(filled & (texts != values[counts.argmax()]), dtype=np.bool_)
