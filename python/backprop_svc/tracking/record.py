"""What is kept of one run, and what a writer does with it."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from backprop_svc._core import build_info
from backprop_svc.errors import SettingError, shown
from backprop_svc.result import AT_THE_END, MOST_NAMED_WEIGHTS, Result
from backprop_svc.tracking.links import Place
from backprop_svc.tracking.plan import Plan
from backprop_svc.tracking.states import States, parameters_of_layers

Metrics = list[tuple[str, float, int]]
Picture = Callable[[], bytes]
"""Waits for a picture or a page that is made meanwhile, and returns it as a PNG or as HTML."""


@dataclass(frozen=True)
class Sweep:
    """The parent of the runs of one sweep."""

    id: str
    """16 hex digits."""
    description: str = ""
    """What it is, in Markdown."""
    params: Mapping[str, str] = field(default_factory=dict)
    """What its runs share, and what each axis does."""
    config: str = ""
    """The resolved configuration, as YAML."""
    plan: Plan | None = None
    """What decides its runs; only a sweep with the same one can go on. Without one, as jobs of
    a sweeper that nobody knows the whole of, processes share the parent."""
    resume: bool = False
    """Whether it has to be there already."""
    goes_on_from: str | None = None
    """Id of the run that it goes on from, whose child it is then."""
    metric: str = ""
    """What tells which run is the best: one of :data:`backprop_svc.metric.METRICS`."""
    lease: str | None = None
    """Of the process that began it, if this one does a job for that."""
    axes: str = ""
    """Short names of its axes, which its own name has."""


@dataclass(frozen=True)
class Summary:
    """What the parent of a sweep keeps."""

    metrics: Metrics
    best: int | None = None
    """Position in the sweep of the best run, if one has a finite value of the metric."""
    metric: str = ""
    """What tells which run is the best: one of :data:`backprop_svc.metric.METRICS`."""
    note: str = ""
    """What is added to the description of the sweep, in Markdown."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Artifacts: file name and content."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Artifacts: file name and content."""
    pages: Mapping[str, Picture] = field(default_factory=dict)
    """Artifacts: file name, and what waits for the content of a page that is made meanwhile."""
    figures: Mapping[str, Picture] = field(default_factory=dict)
    """Shown on the parent's page, by title; drawn only if they are not there yet."""


@dataclass(frozen=True)
class Progress:
    """How far a sweep is, in all processes that write it."""

    counts: Mapping[str, int]
    """Runs with each outcome."""
    best: float = math.inf
    """The smallest last loss, infinite where there is none."""

    @property
    def runs(self) -> int:
        """Count the runs."""
        return sum(self.counts.values())

    def metrics(self) -> Metrics:
        """Return metrics of the parent; their step is the number of runs."""
        found = {f"share_{name}": count / self.runs for name, count in self.counts.items()}
        if math.isfinite(self.best):
            found["min_loss"] = self.best
        return [
            (name, value, self.runs) for name, value in {"runs": self.runs, **found}.items()
        ]


@dataclass(frozen=True)
class RunRecord:
    """One finished run, as MLflow keeps it."""

    name: str
    params: Mapping[str, str]
    metrics: Metrics
    """(name, value, epoch)."""
    tags: Mapping[str, str]
    start_time: int
    """Milliseconds since 1970, as for ``end_time``."""
    end_time: int
    texts: Mapping[str, str] = field(default_factory=dict)
    """Artifacts: path and content."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Artifacts: path and content."""
    images: Mapping[str, Picture] = field(default_factory=dict)
    """Artifacts: file name and picture."""


@dataclass(frozen=True)
class Series:
    """One metric of many runs; a value that is not ``kept`` was not recorded."""

    values: np.ndarray
    """Shape (runs, steps)."""
    steps: np.ndarray
    """Shape (steps,), ascending; or (runs, steps) where they differ from run to run."""
    kept: np.ndarray
    """Booleans of shape (runs, steps)."""

    def select(self, runs: np.ndarray) -> Series:
        """Only these runs."""
        steps = self.steps if self.steps.ndim == 1 else self.steps[runs]
        return Series(self.values[runs], steps, self.kept[runs])

    def ended_by(self, last: Series) -> Series:
        """Add the last value of each run."""
        ends = np.unique(last.steps)
        if self.steps.ndim == 1 and len(ends) == 1:
            steps = np.append(self.steps, ends)
        else:
            before = np.broadcast_to(self.steps, self.values.shape)
            steps = np.hstack([before, last.steps])
        return Series(
            np.hstack([self.values, last.values]), steps, np.hstack([self.kept, last.kept])
        )


