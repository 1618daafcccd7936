"""Puts a page together of its own files and of what it shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from backprop_svc.plots.page.columns import packed

ASSETS = Path(__file__).parent / "assets"


def assemble(
    template: str, title: str, told: dict[str, Any], scripts: Sequence[str], **parts: str
) -> str:
    """Return a page.

    Parameters
    ----------
    template
        The file with the marks that parts replace, such as ``<!--title-->``.
    title
        What the browser calls it.
    told
        What it shows.
    scripts
        The files of its code, in the order in which they are read.
    parts
        Further parts, in base64.
    """
    found = {
        "title": escape(title),
        "style": _asset("page.css"),
        "content": as_script(told),
        **parts,
        "script": "\n".join(map(_asset, scripts)),
    }
    html = _asset(template)
    for name, part in found.items():
        # No part can hold the mark of another one: none has a "<" that is not the page's own.
        html = html.replace(f"<!--{name}-->", part, 1)
    return html


def as_script(told: Any) -> str:
    """Write what JSON can hold so that no text of it ends or begins anything in HTML."""
    text = json.dumps(_plain(told), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


@lru_cache(1)
def plotly() -> str:
    """Return plotly's own code, compressed, from the installed package."""
    # Importing the package takes longer than reading the one file of it.
    found = find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("plotly is not there; install it with: pip install plotly")
    folder = Path(found.submodule_search_locations[0])
    return packed((folder / "package_data" / "plotly.min.js").read_bytes())


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return a value without the numbers that JSON lacks: NaN becomes null, ∞ a text."""
    if isinstance(value, dict):
        return {str(key): _plain(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    if isinstance(value, float):
        if value != value:
            return None
        if value in (float("inf"), float("-inf")):
            return "∞" if value > 0 else "−∞"
    return value
