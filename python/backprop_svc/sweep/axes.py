"""From axes to the grid of a sweep, the same for Python and for the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from backprop_svc.errors import SettingError, counted, shown
from backprop_svc.hyperparameters import OF_NETWORK, OF_TRAINING
from backprop_svc.memory import refuse_points
from backprop_svc.settings import check
from backprop_svc.sweep.sampler import GRID, check_sampler, sampled
from backprop_svc.sweep.space import Count, Grid, Interval

MOST_RATES = 16
"""Layers that may have a learning rate of their own by name."""
OF_LAYERS = tuple(f"train.lr{layer}" for layer in range(1, MOST_RATES + 1))
"""Names of the learning rates of the first layer, the second, and so on."""
RATES = ("train.lr", *OF_LAYERS)
"""Names of all learning rates, that of all layers first."""
BATCH_SEED = "train.batch_seed"
WEIGHTS = ("init.w1", "init.w2")
"""Names of initial weights that are given, in the order of their columns."""
DRAWN = ("init.seed", "init.scale", "init.offset")
"""Names of the settings by which initial weights are drawn."""
GAINS = tuple(f"network.{name}" for name in OF_NETWORK)
"""Names of settings of the activation of which each run may have its own value."""
HYPERPARAMETERS = (*(f"train.{name}" for name in OF_TRAINING), *GAINS)
"""Names of all settings, besides learning rates, of which each run may have its own value."""
AXES = (*RATES, *HYPERPARAMETERS, *WEIGHTS, *DRAWN)
"""Settings that may differ from run to run of one call into Rust."""


@dataclass(frozen=True, eq=False)
class Zipped:
    """An axis that goes together with the other zipped axes, value by value.

    >>> from backprop_svc.sweep.axes import grid
    >>> grid({"lr": Zipped([0.1, 0.2]), "w1": Zipped([0.5, 1.0])}).shape
    (2,)
    """

    values: ArrayLike | Interval


Axis = ArrayLike | Interval | Zipped


def grid(
    axes: Mapping[str, Axis],
    *,
    sampler: str = GRID,
    points: int | Sequence[int] = 10,
    samples: int = 64,
    seed: int = 0,
) -> Grid:
    """Build the grid of some axes; it is the same for the same arguments.

    Parameters
    ----------
    axes
        Of each axis its values, an :class:`Interval`, or either of them :class:`Zipped`.
    sampler
        ``grid`` takes evenly spaced values of each interval. The others take samples of all
        intervals at once: see :func:`backprop_svc.sweep.sampler.sampled`.
    points
        Values of each interval for ``grid``: one number, or one for each interval.
    samples, seed
        How many samples the other samplers take, and the seed by which they are drawn.

    Raises
    ------
    SettingError
        Axes that are no numbers; an unknown sampler; counts out of range; zipped axes of
        different length.
    """
    sampler, samples, seed = check_sampler(sampler, samples, seed)
    bare = {name: _unzipped(axis) for name, axis in axes.items()}
    counts = _counts(points, sum(isinstance(axis, Interval) for axis in bare.values()))
    if counts:
        refuse_points(max(counts) if sampler == GRID else samples)
    tables: dict[str, dict[str, ArrayLike]] = {}
    intervals: dict[str, Interval] = {}
    for name, values in bare.items():
        zipped = isinstance(axes[name], Zipped)
        # This name cannot be that of an axis, since an axis has a letter in its name.
        together = "*zipped" if zipped else name
        if not isinstance(values, Interval):
            tables.setdefault(together, {})[name] = values
        elif sampler == GRID:
            tables.setdefault(together, {})[name] = values.spaced(counts.pop(0))
        elif zipped:
            raise SettingError(
                f"the axis {name!r}",
                f"zipped, but the sampler {sampler} draws its intervals together anyway",
                "zipped intervals with the sampler grid",
                "leave out that it is zipped",
            )
        else:
            intervals[name] = values
            tables.setdefault("*sampled", {})
    if intervals:
        tables["*sampled"] = dict(sampled(intervals, samples, sampler, seed))
    return Grid(*tables.values())


def axis_name(name: str) -> str:
    """Return an axis by its name on the command line; ``lr`` is short for ``train.lr``.

    >>> axis_name("lr"), axis_name("init.w1")
    ('train.lr', 'init.w1')

    Raises
    ------
    SettingError
        No axis has this name.
    """
    name = check("an axis", name, str)
    names = {axis.partition(".")[2]: axis for axis in AXES} | {"learning_rate": "train.lr"}
    if name in AXES or name in names:
        return names.get(name, name)
    several = (*RATES[:3], f"… {OF_LAYERS[-1]}", *(n for n in AXES if n not in RATES))
    raise SettingError(
        "an axis", shown(name), ", ".join(several), "sweep over other settings in a loop",
        verb="has the name",
    )  # fmt: skip


def _unzipped(axis: Axis) -> ArrayLike | Interval:
    return axis.values if isinstance(axis, Zipped) else axis


def _counts(points: Any, intervals: int) -> list[int]:
    """Return one number for each interval, in their order."""
    several = isinstance(points, Sequence) and not isinstance(points, str)
    try:
        counts = [check("points", n, Count) for n in (points if several else [points])]
    except MemoryError:
        raise
    except Exception:
        # Objects may raise anything when they are looked at.
        counts = None
    if counts is not None and not several:
        counts *= intervals
    if counts is None or len(counts) != intervals:
        each = counted(intervals, "interval")
        raise SettingError(
            "points", shown(points),
            f"a whole number from 1, or a list with one for each of {each}",
            "such as {name}=[100,50]",
        )  # fmt: skip
    return counts
