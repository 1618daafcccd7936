"""The outcomes of a sweep, as columns with one row for each run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backprop_svc.arrays import Floats
from backprop_svc.arrow import lists, numbers, texts
from backprop_svc.errors import counted
from backprop_svc.metric import objective
from backprop_svc.page import Page
from backprop_svc.result import HISTORIES, OUTCOMES
from backprop_svc.settings import Natural, check
from backprop_svc.sweep import repeats
from backprop_svc.sweep.axes import BATCH_SEED
from backprop_svc.sweep.chunk import Chunk, percentages

if TYPE_CHECKING:
    import pandas as pd

    from backprop_svc.sweep.experiment import Experiment

REPORT = "backprop_svc.plots.page:report"
"""What makes a report, by its name: it is imported where one is made."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What came of the runs of a sweep, in their order: :func:`backprop_svc.sweep`.

    ``len(outcomes)`` counts the runs. ``outcomes["loss"]`` is a column, shape (runs,): one
    of the axes, or ``loss`` (the last one, infinite where the run diverged), ``outcome``,
    ``stall``, ``period``, ``died_at``, ``diverged_at``, ``epochs``, ``loss_ratio``,
    ``highest_loss``, ``highest_loss_at``, and ``accuracy``, ``val_loss``, ``val_accuracy``
    where they apply; with ``sharpness=True`` ``initial_sharpness``, ``sharpness`` and
    ``sharpness_ratio``; ``smallest_eigenvalue`` and ``lyapunov_exponent`` where they were
    asked for.

    Attributes
    ----------
    sweep
        The identity of the sweep, 16 hex digits.
    chunks
        The runs, as they were trained.
    written
        Runs that were written to the tracking store, and had not been there before.
    place
        Where to look at the sweep, if it was tracked.
    spans
        Begin and end of the work for these runs, in seconds since 1970, one for each job.
    experiment
        What all of them share, where that is one thing.
    """

    sweep: str
    chunks: Sequence[Chunk]
    written: int = 0
    place: str | None = None
    spans: Sequence[tuple[float, float]] = ()
    experiment: Experiment | None = None

    @classmethod
    def join(cls, shards: Sequence[Outcomes]) -> Outcomes:
        """Put the outcomes of shards and configurations of one sweep together."""
        chunks = [chunk for shard in shards for chunk in shard.chunks]
        spans = [span for shard in shards for span in shard.spans]
        written = sum(shard.written for shard in shards)
        return cls(shards[0].sweep, chunks, written, spans=spans)

    def with_settings(self, settings: Mapping[str, Any]) -> Outcomes:
        """Add the settings that distinguish these runs from those of other configurations."""
        return replace(self, chunks=[replace(c, settings=settings) for c in self.chunks])

    def __len__(self) -> int:
        return sum(len(chunk.result) for chunk in self.chunks)

    # The length counts runs and the keys are columns, so iteration would be ambiguous.
    __iter__: ClassVar[None] = None

    def __getitem__(self, name: str) -> NDArray[Any]:
        name = check("a column", name, str)
        return np.concatenate([chunk[name] for chunk in self.chunks])

    def __repr__(self) -> str:
        return (
            f"<Outcomes of sweep {self.sweep}: {counted(len(self), 'run')}; {self.told()}; "
            f"best loss {self.best_loss():.6g}>"
        )

    @cached_property
    def points(self) -> dict[str, Floats]:
        """Values of each axis, shape (runs,)."""
        return {name: self[name] for name in self.chunks[0].points.values}

    @cached_property
    def loss(self) -> Floats:
        """The last loss, infinite where a run diverged, NaN without epochs; shape (runs,)."""
        return np.concatenate([chunk.loss for chunk in self.chunks])

    @cached_property
    def outcome(self) -> NDArray[np.str_]:
        """The outcome of each run: see :class:`Result`; shape (runs,)."""
        return np.concatenate([chunk.result.outcome for chunk in self.chunks])

    @cached_property
    def outcome_code(self) -> NDArray[np.uint8]:
        """Positions of the outcomes in :data:`OUTCOMES`; shape (runs,)."""
        return np.concatenate([chunk.result.outcome_code for chunk in self.chunks])

    @cached_property
    def objective(self) -> Floats:
        """What tells which run is the best, the smallest one; shape (runs,)."""
        return objective(self.metric, self.scores)

    @cached_property
    def results(self) -> dict[str, NDArray[Any]]:
        """The columns that all runs have, beside those of the axes; each of shape (runs,)."""
        columns = [chunk.columns() for chunk in self.chunks]
        shared = [name for name in columns[0] if all(name in other for other in columns)]
        return {name: np.concatenate([own[name] for own in columns]) for name in shared}

    @property
    def out_of_time(self) -> int:
        """Runs that the time limit ended before their last epoch."""
        return sum(chunk.out_of_time for chunk in self.chunks)

    @property
    def there(self) -> int:
        """Runs that were in the store already, since the sweep was resumed."""
        return sum(chunk.there for chunk in self.chunks)

    @property
    def seconds(self) -> float:
        """How long the runs were trained and written; jobs side by side count once."""
        total, until = 0.0, float("-inf")
        for begin, end in sorted(self.spans):
            total += max(0.0, end - max(begin, until))
            until = max(until, end)
        return total

    @property
    def rate(self) -> float:
        """Runs that this sweep did in a second: trained and, where it is tracked, written."""
        return (len(self) - self.there) / max(self.seconds, 1e-9)

    def histories(self) -> dict[str, Floats]:
        """Return the histories that were kept; each of shape (runs, records, …)."""
        found = {}
        for name, where in HISTORIES.items():
            kept = [getattr(chunk.result, where) for chunk in self.chunks]
            if kept and all(history is not None for history in kept):
                found[name] = np.concatenate(kept)
        return found

    def shares(self) -> dict[str, float]:
        """Return the share of the runs with each outcome."""
        counts = self._counts()
        return dict(zip(OUTCOMES.tolist(), (counts / counts.sum()).tolist(), strict=True))

    def told(self) -> str:
        """Write the shares as percentages that add up to 100."""
        counts = self._counts()
        shares = zip(percentages(counts, 1), OUTCOMES.tolist(), counts.tolist(), strict=True)
        return ", ".join(f"{share}% {name}" for share, name, count in shares if count)

    @property
    def metric(self) -> str:
        """What tells which run is the best: ``loss``, ``val_loss``, ``r2`` and so on."""
        return self.chunks[0].metric

    @cached_property
    def scores(self) -> Floats:
        """The metric of each run, its worst value, ∞ or −∞, where it has none; (runs,)."""
        return np.concatenate([chunk.scores for chunk in self.chunks])

    def best_score(self) -> float:
        """Return the best value of the metric, NaN if no run has a finite one."""
        best = self.objective.min()
        return float(objective(self.metric, best)) if np.isfinite(best) else float("nan")

    def ties(self) -> int:
        """Count the runs that have the best value of the metric."""
        return int((self.scores == self.best_score()).sum())

    def ties_told(self) -> str:
        """Say how many runs have the best value of the metric; nothing where one has it."""
        ties = self.ties()
        if ties < 2:
            return ""
        return f"{counted(ties, 'run')} tie for the best {self.metric}, {self.best_score():.6g}"

    def best_loss(self) -> float:
        """Return the smallest last loss, NaN if none is finite."""
        finite = self.loss[np.isfinite(self.loss)]
        return float(finite.min()) if finite.size else float("nan")

    def best(self, count: Natural = 10) -> list[dict[str, Any]]:
        """Return the best runs: the columns of each by their names.

        They have the best values of :attr:`metric`; equal ones are in the order of the sweep.

        Raises
        ------
        SettingError
            The count is no whole number from 0.
        """
        rows = np.argsort(self.objective, kind="stable")[: check("count", count, Natural)]
        found = []
        for chunk, own in map(self.owner, rows.tolist()):
            columns = chunk.points.values | chunk.columns()
            values = {name: column[own].item() for name, column in columns.items()}
            run = {"run_id": self._run_id(chunk.first + own)}
            found.append({**run, **chunk.settings, **values})
        return found

    @cached_property
    def seeds(self) -> tuple[str, ...]:
        """The axes that are seeds: of initial weights, of batches, of rows of validation."""
        return repeats.seeds(self)

    def best_settings(self, count: Natural = 10) -> list[dict[str, Any]]:
        """Return the best settings: runs that differ in nothing but seeds are one setting.

        Each is a dictionary of its axes and settings without seeds, with ``mean`` and
        ``deviation`` (that of a sample, NaN for one run) of :attr:`metric` over its runs,
        ``runs``, how many these are, ``failed``, how many of them have no finite value and are
        left out of both, and ``best_run_id``. Settings with the smallest share of failed runs
        come first, among them those with the best mean.

        Raises
        ------
        SettingError
            The count is no whole number from 0.
        """
        return repeats.best_settings(self, check("count", count, Natural))

    def to_arrow(self) -> Any:
        """Return a :class:`pyarrow.Table` with one row for each run.

        Its columns are the run's id in MLflow, the settings of its configuration, its
        point, what came of it, and the final weights of small networks.
        """
        import pyarrow as pa

        tables = [pa.table(self._arrow(chunk)) for chunk in self.chunks]
        # Chunks can differ in their columns: large networks keep no weights, and not every
        # network has an accuracy.
        return pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()

    def to_pandas(self) -> pd.DataFrame:
        """Return a data frame with the columns of :meth:`to_arrow`, one row for each run."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def report(self) -> Page:
        """Return a page that answers questions about the sweep, as MLflow has it too.

        A notebook shows it, ``.save("report.html")`` writes it into a file that needs no
        network. See docs/report.md for what it shows.

        >>> import backprop_svc as bp
        >>> rates = bp.LogInterval(0.01, 1)
        >>> outcomes = bp.sweep(bp.Network(1, 1, 1), 2.0, 3.0, {"lr": rates}, epochs=5)
        >>> outcomes.report().save("report.html")  # doctest: +SKIP
        """
        found: Page = resolve_name(REPORT)(self)
        return found

    @cached_property
    def parquet(self) -> bytes:
        """The table of :meth:`to_arrow` as the content of a Parquet file."""
        from pyarrow import parquet

        buffer = io.BytesIO()
        parquet.write_table(self.to_arrow(), buffer)
        return buffer.getvalue()

    def _counts(self) -> NDArray[np.int64]:
        counts = np.zeros(len(OUTCOMES), dtype=np.int64)
        for chunk in self.chunks:
            counts += chunk.counts
        return counts

    def run_id(self, row: int) -> str:
        """Return the id of a run by its row."""
        chunk, own = self.owner(row)
        return self._run_id(chunk.first + own)

    def owner(self, row: int) -> tuple[Chunk, int]:
        """Return the chunk that a row is of, and its place there."""
        owner = int(np.searchsorted(self._ends, row, side="right"))
        chunk = self.chunks[owner]
        return chunk, row - int(self._ends[owner]) + len(chunk.result)

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum([len(chunk.result) for chunk in self.chunks])

    def _run_id(self, position: int) -> str:
        return f"{self.sweep}{position:016x}"

    def _arrow(self, chunk: Chunk) -> dict[str, Any]:
        import pyarrow as pa

        count = len(chunk.result)
        columns: dict[str, Any] = {
            "run_id": texts([self._run_id(chunk.first + row) for row in range(count)])
        }
        for name, value in chunk.settings.items():
            column = pa.repeat(value, count)
            columns[name] = column.dictionary_encode() if isinstance(value, str) else column
        values = dict(chunk.points.values)
        for seed in {"init.seed", BATCH_SEED} & set(values):
            values[seed] = values[seed].astype(np.int64)
        values |= chunk.columns()
        columns |= {name: numbers(column) for name, column in values.items()}
        for name in ("outcome", "stall"):
            columns[name] = columns[name].dictionary_encode()
        if chunk.result.weights.shape[1]:
            columns["weights"] = lists(chunk.result.weights)
        return columns