@dataclass(frozen=True)
class Runs:
    """Some finished runs of one sweep, column by column. :meth:`records` is its meaning."""

    sweep: str
    """Identity of the sweep, 16 hex digits."""
    index: np.ndarray
    """Position of each run in the sweep, shape (runs,)."""
    names: list[str]
    params: Mapping[str, list[str]]
    series: Mapping[str, Series]
    tags: Mapping[str, list[str]]
    start_time: int
    end_time: int
    states: States | None = None
    """Where those of the runs ended of which that is kept."""

    @property
    def run_ids(self) -> list[str]:
        """32 hex digits: those of the sweep, then those of the position."""
        return [f"{self.sweep}{position:016x}" for position in self.index.tolist()]

    def __len__(self) -> int:
        """Count the runs."""
        return len(self.names)

    def select(self, runs: np.ndarray) -> Runs:
        """Only these runs, by their rows among these."""
        rows = runs.tolist()
        return Runs(
            self.sweep,
            self.index[runs],
            [self.names[row] for row in rows],
            {name: [column[row] for row in rows] for name, column in self.params.items()},
            {name: series.select(runs) for name, series in self.series.items()},
            {name: [column[row] for row in rows] for name, column in self.tags.items()},
            self.start_time,
            self.end_time,
            None if self.states is None else self.states.among(self.index[runs]),
        )

    def records(self) -> Iterator[RunRecord]:
        """Each run by itself: the naive twin of a bulk write."""
        for row, name in enumerate(self.names):
            metrics: Metrics = []
            for key, series in self.series.items():
                steps = series.steps if series.steps.ndim == 1 else series.steps[row]
                metrics += [
                    (key, float(value), int(step))
                    for value, step, kept in zip(
                        series.values[row], steps, series.kept[row], strict=True
                    )
                    if kept
                ]
            yield RunRecord(
                name=name,
                params={key: column[row] for key, column in self.params.items()},
                metrics=metrics,
                tags={key: column[row] for key, column in self.tags.items()},
                start_time=self.start_time,
                end_time=self.end_time,
            )


class Writer(Protocol):
    """Keeps runs; each call leaves the store consistent."""

    def write(self, record: RunRecord) -> str:
        """Keep one run; return its id."""
        ...

    def look(self, run_id: str) -> str:
        """Return where to look at a run."""
        ...

    def open_sweep(self, sweep: Sweep) -> str:
        """Return the run id of the sweep's parent; it is made, or taken up again."""
        ...

    def write_runs(self, runs: Runs, parent: str) -> int:
        """Keep the runs that are not there yet, under their parent; return how many."""
        ...

    @property
    def most(self) -> int:
        """Say how many runs to give it at once, so that it answers every few seconds."""
        ...

    def report(self, parent: str) -> None:
        """Keep how far the sweep is as metrics of its parent."""
        ...

    def progress(self, parent: str) -> Progress:
        """Return how far the sweep is, in all processes that write it."""
        ...

    def links(self, run_id: str) -> tuple[str, str]:
        """Return the addresses of the page of a sweep and of that with all sweeps."""
        ...

    def place(self, parent: str) -> Place:
        """Return where the runs of a sweep are."""
        ...

    def close_sweep(self, parent: str, status: str, summary: Summary | None = None) -> str:
        """End the parent as FINISHED, FAILED or KILLED; return where to look at it."""
        ...

    def leave_sweep(self) -> None:
        """End the work for a sweep that another process owns."""
        ...

    def last_sweep(self) -> str | None:
        """Return the identity of the newest sweep that can go on."""
        ...

    @property
    def lease(self) -> str | None:
        """Name the lease of the sweep, if one process at a time writes it."""
        ...


def history_interval(history: str) -> int | None:
    """Read ``all``, ``every:K``, ``last`` or ``none``: K, 0 for the last only, else ``None``.

    Raises
    ------
    SettingError
        The text is none of them.
    """
    kind, _, number = history.partition(":") if isinstance(history, str) else ("", "", "")
    if isinstance(history, str) and history in {"all", "last", "none"}:
        return {"all": 1, "last": 0}.get(history)
    # Epochs are counted in 64 bits. Python reads no number of thousands of digits.
    if kind == "every" and number.isdecimal() and len(number) < 20 and 0 < int(number) < 2**63:
        return int(number)
    raise SettingError(
        "history",
        shown(history),
        "all, every:K (each K-th epoch and the last; K from 1 to 2^63 − 1), last, none (the "
        "last loss and the weights only)",
        "choose one of them",
    )


