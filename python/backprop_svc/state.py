"""Where a training ended, besides its weights: what it goes on from."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backprop_svc._core import Network
from backprop_svc.arrays import Floats, Integers, array, floats
from backprop_svc.errors import SettingError, SettingTypeError, counted, shown

DIVERGED_EPOCH = -1
"""The epoch with which a run that diverged goes on: none."""


@dataclass(frozen=True, init=False, eq=False, repr=False)
class State:
    """What :func:`train` needs besides the weights to go on where it ended.

    It is the ``state`` of a :class:`Result` or of a tracked run. Like a result it has a run
    axis, ``len``, and an index for some of its runs, and it can be pickled.

    >>> import backprop_svc as bp
    >>> guide = bp.Network(1, 1, 1)
    >>> whole = bp.train(guide, [0.5, 1.0], 2, 3, epochs=100, optimizer="adam")
    >>> half = bp.train(guide, [0.5, 1.0], 2, 3, epochs=50, optimizer="adam")
    >>> half.state
    State of 1 run before epoch 50 of adam
    >>> rest = bp.train(
    ...     guide, half.weights, 2, 3, epochs=50, optimizer="adam", state=half.state
    ... )
    >>> bool((rest.weights == whole.weights).all())
    True

    Parameters
    ----------
    optimizer
        The name of the optimizer that trained.
    epochs
        Epochs that each run has been through, which is the number of its next one; −1 for a
        run that diverged, which cannot go on. Shape (runs,).
    memory
        What the optimizer remembers of each run, shape (runs, values): nothing for
        gradient descent; v of each parameter for momentum and Nesterov; m of each parameter
        and then v of each for Adam.

    Raises
    ------
    SettingError, SettingTypeError
        Values that no training leaves; not one row of memory for each run.
    """

    optimizer: str
    epochs: Integers
    memory: Floats

    def __init__(self, optimizer: str, epochs: ArrayLike, memory: ArrayLike) -> None:
        if not isinstance(optimizer, str):
            raise SettingTypeError(
                "state.optimizer", shown(optimizer), "a text", "give the optimizer's name"
            )
        epochs = np.atleast_1d(array("state.epochs", epochs))
        if epochs.ndim != 1 or (epochs.size and epochs.dtype.kind not in "iu"):
            raise SettingTypeError(
                "state.epochs", f"type {epochs.dtype} and shape {epochs.shape}",
                "whole numbers of shape (runs,)", "convert it", verb="has",
            )  # fmt: skip
        for epoch in epochs[(epochs < DIVERGED_EPOCH) | (epochs >= 1 << 63)].tolist():
            raise SettingError(
                "state.epochs", str(epoch), "whole numbers from -1 to 2^63 − 1", "correct it",
                verb="has",
            )  # fmt: skip
        memory = floats("state.memory", memory)
        if memory.ndim != 2 or len(memory) != len(epochs):
            raise SettingError(
                "state.memory", f"shape {memory.shape}", f"({len(epochs)}, values)",
                "give what the optimizer remembers of each run", verb="has",
            )  # fmt: skip
        object.__setattr__(self, "optimizer", optimizer)
        object.__setattr__(self, "epochs", epochs.astype(np.int64))
        object.__setattr__(self, "memory", memory)

    @property
    def epoch(self) -> int:
        """The number of the next epoch, which is the same for all runs.

        Raises
        ------
        SettingError
            A run diverged, or ended earlier than others.
        """
        diverged = np.flatnonzero(self.epochs < 0)
        if diverged.size:
            raise SettingError(
                "state", f"run {diverged[0]}, which diverged", "runs that did not",
                'go on from the others: result[result.outcome != "diverged"]', verb="has",
            )  # fmt: skip
        if not len(self.epochs):
            return 0
        last = int(self.epochs.max())
        early = np.flatnonzero(self.epochs < last)
        if early.size:
            first = int(self.epochs[early[0]])
            raise SettingError(
                "state",
                f"run {early[0]}, which ended after {counted(first, 'epoch')}",
                f"runs that ended together, as others did after {last:,}",
                f"go on from these: result[result.state.epochs == {last}]",
                verb="has",
            )  # fmt: skip
        return last

    def of(self, network: Network, optimizer: str, runs: int) -> tuple[int, Floats]:
        """Return the next epoch, and a copy of the memory of so many runs of a network.

        Raises
        ------
        SettingError
            It belongs to other runs or to another optimizer, or a run has ended.
        """
        if self.optimizer != optimizer:
            raise SettingError(
                "optimizer", shown(optimizer), f"{self.optimizer}, which the state is of",
                f"give optimizer={self.optimizer!r}, or begin afresh without a state",
            )  # fmt: skip
        if len(self) not in (1, runs):
            raise SettingError(
                "state", counted(len(self), "run"), f"1 or {runs:,}, as the weights have",
                "select the same runs of both", verb="has",
            )  # fmt: skip
        values = self.memory.shape[1]
        return self.epoch, np.array(np.broadcast_to(self.memory, (runs, values)), order="C")

    def __len__(self) -> int:
        """Count the runs."""
        return len(self.epochs)

    def __getitem__(self, runs: int | slice | ArrayLike) -> State:
        """Return the state of some runs: a position, a slice, a mask or positions."""
        chosen = selection(runs, len(self))
        return State(self.optimizer, self.epochs[chosen], self.memory[chosen])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        return (
            self.optimizer == other.optimizer
            and np.array_equal(self.epochs, other.epochs)
            and np.array_equal(self.memory, other.memory, equal_nan=True)
        )

    def __repr__(self) -> str:
        epochs = np.unique(self.epochs)
        when = f"epoch {epochs[0]:,}" if epochs.size == 1 else "different epochs"
        return f"State of {counted(len(self), 'run')} before {when} of {self.optimizer}"


def selection(runs: Any, count: int) -> slice | NDArray[Any]:
    """Return what selects some of so many runs, as NumPy takes it, with the run axis kept.

    Raises
    ------
    SettingError, SettingTypeError
        It is no position, slice, mask of all runs, or array of positions.
    IndexError
        There is no such run.
    """
    if isinstance(runs, slice):
        return runs
    if isinstance(runs, (int, np.integer)) and not isinstance(runs, bool):
        position = operator.index(runs)
        if not -count <= position < count:
            raise _no_run(position, count)
        return slice(position, position + 1 or None)
    found = array("index", runs)
    if found.ndim == 1 and not found.size:
        return np.zeros(0, np.intp)
    if found.ndim != 1 or found.dtype.kind not in "biu":
        kind = f"an array of type {found.dtype} and shape {found.shape}"
        raise SettingTypeError(
            "index", kind, "a position, a slice, a mask or positions", "convert it"
        )
    if found.dtype == np.bool_ and len(found) != count:
        raise SettingError(
            "index",
            f"a mask of {len(found)} runs",
            f"a mask of {count} runs",
            "compare an array of this result",
        )
    outside = (found < -count) | (found >= count)
    if found.dtype != np.bool_ and outside.any():
        raise _no_run(found[outside.argmax()], count)
    return found


def _no_run(position: object, count: int) -> IndexError:
    # Python's loops end with an IndexError, too.
    allowed = f"positions of {count} runs"
    return IndexError(f"run is {shown(position)}; allowed: {allowed}; choose one of them")
