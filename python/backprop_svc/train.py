"""Training, gradients and predictions of many networks: shapes in, one call into Rust."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backprop_svc import _core
from backprop_svc._core import Network
from backprop_svc.arrays import Floats
from backprop_svc.initial import seeded

Record = Literal["loss", "prediction", "gradients", "weights"]
RECORDS: tuple[Record, ...] = ("loss", "prediction", "gradients", "weights")
Optimizer = Literal["gradient_descent", "momentum", "nesterov", "adam"]
Schedule = Literal["constant", "step", "cosine"]
Precision = Literal["exact", "fast"]


class Gradients(NamedTuple):
    """One forward and one backward pass."""

    loss: Floats
    """Mean loss over the rows, shape (runs,)."""
    gradients: Floats
    """∂L/∂w, shape (runs, parameters)."""


@dataclass(frozen=True, eq=False)
class Result:
    """What :func:`train` returns. The first axis of every array is the run.

    Epoch ``e`` of a history holds what was true *before* the update of epoch ``e``; with
    mini-batches the mean over its rows, each before the update of its batch. After the epoch
    in which a run ended early its histories are NaN. A history that was not recorded is
    ``None``.

    Attributes
    ----------
    network
        The shape that all runs share.
    learning_rate
        Shape (runs,), or (runs, layers).
    initial_weights
        Shape (runs, parameters).
    weights
        After the last update (of a diverged run: the last finite ones), (runs, parameters).
    outcome_code
        Positions in :data:`OUTCOMES`, shape (runs,).
    epochs
        Epochs that a run went through, fewer than asked for if it ended early; (runs,).
    last_loss
        The loss in the last of its epochs, before the update; NaN without epochs; (runs,).
    loss_ratio
        Mean over the last 20 epochs of min(ℓ/ℓ₀, 10⁶), ℓ₀ the first loss, shape (runs,). A
        run that diverged has 10⁶ afterwards. Below 1 a run is trainable in the sense of
        Sohl-Dickstein, "The boundary of neural network trainability is fractal", arXiv
        2402.06184.
    period
        Epochs after which an oscillating run's loss repeats, else 0; shape (runs,).
    recorded
        Epochs that the histories hold, ascending; shape (records,).
    loss
        Shape (runs, records).
    prediction
        Mean of ŷ over rows and outputs, shape (runs, records).
    gradients
        Shape (runs, records, parameters).
    weight_history
        The weights that began the epoch, shape (runs, records, parameters).
    """

    network: Network
    learning_rate: Floats
    initial_weights: Floats
    weights: Floats
    outcome_code: NDArray[np.uint8]
    epochs: NDArray[np.int64]
    last_loss: Floats
    loss_ratio: Floats
    period: NDArray[np.uint8]
    recorded: NDArray[np.int64]
    loss: Floats | None
    prediction: Floats | None
    gradients: Floats | None
    weight_history: Floats | None

    @property
    def diverged_at(self) -> NDArray[np.int64]:
        """The epoch in which a run diverged, else -1; shape (runs,)."""
        return np.where(self.outcome_code == DIVERGED, self.epochs - 1, -1)

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
DIVERGED = _core.OUTCOMES.index("diverged")


@dataclass(frozen=True)
class _Settings:
    """The keyword arguments of :func:`train`, as the extension takes them."""

    epochs: int
    optimizer: str
    momentum: float
    beta2: float
    epsilon: float
    weight_decay: float
    schedule: str
    warmup: int
    step_epochs: int
    step_factor: float
    batch_size: int | None
    precision: str
    stop_early: bool
    time_limit: float | None
    tolerance: float
    divergence_bound: float
    record: list[str]
    record_every: int
    threads: int | None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kind, _, optional = str(field.type).partition(" | ")
            if kind in KINDS and not (optional and value is None):
                of, what = KINDS[kind]
                if not isinstance(value, of) or (isinstance(value, bool) and of is Real):
                    raise TypeError(
                        f"{field.name} is {value!r}; allowed: {what}"
                        f"{' or None' if optional else ''}; convert it, or leave it out"
                    )


KINDS: dict[str, tuple[Any, str]] = {
    "str": (str, "the name of one, a string"),
    "float": (Real, "a number"),
    "bool": ((bool, np.bool_), "True or False"),
}
"""Python's types by their names, and how to ask for them."""


