"""How the runs of a sweep are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np

from backprop_svc.arrays import Floats
from backprop_svc.errors import printable
from backprop_svc.sweep.space import Grid, Points

LONGEST_VALUE = 40
"""Characters of a value in the name of a run."""
LONGEST_AXES = 80
"""Characters of the axes in the name of a sweep."""
LONGEST_NAME = 250
"""Characters that MLflow's tables hold of the name of a run."""


@dataclass(frozen=True)
class Naming:
    """Names runs by what differs between them: ``lr=0.1 activation=tanh seed=3``.

    >>> naming = Naming.of(Grid({"train.lr": [0.1, 0.2]}, {"init.seed": [0, 1]}))
    >>> naming.names(Points(1, {"train.lr": np.array([0.1]), "init.seed": np.array([1.0])}))
    ['lr=0.1 seed=1']
    """

    digits: Mapping[str, int]
    """Significant digits that tell the values of each axis apart, by its name."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Settings of this configuration that differ from those of others."""

    @classmethod
    def of(cls, grid: Grid, words: Mapping[str, str] | None = None) -> Naming:
        """Name the runs of a grid; ``words`` are settings that other configurations lack."""
        columns = {name: values for table in grid.tables for name, values in table.items()}
        distinct = {name: np.unique(values) for name, values in columns.items()}
        several = {
            name: digits_of(values) for name, values in distinct.items() if len(values) > 1
        }
        return cls(several, words or {})

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return bool(self.digits or self.words)

    def names(self, points: Points, first: int = 0) -> list[str]:
        """Return the name of each point; an empty one where nothing differs.

        ``first`` is the position in the sweep of the first of them: a name that has to be cut
        ends with it, as ``… #17``.
        """
        short = _short([*self.words, *self.digits])
        values = {name: one_line(value) for name, value in self.words.items()}
        is_cut = any(len(value) > LONGEST_VALUE for value in values.values())
        start = [
            f"{short[name]}={middle(value, LONGEST_VALUE)}" for name, value in values.items()
        ]
        columns = [
            [f"{short[name]}={value:.{digits}g}" for value in points.values[name].tolist()]
            for name, digits in self.digits.items()
        ]
        rows = zip(*columns, strict=True) if columns else repeat((), points.count)
        whole = [" ".join([*start, *row]) for row in rows]
        return [
            _numbered(name, place) if is_cut or len(name) > LONGEST_NAME else name
            for place, name in enumerate(whole, first)
        ]


def digits_of(distinct: Floats) -> int:
    """Return how many digits tell ascending values apart; all of those of whole numbers."""
    size = np.abs(distinct)
    if (distinct == np.rint(distinct)).all() and size.max() < 1e15:
        return max(6, len(f"{size.max():.0f}"))
    largest = np.maximum(size[1:], size[:-1])
    # Each by itself: the difference of the largest numbers there are would not be finite.
    gaps = distinct[1:] / largest - distinct[:-1] / largest
    smallest = gaps.min(initial=1.0)
    # Neighbours that differ by more than a unit of the last digit are written differently.
    return next((digits for digits in (6, 9, 12) if smallest > 10.0 ** (1 - digits)), 17)


def short(names: Iterable[str]) -> str:
    """Name axes in short, to tell sweeps apart in a list of many.

    >>> short(["train.lr", "init.w1"]), short(["data.x", "network.x"])
    ('lr w1', 'data.x network.x')
    """
    return middle(" ".join(_short(list(names)).values()), LONGEST_AXES)


def _short(names: Iterable[str]) -> dict[str, str]:
    """Return what follows the last dot of each name, where no other name has the same."""
    last = {name: name.rpartition(".")[2] for name in names}
    count = Counter(last.values())
    return {name: part if count[part] == 1 else name for name, part in last.items()}


def _numbered(name: str, place: int) -> str:
    end = f" #{place}"
    return middle(name, LONGEST_NAME - len(end)) + end


def middle(value: str, most: int) -> str:
    """Leave out the middle of a long text: paths differ at their ends."""
    if len(value) <= most:
        return value
    return f"{value[: most // 3]}…{value[-(most - most // 3 - 1) :]}"


def one_line(value: str) -> str:
    """Write a text in one line, with the signs that a terminal would obey as escapes."""
    return printable(" ".join(value.split()))
