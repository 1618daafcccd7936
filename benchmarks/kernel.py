"""Training beside NumPy, the guide's plain Python and JAX: the same work, the same threads."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import backprop_svc as bp
from backprop_svc.training import Floats, Record

jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
GUIDE = bp.Network(1, 1, 1)
X, Y = 2.0, 3.0
HISTORY: tuple[Record, ...] = ("loss", "gradients")


@dataclass
class Work:
    """The same training of many runs, for everybody."""

    network: bp.Network
    weights: Floats
    rates: Floats
    x: Any
    y: Any
    epochs: int
    record: tuple[Record, ...] = ()

    @property
    def steps(self) -> int:
        """Updates of all runs."""
        return len(self.rates) * self.epochs

    def few(self, part: int) -> Work:
        """Only one of so many runs."""
        count = len(self.rates) // part
        return Work(
            **{**vars(self), "weights": self.weights[:count], "rates": self.rates[:count]}
        )


def guide(runs: int, epochs: int, record: tuple[Record, ...] = ()) -> Work:
    generator = np.random.default_rng(0)
    weights = generator.uniform(-1, 2, (runs, 2))
    return Work(GUIDE, weights, generator.uniform(0.001, 0.15, runs), X, Y, epochs, record)


def fractal(runs: int, epochs: int) -> Work:
    """Sohl-Dickstein's set-up (arXiv 2402.06184), one learning rate for both layers.

    ŷ = W₁·φ(W₀·x/√n)/n with φ = tanh(√2·z) is a network of ours with W₁/n for its second
    layer; its loss is the mean of (ŷ − y)², twice ours.
    """
    generator, width, rows = np.random.default_rng(0), 16, 272
    network = bp.Network(width, width, 1, activation="tanh", gain=2**0.5)
    weights = np.tile(generator.normal(size=network.parameters), (runs, 1))
    weights[:, width * width :] /= width
    x, y = generator.normal(size=(rows, width)) / width**0.5, generator.normal(size=(rows, 1))
    return Work(network, weights, np.geomspace(1e-3, 0.3, runs), x, y, epochs)


def ours(work: Work, threads: int | None = None) -> bp.Result:
    return bp.train(
        work.network,
        work.weights,
        work.x,
        work.y,
        learning_rate=work.rates,
        epochs=work.epochs,
        record=work.record,
        threads=threads,
    )


def numpy(work: Work) -> Floats:
    w1, w2 = work.weights.T.copy()
    for _ in range(work.epochs):
        z = w1 * X
        h = np.where(z > 0, z, 0.0)
        delta = -(Y - w2 * h)
        gradient = delta * w2 * (z > 0) * X
        w2 = w2 - work.rates * (delta * h)
        w1 = w1 - work.rates * gradient
    return np.column_stack([w1, w2])


def plain(work: Work) -> Floats:
    finals = []
    for (w1, w2), rate in zip(work.weights.tolist(), work.rates.tolist(), strict=True):
        for _ in range(work.epochs):
            z = w1 * X
            h = max(0, z)
            delta = -(Y - w2 * h)
            dw1, dw2 = delta * w2 * (1 if z > 0 else 0) * X, delta * h
            w1, w2 = w1 - rate * dw1, w2 - rate * dw2
        finals.append((w1, w2))
    return np.array(finals)


def compiled(work: Work) -> Callable[[], Any]:
    """JAX's jit(vmap(scan)), compiled before the clock starts."""
    phi: Callable[[Any], Any] = jax.nn.relu if work.network.activation == "relu" else jnp.tanh
    shapes = list(zip(work.network.sizes[1:], work.network.sizes[:-1], strict=True))
    end = shapes[0][0] * shapes[0][1]
    x = jnp.asarray(work.x).reshape(-1, work.network.inputs)
    y = jnp.asarray(work.y).reshape(-1, work.network.outputs)

    def loss(flat: Any) -> Any:
        h = phi(work.network.gain * (x @ flat[:end].reshape(shapes[0]).T))
        return 0.5 * ((y - h @ flat[end:].reshape(shapes[1]).T) ** 2).sum(axis=1).mean()

    def run(weights: Any, rate: Any) -> Any:
        def epoch(flat: Any, _: Any) -> tuple[Any, Any]:
            value, gradient = jax.value_and_grad(loss)(flat)
            return flat - rate * gradient, (value, gradient) if work.record else None

        return jax.lax.scan(epoch, weights, None, length=work.epochs)

    call = jax.jit(jax.vmap(run))
    weights, rates = jnp.asarray(work.weights), jnp.asarray(work.rates)
    jax.block_until_ready(call(weights, rates))  # type: ignore[no-untyped-call]
    return lambda: jax.block_until_ready(call(weights, rates))  # type: ignore[no-untyped-call]


