"""Overrides as the command line has them: ``train.lr=0.1``, ``+data.unit=m``."""

from __future__ import annotations

import json


def split(word: str) -> tuple[str, str]:
    """Return the name of the setting and its value as it was written."""
    name, _, value = word.partition("=")
    return name.lstrip("+~"), value


def name_of(word: str) -> str:
    """Return the name of the setting."""
    return split(word)[0]


def written(value: object) -> str:
    """Write a value as the command line has it, texts without their quotes."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
