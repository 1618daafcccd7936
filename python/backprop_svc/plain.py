"""A network in plain Python: forward, loss and its derivative, one number at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backprop_svc._core import Network
from backprop_svc.errors import SettingError, shown
from backprop_svc.steps import Check

Point = tuple[float, float]
"""φ(z) and φ'(z)."""


def _sigmoid(z: float) -> Point:
    e = math.exp(-abs(z))
    above, below = 1 / (1 + e), e / (1 + e)
    return (above if z >= 0 else below), above * below


def _gelu(z: float) -> Point:
    normal = 0.5 * math.erfc(-z / math.sqrt(2))
    return z * normal, normal + z * math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


FUNCTIONS: dict[str, Callable[[float, float], Point]] = {
    "identity": lambda z, _: (z, 1.0),
    "relu": lambda z, _: (z, 1.0) if z > 0 else (0.0, 0.0),
    "leaky_relu": lambda z, slope: (z, 1.0) if z > 0 else (slope * z, slope),
    "tanh": lambda z, _: (math.tanh(z), 1 - math.tanh(z) ** 2),
    "sigmoid": lambda z, _: _sigmoid(z),
    "gelu": lambda z, _: _gelu(z),
    "softplus": lambda z, _: (max(z, 0.0) + math.log1p(math.exp(-abs(z))), _sigmoid(z)[0]),
}
KINKED = {"relu", "leaky_relu"}


@dataclass(frozen=True)
class Forward:
    """The numbers of a forward pass."""

    sums: list[list[float]]
    """z of each layer."""
    values: list[list[float]]
    """What each layer hands on, the inputs first; ŷ last."""
    slopes: list[list[float]]
    """φ'(z) of each layer, where the loss does not have its own for the last."""
    loss: float


Passed = Callable[[float], Forward]
"""The forward pass in which one number has another value."""


class Plain:
    """A network, one row of inputs, and its targets."""

    def __init__(self, network: Network, inputs: list[float], targets: list[float]) -> None:
        self.network, self.inputs, self.targets = network, inputs, targets
        self.layers = network.layers
        self.is_own = network.loss.endswith("_cross_entropy")
        """Whether the loss turns z into ŷ itself."""
        if self.is_own:
            for number, target in enumerate(targets):
                if not 0 <= target <= 1:
                    raise SettingError(
                        f"y[{number}]", shown(target),
                        f"numbers from 0 to 1 for {network.loss}",
                        "scale the targets, or choose another loss",
                    )  # fmt: skip
        self.starts = [0]
        for layer in range(self.layers):
            self.starts.append(self.starts[-1] + self._width(layer))

    def _width(self, layer: int) -> int:
        fan_in, fan_out = self.network.sizes[layer : layer + 2]
        return fan_in * fan_out + (fan_out if self.network.bias else 0)

    def activation(self, layer: int) -> str:
        """Name what a layer does to its z."""
        is_last = layer == self.layers - 1
        return self.network.output if is_last else self.network.activation

    def rows(self, weights: Sequence[float], layer: int) -> list[tuple[list[float], float]]:
        """Return the weights and the bias of each neuron of a layer."""
        fan_in, fan_out = self.network.sizes[layer : layer + 2]
        own = weights[self.starts[layer] : self.starts[layer + 1]]
        biases = own[fan_in * fan_out :] or [0.0] * fan_out
        return [(list(own[j * fan_in : (j + 1) * fan_in]), biases[j]) for j in range(fan_out)]

    def point(self, layer: int, z: float) -> Point:
        """Return what a neuron hands on, and its derivative by z."""
        gain = self.network.gain if layer < self.layers - 1 else 1.0
        value, slope = FUNCTIONS[self.activation(layer)](gain * z, self.network.negative_slope)
        return value, gain * slope

    def forward(
        self,
        weights: Sequence[float],
        changed: tuple[int, int, bool, float] | None = None,
    ) -> Forward:
        """Return the numbers of a forward pass.

        ``changed`` is a layer, a neuron of it, whether what it hands on is meant and not its
        z, and the value that it then has.
        """
        sums: list[list[float]] = []
        values, slopes = [self.inputs], []
        for layer in range(self.layers):
            z = [
                sum(w * v for w, v in zip(row, values[-1], strict=True)) + bias
                for row, bias in self.rows(weights, layer)
            ]
            if changed is not None and changed[0] == layer and not changed[2]:
                z[changed[1]] = changed[3]
            sums.append(z)
            if layer == self.layers - 1 and self.is_own:
                own, slope = self.probabilities(z), [math.nan] * len(z)
            else:
                points = [self.point(layer, each) for each in z]
                own, slope = [value for value, _ in points], [each for _, each in points]
            if changed is not None and changed[0] == layer and changed[2]:
                own[changed[1]] = changed[3]
            values.append(own)
            slopes.append(slope)
        return Forward(sums, values, slopes, self.loss(sums[-1], values[-1]))

    def probabilities(self, z: list[float]) -> list[float]:
        """Return the ŷ of a cross-entropy."""
        if self.network.loss == "binary_cross_entropy":
            return [_sigmoid(each)[0] for each in z]
        powers = [math.exp(each - max(z)) for each in z]
        return [power / sum(powers) for power in powers]

    def loss(self, z: list[float], outputs: list[float]) -> float:
        """Return L, of z where the loss turns it into ŷ."""
        pairs = list(zip(self.targets, z if self.is_own else outputs, strict=True))
        if self.network.loss == "binary_cross_entropy":
            terms = [max(z, 0) - z * y + math.log1p(math.exp(-abs(z))) for y, z in pairs]
            return sum(terms) / len(terms)
        if self.network.loss == "softmax_cross_entropy":
            total = math.log(sum(math.exp(each - max(z)) for each in z))
            return sum(y * (total - (each - max(z))) for y, each in pairs if y > 0)
        squares = [(y - p) * (y - p) for y, p in pairs]
        factor = 1 / len(squares) if self.network.loss == "mse" else 0.5
        return factor * sum(squares)

    def error(self, output: int, passed: Forward) -> float:
        """Return ∂L/∂ŷ of an output, or ∂L/∂z where the loss turns z into ŷ."""
        y, p = self.targets[output], passed.values[-1][output]
        count = len(self.targets)
        if self.network.loss == "softmax_cross_entropy":
            return sum(self.targets) * p - y
        if self.network.loss == "binary_cross_entropy":
            return (p - y) / count
        return -(y - p) * (2 / count if self.network.loss == "mse" else 1.0)

    def check(self, at: float, derivative: float, passed: Passed) -> Check | None:
        """Compare a derivative with the slope of the loss; None where a kink is between.

        ``passed`` gives the forward pass in which a number has another value than ``at``.
        """
        step = 1e-6 * max(1.0, abs(at))
        if self._signs(passed(at + step)) != self._signs(passed(at - step)):
            return None
        return Check.of(lambda value: passed(value).loss, at, derivative)

    def with_weight(self, weights: list[float], index: int) -> Passed:
        """Return what another value of a weight gives."""
        return lambda value: self.forward([*weights[:index], value, *weights[index + 1 :]])

    def with_number(self, weights: list[float], layer: int, j: int, *, after: bool) -> Passed:
        """Return what another z of a neuron gives, or another φ(z)."""
        return lambda value: self.forward(weights, (layer, j, after, value))

    def _signs(self, passed: Forward) -> list[bool]:
        """Tell on which side of its kink each neuron is that has one."""
        return [
            z > 0
            for layer, own in enumerate(passed.sums)
            if self.activation(layer) in KINKED
            for z in own
        ]
