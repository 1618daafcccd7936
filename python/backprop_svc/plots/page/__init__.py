"""The report of a sweep: one HTML file that answers questions without a server.

``content`` says what it shows, ``columns`` how the numbers of all runs fit into it. The page
itself is in ``assets/``: each picture is a file of JavaScript, which draws with plotly.
"""

from __future__ import annotations

from backprop_svc.page import Page
from backprop_svc.plots.page.assemble import assemble, plotly
from backprop_svc.plots.page.content import content
from backprop_svc.sweep.curves import Curves, sample_curves
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.tracking.links import Place

SCRIPTS = (
    *("columns.js", "text.js", "links.js", "runs.js", "counts.js", "best.js", "cells.js"),
    *("map.js", "parallel.js", "importance.js", "curves.js", "surface.js", "main.js"),
)
"""The page's own code, in the order in which it is read."""


def report(outcomes: Outcomes, place: Place | None = None) -> Page:
    """Make the report of a sweep: see :meth:`backprop_svc.sweep.outcomes.Outcomes.report`."""
    curves = None
    if outcomes.experiment is not None and outcomes.experiment.settings["epochs"]:
        curves = sample_curves([outcomes.experiment], outcomes)
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
    parts = {"columns": columns.packed(), "plotly": plotly()}
    return assemble("page.html", f"Sweep {outcomes.sweep}", told, SCRIPTS, **parts)
