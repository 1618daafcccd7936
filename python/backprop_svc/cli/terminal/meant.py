"""What a word of the command line was meant to be, where that can be told from it."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote

from backprop_svc.cli.config.choices import KINDS, TEXTS
from backprop_svc.cli.config.overrides import in_quotes, split

MOST_DIGITS = 300
"""Zeros of a number that a float holds."""


def value_of(kind: str, text: str) -> str | None:
    """Return a value of a type that a text stands for, or ``None``.

    >>> value_of("int", "1e3"), value_of("float", "20%"), value_of("list[int]", "8")
    ('1000', '0.2', '[8]')
    >>> value_of("int", "many"), value_of("list[int]", "x"), value_of("bool", "ja")
    (None, None, None)
    """
    if kind.startswith("list["):
        element = kind.removeprefix("list[").removesuffix("]")
        one = text if element == "str" and text[:1] not in ("", "[", "{") else None
        one = one or value_of(element, text) or (text if _is(element, text) else None)
        return f"[{one}]" if one else None
    number = text.removesuffix("%")
    if not _is("float", number):
        return None
    value = float(number) / (1 if number == text else 100)
    if kind == "int" and value.is_integer():
        return str(int(value))
    return f"{value:.12g}" if kind == "float" and number != text else None


def axis(name: str, text: str) -> str | None:
    """Return the axis of a sweep that a text stands for, for the shell, where it is numbers.

    >>> axis("train.lr", "np.linspace(0, 1, 5)"), axis("train.lr", "logspace(0,-3)")
    ("'train.lr=interval(0,1)' sweep.points=5", "'train.lr=tag(log,interval(0.001,1))'")
    >>> axis("train.lr", "[0.1, 0.2]"), axis("train.lr", "0.1:1:0.1")
    ('train.lr=0.1,0.2', "'train.lr=range(0.1,1,0.1)'")
    >>> axis("init.seed", "0..9"), axis("init.seed", "randint(0,10)")
    ("'init.seed=range(0,10)'", "'init.seed=range(0,10)'")
    >>> axis("train.lr", "0.1"), axis("train.optimizer", "[1,2]"), axis("train.lr", "max(1,2)")
    (None, None, None)
    """
    kind, text = KINDS.get(name, ""), text.strip()
    of = kind.removeprefix("Optional[").removesuffix("]")
    called = re.fullmatch(r"(?:\w+\.)*(\w+)\((.*)\)", text)
    function = called[1].lower() if called else ""
    inside = called[2] if called else text.strip("[](){} ")
    dots, colons = ".." in inside, ":" in inside
    parts = re.split(r"\.\.+|[\s:;,|]+", inside.strip())
    numbers = [float(part) for part in parts if _is("float", part)]
    if of not in {"int", "float"} or not 2 <= len(numbers) == len(parts):
        return None
    if dots or function in {*_INTERVALS, *_INTERVALS_OF_LOGARITHMS}:
        return _interval(name, of, function, numbers, is_closed=dots)
    if function not in {"", "range", "arange", "choice"}:
        return None
    if of == "int" and not all(map(float.is_integer, numbers)):
        return None
    value = ",".join(parts)
    if colons or "range" in function:
        low, high, *step = numbers
        if len(step) > 1 or not (high - low) * (step[0] if step else 1) > 0:
            return None
        value = f"range({value})"
    return shlex.quote(f"{name}={value}")


_INTERVALS = ("linspace", "uniform", "randint")
_INTERVALS_OF_LOGARITHMS = ("logspace", "geomspace", "loguniform", "log_uniform", "log")
"""Functions of other programs that are given the ends of an interval."""


def _interval(
    name: str, of: str, function: str, numbers: list[float], *, is_closed: bool
) -> str | None:
    """Return an interval for the shell, as numbers between two that ascend."""
    low, high = sorted(numbers[:2])
    if function == "logspace":
        if max(-low, high) > MOST_DIGITS:
            return None
        low, high = 10**low, 10**high
    if low == high or len(numbers) > 3 or (is_closed and len(numbers) > 2):
        return None
    points = ""
    if len(numbers) > 2 and function.endswith("space"):
        if not (numbers[2].is_integer() and numbers[2] > 0):
            return None
        points = f" sweep.points={numbers[2]:.0f}"
    if of == "int":
        if function not in {"", "randint"} or not (low.is_integer() and high.is_integer()):
            return None
        value = f"range({low:.0f},{high + is_closed:.0f})"
    elif function in _INTERVALS_OF_LOGARITHMS:
        if low <= 0:
            return None
        value = f"tag(log,interval({low:.12g},{high:.12g}))"
    else:
        value = f"interval({low:.12g},{high:.12g})"
    return f"{shlex.quote(f'{name}={value}')}{points}"


def quoted(word: str) -> str | None:
    r"""Return a word that cannot be read with quotes around its texts, for the shell.

    >>> quoted("data.y=Miete (€)"), quoted("data.delimiter=,")
    ('\'data.y="Miete (€)"\'', '\'data.delimiter=","\'')
    >>> quoted("data.x=[area,rooms (2)]"), quoted("train.lr=0.1)")
    ('\'data.x=[area,"rooms (2)"]\'', None)
    """
    name, value = split(word)
    if name not in TEXTS or not value:
        return None
    if value.startswith("[") and value.endswith("]"):
        parts = [part.strip() for part in value[1:-1].split(",")]
        read = [p if reads("name", p) else in_quotes(p, Quote.double) for p in parts]
        written = f"[{','.join(read)}]"
    elif value[0] in "[{" or (value[0] in "'\"" and len(value) > 1):
        return None
    else:
        written = in_quotes(value, Quote.double)
    return shlex.quote(f"{name}={written}") if reads(name, written) else None


def reads(name: str, value: str) -> bool:
    """Tell whether Hydra can read a value of a name."""
    with suppress(Exception):
        OverridesParser.create().parse_override(f"{name}={value}")
        return True
    return False


def _is(kind: str, text: str) -> bool:
    """Tell whether a text is a finite number, or a whole one."""
    with suppress(ValueError, OverflowError):
        number = float(text)
        return abs(number) < float("inf") and (kind == "float" or number.is_integer())
    return False
