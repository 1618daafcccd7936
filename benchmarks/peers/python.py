"""The guide's network in plain Python, as the guide writes it."""

from __future__ import annotations

import numpy as np

from work import Trained, Way, Work

NAME = "plain Python, 1 thread"


def train(work: Work) -> Trained:
    x, y, finals = work.x.item(), work.y.item(), []
    for (w1, w2), rate in zip(work.weights.tolist(), work.rates.tolist(), strict=True):
        for _ in range(work.epochs):
            z = w1 * x
            h = max(0, z)
            delta = -(y - w2 * h)
            dw1, dw2 = delta * w2 * (1 if z > 0 else 0) * x, delta * h
            w1, w2 = w1 - rate * dw1, w2 - rate * dw2
        finals.append((w1, w2))
    return Trained(np.array(finals))


def ways(work: Work) -> dict[str, Way]:
    return {NAME: lambda: train(work)}
