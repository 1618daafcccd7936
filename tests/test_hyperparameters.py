"""Settings of each run: a call with arrays gives the bits of one call for each run."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import backprop_svc as bp
from backprop_svc.result import SHARED_BY_RUNS, Result
from test_instruction_sets import HERE, VARIABLE, bits

RUNS = 11
APART = SHARED_BY_RUNS | {"hyperparameters"}
SHAPES = ((1, 1), (1, 1, 1), (1, 1, 1), (2, 3, 1), (1, 1, 1, 1), (2, 4, 3, 2))
VALUES = {
    # Some of them are what makes another kernel the right one.
    "momentum": st.sampled_from([0.0, 0.3, 0.9, 0.99]),
    "beta2": st.sampled_from([0.0, 0.9, 0.999]),
    "weight_decay": st.sampled_from([0.0, 0.0, 1e-3, 0.2]),
    "batch_seed": st.integers(0, 3),
    "gain": st.sampled_from([1.0, 1.0, 0.5, 3.0]),
    "negative_slope": st.sampled_from([0.0, 0.01, 0.3, 1.0]),
}


def fits(result: Result, run: int, alone: Result) -> None:
    for field in fields(Result):
        if field.name not in APART:
            values, own = getattr(result, field.name), getattr(alone, field.name)
            one = None if values is None else values[run : run + 1]
            assert bits(one) == bits(own), (field.name, run, one, own)


@st.composite
def cases(draw: st.DrawFn) -> tuple[bp.Network, dict[str, Any], dict[str, Any], int]:
    sizes = draw(st.sampled_from(SHAPES))
    names = ("relu", "identity", "leaky_relu", "tanh", "gelu", "sigmoid", "softplus")
    network = bp.Network(
        *sizes,
        activation=draw(st.sampled_from(names)),
        output=draw(st.sampled_from(("identity", "identity", "leaky_relu"))),
        dtype=draw(st.sampled_from(("float64", "float64", "float32"))),
        bias=draw(st.booleans()),
    )
    optimizers = ("gradient_descent", "momentum", "nesterov", "adam")
    shared: dict[str, Any] = {
        "optimizer": draw(st.sampled_from(optimizers)),
        "epochs": draw(st.sampled_from((0, 1, 41, 600))),
        "batch_size": draw(st.sampled_from((None, None, 2))),
        "stop_when_converged": draw(st.booleans()),
        "patience": draw(st.sampled_from((None, 3))),
        "record": draw(st.sampled_from(((), ("loss",), ("loss", "gradients", "weights")))),
        "sharpness": draw(st.booleans()),
    }
    own = {
        name: np.array(draw(st.lists(values, min_size=RUNS, max_size=RUNS)))
        for name, values in VALUES.items()
        if draw(st.booleans())
    }
    return network, shared, own, draw(st.integers(0, 2**32 - 1))


def arrays(network: bp.Network, seed: int) -> tuple[Any, Any, Any, Any]:
    random = np.random.default_rng(seed)
    weights = random.uniform(-1.5, 1.5, (RUNS, network.parameters))
    weights[0] = 0.0
    rows = int(random.integers(1, 6))
    x, y = (random.normal(size=(rows, size)) for size in (network.inputs, network.outputs))
    shape = (RUNS,) if random.random() < 0.5 else (RUNS, network.layers)
    rates = np.exp(random.uniform(np.log(1e-3), np.log(2), shape))
    if len(shape) > 1:
        rates[random.random(shape) < 0.3] = 0.0
        rates[~rates.any(axis=1)] = 0.1
        rates = rates[:, 0] if network.layers == 1 else rates
    return weights, x, y, rates


def alone(network: bp.Network, own: dict[str, Any], run: int) -> tuple[bp.Network, Any]:
    """A network and keywords with the values of a run, those of the network in it."""
    sizes, told = network.__getnewargs_ex__()
    told |= {name: own[name][run].item() for name in ("gain", "negative_slope") if name in own}
    rest = {name: values[run].item() for name, values in own.items() if name not in told}
    return bp.Network(*sizes, **told), rest  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_a_call_with_arrays_has_the_bits_of_a_call_for_each_run(case: Any) -> None:
    network, shared, own, seed = case
    weights, x, y, rates = arrays(network, seed)
    told = {**shared, "validation": None if shared["patience"] is None else (x, y)}
    level = HERE[seed % len(HERE)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, level)
        result = bp.train(network, weights, x, y, learning_rate=rates, **told, **own)
        assert result.hyperparameters.keys() == own.keys()
        for run in range(RUNS):
            single, rest = alone(network, own, run)
            expected = bp.train(
                single, weights[run], x, y, learning_rate=rates[run : run + 1], **told, **rest
            )
            fits(result, run, expected)


@pytest.mark.parametrize("optimizer", ["gradient_descent", "momentum", "adam"])
def test_runs_go_on_with_their_own_values(optimizer: Any) -> None:
    network = bp.Network(2, 3, 1, activation="leaky_relu")
    weights, x, y, _ = arrays(network, 7)
    own: dict[str, Any] = {
        "momentum": np.linspace(0, 0.9, RUNS),
        "beta2": np.linspace(0.9, 0.999, RUNS),
        "weight_decay": np.linspace(0, 0.1, RUNS),
        "batch_seed": np.arange(RUNS) % 3,
        "gain": np.linspace(0.5, 2, RUNS),
        "negative_slope": np.linspace(0, 1, RUNS),
        "batch_size": 2,
        "optimizer": optimizer,
        "learning_rate": np.geomspace(1e-4, 0.01, RUNS),
    }
    whole = bp.train(network, weights, x, y, epochs=50, **own)
    half = bp.train(network, weights, x, y, epochs=30, **own)
    rest = bp.train(network, half.weights, x, y, epochs=20, state=half.state, **own)
    assert (rest.weights == whole.weights).all()
    assert (rest.memory == whole.memory).all()


def test_thousands_of_runs_come_back_to_their_places() -> None:
    network, runs = bp.Network(1, 1, 1), 5000
    random = np.random.default_rng(0)
    weights = random.uniform(-2, 2, (runs, 2))
    own: dict[str, Any] = {
        "weight_decay": random.choice([0.0, 0.1], runs),
        "gain": random.choice([1, 2], runs),
    }
    rates = random.uniform(0.01, 0.2, runs)
    told: dict[str, Any] = {"epochs": 100, "record": ("loss", "weights")}
    result = bp.train(network, weights, 2.0, 3.0, learning_rate=rates, **told, **own)
    for decay in (0.0, 0.1):
        for gain in (1, 2):
            some = (own["weight_decay"] == decay) & (own["gain"] == gain)
            expected = bp.train(
                bp.Network(1, 1, 1, gain=gain), weights[some], 2.0, 3.0,
                learning_rate=rates[some], weight_decay=decay, **told,
            )  # fmt: skip
            for name in ("weights", "outcome_code", "loss", "weight_history", "died_at"):
                assert bits(getattr(result[some], name)) == bits(getattr(expected, name)), name


def test_one_of_anything_is_repeated() -> None:
    network = bp.Network(1, 1, 1)
    result = bp.train(
        network, [0.5, 1.0], 2.0, 3.0, optimizer="momentum", momentum=[0.0, 0.5, 0.9]
    )
    assert len(result) == 3
    assert (result.learning_rate == 0.1).all()
    assert result.hyperparameters["momentum"].tolist() == [0.0, 0.5, 0.9]
    assert result[1:].hyperparameters["momentum"].tolist() == [0.5, 0.9]
    assert result[1:] == result[[1, 2]] != result[:2]
    assert result.to_pandas()["momentum"].tolist() == [0.0, 0.5, 0.9]


NETWORK = bp.Network(1, 1, 1)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            {"momentum": [0.1, 0.2], "learning_rate": [0.1, 0.2, 0.3]},
            "momentum has 2 values and",
        ),
        ({"momentum": [[0.1]]}, r"momentum has shape \(1, 1\); allowed: a number or \(runs,\)"),
        ({"momentum": [0.1, 1.0]}, r"momentum\[1\] is 1; allowed: numbers from 0 to below 1"),
        ({"momentum": [0.1, np.nan]}, r"momentum\[1\] is NaN"),
        ({"beta2": [-0.1]}, r"beta2\[0\] is -0.1"),
        ({"weight_decay": [0, np.inf]}, r"weight_decay\[1\] is inf; allowed: finite numbers"),
        ({"momentum": ["a"]}, "momentum has type"),
        ({"batch_seed": [0, -1]}, r"batch_seed\[1\] is -1; allowed: whole numbers from 0"),
        ({"batch_seed": [0, 1 << 32]}, r"batch_seed\[1\] is 4294967296"),
        ({"batch_seed": np.array(-1)}, "batch_seed is -1"),
        ({"batch_seed": [0.5]}, "batch_seed has type float64; allowed: whole numbers"),
        ({"gain": 0}, r"gain\[0\] is 0; allowed: finite numbers above 0"),
        ({"gain": "big"}, "gain has type"),
        ({"negative_slope": [2.0]}, r"negative_slope\[0\] is 2; allowed: numbers from 0 to 1"),
        ({"learning_rate": 0}, r"learning_rate\[0\] is 0; allowed: finite numbers above 0"),
        ({"learning_rate": [[0.1, -1]]}, r"learning_rate\[0, 1\] is -1; allowed: finite"),
        (
            {"learning_rate": [[0.1, 0], [0, 0]]},
            r"learning_rate\[1\] is 0 for every layer; allowed: a rate above 0 for one layer",
        ),
    ],
)
def test_values_that_no_run_can_have_are_refused(told: dict[str, Any], message: str) -> None:
    with (
        pytest.raises(ValueError, match=message)
        if "type" not in message
        else pytest.raises(TypeError, match=message)
    ):
        bp.train(NETWORK, [0.5, 1.0], 2.0, 3.0, **told)


def test_a_rate_of_zero_freezes_a_layer() -> None:
    """ŷ = w2·w1·x with w1 frozen is linear in w2: rate·w1²·x² is what decides."""
    line = bp.Network(1, 1, 1, activation="identity")
    # w1 = 1e6 is a constant of the problem: w2 goes to 3/(2·10⁶), and its size is what counts.
    rates = [[0.0, factor / 4e12] for factor in (0.5, 1.5, 2.1, 1e-3)]
    result = bp.train(line, [1e6, 1e-7], 2.0, 3.0, learning_rate=rates, epochs=300)
    assert (result.weights[:, 0] == 1e6).all()
    assert result.outcome.tolist() == ["converged", "converged", "diverged", "unresolved"] or (
        result.outcome.tolist()[:2] == ["converged", "converged"]
    )
    assert np.allclose(result.weights[:2, 1], 1.5e-6, rtol=1e-12)
    plain = bp.train(
        bp.Network(1, 1, activation="identity"), [1e-7], 2e6, 3.0,
        learning_rate=[r for _, r in rates], epochs=300,
    )  # fmt: skip
    assert result.outcome.tolist() == plain.outcome.tolist()
    assert (result.weights[:, 1] == plain.weights[:, 0]).all()


def test_a_frozen_layer_is_no_saddle() -> None:
    """At w = 0 ½(3 − 2·w1·w2)² has a saddle; with w1 frozen at 0 it is flat in w2."""
    line = bp.Network(1, 1, 1, activation="identity")
    rates = [[0.1, 0.1], [0.0, 0.1]]
    result = bp.train(line, [0.0, 0.0], 2.0, 3.0, learning_rate=rates, epochs=50)
    assert result.outcome.tolist() == ["stalled", "stalled"]
    assert result.stall.tolist() == ["saddle", "plateau"]


@pytest.mark.parametrize("function", [bp.predict, bp.gradients, bp.sharpness, bp.curvature])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 3, 1), (2, 7, 3)])
def test_weights_are_looked_at_with_their_own_gain(function: Any, sizes: Any) -> None:
    for activation in ("leaky_relu", "tanh", "relu"):
        network = bp.Network(*sizes, activation=activation)
        weights, x, y, _ = arrays(network, 3)
        rows = (x,) if function is bp.predict else (x, y)
        gains, slopes = np.linspace(0.5, 2, RUNS), np.linspace(0, 1, RUNS)
        found = function(network, weights, *rows, gain=gains, negative_slope=slopes)
        for run in range(RUNS):
            own = bp.Network(
                *sizes, activation=activation, gain=gains[run], negative_slope=slopes[run]
            )
            expected = function(own, weights[run], *rows)
            each = [(found, expected)]
            if isinstance(found, tuple):
                each = list(zip(found, expected, strict=True))
            for values, value in each:
                assert bits(values[run : run + 1]) == bits(value)


def test_arrays_of_records_are_no_numbers() -> None:
    records = np.zeros(1, dtype=[("a", "u1")])
    for seeds in (records, records[:0]):
        with pytest.raises(bp.SettingError, match="batch_seed has type"):
            bp.train(bp.Network(1, 1, 1), [0.5, 1], 2.0, 3.0, batch_seed=seeds)
    with pytest.raises(bp.SettingError, match="optimizer is array"):
        bp.sweep(bp.Network(1, 1, 1), 2.0, 3.0, {"lr": [0.1]}, optimizer=records)
