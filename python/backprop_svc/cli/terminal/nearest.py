"""The setting that was meant by a name that is none."""

from __future__ import annotations

import dataclasses
from difflib import get_close_matches
from typing import get_type_hints

from backprop_svc.cli.config.schema import Config

ALIASES = {
    "learning_rate": "lr",
    "eta": "lr",
    "steps": "epochs",
    "iterations": "epochs",
    "layers": "sizes",
    "hidden": "sizes",
    "file": "path",
    "csv": "path",
}
"""What other programs call a setting."""


def settings() -> list[str]:
    """Return the names of all settings of ``backprop-svc train``, with their sections."""
    return [
        f"{section}.{field.name}"
        for section, kind in get_type_hints(Config).items()
        for field in dataclasses.fields(kind)
    ]


def nearest(name: str) -> str | None:
    """Return the setting whose name is most like this one, if one is."""
    section, _, last = name.rpartition(".")
    last = ALIASES.get(last, last)
    meant = [known for known in settings() if known.rpartition(".")[2] == last]
    own = [known for known in meant if known.startswith(f"{section}.")]
    if own or meant:
        return (own or meant)[0]
    by_last = {known.rpartition(".")[2]: known for known in reversed(settings())}
    similar = get_close_matches(f"{section}.{last}", settings(), 1, 0.8)
    similar += [by_last[known] for known in get_close_matches(last, by_last, 1, 0.75)]
    return similar[0] if similar else None
