"""Which columns of a table are meant: by name, by pattern, or all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from unicodedata import normalize

import numpy as np

from backprop_svc.datasets.reading import names_of
from backprop_svc.datasets.table import Table
from backprop_svc.errors import SettingError, shortened, shown

INDEX = r"|Unnamed: \d+|__index_level_\d+__|index|(?:.*[_ ])?[iI][dD]|.*[a-z]I[dD]"
"""How columns are called that only tell rows apart: pandas writes the first three."""
MOST_NAMED = 30
"""Columns of a table that a message names."""


def choose(
    table: Table, x: Sequence[str] | str, y: Sequence[str] | str, exclude: Sequence[str]
) -> tuple[list[str], list[str], list[str]]:
    """Return the columns of x and those of y, and notes on what ``all`` leaves out.

    Raises
    ------
    SettingError
        There is no such column, or more than one; none is left.
    """
    outputs = matching(table, "data.y", names_of("data.y", y))
    out = set(matching(table, "data.exclude", exclude)) if exclude else set()
    notes = []
    if isinstance(x, str) and str.__str__(x) == "all":
        out |= set(outputs)
        others = [name for name in table.names if name not in out]
        unnamed = [name for name in others if _is_index(table, name)]
        for name in unnamed:
            called = f"the column {shown(name)}" if name else "the column without a name"
            notes.append(f"data.x=all leaves out {called}, which tells the rows apart")
        inputs = [name for name in others if name not in set(unnamed)]
        if not inputs:
            raise SettingError(
                "data.x",
                f"all, and {table.source} has no columns but those of data.y",
                "one or more columns",
                "choose another file",
            )
        for name in inputs:
            _refuse_unusable(table, name)
    else:
        chosen = matching(table, "data.x", names_of("data.x", x))
        inputs = [name for name in chosen if name not in out]
        if not inputs:
            raise SettingError(
                "data.exclude",
                "all columns of data.x",
                "some of them",
                "leave one out",
                verb="names",
            )
    return inputs, outputs, notes


def matching(table: Table, setting: str, patterns: Sequence[str]) -> list[str]:
    """Return the columns that names or patterns such as ``size*`` stand for, each once.

    Raises
    ------
    SettingError
        A name or a pattern that stands for no column, or for several of one name.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        if pattern in table.counts:
            own: Sequence[str] = [pattern]
        elif pattern in table.groups:
            own = table.groups[pattern]
        else:
            own = [n for n in table.names if fnmatchcase(_composed(n), _composed(pattern))]
        if not own:
            named = ", ".join(table.names[:MOST_NAMED])
            more = len(table.names) - MOST_NAMED
            raise SettingError(
                setting,
                f"the column {shown(pattern)}, which {table.source} does not have",
                f"{shortened(named) if more > 0 else named[:600]}"
                + (f" and {more} more" if more > 0 else ""),
                "choose among them",
                verb="names",
            )
        for name in own:
            if setting != "data.exclude":
                _refuse_unusable(table, name)
        found |= dict.fromkeys(own)
    return list(found)


def _composed(name: str) -> str:
    """Return a name with its accents as one sign, however it was typed."""
    return normalize("NFC", name)


def _refuse_unusable(table: Table, name: str) -> None:
    if table.counts[name] > 1:
        raise SettingError(
            table.source,
            f"the column {shown(name)} more than once",
            "names that occur once",
            "rename one of them",
            verb="has",
        )
    if not name:
        raise SettingError(
            table.source,
            f"a column without a name, the {_ordinal(table.names.index(name))}",
            "a name for each column",
            "name it in the header",
            verb="has",
        )


def _ordinal(number: int) -> str:
    return ("first", "second", "third")[number] if number < 3 else f"{number + 1}th"


def _is_index(table: Table, name: str) -> bool:
    """Tell whether a column without a name, or called an id, has another value in each row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if name in table.index:
        return True
    if not re.fullmatch(INDEX, name) or table.counts[name] > 1:
        return False
    values = table.column(name)
    if pc.count_distinct(values).as_py() < len(values) or values.null_count:
        return False
    try:
        numbers = values.cast(pa.float64()).to_numpy()
    except pa.ArrowException:
        # Names of rows, as R writes them.
        return True
    return bool(np.all(numbers == np.floor(numbers)))
