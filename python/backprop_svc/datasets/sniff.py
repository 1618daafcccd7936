"""Delimiter, quote and header of a text file, found where there is no doubt."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING, Any

from backprop_svc.datasets.cells import looks_like_number
from backprop_svc.datasets.reading import sign_name
from backprop_svc.errors import SettingError

if TYPE_CHECKING:
    import pyarrow as pa

BLANKS = " "
"""The delimiter that stands for any number of blanks."""
CANDIDATES = (",", ";", "\t", "|")
SAMPLE = 1 << 18
"""Characters that are looked at."""
LOOKED_AT = 100
"""Rows below the first one that tell whether it is a header."""


def find_signs(
    text: str,
    source: str,
    delimiter: str | None,
    quote: str | None,
    *,
    ending: str = "",
    before: int = 0,
) -> tuple[str, str]:
    """Return delimiter and quote; ``before`` lines of the file are not in the text.

    Raises
    ------
    SettingError
        Several delimiters cut every row alike; the names of columns are in a later line.
    """
    sample = text[:SAMPLE]
    if quote is None:
        quote = _quote(sample, delimiter)
    if delimiter is not None:
        return delimiter, quote
    cut = {sign: _rows(sample, sign, quote, whole=len(text) <= SAMPLE) for sign in CANDIDATES}
    widths = {sign: Counter(map(len, rows)) for sign, rows in cut.items()}
    shares = {
        sign: widths[sign][len(rows[0])] / len(rows)
        for sign, rows in cut.items()
        if rows and len(rows[0]) > 1
    }
    certain = [sign for sign, share in shares.items() if share == 1]
    if ending == ".tsv" and "\t" in certain:
        return "\t", quote
    if len(certain) > 1:
        names = " or ".join(map(sign_name, certain))
        raise SettingError(
            source, f"cut into equal rows by {names}", "one delimiter",
            f"write data.delimiter={sign_name(certain[0])}, or the other", verb="is",
        )  # fmt: skip
    if certain:
        return certain[0], quote
    if not shares or max(shares.values()) < 0.5:
        _refuse_preamble(cut, sample, before, source)
        blanks = _rows(_blanks(sample), " ", quote, whole=len(text) <= SAMPLE)
        if _is_table(blanks):
            return BLANKS, quote
    return max(shares, key=lambda sign: shares[sign], default=","), quote


def find_header(
    columns: list[pa.ChunkedArray],
    told: bool | int | None,
    source: str,
    line: Callable[[int], int],
) -> bool:
    """Tell whether the first row has the names of the columns.

    Raises
    ------
    SettingError
        It has numbers, and nothing else says that it is a header.
    """
    if told is not None:
        # The number of a line says that it is one.
        return told is not False
    first = [column[0].as_py() for column in columns]
    numbers = [looks_like_number(cell) for cell in first]
    for column, number in zip(columns, numbers, strict=True):
        below = [cell for cell in column.slice(1, LOOKED_AT).to_pylist() if cell.strip()]
        if not number and sum(map(looks_like_number, below)) > len(below) / 2:
            return True
    if any(numbers):
        raise SettingError(
            source,
            f"numbers in line {line(0)}, where the names of the columns are expected",
            "a header, or a setting that says what the line is",
            "write data.header=false if it has values (columns are then f0, f1, …), or "
            "data.header=true if these are names",
            verb="has",
        )
    return True


def _rows(sample: str, delimiter: str, quote: str, *, whole: bool) -> list[list[str]]:
    try:
        rows = list(
            csv.reader(StringIO(sample, newline=""), delimiter=delimiter, quotechar=quote)
        )
    except csv.Error:
        return []
    if not whole:
        # The sample ends within it.
        rows = rows[:-1]
    return [row for row in rows if row]


def _quote(sample: str, delimiter: str | None) -> str:
    """Return the apostrophe where cells are within two of them, else the usual quote."""
    if '"' in sample:
        return '"'
    signs = "".join(CANDIDATES) if delimiter is None else delimiter
    if not any(sign in sample for sign in signs):
        signs = BLANKS
    between = f"[{re.escape(signs)}]"
    found = re.search(rf"(?:^|{between})'[^'\n]+'(?:{between}|$)", sample, re.MULTILINE)
    return "'" if found else '"'


def _blanks(sample: str) -> str:
    lines = (" ".join(line.split()) for line in sample.splitlines())
    return "".join(f"{line}\n" for line in lines)


def _is_table(rows: list[list[str]]) -> bool:
    """Tell whether blanks cut equal rows with numbers in one of the columns."""
    if not rows or len(rows[0]) < 2 or any(len(row) != len(rows[0]) for row in rows):
        return False
    below: list[Any] = rows[1 : 1 + LOOKED_AT] or rows
    return any(all(map(looks_like_number, column)) for column in zip(*below, strict=True))


def _refuse_preamble(
    cut: dict[str, list[list[str]]], sample: str, before: int, source: str
) -> None:
    """Refuse a file whose first line has fewer cells than nearly all others."""
    for sign, rows in cut.items():
        usual, count = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
        if usual > 1 and count > len(rows) / 2 and len(rows[0]) == 1:
            lines = sample.splitlines()
            first = next(
                (n for n, line in enumerate(lines) if line.count(sign) >= usual - 1), 0
            )
            raise SettingError(
                source,
                f"another number of values in its first line than in most others, which have "
                f"{usual} with {sign_name(sign)} as delimiter",
                "a header with a name for each column",
                f"write data.header={first + 1 + before} if the names are in that line, or "
                "tell data.delimiter",
                verb="has",
            )
