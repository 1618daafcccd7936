"""A walk through one update of any network, neuron by neuron."""

from __future__ import annotations

from backprop_svc._core import Network
from backprop_svc.plain import KINKED, Forward, Plain
from backprop_svc.steps import Check, Explanation, Step, show

MOST_PARAMETERS = 1000
"""A walk through more of them would be read by nobody."""


def walk(
    network: Network,
    weights: list[float],
    inputs: list[float],
    targets: list[float],
    rate: float,
) -> Explanation:
    """Walk through one update: see :func:`backprop_svc.explain`."""
    work = Plain(network, inputs, targets)
    passed = work.forward(weights)
    gradients, back = _backward(work, weights, passed)
    names = network.parameter_names
    new = [w - rate * g for w, g in zip(weights, gradients, strict=True)]
    update = [
        Step(
            f"new {name}", f"{name} − lr·∂L/∂{name}",
            f"{show(old)} − {show(rate)} × {show(gradient)}", value,
        )
        for name, old, gradient, value in zip(names, weights, gradients, new, strict=True)
    ]  # fmt: skip
    sections = {
        "Forward pass": _ahead(work, weights, passed, ""),
        "Backward pass": back,
        "Update": update,
        "Forward pass with the new weights": _ahead(work, new, work.forward(new), " (new)"),
    }
    return Explanation(
        f"{network} with x = {_list(inputs)}, y = {_list(targets)}, learning rate {show(rate)}",
        sections,
    )


def _ahead(work: Plain, weights: list[float], passed: Forward, suffix: str) -> list[Step]:
    names = work.network.parameter_names
    steps: list[Step] = []
    for layer in range(work.layers):
        is_last = layer == work.layers - 1
        before = [_value(work, layer, i) for i in range(work.network.sizes[layer])]
        count = work.network.sizes[layer + 1]
        biases = names[work.starts[layer + 1] - count : work.starts[layer + 1]]
        for j, (row, bias) in enumerate(work.rows(weights, layer)):
            own = names[work.starts[layer] + j * len(row) :][: len(row)]
            formula = [f"{name}·{value}" for name, value in zip(own, before, strict=True)]
            numbers = [
                f"{show(w)} × {show(v)}"
                for w, v in zip(row, passed.values[layer], strict=True)
            ]  # fmt: skip
            if work.network.bias:
                formula.append(biases[j])
                numbers.append(show(bias))
            z, after = passed.sums[layer][j], _value(work, layer + 1, j)
            plain = is_last and not work.is_own and work.network.output == "identity"
            steps.append(
                Step(
                    f"{after if plain else _sum(work, layer, j)}{suffix}",
                    " + ".join(formula), " + ".join(numbers), z,
                )
            )  # fmt: skip
            if not plain and not (is_last and work.is_own):
                steps.append(_activated(work, layer, j, passed, suffix))
        if is_last and work.is_own:
            steps += [_activated(work, layer, j, passed, suffix) for j in range(count)]
    return [*steps, _loss(work, passed, suffix)]


def _activated(work: Plain, layer: int, j: int, passed: Forward, suffix: str) -> Step:
    is_last = layer == work.layers - 1
    function = work.activation(layer)
    if is_last and work.is_own:
        function = "softmax" if work.network.loss.startswith("softmax") else "sigmoid"
    gain = work.network.gain if not is_last else 1.0
    factor, number = ("", "") if gain == 1 else ("gain·", f"{show(gain)} × ")
    value = passed.values[layer + 1][j]
    return Step(
        f"{_value(work, layer + 1, j)}{suffix}",
        f"{function}({factor}{_sum(work, layer, j)})",
        f"{function}({number}{show(passed.sums[layer][j])})",
        value,
    )


def _loss(work: Plain, passed: Forward, suffix: str) -> Step:
    pairs = list(zip(work.targets, passed.values[-1], strict=True))
    several = len(pairs) > 1
    name = work.network.loss
    if work.is_own:
        if name.startswith("softmax"):
            formula = "−Σ y·ln ŷ"
            terms = [f"−{show(y)} × ln {show(p)}" for y, p in pairs]
        else:
            formula = "−y·ln ŷ − (1 − y)·ln(1 − ŷ)" + (", the mean" if several else "")
            terms = [
                f"−{show(y)} × ln {show(p)} − {show(1 - y)} × ln {show(1 - p)}"
                for y, p in pairs
            ]
    else:
        sign = "½" if name == "half_squared_error" else "the mean of " if several else ""
        formula = f"{sign}{'Σ' if several and sign == '½' else ''}(y − ŷ)²"
        terms = [f"({show(y)} − {show(p)})²" for y, p in pairs]
    numbers = " + ".join(terms)
    if name == "half_squared_error":
        numbers = f"½ × ({numbers})" if several else f"½ × {numbers}"
    elif several and name in {"mse", "binary_cross_entropy"}:
        numbers = f"({numbers}) / {len(pairs)}"
    return Step(f"L{suffix}", formula, numbers, passed.loss)


