"""What a walk through a calculation is made of: steps with their numbers and checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from backprop_svc.arrays import floats
from backprop_svc.errors import SettingError, shown


@dataclass(frozen=True)
class Check:
    """A derivative by central differences, (f(w + ε) − f(w − ε)) / 2ε."""

    value: float
    error: float
    """|difference| to the chain rule, relative to the larger of both, or absolute below 1."""

    @classmethod
    def of(cls, function: Callable[[float], float], at: float, derivative: float) -> Check:
        """Compare a derivative with the slope of its function."""
        step = 1e-6 * max(1.0, abs(at))
        up, down = at + step, at - step
        value = (function(up) - function(down)) / (up - down)
        scale = max(1.0, abs(value), abs(derivative))
        return cls(value, abs(value - derivative) / scale)


@dataclass(frozen=True)
class Step:
    """One line of the walk: ``name = formula = numbers = value``."""

    name: str
    formula: str
    numbers: str
    value: float
    check: Check | None = None


@dataclass(frozen=True)
class Explanation:
    """A walk through a calculation, in sections of steps."""

    title: str
    sections: dict[str, list[Step]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        """Return the value of a step, such as ``explanation["∂L/∂w1"]``."""
        values = {s.name: s.value for steps in self.sections.values() for s in steps}
        if name not in values:
            raise KeyError(f"there is no step {shown(name)}; allowed: {', '.join(values)}")
        return values[name]


def numbers(name: str, values: ArrayLike, count: int) -> list[float]:
    """Return so many finite numbers."""
    found = floats(name, values).ravel()
    if len(found) != count:
        raise SettingError(
            name,
            f"{len(found)} values",
            f"{count}",
            "the walk shows one house and one network at a time",
            verb="has",
        )
    for number in found[~np.isfinite(found)]:
        raise SettingError(name, shown(number), "finite numbers", "replace it")
    return found.tolist()


def show(value: float) -> str:
    """Write a number so that it can stand behind a sign."""
    text = f"{value:.6g}"
    return f"({text})" if text.startswith("-") else text
