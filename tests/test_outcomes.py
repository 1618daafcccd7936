"""Outcomes against mathematics, published laws, and a naive twin in long double."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import backprop_svc as bp

GUIDE = bp.Network(1, 1, 1)
LINEAR = bp.Network(1, 1, 1, activation="identity")
ONE = bp.Network(1, 1)
FLIGHT = {"learning_rate": 1, "optimizer": "momentum"}
XOR = ([[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]])


def told(network: bp.Network, weights: Any, x: Any, y: Any, **settings: Any) -> str:
    """Train one run, and return its outcome and where it stalled."""
    result = bp.train(network, weights, x, y, record=[], **settings)
    return f"{result.outcome[0]} {result.stall[0]}".strip()


@pytest.mark.parametrize(
    ("network", "weights", "x", "y", "settings", "expected"),
    [
        (LINEAR, [1e-8, 1e-8], 1, 1, {}, "stalled saddle"),
        (LINEAR, [1e-8, 1e-8], 1, 1, {"epochs": 500}, "converged"),
        (LINEAR, [0, 0], 1, 1, {}, "stalled saddle"),
        (LINEAR, [0, 0], 1, 1e5, {"learning_rate": 1e-6}, "stalled saddle"),
        (bp.Network(1, 1, 1, 1, activation="identity"), [0, 0, 0], 1, 1, {}, "stalled saddle"),
        (bp.Network(1, 1, output="sigmoid"), [-1000], 1, 1, {}, "stalled plateau"),
        (bp.Network(1, 1, output="sigmoid"), [-25], 1, 1, {}, "stalled plateau"),
        # The square of a gradient that is this small is 0.
        (bp.Network(1, 1, 1, activation="sigmoid"), [-400, 1], 1, 1, {}, "stalled plateau"),
        (bp.Network(1, 1, output="sigmoid"), [-2], 1, 1, {}, "unresolved"),
        # Exactly on a minimum: lr·λ is 1.3, and 13.
        (LINEAR, [1, 1.5], 2, 3, {"learning_rate": 0.1}, "converged"),
        (LINEAR, [1, 1.5], 2, 3, {"learning_rate": 1.0}, "stalled repelling minimum"),
        # Before training a small loss is nothing.
        (GUIDE, [0.5, 1], 2, 1e-3, {"learning_rate": 1e-3, "epochs": 1}, "unresolved"),
        # Steps that are tiny are no rest.
        (LINEAR, [0.5, 1], 2, 3, {"learning_rate": 1e-12}, "unresolved"),
        # The minimum with decay: w = 1 / (1 + λ).
        (ONE, [0], 1, 1, {"weight_decay": 0.1, "epochs": 500}, "converged"),
        # A minimum at 0.
        (ONE, [1], 1, 0, {"epochs": 400}, "converged"),
        # Regression with noise, whose loss is far from 0.
        (ONE, [0], [1, 2, 3], [3, 1, 2], {"epochs": 400}, "converged"),
        (ONE, [0], [1, 2, 3], [3, 1, 2], {"epochs": 400, "optimizer": "momentum"}, "converged"),
        # In flight: momentum passes the minimum at full speed.
        (ONE, [0], 1, 1, FLIGHT | {"epochs": 1}, "unresolved"),
        (ONE, [0], 1, 1, FLIGHT | {"epochs": 30}, "unresolved"),
        # Gradient descent turns back and forth with lr·λ = 2: the loss is always the same.
        (ONE, [0], 1, 1, {"learning_rate": 2, "epochs": 50}, "oscillating"),
    ],
)  # fmt: skip
def test_what_a_run_is_called(
    network: bp.Network, weights: Any, x: Any, y: Any, settings: Any, expected: str
) -> None:
    assert told(network, weights, x, y, **settings) == expected
    rows = max(1, np.size(x))
    # In units in which inputs and targets are larger, and the rates accordingly smaller.
    if network == ONE and "momentum" not in settings and rows == 1:
        scaled = {**settings, "learning_rate": settings.get("learning_rate", 0.1) / 1e6}
        if not settings.get("weight_decay"):
            assert told(network, weights, 1e3 * x, 1e3 * y, **scaled) == expected


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_zeros_are_a_saddle_of_the_exclusive_or(activation: str) -> None:
    network = bp.Network(2, 4, 1, activation=activation, bias=True, loss="binary_cross_entropy")
    zeros = np.zeros(network.parameters)
    assert told(network, zeros, *XOR, epochs=200) == "stalled saddle"


def test_dead_is_what_no_input_reaches_whatever_biases_do() -> None:
    network = bp.Network(1, 2, 1, bias=True)
    # Hidden weights, hidden biases, output weights, output bias.
    weights = [[-1, -2, -1, 0, 1, 1, 0], [-1, 2, -1, 0, 1, 1, 0]]
    result = bp.train(network, weights, [1, 2], [3, 4], learning_rate=0.1, epochs=5000)
    assert result.outcome.tolist() == ["dead", "converged"]
    assert result.died_at.tolist() == [0, -1]
    assert result.weights[0, -1] == pytest.approx(3.5), "its bias has the mean of the targets"
    deep = bp.Network(1, 1, 1, 1)
    assert told(deep, [1, -1, 1], 1, 1) == "dead"
    # Momentum carries a neuron that is off just now into life again.
    swing: dict[str, Any] = {"learning_rate": 0.2, "optimizer": "momentum", "momentum": 0.95}
    for epochs in range(1, 40):
        result = bp.train(GUIDE, [0.1, -2.0], 1.0, 1.0, epochs=epochs, **swing)
        if result.outcome[0] == "dead":
            later = bp.train(GUIDE, [0.1, -2.0], 1.0, 1.0, epochs=epochs + 200, **swing)
            assert later.outcome[0] == "dead"


def test_a_cycle_of_mini_batches_is_no_minimum() -> None:
    """Two rows that are the same: the two updates of an epoch lead there and back again."""
    settings: dict[str, Any] = {"learning_rate": 0.18, "batch_size": 1, "epochs": 2000}
    result = bp.train(LINEAR, [0.5, 1.0], [2.0, 2.0], [3.0, 3.0], record=[], **settings)
    assert result.outcome.tolist() == ["oscillating"]
    assert result.period.tolist() == [1]
    # With a smaller rate both batches are content.
    settings["learning_rate"] = 0.1
    assert told(LINEAR, [0.5, 1.0], [2.0, 2.0], [3.0, 3.0], **settings) == "converged"


def test_float32_converges_with_any_targets() -> None:
    for dtype in ("float64", "float32"):
        network = bp.Network(1, 1, 1, dtype=dtype)
        for target in (1e5, 1e-3):
            start = [np.sqrt(target), np.sqrt(target) / 2]
            rate = 0.2 / target
            assert (
                told(network, start, 1.0, target, learning_rate=rate, epochs=500) == "converged"
            )


def test_laws_of_the_step_size() -> None:
    """Liang & Montúfar, arXiv 2509.25351, at the guide's start: both sides of each rate."""
    start, epochs = [0.5, 1.0], 20_000
    edges = {
        (GUIDE, 1 / 6, 1e-3): ("converged", "oscillating"),
        (LINEAR, 1 / 6, 1e-3): ("converged", "oscillating"),
        (GUIDE, 0.266346, 1e-5): ("chaotic", "dead"),
        (LINEAR, 0.3171614, 1e-5): ("chaotic", "diverged"),
    }
    for (network, rate, margin), expected in edges.items():
        rates = [rate - margin, rate + margin]
        result = bp.train(
            network, start, 2.0, 3.0, learning_rate=rates, epochs=epochs, record=[]
        )
        assert tuple(result.outcome.tolist()) == expected, rate