def train(
    network: Network,
    weights: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    learning_rate: ArrayLike = 0.1,
    epochs: int = 20,
    optimizer: Optimizer = "gradient_descent",
    momentum: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    schedule: Schedule = "constant",
    warmup: int = 0,
    step_epochs: int = 10,
    step_factor: float = 0.5,
    batch_size: int | None = None,
    batch_seed: int = 0,
    precision: Precision = "exact",
    stop_early: bool = False,
    time_limit: float | None = None,
    tolerance: float = 1e-6,
    divergence_bound: float = float("inf"),
    record: Record | Collection[Record] = ("loss", "prediction", "gradients"),
    record_every: int = 1,
    threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Result:
    """Train every run by gradient descent, ``w ← w − lr·∂L/∂w``, or another optimizer.

    L is the loss of the network, averaged over rows. The arithmetic is that of plain
    Python, operation by operation, for any number of threads, unless ``precision`` is fast.

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
        A number, or shape (runs,), or (runs, layers) for one of each layer. One set of
        weights is repeated for many learning rates.
    epochs
        How often the data are gone through, from 0.
    optimizer
        ``"gradient_descent"``; ``"momentum"``, the heavy ball v ← βv + g, w ← w − lr·v
        (Polyak 1964); ``"nesterov"``, w ← w − lr·(g + βv) (Sutskever et al. 2013);
        ``"adam"`` (Kingma & Ba, arXiv 1412.6980, algorithm 1).
    momentum, beta2, epsilon
        β of the momentum, β₁ of Adam, from 0 to below 1; β₂ and ε of Adam.
    weight_decay
        λ, decoupled (Loshchilov & Hutter, arXiv 1711.05101): lr·λ·w more is taken from w.
    schedule
        Of the learning rate in epoch e: ``"constant"``; ``"step"``, times
        step_factor^⌊e / step_epochs⌋; ``"cosine"``, times ½(1 + cos(π·e/epochs))
        (Loshchilov & Hutter, arXiv 1608.03983).
    warmup
        Epochs W at the beginning with lr·(e + 1)/W (Goyal et al., arXiv 1706.02677); the
        schedule counts from their end.
    step_epochs, step_factor
        Of the schedule ``"step"``.
    batch_size
        Rows of a mini-batch; all of them by default. The last batch of an epoch may be smaller.
    batch_seed
        The rows of every epoch are shuffled by NumPy's RandomState with this seed, in the
        same way for all runs.
    precision
        ``"exact"`` rounds each product and each sum: the same bits on every machine.
        ``"fast"`` uses fused multiply-add where the machine has it.
    stop_early
        End a run once it has converged, instead of after all epochs.
    time_limit
        Seconds after which all runs end where they are, or at most 32 epochs further (looked
        at every 50 ms).
    tolerance
        A run has converged when its last loss or its largest gradient is at most this.
    divergence_bound
        A run has diverged, and ends, when its loss is above this.
    record
        Which histories to keep: one or more of ``loss``, ``prediction``, ``gradients``,
        ``weights``.
    record_every
        Keep each so many epochs, and the last.
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
    starts = _runs(network, weights)
    if rates.ndim > 2 or (rates.ndim == 2 and rates.shape[1] != network.layers):
        raise ValueError(
            f"learning_rate has shape {rates.shape}; allowed: a number, (runs,) or (runs, "
            f"{network.layers}); give one for each run, or for each run and layer"
        )
    try:
        runs = np.broadcast_shapes(rates.shape[:1], (len(starts),))[0]
    except ValueError:
        raise ValueError(
            f"learning_rate has {len(rates)} values and weights {len(starts)} runs; "
            "allowed: as many of both, or one of either; make them fit"
        ) from None
    # Copies of our own, in row order: nobody else changes them while threads read them.
    rates = np.array(np.broadcast_to(rates, (runs, *rates.shape[1:])), order="C")
    starts = np.array(np.broadcast_to(starts, (runs, network.parameters)), order="C")
    wanted: list[str] = [record] if isinstance(record, str) else [*record]
    for name in wanted:
        if name not in RECORDS:
            raise ValueError(
                f"record has {name!r}; allowed: {', '.join(RECORDS)}; choose among them"
            )
    inputs, targets = _rows("x", x, network.inputs), _rows("y", y, network.outputs)
    settings = _Settings(
        epochs=_count("epochs", epochs, least=0),
        optimizer=optimizer,
        momentum=momentum,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
        schedule=schedule,
        warmup=_count("warmup", warmup, least=0),
        step_epochs=_count("step_epochs", step_epochs, least=1),
        step_factor=step_factor,
        batch_size=None if batch_size is None else _count("batch_size", batch_size, least=1),
        precision=precision,
        stop_early=stop_early,
        time_limit=time_limit,
        tolerance=tolerance,
        divergence_bound=divergence_bound,
        record=wanted,
        record_every=_count("record_every", record_every, least=1),
        threads=None if threads is None else _count("threads", threads, least=1),
    )
    order = np.empty((0, 0), dtype=np.uint32)
    if batch_size is not None:
        order = _order(len(inputs), epochs, batch_seed)
    done = _core.train(network, starts, rates, inputs, targets, order, settings, progress)
    return Result(
        network=network,
        learning_rate=rates,
        initial_weights=starts,
        recorded=_recorded(epochs if wanted else 0, record_every),
        **done,
    )


def _recorded(epochs: int, every: int) -> NDArray[np.int64]:
    """Each so many epochs, and the last; shape (records,)."""
    last = [epochs - 1] if epochs and (epochs - 1) % every else []
    return np.append(np.arange(0, epochs, every), last).astype(np.int64)


def _order(rows: int, epochs: int, seed: int) -> NDArray[np.uint32]:
    """Shuffle the rows of every epoch, shape (epochs, rows)."""
    generator = seeded("batch_seed", seed)
    order = np.empty((epochs, rows), dtype=np.uint32)
    for epoch in order:
        epoch[:] = generator.permutation(rows)
    return order


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
    starts = _runs(network, weights)
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
    starts = _runs(network, weights)
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


def _runs(network: Network, values: ArrayLike) -> Floats:
    if not isinstance(network, Network):
        raise TypeError(f"network is {network!r}; allowed: a Network; try bp.Network(1, 1, 1)")
    parameters, weights = network.parameters, _floats("weights", values)
    given = weights.shape
    if weights.ndim == 1:
        weights = weights[np.newaxis]
    if weights.ndim != 2 or weights.shape[1] != parameters:
        raise ValueError(
            f"weights has shape {given}; allowed: (runs, {parameters}) or "
            f"({parameters},); give one value for each of {_some(network.parameter_names)}"
        )
    return weights


def _some(names: list[str]) -> str:
    return ", ".join(names if len(names) <= 6 else [*names[:3], "…", names[-1]])


def _rows(name: str, values: ArrayLike, columns: int) -> Floats:
    array = _floats(name, values)
    given = array.shape
    if columns == 1 and array.ndim < 2:
        array = array.reshape(-1, 1)
    elif array.ndim == 1:
        array = array[np.newaxis]
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(
            f"{name} has shape {given}; allowed: (rows, {columns}); give one column for each "
            f"{'input' if name == 'x' else 'output'} of the network"
        )
    return array


def _count(name: str, value: int, least: int) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value < 2**63:
        raise ValueError(
            f"{name} is {value!r}; allowed: whole numbers from {least} to 2^63 − 1; "
            f"try {name}=1"
        )
    return int(value)
