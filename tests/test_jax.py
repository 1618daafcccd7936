"""Whole trajectories are those of an independent program: JAX in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import backprop_svc as bp
from backprop_svc import _core

jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
EPOCHS, ROWS, RUNS = 60, 7, 19
NAMED: dict[str, Callable[[Any], Any]] = {
    "identity": lambda z: z,
    "leaky_relu": lambda z: jax.nn.leaky_relu(z, 0.1),
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
}
"""Activations that JAX has under another name, or with other settings."""
LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "half_squared_error": lambda z, y: 0.5 * ((y - z) ** 2).sum(axis=1),
    "mse": lambda z, y: ((y - z) ** 2).mean(axis=1),
    "binary_cross_entropy": lambda z, y: (
        -(y * jax.nn.log_sigmoid(z) + (1 - y) * jax.nn.log_sigmoid(-z)).mean(axis=1)
    ),
    "softmax_cross_entropy": lambda z, y: -(y * jax.nn.log_softmax(z)).sum(axis=1),
}


def mean_loss(network: bp.Network, x: Any, y: Any) -> Callable[[Any], Any]:
    """The mean loss over the rows, as a function of all weights."""
    activation, output = (
        NAMED.get(name) or getattr(jax.nn, name)
        for name in (network.activation, network.output)
    )
    criterion = LOSSES[network.loss]
    shapes = list(zip(network.sizes[1:], network.sizes[:-1], strict=True))

    def loss(flat: Any) -> Any:
        h, start = x, 0
        for index, (rows, columns) in enumerate(shapes):
            end = start + rows * columns
            z = h @ flat[start:end].reshape(rows, columns).T
            if network.bias:
                z, end = z + flat[end : end + rows], end + rows
            is_last = index + 1 == len(shapes)
            h, start = output(z) if is_last else activation(network.gain * z), end
        return criterion(h, y).mean()

    return loss


def trajectory(
    network: bp.Network, weights: Any, x: Any, y: Any, rate: float
) -> tuple[Any, Any, Any]:
    """Losses and gradients of every epoch, and the final weights, of one run."""
    loss = mean_loss(network, x, y)

    def epoch(flat: Any, _: Any) -> tuple[Any, Any]:
        value, gradient = jax.value_and_grad(loss)(flat)
        return flat - rate * gradient, (value, gradient)

    final, (losses, gradients) = jax.lax.scan(epoch, weights, None, length=EPOCHS)
    return losses, gradients, final


def close(found: Any, expected: Any) -> bool:
    return bool(np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 2), (2, 5, 1), (2, 4, 3, 2)])
@pytest.mark.parametrize(
    ("activation", "loss", "bias", "output"),
    [
        *((name, "half_squared_error", False, "identity") for name in _core.ACTIVATIONS),
        *(("tanh", loss, True, "identity") for loss in LOSSES),
        ("sigmoid", "mse", True, "sigmoid"),
        ("identity", "half_squared_error", False, "leaky_relu"),
    ],
)
def test_trajectories(
    activation: str, loss: str, bias: bool, output: str, sizes: tuple[int, ...]
) -> None:
    network = bp.Network(
        *sizes, activation=activation, gain=1.25, negative_slope=0.1, bias=bias, loss=loss,
        output=output,
    )  # fmt: skip
    generator = np.random.default_rng(len(sizes))
    x = generator.normal(size=(ROWS, sizes[0]))
    y = generator.normal(size=(ROWS, sizes[-1]))
    if "entropy" in loss:
        y = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    weights = generator.normal(0, 0.5, (RUNS, network.parameters))
    rates = generator.uniform(0.01, 0.05, RUNS)
    found = bp.train(network, weights, x, y, learning_rate=rates, epochs=EPOCHS)
    assert found.loss is not None
    assert found.gradients is not None
    run = jax.jit(jax.vmap(lambda w, rate: trajectory(network, w, x, y, rate)))
    losses, gradients, final = run(weights, rates)
    assert close(found.loss, losses)
    assert close(found.gradients, gradients)
    assert close(found.weights, final)


@pytest.mark.parametrize(
    ("sizes", "rows", "activation", "loss", "bias", "output"),
    [
        ((1, 1, 1), 1, "leaky_relu", "half_squared_error", False, "identity"),
        ((1, 1, 1), 9, "relu", "mse", False, "identity"),
        ((3, 2), 8, "identity", "softmax_cross_entropy", True, "identity"),
        ((2, 4, 1), 19, "sigmoid", "binary_cross_entropy", True, "identity"),
        ((2, 3, 2, 2), 8, "gelu", "mse", False, "tanh"),
        ((1, 2, 3, 2), 9, "softplus", "half_squared_error", True, "gelu"),
        ((2, 4, 5, 3), 19, "tanh", "softmax_cross_entropy", True, "identity"),
        ((4, 8, 3), 3, "relu", "mse", True, "softplus"),
        ((5, 7, 6, 2), 8, "gelu", "binary_cross_entropy", False, "identity"),
    ],
)
def test_curvature(
    sizes: tuple[int, ...], rows: int, activation: str, loss: str, bias: bool, output: str
) -> None:
    network = bp.Network(
        *sizes, activation=activation, gain=1.25, negative_slope=0.1, bias=bias, loss=loss,
        output=output,
    )  # fmt: skip
    generator = np.random.default_rng(len(sizes))
    x = generator.normal(size=(rows, sizes[0]))
    y = generator.normal(size=(rows, sizes[-1]))
    if "entropy" in loss:
        y = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    weights = generator.normal(0, 0.7, (RUNS, network.parameters))
    hessians = jax.jit(jax.vmap(jax.hessian(mean_loss(network, x, y))))(weights)
    expected = np.linalg.eigvalsh(hessians)
    size = np.abs(expected).max(axis=1)
    found = bp.curvature(network, weights, x, y)
    assert np.all(np.abs(found.largest - expected[:, -1]) <= 1e-12 * size)
    assert np.all(np.abs(found.smallest - expected[:, 0]) <= 1e-12 * size)
    assert np.all(found.error <= 1e-12 * size)
    alone = bp.sharpness(network, weights, x, y)
    assert np.all(np.abs(alone - expected[:, -1]) <= 1e-12 * size)