def test_catapults_lie_between_two_and_four() -> None:
    """f = v·u, y = 0, λ = ‖u‖² + ‖v‖² (arXiv 2003.02218, 2311.02076), one update:

    f' = (1 − ηλ + η²f²)·f and λ' = λ + ηf²·(ηλ − 4).
    """
    network = bp.Network(1, 2, 1, activation="identity")
    start = np.array([1.0, 1e-4, 1e-4, 1.0])
    products = np.array([1.99, 2.01, 3.99, 4.01])
    rates = products / (start @ start)
    result = bp.train(network, start, 1.0, 0.0, learning_rate=rates, epochs=5000, record=[])
    assert result.outcome.tolist() == ["converged"] * 3 + ["diverged"]
    assert (result.highest_loss_at[:3] > 0).tolist() == [False, True, True]
    assert result.highest_loss[1] > 1000 * result.highest_loss[0]
    sharpness = rates[:3] * (result.weights[:3] ** 2).sum(axis=1)
    assert (sharpness < 2).all()


def cubic(u: Any, rate: Any) -> Any:
    """One epoch of balanced weights with x = y = 1 (Chen et al., arXiv 2310.01687)."""
    return u + rate * u * (1 - u * u)


@pytest.mark.parametrize("period", [2, 3, 4, 5, 6, 7, 12])
def test_windows_of_the_cubic_map(period: int) -> None:
    """Where the turning point of the map comes back to itself, a cycle attracts most."""

    def miss(rate: float, epochs: int) -> float:
        turning = u = np.sqrt((1 + rate) / (3 * rate))
        for _ in range(epochs):
            u = cubic(u, rate)
        return float(u - turning)

    grid = np.linspace(1.05, 1.99, 20_000)
    values = [miss(rate, period) for rate in grid]
    found = 0
    for low, high, a, b in zip(grid, grid[1:], values, values[1:], strict=False):
        if a * b > 0 or found == 3:
            continue
        for _ in range(60):
            middle = (low + high) / 2
            if (miss(middle, period) > 0) == (a > 0):
                low = middle
            else:
                high = middle
        parts = [p for p in range(1, period) if period % p == 0]
        if any(abs(miss(low, part)) < 1e-6 for part in parts):
            continue
        turning = np.sqrt((1 + low) / (3 * low))
        result = bp.train(
            LINEAR, [turning, turning], 1.0, 1.0, learning_rate=low, epochs=3000, record=[]
        )
        assert (result.outcome[0], result.period[0]) == ("oscillating", period), low
        single = bp.train(
            bp.Network(1, 1, 1, activation="identity", dtype="float32"),
            [turning, turning], 1.0, 1.0, learning_rate=low, epochs=3000, record=[],
        )  # fmt: skip
        assert single.period[0] in {0, period}, "rounding doubles no period"
        found += 1
    assert found


