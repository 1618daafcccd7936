"""Dimensions of sets that mathematics knows, and naive twins."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

import backprop_svc as bp

Booleans = NDArray[np.bool_]


def grids(least: int, most: int) -> st.SearchStrategy[Booleans]:
    return arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=least, max_side=most))


@given(grids(2, 7))
def test_boundary_against_loops(trained: Booleans) -> None:
    rows, columns = trained.shape
    naive = [
        [
            len({trained[i + di, j + dj] for di in (0, 1) for dj in (0, 1)}) == 2
            for j in range(columns - 1)
        ]
        for i in range(rows - 1)
    ]
    assert bp.boundary(trained).tolist() == naive


def naive_dimension(cells: Booleans) -> float:
    points: list[tuple[float, float]] = []
    size = 1
    while 8 * size <= min(cells.shape):
        fewest = min(
            len({((i + a) // size, (j + b) // size) for i, j in np.argwhere(cells).tolist()})
            for a in range(size)
            for b in range(size)
        )
        points.append((-math.log2(size), math.log2(fewest)))
        size *= 2
    return statistics.median(
        (y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in itertools.combinations(points, 2)
    )


@settings(deadline=None)
@given(grids(16, 40).filter(np.any))
def test_dimension_against_loops(cells: Booleans) -> None:
    assert bp.box_counting_dimension(cells) == pytest.approx(naive_dimension(cells), abs=1e-12)


def line(size: int, angle: float) -> Booleans:
    """Trained below a line through the plane, at an angle to the rows."""
    y, x = np.mgrid[: size + 1, : size + 1] / size - 0.51
    return bp.boundary(math.cos(angle) * y < math.sin(angle) * x)


def circle(size: int, radius: float) -> Booleans:
    y, x = np.mgrid[: size + 1, : size + 1] / size
    return bp.boundary((x - 0.47) ** 2 + (y - 0.52) ** 2 < radius**2)


def square(size: int) -> Booleans:
    cells = np.zeros((size, size), dtype=bool)
    cells[size // 7 :, : size // 2] = True
    return cells


def triangle(size: int) -> Booleans:
    """Sierpinski's: the odd numbers of Pascal's triangle, laid in a corner."""
    rows = np.arange(size)
    odd: Booleans = rows[:, np.newaxis] & rows == 0
    return odd


def carpet(levels: int) -> Booleans:
    """Sierpinski's, of 3^levels cells a side."""
    cells, hole = np.ones((1, 1), dtype=bool), np.ones((3, 3), dtype=bool)
    hole[1, 1] = False
    for _ in range(levels):
        cells = np.kron(cells, hole)
    return cells


def koch(size: int) -> Booleans:
    """Koch's curve over a whole row, of segments shorter than a cell."""
    points = np.array([0, 1], dtype=complex)
    while len(points) < 4 * size:
        start, third = points[:-1], np.diff(points) / 3
        corners = (start, start + third, start + third * (1 + np.exp(1j * math.pi / 3)))
        parts = np.stack([*corners, start + 2 * third], axis=1)
        points = np.append(parts.reshape(-1), 1)
    cells = np.zeros((size, size), dtype=bool)
    inside = points * (size - 1)
    cells[inside.imag.astype(int), inside.real.astype(int)] = True
    return cells


@pytest.mark.parametrize("size", [1023, 1024])
def test_curves_and_areas(size: int) -> None:
    for angle in (0.0, 0.2, 0.6, 0.9, 1.2, 2.1):
        assert bp.box_counting_dimension(line(size, angle)) == pytest.approx(1, abs=0.02)
    for radius in (0.2, 0.31, 0.45):
        assert bp.box_counting_dimension(circle(size, radius)) == pytest.approx(1, abs=0.04)
    assert bp.box_counting_dimension(square(size)) == pytest.approx(2, abs=0.02)


def test_fractals() -> None:
    log = math.log
    for size in (1000, 1024):
        found = bp.box_counting_dimension(triangle(size))
        assert found == pytest.approx(log(3) / log(2), abs=0.01)
        assert bp.box_counting_dimension(koch(size)) == pytest.approx(log(4) / log(3), abs=0.05)
    assert bp.box_counting_dimension(carpet(6)) == pytest.approx(log(8) / log(3), abs=0.05)


def test_sets_of_boxes_are_exact() -> None:
    point = np.zeros((128, 128), dtype=bool)
    point[77, 31] = True
    assert bp.box_counting_dimension(point) == 0
    assert bp.box_counting_dimension(np.eye(128, dtype=bool)) == 1
    assert bp.box_counting_dimension(np.ones((128, 128), dtype=bool)) == 2
    assert bp.box_counting_dimension(triangle(128)) == pytest.approx(math.log2(3), abs=1e-12)


def test_opposite_sides_are_apart() -> None:
    frame = np.ones((16, 16), dtype=bool)
    frame[1:-1, 1:-1] = False
    # 60 cells, in 28 boxes of 2 × 2.
    assert bp.box_counting_dimension(frame) == pytest.approx(math.log2(60 / 28), abs=1e-12)


@settings(deadline=None)
@given(st.integers(0, 64), st.integers(0, 64))
def test_where_a_set_lies_does_not_matter(down: int, right: int) -> None:
    cells = circle(64, 0.4)
    moved = np.pad(cells, [(down, 64 - down), (right, 64 - right)])
    corner = np.pad(cells, [(0, 64), (0, 64)])
    assert bp.box_counting_dimension(moved) == bp.box_counting_dimension(corner)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: bp.boundary([[0.5, 1.0]]),
            TypeError,
            "trained has type float64; allowed",
        ),
        (lambda: bp.boundary([True, False]), ValueError, r"trained has shape \(2,\); allowed"),
        (
            lambda: bp.boundary([[True, False]]),
            ValueError,
            r"trained has shape \(1, 2\); all",
        ),
        (
            lambda: bp.box_counting_dimension(np.ones((16, 16))),
            TypeError,
            "cells has type float64; allowed: booleans; compare first",
        ),
        (
            lambda: bp.box_counting_dimension(np.ones((99, 15), dtype=bool)),
            ValueError,
            r"cells has shape \(99, 15\); allowed: \(rows, columns\), 16 or more of each",
        ),
        (
            lambda: bp.box_counting_dimension(np.zeros((16, 16), dtype=bool)),
            ValueError,
            "cells are all false; allowed: one or more that are true; choose",
        ),
    ],
)
def test_bad_input_is_named(call: object, error: type[Exception], message: str) -> None:
    assert callable(call)
    with pytest.raises(error, match=message):
        call()
