"""Figures of results."""

from backprop_svc.plots.sweep import curves_png, map_png
from backprop_svc.plots.training import training_png

__all__ = ["curves_png", "map_png", "training_png"]
