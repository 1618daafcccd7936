"""What the parent of a sweep says of it: its axes, and what its runs have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from backprop_svc._core import Network
from backprop_svc.arrays import Floats
from backprop_svc.errors import counted
from backprop_svc.hyperparameters import OF_NETWORK, with_own
from backprop_svc.result import MOST_NAMED_WEIGHTS
from backprop_svc.sweep.experiment import Draw, Experiment
from backprop_svc.sweep.naming import digits_of, middle, one_line
from backprop_svc.sweep.runs import param_name
from backprop_svc.sweep.space import Grid, Points, is_logarithmic

MOST_LISTED = 6
"""Values of an axis that are listed; of more values the ends are told."""
LONGEST_AXIS = 200
"""Characters in which an axis is told."""
LONGEST = 4000
"""Characters of a description: with its links every MLflow takes it as a tag."""


class Shared:
    """What the runs of a sweep have in common, collected over its configurations."""

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {}

    def add(self, experiment: Experiment, grid: Grid, words: Mapping[str, str]) -> None:
        """Take a configuration: what its runs share, and the overrides that made it."""
        told = {param_name(name): value for name, value in words.items()}
        for name, value in {**told, **fixed(experiment, grid)}.items():
            values = self._values.setdefault(name, [])
            if value not in values:
                values.append(value)

    def params(self, told: Mapping[str, str]) -> dict[str, str]:
        """Return params of the parent: the value that all runs have, or which there are.

        ``told`` says what each axis does: see :func:`axes`.
        """
        found = {name: listed(values) for name, values in self._values.items()}
        return found | {param_name(name): what for name, what in told.items()}


def text(told: Mapping[str, str], runs: int) -> str:
    """Say in Markdown what a sweep is, naming every axis: see :func:`axes`."""
    all_runs = counted(runs, "run")
    if not told:
        return f"{all_runs} without an axis"
    room = max(20, LONGEST // len(told) - 60)
    lines = [f"- `{_code(name)}`: `{_code(middle(what, room))}`" for name, what in told.items()]
    return "\n".join(
        [f"{all_runs} over {len(told)} ax{'i' if len(told) == 1 else 'e'}s:", "", *lines]
    )


def axes(grid: Grid, words: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Say what each axis of a sweep does, by its name; the last one varies fastest."""
    return {name: listed(values) for name, values in words.items()} | {
        name: _with(range_text(values), [other for other in table if other != name])
        for table in grid.tables
        for name, values in table.items()
    }


def range_text(values: Floats) -> str:
    """Say which values an axis has.

    >>> range_text(np.geomspace(0.01, 1, 40)), range_text(np.array([0.1, 0.2]))
    ('0.01 … 1, 40 values, log', '0.1, 0.2')
    """
    distinct = np.unique(values)
    if len(values) <= MOST_LISTED:
        return ", ".join(f"{value:.{digits_of(distinct)}g}" for value in values.tolist())
    log = ", log" if is_logarithmic(distinct) else ""
    return f"{distinct[0]:g} … {distinct[-1]:g}, {len(values):,} values{log}"


def fixed(experiment: Experiment, grid: Grid) -> dict[str, str]:
    """Return what all runs of one configuration share, as each of them has it."""
    network, rates = _unswept(experiment.network, grid), experiment.rates
    found = {"network": str(network), "data": experiment.data_name}
    layers = {f"train.lr{number}" for number in range(1, network.layers + 1)}
    names = layers if layers & set(rates) else {"train.lr"}
    found |= {
        name: str(rates[origin])
        for name in sorted(names)
        if (origin := name if name in rates else "train.lr") not in grid.names
    }
    found["train.epochs"] = str(experiment.settings["epochs"])
    found |= {
        f"train.{name}": str(value) for name, value in experiment.unusual(grid.names).items()
    }
    if isinstance(experiment.init, Draw):
        start = experiment.drawn(Points(1, {}))
        told = {name: format(value[0], ".17g") for name, value in start.items()}
    elif network.parameters <= MOST_NAMED_WEIGHTS:
        weights = experiment.init.tolist()
        named = zip(network.parameter_names, weights, strict=True)
        told = {f"init.{name}": str(weight) for name, weight in named}
    else:
        told = {}
    return found | {name: value for name, value in told.items() if name not in grid.names}


def _unswept(network: Network, grid: Grid) -> Network:
    """Return a network without what differs from run to run."""
    usual = Network(1, 1)
    swept = {n: getattr(usual, n) for n in OF_NETWORK if f"network.{n}" in grid.names}
    return with_own(network, **swept) if swept else network


def listed(values: Sequence[str]) -> str:
    """List values, or the first of them and how many there are."""
    shown = ", ".join(values[:MOST_LISTED])
    more = f", … ({len(values):,} values)" if len(values) > MOST_LISTED else ""
    return middle(one_line(shown), LONGEST_AXIS) + more


def _with(what: str, others: Sequence[str]) -> str:
    return f"{what} (together with {', '.join(others)})" if others else what


def _code(value: str) -> str:
    return value.replace("`", "'")
