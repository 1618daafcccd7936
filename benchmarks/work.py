"""The trainings that are compared: the same for everybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import backprop_svc as bp
from backprop_svc.arrays import Floats
from backprop_svc.train import Precision, Record

THREADS: int = bp.build_info()["threads"]
SEED = 0


class Trained(NamedTuple):
    """What a peer returns, arrays of its own kind, histories in any order of memory."""

    weights: Any
    """Shape (runs, parameters)."""
    loss: Any = None
    """Shape (runs, epochs), before each update; None unless recorded."""
    gradients: Any = None
    """Shape (runs, epochs, parameters)."""


Way = Callable[[], Trained | bp.Result]


@dataclass(frozen=True, eq=False)
class Work:
    """Gradient descent of many runs, a learning rate for each."""

    network: bp.Network
    weights: Floats
    """Shape (runs, parameters)."""
    rates: Floats
    """Shape (runs,)."""
    x: Floats
    """Shape (rows, inputs)."""
    y: Floats
    """Shape (rows, outputs)."""
    epochs: int
    record: tuple[Record, ...] = ()
    precision: Precision = "exact"
    batch_size: int | None = None
    """It divides the rows."""

    @property
    def order(self) -> NDArray[np.intp] | None:
        """The rows of every update, shape (updates, batch_size); None: all rows.

        `bp.train` documents how it shuffles them: the results could not be equal otherwise.
        """
        if self.batch_size is None:
            return None
        generator = np.random.RandomState(SEED)
        epochs = [generator.permutation(len(self.x)) for _ in range(self.epochs)]
        return np.concatenate(epochs).reshape(-1, self.batch_size)

    @property
    def updates(self) -> int:
        """Of one run."""
        return self.epochs * (len(self.x) // (self.batch_size or len(self.x)))

    @property
    def steps(self) -> int:
        """Updates of all runs."""
        return len(self.rates) * self.updates

    def few(self, count: int) -> Work:
        """Leave out all but the first runs."""
        return replace(self, weights=self.weights[:count], rates=self.rates[:count])

    def arrays(self) -> list[Any]:
        """Weights, rates, x and y in the type that the network computes with."""
        dtype = np.dtype(self.network.dtype)
        return [v.astype(dtype) for v in (self.weights, self.rates, self.x, self.y)]

    def layers(self, flat: Any) -> list[tuple[Any, Any]]:
        """Matrix and biases (or None) of each layer, from (…, parameters) of any library."""
        found, start, lead = [], 0, flat.shape[:-1]
        for inputs, outputs in pairwise(self.network.sizes):
            end = start + outputs * inputs
            matrix = flat[..., start:end].reshape(*lead, outputs, inputs)
            start = end + outputs * self.network.bias
            found.append((matrix, flat[..., end:start] if self.network.bias else None))
        return found


def guide(runs: int, epochs: int, record: tuple[Record, ...] = ()) -> Work:
    generator = np.random.default_rng(SEED)
    weights, rates = generator.uniform(-1, 2, (runs, 2)), generator.uniform(0.001, 0.15, runs)
    x, y = np.array([[2.0]]), np.array([[3.0]])
    return Work(bp.Network(1, 1, 1), weights, rates, x, y, epochs, record)


def restless(runs: int, epochs: int) -> Work:
    """Let the guide's network be on its way still: it comes nearer, but no run is there."""
    generator = np.random.default_rng(SEED)
    weights, rates = generator.uniform(0.1, 1, (runs, 2)), generator.uniform(1e-4, 1e-3, runs)
    return replace(guide(runs, epochs), weights=weights, rates=rates)


def fractal(runs: int, epochs: int) -> Work:
    """Sohl-Dickstein's set-up (arXiv 2402.06184), one learning rate for both layers.

    ŷ = W₁·φ(W₀·x/√n)/n with φ = tanh(√2·z) is a network of ours with W₁/n for its second
    layer; its loss is the mean of (ŷ − y)², twice ours.
    """
    generator, width, rows = np.random.default_rng(SEED), 16, 272
    network = bp.Network(width, width, 1, activation="tanh", gain=2**0.5)
    weights = np.tile(generator.normal(size=network.parameters), (runs, 1))
    weights[:, width * width :] /= width
    x, y = generator.normal(size=(rows, width)) / width**0.5, generator.normal(size=(rows, 1))
    return Work(network, weights, np.geomspace(1e-3, 0.3, runs), x, y, epochs)


def digits(runs: int, epochs: int, batch_size: int) -> Work:
    """scikit-learn's handwritten digits, as many as make whole batches."""
    network = bp.Network(64, 32, 10, bias=True, loss="softmax_cross_entropy", dtype="float32")
    images, labels = load_digits(return_X_y=True)
    rows = len(images) // batch_size * batch_size
    x, y = images[:rows] / 16, np.eye(10)[labels[:rows]]
    weights = bp.initial_weights(network, np.arange(runs))
    rates = np.geomspace(0.01, 0.3, runs)
    return Work(network, weights, rates, x, y, epochs, precision="fast", batch_size=batch_size)
