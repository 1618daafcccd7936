"""The configurations of a sweep, each checked as it is composed."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import cast

import numpy as np
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from backprop_svc.cli.commands.shard import swept
from backprop_svc.cli.config.experiment import Prepared, tracking
from backprop_svc.cli.config.going_on import go_on
from backprop_svc.cli.config.origin import planned
from backprop_svc.cli.config.overrides import settings_of, split, written
from backprop_svc.cli.config.unused import refuse, unused
from backprop_svc.cli.terminal.errors import require_values
from backprop_svc.datasets import Dataset
from backprop_svc.errors import SettingError
from backprop_svc.interactive.progress import FIRST_LINE, MOST_BETWEEN
from backprop_svc.interactive.terminal import say
from backprop_svc.sweep.description import Shared
from backprop_svc.sweep.estimate import Estimate
from backprop_svc.sweep.experiment import Experiment
from backprop_svc.sweep.space import Grid
from backprop_svc.tracking.plan import Plan

MOST_HELD = 1 << 28
"""Bytes of data of all configurations that are held until the sweep ends."""


class Configurations:
    """What is known of all configurations of a sweep, and what they have to agree on.

    Parameters
    ----------
    axes
        The overrides that become arrays.
    words
        The other overrides, for each configuration.
    """

    def __init__(self, axes: list[str], words: list[list[str]]) -> None:
        self.axes, self.words = axes, words
        self.first: Prepared | None = None
        self.plans: list[Plan] = []
        self.shared = Shared()
        self.experiments: list[Experiment] = []
        """Of each configuration; none where their data are too much to be held at once."""
        self.notes: dict[str, None] = {}
        """What was done unasked to the data, a line for each."""
        self.goes_on_from: dict[str | None, None] = {}
        """Ids of the runs that go on, in their order."""
        self._epochs: list[int] = []
        self._metrics: list[str] = []
        self._unused: set[str] = set()
        self._held = 0
        self._common: dict[str, list[object]] = {}
        self._told, self._between = time.monotonic(), FIRST_LINE

    def add(self, config: DictConfig, words: list[str]) -> None:
        """Check one of them.

        Raises
        ------
        SettingError
            What it could not train.
        """
        self._tell()
        data_name = str(config.hydra.runtime.choices.get("data"))
        preset: dict[str, str] = OmegaConf.select(config, "hydra.sweeper.params") or {}
        config = task_config(config)
        require_values(config)
        OmegaConf.update(config, "sweep.axes", self.axes)
        config, data_name = go_on(config, [*self.axes, *words], data_name)
        prepared = Prepared.of(config, data_name)
        self.goes_on_from[prepared.config.init.run] = None
        if prepared.tracking is not None:
            self.plans.append(planned(prepared, config))
        unneeded = unused(prepared.config, [*self.axes, *words])
        # A preset that is swept says how its runs are kept, if they are.
        unneeded -= {name for name in preset if name.startswith("tracking.")}
        # A setting may be needed by one configuration of the sweep and unused in another.
        self._unused = unneeded if self.first is None else self._unused & unneeded
        self._hold(prepared.experiment)
        self.first = self.first or prepared
        self.notes |= dict.fromkeys(prepared.notes)
        self.shared.add(prepared.experiment, prepared.grid, settings_of(swept(words)))
        self._epochs.append(int(prepared.experiment.settings["epochs"]))
        self._metrics.append(prepared.experiment.by)
        for name, value in _common(config).items():
            values = self._common.setdefault(name, [])
            if value not in values:
                values.append(value)

    def _hold(self, experiment: Experiment) -> None:
        if self.first is None:
            self.experiments = [experiment]
            return
        # Most configurations have the same data: these are held once.
        shared = self.first.experiment.data
        if _is_same(experiment.data, shared):
            experiment = replace(experiment, data=shared)
        else:
            self._held += experiment.data.x.nbytes + experiment.data.y.nbytes
        if self._held <= MOST_HELD:
            self.experiments.append(experiment)
        else:
            self.experiments.clear()

    def common(self) -> dict[str, object]:
        """Return the settings of the sweep as a whole, by name.

        Raises
        ------
        SettingError
            Configurations differ in one of them.
        """
        tracked = self._common["tracking.enabled"] != [False]
        for name, values in self._common.items():
            means_nothing = name.startswith("tracking.") and not tracked
            if len(values) > 1 and name != "tracking.history" and not means_nothing:
                raise SettingError(
                    name,
                    ",".join(map(written, values)),
                    "one value for the whole sweep",
                    "write a command for each",
                )
        return {name: values[0] for name, values in self._common.items() if len(values) == 1}

    @property
    def metric(self) -> str:
        """What tells which run of the whole sweep is the best."""
        # Only some of them may have rows of validation.
        same = len(set(self._metrics)) == 1
        return self._metrics[0] if same else "loss"

    def refuse_unused(self) -> None:
        """Refuse settings that change nothing in any configuration.

        Values that differ, of what nothing is done with, may come from a preset of each.
        """
        refuse({name for name in self._unused if len(self._common.get(name, [])) < 2})

    def differing(self) -> dict[str, list[str]]:
        """Return the values of the settings that differ between configurations."""
        found: dict[str, dict[str, None]] = {}
        for name, value in (split(word) for own in self.words for word in own):
            found.setdefault(name, {})[value] = None
        return {name: list(values) for name, values in found.items() if len(values) > 1}

    def estimate(self, grid: Grid, *, results: bool) -> Estimate:
        """Measure a sample of the first configuration; the others may have other epochs."""
        if self.first is None:
            raise RuntimeError("a sweep is estimated before it was checked")
        own = int(self.first.experiment.settings["epochs"])
        where = tracking(self.first.config)
        return Estimate.of(
            self.first.experiment,
            grid,
            len(self.words) * len(grid),
            where,
            table=where is not None or results,
            share=sum(self._epochs) / len(self._epochs) / own if own else 1.0,
        )

    def _tell(self) -> None:
        """Say now and then how many are composed, which takes its time."""
        done, total, now = len(self._epochs), len(self.words), time.monotonic()
        if now - self._told >= self._between:
            say(f"{done:,} of {total:,} configurations composed", stderr=True)
            self._told, self._between = now, min(2 * self._between, MOST_BETWEEN)


def _is_same(one: Dataset, other: Dataset) -> bool:
    return np.array_equal(one.x, other.x) and np.array_equal(one.y, other.y)


def task_config(config: DictConfig) -> DictConfig:
    """Return a copy of the configuration without Hydra's own section, as a task gets it."""
    copy = config.copy()
    with read_write(copy), open_dict(copy):
        del copy["hydra"]
    return copy


def _common(config: DictConfig) -> dict[str, object]:
    """Return the settings that say of a sweep what it is and where it is kept, by name."""
    return {
        f"{section}.{name}": value
        for section in ("sweep", "tracking")
        for name, value in cast(
            dict[str, object], OmegaConf.to_container(config[section])
        ).items()
    }
