"""Figures from a result."""

from backprop_svc.plots.training import training_png

__all__ = ["training_png"]
