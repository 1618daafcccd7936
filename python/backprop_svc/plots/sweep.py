"""Pictures of a sweep: where it converges, and how a sample of its losses falls."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from backprop_svc.arrays import Floats
from backprop_svc.errors import counted
from backprop_svc.metric import MAXIMIZED, objective, shown
from backprop_svc.plots.training import DPI
from backprop_svc.sweep.space import is_logarithmic

MOST_CELLS = 400
"""Cells of the heat map along an axis; finer grids show the best run of each cell."""
DEAD, DIVERGED = "0.75", "0.15"


def map_png(
    axes: Mapping[str, Floats], values: Floats, outcome: NDArray[np.str_], metric: str = "loss"
) -> bytes:
    """Draw :func:`map_figure` as a PNG."""
    return _png(map_figure(axes, values, outcome, metric))


def map_figure(
    axes: Mapping[str, Floats], values: Floats, outcome: NDArray[np.str_], metric: str = "loss"
) -> Figure:
    """Draw a metric over the one or two axes with most values.

    Colours of losses and errors are logarithmic; where several runs share a cell it shows the
    best. Cells in which every run died are light grey, those in which none is left finite
    nearly black.

    Parameters
    ----------
    axes
        Values of each axis at every run, each of shape (runs,).
    values
        The metric of each run, shape (runs,).
    outcome
        Of every run, shape (runs,).
    metric
        Its name: one of :data:`backprop_svc.metric.METRICS`.
    """
    figure = Figure(figsize=(7.5, 5.5), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    plot = figure.subplots()
    label = shown(metric)
    main = sorted(axes, key=lambda name: -len(np.unique(axes[name])))[:2]
    good = np.isfinite(values) & (outcome != "dead") & (outcome != "diverged")
    if metric not in MAXIMIZED:
        values = np.maximum(values, _floor(values[good]))
    if len(main) == 2:
        _heat_map(figure, plot, axes, main, values, outcome, good, metric)
    else:
        name = main[0] if main else "run"
        x = axes.get(name, np.arange(len(values), dtype=np.float64))
        plot.scatter(x[good], values[good], s=12, label=label)
        for kind, color in (("dead", DEAD), ("diverged", DIVERGED)):
            some = outcome == kind
            if some.any():
                height = np.where(np.isfinite(values[some]), values[some], np.nan)
                height = np.where(np.isnan(height), plot.get_ylim()[1], height)
                plot.scatter(x[some], height, s=16, marker="x", color=color, label=kind)
        plot.set(xlabel=name, ylabel=label)
        if good.any() and metric not in MAXIMIZED:
            plot.set_yscale("log")
        plot.legend()
        plot.grid(alpha=0.3)
        if is_logarithmic(np.unique(x)):
            plot.set_xscale("log")
    plot.set_title(f"{label[0].upper()}{label[1:]}")
    return figure


def curves_png(loss: Floats, learning_rate: Floats) -> bytes:
    """Draw histories of loss, coloured by learning rate, as a PNG.

    Parameters
    ----------
    loss
        Shape (runs, epochs); NaN after a divergence.
    learning_rate
        Shape (runs,).
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable

    figure = Figure(figsize=(7.5, 5.5), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    plot = figure.subplots()
    low, high = learning_rate.min(), learning_rate.max()
    norm = LogNorm(low, high if high > low else low * 1.01)
    colors = ScalarMappable(norm, colormaps["viridis"])
    floor = _floor(loss[np.isfinite(loss)])
    for history, rate in zip(np.maximum(loss, floor), learning_rate, strict=True):
        plot.plot(history, color=colors.to_rgba(np.asarray(rate)), linewidth=0.8, alpha=0.7)
    plot.set(
        title=f"Loss of {counted(len(loss), 'run')}",
        xlabel="epoch",
        ylabel="loss",
        yscale="log",
    )
    plot.grid(alpha=0.3)
    figure.colorbar(colors, ax=plot, label="learning rate")
    return _png(figure)


def _heat_map(
    figure: Figure,
    plot: Axes,
    axes: Mapping[str, Floats],
    main: list[str],
    values: Floats,
    outcome: NDArray[np.str_],
    good: NDArray[np.bool_],
    metric: str,
) -> None:
    (x_edges, column), (y_edges, row) = (_cells(axes[name]) for name in main)
    shape = (len(y_edges) - 1, len(x_edges) - 1)
    best, dead, other = (np.full(shape, np.nan) for _ in range(3))
    dead[row[outcome == "dead"], column[outcome == "dead"]] = 1
    ended = outcome == "diverged"
    other[row[ended], column[ended]] = 1
    smallest = np.full(shape, np.inf)
    np.minimum.at(smallest, (row[good], column[good]), objective(metric, values[good]))
    found = np.isfinite(smallest)
    best[found] = objective(metric, smallest[found])
    for layer, color in ((other, DIVERGED), (dead, DEAD)):
        plot.pcolormesh(x_edges, y_edges, layer, cmap=ListedColormap([color]))
    if good.any():
        low, high = np.nanmin(best), np.nanmax(best)
        norm: Normalize = LogNorm(low, high if high > low else low * 1.01)
        if metric in MAXIMIZED:
            norm = Normalize(low, high)
        image = plot.pcolormesh(x_edges, y_edges, best, norm=norm, cmap="viridis")
        figure.colorbar(image, ax=plot, label=shown(metric))
    plot.set(xlabel=main[0], ylabel=main[1])
    for name, scale in zip(main, (plot.set_xscale, plot.set_yscale), strict=True):
        if is_logarithmic(np.unique(axes[name])):
            scale("log")
    for label, color in (("dead", DEAD), ("diverged", DIVERGED)):
        plot.scatter([], [], marker="s", color=color, label=label)
    plot.legend(loc="upper left", framealpha=0.8)


def _cells(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Edges of the cells along an axis, and the cell of each run."""
    grid = np.unique(values)
    log = is_logarithmic(grid)
    if len(grid) > MOST_CELLS:
        space = np.geomspace if log else np.linspace
        count = MOST_CELLS if len(values) > MOST_CELLS**2 else max(10, int(len(values) ** 0.4))
        edges = space(grid[0], grid[-1], count + 1)
        return edges, np.clip(np.searchsorted(edges, values, "right") - 1, 0, count - 1)
    inner = np.sqrt(grid[1:] * grid[:-1]) if log else (grid[1:] + grid[:-1]) / 2
    if not len(inner):
        half = abs(grid[0]) / 2 or 0.5
        return np.array([grid[0] - half, grid[0] + half]), np.zeros(len(values), np.int64)
    if log:
        first, last = grid[0] ** 2 / inner[0], grid[-1] ** 2 / inner[-1]
    else:
        first, last = 2 * grid[0] - inner[0], 2 * grid[-1] - inner[-1]
    edges = np.array([first, *inner, last])
    return edges, np.searchsorted(grid, values)


def _floor(loss: Floats) -> float:
    """Return the smallest loss that is told apart: 0 has no logarithm."""
    positive = loss[loss > 0]
    return max(float(positive.min()), 1e-30) if positive.size else 1e-30


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Not `savefig`, which draws all twice for the layout.
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()
