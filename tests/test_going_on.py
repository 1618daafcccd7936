"""Training goes on: parts have the bits of a training that goes straight through."""

from __future__ import annotations

import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backprop_svc as bp

GUIDE = bp.Network(1, 1, 1)
HISTORIES = ("loss", "prediction", "gradients", "weight_history")

networks = st.builds(
    lambda hidden, outputs, **keywords: bp.Network(2, *hidden, outputs, **keywords),
    st.lists(st.integers(1, 4), max_size=2),
    st.integers(1, 2),
    activation=st.sampled_from(["relu", "tanh", "gelu"]),
    bias=st.booleans(),
    loss=st.sampled_from(["half_squared_error", "mse", "binary_cross_entropy"]),
    dtype=st.sampled_from(["float64", "float32"]),
)
ways = st.fixed_dictionaries(
    {
        "optimizer": st.sampled_from(["gradient_descent", "momentum", "nesterov", "adam"]),
        "schedule": st.sampled_from(["constant", "step", "cosine"]),
        "warmup": st.integers(0, 12),
        "step_epochs": st.integers(1, 9),
        "weight_decay": st.sampled_from([0.0, 0.01]),
        "batch_size": st.sampled_from([None, 1, 3, 7]),
        "batch_seed": st.integers(0, 2**32 - 1),
        "precision": st.sampled_from(["exact", "fast"]),
        "divergence_bound": st.sampled_from([1e3, float("inf")]),
    }
)


@given(
    st.one_of(networks, st.sampled_from([GUIDE, bp.Network(1, 1)])),
    ways,
    st.lists(st.integers(12, 60), min_size=2, max_size=4).map(sorted),
    st.sampled_from([0, 1, 1, 4]),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_parts_are_a_training_straight_through(
    network: bp.Network, way: dict[str, Any], ends: list[int], every: int, runs: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    x, y = generator.normal(size=(7, network.inputs)), generator.random((7, network.outputs))
    weights = generator.normal(0, 0.8, (runs, network.parameters))
    rates = 10 ** generator.uniform(-2, 1, (runs, network.layers))
    keywords: dict[str, Any] = {
        **way, "schedule_epochs": ends[-1], "record_every": every,
        "record": ("loss", "prediction", "gradients", "weights"),
    }  # fmt: skip
    whole = bp.train(network, weights, x, y, learning_rate=rates, epochs=ends[-1], **keywords)
    chosen, state = np.arange(runs), None
    for begin, end in pairwise([0, *ends]):
        part = bp.train(
            network, weights, x, y, learning_rate=rates, epochs=end - begin, state=state,
            **keywords,
        )  # fmt: skip
        straight = whole[chosen]
        assert (part.recorded >= begin).all()
        assert (part.recorded < end).all()
        assert part.recorded.size == 0 or part.recorded[0] == begin or every == 0
        both = np.intersect1d(part.recorded[: -1 if every != 1 else None], whole.recorded)
        for name in HISTORIES:
            ours, theirs = (
                getattr(result, name)[:, np.isin(result.recorded, both)]
                for result in (part, straight)
            )
            # The place of a run's last epoch may hold an earlier one.
            if every == 1:
                np.testing.assert_array_equal(ours, theirs)
        on = part.outcome != "diverged"
        np.testing.assert_array_equal(part.diverged_at[~on], straight.diverged_at[~on])
        last = on if end == ends[-1] else np.zeros_like(on)
        for name in ("weights", "memory"):
            ended = last | ~on
            found, expected = (getattr(result, name)[ended] for result in (part, straight))
            assert found.tobytes() == expected.tobytes()
        if end > begin:
            assert part.last_loss[last].tobytes() == straight.last_loss[last].tobytes()
        part, chosen, rates = part[on], chosen[on], rates[on]
        weights, state = part.weights, part.state
        if not len(part):
            break


ADAM: dict[str, Any] = {"optimizer": "adam", "learning_rate": [0.01, 0.02, 0.03]}


def test_a_state_is_a_value() -> None:
    result = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, epochs=5, **ADAM)
    state = result.state
    assert len(state) == 3
    assert state.epoch == 5
    assert state.epochs.tolist() == [5, 5, 5]
    assert state.memory.shape == (3, 4)
    assert repr(state) == "State of 3 runs before epoch 5 of adam"
    assert pickle.loads(pickle.dumps(state)) == state
    assert pickle.loads(pickle.dumps(result)).state == state
    for index in (1, slice(1, 2), [False, True, False], np.array([1])):
        part = state[index]
        assert part == result[index].state
        assert part.memory.tobytes() == state.memory[1:2].tobytes()
    with pytest.raises(IndexError, match="run is 3; allowed: positions of 3 runs"):
        state[3]
    assert state != state[:2]
    assert state[[]].epoch == 0
    plain = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0).state
    assert plain.memory.shape == (1, 0), "gradient descent remembers nothing"
    assert plain != state


