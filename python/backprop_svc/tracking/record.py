"""What is kept of one run, and what a writer does with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from backprop_svc._core import build_info
from backprop_svc.training import Result

MOST_NAMED_WEIGHTS = 16
"""Networks with more parameters log the norm of their gradient instead of each part."""

Points = list[tuple[str, float, int]]


@dataclass(frozen=True)
class Sweep:
    """The parent of the runs of one sweep."""

    id: str
    description: str = ""


@dataclass(frozen=True)
class RunRecord:
    """One finished run, as MLflow keeps it."""

    name: str
    params: Mapping[str, str]
    metrics: Points
    """(name, value, epoch)."""
    tags: Mapping[str, str]
    start_time: int
    """Milliseconds since 1970, as for ``end_time``."""
    end_time: int
    texts: Mapping[str, str] = field(default_factory=dict)
    """Artifacts: file name and content."""
    images: Mapping[str, bytes] = field(default_factory=dict)
    """Artifacts: file name and PNG."""


class Writer(Protocol):
    """Keeps runs; each call leaves the store consistent."""

    def write(self, record: RunRecord, sweep: Sweep | None = None) -> str:
        """Keep one run, under its sweep if it has one; return where to look at it."""
        ...

    def end_sweep(self, sweep: Sweep, status: str) -> None:
        """Give the parent of a sweep the status FINISHED, FAILED or KILLED."""
        ...


def metrics_of(result: Result, run: int) -> Points:
    """Histories of loss, prediction and gradients, up to a divergence; final weights."""
    epochs = 0 if result.loss is None else result.loss.shape[1]
    diverged = int(result.diverged_at[run])
    last = epochs if diverged < 0 else diverged + 1
    series: dict[str, np.ndarray] = {}
    if result.loss is not None:
        series["loss"] = result.loss[run]
    if result.prediction is not None:
        series["prediction"] = result.prediction[run]
    names = result.network.parameter_names
    named = len(names) <= MOST_NAMED_WEIGHTS
    if result.gradients is not None:
        gradients = result.gradients[run]
        if named:
            series |= {f"grad_{name}": gradients[:, i] for i, name in enumerate(names)}
        else:
            series["grad_norm"] = np.linalg.norm(gradients, axis=1)
    points = [
        (name, float(value), epoch)
        for name, values in series.items()
        for epoch, value in enumerate(values[:last])
    ]
    if named:
        finals = zip(names, result.weights[run], strict=True)
        points += [(name, float(value), epochs) for name, value in finals]
    if diverged >= 0:
        points.append(("diverged_at", float(diverged), diverged))
    if result.period[run]:
        points.append(("period", float(result.period[run]), epochs))
    return points


def tags_of(result: Result, run: int) -> dict[str, str]:
    """Outcome of the run, and what it was computed with."""
    info = build_info()
    return {
        "outcome": str(result.outcome[run]),
        "backprop.version": info["version"],
        "backprop.profile": info["profile"],
        "backprop.simd": info["simd"],
        "numpy.version": np.__version__,
    }
