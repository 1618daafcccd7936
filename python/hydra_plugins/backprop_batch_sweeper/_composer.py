"""Composes the configurations of a sweep, each distinct choice of groups once.

Hydra reads and merges all files anew for each job, which takes a fifth of a second. Most jobs
differ in values alone: those are set in a copy of what was composed for an earlier job.
"""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


class Composer:
    """A Hydra configuration loader whose configurations for a sweep are composed so.

    What it returns is what the loader that it is given would return; all else it leaves to it.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._bases: dict[tuple[str, ...], list[tuple[frozenset[str], DictConfig]]] = {}
        parser = OverridesParser.create(config_loader=loader)
        self._parsed = lru_cache(maxsize=4096)(parser.parse_override)
        self._options = lru_cache(maxsize=4096)(loader.get_group_options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __reduce__(self) -> tuple[type[Composer], tuple[ConfigLoader]]:
        # A launcher may send it to another process, which begins anew.
        return Composer, (self._loader,)

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """Return the configuration of a job."""
        try:
            return self._composed(master_config, sweep_overrides)
        except (HydraException, OmegaConfBaseException):
            # Hydra says what is wrong, in its words.
            return self._loader.load_sweep_config(master_config, list(sweep_overrides))

    def _composed(self, master: DictConfig, words: list[str]) -> DictConfig:
        overrides = [self._parsed(word) for word in words]
        values: list[Override] = []
        others: list[Override] = []
        for override in overrides:
            (values if self._is_value(override) else others).append(override)
        # What is set in an order, as values are, may change what was set before.
        if not all(map(self._comes_first, others)):
            return self._loader.load_sweep_config(master, list(words))
        bases = self._bases.setdefault(tuple(str(each.input_line) for each in others), [])
        names = frozenset(override.key_or_group for override in values)
        for named, base in bases:
            # All that was set in it is set again.
            if named <= names:
                return _changed(base, master, overrides, values)
        config = self._loader.load_sweep_config(master, list(words))
        bases.append((names, copy.deepcopy(config)))
        return config

    def _is_value(self, override: Override) -> bool:
        """Tell whether an override only sets a value of the application."""
        return (
            override.type is OverrideType.CHANGE
            and not isinstance(override.value(), dict)
            and not self._comes_first(override)
        )

    def _comes_first(self, override: Override) -> bool:
        """Tell whether Hydra does it before it sets values: those of its own, and groups."""
        if override.is_hydra_override():
            return True
        is_option = not isinstance(override.value(), dict)
        return is_option and bool(self._options(override.key_or_group))


def _changed(
    base: DictConfig, master: DictConfig, overrides: list[Override], values: list[Override]
) -> DictConfig:
    """Return a copy of a configuration with other values, which is told of all overrides."""
    config = copy.deepcopy(base)
    for override in values:
        OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    own = [each for each in overrides if not each.is_hydra_override()]
    job = config.hydra.job
    config.hydra.overrides.task = [each.input_line for each in own]
    job.override_dirname = _folder_name(own, job.config.override_dirname)
    OmegaConf.copy_cache(from_config=master, to_config=config)
    return config


def _folder_name(overrides: list[Override], how: DictConfig) -> str:
    """Return what Hydra calls ``override_dirname``."""
    lines = [
        str(each.input_line) for each in overrides if each.key_or_group not in how.exclude_keys
    ]
    return str(how.item_sep).join(sorted(lines)).replace("=", how.kv_sep)