def _backward(
    work: Plain, weights: list[float], passed: Forward
) -> tuple[list[float], list[Step]]:
    """Return ∂L/∂w, and the steps from the last layer to the first."""
    network, names = work.network, work.network.parameter_names
    gradients, steps = [0.0] * len(weights), []
    deltas: list[float] = []
    last = work.layers - 1
    plain = not work.is_own and network.output == "identity"
    for k, (y, p) in enumerate(zip(work.targets, passed.values[-1], strict=True)):
        error = work.error(k, passed)
        name = _value(work, work.layers, k)
        target = "y" if len(work.targets) == 1 else f"y{k + 1}"
        share = len(work.targets) if network.loss in {"mse", "binary_cross_entropy"} else 1
        if work.is_own:
            over = "" if share == 1 else f"/{share}"
            formula = f"({name} − {target}){over}"
            numbers = f"({show(p)} − {show(y)}){over}"
            if network.loss.startswith("softmax"):
                formula, numbers = f"Σy·{name} − {target}", f"{show(sum(work.targets))} × "
                numbers += f"{show(p)} − {show(y)}"
            check = work.check(
                passed.sums[last][k], error, work.with_number(weights, last, k, after=False)
            )
            steps.append(Step(f"∂L/∂{_sum(work, last, k)}", formula, numbers, error, check))
            deltas.append(error)
            continue
        factor = "" if network.loss != "mse" else f"{2 / share:g}·"
        steps.append(
            Step(
                f"∂L/∂{name}", f"−{factor}({target} − {name})",
                f"−{factor}({show(y)} − {show(p)})", error,
                work.check(p, error, work.with_number(weights, last, k, after=True)),
            )
        )  # fmt: skip
        deltas.append(error)
        if not plain:
            deltas[k] = error * passed.slopes[last][k]
            steps += _through(work, weights, last, k, passed, error)
    for layer in reversed(range(work.layers)):
        fan_in = network.sizes[layer]
        before = [_value(work, layer, i) for i in range(fan_in)]
        rows = work.rows(weights, layer)
        through = [
            _value(work, layer + 1, j) if layer == last and plain else _sum(work, layer, j)
            for j in range(len(rows))
        ]
        at = work.starts[layer]
        for j, delta in enumerate(deltas):
            for i, value in enumerate(passed.values[layer]):
                index = at + j * fan_in + i
                gradients[index] = delta * value
                steps.append(
                    Step(
                        f"∂L/∂{names[index]}", f"∂L/∂{through[j]} · {before[i]}",
                        f"{show(delta)} × {show(value)}", delta * value,
                        work.check(
                            weights[index], delta * value, work.with_weight(weights, index)
                        ),
                    )
                )  # fmt: skip
            if network.bias:
                index = at + len(rows) * fan_in + j
                gradients[index] = delta
                check = work.check(weights[index], delta, work.with_weight(weights, index))
                name = f"∂L/∂{names[index]}"
                steps.append(Step(name, f"∂L/∂{through[j]}", show(delta), delta, check))
        if layer == 0:
            break
        below = []
        for i in range(fan_in):
            own = [row[i] for row, _ in rows]
            error = sum(d * w for d, w in zip(deltas, own, strict=True))
            leads = [names[at + j * fan_in + i] for j in range(len(rows))]
            steps.append(
                Step(
                    f"∂L/∂{before[i]}",
                    " + ".join(f"∂L/∂{t} · {w}" for t, w in zip(through, leads, strict=True)),
                    " + ".join(
                        f"{show(d)} × {show(w)}" for d, w in zip(deltas, own, strict=True)
                    ),
                    error,
                    work.check(
                        passed.values[layer][i],
                        error,
                        work.with_number(weights, layer - 1, i, after=True),
                    ),
                )
            )
            steps += _through(work, weights, layer - 1, i, passed, error)
            below.append(error * passed.slopes[layer - 1][i])
        deltas = below
    return gradients, steps


def _through(
    work: Plain, weights: list[float], layer: int, j: int, passed: Forward, error: float
) -> list[Step]:
    """Return the steps through the activation of a neuron."""
    z, slope = passed.sums[layer][j], passed.slopes[layer][j]
    name, value = _sum(work, layer, j), _value(work, layer + 1, j)
    check = Check.of(lambda at: work.point(layer, at)[0], z, slope)
    kink = work.activation(layer) in KINKED and abs(z) <= 1e-6
    before = work.with_number(weights, layer, j, after=False)
    return [
        Step(
            f"∂{value}/∂{name}", f"φ'({name})", f"φ'({show(z)})", slope,
            None if kink else check,
        ),
        Step(
            f"∂L/∂{name}", f"∂L/∂{value} · ∂{value}/∂{name}",
            f"{show(error)} × {show(slope)}", error * slope,
            work.check(z, error * slope, before),
        ),
    ]  # fmt: skip


def _sum(work: Plain, layer: int, j: int) -> str:
    """Name the z of a neuron."""
    return f"z{layer + 1}" + (f"_{j + 1}" if work.network.sizes[layer + 1] > 1 else "")


def _value(work: Plain, layer: int, j: int) -> str:
    """Name what a neuron hands on; the inputs are layer 0."""
    several = work.network.sizes[layer] > 1
    if layer in {0, work.layers}:
        return f"{'ŷ' if layer else 'x'}{j + 1 if several else ''}"
    return f"h{layer}" + (f"_{j + 1}" if several else "")


def _list(values: list[float]) -> str:
    return show(values[0]) if len(values) == 1 else f"({', '.join(map(show, values))})"
