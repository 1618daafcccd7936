"""What a word of the command line was meant to be, where that can be told from it."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress

from hydra.core.override_parser.overrides_parser import OverridesParser

from backprop_svc.cli.config.choices import KINDS, TEXTS
from backprop_svc.cli.config.overrides import split


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

    >>> axis("train.lr", "np.linspace(0, 1, 5)"), axis("train.lr", "logspace(-3,0)")
    ("'train.lr=interval(0,1)' sweep.points=5", "'train.lr=tag(log,interval(0.001,1))'")
    >>> axis("train.lr", "[0.1, 0.2]"), axis("train.lr", "0.1:1:0.1")
    ('train.lr=0.1,0.2', "'train.lr=range(0.1,1,0.1)'")
    >>> axis("train.lr", "0.1"), axis("train.optimizer", "[1,2]"), axis("init.seed", "0..9")
    (None, None, "'init.seed=range(0,10)'")
    """
    kind, text = KINDS.get(name, ""), text.strip()
    if not {"int", "float"} & {kind, kind[9:-1]}:
        return None
    called = re.fullmatch(r"(?:\w+\.)*(\w+)\((.*)\)", text)
    inside = called[2] if called else text.strip("[](){} ")
    parts = re.split(r"\.\.+|[\s:;,|]+", inside.strip())
    numbers = [float(part) for part in parts if _is("float", part)]
    if not 2 <= len(numbers) == len(parts):
        return None
    points, function = "", called[1].lower() if called else ""
    ends = ",".join(parts[:2])
    if function and function not in {"range", "arange", "choice"}:
        if function == "logspace":
            ends = f"{10 ** numbers[0]:.12g},{10 ** numbers[1]:.12g}"
        value = f"interval({ends})"
        if "log" in function or "geom" in function:
            value = f"tag(log,{value})"
        if len(parts) > 2 and "space" in function:
            points = f" sweep.points={parts[2]}"
    elif ".." in inside:
        whole = "int" in kind
        value = f"range({parts[0]},{int(numbers[1]) + 1})" if whole else f"interval({ends})"
    elif ":" in inside or "range" in function:
        value = f"range({','.join(parts)})"
    else:
        value = ",".join(parts)
    return f"{shlex.quote(f'{name}={value}')}{points}" if reads(name, value) else None


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
        written = (
            f"[{','.join(part if reads('name', part) else _in_quotes(part) for part in parts)}]"
        )
    elif value[0] in "[{" or (value[0] in "'\"" and len(value) > 1):
        return None
    else:
        written = _in_quotes(value)
    return shlex.quote(f"{name}={written}") if reads(name, written) else None


def _in_quotes(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


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
