"""Presets show what the papers that they come from have proved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import backprop_svc as bp
from command import call


def sweep(folder: Path, *words: str) -> dict[str, np.ndarray]:
    """The table of a sweep, by the names of its columns."""
    done = call(folder, "sweep", *words, "tracking=none", "sweep.results=table.parquet")
    assert done.returncode == 0, done.stderr
    table = pq.read_table(folder / "table.parquet")
    return {name: table[name].to_numpy() for name in table.column_names}


def test_training_ends_at_the_edge_of_stability(tmp_path: Path) -> None:
    """Just below 2/lr, where gradient flow would end at 2·(x² + 1/x²) with x² ≈ 36."""
    found = sweep(tmp_path, "experiment=scalar_edge")
    assert (found["initial_sharpness"] < 2 / found["train.lr"]).all()
    assert (found["sharpness_ratio"] < 1).all()
    assert (found["sharpness_ratio"] > 0.995).all()
    # Below the edge it ends where gradient flow does.
    (flow,) = sweep(tmp_path, "experiment=scalar_edge", "train.lr=0.001")["sharpness"]
    np.testing.assert_allclose(flow, 72.07, rtol=0.01)


def test_a_catapult_ends_in_a_flatter_minimum(tmp_path: Path) -> None:
    """Between 2/λ and 4/λ, of the sharpness λ at the beginning; beyond it diverges."""
    (first,) = sweep(tmp_path, "experiment=catapult", "train.lr=0.1")["initial_sharpness"]
    products = np.array([1.0, 1.9, 2.1, 3.0, 3.9, 4.05])
    rates = ",".join(map(repr, (products / first).tolist()))
    found = sweep(tmp_path, "experiment=catapult", f"train.lr={rates}")
    flatter = found["sharpness"] / found["initial_sharpness"]
    assert (flatter[:2] > 0.97).all()
    assert (flatter[2:5] < 2 / products[2:5]).all()
    assert (found["loss"][:4] < 1e-9).all()
    assert found["outcome"].tolist()[-1] == "diverged"
    assert "diverged" not in found["outcome"].tolist()[:-1]


def test_periods_double_into_chaos(tmp_path: Path) -> None:
    """u' = u + ηu(1 − u²), and with a = 1 + η, v = √η·u: v' = av − v³.

    The derivative at u = 1 is 1 − 2η: stable for η < 1. A cycle of p and q other than −p has
    q ± p = a(p ± q) − (p³ ± q³), that is pq = 1 and p² + q² = a, and the derivative
    (a − 3p²)(a − 3q²) = 9 − 2a², which is above −1 for a < √5. The largest v' of v > 0 is
    √(4a³/27); that and all after it are in [−√(a + 1), √(a + 1)], the ends of which are a
    cycle, if a ≤ 3.
    """
    axis = "train.lr=interval(0.9,2.05)"
    found = sweep(tmp_path, "experiment=bifurcation", axis, "sweep.points=1000")
    rate, outcome = found["train.lr"], found["outcome"]

    def outcomes(low: float, high: float) -> set[str]:
        return set(outcome[(low < rate) & (rate < high)])

    assert outcomes(0.9, 0.99) == {"converged"}
    assert outcomes(1.01, np.sqrt(5) - 1.01) == {"oscillating"}
    assert "converged" not in outcomes(1.01, 3)
    assert "chaotic" in outcomes(1.31, 1.99)
    assert "diverged" not in outcomes(0, 1.999)
    assert outcomes(2.001, 3) == {"diverged"}
    for low, high, period in ((1.01, np.sqrt(5) - 1.01, 2), (np.sqrt(5) - 0.99, 1.28, 4)):
        assert set(found["period"][(low < rate) & (rate < high)]) == {period}
    # Both branches of the cycle: v² is a root of z² − az + 1.
    two = (rate > 1.01) & (rate < np.sqrt(5) - 1.01)
    a, square = 1 + rate[two], rate[two] * np.stack(list(found["weights"]))[two, 0] ** 2
    upper = (a + np.sqrt(a**2 - 4)) / 2
    above = square > 1
    np.testing.assert_allclose(square, np.where(above, upper, 1 / upper), rtol=1e-9)
    assert 0.3 < above.mean() < 0.7


def test_five_phases(tmp_path: Path) -> None:
    """z = η(u² − 1) becomes z·(z² + (η − 2)z + 1 − 2η), and the loss is z²/(2η²).

    |z'| < |z| for all z of (−η, 2) if z² + (η − 2)z + 2 − 2η has no root, η < 2√2 − 2; else
    the loss rises between the roots. The fixed point 0 attracts for η < 1. z = 2 is the other
    end of what stays bounded.
    """
    found = sweep(tmp_path, "experiment=five_phases")
    rate, outcome = found["train.lr"], found["outcome"]
    z = rate * (found["init.offset"] ** 2 - 1)
    rose = found["highest_loss_at"] > 0
    bounded, monotonic = z < 1.99, rate < 2 * np.sqrt(2) - 2
    assert not rose[bounded & monotonic].any()
    # Between the roots it rises at once.
    square = (rate**2 + 4 * rate - 4).clip(0)
    between = np.abs(z - (2 - rate) / 2) < np.sqrt(square) / 2 - 1e-3
    catapult = bounded & (rate < 0.99) & between
    assert catapult.sum() > 50
    assert rose[catapult].all()
    assert set(outcome[bounded & (rate < 0.99)]) == {"converged"}
    periodic = bounded & (rate > 1.01) & (rate < np.sqrt(5) - 1.01)
    assert set(outcome[periodic]) == {"oscillating"}
    assert set(found["period"][periodic]) == {2}
    assert (outcome[bounded & (rate > 1.35) & (rate < 1.99)] == "chaotic").mean() > 0.7
    assert "diverged" not in outcome[bounded & (rate < 1.99)]
    assert set(outcome[(z > 2.01) | (rate > 2.001)]) == {"diverged"}


def test_the_largest_step_size_is_known(tmp_path: Path) -> None:
    """B = ηN − η²te, N = w1² + w2², e = w1·w2 − t, with t = y/x and η = x²·lr.

    One epoch makes e' = e(1 − ηN + η²e(e + t)) and N' = N − 4ηe(e + t) + η²e²N, and so
    B' − 4 = (B − 4)(1 + η²e(e + t)), where the last factor is 1 − η²t²/4 or more: B < 4 stays
    so, and then N ≤ (4 − η²t²)/(η(1 − η|t|/2)). A minimum has ηN < 2, where it attracts, thus
    B < 4, and N ≥ 2|t|, thus η|t| < 1.
    """
    found = sweep(tmp_path, "experiment=step_size")
    rate, w1, outcome = 4 * found["train.lr"], found["init.w1"], found["outcome"]
    target = 1.5
    bound = rate * (w1**2 + 1) - rate**2 * target * (w1 - target)
    clear = (np.abs(bound - 4) > 0.02) & (np.abs(rate * target - 1) > 0.01)
    assert clear.mean() > 0.95
    bounded = bound < 4
    converges = bounded & (rate * target < 1)
    assert ((outcome == "converged") == converges)[clear].all()
    assert ((outcome == "diverged") == ~bounded)[clear].all()


def test_the_time_to_escape_from_a_saddle(tmp_path: Path) -> None:
    """ẇ = w^(r − 1)·(1 − w^r) takes (ε^(2 − r) − δ^(2 − r))/(r − 2) longer from ε than from δ.

    That is but for some (δ² − ε²)/2 of the second factor. For r = 2 an epoch near 0 multiplies
    w by 1 + lr, so that it takes ln(δ/ε)/ln(1 + lr) epochs longer.
    """
    found = sweep(tmp_path, "experiment=saddle_escape")
    assert set(found["outcome"]) == {"converged"}
    for layers in (2, 3, 4):
        some = found["network.sizes"] == f"[{','.join(['1'] * (layers + 1))}]"
        start, epochs = found["init.offset"][some], found["epochs"][some]
        longer, power = epochs - epochs[-1], 2.0 - layers
        if layers == 2:
            expected = np.log(start[-1] / start) / np.log1p(0.1)
        else:
            expected = (start**power - start[-1] ** power) / (layers - 2) / 0.1
        np.testing.assert_allclose(longer, expected, rtol=0.01, atol=7)
    assert longer[0] > 500_000
    # What counts is how many layers begin at ε, and not how many there are.
    start = np.array([0.003, 0.006, 0.012, 0.1])
    for others in (1, 2):
        network = bp.Network(*[1] * (4 + others), activation="identity")
        weights = np.column_stack([*[start] * 3, *[np.ones(4)] * others])
        epochs = bp.train(
            network, weights, 1.0, 1.0,
            epochs=100_000, stop_when_converged=True, record=[],
        ).epochs  # fmt: skip
        expected = (1 / start - 1 / start[-1]) / 0.1
        np.testing.assert_allclose(epochs - epochs[-1], expected, rtol=0.01, atol=20)


def test_sharpness_grows_with_depth(tmp_path: Path) -> None:
    """At a minimum the Hessian is ggᵀ with gᵢ = y/wᵢ, its eigenvalue y²·Σ 1/wᵢ².

    The product of the weights is y/x there, so by the inequality of the means it is at least
    L·x^(2/L)·y^(2 − 2/L), which equal weights have. Gradient flow keeps all wᵢ² − wⱼ².
    """
    found = sweep(tmp_path, "experiment=sharpness_depth")
    x, y = 2.0, 3.0
    for layers in range(2, 9):
        sizes = [1] * (layers + 1)
        some = found["network.sizes"] == str(sizes).replace(" ", "")
        sharpness, scale = found["sharpness"][some], found["init.scale"][some]
        flattest = layers * x ** (2 / layers) * y ** (2 - 2 / layers)
        np.testing.assert_allclose(sharpness[scale == 0], flattest, rtol=1e-9)
        assert (sharpness[scale > 0] > flattest).all()
        starts = bp.initial_weights(
            bp.Network(*sizes), found["init.seed"][some].astype(int), method="normal"
        )
        squares = (0.8 + scale[:, np.newaxis] * starts) ** 2
        low, high = np.zeros(len(squares)), np.full(len(squares), 10.0)
        for _ in range(60):
            middle = (low + high) / 2
            above = np.prod(squares + middle[:, np.newaxis], axis=1) > (y / x) ** 2
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        flow = (y**2 / (squares + low[:, np.newaxis])).sum(axis=1)
        np.testing.assert_allclose(sharpness, flow, rtol=0.01)


def test_weight_decay_lowers_the_sharpness_at_the_edge(tmp_path: Path) -> None:
    """(w1·w2 − 1)·w2 + λ·w1 = 0, and the same the other way round, at w1² = w2² = 1 − λ.

    The Hessian of the loss there has 1 − λ on and 1 − 2λ beside the diagonal: eigenvalues
    2 − 3λ and λ. Decay adds λ to both, so the minimum attracts for lr·(2 − 2λ) < 2.
    """
    found = sweep(tmp_path, "experiment=weight_decay")
    decay, rate = found["train.weight_decay"].astype(float), found["train.lr"]
    product, converged = rate * (1 - decay), found["outcome"] == "converged"
    assert converged[product < 0.99].all()
    assert not converged[product > 1.001].any()
    np.testing.assert_allclose(
        found["sharpness"][converged], 2 - 3 * decay[converged], rtol=1e-9
    )
    edge = converged & (product > 0.98)
    assert set(decay[edge]) == {0.05, 0.1, 0.15, 0.2}
    np.testing.assert_allclose(
        found["sharpness_ratio"][edge], 1 - rate[edge] * decay[edge] / 2, rtol=0.021
    )
    assert (found["sharpness_ratio"][edge] < 1 - rate[edge] * decay[edge] / 2).all()


FRACTALS = ("", "_relu", "_linear", "_minibatch", "_datum", "_init")


def test_six_conditions_of_the_fractal(tmp_path: Path) -> None:
    """The paper's equations in NumPy: ŷ = W₁·φ(g·W₀·x/√n)/n, the loss the mean of (ŷ − y)²."""
    found = sweep(
        tmp_path,
        "experiment=" + ",".join(f"fractal{name}" for name in FRACTALS),
        "train.lr1=1e-4,0.01,0.1", "train.lr2=0.001,0.03,1", "init.offset=0,0.5",
        "train.epochs=25",
    )  # fmt: skip
    rows, n = np.random.RandomState(0).standard_normal((272, 17)), 16
    for condition, lr1, lr2, mean, ratio in zip(
        found["experiment"], found["train.lr1"], found["train.lr2"], found["init.offset"],
        found["loss_ratio"], strict=True,
    ):  # fmt: skip
        few = {"fractal_linear": 16, "fractal_datum": 1}.get(condition, 272)
        x, y = rows[:few, :n], rows[:few, n]
        start, order = np.random.RandomState(0), np.random.RandomState(0)
        w0, w1 = start.standard_normal((n, n)) + mean, start.standard_normal((1, n)) + mean
        gain = 1 if condition == "fractal_linear" else np.sqrt(2)
        losses = []
        with np.errstate(all="ignore"):
            for _ in range(25):
                drawn, batches = np.arange(few), 1
                if condition == "fractal_minibatch":
                    drawn, batches = order.permutation(few), 17
                loss = 0
                for batch in np.split(drawn, batches):
                    z = gain * x[batch] @ w0.T / np.sqrt(n)
                    h, slope = {
                        "fractal_relu": (z.clip(0), z > 0), "fractal_linear": (z, 1),
                    }.get(condition, (np.tanh(z), 1 - np.tanh(z) ** 2))  # fmt: skip
                    error = (h @ w1.T)[:, 0] / n - y[batch]
                    loss += (error**2).mean() / batches
                    delta = 2 * error[:, np.newaxis] / len(batch) / n
                    d0 = (delta * w1 * slope * gain / np.sqrt(n)).T @ x[batch]
                    # A learning rate here is n² times larger than in the configuration.
                    w0, w1 = w0 - lr1 * n**2 * d0, w1 - lr2 * n**2 * delta.T @ h
                losses.append(loss)
            relative = np.array(losses) / losses[0]
        expected = np.where(relative < 1e6, relative, 1e6)[-20:].mean()
        if min(ratio, expected) < 1e3:
            # Where it does not diverge, trajectories stay together to many digits.
            assert np.isclose(ratio, expected, rtol=1e-3), (condition, lr1, lr2, mean)
        assert (ratio < 1) == (expected < 1)


def test_the_boundary_of_a_deep_linear_network_is_rough(tmp_path: Path) -> None:
    """A smooth boundary has the dimension 1."""
    found = sweep(tmp_path, "experiment=fractal_linear", "sweep.points=64")
    trained = (found["loss_ratio"] < 1).reshape(64, 64)
    assert 1.1 < bp.box_counting_dimension(bp.boundary(trained)) < 2
