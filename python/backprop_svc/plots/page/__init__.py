"""The report of a sweep: one HTML file that answers questions without a server.

``content`` says what it shows, ``columns`` how the numbers of all runs fit into it. The page
itself is in ``assets/``: each picture is a file of JavaScript, which draws with plotly.
"""

from __future__ import annotations

import json
from functools import lru_cache
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from backprop_svc.page import Page
from backprop_svc.plots.page.columns import packed
from backprop_svc.plots.page.content import content
from backprop_svc.sweep.curves import Curves, sample_curves
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.tracking.links import Place

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = (
    *("columns.js", "text.js", "links.js", "runs.js", "counts.js", "best.js", "cells.js"),
    *("map.js", "parallel.js", "importance.js", "curves.js", "main.js"),
)
"""The page's own code, in the order in which it is read."""


def report(outcomes: Outcomes, place: Place | None = None) -> Page:
    """Make the report of a sweep: see :meth:`backprop_svc.sweep.outcomes.Outcomes.report`."""
    curves = None
    if outcomes.experiment is not None and outcomes.experiment.settings["epochs"]:
        curves = sample_curves(outcomes.experiment, outcomes)
    return Page(page(outcomes, curves, place))


def page_html(outcomes: Outcomes, curves: Curves | None, place: Place | None) -> bytes:
    """Return the page of :func:`report` as the content of a file."""
    return page(outcomes, curves, place).encode()


def page(outcomes: Outcomes, curves: Curves | None, place: Place | None) -> str:
    """Return the report of a sweep as a page.

    Parameters
    ----------
    outcomes
        What came of all its runs.
    curves
        A sample of the histories of loss, if there is one.
    place
        Where the runs are in MLflow, if they are tracked.
    """
    told, columns = content(outcomes, curves, place)
    return assemble(f"Sweep {outcomes.sweep}", told, columns.packed(), SCRIPTS)


def assemble(title: str, told: dict[str, Any], columns: str, scripts: tuple[str, ...]) -> str:
    """Put a page together of its parts."""
    parts = {
        "title": escape(title),
        "style": _asset("page.css"),
        "content": as_script(told),
        "columns": columns,
        "plotly": plotly(),
        "script": "\n".join(map(_asset, scripts)),
    }
    html = _asset("page.html")
    for name, part in parts.items():
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
