"""Public functions refuse what they cannot take, in the ways that they document."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from hostile import FUNCTIONS, Call, calls


@pytest.mark.parametrize("function", FUNCTIONS)
def test_hostile_arguments_are_refused_in_our_words(function: str) -> None:
    accepted = []

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(calls((function,)))
    def survives(call: Call) -> None:
        accepted.append(call.check())

    survives()
    # Neither is everything refused, nor is everything taken.
    assert any(accepted)
    assert not all(accepted) or function == "shown"
