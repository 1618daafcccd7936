"""Settings of training that each run may have of its own: arrays of shape (runs,)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backprop_svc._core import Network
from backprop_svc.arrays import Floats, array, floats, parameters
from backprop_svc.errors import SettingError, SettingTypeError, counted, shown
from backprop_svc.settings import Seed, Whole

Own = dict[str, NDArray[Any]]
"""Values of each run, by the names of their settings, shape (runs,) each."""
Number = Annotated[ArrayLike, float]
"""A number for all runs, or one for each of them."""
Seeds = Annotated[ArrayLike, Seed]
"""A seed for all runs, or one for each of them."""
BATCH_SEED = "batch_seed"
OF_TRAINING = ("momentum", "beta2", "weight_decay", BATCH_SEED)
"""Settings of training that may differ from run to run."""
OF_NETWORK = ("gain", "negative_slope")
"""The same of the network, where training and looking take the place of its own."""


def scalar(kind: Any) -> Any:
    """Return the type of a single value of a setting, as :func:`settings.check` takes it."""
    given = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return next((each for each in given if not isinstance(each, Whole)), kind)


def differs(value: object) -> bool:
    """Tell whether a value is an array, with one value for each run."""
    if isinstance(value, (list, tuple, range, np.ndarray)):
        return True
    try:
        return int(getattr(value, "ndim", 0)) > 0
    except Exception:
        # Objects may raise anything when they are looked at.
        return False


def values(given: Mapping[str, Any]) -> Own:
    """Return arrays of shape (runs,), or (1,) of a number, of settings that are given.

    Raises
    ------
    SettingError, SettingTypeError
        Another shape, or no numbers.
    """
    return {name: _values(name, value) for name, value in given.items()}


def _values(name: str, value: Any) -> NDArray[Any]:
    found = array(name, value) if name == BATCH_SEED else floats(name, value)
    if found.ndim > 1:
        raise SettingError(
            name, f"shape {found.shape}", "a number or (runs,)", "give one for each run", "has"
        )
    if name != BATCH_SEED:
        return np.atleast_1d(found)
    # An empty list has the type of numbers with fractions.
    if found.dtype.kind not in ("iu" if found.size else "iuf"):
        raise SettingTypeError(
            name, f"type {found.dtype}", "whole numbers", "convert them", verb="has"
        )
    (seeds,) = get_args(Seed)[1:]
    for run in np.flatnonzero((found < 0) | (found >= 1 << seeds.bits)).tolist():
        of_run = f"{name}[{run}]" if found.ndim else name
        raise SettingError(of_run, shown(found.flat[run]), str(seeds), "correct it")
    return np.atleast_1d(found).astype(np.uint32)


def runs_of(counts: Mapping[str, int]) -> int:
    """Return how many runs there are, from how many values each argument has; one is repeated.

    Raises
    ------
    SettingError
        Two of them have neither the same number of values nor a single one.
    """
    first, runs = "", 1
    for name, count in counts.items():
        if count == runs or count == 1:
            continue
        if runs != 1:
            raise SettingError(
                name,
                f"{_told(name, count)} and {first} {_told(first, runs)}",
                "as many of both, or one of either",
                "make them fit",
                verb="has",
            )
        first, runs = name, count
    return runs


def _told(name: str, count: int) -> str:
    return counted(count, "run" if name == "weights" else "value")


def repeated(values: NDArray[Any], runs: int) -> NDArray[Any]:
    """Return a copy in row order, with as many rows: nobody else changes it meanwhile."""
    return np.array(np.broadcast_to(values, (runs, *values.shape[1:])), order="C")


def of_network(own: Own) -> dict[str, Any]:
    """Return those that take the place of the network's."""
    return {name: own[name] for name in OF_NETWORK if name in own}


def part(own: Own, runs: Any) -> Own:
    """Return the values of some runs: a slice, a mask or positions."""
    return {name: each[runs] for name, each in own.items()}


def with_own(network: Network, **own: float) -> Network:
    """Return the network with other values of settings that runs may have of their own."""
    sizes, told = network.__getnewargs_ex__()
    keywords: dict[str, Any] = {**told, **own}
    return Network(*sizes, **keywords)


def looked_at(network: Network, weights: ArrayLike, **given: object) -> tuple[Floats, Own]:
    """Return weights and what each run has instead of the network's, as many of both.

    Raises
    ------
    SettingError, SettingTypeError
        Shapes that do not fit; values that are no numbers.
    """
    starts = parameters(network, weights)
    own = values({name: value for name, value in given.items() if value is not None})
    if not own:
        return starts, own
    runs = runs_of({"weights": len(starts), **{name: len(v) for name, v in own.items()}})
    return repeated(starts, runs), {name: repeated(v, runs) for name, v in own.items()}
