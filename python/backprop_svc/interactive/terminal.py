"""The terminal, as every line reaches it."""

from __future__ import annotations

import os
from typing import Any, TextIO

from rich.console import Console

from backprop_svc.errors import printable
from backprop_svc.tracking.uri import without_password


class Terminal(Console):
    """A console that takes no text for markup: units and settings are a user's."""

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        told = dict(os.environ)
        if not told.get("COLUMNS", "").strip("0"):
            # A terminal without columns would show nothing.
            told.pop("COLUMNS", None)
        super().__init__(
            highlight=False, markup=False, emoji=False,
            stderr=stderr, width=width, _environ=told,
        )  # fmt: skip

    @property
    def is_live(self) -> bool:
        """Whether a line may be written over: not in a pipe, a log, or a dumb terminal.

        FORCE_COLOR asks for colours, and says nothing of that.
        """
        return self.file.isatty() and not self.is_dumb_terminal

    def on_broken_pipe(self) -> None:
        """Go on without a reader: ``| head`` does not end a sweep."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


def say(text: str, *, stderr: bool = False) -> None:
    """Print a text without the secrets and the terminal's commands that it may hold."""
    Terminal(stderr=stderr).print(printable(without_password(text)), soft_wrap=True)


class WithoutPasswords:
    """A stream for what others write, as :func:`say` for our own words."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text without its secrets."""
        return self._stream.write(without_password(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
