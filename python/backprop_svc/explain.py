"""The chain rule, one step at a time, in plain Python arithmetic.

This is the naive twin of the Rust kernel: tests compare the two bit for bit.
"""

from __future__ import annotations

from numpy.typing import ArrayLike

from backprop_svc._core import Network
from backprop_svc.arrays import checked_network
from backprop_svc.errors import SettingError, shown
from backprop_svc.steps import Check, Explanation, Step, numbers, show
from backprop_svc.walk import MOST_PARAMETERS, walk

__all__ = ["Check", "Explanation", "Step", "chain_rule", "explain"]


def explain(
    network: Network,
    weights: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    learning_rate: float = 0.1,
) -> Explanation:
    """Walk through one update of a network for one row, step by step.

    The guide's network, ``Network(1, 1, 1)`` with relu or identity, is walked through as the
    guide does; any other one neuron by neuron, in double precision.

    Parameters
    ----------
    network
        Of up to 1,000 parameters.
    weights
        Shape (parameters,).
    x, y
        One row: as many inputs and targets as the network has.
    learning_rate
        Of the update, above 0.

    Raises
    ------
    SettingError
        The network is too large, there is more than one row, or a value is not a finite
        number; a target is no probability where the loss is a cross-entropy.

    >>> import backprop_svc as bp
    >>> walk = bp.explain(bp.Network(1, 1, 1), [0.5, 1.0], 2.0, 3.0)
    >>> walk["∂L/∂w1"], walk["∂L/∂w2"]
    (-4.0, -2.0)
    """
    checked_network(network)
    if network.parameters > MOST_PARAMETERS:
        raise SettingError(
            "network", f"{shown(network)} of {network.parameters} parameters",
            f"up to {MOST_PARAMETERS:,} of them", "use gradients() for larger ones",
        )  # fmt: skip
    given = numbers("weights", weights, network.parameters)
    inputs, targets = numbers("x", x, network.inputs), numbers("y", y, network.outputs)
    (rate,) = numbers("learning_rate", learning_rate, 1)
    if rate <= 0:
        raise SettingError("learning_rate", shown(rate), "numbers above 0", "try 0.1")
    if network != Network(1, 1, 1, activation=network.activation) or (
        network.activation not in {"relu", "identity"}
    ):
        return walk(network, given, inputs, targets, rate)
    return _guide(network, given, inputs[0], targets[0], rate)


