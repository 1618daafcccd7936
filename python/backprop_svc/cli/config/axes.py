"""From Hydra's sweep overrides to the grid of a sweep."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from backprop_svc.cli.config.schema import SweepConfig
from backprop_svc.errors import SettingError
from backprop_svc.memory import refuse_points
from backprop_svc.sweep.axes import AXES, Axis, Zipped, grid
from backprop_svc.sweep.space import Grid, Interval, LogInterval

TAGS = ("log", "zip")


def is_array(override: Override) -> bool:
    """Tell whether an override is an axis of numbers that needs no composition."""
    if not override.is_sweep_override() or override.key_or_group not in AXES:
        return False
    if override.is_interval_sweep():
        return True
    # The override's own iterator is not used, because it would shuffle.
    values = override.value()
    elements = getattr(values, "list", None)
    return elements is None or all(_is_number(value) for value in elements)


def build(settings: SweepConfig) -> Grid:
    """Build the grid of ``sweep.axes``; the same for the same settings.

    Grids vary fastest in the axis that comes last, as in Hydra. Axes tagged ``zip`` go
    together; the intervals of a sampler do too.

    Raises
    ------
    SettingError
        An unknown sampler or tag; values out of range; zipped axes of different length.
    """
    overrides = OverridesParser.create().parse_overrides(list(settings.axes))
    # Hydra's shuffle() draws from this generator.
    random.seed(settings.seed)
    axes = {override.key_or_group: _axis(override) for override in overrides}
    points: Any = settings.points
    try:
        return grid(
            axes,
            sampler=settings.sampler,
            points=points,
            samples=settings.samples,
            seed=settings.seed,
        )
    except SettingError as error:
        if error.name in {"sampler", "points", "samples", "seed"}:
            raise error.within("sweep") from None
        raise


def describe(grid: Grid) -> list[tuple[str, str]]:
    """Name each axis, and say what it does."""
    lines = []
    for table in grid.tables:
        for name, values in table.items():
            shown = ", ".join(f"{value:g}" for value in values[:6])
            if len(values) > 6:
                low, high = values.min(), values.max()
                shown = f"{len(values):,} values from {low:g} to {high:g}"
            others = ", ".join(other for other in table if other != name)
            lines.append((name, f"{shown} (together with {others})" if others else shown))
    return lines


def count(override: Override) -> int:
    """Return how many values an override has, without making them; 1 of an interval."""
    value: Any = override.value()
    if isinstance(value, RangeSweep):
        # Whole numbers may be too large for a float, and their quotient too.
        ends: list[Any] = [value.start, value.stop, value.step]
        start, stop, step = map(Fraction, ends)
        return max(0, math.ceil((stop - start) / step)) if step else 0
    return len(value.list) if isinstance(value, ChoiceSweep) else 1


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _axis(override: Override) -> Axis:
    """Return the values or the interval of an override, as its tags say."""
    tags = _tags(override)
    axis: Any = _interval(override, log="log" in tags)
    if axis is None:
        refuse_points(count(override))
        axis = [float(cast(float, value)) for value in override.sweep_iterator()]
    return Zipped(axis) if "zip" in tags else axis


def _tags(override: Override) -> set[str]:
    tags = set(getattr(override.value(), "tags", ()))
    unknown = sorted(tags - set(TAGS))
    line = override.input_line or ""
    if unknown:
        raise SettingError(
            line, repr(unknown[0]), ", ".join(TAGS), "correct it", verb="has the tag"
        )
    if "log" in tags and not override.is_interval_sweep():
        name = override.key_or_group
        raise SettingError(
            line, "log, but is no interval", "intervals",
            f"write {name}=tag(log,interval(low,high))", verb="has the tag",
        )  # fmt: skip
    return tags


def _interval(override: Override, *, log: bool) -> Interval | None:
    value = override.value()
    if not isinstance(value, IntervalSweep):
        return None
    if value.start is None or value.end is None:
        raise SettingError(
            override.input_line or "", "an interval without bounds", "interval(low,high)",
            "give both ends",
        )  # fmt: skip
    kind = LogInterval if log else Interval
    try:
        return kind(float(value.start), float(value.end))
    except SettingError as error:
        line = override.input_line or error.name
        raise SettingError(line, error.value, error.allowed, error.fix, error.verb) from None
