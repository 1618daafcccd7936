"""Overrides as the command line has them: ``train.lr=0.1``, ``+data.unit=m``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser


def split(word: str) -> tuple[str, str]:
    """Return the name of the setting and its value as it was written."""
    name, _, value = word.partition("=")
    return name.lstrip("+~"), value


def name_of(word: str) -> str:
    """Return the name of the setting."""
    return split(word)[0]


def settings_of(words: Iterable[str]) -> dict[str, str]:
    r"""Return the settings that words give, with their values as a store keeps them.

    Numbers stay as they were written. Texts have no quotes and no backslashes, which are the
    command line's.

    >>> settings_of(["train.lr=1e-2", "+data.y='Price (k)'", r"data.dates=[Sold\ on]"])
    {'train.lr': '1e-2', 'data.y': 'Price (k)', 'data.dates': '[Sold on]'}
    """
    return {name_of(word): _kept(word) for word in words}


@lru_cache(4096)
def _kept(word: str) -> str:
    value = OverridesParser.create().parse_override(word).value()
    if isinstance(value, str):
        return value
    if isinstance(value, list) and any(isinstance(one, str) for one in value):
        flow: dict[str, Any] = {"default_flow_style": True, "allow_unicode": True}
        return str(yaml.safe_dump(value, width=math.inf, **flow)).rstrip()
    return split(word)[1]


def written(value: object) -> str:
    """Write a value as the command line has it, texts without their quotes."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