Long = NDArray[np.longdouble]


def forward(w: Long, rate: Any, relu: bool, epochs: int) -> Long:
    """Train in long double, by the chain rule and nothing else; weights of shape (2, runs)."""
    states = [w]
    for _ in range(epochs):
        p, q = states[-1]
        z = p * 2
        on = (z > 0) if relu else np.ones_like(z, dtype=bool)
        h = np.where(on, z, 0)
        error = 3 - q * h
        states.append(
            np.stack([p + rate * error * q * np.where(on, 2, 0), q + rate * error * h])
        )
    return np.stack(states)


@pytest.mark.parametrize("relu", [True, False])
def test_outcomes_are_those_of_a_naive_twin(relu: bool) -> None:
    network = GUIDE if relu else LINEAR
    random = np.random.default_rng(7 + relu)
    runs, epochs, more = 400, 4000, 1500
    starts = random.normal(size=(runs, 2))
    rates = random.uniform(0.001, 0.3, runs)
    result = bp.train(network, starts, 2.0, 3.0, learning_rate=rates, epochs=epochs, record=[])
    with np.errstate(all="ignore"):
        states = forward(result.weights.T.astype(np.longdouble), rates, relu, more)
        nudged = forward(states[0] * (1 + np.longdouble(1e-12)), rates, relu, more)
        size = np.abs(states[0]).max(axis=0)
        away = np.abs(states - states[0]).max(axis=1) / size
        apart = np.abs(nudged - states).max(axis=1) / size
    sharpness = rates * 4 * (states[0] ** 2).sum(axis=0)
    counts = dict.fromkeys(np.unique(result.outcome).tolist(), 0)
    for run, outcome in enumerate(result.outcome.tolist()):
        counts[outcome] += 1
        if outcome == "converged":
            assert away[:, run].max() < 1e-5
            assert sharpness[run] < 2.001
        elif outcome == "dead":
            assert away[:, run].max() == 0
            assert relu
            assert states[0][0, run] <= 0
        elif outcome == "oscillating":
            period = int(result.period[run])
            returns = np.flatnonzero(away[1:, run] < 1e-7) + 1
            assert returns[0] == period
            assert away[period : 10 * period : period, run].max() < 1e-5
        elif outcome == "chaotic":
            assert apart[:, run].max() > 1e-3
            assert 1e-3 < away[1:, run].max() < 1e3
        elif outcome != "diverged":
            assert outcome == "unresolved"
    assert counts["converged"] > runs / 8
    assert counts.get("unresolved", 0) < runs / 10
    assert {"oscillating", "chaotic"} <= counts.keys(), counts


