"""What the plan of a sweep came from, as the command line and the files say it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, cast

import numpy as np
from omegaconf import DictConfig, OmegaConf

from backprop_svc.cli.config.experiment import Prepared
from backprop_svc.cli.config.overrides import name_of, split, written
from backprop_svc.sweep.plan import FREE, plan
from backprop_svc.tracking.plan import HYDRA, Part, Plan

READING = ("sampler", "points", "samples", "seed")
"""Settings of a sweep that make points of its axes."""
SHOWN = {"data.unit", "data.unit_factor"}
"""Settings of the data that change what is shown and nothing else."""


def planned(prepared: Prepared, config: DictConfig) -> Plan:
    """Return what decides the runs of one configuration, with what it came from."""
    sweep = _plain(config, "sweep")
    readers = {HYDRA: version("hydra-core"), "NumPy": np.__version__}
    return plan(
        prepared.experiment,
        prepared.grid,
        prepared.config.tracking.history,
        prepared.config.tracking.weights,
        data={n: text for n, text in _plain(config, "data").items() if n not in SHOWN},
        axes={**{f"sweep.{name}": sweep[f"sweep.{name}"] for name in READING}, **readers},
        axis={name: {name: value} for name, value in map(split, prepared.config.sweep.axes)},
    )


def configurations(jobs: Sequence[Sequence[str]]) -> Plan:
    """Return what makes the configurations of a sweep, where there are several."""
    free = {f"train.{name}" for name in FREE}
    decisive = [[word for word in own if name_of(word) not in free] for own in jobs]
    common = set.intersection(*map(set, decisive))
    differing = [[word for word in own if word not in common] for own in decisive]
    if not any(differing):
        return Plan({})
    told = " | ".join(" ".join(own) for own in differing)
    part = Part.of(f"{len(jobs)}: {told}", {HYDRA: version("hydra-core")})
    return Plan({"the configurations": part})


def _plain(config: DictConfig, section: str) -> dict[str, str]:
    """Return a section as it was written: a value of the environment stays a reference."""
    values = cast(dict[str, Any], OmegaConf.to_container(config[section], resolve=False))
    return {f"{section}.{name}": written(value) for name, value in values.items()}
