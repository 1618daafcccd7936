"""PyTorch: all runs in one batch, compiled where it can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from work import THREADS, Trained, Way, Work

UNROLLED = 20
"""Epochs of the guide's network in a call: compiled, they keep their numbers in registers."""
torch.set_num_threads(THREADS)
torch.set_grad_enabled(False)


def ways(work: Work) -> dict[str, Way]:
    make = guide if work.network.parameters == 2 else dense
    for name, compile_it in (("compiled", torch.compile), ("eager", lambda function: function)):
        way = make(work, compile_it)
        try:
            way()
        except RuntimeError:
            continue
        return {f"PyTorch, {name}": way}
    return {}


def guide(work: Work, compiled: Callable[[Any], Any]) -> Way:
    x, y = work.x.item(), work.y.item()
    weights, rates = torch.from_numpy(work.weights), torch.from_numpy(work.rates)

    @compiled
    def some(w1: Any, w2: Any) -> Any:
        kept = []
        for _ in range(UNROLLED):
            z = w1 * x
            h = torch.relu(z)
            error = y - w2 * h
            dw1, dw2 = -error * w2 * (z > 0) * x, -error * h
            if work.record:
                kept.append((0.5 * error * error, dw1, dw2))
            w1, w2 = w1 - rates * dw1, w2 - rates * dw2
        return w1, w2, kept

    def train() -> Trained:
        w1, w2 = weights.T.contiguous()
        kept: list[Any] = []
        for _ in range(work.epochs // UNROLLED):
            w1, w2, more = some(w1, w2)
            kept += more
        final = torch.stack([w1, w2], dim=1)
        if not work.record:
            return Trained(final)
        loss, *gradients = (torch.stack(each) for each in zip(*kept, strict=True))
        return Trained(final, loss.T, torch.stack(gradients).permute(2, 1, 0))

    return train


def dense(work: Work, compiled: Callable[[Any], Any]) -> Way:
    """Two layers, with matrix products of batches."""
    network = work.network
    weights, rates, x, y = map(torch.from_numpy, work.arrays())
    order = None if work.order is None else torch.from_numpy(work.order)
    steps = rates[:, None, None]

    @compiled
    def update(first: Any, b1: Any, second: Any, b2: Any, x: Any, y: Any) -> Any:
        z = torch.einsum("ni,rhi->rnh", x, first)
        z = z if b1 is None else z + b1[:, None]
        relu = network.activation == "relu"
        h = torch.relu(z) if relu else torch.tanh(network.gain * z)
        slopes = z > 0 if relu else network.gain * (1 - h * h)
        z = h @ second.mT
        z = z if b2 is None else z + b2[:, None]
        z = torch.softmax(z, dim=2) if network.loss == "softmax_cross_entropy" else z
        delta = (z - y) / len(x)
        below = (delta @ second) * slopes
        return (
            first - steps * torch.einsum("rnh,ni->rhi", below, x),
            None if b1 is None else b1 - rates[:, None] * below.sum(dim=1),
            second - steps * (delta.mT @ h),
            None if b2 is None else b2 - rates[:, None] * delta.sum(dim=1),
        )

    def train() -> Trained:
        state = [part for layer in work.layers(weights) for part in layer]
        for step in range(work.updates):
            rows = slice(None) if order is None else order[step]
            state = update(*state, x[rows], y[rows])
        parts = [part.flatten(1) for part in state if part is not None]
        return Trained(torch.cat(parts, dim=1))

    return train
