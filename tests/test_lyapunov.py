"""Lyapunov exponents, against maps whose exponents are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backprop_svc as bp

LINE = bp.Network(1, 1, activation="identity")
LINES = bp.Network(1, 1, 1, activation="identity")


def test_a_parameter_near_its_minimum() -> None:
    # The error is multiplied by 1 − lr·x²; beyond a rate of 2/x² it grows, here up to 1e146.
    rate = np.array([0.01, 0.1, 0.4, 0.6])
    found = bp.lyapunov_exponent(LINE, [0.5], 2.0, 3.0, learning_rate=rate)
    np.testing.assert_allclose(found, np.log(np.abs(1 - rate * 4)), rtol=1e-5)


def test_mini_batches_multiply() -> None:
    x, y, rate = np.array([1.0, 2.0, 0.5]), np.array([1.0, -1.0, 2.0]), 0.3
    told: dict[str, Any] = {"learning_rate": rate, "batch_size": 1, "batch_seed": 5}
    found = bp.lyapunov_exponent(LINE, [0.5], x, y, epochs=200, **told)
    np.testing.assert_allclose(found, np.log(np.abs(1 - rate * x**2)).sum(), rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov"])
def test_momentum_is_part_of_the_state(optimizer: str) -> None:
    lr, decay, epochs = 0.05, np.array([0.2, 0.5, 0.9]), 4000
    found = bp.lyapunov_exponent(
        LINE, [0.5], 2.0, 3.0,
        epochs=epochs, learning_rate=lr, optimizer=optimizer, momentum=decay,
    )  # fmt: skip
    for beta, exponent in zip(decay, found, strict=True):
        # (w − w*, v) after an epoch.
        ahead = beta if optimizer == "nesterov" else 0.0
        rest = np.array(
            [[1 - lr * 4 * (1 + ahead), -lr * beta * (beta if ahead else 1)], [4, beta]]
        )
        most = np.log(np.abs(np.linalg.eigvals(rest)).max())
        # Where the eigenvalues are complex the distance turns, too.
        assert exponent == pytest.approx(most, abs=10 / epochs)


def test_chaos_and_a_line_of_minima() -> None:
    # Alike, both weights go from u to u + η·u·(1 − u²); the largest exponent is along it.
    rates = np.array([0.5, 1.5, 1.9, 1.99])
    begin = bp.train(LINES, [0.4, 0.4], 1.0, 1.0, learning_rate=rates, epochs=2000, record=())
    found = bp.lyapunov_exponent(
        LINES, begin.weights, 1.0, 1.0, learning_rate=rates, epochs=4000
    )
    assert found[0] == pytest.approx(0, abs=1e-5)
    for rate, (u, _), exponent in zip(rates[1:], begin.weights[1:], found[1:], strict=True):
        total = 0.0
        for _ in range(4000):
            total += np.log(abs(1 + rate * (1 - 3 * u * u)))
            u += rate * u * (1 - u * u)
        assert exponent == pytest.approx(total / 4000, abs=0.03)
        assert exponent > 0.4


def test_it_goes_on_from_a_state() -> None:
    told: dict[str, Any] = {"learning_rate": 0.02, "optimizer": "adam"}
    rows = np.linspace(-1, 1, 5)
    half = bp.train(LINES, [0.4, 0.6], rows, rows, epochs=50, **told)
    found = bp.lyapunov_exponent(
        LINES, half.weights, rows, rows, epochs=400, state=half.state, **told
    )
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    "told",
    [
        {"optimizer": "gradient_descent"},
        {"optimizer": "nesterov", "momentum": np.linspace(0, 0.9, 5)},
        {"optimizer": "adam", "epsilon": 1e-3},
        {"optimizer": "gradient_descent", "batch_size": 2, "batch_seed": np.arange(5)},
        {"optimizer": "gradient_descent", "gain": np.linspace(0.5, 1.5, 5)},
    ],
)
def test_a_training_measures_where_each_run_ended(told: dict[str, Any]) -> None:
    """Some of its runs end early; each has the bits that it has alone."""
    rows, rates = np.linspace(-1, 1, 5), np.array([0.3, 0.01, 0.9, 1.1, 1e9])
    training: dict[str, Any] = {"learning_rate": rates, "epochs": 120, **told}
    result = bp.train(
        LINES, [0.4, 0.6], rows, rows,
        stop_when_converged=True, divergence_bound=1e6, schedule="step", lyapunov_epochs=42,
        **training,
    )  # fmt: skip
    assert result.lyapunov_exponent is not None
    assert len(set(result.epochs.tolist())) > 1
    for place, run in enumerate(result):
        (found,) = result.lyapunov_exponent[place : place + 1]
        if run.diverged_at[0] >= 0:
            assert np.isnan(found)
            continue
        own = {n: v[place] if isinstance(v, np.ndarray) else v for n, v in told.items()}
        alone = bp.lyapunov_exponent(
            LINES, run.weights, rows, rows,
            epochs=42, state=run.state, learning_rate=rates[place], **own,
        )  # fmt: skip
        assert found == alone[0]
    assert np.isnan(result.lyapunov_exponent).any()


def test_runs_that_diverge_have_none() -> None:
    rates = np.array([0.5, 3.0])
    found = bp.lyapunov_exponent(LINES, [0.4, 0.4], 1.0, 1.0, learning_rate=rates)
    np.testing.assert_array_equal(np.isnan(found), [False, True])
    assert bp.lyapunov_exponent(LINES, np.empty((0, 2)), 1.0, 1.0).shape == (0,)


def test_what_it_does_not_take() -> None:
    with pytest.raises(bp.SettingTypeError, match="the setting 'schedule'; allowed: state"):
        bp.lyapunov_exponent(LINE, [0.5], 1.0, 1.0, schedule="cosine")
    with pytest.raises(bp.SettingError, match="epochs is 0; allowed: whole numbers from 1"):
        bp.lyapunov_exponent(LINE, [0.5], 1.0, 1.0, epochs=0)
