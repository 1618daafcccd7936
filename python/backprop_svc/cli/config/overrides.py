"""Overrides as the command line has them: ``train.lr=0.1``, ``+data.unit=m``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException


def split(word: str) -> tuple[str, str]:
    """Return the name of the setting and its value as it was written."""
    name, _, value = word.partition("=")
    return name.lstrip("+~"), value


def name_of(word: str) -> str:
    """Return the name of the setting."""
    return split(word)[0]


def settings_of(words: Iterable[str]) -> dict[str, str]:
    r"""Return the settings that words give, with their values as a store keeps them.

    Texts have no quotes and no backslashes, which are the command line's, unless they would be
    read as something else without: see :func:`value_of`. All else stays as it was written.

    >>> settings_of(["train.lr=1e-2", "+data.y='Price (k)'", r"data.dates=[Sold\ on,'a, b']"])
    {'train.lr': '1e-2', 'data.y': 'Price (k)', 'data.dates': "[Sold on,'a, b']"}
    >>> settings_of(["data.y='2019'", "data.path=007.csv", "data.missing_values=''"])
    {'data.y': "'2019'", 'data.path': '007.csv', 'data.missing_values': "''"}
    """
    return {name_of(word): _kept(word) for word in words}


def value_of(text: str) -> Any:
    """Return the value of a setting that a store has as a text.

    >>> value_of("1e-2"), value_of("Price (k)"), value_of("[Sold on,'a, b']")
    (0.01, 'Price (k)', ['Sold on', 'a, b'])
    """
    with suppress(HydraException):
        override = OverridesParser.create().parse_override(f"name={text}")
        if not override.is_sweep_override():
            return override.value()
    return text


@lru_cache(4096)
def _kept(word: str) -> str:
    value = OverridesParser.create().parse_override(word).value()
    plain = split(word)[1]
    if isinstance(value, str):
        plain = value
    elif isinstance(value, list) and all(isinstance(one, str) for one in value):
        plain = f"[{','.join(map(_element, value))}]"
    # Some servers take no empty ones.
    return plain if plain and value_of(plain) == value else split(word)[1]


def _element(text: str) -> str:
    return text if value_of(f"[{text}]") == [text] else in_quotes(text)


def in_quotes(text: str, quote: Quote = Quote.single) -> str:
    """Write a text so that Hydra reads it, whatever signs it has."""
    return str(QuotedString(text=text, quote=quote).with_quotes())


def written(value: object) -> str:
    """Write a value as the command line has it, texts without their quotes."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