def test_a_run_that_is_stopped_would_not_have_moved() -> None:
    random = np.random.default_rng(3)
    x, y = random.normal(size=(10, 2)), random.normal(size=10)
    problems: list[tuple[Any, ...]] = [
        (GUIDE, random.normal(size=(200, 2)), 2.0, 3.0),
        (LINEAR, np.full((200, 2), 1e-8), 1.0, 1.0),
        (bp.Network(2, 1), random.normal(size=(200, 2)), x, y),
    ]
    rates = np.linspace(0.01, 0.3, 200)
    for network, starts, inputs, targets in problems:
        for optimizer in ("gradient_descent", "momentum", "nesterov", "adam"):
            settings: dict[str, Any] = {"learning_rate": rates, "optimizer": optimizer}
            early = bp.train(
                network, starts, inputs, targets, epochs=4000, record=[],
                stop_when_converged=True, **settings,
            )  # fmt: skip
            whole = bp.train(
                network, starts, inputs, targets, epochs=4000, record=[], **settings
            )
            stopped = (early.epochs < 4000) & (early.outcome != "diverged")
            assert (stopped.sum() > 40) == (optimizer != "adam" or network == GUIDE)
            size = np.abs(whole.weights).max(axis=1, keepdims=True)
            moved = (np.abs(early.weights - whole.weights) / size).max(axis=1)
            assert moved[stopped].max(initial=0) < 1e-12, (network, optimizer)
            assert not np.isin(early.outcome[stopped], ["unresolved", "chaotic"]).any()


@pytest.mark.parametrize("stop_when_converged", [False, True])
def test_chaos_is_not_called_converged(stop_when_converged: bool) -> None:
    rates = np.linspace(0.217, 0.26, 1000)
    result = bp.train(
        GUIDE, [0.5, 1.0], 2.0, 3.0, learning_rate=rates, epochs=3000, record=[],
        stop_when_converged=stop_when_converged,
    )  # fmt: skip
    assert (result.epochs == 3000).all()
    counts = dict(zip(*np.unique(result.outcome, return_counts=True), strict=True))
    assert counts["chaotic"] > 800
    assert counts["oscillating"] > 50
    assert counts.keys() <= {"chaotic", "oscillating", "unresolved"}
    assert counts.get("unresolved", 0) < 50


def test_outcomes_are_the_same_alone_and_beside_others() -> None:
    random = np.random.default_rng(5)
    starts, rates = random.normal(size=(300, 2)), random.uniform(0.001, 0.4, 300)
    together = bp.train(GUIDE, starts, 2.0, 3.0, learning_rate=rates, epochs=1000, record=[])
    for run in range(0, 300, 7):
        alone = bp.train(
            GUIDE, starts[run], 2.0, 3.0, learning_rate=rates[run], epochs=1000, record=[]
        )
        assert alone == together[run]


def test_sums_of_ten_million_rows_in_float32() -> None:
    rows = 10**7
    network = bp.Network(1, 1, dtype="float32")
    found = bp.gradients(network, [0.4], np.ones(rows), np.ones(rows))
    # ½·(1 − w)² and −(1 − w), w the float32 nearest to 0.4.
    assert found.loss[0] == pytest.approx(0.18, rel=1e-6)
    assert found.gradients[0, 0] == pytest.approx(-0.6, rel=1e-6)


def test_float32_refuses_what_it_cannot_hold() -> None:
    network = bp.Network(1, 1, dtype="float32")
    with pytest.raises(ValueError, match=r"weights\[0, 0\] is 10{39}"):
        bp.train(network, [1e39], 1.0, 1.0)
    with pytest.raises(ValueError, match=r"x\[0, 0\] is -10{39}"):
        bp.train(network, [1.0], -1e39, 1.0)
    for rate in (1e39, 1e-50):
        with pytest.raises(ValueError, match=r"learning_rate\[0\] is"):
            bp.train(network, [1.0], 1.0, 1.0, learning_rate=rate)
    with pytest.raises(ValueError, match=r"weights\[0, 0\] is 10{39}"):
        bp.predict(network, [1e39], 1.0)


@pytest.mark.parametrize(
    ("decay", "weight"), [(0.75, 0.5), (0.4375, 0.75), (0.234375, 0.875), (0, 1)]
)
def test_who_begins_exactly_at_a_minimum_rests_where_it_attracts(
    decay: float, weight: float
) -> None:
    # w² = 1 − λ: the gradient is 0 bit for bit, so that no curvature is seen along it.
    lines = bp.Network(1, 1, 1, activation="identity")
    along = weight**2 + decay
    hessian = np.array([[along, 2 * weight**2 - 1], [2 * weight**2 - 1, along]])
    edge = 2 / np.linalg.eigvalsh(hessian)[-1]
    found = bp.train(
        lines, [weight, weight], 1.0, 1.0,
        learning_rate=edge * np.array([0.9, 0.999, 1.001, 1.1]), weight_decay=decay, epochs=50,
    )  # fmt: skip
    assert found.outcome.tolist() == ["converged"] * 2 + ["stalled"] * 2
    assert found.stall.tolist()[2:] == ["repelling minimum"] * 2
