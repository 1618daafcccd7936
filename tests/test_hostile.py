"""Public functions refuse what they cannot take, in the ways that they document."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import backprop_svc as bp
from hostile import FUNCTIONS, Call, calls, systematic


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """Refuse what would not fit, as a smaller machine does, instead of ending the process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_hostile_arguments_are_refused_in_our_words(function: str) -> None:
    accepted = []

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(calls((function,)))
    def survives(call: Call) -> None:
        accepted.append(call.check())

    survives()
    if not any(accepted):
        # One call of training in 25 is taken: by chance none of 150 was.
        survives()
    # Neither is everything refused, nor is everything taken.
    assert any(accepted)
    assert not all(accepted) or function == "shown"


def test_years_of_mini_batches_end_in_time() -> None:
    begin = time.monotonic()
    result = bp.train(
        bp.Network(1, 1, 1),
        [0.5, 1.0],
        [1.0, 2.0, 3.0, 4.0],
        [2.0, 3.0, 4.0, 5.0],
        epochs=2**31,
        batch_size=3,
        time_limit=0.3,
        record=(),
    )
    assert 0 < result.epochs[0] < 2**31
    assert time.monotonic() - begin < 60


def test_an_interval_of_recording_beyond_all_epochs() -> None:
    network = bp.Network(2, 2, 1)
    weights = bp.initial_weights(network)
    result = bp.train(network, weights, [[1, 2]], [1], epochs=20, record_every=2**62)
    assert result.recorded.tolist() == [0, 19]
    every = bp.train(network, weights, [[1, 2]], [1], epochs=20)
    assert result.loss is not None
    assert every.loss is not None
    assert result.loss.tolist() == every.loss[:, [0, 19]].tolist()


def test_the_last_of_very_many_epochs_is_not_rounded() -> None:
    result = bp.train(
        bp.Network(1, 1), np.empty((0, 1)), 1, 1, epochs=2**62 - 1, record_every=0, threads=1
    )
    assert result.recorded.tolist() == [2**62 - 2]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_each_argument_may_be_hostile(name: str) -> None:
    found = list(systematic(name))
    for call in random.Random(0).sample(found, min(40, len(found))):
        call.check()
