"""How rough the boundary of trainability is: its cells, and their fractal dimension.

Jascha Sohl-Dickstein, "The boundary of neural network trainability is fractal",
arXiv 2402.06184.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backprop_svc.arrays import Booleans, array
from backprop_svc.errors import SettingError, SettingTypeError, shortened


def boundary(trained: ArrayLike) -> Booleans:
    """Find the cells between four neighbouring runs that are not all alike.

    The runs are the corners of the cells, as in the paper's notebook (``extract_edges``).

    Parameters
    ----------
    trained
        Whether each run of a grid trained, shape (rows, columns), two or more of each.

    Returns
    -------
    Shape (rows − 1, columns − 1).

    Raises
    ------
    SettingTypeError
        The values are not booleans.
    SettingError
        The shape is another one.

    >>> boundary([[True, True, False], [True, True, False]])
    array([[False,  True]])
    """
    runs = _grid("trained", trained, least=2)
    corners = np.stack([runs[1:, 1:], runs[:-1, 1:], runs[1:, :-1], runs[:-1, :-1]])
    mixed: Booleans = corners.max(axis=0) != corners.min(axis=0)
    return mixed


def box_counting_dimension(cells: ArrayLike) -> float:
    """Estimate the box-counting (Minkowski) dimension: 1 of a smooth curve, 2 of an area.

    A set of dimension d needs some size^−d boxes to be covered. The boxes are squares of
    1, 2, 4, … cells, up to an eighth of the shorter side: larger ones are so few that a
    single box matters. They form a grid, which is put where the fewest boxes hold a cell,
    so that the answer does not depend on where the set lies. The dimension is the median
    of the slopes of log count against −log size between every two sizes (Theil–Sen), which
    the ends of the range, where a picture ceases to be a fractal, move less than they do a
    least-squares fit. (The paper has the median of the slopes between neighbours of ten
    sizes from 10 cells on, with the grid in one place.)

    On 1024 × 1024 cells straight lines are right to 0.02, circles wider than a third of the
    grid to 0.04, Koch's curve and Sierpinski's triangle and carpet to 0.05. Smaller sets are
    less exact: on 64 × 64 cells the error of circles reaches 0.16. Smooth curves come out
    too high rather than too low; areas, which it is not made for, by up to 0.15 too low.

    Parameters
    ----------
    cells
        Those of the set, shape (rows, columns), 16 or more of each: what :func:`boundary`
        returns.

    Raises
    ------
    SettingTypeError
        The values are not booleans.
    SettingError
        The shape is another one, or no cell is in the set.

    >>> box_counting_dimension(np.eye(64, dtype=bool))
    1.0
    """
    from scipy.stats import theilslopes

    held = _grid("cells", cells, least=16)
    if not held.any():
        raise SettingError(
            "cells",
            "all false",
            "one or more that are true",
            "choose a part of the plane in which some runs train and others do not",
            verb="are",
        )
    sizes = 2 ** np.arange((min(held.shape) // 8).bit_length())
    return float(theilslopes(np.log2(_counts(held, sizes)), -np.log2(sizes)).slope)


def _counts(cells: Booleans, sizes: NDArray[np.int64]) -> list[int]:
    """Count the fewest boxes that hold all cells, for each size: 1, 2, 4, …."""
    # As many empty cells as the largest box is wide: a box that leaves at one side and comes
    # in at the other never holds cells of both.
    largest = int(sizes[-1])
    held = np.pad(cells, [(0, largest + -length % largest) for length in cells.shape])
    rows, columns = held.shape
    counts = []
    for size in sizes.tolist():
        # held[i, j] tells whether the box from (i, j) on holds a cell: any of its quarters.
        for axis in (0, 1) if size > 1 else ():
            held = held | np.roll(held, -(size // 2), axis)
        grids = held.reshape(rows // size, size, columns // size, size)
        counts.append(int(grids.sum(axis=(0, 2)).min()))
    return counts


def _grid(name: str, values: ArrayLike, least: int) -> Booleans:
    grid = array(name, values)
    if grid.dtype != np.bool_:
        raise SettingTypeError(
            name,
            f"type {shortened(str(grid.dtype))}",
            "booleans",
            "compare first, as in result.loss_ratio < 1",
            verb="has",
        )
    if grid.ndim != 2 or min(grid.shape) < least:
        raise SettingError(
            name,
            f"shape {grid.shape}",
            f"(rows, columns), {least} or more of each",
            "reshape it, or sweep more points",
            verb="has",
        )
    return grid
