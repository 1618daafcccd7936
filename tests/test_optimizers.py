"""Optimizers, schedules, mini-batches by their equations, with JAX's gradients."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import backprop_svc as bp
from backprop_svc.arrays import Floats

jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
SIZES, ROWS, RUNS, EPOCHS = (3, 4, 2), 11, 9, 30
FIRST = SIZES[0] * SIZES[1]
"""Parameters of the first layer."""
NETWORK = bp.Network(*SIZES, activation="tanh")


def problem() -> tuple[Floats, Floats, Floats, Floats]:
    generator = np.random.default_rng(5)
    weights = generator.normal(0, 0.5, (RUNS, NETWORK.parameters))
    x, y = generator.normal(size=(ROWS, SIZES[0])), generator.normal(size=(ROWS, SIZES[2]))
    return weights, x, y, generator.uniform(0.01, 0.05, RUNS)


def gradient(flat: Any, x: Any, y: Any) -> Any:
    def loss(flat: Any) -> Any:
        hidden = jnp.tanh(x @ flat[:FIRST].reshape(SIZES[1], SIZES[0]).T)
        z = hidden @ flat[FIRST:].reshape(SIZES[2], SIZES[1]).T
        return 0.5 * ((y - z) ** 2).sum(axis=1).mean()

    return jax.grad(loss)(flat)


def factor(epoch: int, schedule: str, warmup: int) -> float:
    if epoch < warmup:
        return (epoch + 1) / warmup
    since = epoch - warmup
    if schedule == "step":
        return float(0.3 ** (since // 7))
    return (
        0.5 * (1 + np.cos(np.pi * since / (EPOCHS - warmup))) if schedule == "cosine" else 1.0
    )


def expected(
    optimizer: str,
    decay: float,
    schedule: str,
    warmup: int,
    batch_size: int | None,
    rates: Floats,
) -> Floats:
    """The final weights, by the equations in the documentation of ``train``."""
    weights, x, y, _ = problem()
    w, m, v = weights, np.zeros_like(weights), np.zeros_like(weights)
    gradients = jax.jit(jax.vmap(gradient, in_axes=(0, None, None)))
    generator = np.random.RandomState(3)
    size, step = batch_size or ROWS, 0
    for epoch in range(EPOCHS):
        order = generator.permutation(ROWS) if batch_size else np.arange(ROWS)
        for start in range(0, ROWS, size):
            rows = order[start : start + size]
            g = np.asarray(gradients(w, x[rows], y[rows]))
            step += 1
            if optimizer == "gradient_descent":
                direction = g
            elif optimizer == "adam":
                m, v = 0.8 * m + 0.2 * g, 0.99 * v + 0.01 * g**2
                direction = m / (1 - 0.8**step) / (np.sqrt(v / (1 - 0.99**step)) + 1e-7)
            else:
                m = 0.8 * m + g
                direction = m if optimizer == "momentum" else g + 0.8 * m
            w = w - rates * factor(epoch, schedule, warmup) * (direction + decay * w)
    return w


@pytest.mark.parametrize(
    ("optimizer", "decay", "schedule", "warmup", "batch_size", "layers"),
    [
        ("gradient_descent", 0.0, "constant", 0, None, True),
        ("gradient_descent", 0.1, "step", 0, 4, False),
        ("momentum", 0.0, "constant", 0, None, False),
        ("momentum", 0.1, "cosine", 5, 3, True),
        ("nesterov", 0.0, "constant", 0, None, False),
        ("nesterov", 0.1, "step", 3, 11, False),
        ("adam", 0.0, "constant", 0, None, False),
        ("adam", 0.1, "cosine", 0, 4, True),
    ],
)
def test_final_weights(
    optimizer: Any,
    decay: float,
    schedule: Any,
    warmup: int,
    batch_size: int | None,
    layers: bool,
) -> None:
    weights, x, y, rates = problem()
    learning_rate = np.column_stack([rates, 2 * rates]) if layers else rates
    found = bp.train(
        NETWORK, weights, x, y,
        learning_rate=learning_rate, epochs=EPOCHS, optimizer=optimizer, momentum=0.8,
        beta2=0.99, epsilon=1e-7, weight_decay=decay, schedule=schedule, warmup=warmup,
        step_epochs=7, step_factor=0.3, batch_size=batch_size, batch_seed=3,
    )  # fmt: skip
    wide = np.repeat(learning_rate.reshape(RUNS, -1), (FIRST, 8) if layers else 20, axis=1)
    final = expected(optimizer, decay, schedule, warmup, batch_size, wide)
    assert np.abs(found.weights - final).max() <= 1e-12 * np.abs(final).max()


def test_an_epoch_of_mini_batches_is_the_mean_over_its_rows() -> None:
    weights, x, y, rates = problem()
    found = bp.train(
        NETWORK, weights, x, y, learning_rate=rates, epochs=1, batch_size=4, batch_seed=0
    )
    order = np.random.RandomState(0).permutation(ROWS)
    w, losses, gradients = weights, np.zeros(RUNS), np.zeros_like(weights)
    for rows in np.split(order, [4, 8]):
        loss, gradient = bp.gradients(NETWORK, w, x[rows], y[rows])
        losses, gradients = losses + len(rows) * loss, gradients + len(rows) * gradient
        w = w - rates[:, np.newaxis] * gradient
    assert found.loss is not None
    assert found.gradients is not None
    np.testing.assert_allclose(found.loss[:, 0], losses / ROWS, rtol=1e-13)
    np.testing.assert_allclose(found.gradients[:, 0], gradients / ROWS, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("network", [NETWORK, bp.Network(1, 1, 1)])
def test_precisions_agree(network: bp.Network) -> None:
    generator = np.random.default_rng(1)
    weights = generator.normal(0, 0.5, (40, network.parameters))
    x = generator.normal(size=(ROWS, network.inputs))
    y = generator.normal(size=(ROWS, network.outputs))
    single = bp.Network(*network.sizes, activation=network.activation, dtype="float32")
    exact = bp.train(network, weights, x, y, epochs=50)
    fast = bp.train(network, weights, x, y, epochs=50, precision="fast")
    narrow = [
        bp.train(single, weights, x, y, epochs=50, precision=precision)
        for precision in ("exact", "fast")
    ]
    np.testing.assert_allclose(fast.weights, exact.weights, rtol=0, atol=1e-12)
    for result in narrow:
        np.testing.assert_allclose(result.weights, exact.weights, rtol=0, atol=1e-4)
        assert (result.weights == result.weights.astype(np.float32)).all()
        assert result.weights.tobytes() != exact.weights.tobytes()


def test_float32_ends_where_its_range_ends() -> None:
    linear = bp.Network(1, 1, dtype="float32")
    result = bp.train(linear, [1.0], 2.0, 3.0, learning_rate=10.0, epochs=100)
    assert result.outcome[0] == "diverged"
    assert np.isfinite(result.weights).all()
    assert (
        result.diverged_at[0]
        < bp.train(
            bp.Network(1, 1), [1.0], 2.0, 3.0, learning_rate=10.0, epochs=200
        ).diverged_at[0]
    )


def test_any_thread_count_and_company_gives_the_same_bits() -> None:
    weights, x, y, rates = problem()
    settings: dict[str, Any] = {
        "optimizer": "adam", "schedule": "cosine", "batch_size": 4, "epochs": 20
    }  # fmt: skip
    one = bp.train(NETWORK, weights, x, y, learning_rate=rates, threads=1, **settings)
    for threads in (2, 3):
        more = bp.train(
            NETWORK, weights, x, y, learning_rate=rates, threads=threads, **settings
        )
        assert more.weights.tobytes() == one.weights.tobytes()
    alone = bp.train(NETWORK, weights[4], x, y, learning_rate=rates[4], **settings)
    assert alone.weights.tobytes() == one.weights[4:5].tobytes()
    # A neighbour that diverges changes nothing, whatever the optimizer remembers.
    wild = np.where(np.arange(RUNS) == 3, 1e300, rates)
    other = bp.train(NETWORK, weights, x, y, learning_rate=wild, **settings)
    assert other.outcome[3] == "diverged"
    kept = np.arange(RUNS) != 3
    assert other.weights[kept].tobytes() == one.weights[kept].tobytes()


def test_stop_when_converged_ends_each_run_once_it_has_converged() -> None:
    guide, rates = bp.Network(1, 1, 1), np.linspace(0.02, 0.15, 50)
    whole = bp.train(guide, [0.5, 1.0], 2.0, 3.0, learning_rate=rates, epochs=200)
    early = bp.train(
        guide,
        [0.5, 1.0],
        2.0,
        3.0,
        learning_rate=rates,
        epochs=200,
        stop_when_converged=True,
        record=["loss", "weights"],
    )
    assert whole.loss is not None
    assert early.loss is not None
    assert early.weight_history is not None
    assert (early.outcome == "converged").all()
    # A weight is multiplied by some 1 − lr·λ in an epoch, λ about 13: most come to rest.
    assert (early.epochs < 200).sum() > 30
    np.testing.assert_allclose(early.weights, whole.weights, rtol=1e-14)
    for run, done in enumerate(early.epochs.tolist()):
        assert early.loss[run, :done].tobytes() == whole.loss[run, :done].tobytes()
        assert np.isnan(early.loss[run, done:]).all()
        assert early.last_loss[run] == whole.loss[run, done - 1]


def test_a_time_limit_ends_all_runs_where_they_are() -> None:
    begin = time.monotonic()
    result = bp.train(
        bp.Network(1, 1, 1), [0.5, 1.0], 2.0, 3.0,
        learning_rate=1e-9, epochs=10**12, record=[], time_limit=0.2,
    )  # fmt: skip
    assert 0.2 <= time.monotonic() - begin < 60
    assert 0 < result.epochs[0] < 10**12
    assert result.outcome[0] == "unresolved"


def test_histories_of_each_so_many_epochs() -> None:
    weights, x, y, rates = problem()
    for epochs, every, recorded in (
        (20, 1, list(range(20))), (20, 7, [0, 7, 14, 19]), (15, 7, [0, 7, 14]), (1, 9, [0])
    ):  # fmt: skip
        settings: dict[str, Any] = {"learning_rate": rates, "epochs": epochs}
        whole = bp.train(NETWORK, weights, x, y, **settings)
        some = bp.train(NETWORK, weights, x, y, record_every=every, **settings)
        assert some.recorded.tolist() == recorded
        for name in ("loss", "prediction", "gradients"):
            kept = getattr(whole, name)[:, recorded]
            np.testing.assert_array_equal(getattr(some, name), kept)
    wild = bp.train(NETWORK, weights, x, y, learning_rate=1e200, epochs=20, record_every=3)
    assert wild.loss is not None
    # The last place holds the last epoch of each run, however early it diverged.
    whole = bp.train(NETWORK, weights, x, y, learning_rate=1e200, epochs=20)
    assert whole.loss is not None
    later = wild.recorded >= wild.epochs[:, np.newaxis]
    assert later[:, :-1].any()
    np.testing.assert_array_equal(np.isnan(wild.loss[:, :-1]), later[:, :-1])
    last = whole.loss[np.arange(RUNS), wild.epochs - 1]
    np.testing.assert_array_equal(wild.loss[:, -1], last)
    only = bp.train(NETWORK, weights, x, y, learning_rate=1e200, epochs=20, record_every=0)
    assert only.loss is not None
    assert only.recorded.tolist() == [19]
    np.testing.assert_array_equal(only.loss[:, 0], last)


def test_the_loss_ratio_is_the_paper_s() -> None:
    rates = np.geomspace(0.01, 1, 40)
    result = bp.train(
        bp.Network(1, 1),
        [0.5],
        2.0,
        3.0,
        learning_rate=rates,
        epochs=700,
        divergence_bound=1e200,
    )
    assert result.loss is not None
    ratio = result.loss / result.loss[:, :1]
    last = np.where(ratio < 1e6, ratio, 1e6)[:, -20:]
    np.testing.assert_allclose(result.loss_ratio, last.mean(axis=1), rtol=1e-12)
    # One weight: it converges if and only if lr·x² < 2.
    np.testing.assert_array_equal(result.loss_ratio < 1, 4 * rates < 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; allowed: gradient_descent, momentum"),
        ({"optimizer": "adam", "beta2": 1.0}, "beta2 is 1; allowed: numbers from 0"),
        ({"optimizer": "momentum", "momentum": -1.0}, "momentum is -1; allowed"),
        ({"schedule": "linear"}, "schedule is 'linear'; allowed: constant, step, cosine"),
        ({"schedule": "step", "step_factor": 2.0}, "step_factor is 2; allowed"),
        ({"warmup": 21}, "warmup is 21; allowed: whole numbers from 0 to the number"),
        ({"batch_size": 0}, "batch_size is 0; allowed"),
        ({"batch_size": 1, "batch_seed": -1}, "batch_seed is -1; allowed"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1; allowed"),
        ({"precision": "half"}, "precision is 'half'; allowed: exact, fast"),
        ({"record_every": -1}, "record_every is -1; allowed"),
        ({"time_limit": 0.0}, "time_limit is 0; allowed: seconds from 1e-9"),
        ({"learning_rate": [[0.1, 0.1, 0.1]]}, r"learning_rate has shape \(1, 3\); allowed"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bp.train(bp.Network(1, 1, 1), [0.5, 1.0], 2.0, 3.0, **settings)
