"""Settings that are no arrays, checked by their annotations."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from numbers import Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np

from backprop_svc.errors import SettingError, SettingTypeError, shown


@dataclass(frozen=True)
class Whole:
    """Whole numbers from ``least`` to 2^bits − 1."""

    least: int
    bits: int = 63

    def __contains__(self, value: int) -> bool:
        return self.least <= value < 1 << self.bits

    def __str__(self) -> str:
        return f"whole numbers from {self.least} to 2^{self.bits} − 1"


Natural = Annotated[int, Whole(0)]
Positive = Annotated[int, Whole(1)]
Seed = Annotated[int, Whole(0, bits=32)]


def check(name: str, value: object, kind: Any) -> Any:
    """Return the value as Python's own bool, int, float or str, whatever was given.

    Parameters
    ----------
    name
        What errors call the setting.
    value
        Anything at all. NumPy's scalars count as numbers; True and False don't.
    kind
        ``bool``, ``float``, ``str``, :data:`Natural`, :data:`Positive`, :data:`Seed`, a
        ``Literal`` of names, or one of these ``| None``.

    Raises
    ------
    SettingTypeError
        The value is of another type, or cannot be read.
    SettingError
        The value is of that type, but out of range or not among the names.
    """
    one_of = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    optional = NoneType in one_of
    if optional and value is None:
        return None
    (kind,) = (each for each in one_of if each is not NoneType)
    range_ = next((each for each in get_args(kind) if isinstance(each, Whole)), None)
    names = get_args(kind) if get_origin(kind) is Literal else ()
    if range_ is not None:
        allowed, fix = str(range_), "try {name}=1"
    elif names:
        allowed, fix = ", ".join(names), "choose one of them"
    else:
        allowed, fix = _PLAIN[kind], "convert it, or leave it out"
    try:
        plain = _plain(value, str if names else int if range_ is not None else kind)
        if (range_ is None or plain in range_) and (not names or plain in names):
            return plain
    except OverflowError:
        allowed += " that float64 holds"
    except Exception:
        # Objects may raise anything when they are looked at.
        allowed += " or None" if optional else ""
        raise SettingTypeError(name, shown(value), allowed, fix) from None
    raise SettingError(name, shown(value), allowed, fix)


_PLAIN: dict[Any, str] = {bool: "True or False", float: "a number", str: "a text"}


def _plain(value: Any, kind: type) -> Any:
    if isinstance(value, (bool, np.bool_)) != (kind is bool):
        raise TypeError
    if kind is bool:
        return bool(value)
    if kind is int:
        return operator.index(value)
    if kind is float and isinstance(value, Real):
        return float(value)
    if kind is str and isinstance(value, str):
        # Not str(value), which a subclass may have changed. Rust takes only what is Unicode.
        value = str.__str__(value)
        value.encode()
        return str(value)
    raise TypeError
