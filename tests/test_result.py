"""A result as a value: its parts, its table, its text, its equality."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import backprop_svc as bp

GUIDE = bp.Network(1, 1, 1)
STARTS = np.array([[0.5, 1.0], [50.0, 50.0], [-1.0, 1.0], [0.7, 0.2]])


def trained(starts: NDArray[np.float64] = STARTS, **settings: Any) -> bp.Result:
    """Train what learns, diverges in its first epoch, is dead, and learns slowly."""
    return bp.train(GUIDE, starts, 2.0, 3.0, epochs=9, divergence_bound=1e6, **settings)


RESULT = trained(record=("loss", "gradients"))


def arrays(result: bp.Result) -> dict[str, Any]:
    return {field.name: getattr(result, field.name) for field in fields(result)}


def test_the_text_of_many_runs_is_short() -> None:
    result = trained(np.tile(STARTS, (25_000, 1)))
    kinds, counts = np.unique(RESULT.outcome, return_counts=True)
    told = {f"{25_000 * count:,} {kind}" for kind, count in zip(kinds, counts, strict=True)}
    first, outcomes, *rest = repr(result).splitlines()
    assert first == "Result of 100,000 runs of Network(1, 1, 1, activation='relu')"
    assert set(outcomes.removeprefix("  outcomes: ").split(", ")) == told
    assert rest == [
        f"  lowest last loss: {RESULT.last_loss.min():.5g} in run {RESULT.last_loss.argmin()}",
        "  recorded: loss, prediction, gradients of 9 epochs",
    ]


def test_the_text_of_no_runs() -> None:
    nothing = RESULT[:0]
    assert len(nothing) == 0
    assert repr(nothing).splitlines()[0].startswith("Result of 0 runs")
    assert "recorded" not in repr(bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, record=()))


@given(
    st.one_of(
        st.slices(4),
        st.lists(st.integers(-4, 3), max_size=6),
        st.lists(st.booleans(), min_size=4, max_size=4),
        st.lists(st.booleans(), min_size=4, max_size=4).map(np.array),
    )
)
def test_a_part_has_the_arrays_of_its_runs(index: Any) -> None:
    part = RESULT[index]
    # NumPy takes an empty list for floats.
    rows = index if isinstance(index, slice) or len(index) else slice(0)
    rows = np.array(rows) if isinstance(rows, list) else rows
    for name, values in arrays(RESULT).items():
        found = getattr(part, name)
        if name == "hyperparameters":
            assert found == values == {}
        elif not isinstance(values, np.ndarray) or name == "recorded":
            assert found is values
        else:
            assert found.tobytes() == values[rows].tobytes()
            assert found.shape == values[rows].shape


@given(st.integers(-4, 3))
def test_one_run_keeps_the_axis(index: int) -> None:
    part = RESULT[index]
    assert len(part) == 1
    assert part.loss is not None
    assert part.loss.shape == (1, 9)
    assert part.weights[0].tolist() == RESULT.weights[index].tolist()


def test_runs_can_be_gone_through() -> None:
    assert [float(run.weights[0, 0]) for run in RESULT] == RESULT.weights[:, 0].tolist()


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (4, IndexError, "run is 4; allowed: positions of 4 runs"),
        ([0, -5], IndexError, "run is -5; allowed: positions of 4 runs"),
        ([True], ValueError, "index is a mask of 1 runs; allowed: a mask of 4 runs"),
        ("loss", TypeError, "index is an array of type <U4 and shape"),
        ([[0]], TypeError, "allowed: a position, a slice, a mask or positions"),
        (0.5, TypeError, "index is an array of type float64"),
    ],
)
def test_bad_indices_are_named(index: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        RESULT[index]


def test_results_with_equal_arrays_are_equal() -> None:
    again = trained(record=("loss", "gradients"))
    assert again.loss is not None
    assert np.isnan(again.loss).any(), "NaN equals NaN here"
    assert again == RESULT
    assert pickle.loads(pickle.dumps(RESULT)) == RESULT
    copied = copy.deepcopy(RESULT)
    assert copied == RESULT
    copied.weights[0, 0] += 1
    assert copied != RESULT
    assert RESULT[:2] != RESULT
    assert trained() != RESULT, "other histories"
    assert np.float64(1) != RESULT
    assert RESULT != "a result"


def test_a_table_has_a_row_for_each_run() -> None:
    table = RESULT.to_pandas()
    assert table.index.name == "run"
    assert table.columns.tolist() == [
        *("learning_rate", "initial_w1", "initial_w2", "w1", "w2", "outcome", "epochs"),
        *("last_loss", "loss_ratio", "period", "diverged_at"),
        *("stall", "died_at", "highest_loss", "highest_loss_at"),
    ]
    assert table["w2"].tolist() == RESULT.weights[:, 1].tolist()
    assert table["initial_w1"].tolist() == STARTS[:, 0].tolist()
    assert table["outcome"].tolist() == RESULT.outcome.tolist()
    assert table.loc[1, "diverged_at"] == RESULT.diverged_at[1] >= 0


def test_a_table_of_no_runs_has_the_same_columns() -> None:
    table = RESULT[:0].to_pandas()
    assert table.columns.tolist() == RESULT.to_pandas().columns.tolist()
    assert not len(table)


def test_a_table_of_a_large_network_has_no_weights() -> None:
    network = bp.Network(4, 8, 1)
    result = bp.train(
        network, bp.initial_weights(network), np.ones(4), 1.0, learning_rate=[[0.1, 0.2]]
    )
    columns = result.to_pandas().columns.tolist()
    assert columns[:3] == ["learning_rate_1", "learning_rate_2", "outcome"]
