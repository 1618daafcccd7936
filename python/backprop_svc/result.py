"""What training returns: arrays whose first axis is the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backprop_svc import _core
from backprop_svc._core import Network
from backprop_svc.arrays import Floats, Integers
from backprop_svc.errors import SettingError, counted
from backprop_svc.hyperparameters import part
from backprop_svc.state import DIVERGED_EPOCH, State, selection

if TYPE_CHECKING:
    import pandas as pd

OUTCOMES: NDArray[np.str_] = np.array(_core.OUTCOMES)
STALLS: NDArray[np.str_] = np.array(_core.STALLS)
DIVERGED = _core.OUTCOMES.index("diverged")
MOST_NAMED_WEIGHTS = 16
"""Parameters of a network up to which tables and tracked runs name each of its weights."""
HISTORIES = {
    "loss": "loss",
    "prediction": "prediction",
    "gradients": "gradients",
    "weights": "weight_history",
    "val_loss": "val_loss",
    "val_accuracy": "val_accuracy",
    "sharpness": "sharpness_history",
    "sharpness_ratio": "sharpness_ratio_history",
}
"""Of each history, the field of :class:`Result` in which it is."""
RECORDED_WITH = {
    "val_loss": "loss",
    "val_accuracy": "loss",
    "sharpness": "weights",
    "sharpness_ratio": "weights",
}
"""Histories that are recorded with another one."""
ON_THE_WAY = ("stall", "died_at", "highest_loss", "highest_loss_at")
FACTS = ("outcome", "epochs", "diverged_at", "period", "loss_ratio", *ON_THE_WAY)
"""What tables say of how a run ended, and of what happened on the way, in their order."""
PER_PARAMETER = {"gradients", "weights"}
"""Histories with one value for each parameter; the others have one for each run."""
AT_THE_END = ("sharpness", "sharpness_ratio", "smallest_eigenvalue", "lyapunov_exponent")
CURVATURE = ("initial_sharpness", *AT_THE_END)
"""Numbers of each run that a training adds if it is asked for them."""
SHARED_BY_RUNS = {"network", "optimizer", "first_epoch", "recorded"}
"""Fields of :class:`Result` without a run axis."""


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What :func:`train` returns. The first axis of every array is the run.

    Epoch ``e`` of a history holds what was true *before* the update of epoch ``e``. With
    mini-batches it holds the mean over the rows, each row before the update of its batch.
    After the epoch in which a run ended early its histories are NaN. A history that was not
    recorded is ``None``.

    ``len`` counts the runs. An index, a slice, a mask or an array of positions gives the
    result of these runs, with the run axis in place. Results are equal if all of their
    arrays are, where NaN equals NaN.

    >>> import backprop_svc as bp
    >>> result = bp.train(bp.Network(1, 1, 1), [0.5, 1.0], 2, 3, learning_rate=[0.01, 0.1])
    >>> result[result.outcome == "converged"]
    Result of 1 run of Network(1, 1, 1, activation='relu')
      outcomes: 1 converged
      lowest last loss: 2.2814e-26 in run 0
      recorded: loss, prediction, gradients of 20 epochs
    """

    network: Network
    """The shape that all runs share."""
    learning_rate: Floats
    """Shape (runs,), or (runs, layers)."""
    initial_weights: Floats
    """Shape (runs, parameters)."""
    weights: Floats
    """After the last update, of a diverged run the last finite ones, with early stopping those
    of :attr:`best_epoch`; shape (runs, parameters)."""
    optimizer: str
    """What trained them."""
    memory: Floats
    """What the optimizer remembers with them, shape (runs, values): see :class:`State`."""
    first_epoch: int
    """The number of the first epoch: 0, or that of the state that the training went on from."""
    outcome_code: NDArray[np.uint8]
    """Positions in :data:`OUTCOMES`, shape (runs,)."""
    epochs: Integers
    """Epochs that a run went through in this training: fewer than asked for if it ended early;
    (runs,)."""
    last_loss: Floats
    """The loss in the last of its epochs, before the update; NaN without epochs; (runs,)."""
    loss_ratio: Floats
    """Mean over the last 20 epochs of min(ℓ/ℓ₀, 10⁶), where ℓ₀ is the first loss; (runs,).

    The epochs after a divergence count as 10⁶. A run below 1 is trainable in the sense of
    Sohl-Dickstein, "The boundary of neural network trainability is fractal", arXiv
    2402.06184.
    """
    period: NDArray[np.uint8]
    """Epochs after which an oscillating run's weights return, else 0; shape (runs,)."""
    stall_code: NDArray[np.uint8]
    """Positions in :data:`STALLS`, shape (runs,)."""
    died_at: Integers
    """The first epoch that began with a dead network, else -1; shape (runs,)."""
    highest_loss: Floats
    """The highest loss of all epochs of a run; NaN without epochs; shape (runs,)."""
    highest_loss_at: Integers
    """The first epoch with the highest loss; -1 without epochs; shape (runs,)."""
    recorded: Integers
    """Epochs that the histories hold, ascending; shape (records,)."""
    loss: Floats | None
    """Mean loss over the rows, shape (runs, records)."""
    prediction: Floats | None
    """Mean of ŷ over rows and outputs, shape (runs, records)."""
    gradients: Floats | None
    """∂L/∂w, shape (runs, records, parameters)."""
    weight_history: Floats | None
    """The weights that began the epoch, shape (runs, records, parameters)."""
    val_loss: Floats | None
    """Mean loss over the rows of validation, shape (runs, records).

    As for the loss, epoch ``e`` has that of the weights before its update, those after ``e``
    epochs. That of :attr:`weights` is what :func:`evaluate` gives.
    """
    val_accuracy: Floats | None
    """Share of the rows of validation whose class is right, of a cross-entropy; as above."""
    best_epoch: Integers | None
    """With early stopping (``patience``) the number of epochs after which :attr:`weights` were,
    those with the smallest loss on the rows of validation; shape (runs,)."""

    initial_sharpness: Floats | None = None
    """With ``sharpness`` the largest eigenvalue of the Hessian before training, (runs,)."""
    sharpness: Floats | None = None
    """The same at :attr:`weights`; shape (runs,)."""
    sharpness_ratio: Floats | None = None
    """learning rate · sharpness / 2 at the end, by the rate without its schedule; None with a
    rate for each layer; (runs,). Gradient descent is stable at a minimum only if it is below 1.
    """
    sharpness_history: Floats | None = None
    """With recorded weights the sharpness before the update of each epoch, (runs, records)."""
    sharpness_ratio_history: Floats | None = None
    """learning rate · sharpness / 2 of the same epochs; None with a rate for each layer."""
    smallest_eigenvalue: Floats | None = None
    """With ``smallest_eigenvalue`` that of the Hessian at :attr:`weights`, below 0 at a saddle;
    (runs,)."""
    lyapunov_exponent: Floats | None = None
    """With ``lyapunov_epochs`` the largest Lyapunov exponent, in 1/epoch, over the epochs that
    would follow; NaN of runs that diverged; (runs,)."""
    hyperparameters: dict[str, NDArray[Any]] = field(default_factory=dict)
    """What else runs have of their own: of each other setting of :func:`train` that was given
    as an array, ``momentum`` say, the value of each run; shape (runs,)."""

    @property
    def diverged_at(self) -> Integers:
        """The epoch in which a run diverged, else -1; shape (runs,)."""
        last = self.first_epoch + self.epochs - 1
        return np.where(self.outcome_code == DIVERGED, last, -1)

    @property
    def state(self) -> State:
        """What :func:`train` needs besides the weights to go on from here."""
        after = self.first_epoch + self.epochs if self.best_epoch is None else self.best_epoch
        epochs = np.where(self.outcome_code == DIVERGED, DIVERGED_EPOCH, after)
        return State(self.optimizer, epochs, self.memory)

    @property
    def final_gradients(self) -> Floats:
        """∂L/∂w of each run's last epoch, before its update, shape (runs, parameters).

        It is NaN for runs without epochs.

        Raises
        ------
        SettingError
            The gradients were not recorded.
        """
        if self.gradients is None:
            raise SettingError(
                "gradients", "not recorded", 'results of train(record=["gradients"])',
                "record them", verb="were",
            )  # fmt: skip
        if not len(self.recorded):
            return np.full(self.weights.shape, np.nan)
        # Where not every epoch is recorded, the last place is that of each run's own last one.
        places = self.epochs - 1 if self.records_every_epoch else np.full(len(self), -1)
        found = self.gradients[np.arange(len(self)), places]
        return np.where((self.epochs > 0)[:, np.newaxis], found, np.nan)

    @property
    def records_every_epoch(self) -> bool:
        """Whether the histories hold every epoch."""
        if not len(self.recorded):
            return True
        return len(self.recorded) == int(self.recorded[-1]) - self.first_epoch + 1

    @property
    def curvature(self) -> dict[str, Floats]:
        """Those of :data:`CURVATURE` that there are, by their names."""
        found = {name: getattr(self, name) for name in CURVATURE}
        return {name: values for name, values in found.items() if values is not None}

    @property
    def outcome(self) -> NDArray[np.str_]:
        """How each run ended, shape (runs,); docs/outcomes.md defines it.

        ``converged``: at rest in a minimum that attracts the run. ``stalled``: the loss stands
        still elsewhere, see :attr:`stall`. ``dead``: a layer of ReLU is off for every row,
        since :attr:`died_at`. ``oscillating``: the weights return every :attr:`period` epochs.
        ``chaotic``: they stay bounded and never settle. ``diverged``: loss or weights are no
        longer finite, or the loss passed the bound, in epoch :attr:`diverged_at`.
        ``unresolved``: none of these can be shown.
        """
        return OUTCOMES[self.outcome_code]

    @property
    def stall(self) -> NDArray[np.str_]:
        """Where a run stalled: ``saddle``, ``plateau`` or ``repelling minimum``; (runs,).

        It is empty for other runs. A minimum repels if the learning rate is too large for its
        curvature: a run rests there only if it meets it exactly.
        """
        return STALLS[self.stall_code]

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with one row for each run, without the histories.

        Its columns are ``learning_rate`` (``learning_rate_1``, … with one for each layer), then
        :attr:`hyperparameters`;
        ``initial_w1``, … and ``w1``, …, the first and last weights of networks of at most 16
        parameters; ``outcome``, ``epochs``, ``last_loss``, ``loss_ratio``, ``period`` and
        ``diverged_at``; with early stopping ``best_epoch``; what there is of the curvature. Its
        index is the position of the run.
        """
        import pandas as pd

        layers = np.atleast_2d(self.learning_rate.T)
        one = self.learning_rate.ndim == 1
        columns: dict[str, Any] = {
            "learning_rate" if one else f"learning_rate_{layer}": rates
            for layer, rates in enumerate(layers, start=1)
        }
        columns |= self.hyperparameters
        if self.network.parameters <= MOST_NAMED_WEIGHTS:
            names = self.network.parameter_names
            for prefix, weights in (("initial_", self.initial_weights), ("", self.weights)):
                columns |= {f"{prefix}{n}": w for n, w in zip(names, weights.T, strict=True)}
        for name in ("outcome", "epochs", "last_loss", "loss_ratio", "period", "diverged_at"):
            columns[name] = getattr(self, name)
        columns |= {name: getattr(self, name) for name in ON_THE_WAY}
        if self.best_epoch is not None:
            columns["best_epoch"] = self.best_epoch
        columns |= self.curvature
        return pd.DataFrame(columns, index=pd.RangeIndex(len(self), name="run"))

    # NumPy would take its runs for nested sequences, and compare it with a scalar one by one.
    __array_ufunc__ = None

    def __len__(self) -> int:
        """Count the runs."""
        return len(self.weights)

    def __iter__(self) -> Iterator[Result]:
        """Go through the results of the runs, one by one."""
        return (self[run] for run in range(len(self)))

    def __getitem__(self, runs: int | slice | ArrayLike) -> Result:
        """Return the result of some runs: a position, a slice, a mask or positions."""
        chosen = selection(runs, len(self))
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        own = values.pop("hyperparameters")
        for name in values.keys() - SHARED_BY_RUNS:
            values[name] = None if values[name] is None else values[name][chosen]
        return Result(**values, hyperparameters=part(own, chosen))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Result):
            return NotImplemented
        names = [f.name for f in fields(self) if f.name != "hyperparameters"]
        pairs = [(getattr(self, name), getattr(other, name)) for name in names]
        own, others = self.hyperparameters, other.hyperparameters
        if own.keys() != others.keys():
            return False
        pairs += [(values, others[name]) for name, values in own.items()]
        return all(
            np.array_equal(one, two, equal_nan=True)
            if isinstance(one, np.ndarray) and isinstance(two, np.ndarray)
            else one is two or (isinstance(one, (Network, str, int)) and one == two)
            for one, two in pairs
        )

    def __repr__(self) -> str:
        lines = [f"Result of {counted(len(self), 'run')} of {self.network}"]
        counts = Counter(self.outcome.tolist())
        if counts:
            told = (f"{counts[name]:,} {name}" for name in OUTCOMES.tolist() if counts[name])
            lines.append(f"outcomes: {', '.join(told)}")
        finite = np.flatnonzero(np.isfinite(self.last_loss))
        if finite.size:
            best = finite[self.last_loss[finite].argmin()]
            lines.append(f"lowest last loss: {self.last_loss[best]:.5g} in run {best}")
        kept = [name for name in HISTORIES.values() if getattr(self, name) is not None]
        if kept:
            epochs = counted(len(self.recorded), "epoch")
            lines.append(f"recorded: {', '.join(kept)} of {epochs}")
        return "\n  ".join(lines)
