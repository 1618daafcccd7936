"""The chain rule, one step at a time, in plain Python arithmetic.

This is the naive twin of the Rust kernel: tests compare the two bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from backprop_svc._core import Network
from backprop_svc.arrays import checked_network, floats
from backprop_svc.errors import SettingError, counted, shown


@dataclass(frozen=True)
class Check:
    """A derivative by central differences, (f(w + ε) − f(w − ε)) / 2ε."""

    value: float
    error: float
    """|difference| to the chain rule, relative to the larger of both, or absolute below 1."""

    @classmethod
    def of(cls, function: Callable[[float], float], at: float, derivative: float) -> Check:
        """Compare a derivative with the slope of its function."""
        step = 1e-6 * max(1.0, abs(at))
        up, down = at + step, at - step
        value = (function(up) - function(down)) / (up - down)
        scale = max(1.0, abs(value), abs(derivative))
        return cls(value, abs(value - derivative) / scale)


@dataclass(frozen=True)
class Step:
    """One line of the walk: ``name = formula = numbers = value``."""

    name: str
    formula: str
    numbers: str
    value: float
    check: Check | None = None


@dataclass(frozen=True)
class Explanation:
    """A walk through a calculation, in sections of steps."""

    title: str
    sections: dict[str, list[Step]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        """Return the value of a step, such as ``explanation["∂L/∂w1"]``."""
        values = {s.name: s.value for steps in self.sections.values() for s in steps}
        if name not in values:
            raise KeyError(f"there is no step {shown(name)}; allowed: {', '.join(values)}")
        return values[name]


def explain(
    network: Network,
    weights: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    learning_rate: float = 0.1,
) -> Explanation:
    """Walk through one update of the guide's network, ŷ = w2·φ(w1·x), L = ½(y − ŷ)².

    Parameters
    ----------
    network
        ``Network(1, 1, 1)`` with relu or identity.
    weights
        w1 and w2, shape (2,).
    x, y
        One input and its target.
    learning_rate
        Of the update, above 0.

    Raises
    ------
    SettingError
        The network is another one, there is more than one row, or a value is not a finite
        number.

    >>> import backprop_svc as bp
    >>> walk = bp.explain(bp.Network(1, 1, 1), [0.5, 1.0], 2.0, 3.0)
    >>> walk["∂L/∂w1"], walk["∂L/∂w2"]
    (-4.0, -2.0)
    """
    others = "the walk shows the guide's network, use gradients() for any other"
    if checked_network(network).sizes != (1, 1, 1):
        raise SettingError("network", shown(network), "sizes 1, 1, 1", others)
    plain = network.activation in {"relu", "identity"} and network.gain == 1
    if not plain or network.bias or network.loss != "half_squared_error":
        allowed = "relu or identity, no gain, bias or other loss"
        raise SettingError("network", shown(network), allowed, others)
    w1, w2 = _numbers("weights", weights, 2)
    (inp,), (target,) = _numbers("x", x, 1), _numbers("y", y, 1)
    (rate,) = _numbers("learning_rate", learning_rate, 1)
    if rate <= 0:
        raise SettingError("learning_rate", shown(rate), "numbers above 0", "try 0.1")
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
        activated = f"max(0, {_show(z1)})" if relu else _show(z1)
        names = [f"{name}{suffix}" for name in ("z1", "h", "ŷ", "L")]
        return [
            Step(names[0], "w1·x", f"{_show(first)} × {_show(inp)}", z1),
            Step(names[1], phi, activated, h),
            Step(names[2], "w2·h", f"{_show(second)} × {_show(h)}", prediction),
            Step(
                names[3],
                "½(y − ŷ)²",
                f"½ × ({_show(target)} − {_show(prediction)})²",
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
    slope = f"z1 = {_show(z1)} {'>' if z1 > 0 else '≤'} 0" if relu else "1"

    def half(p: float) -> float:
        return 0.5 * ((target - p) * (target - p))

    back = [
        Step(
            "∂L/∂ŷ",
            "−(y − ŷ)",
            f"−({_show(target)} − {_show(prediction)})",
            dl_dy,
            Check.of(half, prediction, dl_dy),
        ),
        Step("∂ŷ/∂w2", "h", _show(h), h, Check.of(lambda w: w * h, w2, h)),
        Step(
            "∂L/∂w2",
            "∂L/∂ŷ · ∂ŷ/∂w2",
            f"{_show(dl_dy)} × {_show(h)}",
            dl_dw2,
            Check.of(lambda w: loss_of(w1, w), w2, dl_dw2),
        ),
        Step("∂ŷ/∂h", "w2", _show(w2), w2, Check.of(lambda v: w2 * v, h, w2)),
        Step(
            "∂h/∂z1",
            "φ'(z1)",
            slope,
            dh_dz1,
            None if relu and z1 == 0 else Check.of(activate, z1, dh_dz1),
        ),
        Step("∂z1/∂w1", "x", _show(inp), inp, Check.of(lambda w: w * inp, w1, inp)),
        Step(
            "∂L/∂w1",
            "∂L/∂ŷ · ∂ŷ/∂h · ∂h/∂z1 · ∂z1/∂w1",
            f"{_show(dl_dy)} × {_show(w2)} × {_show(dh_dz1)} × {_show(inp)}",
            dl_dw1,
            None if relu and z1 == 0 else Check.of(lambda w: loss_of(w, w2), w1, dl_dw1),
        ),
    ]
    new_w1, new_w2 = w1 - rate * dl_dw1, w2 - rate * dl_dw2
    update = [
        Step(
            f"new {name}",
            f"{name} − lr·∂L/∂{name}",
            f"{_show(old)} − {_show(rate)} × {_show(gradient)}",
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
        f"{shape}, L = ½(y − ŷ)² with x = {_show(inp)}, y = {_show(target)}, "
        f"w1 = {_show(w1)}, w2 = {_show(w2)}, learning rate {_show(rate)}",
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
    (at,) = _numbers("x", x, 1)
    u = 2 * at + 1
    dy_du = 2 * u
    dy_dx = dy_du * 2.0
    return Explanation(
        f"y = (2x + 1)² at x = {_show(at)}",
        {
            "Forward pass": [
                Step("u", "2x + 1", f"2 × {_show(at)} + 1", u),
                Step("y", "u²", f"{_show(u)}²", u * u),
            ],
            "Backward pass": [
                Step(
                    "dy/du", "2u", f"2 × {_show(u)}", dy_du, Check.of(lambda v: v * v, u, dy_du)
                ),
                Step("du/dx", "2", "2", 2.0, Check.of(lambda v: 2 * v + 1, at, 2.0)),
                Step(
                    "dy/dx",
                    "dy/du · du/dx",
                    f"{_show(dy_du)} × 2",
                    dy_dx,
                    Check.of(lambda v: (2 * v + 1) * (2 * v + 1), at, dy_dx),
                ),
            ],
        },
    )


def _numbers(name: str, values: ArrayLike, count: int) -> list[float]:
    found = floats(name, values).ravel()
    if len(found) != count:
        raise SettingError(
            name,
            counted(len(found), "value"),
            f"{count}",
            "the walk shows one house and one network at a time",
            verb="has",
        )
    for number in found[~np.isfinite(found)]:
        raise SettingError(name, shown(number), "finite numbers", "replace it")
    return found.tolist()


def _show(value: float) -> str:
    text = f"{value:.6g}"
    return f"({text})" if text.startswith("-") else text
