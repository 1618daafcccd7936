"""The names that a setting may have as its value, for messages and for completion."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from backprop_svc import conf
from backprop_svc.cli.config.schema import Config
from backprop_svc.metric import METRICS
from backprop_svc.sweep.sampler import SAMPLERS
from backprop_svc.train import SETTINGS


def settings_of(schema: type) -> dict[str, str]:
    """Return the types of all settings of a schema, by their names with their sections."""
    return {
        f"{section}.{field.name}": str(field.type)
        for section, kind in get_type_hints(schema).items()
        for field in dataclasses.fields(kind)
    }


CONF = Path(conf.__file__).parent


def options_of(group: str) -> list[str]:
    """Return the files from which a group may choose."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


KINDS = settings_of(Config)
"""The types of all settings of ``backprop-svc train``."""
Models = Literal["none", "best", "all"]
"""Of which runs of a command an MLflow model is logged."""
INTERNAL = {
    f"sweep.{name}"
    for name in ("id", "axes", "configuration", "shard", "lease", "plan", "varied")
}
"""What a sweep tells its jobs, and nobody else."""
SETTINGS_OF_USERS = [name for name in KINDS if name not in INTERNAL]
"""The names of all settings of ``backprop-svc train``, with their sections."""
TEXTS = {
    name
    for name, kind in KINDS.items()
    if ("str" in kind or kind.endswith("Any")) and name != "tracking.uri"
} - INTERNAL
"""The settings whose values may be texts, but that which may hold a password."""
CHOICES: dict[str, list[str]] = {
    **{name: ["false", "true"] for name, kind in KINDS.items() if kind == "bool"},
    **{
        f"train.{name}": list(get_args(kind))
        for name, kind in SETTINGS.items()
        if get_origin(kind) is Literal
    },
    "network.activation": [
        *("identity", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "softplus"),
    ],
    "network.output": [
        *("identity", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "softplus"),
    ],
    "network.loss": [
        *("half_squared_error", "mse", "binary_cross_entropy", "softmax_cross_entropy"),
    ],
    "network.dtype": ["float32", "float64"],
    "init.method": ["normal", "uniform", "he", "xavier"],
    "data.missing": ["drop", "mean"],
    "data.affixes": ["keep", "drop"],
    "tracking.weights": ["all", "best", "none"],
    "tracking.model": list(get_args(Models)),
    "tracking.history": ["all", "every:10", "last", "none"],
    "sweep.sampler": list(SAMPLERS),
    "sweep.metric": list(METRICS),
    "sweep.resume": ["last"],
}
"""Of each setting that takes some of a few names; errors and ``--help`` show the same."""
