"""Presets show what the papers that they come from have proved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from command import call


def sweep(folder: Path, *words: str) -> dict[str, np.ndarray]:
    """The table of a sweep, by the names of its columns."""
    done = call(folder, "sweep", *words, "tracking=none", "sweep.results=table.parquet")
    assert done.returncode == 0, done.stderr
    table = pq.read_table(folder / "table.parquet")
    return {name: table[name].to_numpy() for name in table.column_names}


def test_training_ends_at_the_edge_of_stability(tmp_path: Path) -> None:
    """Just below 2/lr, where gradient flow would end at 2·(x² + 1/x²) with x² ≈ 36."""
    found = sweep(tmp_path, "experiment=scalar_edge", "train.lr=0.04,0.045,0.05")
    assert (found["initial_sharpness"] < 2 / found["train.lr"]).all()
    assert (found["sharpness_ratio"] < 1).all()
    assert (found["sharpness_ratio"] > 0.995).all()
    # Below the edge it ends where gradient flow does.
    (flow,) = sweep(tmp_path, "experiment=scalar_edge", "train.lr=0.001")["sharpness"]
    np.testing.assert_allclose(flow, 72.07, rtol=0.01)


def test_a_catapult_ends_in_a_flatter_minimum(tmp_path: Path) -> None:
    """Between 2/λ and 4/λ, of the sharpness λ at the beginning; beyond it diverges."""
    (first,) = sweep(tmp_path, "experiment=catapult", "train.lr=0.1")["initial_sharpness"]
    products = np.array([1.0, 1.9, 2.1, 3.0, 3.9, 4.05])
    rates = ",".join(map(repr, (products / first).tolist()))
    found = sweep(tmp_path, "experiment=catapult", f"train.lr={rates}")
    flatter = found["sharpness"] / found["initial_sharpness"]
    assert (flatter[:2] > 0.97).all()
    assert (flatter[2:5] < 2 / products[2:5]).all()
    assert (found["loss"][:4] < 1e-9).all()
    assert found["outcome"].tolist()[-1] == "diverged"
    assert "diverged" not in found["outcome"].tolist()[:-1]
