"""Pictures that another process draws are those that this one would draw."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import backprop_svc as bp
from backprop_svc.plots import painter as painter_module
from backprop_svc.plots.painter import (
    CURVES,
    MAP,
    TRAINING,
    Painter,
    dismiss,
    draw_here,
    prepare,
    take,
)
from backprop_svc.tracking.parents import drawn

# Other tests may have imported JAX into this process, which warns of every fork.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork")


@pytest.fixture(scope="module")
def result() -> bp.Result:
    network = bp.Network(1, 1, 1)
    return bp.train(network, [0.5, 1.0], 2.0, 3.0, epochs=5, record=["loss", "prediction"])


def test_the_same_picture(result: bp.Result) -> None:
    here = draw_here(TRAINING, result, 0, 3.0, unit="$")()
    assert here.startswith(b"\x89PNG")
    with Painter() as painter:
        there = [painter.draw(TRAINING, result, 0, 3.0, unit="$") for _ in range(2)]
        assert [picture() for picture in there] == [here, here]


def test_a_picture_is_kept_whatever_ends_the_painter(result: bp.Result) -> None:
    with Painter() as painter:
        os.kill(painter._pid, signal.SIGKILL)
        assert painter.draw(TRAINING, result, 0, 3.0)() == draw_here(TRAINING, result, 0, 3.0)()


def test_what_cannot_be_drawn_is_told_here(result: bp.Result) -> None:
    without = bp.train(bp.Network(1, 1, 1), [0.5, 1.0], 2.0, 3.0, record=[])
    with Painter() as painter:
        with pytest.raises(ValueError, match="no loss or prediction"):
            painter.draw(TRAINING, without, 0, 3.0)()
        with pytest.raises(TypeError):
            painter.draw(TRAINING, result, 0, lambda: 3.0)()
        assert painter.draw(TRAINING, result, 0, 3.0)().startswith(b"\x89PNG")


def test_what_diverges_to_the_largest_numbers_is_drawn(result: bp.Result) -> None:
    """A scale with its margins ends beyond its largest number."""
    rates, huge = np.array([0.1, 1.0]), np.array([1.0, np.finfo(float).max])
    outcome = np.array(["unresolved", "unresolved"])
    wild = bp.train(
        bp.Network(1, 1, 1, activation="identity"), [1e50, 1e50], 1.0, 1.0,
        epochs=5, divergence_bound=np.finfo(float).max, record=["loss", "prediction"],
    )  # fmt: skip
    for picture in (
        draw_here(MAP, {"train.lr": rates}, huge, outcome),
        draw_here(CURVES, np.array([[1e-30, 1.0], huge]), rates, np.arange(2)),
        draw_here(TRAINING, wild, 0, 1.0),
        draw_here(TRAINING, wild, 0, 1.0, factor=1e300),
    ):
        assert picture().startswith(b"\x89PNG")


def test_no_process_is_left() -> None:
    prepare()
    painter = take()
    process = painter._pid
    os.kill(process, 0)
    for _ in range(2):
        painter.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    prepare()
    dismiss()
    assert not painter_module._ready


def test_a_picture_that_fails_takes_nothing_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> bytes:
        raise ValueError("Invalid vmin\nor vmax")

    assert drawn({"map": fails, "curves": lambda: b"png"}) == {"curves": b"png"}
    told = "backprop-svc: map is left out, since it failed: ValueError: Invalid vmin or vmax\n"
    assert capsys.readouterr().err == told
