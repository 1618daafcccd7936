"""Training, gradients and predictions of many networks: shapes in, one call into Rust."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backprop_svc import _core
from backprop_svc._core import Network

Floats = NDArray[np.float64]
Record = Literal["loss", "prediction", "gradients", "weights"]
RECORDS: tuple[Record, ...] = ("loss", "prediction", "gradients", "weights")


class Gradients(NamedTuple):
    """One forward and one backward pass."""

    loss: Floats
    """Mean loss over the rows, shape (runs,)."""
    gradients: Floats
    """∂L/∂w, shape (runs, parameters)."""


@dataclass(frozen=True, eq=False)
class Result:
    """What :func:`train` returns. The first axis of every array is the run.

    Epoch ``e`` of a history holds what was true *before* the update of epoch ``e``. After
    the epoch in which a run diverged its histories are NaN. A history that was not
    recorded is ``None``.
    """

    network: Network
    learning_rate: Floats
    """Shape (runs,)."""
    initial_weights: Floats
    """Shape (runs, parameters)."""
    weights: Floats
    """After the last update (of a diverged run: the last finite ones), (runs, parameters)."""
    outcome_code: NDArray[np.uint8]
    """Positions in :data:`OUTCOMES`, shape (runs,)."""
    diverged_at: NDArray[np.int64]
    """The epoch in which a run diverged, else -1; shape (runs,)."""
    period: NDArray[np.uint8]
    """Epochs after which an oscillating run's loss repeats, else 0; shape (runs,)."""
    loss: Floats | None
    """Shape (runs, epochs)."""
    prediction: Floats | None
    """Mean of ŷ over rows and outputs, shape (runs, epochs)."""
    gradients: Floats | None
    """Shape (runs, epochs, parameters)."""
    weight_history: Floats | None
    """The weights that made the epoch's prediction, shape (runs, epochs, parameters)."""

    @property
    def outcome(self) -> NDArray[np.str_]:
        """``converged``, ``dead``, ``diverged``, ``oscillating`` or ``unresolved``, (runs,).

        converged: the last loss or the largest gradient is at most the tolerance. dead:
        ReLU is off for every row, so the gradient is 0, and the loss is above the
        tolerance. diverged: loss or weights no longer finite, or the loss above the bound.
        oscillating: the loss repeats with a period of 2 to 16 epochs.
        """
        return OUTCOMES[self.outcome_code]

    def __len__(self) -> int:
        """Count the runs."""
        return len(self.weights)


OUTCOMES: NDArray[np.str_] = np.array(_core.OUTCOMES)


