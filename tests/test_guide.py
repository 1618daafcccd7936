"""The guide's numbers, and its plain Python as the twin of the compiled kernel."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import backprop_svc as bp

GUIDE = bp.Network(1, 1, 1)

finite = st.floats(allow_nan=False, allow_infinity=False)
usual = st.floats(-4, 4) | st.sampled_from([0.0, -0.0])


def guides_python(
    w1: float, w2: float, x: float, y: float, lr: float, epochs: int
) -> tuple[list[tuple[float, float, float]], float, float]:
    """Train as the guide does: (prediction, ∂L/∂w1, ∂L/∂w2) of each epoch, then w1 and w2."""
    history = []
    for _ in range(epochs):
        z1 = w1 * x
        h = max(0, z1)
        y_pred = w2 * h
        dl_dy_pred = -(y - y_pred)
        dl_dw2 = dl_dy_pred * h
        dl_dh = dl_dy_pred * w2
        dl_dz1 = dl_dh * (1 if z1 > 0 else 0)
        dl_dw1 = dl_dz1 * x
        history.append((y_pred, dl_dw1, dl_dw2))
        w1 = w1 - lr * dl_dw1
        w2 = w2 - lr * dl_dw2
    return history, w1, w2


def bits(value: float) -> bytes:
    return b"nan" if math.isnan(value) else struct.pack("<d", value)


def test_the_guides_first_step() -> None:
    loss, gradients = bp.gradients(GUIDE, [0.5, 1.0], 2.0, 3.0)
    assert loss.tolist() == [2.0]
    assert gradients.tolist() == [[-4.0, -2.0]]
    assert bp.predict(GUIDE, [0.5, 1.0], 2.0).tolist() == [[[1.0]]]
    after = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, epochs=2)
    one = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, epochs=1)
    assert one.weights.tolist() == [[0.9, 1.2]]
    assert after.prediction is not None
    assert after.prediction[0, 1] == 2.16
    assert after.loss is not None
    assert after.loss[0, 1] == pytest.approx(0.3528, rel=1e-15)


def test_the_guides_twenty_epochs() -> None:
    result = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, learning_rate=0.1, epochs=20)
    assert result.weights.tolist() == [[1.1067121375451405, 1.3553659972747827]]
    assert result.prediction is not None
    assert result.loss is not None
    assert result.prediction[0, -1] == 3.0000000000002136
    assert result.loss[0, -1] == 2.2813955986604814e-26
    assert result.outcome.tolist() == ["converged"]


@given(finite, finite, finite, finite)
def test_gradients_have_the_guides_bits_for_any_input(
    w1: float, w2: float, x: float, y: float
) -> None:
    ((prediction, dl_dw1, dl_dw2),) = guides_python(w1, w2, x, y, 0.1, 1)[0]
    gradients = bp.gradients(GUIDE, [w1, w2], x, y).gradients[0]
    assert list(map(bits, gradients)) == [bits(dl_dw1), bits(dl_dw2)]
    assert bits(bp.predict(GUIDE, [w1, w2], x)[0, 0, 0]) == bits(prediction)


@given(usual, usual, usual, usual, st.floats(1e-3, 1), st.integers(0, 30))
def test_training_has_the_guides_bits(
    w1: float, w2: float, x: float, y: float, lr: float, epochs: int
) -> None:
    history, *weights = guides_python(w1, w2, x, y, lr, epochs)
    result = bp.train(GUIDE, [w1, w2], x, y, learning_rate=lr, epochs=epochs)
    assert result.prediction is not None
    assert result.gradients is not None
    diverged = int(result.diverged_at[0])
    epochs_run = epochs if diverged < 0 else diverged + 1
    for epoch in range(epochs_run):
        found = (result.prediction[0, epoch], *result.gradients[0, epoch])
        assert list(map(bits, found)) == list(map(bits, history[epoch]))
    if diverged < 0:
        assert list(map(bits, result.weights[0])) == list(map(bits, weights))
    else:
        assert np.isnan(result.prediction[0, epochs_run:]).all()


@given(usual, usual, usual, usual, st.floats(1e-3, 1))
def test_the_walk_and_the_kernel_agree_to_the_bit(
    w1: float, w2: float, x: float, y: float, lr: float
) -> None:
    walk = bp.explain(GUIDE, [w1, w2], x, y, learning_rate=lr)
    result = bp.train(GUIDE, [w1, w2], x, y, learning_rate=lr, epochs=1)
    assert result.gradients is not None
    assert result.loss is not None
    assert [bits(walk["∂L/∂w1"]), bits(walk["∂L/∂w2"])] == list(
        map(bits, result.gradients[0, 0])
    )
    assert [bits(walk["new w1"]), bits(walk["new w2"])] == list(map(bits, result.weights[0]))
    assert walk["L"] == result.loss[0, 0]


def test_a_dead_network_stays_where_it_is() -> None:
    result = bp.train(GUIDE, [[-0.5, 1.0], [0.0, 1.0]], 2.0, 3.0)
    assert result.weights.tolist() == [[-0.5, 1.0], [0.0, 1.0]]
    assert result.outcome.tolist() == ["dead", "dead"]
    assert result.gradients is not None
    assert not result.gradients.any()


def test_convergence_ends_where_the_theory_says() -> None:
    """From the guide's start, gradient descent converges iff lr < 1/6 (arXiv 2509.25351)."""
    rates = [1 / 6 - 1e-3, 1 / 6 + 1e-3]
    result = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, learning_rate=rates, epochs=20_000)
    assert result.outcome.tolist()[0] == "converged"
    assert result.outcome.tolist()[1] != "converged"


def test_explain_is_the_guides_walk() -> None:
    walk = bp.explain(GUIDE, [0.5, 1.0], 2.0, 3.0)
    expected = {
        "z1": 1.0,
        "h": 1.0,
        "ŷ": 1.0,
        "L": 2.0,
        "∂L/∂ŷ": -2.0,
        "∂ŷ/∂w2": 1.0,
        "∂L/∂w2": -2.0,
        "∂ŷ/∂h": 1.0,
        "∂h/∂z1": 1.0,
        "∂z1/∂w1": 2.0,
        "∂L/∂w1": -4.0,
        "new w1": 0.9,
        "new w2": 1.2,
        "ŷ (new)": 2.16,
    }
    assert {name: walk[name] for name in expected} == expected
    checks = [step.check for step in walk.sections["Backward pass"]]
    assert all(check is not None and check.error < 1e-8 for check in checks)


def test_explain_the_chain_rule() -> None:
    walk = bp.chain_rule(1.0)
    assert [walk[name] for name in ("u", "y", "dy/du", "du/dx", "dy/dx")] == [3, 9, 6, 2, 12]
