"""The axes of a sweep, as its report shows them."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backprop_svc.plots.page.columns import Columns
from backprop_svc.sweep.naming import middle, one_line
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.sweep.repeats import SEEDS
from backprop_svc.sweep.space import is_logarithmic

LONGEST = 60
"""Characters of the value of a setting that the page shows."""
FEW, UNEVEN = 12, 4.0
"""Up to so many numbers are drawn evenly if a gap between them is so many times another one."""


@dataclass(frozen=True, eq=False)
class PageAxis:
    """One setting that differs between runs."""

    name: str
    values: NDArray[Any]
    """Numbers, or positions in ``labels``; shape (runs,)."""
    labels: list[str] | None = None
    """What the positions mean, where the setting is no number."""

    @property
    def is_seed(self) -> bool:
        """Whether it only repeats runs."""
        return self.name in SEEDS

    @cached_property
    def distinct(self) -> NDArray[Any]:
        """The different values, ascending."""
        return np.unique(self.values)

    @property
    def log(self) -> bool:
        """Whether its values spread evenly in their logarithms."""
        return self.labels is None and is_logarithmic(self.distinct)

    def cells(self, most: int) -> NDArray[np.int64]:
        """Return the cell of each run in a map with so many along this axis, (runs,)."""
        distinct = self.distinct
        if len(distinct) <= most:
            return np.searchsorted(distinct, self.values).astype(np.int64)
        scale = np.log if self.log else _half
        low, high = scale(distinct[0]), scale(distinct[-1])
        place = (scale(self.values) - low) / (high - low) * most
        return np.asarray(np.clip(place, 0, most - 1), dtype=np.int64)

    def told(self, columns: Columns, rows: NDArray[np.int64] | slice) -> dict[str, Any]:
        """Describe it for the page, with the values of some runs."""
        values, log = self.values[rows], self.log
        found = {"name": self.name, "log": log, "seed": self.is_seed}
        if self.labels is not None:
            return {**found, "column": columns.codes(values, self.labels)}
        ends = {"low": float(self.distinct[0]), "high": float(self.distinct[-1])}
        return {**found, **ends, "column": columns.column(values, log=log)}


def _half(values: NDArray[Any]) -> NDArray[Any]:
    """Return what is subtracted of other numbers: the difference of the largest is finite."""
    return np.asarray(values / 2)


def axes_of(outcomes: Outcomes) -> list[PageAxis]:
    """Return what differs between the runs: settings of configurations first, then axes."""
    names = dict.fromkeys(name for chunk in outcomes.chunks for name in chunk.settings)
    lengths = [len(chunk.result) for chunk in outcomes.chunks]
    found = []
    for name in names:
        values = [chunk.settings.get(name) for chunk in outcomes.chunks]
        found.append(_of_settings(name, values, lengths))
    found += [_of_numbers(name, values) for name, values in outcomes.points.items()]
    return [axis for axis in found if (axis.values != axis.values[0]).any()]


def _of_settings(name: str, values: Sequence[Any], lengths: Sequence[int]) -> PageAxis:
    """Return an axis of what configurations have: numbers, if all of them are, else texts."""
    texts = [_text(value) for value in values]
    known = {text: _number(text) for text in texts}
    numbers = [number for number in known.values() if number is not None]
    if len(numbers) == len(known):
        own = [known[text] for text in texts]
        return _of_numbers(name, np.repeat(np.array(own, dtype=np.float64), lengths))
    order = sorted(known, key=lambda text: (known[text] is None, known[text] or 0.0))
    place = {text: number for number, text in enumerate(order)}
    codes = np.array([place[text] for text in texts])
    return PageAxis(name, np.repeat(codes, lengths), told_apart(order))


def _text(value: object) -> str:
    """Write a value as the command line has it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def _number(text: str) -> float | None:
    """Return the finite number that a text is, if it is one."""
    with suppress(ValueError):
        number = float(text)
        return number if math.isfinite(number) else None
    return None


def told_apart(texts: Sequence[str]) -> list[str]:
    """Shorten different texts so that they stay different.

    >>> told_apart(["relu", ""])
    ['relu', "''"]
    >>> one, two = told_apart([f"{'a' * 80}{middle}{'b' * 80}" for middle in "xy"])
    >>> one[20:28], two[20:28]
    ('…xbbbbbb', '…ybbbbbb')
    """
    labels = [middle(one_line(text) or "''", LONGEST) for text in texts]
    count = Counter(labels)
    for label in [label for label in count if count[label] > 1]:
        alike = [place for place, own in enumerate(labels) if own == label]
        # What follows where they begin to differ.
        signs = enumerate(zip(*(texts[place] for place in alike), strict=False))
        differ = next((at for at, own in signs if len({*own}) > 1), 0)
        for number, place in enumerate(alike, 1):
            text, start = texts[place], LONGEST // 3
            rest = text[max(differ, start) :][: LONGEST - start - 1]
            labels[place] = one_line(f"{text[:start]}…{rest}")
            if labels[place] in labels[:place]:
                labels[place] += f" ({number})"
    return labels


def _of_numbers(name: str, values: NDArray[Any]) -> PageAxis:
    """Return an axis of numbers, or of their names: 0, 1e-4, 0.1 lie on no scale apart."""
    axis = PageAxis(name, values)
    distinct = axis.distinct
    if not 2 < len(distinct) <= FEW:
        return axis
    # As a share of the largest: the difference of two large numbers may not be finite.
    gaps = np.diff(np.log(distinct) if axis.log else distinct / np.abs(distinct).max())
    if gaps.max() < UNEVEN * gaps.min():
        return axis
    codes = np.searchsorted(distinct, values)
    return PageAxis(name, codes, [f"{value:.6g}" for value in distinct.tolist()])