def train(
    network: Network,
    weights: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    learning_rate: ArrayLike = 0.1,
    epochs: int = 20,
    tolerance: float = 1e-6,
    divergence_bound: float = float("inf"),
    record: Collection[Record] = ("loss", "prediction", "gradients"),
    threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Result:
    """Train every run by gradient descent on the full batch, ``w ← w − lr·∂L/∂w``.

    The loss is L = ½(y − ŷ)², summed over outputs and averaged over rows. The arithmetic
    is that of plain Python, operation by operation, for any number of threads.

    Parameters
    ----------
    network
        The shape that all runs share.
    weights
        Initial weights, shape (runs, parameters) or (parameters,).
    x
        Inputs, shape (rows, inputs); (rows,) or a number for networks with one input.
    y
        Targets, shape (rows, outputs); (rows,) or a number for networks with one output.
    learning_rate
        Shape (runs,) or a number. One set of weights is repeated for many learning rates.
    epochs
        Number of updates, from 0.
    tolerance
        A run has converged when its last loss or its largest gradient is at most this.
    divergence_bound
        A run has diverged, and ends, when its loss is above this.
    record
        Which histories to keep: any of ``loss``, ``prediction``, ``gradients``, ``weights``.
    threads
        Number of threads; every core by default.
    progress
        Called every 50 ms of a longer call, with the epochs done and their total over all
        runs. What it raises ends the training.

    Raises
    ------
    ValueError
        Shapes that do not fit; values that are NaN, infinite or out of range.
    TypeError
        Values that are not numbers.
    MemoryError
        The histories do not fit in memory.
    KeyboardInterrupt
        Ctrl-C, while training.
    """
    rates = _floats("learning_rate", learning_rate)
    starts = _floats("weights", weights)
    if rates.ndim > 1:
        raise ValueError(
            f"learning_rate has shape {rates.shape}; allowed: a number or (runs,); "
            "give one learning rate for each run"
        )
    starts = _runs(network, starts)
    try:
        runs = np.broadcast_shapes(rates.shape, (len(starts),))[0]
    except ValueError:
        raise ValueError(
            f"learning_rate has {len(rates)} values and weights {len(starts)} runs; "
            "allowed: as many of both, or one of either; make them fit"
        ) from None
    rates = np.array(np.broadcast_to(rates, (runs,)))
    starts = np.array(np.broadcast_to(starts, (runs, network.parameters)))
    unknown = sorted(set(record) - set(RECORDS))
    if unknown:
        raise ValueError(
            f"record has {unknown[0]!r}; allowed: {', '.join(RECORDS)}; choose among them"
        )
    done = _core.train(
        network,
        starts,
        rates,
        _rows("x", x, network.inputs),
        _rows("y", y, network.outputs),
        epochs=_count("epochs", epochs, least=0),
        tolerance=tolerance,
        divergence_bound=divergence_bound,
        record_loss="loss" in record,
        record_prediction="prediction" in record,
        record_gradients="gradients" in record,
        record_weights="weights" in record,
        threads=None if threads is None else _count("threads", threads, least=1),
        progress=progress,
    )
    return Result(network=network, learning_rate=rates, initial_weights=starts, **done)


def gradients(network: Network, weights: ArrayLike, x: ArrayLike, y: ArrayLike) -> Gradients:
    """Loss and ∂L/∂w of one forward and one backward pass; shapes as for :func:`train`.

    >>> import backprop_svc as bp
    >>> bp.gradients(bp.Network(1, 1, 1), [0.5, 1.0], 2.0, 3.0)
    Gradients(loss=array([2.]), gradients=array([[-4., -2.]]))

    Raises
    ------
    ValueError
        Shapes that do not fit; values that are NaN or infinite.
    """
    starts = _runs(network, _floats("weights", weights))
    inputs, targets = _rows("x", x, network.inputs), _rows("y", y, network.outputs)
    return Gradients(*_core.gradients(network, starts, inputs, targets))


def predict(network: Network, weights: ArrayLike, x: ArrayLike) -> Floats:
    """ŷ of every run for every row, shape (runs, rows, outputs); see :func:`train`.

    >>> import backprop_svc as bp
    >>> bp.predict(bp.Network(1, 1, 1), [0.5, 1.0], 2.0)
    array([[[1.]]])

    Raises
    ------
    ValueError
        Shapes that do not fit; values that are NaN or infinite.
    """
    starts = _runs(network, _floats("weights", weights))
    return _core.predict(network, starts, _rows("x", x, network.inputs))


def _floats(name: str, values: ArrayLike) -> Floats:
    """Real numbers as float64; booleans, text and complex numbers are mistakes."""
    try:
        array: NDArray[Any] = np.asarray(values)
    except ValueError:
        raise ValueError(
            f"{name} is ragged; allowed: a rectangular array; make its rows equally long"
        ) from None
    if array.dtype.kind not in "iuf" and array.size:
        raise TypeError(f"{name} has type {array.dtype}; allowed: real numbers; convert it")
    return np.ascontiguousarray(array, dtype=np.float64).reshape(array.shape)


def _runs(network: Network, weights: Floats) -> Floats:
    parameters = network.parameters
    if weights.ndim == 1:
        weights = weights[np.newaxis]
    if weights.ndim != 2 or weights.shape[1] != parameters:
        raise ValueError(
            f"weights has shape {weights.shape}; allowed: (runs, {parameters}) or "
            f"({parameters},); give one value for each of {_some(network.parameter_names)}"
        )
    return weights


def _some(names: list[str]) -> str:
    return ", ".join(names if len(names) <= 6 else [*names[:3], "…", names[-1]])


def _rows(name: str, values: ArrayLike, columns: int) -> Floats:
    array = _floats(name, values)
    if columns == 1 and array.ndim < 2:
        array = array.reshape(-1, 1)
    elif array.ndim == 1:
        array = array[np.newaxis]
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(
            f"{name} has shape {array.shape}; allowed: (rows, {columns}); "
            "give one column for each neuron of that layer"
        )
    return array


def _count(name: str, value: int, least: int) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value < 2**63:
        raise ValueError(
            f"{name} is {value!r}; allowed: whole numbers from {least} to 2^63 − 1; correct it"
        )
    return int(value)