def _guide(
    network: Network, weights: list[float], inp: float, target: float, rate: float
) -> Explanation:
    """Walk through the guide's network, ŷ = w2·φ(w1·x), L = ½(y − ŷ)²."""
    w1, w2 = weights
    relu = network.activation == "relu"
    phi = "max(0, z1)" if relu else "z1"

    def activate(z: float) -> float:
        return z if not relu or z > 0 else 0.0

    def loss_of(first: float, second: float) -> float:
        error = target - second * activate(first * inp)
        return 0.5 * (error * error)

    def forward(first: float, second: float, suffix: str) -> tuple[list[Step], float]:
        z1 = first * inp
        h = activate(z1)
        prediction = second * h
        error = target - prediction
        activated = f"max(0, {show(z1)})" if relu else show(z1)
        names = [f"{name}{suffix}" for name in ("z1", "h", "ŷ", "L")]
        return [
            Step(names[0], "w1·x", f"{show(first)} × {show(inp)}", z1),
            Step(names[1], phi, activated, h),
            Step(names[2], "w2·h", f"{show(second)} × {show(h)}", prediction),
            Step(
                names[3],
                "½(y − ŷ)²",
                f"½ × ({show(target)} − {show(prediction)})²",
                0.5 * (error * error),
            ),
        ], prediction

    ahead, prediction = forward(w1, w2, "")
    z1, h = ahead[0].value, ahead[1].value
    dl_dy = -(target - prediction)
    dl_dw2 = dl_dy * h
    dl_dh = dl_dy * w2
    dh_dz1 = 1.0 if not relu or z1 > 0 else 0.0
    dl_dw1 = dl_dh * dh_dz1 * inp
    slope = f"z1 = {show(z1)} {'>' if z1 > 0 else '≤'} 0" if relu else "1"

    def half(p: float) -> float:
        return 0.5 * ((target - p) * (target - p))

    back = [
        Step(
            "∂L/∂ŷ",
            "−(y − ŷ)",
            f"−({show(target)} − {show(prediction)})",
            dl_dy,
            Check.of(half, prediction, dl_dy),
        ),
        Step("∂ŷ/∂w2", "h", show(h), h, Check.of(lambda w: w * h, w2, h)),
        Step(
            "∂L/∂w2",
            "∂L/∂ŷ · ∂ŷ/∂w2",
            f"{show(dl_dy)} × {show(h)}",
            dl_dw2,
            Check.of(lambda w: loss_of(w1, w), w2, dl_dw2),
        ),
        Step("∂ŷ/∂h", "w2", show(w2), w2, Check.of(lambda v: w2 * v, h, w2)),
        Step(
            "∂h/∂z1",
            "φ'(z1)",
            slope,
            dh_dz1,
            None if relu and z1 == 0 else Check.of(activate, z1, dh_dz1),
        ),
        Step("∂z1/∂w1", "x", show(inp), inp, Check.of(lambda w: w * inp, w1, inp)),
        Step(
            "∂L/∂w1",
            "∂L/∂ŷ · ∂ŷ/∂h · ∂h/∂z1 · ∂z1/∂w1",
            f"{show(dl_dy)} × {show(w2)} × {show(dh_dz1)} × {show(inp)}",
            dl_dw1,
            None if relu and z1 == 0 else Check.of(lambda w: loss_of(w, w2), w1, dl_dw1),
        ),
    ]
    new_w1, new_w2 = w1 - rate * dl_dw1, w2 - rate * dl_dw2
    update = [
        Step(
            f"new {name}",
            f"{name} − lr·∂L/∂{name}",
            f"{show(old)} − {show(rate)} × {show(gradient)}",
            new,
        )
        for name, old, gradient, new in (
            ("w1", w1, dl_dw1, new_w1),
            ("w2", w2, dl_dw2, new_w2),
        )
    ]
    after, _ = forward(new_w1, new_w2, " (new)")
    shape = f"ŷ = w2·{'ReLU(w1·x)' if relu else '(w1·x)'}"
    return Explanation(
        f"{shape}, L = ½(y − ŷ)² with x = {show(inp)}, y = {show(target)}, "
        f"w1 = {show(w1)}, w2 = {show(w2)}, learning rate {show(rate)}",
        {
            "Forward pass": ahead,
            "Backward pass": back,
            "Update": update,
            "Forward pass with the new weights": after,
        },
    )


def chain_rule(x: float = 1.0) -> Explanation:
    """Walk through the guide's first example, y = (2x + 1)², as y = u² with u = 2x + 1.

    Raises
    ------
    SettingError
        x is not a finite number.

    >>> chain_rule(3.0)["dy/dx"]
    28.0
    """
    (at,) = numbers("x", x, 1)
    u = 2 * at + 1
    dy_du = 2 * u
    dy_dx = dy_du * 2.0
    return Explanation(
        f"y = (2x + 1)² at x = {show(at)}",
        {
            "Forward pass": [
                Step("u", "2x + 1", f"2 × {show(at)} + 1", u),
                Step("y", "u²", f"{show(u)}²", u * u),
            ],
            "Backward pass": [
                Step(
                    "dy/du", "2u", f"2 × {show(u)}", dy_du, Check.of(lambda v: v * v, u, dy_du)
                ),
                Step("du/dx", "2", "2", 2.0, Check.of(lambda v: 2 * v + 1, at, 2.0)),
                Step(
                    "dy/dx",
                    "dy/du · du/dx",
                    f"{show(dy_du)} × 2",
                    dy_dx,
                    Check.of(lambda v: (2 * v + 1) * (2 * v + 1), at, dy_dx),
                ),
            ],
        },
    )
