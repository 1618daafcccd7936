"""Each layer imports only the ones before it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PYTHON = Path(__file__).parents[1] / "python"
PACKAGE = PYTHON / "backprop_svc"

LAYERS = ("datasets", "tracking", "sweep", "plots", "interactive", "cli")
"""Folders of the package, each of which imports only those before it."""
ABOVE = {
    layer: tuple(f"backprop_svc.{later}" for later in LAYERS[number + 1 :])
    for number, layer in enumerate(LAYERS)
}
FORBIDDEN = {
    ".": (
        *("mlflow", "hydra", "omegaconf", "matplotlib", "rich"),
        *(f"backprop_svc.{layer}" for layer in LAYERS),
    ),
    "datasets": ("mlflow", "hydra", "omegaconf", "matplotlib", "rich", *ABOVE["datasets"]),
    "tracking": ("hydra", "omegaconf", "rich", *ABOVE["tracking"]),
    "sweep": ("hydra", "omegaconf", "rich", "mlflow", "matplotlib", *ABOVE["sweep"]),
    "plots": ("hydra", "omegaconf", "mlflow", *ABOVE["plots"]),
    "interactive": ("hydra", "omegaconf", "mlflow", *ABOVE["interactive"]),
    "cli": ("mlflow", "sqlalchemy"),
    # MLflow keeps and runs it without the package.
    "serving": ("backprop_svc",),
    # The sweeper knows the application by a name in the configuration alone.
    "../hydra_plugins": ("backprop_svc", "mlflow", "sqlalchemy", "rich"),
}
CORE = (
    *("error", "memory", "machine", "activation", "loss", "network", "data", "optimizer"),
    *(
        "outcome",
        "progress",
        "record",
        "schedule",
        "settings",
        "shuffle",
        "hyperparameters",
        "task",
    ),
    *("kernel", "history", "recent_losses", "parallel", "results", "validation"),
    *(
        "dead",
        "deaths",
        "rest",
        "motion",
        "judge",
        "lanes",
        "peaks",
        "highest",
        "alike",
        "run_loop",
    ),
    *("groups", "train", "weights", "evaluate", "curvature"),
)
"""Modules of the Rust core, each of which uses only those before it."""
DOORS = ("__init__.py", "__main__.py")
"""Files of the package itself that are there to import from all of its layers."""


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


def test_modules_of_the_core_use_only_those_before_them() -> None:
    core = PACKAGE.parents[1] / "rust" / "core" / "src"
    declared = re.findall(r"^mod (\w+);", (core / "lib.rs").read_text(), re.MULTILINE)
    assert sorted(declared) == sorted(CORE)
    # What the crate shows as its own stands for the module that it comes from.
    shown = {
        name.strip(): module
        for module, names in re.findall(
            r"^pub use (\w+)::(?:\{([^}]*)\}|\w+);", (core / "lib.rs").read_text(), re.MULTILINE
        )
        for name in names.split(",")
    }
    shown |= {
        name: module
        for module, name in re.findall(
            r"^pub use (\w+)::(\w+);", (core / "lib.rs").read_text(), re.MULTILINE
        )
    }
    for number, module in enumerate(CORE):
        folder = core / module
        files = list(folder.glob("*.rs")) if folder.is_dir() else [core / f"{module}.rs"]
        for file in files:
            code = file.read_text().partition("#[cfg(test)]")[0]
            code = "\n".join(line for line in code.splitlines() if "//" not in line)
            grouped = re.findall(r"use crate::\{([^}]*)\}", code)
            used = re.findall(r"crate::(\w+)", code)
            used += [name.strip() for group in grouped for name in group.split(",")]
            modules = {shown.get(name, name) for name in used if name} & set(CORE) - {module}
            assert modules <= set(CORE[:number]), f"{file.name} uses {modules}"


def test_few_modules_import_mlflow() -> None:
    """It takes longer to import than most commands take."""
    found = {
        file.name
        for file in PACKAGE.rglob("*.py")
        if any(name.split(".")[0] == "mlflow" for name in imports(file))
    }
    assert found == {"remote.py", "source.py", "mlflow_model.py", "model.py"}


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_layer_rule(layer: str) -> None:
    folder = PACKAGE / layer
    found = folder.glob("*.py") if layer == "." else folder.rglob("*.py")
    files = sorted(file for file in found if layer != "." or file.name not in DOORS)
    assert files
    for file in files:
        for name in imports(file):
            for forbidden in FORBIDDEN[layer]:
                assert name != forbidden, file
                assert not name.startswith(f"{forbidden}."), file
