"""The stub and the extension say the same: editors read one, help() the other."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from backprop_svc import _core

STUB = ast.parse(Path(_core.__file__).with_name("_core.pyi").read_text(encoding="utf-8"))
Documented = (ast.ClassDef, ast.FunctionDef)


def test_docstrings_are_those_of_the_stub() -> None:
    compared = 0
    for node in STUB.body:
        if not isinstance(node, Documented) or not hasattr(_core, node.name):
            continue
        found = getattr(_core, node.name)
        inner = node.body if isinstance(node, ast.ClassDef) else []
        pairs = [(node, found)] + [
            (part, getattr(found, part.name)) for part in inner if isinstance(part, Documented)
        ]
        for part, value in pairs:
            expected = ast.get_docstring(part)
            if expected is not None:
                assert inspect.getdoc(value) == expected, part.name
                compared += 1
    assert compared > 10
