"""Any network in JAX: jit(vmap(scan)) of the gradient that it derives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from work import Trained, Way, Work

NAME = "JAX jit(vmap(scan))"
jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]


def mean_loss(work: Work) -> Callable[..., Any]:
    """Return the mean loss as a function of weights, and of rows if they are not all."""
    network = work.network
    _, _, x, y = map(jnp.asarray, work.arrays())

    def loss(flat: Any, rows: Any = None) -> Any:
        h, targets = (x, y) if rows is None else (x[rows], y[rows])
        *hidden, last = work.layers(flat)
        for layer in hidden:
            z = network.gain * sums(h, *layer)
            h = jax.nn.relu(z) if network.activation == "relu" else jnp.tanh(z)
        z = sums(h, *last)
        if network.loss == "half_squared_error":
            return 0.5 * ((targets - z) ** 2).sum(axis=1).mean()
        return -(targets * jax.nn.log_softmax(z)).sum(axis=1).mean()

    return loss


def ways(work: Work) -> dict[str, Way]:
    order, loss = work.order, mean_loss(work)
    weights, rates, _, _ = map(jnp.asarray, work.arrays())
    batches = None if order is None else jnp.asarray(order)

    def run(flat: Any, rate: Any) -> Any:
        def update(flat: Any, rows: Any) -> tuple[Any, Any]:
            value, gradient = jax.value_and_grad(loss)(flat, rows)
            return flat - rate * gradient, (value, gradient) if work.record else ()

        return jax.lax.scan(update, flat, batches, length=work.updates)

    def way(axis: int) -> Way:
        call = jax.jit(jax.vmap(run, out_axes=(0, axis)))

        def train() -> Trained:
            final, kept = jax.block_until_ready(call(weights, rates))  # type: ignore[no-untyped-call]
            return Trained(final, *(np.swapaxes(np.asarray(each), 0, axis) for each in kept))

        return train

    found = {NAME: way(0)}
    return found | {"JAX, histories by epoch": way(1)} if work.record else found


def sums(inputs: Any, matrix: Any, biases: Any) -> Any:
    z = inputs @ matrix.T
    return z if biases is None else z + biases
