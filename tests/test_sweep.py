"""The points of a sweep against nested loops, and against what samples promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import backprop_svc as bp
from backprop_svc.sweep.axes import Axis, axis_name, grid
from backprop_svc.sweep.sampler import METHODS, GridSampler, sampled
from backprop_svc.sweep.space import Grid

NUMBERS = st.floats(-1e6, 1e6)
TABLES = st.lists(st.lists(NUMBERS, min_size=1, max_size=4), max_size=4)


@given(TABLES, st.data())
def test_points_are_those_of_nested_loops(
    tables: list[list[float]], data: st.DataObject
) -> None:
    grid = Grid(*({f"axis{i}": values} for i, values in enumerate(tables)))
    naive = list(itertools.product(*tables))
    assert len(grid) == len(naive)
    start = data.draw(st.integers(0, len(naive)))
    stop = data.draw(st.integers(start, len(naive)))
    points = grid.points(start, stop)
    assert points.count == stop - start
    found = list(zip(*(values.tolist() for values in points.values.values()), strict=True))
    assert found == (naive[start:stop] if tables else [])


@given(TABLES, st.integers(1, 5))
def test_a_grid_is_asked_for_in_chunks(tables: list[list[float]], most: int) -> None:
    grid = Grid(*({f"axis{i}": values} for i, values in enumerate(tables)))
    start, stop = len(grid) // 3, len(grid)
    sampler, rows = GridSampler(grid, start, stop), []
    assert len(sampler) == stop - start
    while (points := sampler.ask(most)) is not None:
        assert 1 <= points.count <= most
        rows += list(zip(*(v.tolist() for v in points.values.values()), strict=True))
        sampler.tell(points, np.zeros(points.count))
    assert rows == (list(itertools.product(*tables))[start:] if tables else [])


def test_axes_of_a_table_go_together() -> None:
    axes: dict[str, Axis] = {"lr": bp.Zipped([1, 2]), "w2": [5, 6], "w1": bp.Zipped([3, 4])}
    points = grid(axes).points().values
    rows = list(zip(points["lr"], points["w1"], points["w2"], strict=True))
    assert rows == [(1, 3, 5), (1, 3, 6), (2, 4, 5), (2, 4, 6)]


def test_a_huge_sweep_costs_nothing() -> None:
    huge = Grid(*({f"a{i}": np.arange(1000)} for i in range(4)))
    assert len(huge) == 10**12
    points = huge.points(10**12 - 1).values
    assert [values.tolist() for values in points.values()] == [[999.0]] * 4


def test_spaced() -> None:
    assert bp.Interval(0, 1).spaced(5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    np.testing.assert_allclose(
        bp.LogInterval(0.001, 1).spaced(4), [0.001, 0.01, 0.1, 1], rtol=1e-15
    )
    assert bp.Interval(2, 3).spaced(1).tolist() == [2]
    axes = {"lr": bp.Interval(0, 1), "w1": bp.LogInterval(0.1, 10)}
    assert [next(iter(t.values())).tolist() for t in grid(axes, points=[2, 3]).tables] == [
        [0, 1],
        [0.1, 1, 10],
    ]


@pytest.mark.parametrize("method", ["latin", "sobol"])
def test_samples_fill_every_stratum(method: str) -> None:
    # A Latin hypercube, and a Sobol sequence of 2^k points, put one point in each of the
    # n equal slices of every axis.
    intervals = {"a": bp.Interval(-2, 2), "b": bp.LogInterval(0.01, 1)}
    found = sampled(intervals, 64, method, seed=7)
    a = (found["a"] + 2) / 4
    b = (np.log(found["b"]) - math.log(0.01)) / -math.log(0.01)
    for unit in (a, b):
        assert sorted(np.minimum(unit * 64, 63).astype(int)) == list(range(64))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 3, 100])
def test_samples_are_seeded_and_stay_inside(method: str, count: int) -> None:
    intervals = {"a": bp.Interval(-2, 2), "b": bp.LogInterval(1e-8, 1e8)}
    found = sampled(intervals, count, method, seed=3)
    again = sampled(intervals, count, method, seed=3)
    other = sampled(intervals, count, method, seed=4)
    for name, interval in intervals.items():
        low, high = interval.low, interval.high
        assert found[name].shape == (count,)
        assert ((found[name] >= low) & (found[name] <= high)).all()
        assert (found[name] == again[name]).all()
        assert (found[name] != other[name]).any()


class Unreadable:
    def __array__(self, *_: object, **__: object) -> NDArray[np.float64]:
        raise RuntimeError("not now")


def test_the_largest_numbers_are_bounds() -> None:
    largest = np.finfo(float).max
    for interval in (bp.LogInterval(5e-324, largest), bp.Interval(-largest / 2, largest / 2)):
        for values in (interval.spaced(7), interval.at(np.linspace(0, 1, 7))):
            assert (np.diff(values) > 0).all()
            assert values[0] == pytest.approx(interval.low, rel=1e-9)
            assert values[-1] == pytest.approx(interval.high, rel=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Grid({"a": []}), "'a' has shape"),
        (lambda: Grid({"a": [1.0, math.nan]}), "'a' has the value nan"),
        (lambda: Grid({"a": [1], "b": [1, 2]}), "are 1 of a, 2 of b; allowed"),
        (lambda: Grid({"a": [1]}, {"a": [2]}), "'a' comes twice"),
        (lambda: bp.Interval(1, 0), r"Interval\(1, 0\) is empty"),
        (lambda: bp.Interval(10**400, 0), "a number that float64 holds"),
        (lambda: bp.LogInterval(0, 1), "a lower bound without a logarithm"),
        (lambda: bp.Interval("a", 1), "Interval.low is 'a'"),  # type: ignore[arg-type]
        (lambda: grid({"a": bp.Interval(0, 1)}, points=0), "points is 0"),
        (lambda: grid({"a": bp.Interval(0, 1)}, points=[1, 2]), "each of 1 interval;"),
        (lambda: grid({"a": bp.Interval(0, 1)}, sampler="grit"), "sampler is 'grit'"),
        (lambda: sampled({"a": bp.Interval(0, 1)}, 0, "sobol", 0), "samples is 0"),
        (lambda: Grid({"a": (0.01, 1)}), r"'a' is \(0.01, 1\)"),
        (lambda: Grid({"a": "0.01"}), "'a' is '0.01'"),
        (lambda: Grid({"a": [True, False]}), "'a' is \\[True, False\\]"),
        (lambda: Grid({"a": [[1, 2], [3]]}), "'a' is ragged"),
        (
            lambda: Grid({"a": np.ma.masked_array([1.0], [True])}),
            r"the axis .a. has missing \(masked\) value",
        ),
        (lambda: Grid({"a": Unreadable()}), "'a' is .*; allowed: an array of numbers"),
        (lambda: Grid({"a": np.array([np.longdouble("1e4000")])}), "'a' has the value inf"),
        (lambda: Grid(*({f"a{i}": range(2**9)} for i in range(7))), r"have 9.22e\+18 points"),
        (lambda: bp.Interval(-1e308, 1e308), "a finite difference"),
        (lambda: bp.Interval(0, 1).spaced(0), "count is 0"),
        (lambda: grid({"a": bp.Interval(0, 1)}, points=2**62), "points is 4611686018427387904"),
        (lambda: grid({"a": bp.Interval(0, 1)}, sampler="sobol", samples=2**31), "to 2.30"),
        (
            lambda: grid({"a": bp.Zipped([1]), "b": bp.Zipped([1, 2])}),
            "are 1 of a, 2 of b; allowed",
        ),
        (lambda: axis_name("epochs"), "an axis has the name 'epochs'"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()
