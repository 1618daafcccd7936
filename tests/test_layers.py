"""Each layer imports only the ones before it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "python" / "backprop_svc"

FORBIDDEN = {
    ".": (
        "mlflow",
        "hydra",
        "omegaconf",
        "matplotlib",
        "rich",
        *(f"backprop_svc.{layer}" for layer in ("tracking", "plots", "cli")),
    ),
    "tracking": ("hydra", "omegaconf", "rich", "backprop_svc.cli", "backprop_svc.plots"),
    "plots": ("mlflow", "hydra", "omegaconf", "backprop_svc.cli", "backprop_svc.tracking"),
    "cli": ("mlflow", "sqlalchemy"),
}


def imports(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_the_core_knows_nothing_of_python() -> None:
    core = PACKAGE.parents[1] / "rust" / "core"
    for file in (core / "Cargo.toml", *core.rglob("*.rs")):
        assert "pyo3" not in file.read_text(), file


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_layer_rule(layer: str) -> None:
    files = sorted((PACKAGE / layer).glob("*.py"))
    assert files
    for file in files:
        for name in imports(file):
            for forbidden in FORBIDDEN[layer]:
                assert name != forbidden, file
                assert not name.startswith(f"{forbidden}."), file
