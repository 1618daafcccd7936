"""How many runs are trained, then written, at once."""

from __future__ import annotations

import logging

from backprop_svc.result import MOST_NAMED_WEIGHTS, PER_PARAMETER
from backprop_svc.sweep.experiment import Experiment
from backprop_svc.sweep.parent import Tracking
from backprop_svc.tracking.record import history_interval
from backprop_svc.train import Record

MOST_ROWS = 200_000
"""Values of history that a chunk may bring to the store: some 40 MB on their way."""
MOST_BYTES = 1 << 26
"""Bytes of the histories that are trained at once."""
MOST_RUNS = 1 << 18
"""Runs of a chunk."""
SECONDS = 1.0
"""What a chunk may take: so often is told how far the sweep is, and Ctrl-C is answered."""
FEWEST_TRAINED, FEWEST_WRITTEN = 256, 8
"""Runs of the first chunk, and of those that take longer: they fill registers and threads,
and the connections to a server."""

_log = logging.getLogger(__name__)


class Pace:
    """Chooses the size of each chunk by the time that those before it took.

    Parameters
    ----------
    most
        Runs that fit in memory at once.
    tracked
        Whether they are written too.
    together
        Whether all of them are to be trained at once, as a time limit is for all.
    """

    def __init__(self, most: int, *, tracked: bool, together: bool) -> None:
        self._most, self._together = most, together
        self._by_training = FEWEST_TRAINED
        self._by_writing = FEWEST_WRITTEN if tracked else most

    @property
    def size(self) -> int:
        """Runs of the next chunk."""
        if self._together:
            return self._most
        return min(self._most, self._by_training, self._by_writing)

    def trained(self, runs: int, seconds: float) -> None:
        """Take how long a chunk was trained."""
        _log.debug("trained %d runs in %.3f s", runs, seconds)
        self._by_training = max(FEWEST_TRAINED, _within(runs, seconds))

    def wrote(self, runs: int, seconds: float) -> None:
        """Take how long a chunk was written, without the runs that were there already."""
        _log.debug("wrote %d runs in %.3f s", runs, seconds)
        if runs:
            self._by_writing = max(FEWEST_WRITTEN, _within(runs, seconds))
        else:
            self._by_writing = self._most


def _within(runs: int, seconds: float) -> int:
    return int(min(MOST_RUNS, SECONDS * runs / max(seconds, 1e-6)))


def tracked_histories(experiment: Experiment, tracking: Tracking | None) -> tuple[Record, ...]:
    """Return the histories that the store is given, or that it needs something of."""
    if tracking is None:
        return ()
    found: list[Record] = ["loss"]
    if history_interval(tracking.history) is not None or tracking.weights != "none":
        found.append("gradients")
    if experiment.settings["sharpness"] and tracked_interval(tracking):
        # The sharpness of an epoch is that of its weights.
        found.append("weights")
    return tuple(found)


def tracked_interval(tracking: Tracking | None) -> int:
    """Return of which epochs the store is told: see ``record_every`` of ``train``."""
    return 0 if tracking is None else history_interval(tracking.history) or 0


def chunk_size(
    experiment: Experiment, record: tuple[Record, ...], every: int, tracked: bool
) -> int:
    """Return how many runs to train at once, so that memory is bounded."""
    parameters = experiment.network.parameters
    epochs = int(experiment.settings["epochs"])
    kept = max(1, epochs) if every == 1 else 1 + (epochs // every if every else 0)
    # With the loss, that on the rows of validation and its accuracy; with the weights the
    # sharpness and its ratio.
    looks = 2 if experiment.validation is not None and "loss" in record else 0
    looks += 2 if experiment.settings["sharpness"] and "weights" in record else 0
    wide = sum(parameters if name in PER_PARAMETER else 1 for name in record) + looks
    # Weights before and after, gradients, and what an optimizer remembers: at most twice that.
    size = MOST_BYTES // (8 * (kept * wide + 5 * parameters))
    if tracked:
        size = min(size, MOST_ROWS // (kept * min(wide, 1 + looks + MOST_NAMED_WEIGHTS) + 30))
    return max(1, min(size, MOST_RUNS))
