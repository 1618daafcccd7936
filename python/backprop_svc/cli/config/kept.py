"""The configuration as it is kept with runs: it gives them again, and no secret away."""

from __future__ import annotations

import re

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from backprop_svc.tracking import shown_uri, without_password


def kept(config: DictConfig) -> str:
    """Write a configuration as YAML: what comes from the environment stays a name."""
    copy = config.copy()
    uri = OmegaConf.to_container(copy.tracking, resolve=False)["uri"]  # type: ignore[index, call-overload]
    with read_write(copy), open_dict(copy):
        copy.tracking.uri = _written(str(uri))
    return without_password(OmegaConf.to_yaml(copy, resolve=False))


def _written(uri: str) -> str:
    if not uri.startswith("${"):
        return shown_uri(uri)
    # What holds where the variable is not set may have a password of its own.
    return re.sub(r",([^{}]*)\}$", lambda default: f",{shown_uri(default[1])}}}", uri)
