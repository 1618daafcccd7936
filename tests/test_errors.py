"""Errors about settings: their fields, their text, and who raises them."""

from __future__ import annotations

import ast
import copy
import pickle
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import backprop_svc as bp
from backprop_svc.errors import MOST_SHOWN, shown
from backprop_svc.settings import Natural, Positive, Seed, check
from command import call

PACKAGE = Path(bp.__file__).parent


def test_an_error_is_its_fields() -> None:
    error = bp.SettingError("epochs", "-1", "whole numbers from 0", "try {name}=1")
    assert str(error) == "epochs is -1; allowed: whole numbers from 0; try epochs=1"
    inside = error.within("train")
    assert str(inside) == (
        "train.epochs is -1; allowed: whole numbers from 0; try train.epochs=1"
    )
    shape = bp.SettingTypeError("x", "type object", "real numbers", "convert it", "has")
    assert str(shape) == "x has type object; allowed: real numbers; convert it"
    assert isinstance(error, ValueError)
    assert not isinstance(error, TypeError)
    assert isinstance(shape, TypeError)
    for each in (error, inside, shape, shape.within("data")):
        for again in (pickle.loads(pickle.dumps(each)), copy.deepcopy(each)):
            assert type(again) is type(each)
            assert (str(again), again.name, again.value) == (str(each), each.name, each.value)


def test_only_the_placeholder_of_a_fix_is_the_name() -> None:
    fix = "try {name}=1, lr=2, {lr}, {} or {name!r}"
    error = bp.SettingError("lr", "0", "any", fix)
    assert error.fix == "try lr=1, lr=2, {lr}, {} or {name!r}"
    within = error.within("train")
    assert within.fix == "try train.lr=1, lr=2, {lr}, {} or {name!r}"
    assert within.renamed("rate").fix == error.fix.replace("lr=1", "rate=1")


@pytest.mark.parametrize(
    ("raised", "fields"),
    [
        (
            lambda: bp.train(bp.Network(1, 1), [1], 1, 1, epochs=-1),
            ("epochs", "-1", "whole numbers from 0 to 2^63 − 1"),
        ),
        (
            lambda: bp.gradients(bp.Network(1, 1, 1), [1.0, np.nan], 1, 1),
            ("weights[0, 1]", "NaN", "finite numbers"),
        ),
        (
            lambda: bp.predict(bp.Network(1, 1, 1), [1.0], 1),
            ("weights", "shape (1,)", "(runs, 2) or (2,)"),
        ),
        (lambda: bp.Network(1, 1, gain=-1), ("gain", "-1", "finite numbers above 0")),
    ],
)
def test_errors_of_python_and_of_rust_carry_their_fields(
    raised: Any, fields: tuple[str, str, str]
) -> None:
    with pytest.raises(bp.SettingError) as caught:
        raised()
    error = caught.value
    assert (error.name, error.value, error.allowed) == fields


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("relu", "'relu'"),
        (np.float64(0.1), "0.1"),
        (np.bool_(True), "True"),
        (None, "None"),
        ("a\nb", r"'a\nb'"),
    ],
)
def test_values_are_shown_as_python_writes_them(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    "value",
    [
        lambda: "x" * 10**6,
        lambda: 10**10_000,
        lambda: list(range(10**6)),
        lambda: np.zeros((99, 99)),
        Broken,
        lambda: [Broken()],
    ],
)
def test_any_value_is_shown_on_one_short_line(value: Callable[[], object]) -> None:
    text = shown(value())
    assert 0 < len(text) <= MOST_SHOWN
    assert text.isprintable()


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Natural, np.uint8(0), 0),
        (Positive, 2**63 - 1, 2**63 - 1),
        (Seed, 2**32 - 1, 2**32 - 1),
        (Positive | None, None, None),
        (float, np.float32(0.5), 0.5),
        (float, 3, 3.0),
        (bool, np.False_, False),
        (str, np.str_("a"), "a"),
        (Literal["a", "b"], "b", "b"),
    ],
)
def test_settings_become_plain_values(kind: Any, value: object, expected: object) -> None:
    found = check("setting", value, kind)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "error", "allowed"),
    [
        (Natural, -1, bp.SettingError, "whole numbers from 0 to 2^63 − 1"),
        (Positive, 0, bp.SettingError, "whole numbers from 1 to 2^63 − 1"),
        (Positive | None, 2**63, bp.SettingError, "whole numbers from 1 to 2^63 − 1"),
        (Seed, 2**32, bp.SettingError, "whole numbers from 0 to 2^32 − 1"),
        (Natural, 1.0, bp.SettingTypeError, "whole numbers from 0 to 2^63 − 1"),
        (Natural, True, bp.SettingTypeError, "whole numbers from 0 to 2^63 − 1"),
        (float | None, "1", bp.SettingTypeError, "a number or None"),
        (float, Decimal(1), bp.SettingTypeError, "a number"),
        (float, 10**400, bp.SettingError, "a number that float64 holds"),
        (bool, 1, bp.SettingTypeError, "True or False"),
        (str, "\ud800", bp.SettingTypeError, "a text"),
        (Literal["a", "b"], "c", bp.SettingError, "a, b"),
        (Literal["a", "b"], ["a"], bp.SettingTypeError, "a, b"),
    ],
)
def test_wrong_settings_are_named(
    kind: Any, value: object, error: type[bp.SettingError], allowed: str
) -> None:
    with pytest.raises(bp.SettingError) as caught:
        check("setting", value, kind)
    assert type(caught.value) is error
    assert caught.value.name == "setting"
    assert caught.value.allowed == allowed


def test_nothing_of_ours_raises_a_bare_error() -> None:
    """A ``ValueError`` of the package is a mistake of it, and keeps its traceback."""
    # What MLflow serves is no part of the package then.
    ours = [file for file in PACKAGE.rglob("*.py") if file.parent.name != "serving"]
    for file in sorted(ours):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                raised = ast.unparse(node.exc.func)
                assert raised not in {"ValueError", "TypeError"}, f"{file}:{node.lineno}"


@pytest.mark.parametrize("unit", ["[/x]", "[bold]", ":smile:", "$/$"])
def test_a_unit_is_a_text_and_no_markup(tmp_path: Path, unit: str) -> None:
    done = call(tmp_path, "train", "train.epochs=2", f"data.unit='{unit}'", "tracking=none")
    assert done.returncode == 0, done.stderr
    assert f"prediction [{unit}]" in done.stdout
    assert f"last prediction 216 {unit}," in done.stdout