def series_of(
    result: Result, history: str = "all", achieved: Mapping[str, np.ndarray] | None = None
) -> dict[str, Series]:
    """Histories of loss, prediction and gradients, up to a divergence; final weights.

    ``achieved`` names what the final weights achieve, of shape (runs,); what is not finite
    is left out. It is the end of the history of its name, if there is one.
    """
    every = history_interval(history)
    runs, network = len(result), result.network
    # Larger networks have norms of their gradient, in all and of each layer.
    named = network.parameters <= MOST_NAMED_WEIGHTS
    names = network.parameter_names if named else []
    histories: dict[str, np.ndarray] = {}
    if result.loss is not None:
        histories["loss"] = result.loss
    finite = {"val_loss": result.val_loss, "val_accuracy": result.val_accuracy}
    if every:
        finite["sharpness"] = result.sharpness_history
        finite["sharpness_ratio"] = result.sharpness_ratio_history
    looks = {name: values for name, values in finite.items() if values is not None}
    if every is not None:
        histories |= looks
    if result.prediction is not None and every is not None:
        histories["prediction"] = result.prediction
    if result.gradients is not None and every is not None:
        if named:
            columns = np.moveaxis(result.gradients, 2, 0)
            histories |= {f"grad_{n}": column for n, column in zip(names, columns, strict=True)}
        else:
            layers = enumerate(parameters_of_layers(network), start=1)
            parts = {"grad_norm": slice(None), **{f"grad_norm_{i}": own for i, own in layers}}
            # The squares of a run that diverges may be too large.
            with np.errstate(over="ignore"):
                for name, own in parts.items():
                    histories[name] = np.linalg.norm(result.gradients[:, :, own], axis=2)
    diverged = result.diverged_at >= 0
    series: dict[str, Series] = {}
    steps, kept = _kept(result, every)
    some = kept.any(axis=0)
    if some.any():
        for name, values in histories.items():
            seen = kept[:, some]
            if name in looks:
                seen = seen & np.isfinite(values[:, some])
            series[name] = Series(values[:, some], steps[..., some], seen)

    def final(values: np.ndarray, steps: np.ndarray, kept: np.ndarray) -> Series:
        column = values.astype(np.float64)[:, np.newaxis]
        return Series(column, steps[:, np.newaxis], kept[:, np.newaxis])

    everywhere, end = np.ones(runs, dtype=bool), result.first_epoch + result.epochs
    if named:
        for index, name in enumerate(names):
            series[name] = final(result.weights[:, index], end, everywhere)
    if result.initial_sharpness is not None and every is not None:
        begun = np.isfinite(result.initial_sharpness) & (result.epochs > 0)
        begin = np.full(runs, result.first_epoch)
        series.setdefault("sharpness", final(result.initial_sharpness, begin, begun))
    ends = {n: values for n, values in result.curvature.items() if n in AT_THE_END}
    for name, values in {**ends, **(achieved or {})}.items():
        if np.isfinite(values).any():
            last = final(values, end, np.isfinite(values))
            series[name] = series[name].ended_by(last) if name in series else last
    if result.best_epoch is not None:
        series["best_epoch"] = final(result.best_epoch, end, everywhere)
    if diverged.any():
        series["diverged_at"] = final(result.diverged_at, result.diverged_at, diverged)
    if result.period.any():
        series["period"] = final(result.period, end, result.period > 0)
    if result.stall_code.any():
        series["stall"] = final(result.stall_code, end, result.stall_code > 0)
    died, at = result.died_at >= 0, result.highest_loss_at
    if died.any():
        series["died_at"] = final(result.died_at, result.died_at, died)
    # The highest loss of most runs is their first one, which their history has.
    later = at > result.first_epoch
    if later.any():
        series["highest_loss"] = final(result.highest_loss, at, later)
    return series


def _kept(result: Result, every: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Find which epochs of the histories a run keeps: each ``every``-th, and its own last.

    Returns
    -------
    The epochs of the histories, shape (records,), or (runs, records) where the last place holds
    another epoch for each run; and whether each is kept, shape (runs, records).
    """
    recorded, first = result.recorded, result.first_epoch
    last = (first + result.epochs - 1)[:, np.newaxis]
    wanted = (recorded - first) % every == 0 if every else np.zeros(len(recorded), dtype=bool)
    if result.records_every_epoch:
        return recorded, (recorded == last) | (wanted & (recorded < last))
    steps = np.tile(recorded, (len(result), 1))
    steps[:, -1:] = last
    return steps, np.hstack([wanted[:-1] & (steps[:, :-1] < last), last >= first])


def now() -> int:
    """Return the time as runs keep it, in milliseconds since 1970."""
    return int(time.time() * 1000)


def build_tags() -> dict[str, str]:
    """Tell what runs are computed with."""
    info = build_info()
    return {
        "backprop.version": info["version"],
        "backprop.profile": info["profile"],
        "backprop.simd": info["simd"],
        "numpy.version": np.__version__,
        "python.version": platform.python_version(),
    }
