"""The guide's two plots: loss and predictions over the epochs."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from backprop_svc.errors import SettingError
from backprop_svc.plots.drawable import drawable
from backprop_svc.result import Result

DPI = 110
"""Pixels of an inch of a picture."""


def training_png(
    result: Result, run: int, target: float, *, unit: str = "", factor: float = 1.0
) -> bytes:
    """Draw the loss and the prediction of one run, side by side, as a PNG.

    Where rows of validation were looked at, their loss is beside that of the training.

    Parameters
    ----------
    result
        With recorded loss and prediction.
    run
        Its position in the result.
    target
        The true value (mean of y), drawn as a line beside the predictions.
    unit, factor
        Predictions and target are multiplied by the factor and labelled with the unit.

    Raises
    ------
    SettingError
        Loss or prediction was not recorded.
    """
    if result.loss is None or result.prediction is None:
        raise SettingError(
            "the result",
            "no loss or prediction",
            "results that recorded both",
            "train with record=['loss', 'prediction']",
            verb="has",
        )
    figure = Figure(figsize=(11, 4), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    loss, prediction = drawable(result.loss[run]), drawable(result.prediction[run], factor)
    marker = "o" if len(loss) <= 50 else ""
    epochs = result.recorded
    drawn: dict[str, Any] = {"marker": marker, "markersize": 4}
    left.plot(epochs, loss, **drawn, color="tab:red", label="training")
    if result.val_loss is not None:
        aside = drawable(result.val_loss[run])
        left.plot(epochs, aside, **drawn, color="tab:blue", label="validation")
        loss = np.append(loss, aside)
    if result.best_epoch is not None:
        best = int(result.best_epoch[run])
        left.axvline(
            best,
            color="tab:green",
            linestyle="--",
            label=f"best: epoch {best}",
        )
    if len(left.lines) > 1:
        left.legend()
    positive = loss[np.isfinite(loss) & (loss > 0)]
    if positive.size and positive.max() > 100 * positive.min():
        left.set_yscale("log")
    left.set(title="Loss", xlabel="epoch", ylabel="L = ½(y − ŷ)²")
    right.plot(epochs, prediction, marker=marker, markersize=4, label="prediction ŷ")
    right.axhline(target * factor, color="tab:green", linestyle="--", label="true value y")
    label = f"prediction [{unit}]" if unit else "prediction"
    # Matplotlib reads a pair of dollars as mathematics.
    right.set(title="Prediction", xlabel="epoch")
    # A unit is a text, whatever signs are in it.
    right.set_ylabel(label, parse_math=False)
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    # Not `savefig`, which draws all twice for the layout.
    canvas.print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()