def seconds(work: Callable[[], object], times: int = 3) -> float:
    best = float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best


def same(found: Floats, expected: Any) -> None:
    sound = np.isfinite(found).all(axis=1) & np.isfinite(expected).all(axis=1)
    assert sound.mean() > 0.9
    np.testing.assert_allclose(found[sound], np.asarray(expected)[sound], rtol=1e-6, atol=1e-9)


def show(title: str, work: Work, timings: dict[str, float]) -> None:
    best = timings["ours, all cores"]
    table = Table(title=title, title_justify="left")
    for column in ("", "ns per step", "runs/s", "ours is faster by"):
        table.add_column(column, justify="right")
    for name, each in timings.items():
        runs = f"{1e9 / (each * work.epochs):,.0f}"
        table.add_row(name, f"{each:,.2f}", runs, f"{each / best:.2f} ×")
    Console().print(table)


def measure(work: Work, more: dict[str, Callable[[], object]]) -> dict[str, float]:
    ways: dict[str, Callable[[], object]] = {
        **more,
        "ours, 1 thread": lambda: ours(work, 1),
        "ours, all cores": lambda: ours(work),
    }
    return {name: seconds(way) / work.steps * 1e9 for name, way in ways.items()}


def main() -> None:
    """Check that the results are equal, then time them."""
    info = bp.build_info()
    print(f"{platform.machine()}, {info['simd']}, {info['threads']} threads, float64, exact")

    work = guide(65_536, 1000)
    few = work.few(64)
    assert ours(few).weights.tobytes() == numpy(few).tobytes() == plain(few).tobytes()
    xla = compiled(work)
    same(ours(work).weights, xla()[0])
    timings = measure(work, {"NumPy": lambda: numpy(work), "JAX jit(vmap(scan))": xla})
    python = {"plain Python": seconds(lambda: plain(few), 1) / few.steps * 1e9}
    show("guide's network, 65,536 runs × 1,000 epochs", work, python | timings)

    work = guide(1_000_000, 20, HISTORY)
    xla = compiled(work)
    same(ours(work).weights, xla()[0])
    # The histories in bytes, set once: a fresh array each time, as everybody returns one.
    values = work.steps * 3
    memset = {"memset of the histories": lambda: np.full(values, 1.0)}
    timings = measure(work, {"JAX jit(vmap(scan))": xla, **memset})
    show("the same with loss and gradients kept, 1,000,000 runs × 20 epochs", work, timings)

    work = fractal(256, 100)
    xla = compiled(work)
    same(ours(work).weights[:128], xla()[0][:128])
    timings = measure(work, {"JAX jit(vmap(scan))": xla})
    show("16-16-1 tanh on 272 rows (arXiv 2402.06184), 256 runs × 100 epochs", work, timings)

    one = Work(GUIDE, np.array([[0.5, 1.0]]), np.array([1e-9]), X, Y, 1_000_000)
    each = seconds(lambda: ours(one, 1)) / one.steps * 1e9
    print(f"one run of the guide's network: {each:.2f} ns a step")


if __name__ == "__main__":
    main()
