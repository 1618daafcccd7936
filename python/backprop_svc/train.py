"""Training of many networks: shapes in, one call into Rust."""

from __future__ import annotations

from collections.abc import Callable, Collection
from inspect import signature
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
from numpy.typing import ArrayLike

from backprop_svc import _core
from backprop_svc._core import Network
from backprop_svc.arrays import Floats, Integers, floats, pairs, parameters, validation_pairs
from backprop_svc.errors import SettingError, SettingTypeError, shown
from backprop_svc.hyperparameters import (
    OF_NETWORK,
    OF_TRAINING,
    Number,
    Own,
    Seeds,
    differs,
    repeated,
    runs_of,
    scalar,
    values,
)
from backprop_svc.measured import with_measured
from backprop_svc.result import Result
from backprop_svc.settings import Natural, Positive, check
from backprop_svc.state import State

Record = Literal["loss", "prediction", "gradients", "weights"]
RECORDS: tuple[Record, ...] = get_args(Record)
Optimizer = Literal["gradient_descent", "momentum", "nesterov", "adam"]
Schedule = Literal["constant", "step", "cosine"]
Precision = Literal["exact", "fast"]


def train(
    network: Network,
    weights: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    state: State | None = None,
    learning_rate: ArrayLike = 0.1,
    epochs: Natural = 20,
    optimizer: Optimizer = "gradient_descent",
    momentum: Number = 0.9,
    beta2: Number = 0.999,
    epsilon: float = 1e-8,
    weight_decay: Number = 0.0,
    schedule: Schedule = "constant",
    schedule_epochs: Positive | None = None,
    warmup: Natural = 0,
    step_epochs: Positive = 10,
    step_factor: float = 0.5,
    batch_size: Positive | None = None,
    batch_seed: Seeds = 0,
    gain: Number | None = None,
    negative_slope: Number | None = None,
    precision: Precision = "exact",
    stop_when_converged: bool = False,
    patience: Positive | None = None,
    min_delta: float = 0.0,
    time_limit: float | None = None,
    tolerance: float = 1e-6,
    divergence_bound: float = float("inf"),
    record: Record | Collection[Record] = ("loss", "prediction", "gradients"),
    record_every: Natural = 1,
    sharpness: bool = False,
    smallest_eigenvalue: bool = False,
    lyapunov_epochs: Positive | None = None,
    threads: Positive | None = None,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
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
    state
        The ``state`` of an earlier result, whose ``weights`` are then the initial ones. The
        training goes on with the bits of a single one of all epochs: schedule, mini-batches
        and the optimizer's memory are those of the epoch that comes next, and ``recorded``,
        ``diverged_at`` and the numbers of other epochs are numbered on. All other settings have
        to be given again, with ``schedule_epochs`` for the schedule ``"cosine"``.
        ``loss_ratio`` is compared with the first loss of this training, and outcomes,
        ``highest_loss`` and ``died_at`` are those of its epochs alone. Runs that diverged
        cannot go on, nor runs that ended at different epochs together: select them,
        ``result[result.state.epochs == 50]``.
    learning_rate
        A number, or shape (runs,), or (runs, layers) for one of each layer, where 0 freezes a
        layer. One set of weights is repeated for many learning rates, or for many values of
        any other setting that may have the shape (runs,).
    epochs
        How often the data are gone through, from 0; after a state, how often more.
    optimizer
        ``"gradient_descent"``; ``"momentum"``, the heavy ball v ← βv + g, w ← w − lr·v
        (Polyak 1964); ``"nesterov"``, w ← w − lr·(g + βv) (Sutskever et al. 2013);
        ``"adam"`` (Kingma & Ba, arXiv 1412.6980, algorithm 1).
    momentum, beta2, epsilon
        β of the momentum, β₁ of Adam, from 0 to below 1; β₂ and ε of Adam. The first two are a
        number, or one for each run, shape (runs,).
    weight_decay
        λ, decoupled (Loshchilov & Hutter, arXiv 1711.05101): lr·λ·w more is taken from w. A
        number, or shape (runs,).
    schedule
        Of the learning rate in epoch e: ``"constant"``; ``"step"``, times
        step_factor^⌊e / step_epochs⌋; ``"cosine"``, times ½(1 + cos(π·e/schedule_epochs))
        (Loshchilov & Hutter, arXiv 1608.03983).
    schedule_epochs
        Epochs over which the schedule goes, counted from the very first; those up to the end
        of this training by default. A training of 100 epochs in two parts needs 100 in both.
    warmup
        Epochs W at the beginning with lr·(e + 1)/W (Goyal et al., arXiv 1706.02677); the
        schedule counts from their end.
    step_epochs, step_factor
        Of the schedule ``"step"``.
    batch_size
        Rows of a mini-batch; all of them by default. The last batch of an epoch may be smaller.
    batch_seed
        The rows of every epoch are shuffled by NumPy's RandomState with this seed, in the
        same way for all runs that have the same: a whole number, or shape (runs,). Runs of one
        seed are trained side by side, so that many seeds take longer.
    gain, negative_slope
        Of the activation, in place of those of the network: a number, or shape (runs,). What
        looks at the weights afterwards has to be told them, too.
    precision
        ``"exact"`` rounds each product and each sum: the same bits on every machine.
        ``"fast"`` uses fused multiply-add where the machine has it.
    stop_when_converged
        End a run once its weights do not move any more, but for their last digits, instead of
        after all epochs: docs/outcomes.md.
    patience, min_delta
        Early stopping: end a run once its loss on the rows of validation has not become
        smaller, by more than min_delta, for so many epochs. It is looked at after every
        epoch. Every run then keeps the weights with which it was smallest.
    time_limit
        Seconds after which all runs end where they are, or at most 32 epochs further (looked
        at every 50 ms).
    tolerance
        How far from its minimum a run may be that is called converged, relative to its
        weights; never below the rounding of ``dtype``. It ends no run.
    divergence_bound
        A run has diverged, and ends, when its loss is above this.
    record
        Which histories to keep: one or more of ``loss``, ``prediction``, ``gradients``,
        ``weights``. With rows of validation ``loss`` keeps theirs too: ``val_loss``, and of a
        cross-entropy ``val_accuracy``.
    record_every
        1 keeps every epoch. k > 1 keeps every k-th, from the first on, and, in the last place,
        the last epoch that each run went through. 0 keeps that last epoch only.
    sharpness
        Compute the largest eigenvalue of the Hessian where each run began and where it ended,
        with recorded weights in every recorded epoch, too: see :func:`backprop_svc.sharpness`.
        That is done after the training, over all of its rows, by all cores.
    smallest_eigenvalue
        Compute the smallest eigenvalue of the Hessian where each run ended, in the same way:
        see :func:`backprop_svc.curvature`.
    lyapunov_epochs
        Measure the largest Lyapunov exponent of each run over so many epochs more, which go on
        where it ended, with the learning rate without its schedule: see
        :func:`backprop_svc.lyapunov_exponent`. No time limit ends that.
    threads
        Number of threads; every core by default. At most 64 are started, or four on each core
        where these are more.
    validation
        Inputs and targets that are not trained on.
    progress
        Called every 50 ms of a longer call, with the epochs done and their total over all
        runs. What it raises ends the training.

    Raises
    ------
    ValueError
        Shapes that do not fit; values that are NaN, infinite or out of range; no layer with a
        learning rate above 0; patience without validation.
    TypeError
        Values that are not numbers.
    MemoryError
        The histories do not fit in memory.
    KeyboardInterrupt
        Ctrl-C, while training.
    """
    # Before any other name is bound: these are the arguments.
    settings, own = _settings(locals())
    given = parameters(network, weights)
    # All shapes before the copies.
    inputs, targets = pairs(network, x, y)
    aside = validation_pairs(network, validation)
    starts, rates, own = _starts(given, learning_rate, own, network.layers)
    first_epoch, memory = _goes_on(state, network, settings.optimizer, len(starts))
    if progress is not None and not callable(progress):
        raise SettingTypeError(
            "progress", shown(progress), "a function of two numbers or None", "leave it out"
        )
    if aside is None and settings.patience is not None:
        raise SettingError(
            "patience", f"{settings.patience}, without rows of validation",
            "with rows that are not trained on", "give validation=(x, y), or leave {name} out",
        )  # fmt: skip
    if aside is not None and "loss" in settings.record:
        settings.record.append("val_loss")
    done = _core.train(
        network, starts, rates, own, memory, first_epoch, inputs, targets, aside, settings,
        progress,
    )  # fmt: skip
    if done["best_epoch"] is not None:
        done["best_epoch"] += first_epoch
    for name in ("died_at", "highest_loss_at") if first_epoch else ():
        done[name][done[name] >= 0] += first_epoch
    result = Result(
        network=network,
        learning_rate=rates,
        initial_weights=starts,
        hyperparameters=own,
        optimizer=settings.optimizer,
        first_epoch=first_epoch,
        recorded=first_epoch
        + _recorded(settings.epochs if settings.record else 0, settings.record_every),
        **done,
    )
    return with_measured(result, inputs, targets, settings, train)


_HINTS = get_type_hints(train, include_extras=True)
DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in signature(train).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
    and name not in {"state", "learning_rate", "validation", "progress", *OF_NETWORK}
}
"""The settings of :func:`train`: its signature alone spells them out."""
SETTINGS: dict[str, Any] = {name: scalar(_HINTS[name]) for name in DEFAULTS}
"""Their types, those of single values."""
SHARED = {n: value for n, value in DEFAULTS.items() if n not in {"record", "record_every"}}
"""Those that all runs of a sweep share, with their defaults."""


def _settings(arguments: dict[str, Any]) -> tuple[SimpleNamespace, Own]:
    """Return the settings among the arguments, as the extension takes them.

    Those that are arrays come apart from the others, which are checked.
    """
    several = {name: arguments[name] for name in OF_TRAINING if differs(arguments[name])}
    of_network = {n: arguments[n] for n in OF_NETWORK if arguments[n] is not None}
    shared = {**arguments, **{name: DEFAULTS[name] for name in several}}
    kinds = {name: kind for name, kind in SETTINGS.items() if name != "record"}
    checked = {name: check(name, shared[name], kind) for name, kind in kinds.items()}
    settings = SimpleNamespace(**checked, record=_histories(arguments["record"]))
    return settings, values(several | of_network)


def _histories(record: object) -> list[str]:
    """Return the names of the histories to keep."""
    if isinstance(record, str):
        record = [record]
    try:
        if not isinstance(record, Collection):
            raise TypeError
        return [check("record", name, Record) for name in record]
    except SettingError:
        raise
    except Exception:
        # Objects may raise anything when they are looked at.
        allowed = f"one or more of {', '.join(RECORDS)}"
        raise SettingTypeError("record", shown(record), allowed, "give a list") from None


def _starts(
    weights: Floats, learning_rate: ArrayLike, own: Own, layers: int
) -> tuple[Floats, Floats, Own]:
    """Return initial weights, learning rates and what else runs have of their own.

    There are as many of each as there are runs; a single one is repeated.
    """
    rates = floats("learning_rate", learning_rate)
    if rates.ndim > 2 or (rates.ndim == 2 and rates.shape[1] != layers):
        raise SettingError(
            "learning_rate",
            f"shape {rates.shape}",
            f"a number, (runs,) or (runs, {layers})",
            "give one for each run, or for each run and layer",
            verb="has",
        )
    rates = np.atleast_1d(rates)
    each = {"weights": weights, "learning_rate": rates, **own}
    runs = runs_of({name: len(given) for name, given in each.items()})
    # Copies of our own, in row order: nobody else changes them while threads read them.
    return (
        repeated(weights, runs),
        repeated(rates, runs),
        {name: repeated(given, runs) for name, given in own.items()},
    )


def _goes_on(
    state: object, network: Network, optimizer: str, runs: int
) -> tuple[int, Floats | None]:
    """Return the number of the first epoch, and what the optimizer remembers of each run."""
    if state is None:
        return 0, None
    if type(state) is not State:
        raise SettingTypeError("state", shown(state), "a State or None", "try result.state")
    return state.of(network, optimizer, runs)


def _recorded(epochs: int, every: int) -> Integers:
    """Epochs of the places in a history: multiples of ``every``, then the last epoch."""
    regular = np.arange(0, epochs if every == 1 else max(0, epochs - 1), every or epochs or 1)
    if every == 1 or not epochs:
        return regular.astype(np.int64)
    # An empty list would be of floats, which round the last of 2^62 epochs.
    return np.append(regular if every else regular[:0], epochs - 1).astype(np.int64)
