"""The page of a walk through the chain rule: the network drawn, and each step."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from backprop_svc._core import Network
from backprop_svc.page import Page
from backprop_svc.plain import Forward, Plain
from backprop_svc.plots.page.assemble import assemble
from backprop_svc.steps import Explanation, numbers

SCRIPTS = ("text.js", "network.js", "walk.js")


def walk_page(
    network: Network,
    weights: list[float],
    x: ArrayLike,
    y: ArrayLike,
    walk: Explanation,
    told: str = "",
) -> Page:
    """Return a page with a walk and its network.

    Parameters
    ----------
    network, weights, x, y
        What the walk goes through: see :func:`backprop_svc.explain`.
    walk
        Its steps.
    told
        What it is of.
    """
    inputs, targets = numbers("x", x, network.inputs), numbers("y", y, network.outputs)
    work = Plain(network, inputs, targets)
    passed = work.forward(weights)
    content = {
        "title": walk.title,
        "told": told,
        "loss": passed.loss,
        "layers": passed.values,
        "sums": passed.sums,
        "targets": targets,
        "edges": _edges(work, weights, passed),
        "sections": [
            {"title": title, "steps": [_step(step) for step in steps]}
            for title, steps in walk.sections.items()
        ],
    }
    return Page(assemble("walk.html", "A walk through the chain rule", content, SCRIPTS))


def _step(step: Any) -> dict[str, Any]:
    check = (
        None if step.check is None else {"value": step.check.value, "error": step.check.error}
    )
    return {
        "name": step.name, "formula": step.formula, "numbers": step.numbers,
        "value": step.value, "check": check,
    }  # fmt: skip


def _edges(work: Plain, weights: list[float], passed: Forward) -> list[dict[str, Any]]:
    """Return the weights and gradients of each layer, and the gradient of each of its z.

    With δ = ∂L/∂z of a layer, its weights have the gradient δ_j·h_i, its biases δ_j, and the
    layer before it has ∂L/∂h_i = Σ_j δ_j·w_ji.
    """
    names, found = work.network.parameter_names, []
    by_value = [work.error(output, passed) for output in range(work.network.outputs)]
    for layer in reversed(range(work.layers)):
        is_own = work.is_own and layer == work.layers - 1
        slopes = [1.0] * len(by_value) if is_own else passed.slopes[layer]
        delta = [error * slope for error, slope in zip(by_value, slopes, strict=True)]
        rows, before = work.rows(weights, layer), passed.values[layer]
        start, fan_in = work.starts[layer], len(before)
        found.append(
            {
                "names": [
                    names[start + j * fan_in : start + (j + 1) * fan_in]
                    for j in range(len(rows))
                ],
                "weights": [row for row, _ in rows],
                "gradients": [[own * value for value in before] for own in delta],
                "biases": [bias for _, bias in rows] if work.network.bias else None,
                "delta": delta,
            }
        )
        by_value = [
            sum(delta[j] * row[i] for j, (row, _) in enumerate(rows)) for i in range(fan_in)
        ]
    return found[::-1]
