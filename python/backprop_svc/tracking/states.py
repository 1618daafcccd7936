"""The state in which each run ended: a Parquet file for each chunk of runs.

The weights of larger networks would be too many metrics. So they are a column, in files that
whoever has nothing but MLflow and pyarrow can read. A file has the runs that are written
together, and is there before them. It is named by their positions, the first and the last one,
and their count: the same runs that are written again replace their file, and no others.

So that training can go on, a file has the epoch in which each run ended, too, and what the
optimizer remembers, where it remembers something.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from backprop_svc._core import Network
from backprop_svc.arrays import Floats
from backprop_svc.arrow import numbers, read_numbers
from backprop_svc.datasets import Preparation
from backprop_svc.errors import SettingError, shown
from backprop_svc.hyperparameters import OF_NETWORK, Own, of_network, part, with_own
from backprop_svc.result import Result
from backprop_svc.state import State

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "weights"
"""The folder of the files among the artifacts of a sweep, or of a single run."""
SUFFIX = ".parquet"
NETWORK, PREPARATION = b"backprop.network", b"backprop.preparation"
"""In the metadata of a file: the network that its runs share, and what was done to the columns
of their data, as JSON."""
OPTIMIZER = b"backprop.optimizer"
"""There too: its name."""

Keep = Literal["all", "best", "none"]
KEEPS: tuple[Keep, ...] = get_args(Keep)


def check_keep(keep: object) -> Keep:
    """Read of which runs the final weights are kept.

    Raises
    ------
    SettingError
        It is none of ``all``, ``best`` and ``none``.
    """
    for known in KEEPS:
        if keep == known and isinstance(keep, str):
            return known
    raise SettingError(
        "weights", shown(keep), "all, best (of each chunk of runs), none", "choose one of them"
    )


@dataclass(frozen=True)
class States:
    """Where some runs of one network ended."""

    network: Network
    """But for what runs have of their own."""
    index: NDArray[np.int64]
    """Position of each run in its sweep, shape (runs,)."""
    weights: Floats
    """After the last update, shape (runs, parameters)."""
    gradients: Floats
    """∂L/∂w of the last epoch, taken before its update; NaN without epochs; shape (runs,
    parameters)."""
    preparation: Preparation | None = None
    """What was done to the columns of the data."""
    state: State | None = None
    """What training goes on from; files of earlier versions have none."""
    own: Own = field(default_factory=dict)
    """Settings of the network that each run has of its own, by their names, shape (runs,)."""

    @classmethod
    def of(
        cls,
        result: Result,
        first: int,
        keep: Keep,
        values: Floats,
        preparation: Preparation | None = None,
    ) -> States | None:
        """Return the states that are kept of neighbouring runs, from a position on.

        The best of them has the smallest of ``values``, shape (runs,).
        """
        rows = np.arange(len(result))
        if keep == "none" or not len(result):
            return None
        if keep == "best":
            rows = rows[[int(values.argmin())]]
        return cls(
            result.network,
            rows + first,
            result.weights[rows],
            result.final_gradients[rows],
            preparation,
            result.state[rows],
            part(of_network(result.hyperparameters), rows),
        )

    def network_of(self, row: int) -> Network:
        """Return the network of a run by its place here."""
        own = {name: values[row].item() for name, values in self.own.items()}
        return with_own(self.network, **own) if own else self.network

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        own = self.index.nbytes + self.weights.nbytes + self.gradients.nbytes
        own += sum(values.nbytes for values in self.own.values())
        if self.state is None:
            return own
        return own + self.state.epochs.nbytes + self.state.memory.nbytes

    def among(self, positions: NDArray[np.int64]) -> States | None:
        """Only the runs at these positions; ``None`` if none of them is here."""
        rows = np.flatnonzero(np.isin(self.index, positions))
        if not len(rows):
            return None
        return replace(
            self,
            index=self.index[rows],
            weights=self.weights[rows],
            gradients=self.gradients[rows],
            state=None if self.state is None else self.state[rows],
            own=part(self.own, rows),
        )

    def files(self) -> dict[str, bytes]:
        """Return the artifacts that keep them: path and content."""
        import pyarrow as pa
        from pyarrow import parquet

        size = self.network.parameters
        columns = {
            "index": numbers(self.index),
            "weights": _list_of_rows(self.weights, size),
            "gradients": _list_of_rows(self.gradients, size),
            **{name: numbers(values) for name, values in self.own.items()},
        }
        told = {NETWORK: to_json(self.network)}
        if self.preparation is not None:
            told[PREPARATION] = self.preparation.to_json()
        if self.state is not None:
            told[OPTIMIZER] = self.state.optimizer
            columns["epoch"] = numbers(self.state.epochs)
            values = self.state.memory.shape[1]
            if values:
                columns["memory"] = _list_of_rows(self.state.memory, values)
        table = pa.table(columns).replace_schema_metadata(told)
        buffer = io.BytesIO()
        # Weights look like noise: a dictionary or a compression would only take time.
        parquet.write_table(table, buffer, use_dictionary=False, compression="none")
        return {path_of(self.index): buffer.getvalue()}


def parameters_of_layers(network: Network) -> list[slice]:
    """Return which parameters each layer has: its matrix, then its biases."""
    ends = np.cumsum([(i + network.bias) * o for i, o in pairwise(network.sizes)]).tolist()
    return [slice(start, end) for start, end in pairwise([0, *ends])]


def path_of(index: NDArray[np.int64]) -> str:
    """Name the file of the runs at these positions."""
    return f"{FOLDER}/{index[0]:016x}-{index[-1]:016x}-{len(index):x}{SUFFIX}"


def span_of(path: str) -> range | None:
    """Return between which positions the runs of a file are; ``None`` of another file."""
    found = re.search(r"/([0-9a-f]{16})-([0-9a-f]{16})-[0-9a-f]+\.parquet$", path)
    return None if found is None else range(int(found[1], 16), int(found[2], 16) + 1)


def read(file: str) -> States:
    """Read a file of states."""
    from pyarrow import parquet

    # The function for whole folders of files would import pandas.
    with parquet.ParquetFile(file) as opened:
        table = opened.read()
    told = table.schema.metadata
    network = from_json(told[NETWORK])
    preparation = told.get(PREPARATION)
    return States(
        network,
        read_numbers(table["index"], np.int64),
        _rows_of(table["weights"], network.parameters),
        _rows_of(table["gradients"], network.parameters),
        None if preparation is None else Preparation.from_json(preparation.decode()),
        _state_of(table),
        {n: read_numbers(table[n], np.float64) for n in OF_NETWORK if n in table.column_names},
    )


def _state_of(table: pa.Table) -> State | None:
    optimizer = table.schema.metadata.get(OPTIMIZER)
    if optimizer is None:
        return None
    memory = np.empty((table.num_rows, 0))
    if "memory" in table.column_names:
        memory = _rows_of(table["memory"], table.schema.field("memory").type.list_size)
    return State(optimizer.decode(), read_numbers(table["epoch"], np.int64), memory)


def to_json(network: Network) -> str:
    """Write a network down; :func:`from_json` reads it."""
    sizes, settings = network.__getnewargs_ex__()
    return json.dumps({"sizes": sizes, **settings})


def from_json(text: str | bytes) -> Network:
    """Make the network that :func:`to_json` wrote down."""
    settings: Mapping[str, Any] = json.loads(text)
    others = {name: value for name, value in settings.items() if name != "sizes"}
    return Network(*settings["sizes"], **others)


def _list_of_rows(values: Floats, size: int) -> pa.Array:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(numbers(values.reshape(-1)), size)


def _rows_of(column: pa.ChunkedArray, size: int) -> Floats:
    return read_numbers(column, np.float64).reshape(-1, size)
