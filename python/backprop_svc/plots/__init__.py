"""Figures of results and of sweeps."""

from backprop_svc.plots.report import summary
from backprop_svc.plots.sweep import curves_png, map_figure, map_png
from backprop_svc.plots.training import training_png

__all__ = ["curves_png", "map_figure", "map_png", "summary", "training_png"]
