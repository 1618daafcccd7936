"""Prints each step of the chain rule."""

from __future__ import annotations

from typing import cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import backprop_svc as bp
from backprop_svc.cli.config.overrides import name_of
from backprop_svc.cli.config.problem import draw_by_default, problem
from backprop_svc.cli.config.schema import ExplainConfig
from backprop_svc.cli.terminal.errors import FORESEEN, foreseen, require_values
from backprop_svc.cli.terminal.tables import print_explanation
from backprop_svc.errors import SettingError, shown

USED = {
    "chain_rule": ("example=", "example.name=", "example.x="),
    "network": ("example=", "example.name=", "network", "data", "init", "train=", "train.lr="),
}
"""Prefixes of the overrides that each example uses."""


def explain(config: DictConfig) -> None:
    """Print the walk that the configuration asks for."""
    with foreseen(*FORESEEN):
        require_values(config)
        _refuse_unused(cast(ExplainConfig, config).example.name)
        print_explanation(_walk(cast(ExplainConfig, config)))


def _refuse_unused(walk: str) -> None:
    # An unknown example is refused later, by the function that looks it up.
    used = USED.get(walk, ("",))
    for word in HydraConfig.get().overrides.task:
        # A run goes on in train and sweep alone.
        if not f"{name_of(word)}=".startswith(used) or name_of(word) == "init.run":
            names = ", ".join(name.rstrip("=") for name in used)
            raise SettingError(
                name_of(word),
                f"given and would change nothing in the walk of example={walk}",
                names,
                "leave it out",
            )


def _walk(config: ExplainConfig) -> bp.Explanation:
    if config.example.name == "chain_rule":
        return bp.chain_rule(config.example.x)
    if config.example.name != "network":
        raise SettingError(
            "example.name",
            shown(config.example.name),
            "network, chain_rule",
            "write example=chain_rule or leave it out",
        )
    draw_by_default(config.network, config.init)
    work = problem(config.network, config.data, config.init)
    return bp.explain(
        work.network, work.weights, work.data.x, work.data.y, learning_rate=config.train.lr
    )
