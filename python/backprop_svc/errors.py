"""What is raised for a setting or an argument that cannot be used."""

from __future__ import annotations

import re
from reprlib import Repr
from typing import TypeVar

import numpy as np

MOST_SHOWN = 80
"""Characters of a value that a message shows."""

Self = TypeVar("Self", bound="SettingError")


class SettingError(ValueError):
    """A setting or an argument has a value that is not allowed.

    The message is ``name is value; allowed: allowed; fix``, made of these attributes.

    Attributes
    ----------
    name
        The setting or argument, with the position in an array where there is one, such as
        ``weights[0, 1]``.
    value
        What it is, as a text: see :func:`shown`.
    allowed
        What would have been accepted.
    fix
        What to do about it. The argument may repeat the name as ``{name}``.
    verb
        ``is``, or another word between name and value, as in "weights has shape (3,)".
    """

    def __init__(self, name: str, value: str, allowed: str, fix: str, verb: str = "is") -> None:
        # All of them are arguments of the exception too, so that it can be pickled.
        super().__init__(name, value, allowed, fix, verb)
        self.name, self.value, self.allowed, self.verb = name, value, allowed, verb
        # Nothing else of it is a placeholder: it may hold a user's text with braces.
        self.fix = fix.replace("{name}", name)

    def __str__(self) -> str:
        told = f"{self.name} {self.verb} {self.value}; allowed: {self.allowed}; {self.fix}"
        return printable(told)

    def within(self: Self, section: str) -> Self:
        """Return the same error about ``section.name``, in the fix too."""
        return self.renamed(f"{section}.{self.name}")

    def renamed(self: Self, name: str) -> Self:
        """Return the same error about a setting that is called so, in the fix too."""
        return type(self)(name, *self.args[1:])


class SettingTypeError(SettingError, TypeError):
    """A setting or an argument has a value of a type that is not allowed."""


class RoomError(SettingError, MemoryError):
    """What was asked for does not fit in memory, or on the disk."""


class StoreError(SettingError, ConnectionError):
    """The tracking store cannot be opened, is full, or away for longer than a minute."""


def shown(value: object) -> str:
    """Write any value on one short line, even if it is huge or its ``repr`` fails.

    >>> shown("relu"), shown(np.float64(0.1)), shown(range(3)), len(shown("x" * 1000))
    ("'relu'", '0.1', 'range(0, 3)', 80)
    """
    try:
        text = _SHORT.repr(value.item() if isinstance(value, np.generic) else value)
        return shortened(" ".join(text.split()))
    except Exception:
        return f"a value of type {type(value).__name__}"


def printable(text: str) -> str:
    r"""Write signs that a terminal would obey, or that hide others, as escapes.

    >>> printable("\x1b[2J\u202e"), printable("ŷ, 1\n2")
    ('\\x1b[2J\\u202e', 'ŷ, 1\n2')
    """
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""All but tabs and line breaks: control characters, directions of writing, halves of signs."""


def counted(number: int, what: str) -> str:
    """Write a number of things.

    >>> counted(1, "run"), counted(1000, "run")
    ('1 run', '1,000 runs')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def shortened(text: str) -> str:
    """Cut a text off where a message would become unreadable."""
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"


_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = MOST_SHOWN
