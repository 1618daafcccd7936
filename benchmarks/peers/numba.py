"""numba: the guide's network run by run and in blocks of runs, others run by run with BLAS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from peers import NUMBA_BLOCKS
from work import THREADS, Trained, Way, Work

BLOCK = 64
numba.set_num_threads(THREADS)
prange = numba.prange


def ways(work: Work) -> dict[str, Way]:
    if work.network.parameters > 2:
        return {"numba, runs with BLAS": dense(work)}
    return {
        "numba, run by run": histories(work, run_by_run),
        NUMBA_BLOCKS: histories(work, blocks),
    }


def histories(work: Work, make: Callable[[float, float, int, bool], Any]) -> Way:
    keep = bool(work.record)
    loop = make(work.x.item(), work.y.item(), work.epochs, keep)
    runs, epochs = len(work.rates), work.epochs if keep else 0

    def train() -> Trained:
        weights, loss, gradients = work.weights.copy(), np.empty((runs, epochs)), None
        gradients = np.empty((runs, epochs, 2))
        loop(weights, work.rates, loss, gradients)
        return Trained(weights, loss, gradients) if keep else Trained(weights)

    return train


def run_by_run(x: float, y: float, epochs: int, keep: bool) -> Any:
    def loop(weights: Any, rates: Any, loss: Any, gradients: Any) -> None:
        for run in prange(len(rates)):
            w1, w2, rate = weights[run, 0], weights[run, 1], rates[run]
            for epoch in range(epochs):
                z = w1 * x
                h = z if z > 0.0 else 0.0
                error = y - w2 * h
                delta = -error
                dw1 = delta * w2 * (1.0 if z > 0.0 else 0.0) * x
                dw2 = delta * h
                if keep:
                    loss[run, epoch] = 0.5 * (error * error)
                    gradients[run, epoch, 0] = dw1
                    gradients[run, epoch, 1] = dw2
                w1 -= rate * dw1
                w2 -= rate * dw2
            weights[run, 0] = w1
            weights[run, 1] = w2

    return numba.njit(parallel=True)(loop)


def blocks(x: float, y: float, epochs: int, keep: bool) -> Any:
    """Keep the numbers of a block in arrays of their own, which become vector instructions."""

    def loop(weights: Any, rates: Any, loss: Any, gradients: Any) -> None:
        for block in prange((len(rates) + BLOCK - 1) // BLOCK):
            first = block * BLOCK
            count = min(BLOCK, len(rates) - first)
            w1, w2, rate = np.zeros(BLOCK), np.zeros(BLOCK), np.zeros(BLOCK)
            error, dw1, dw2 = np.zeros(BLOCK), np.zeros(BLOCK), np.zeros(BLOCK)
            w1[:count] = weights[first : first + count, 0]
            w2[:count] = weights[first : first + count, 1]
            rate[:count] = rates[first : first + count]
            for epoch in range(epochs):
                for lane in range(BLOCK):
                    z = w1[lane] * x
                    h = z if z > 0.0 else 0.0
                    e = y - w2[lane] * h
                    d1 = -e * w2[lane] * (1.0 if z > 0.0 else 0.0) * x
                    d2 = -e * h
                    if keep:
                        error[lane] = e
                        dw1[lane] = d1
                        dw2[lane] = d2
                    w1[lane] -= rate[lane] * d1
                    w2[lane] -= rate[lane] * d2
                if keep:
                    for lane in range(count):
                        loss[first + lane, epoch] = 0.5 * (error[lane] * error[lane])
                        gradients[first + lane, epoch, 0] = dw1[lane]
                        gradients[first + lane, epoch, 1] = dw2[lane]
            weights[first : first + count, 0] = w1[:count]
            weights[first : first + count, 1] = w2[:count]

    return numba.njit(parallel=True)(loop)


def dense(work: Work) -> Way:
    """Two layers; the rows of an update are matrices."""
    network, order = work.network, work.order
    weights, rates, x, y = work.arrays()
    inputs, hidden, outputs = network.sizes
    bias, relu = network.bias, network.activation == "relu"
    softmax = network.loss == "softmax_cross_entropy"
    gain, one, updates = x.dtype.type(network.gain), x.dtype.type(1), work.updates
    rows = x.dtype.type(work.batch_size or len(x))
    batches = np.empty((updates, 0), np.intp) if order is None else order
    whole = order is None
    a = hidden * inputs
    b = a + hidden * bias
    c = b + outputs * hidden

    def loop(weights: Any, rates: Any, x: Any, y: Any, batches: Any) -> None:
        for run in prange(len(rates)):
            flat = weights[run]
            first, second = flat[:a].reshape(hidden, inputs), flat[b:c].reshape(outputs, hidden)
            for update in range(updates):
                rows_x = x if whole else x[batches[update]]
                rows_y = y if whole else y[batches[update]]
                z = rows_x @ first.T
                if bias:
                    z += flat[a:b]
                h = np.maximum(z, z.dtype.type(0)) if relu else np.tanh(gain * z)
                delta = h @ second.T
                if bias:
                    delta += flat[c:]
                if softmax:
                    for row in range(len(delta)):
                        powers = np.exp(delta[row] - delta[row].max())
                        delta[row] = powers / powers.sum()
                delta = (delta - rows_y) / rows
                slopes = (z > 0) * one if relu else gain * (one - h * h)
                below = (delta @ second) * slopes
                first -= rates[run] * (below.T @ rows_x)
                second -= rates[run] * (delta.T @ h)
                if bias:
                    flat[a:b] -= rates[run] * below.sum(axis=0)
                    flat[c:] -= rates[run] * delta.sum(axis=0)

    compiled = numba.njit(parallel=True)(loop)

    def train() -> Trained:
        final = weights.copy()
        compiled(final, rates, x, y, batches)
        return Trained(final)

    return train
