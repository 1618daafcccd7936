"""From Hydra's sweep overrides to the arrays of a :class:`backprop_svc.Sweep`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override

from backprop_svc import Interval, Sweep, sampled, spaced
from backprop_svc.arrays import Floats
from backprop_svc.cli.schema import SweepConfig
from backprop_svc.initial import check_seeds

RATES = ("train.lr", "train.lr1", "train.lr2")
ARRAY_AXES = (*RATES, "init.w1", "init.w2", "init.seed", "init.scale", "init.offset")
"""Settings that differ from run to run of one call into Rust."""
SAMPLERS = ("grid", "random", "latin", "sobol")
TAGS = ("log", "zip")


def is_array(override: Override) -> bool:
    """Tell whether an override is an axis of numbers that needs no composition."""
    if not override.is_sweep_override() or override.key_or_group not in ARRAY_AXES:
        return False
    if override.is_interval_sweep():
        return True
    # Not the iterator of the override: it would shuffle.
    values = override.value()
    elements = getattr(values, "list", None)
    return elements is None or all(_is_number(value) for value in elements)


def build(settings: SweepConfig) -> Sweep:
    """Build the arrays of ``sweep.axes``; the same for the same settings.

    Grids vary fastest in the axis that comes last, as in Hydra. Axes tagged ``zip`` go
    together; the intervals of a sampler do too.

    Raises
    ------
    ValueError
        An unknown sampler or tag; values out of range; zipped axes of different length.
    """
    overrides = OverridesParser.create().parse_overrides(list(settings.axes))
    if settings.sampler not in SAMPLERS:
        raise ValueError(
            f"sweep.sampler is {settings.sampler!r}; allowed: {', '.join(SAMPLERS)}; "
            "choose one of them"
        )
    for setting, value, least in (
        ("sweep.seed", settings.seed, 0),
        ("sweep.samples", settings.samples, 1),
    ):
        if value < least:
            raise ValueError(
                f"{setting} is {value}; allowed: whole numbers from {least}; correct it"
            )
    # Hydra's shuffle() draws from here.
    random.seed(settings.seed)
    counts = _counts(settings.points, sum(o.is_interval_sweep() for o in overrides))
    tables: dict[str, dict[str, Any]] = {}
    intervals: dict[str, Interval] = {}
    for override in overrides:
        name = override.key_or_group
        tags = _tags(override)
        together = "zip" if "zip" in tags else name
        if not override.is_interval_sweep():
            values = np.array(list(override.sweep_iterator()), dtype=np.float64)
            tables.setdefault(together, {})[name] = values
            continue
        interval = _interval(override, log="log" in tags)
        if "zip" in tags and settings.sampler != "grid":
            raise ValueError(
                f"{override.input_line} is zipped, but sweep.sampler={settings.sampler} draws "
                "its intervals together anyway; allowed: zip with sweep.sampler=grid; leave "
                "the tag out"
            )
        if settings.sampler == "grid":
            tables.setdefault(together, {})[name] = spaced(interval, counts.pop(0))
        else:
            intervals[name] = interval
            tables.setdefault("sampler", {})
    if intervals:
        method: Any = settings.sampler
        tables["sampler"] = dict(sampled(intervals, settings.samples, method, settings.seed))
    sweep = Sweep(*tables.values())
    for table in sweep.tables:
        for name, values in table.items():
            _check(name, values)
    return sweep


def check_learning_rate(name: str, value: float) -> None:
    """Refuse what is not finite and above 0, with the name of the setting."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} is {value}; allowed: finite numbers above 0; try {name}=0.1")


def _check(name: str, values: Floats) -> None:
    """Refuse what a later chunk could not train, before the first one is."""
    if name in RATES:
        check_learning_rate(name, float(values.min()))
    elif name == "init.seed":
        check_seeds(name, values)


def describe(sweep: Sweep) -> list[tuple[str, str]]:
    """Name each axis, and say what it does."""
    lines = []
    for table in sweep.tables:
        for name, values in table.items():
            shown = ", ".join(f"{value:g}" for value in values[:6])
            if len(values) > 6:
                low, high = values.min(), values.max()
                shown = f"{len(values):,} values from {low:g} to {high:g}"
            others = ", ".join(other for other in table if other != name)
            lines.append((name, f"{shown} (together with {others})" if others else shown))
    return lines


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _tags(override: Override) -> set[str]:
    tags = set(getattr(override.value(), "tags", ()))
    unknown = sorted(tags - set(TAGS))
    if unknown:
        raise ValueError(
            f"{override.input_line} has the tag {unknown[0]!r}; allowed: {', '.join(TAGS)}; "
            "correct it"
        )
    if "log" in tags and not override.is_interval_sweep():
        raise ValueError(
            f"{override.input_line} has the tag log; allowed for intervals only; write "
            f"{override.key_or_group}=tag(log,interval(low,high))"
        )
    return tags


def _interval(override: Override, *, log: bool) -> Interval:
    value = override.value()
    if not isinstance(value, IntervalSweep) or value.start is None or value.end is None:
        raise ValueError(f"{override.input_line} is no interval; write interval(low,high)")
    return Interval(float(value.start), float(value.end), log)


def _counts(points: Any, intervals: int) -> list[int]:
    """One number for each interval, in their order."""
    counts = list(points) if isinstance(points, Sequence) else [points] * intervals
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in counts)
    if not whole or isinstance(points, str) or len(counts) != intervals:
        raise ValueError(
            f"sweep.points is {points}; allowed: a whole number from 1, or a list with one for "
            f"each of the {intervals} intervals; such as sweep.points=[100,50]"
        )
    return counts