def test_a_schedule_without_its_length_ends_where_the_training_ends() -> None:
    keywords: dict[str, Any] = {"schedule": "cosine", "learning_rate": 0.01}
    half = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, epochs=50, schedule_epochs=100, **keywords)
    rest = bp.train(GUIDE, half.weights, 2.0, 3.0, epochs=50, state=half.state, **keywords)
    whole = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, epochs=100, **keywords)
    assert rest.weights.tobytes() == whole.weights.tobytes()
    assert rest.recorded.tolist() == list(range(50, 100))
    with pytest.raises(bp.SettingError, match=r"schedule_epochs is 60; allowed: .* from 100,"):
        bp.train(GUIDE, half.weights, 2.0, 3.0, epochs=50, state=half.state, schedule_epochs=60)


def test_memory_costs_nothing_where_it_is_not_used() -> None:
    assert bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0).memory.nbytes == 0


def test_runs_that_ended_early_do_not_go_on() -> None:
    starts = [[0.5, 1.0], [50.0, 50.0], [0.4, 1.0]]
    mixed = bp.train(GUIDE, starts, 2.0, 3.0, epochs=9, divergence_bound=1e6)
    assert mixed.state.epochs.tolist() == [9, -1, 9]
    assert repr(mixed.state) == "State of 3 runs before different epochs of gradient_descent"
    with pytest.raises(
        bp.SettingError,
        match=r'state has run 1, which diverged; .*result\[result.outcome != "diverged"\]',
    ):
        bp.train(GUIDE, mixed.weights, 2.0, 3.0, state=mixed.state)
    kept = mixed[mixed.outcome != "diverged"]
    again = bp.train(GUIDE, kept.weights, 2.0, 3.0, state=kept.state, epochs=1)
    assert again.state.epoch == 10
    rested = bp.train(
        GUIDE, [0.5, 1.0], 2.0, 3.0, learning_rate=[0.1, 0.11], epochs=99,
        stop_when_converged=True,
    )  # fmt: skip
    first, second = rested.epochs.tolist()
    assert first != second
    with pytest.raises(
        bp.SettingError,
        match=rf"which ended after .*result\[result.state.epochs == {max(first, second)}\]",
    ):
        bp.train(GUIDE, rested.weights, 2.0, 3.0, state=rested.state)
    one = rested[rested.state.epochs == first]
    assert bp.train(GUIDE, one.weights, 2.0, 3.0, state=one.state).first_epoch == first


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"optimizer": "nesterov"}, "optimizer is 'nesterov'; allowed: momentum, which the"),
        ({"state": 5}, "state is 5; allowed: a State or None"),
        (
            {"epochs": 2**63 - 3, "record": ()},
            r"epochs is \d+; allowed: whole numbers up to 2\^63 − 1 − 5",
        ),
        ({"learning_rate": [0.1, 0.2, 0.3]}, "state has 2 runs; allowed: 1 or 3"),
        ({"state": bp.State("momentum", [5], [[1.0]])}, "state.memory has 1 values; allowed"),
        (
            {"state": bp.State("momentum", [5], [[1.0, np.nan]])},
            r"state.memory\[0, 1\] is NaN; allowed",
        ),
    ],
)
def test_a_state_that_does_not_fit(keywords: dict[str, Any], message: str) -> None:
    state = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, epochs=5, optimizer="momentum").state
    two = bp.State("momentum", [5, 5], np.zeros((2, 2)))
    arguments: dict[str, Any] = {"optimizer": "momentum", "state": state, **keywords}
    if "learning_rate" in keywords:
        arguments["state"] = two
    with pytest.raises(bp.SettingError, match=message):
        bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, [1], [[]]), "state.optimizer is 5; allowed: a text"),
        (("adam", [1.5], [[]]), "state.epochs has type float64"),
        (("adam", [-2], [[]]), "state.epochs has -2; allowed"),
        (("adam", [2**63], [[]]), "state.epochs has 9223372036854775808"),
        (("adam", [1], [1.0]), r"state.memory has shape \(1,\); allowed: \(1, values\)"),
        (("adam", [1, 2], [[]]), r"state.memory has shape \(1, 0\); allowed: \(2, values\)"),
        (("adam", [1], [["a"]]), "state.memory has type"),
    ],
)
def test_no_state(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(bp.SettingError, match=message):
        bp.State(*arguments)


def test_orders_of_a_hostile_epoch_are_not_waited_for() -> None:
    far = bp.State("gradient_descent", [2**62], np.empty((1, 0)))
    result = bp.train(
        GUIDE, [0.5, 1.0], [1.0, 2.0], [1.0, 2.0], state=far, batch_size=1, time_limit=0.2
    )
    assert result.epochs.tolist() == [0]
    assert result.state.epoch == 2**62
