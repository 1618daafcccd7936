"""Packages whose public names are imported when they are first asked for.

A command needs few of them, and importing all takes a third of its start. What there is, is
said once, in the stub beside the package: for readers, for type checkers, and for here.
"""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from backprop_svc.deferred import Deferred


def attach(package: str, file: str) -> list[str]:
    """Give a package the public names of its stub; return them."""
    stub = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
    homes = {
        name.name: str(node.module)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    parts = [name for name, home in homes.items() if home == package]

    class Package(ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name not in homes:
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
            with Deferred():
                if name in parts:
                    found = import_module(f"{package}.{name}")
                else:
                    found = getattr(import_module(homes[name]), name)
            vars(self)[name] = found
            return found

        def __setattr__(self, name: str, value: object) -> None:
            # Python sets a submodule here once it is imported. It must not hide a function
            # of the same name, such as `train`.
            if name in parts or not (name in homes and isinstance(value, ModuleType)):
                super().__setattr__(name, value)

        def __dir__(self) -> list[str]:
            return sorted({*vars(self), *homes})

    sys.modules[package].__class__ = Package
    return sorted(homes)
