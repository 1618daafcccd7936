"""Pictures of a sweep: where it converges, and how a sample of its losses falls."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator
from numpy.typing import NDArray

from backprop_svc.arrays import Floats
from backprop_svc.errors import counted
from backprop_svc.metric import MAXIMIZED, objective, shown
from backprop_svc.plots.drawable import WIDEST, along_an_axis, drawable
from backprop_svc.plots.training import DPI
from backprop_svc.sweep.space import is_logarithmic

MOST_CELLS = 400
"""Cells of the heat map along an axis; finer grids show the best run of each cell."""
MOST_LARGE = 400
"""Runs along a single axis that are drawn as large points."""
SIZE = (6.4, 4.8)
"""Inches of a picture: its text is still read where MLflow shows it small."""
TEXT: Any = {"font.size": 13.0, "axes.titlesize": 15.0, "legend.fontsize": 12.0}
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
    with rc_context(TEXT):
        return _map_figure(axes, values, outcome, metric)


def _map_figure(
    axes: Mapping[str, Floats], values: Floats, outcome: NDArray[np.str_], metric: str
) -> Figure:
    figure, plot = _begin()
    label = shown(metric)
    main = sorted(axes, key=lambda name: -len(np.unique(axes[name])))[:2]
    drawn = {name: along_an_axis(axes[name]) for name in main}
    axes = {name: places for name, (places, _) in drawn.items()}
    values = drawable(values)
    good = np.isfinite(values) & (outcome != "dead") & (outcome != "diverged")
    if metric not in MAXIMIZED:
        values = np.maximum(values, _floor(values[good]))
    if len(main) == 2:
        _heat_map(figure, plot, axes, main, values, outcome, good, metric)
    else:
        name = main[0] if main else "run"
        x = axes.get(name, np.arange(len(values), dtype=np.float64))
        if good.any():
            size = 16 if len(values) <= MOST_LARGE else 2
            plot.scatter(x[good], values[good], s=size, label=label)
        for kind, color in (("dead", DEAD), ("diverged", DIVERGED)):
            some = outcome == kind
            if some.any():
                height = np.where(np.isnan(values[some]), plot.get_ylim()[1], values[some])
                plot.scatter(x[some], height, s=16, marker="x", color=color, label=kind)
        plot.set(xlabel=name, ylabel=label)
        if good.any() and metric not in MAXIMIZED:
            plot.set_yscale("log")
        if plot.collections:
            plot.legend()
        plot.grid(alpha=0.3)
        if is_logarithmic(np.unique(x)):
            plot.set_xscale("log")
    for name, set_ticks in zip(main, (plot.set_xticks, plot.set_yticks), strict=False):
        ticks = drawn[name][1]
        if ticks is not None:
            set_ticks(*ticks)
    plot.set_title(f"{label[0].upper()}{label[1:]} of {counted(len(values), 'run')}")
    return figure


def curves_png(loss: Floats, learning_rate: Floats, epochs: NDArray[np.int64]) -> bytes:
    """Draw histories of loss, coloured by learning rate, as a PNG.

    Parameters
    ----------
    loss
        Shape (runs, epochs); NaN after a divergence.
    learning_rate
        Shape (runs,).
    epochs
        Shape (epochs,).
    """
    with rc_context(TEXT):
        return _curves_png(loss, learning_rate, epochs)


def _curves_png(loss: Floats, learning_rate: Floats, epochs: NDArray[np.int64]) -> bytes:
    from matplotlib import colormaps

    figure, plot = _begin()
    loss = drawable(loss)
    low, high = np.clip([learning_rate.min(), learning_rate.max()], 0, WIDEST)
    low = max(low, 1 / WIDEST) if low > 0 else low
    high = high if high > low else low * 1.01
    # The rate of a layer that is frozen has no logarithm.
    norm = LogNorm(low, high) if low > 0 else Normalize(low, high or 1.0)
    colors = ScalarMappable(norm, colormaps["viridis"])
    floor = _floor(loss[np.isfinite(loss)])
    for history, rate in zip(np.maximum(loss, floor), learning_rate, strict=True):
        plot.plot(
            epochs, history, color=colors.to_rgba(np.asarray(rate)), linewidth=0.8, alpha=0.7
        )
    plot.set(
        title=f"Loss of {counted(len(loss), 'run')}",
        xlabel="epoch",
        ylabel="loss",
        yscale="log",
    )
    plot.grid(alpha=0.3)
    _colorbar(figure, plot, colors, "learning rate")
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
        _colorbar(figure, plot, image, shown(metric))
    plot.set(xlabel=main[0], ylabel=main[1])
    for name, scale in zip(main, (plot.set_xscale, plot.set_yscale), strict=True):
        if is_logarithmic(np.unique(axes[name])):
            scale("log")
        else:
            plot.locator_params("x" if name == main[0] else "y", nbins=5)
    # Only what can be seen: a cell with a better run shows that.
    hidden = np.isfinite(best)
    seen = {"dead": np.isfinite(dead) & ~hidden}
    seen["diverged"] = np.isfinite(other) & ~hidden & ~seen["dead"]
    for label, color in (("dead", DEAD), ("diverged", DIVERGED)):
        if seen[label].any():
            plot.scatter([], [], marker="s", color=color, label=label)
    if any(layer.any() for layer in seen.values()):
        plot.legend(loc="upper left", framealpha=0.8)


def _begin() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _colorbar(figure: Figure, plot: Axes, colors: ScalarMappable, label: str) -> None:
    """Add a colour bar whose ticks can be read, however narrow or wide its range is."""
    low, high = colors.get_clim()
    bar = figure.colorbar(colors, ax=plot, label=label)
    assert low is not None
    assert high is not None
    if not isinstance(colors.norm, LogNorm):
        return
    decades = np.log10(high) - np.log10(low)
    if decades < 2:
        subs = (1.0, 2.0, 5.0) if decades > 0.5 else tuple(np.arange(1.0, 10.0))
        bar.locator = LogLocator(subs=subs)
        if decades < 0.2:
            bar.locator = FixedLocator(np.geomspace(low, high, 4)[1:3].tolist())
        bar.formatter = FuncFormatter(lambda value, _: f"{value:.3g}")
        bar.minorticks_off()
        bar.update_ticks()


def _cells(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Edges of the cells along an axis, and the cell of each run."""
    grid = np.unique(values)
    log = is_logarithmic(grid)
    if len(grid) > MOST_CELLS:
        space = np.geomspace if log else np.linspace
        count = MOST_CELLS if len(values) > MOST_CELLS**2 else max(10, int(len(values) ** 0.4))
        edges = space(grid[0], grid[-1], count + 1)
        return edges, np.clip(np.searchsorted(edges, values, "right") - 1, 0, count - 1)
    inner = np.sqrt(grid[1:]) * np.sqrt(grid[:-1]) if log else (grid[1:] + grid[:-1]) / 2
    if not len(inner):
        half = abs(grid[0]) / 2 or 0.5
        return np.array([grid[0] - half, grid[0] + half]), np.zeros(len(values), np.int64)
    if log:
        first, last = (
            end * (end / inner[place]) for place, end in ((0, grid[0]), (-1, grid[-1]))
        )
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
