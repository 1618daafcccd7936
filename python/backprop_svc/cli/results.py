"""The table of a sweep: a row for each run."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from numpy.typing import NDArray

from backprop_svc.arrays import Floats
from backprop_svc.cli.overrides import name_of, split, written
from backprop_svc.cli.part import Part
from backprop_svc.result import OUTCOMES


class Table:
    """The results of all parts, one row for each run."""

    def __init__(self, parts: list[Part], sweep: str) -> None:
        self._parts, self._sweep = parts, sweep
        self.loss: Floats = np.concatenate([part.loss for part in parts])
        self.outcome: NDArray[np.str_] = np.concatenate([part.outcome for part in parts])
        names = parts[0].points
        self.axes: dict[str, Floats] = {
            name: np.concatenate([part.points[name] for part in parts]) for name in names
        }

    def __len__(self) -> int:
        return len(self.loss)

    def shares(self) -> dict[str, float]:
        """Return the share of runs with each outcome."""
        return {str(name): float((self.outcome == name).mean()) for name in OUTCOMES}

    def best_loss(self) -> float:
        """Return the smallest last loss, NaN if none is finite."""
        finite = self.loss[np.isfinite(self.loss)]
        return float(finite.min()) if finite.size else float("nan")

    def best(self, count: int) -> list[dict[str, str]]:
        """Return the runs with the smallest losses."""
        common = set.intersection(*(set(part.overrides) for part in self._parts))
        rows = np.argsort(self.loss, kind="stable")[:count]
        sizes = [len(part.loss) for part in self._parts]
        owner = np.repeat(np.arange(len(sizes)), sizes)
        table = []
        for row in rows.tolist():
            own = [word for word in self._parts[owner[row]].overrides if word not in common]
            words = dict(map(split, own))
            points = {name: f"{column[row]:.6g}" for name, column in self.axes.items()}
            found = {"loss": f"{self.loss[row]:.6g}", "outcome": str(self.outcome[row])}
            table.append({**words, **points, **found})
        return table

    @cached_property
    def parquet(self) -> bytes:
        """One row a run: its id, its point, last loss, outcome and final weights."""
        import pyarrow as pa
        from pyarrow import parquet

        buffer = io.BytesIO()
        read = OverridesParser.create().parse_override
        settings = [
            {name_of(word): read(word) for word in part.overrides} for part in self._parts
        ]
        typed = {name: _typed([own[name] for own in settings]) for name in settings[0]}
        tables = [
            pa.table(self._columns(part, {name: typed[name][i] for name in typed}))
            for i, part in enumerate(self._parts)
        ]
        # Large networks keep no weights, also beside small ones; nor do all have accuracies.
        schema = pa.unify_schemas(
            [table.schema for table in tables], promote_options="permissive"
        )
        with parquet.ParquetWriter(buffer, schema) as writer:
            for table in tables:
                missing = [name for name in schema.names if name not in table.column_names]
                for name in missing:
                    table = table.append_column(name, pa.nulls(len(table)))
                writer.write_table(table.select(schema.names).cast(schema))
        return buffer.getvalue()

    def write(self, results: str) -> None:
        """Write it over the file that ``sweep.results`` names."""
        with _writable(results):
            Path(results).write_bytes(self.parquet)

    def _columns(self, part: Part, settings: dict[str, Any]) -> dict[str, object]:
        import pyarrow as pa

        count = len(part.loss)
        columns: dict[str, object] = {
            "run_id": [f"{self._sweep}{part.first + i:016x}" for i in range(count)]
        }
        for name, value in settings.items():
            column = pa.repeat(value, count)
            text = pa.types.is_string(column.type)
            columns[name] = column.dictionary_encode() if text else column
        columns |= part.points
        if "init.seed" in part.points:
            columns["init.seed"] = part.points["init.seed"].astype(np.int64)
        columns |= {
            "loss": part.loss,
            "outcome": pa.array(part.outcome).dictionary_encode(),
            "epochs": part.epochs,
            "diverged_at": part.diverged_at,
            "period": part.period,
            "loss_ratio": part.loss_ratio,
            **part.achieved,
        }
        if part.weights is not None:
            columns["weights"] = pa.array(list(part.weights), pa.list_(pa.float64()))
        return columns


def _typed(overrides: list[Override]) -> Any:
    """Return the values of a setting as an Arrow array: text, where nothing else holds all."""
    import pyarrow as pa

    values: list[Any] = [override.value() for override in overrides]
    given = [value for value in values if value is not None]
    kinds = set(map(type, given))
    if kinds == {int, float} or (kinds == {int} and max(map(abs, given)) >= 2**63):
        # A column is of one type, and an integer of Arrow has 64 bits.
        values = [None if value is None else float(value) for value in values]
    elif len(kinds) > 1 or kinds & {list, dict}:
        values = [written(value) if value is not None else None for value in values]
    return pa.array(values)


def check_file(results: str) -> None:
    """Refuse a file that cannot be written, before hours go into what it is for."""
    if not results.endswith(".parquet"):
        raise ValueError(
            f"sweep.results is {results!r}; allowed: a Parquet file; try "
            "sweep.results=map.parquet"
        )
    # What a link points to, not the link.
    path = Path(results).resolve()
    with _writable(results):
        try:
            path.open("xb").close()
        except FileExistsError:
            path.open("ab").close()
        else:
            path.unlink()


@contextmanager
def _writable(results: str) -> Iterator[None]:
    """Name the setting when its file cannot be written."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"sweep.results is {results!r}, which cannot be written ({error.strerror}); "
            "allowed: a file in a folder that exists; choose another name, or make the folder"
        ) from error
