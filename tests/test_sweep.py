"""Points of a sweep against nested loops, and against what samples promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import backprop_svc as bp

NUMBERS = st.floats(-1e6, 1e6)
TABLES = st.lists(st.lists(NUMBERS, min_size=1, max_size=4), max_size=4)


@given(TABLES, st.data())
def test_points_are_those_of_nested_loops(
    tables: list[list[float]], data: st.DataObject
) -> None:
    sweep = bp.Sweep(*({f"axis{i}": values} for i, values in enumerate(tables)))
    naive = list(itertools.product(*tables))
    assert len(sweep) == len(naive)
    start = data.draw(st.integers(0, len(naive)))
    stop = data.draw(st.integers(start, len(naive)))
    points = sweep.points(start, stop)
    found = list(zip(*(values.tolist() for values in points.values()), strict=True))
    assert found == (naive[start:stop] if tables else [])


def test_axes_of_a_table_go_together() -> None:
    sweep = bp.Sweep({"lr": [1, 2], "w1": [3, 4]}, {"w2": [5, 6]})
    points = sweep.points()
    rows = list(zip(points["lr"], points["w1"], points["w2"], strict=True))
    assert rows == [(1, 3, 5), (1, 3, 6), (2, 4, 5), (2, 4, 6)]


def test_a_huge_sweep_costs_nothing() -> None:
    sweep = bp.Sweep(*({f"a{i}": np.arange(1000)} for i in range(4)))
    assert len(sweep) == 10**12
    points = sweep.points(10**12 - 1)
    assert [values.tolist() for values in points.values()] == [[999.0]] * 4


def test_spaced() -> None:
    assert bp.spaced(bp.Interval(0, 1), 5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    np.testing.assert_allclose(
        bp.spaced(bp.Interval(0.001, 1, log=True), 4), [0.001, 0.01, 0.1, 1], rtol=1e-15
    )
    assert bp.spaced(bp.Interval(2, 3), 1).tolist() == [2]


@pytest.mark.parametrize("method", ["latin", "sobol"])
def test_samples_fill_every_stratum(method: bp.sweep.Method) -> None:
    # A Latin hypercube, and a Sobol sequence of 2^k points, put one point in each of the
    # n equal slices of every axis.
    intervals = {"a": bp.Interval(-2, 2), "b": bp.Interval(0.01, 1, log=True)}
    found = bp.sampled(intervals, 64, method, seed=7)
    a = (found["a"] + 2) / 4
    b = (np.log(found["b"]) - math.log(0.01)) / -math.log(0.01)
    for unit in (a, b):
        assert sorted(np.minimum(unit * 64, 63).astype(int)) == list(range(64))


@pytest.mark.parametrize("method", bp.sweep.METHODS)
@pytest.mark.parametrize("count", [1, 3, 100])
def test_samples_are_seeded_and_stay_inside(method: bp.sweep.Method, count: int) -> None:
    intervals = {"a": bp.Interval(-2, 2), "b": bp.Interval(1e-8, 1e8, log=True)}
    found = bp.sampled(intervals, count, method, seed=3)
    again = bp.sampled(intervals, count, method, seed=3)
    other = bp.sampled(intervals, count, method, seed=4)
    for name, (low, high, _) in intervals.items():
        assert found[name].shape == (count,)
        assert ((found[name] >= low) & (found[name] <= high)).all()
        assert (found[name] == again[name]).all()
        assert (found[name] != other[name]).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bp.Sweep({"a": []}), "'a' has shape"),
        (lambda: bp.Sweep({"a": [1.0, math.nan]}), "'a' has the value nan"),
        (lambda: bp.Sweep({"a": [1], "b": [1, 2]}), "differ in length"),
        (lambda: bp.Sweep({"a": [1]}, {"a": [2]}), "'a' comes twice"),
        (lambda: bp.spaced(bp.Interval(1, 0), 3), r"interval\(1,0\) is empty"),
        (lambda: bp.spaced(bp.Interval(0, 1, log=True), 3), "has no logarithm"),
        (lambda: bp.spaced(bp.Interval(0, 1), 0), "count is 0"),
        (lambda: bp.sampled({"a": bp.Interval(0, 1)}, 0, "sobol", 0), "count is 0"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()
