"""Pages that commands write into files."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path

from backprop_svc.cli.commands.results import write_file
from backprop_svc.cli.terminal.errors import stop
from backprop_svc.interactive.terminal import say


def check_page(out: str) -> None:
    """End the program with one line where a file is no page."""
    if Path(out).suffix not in {".html", ".htm"}:
        stop(f"out is {out!r}; allowed: files that end with .html; name one")


def write_page(out: str, content: bytes, what: str) -> None:
    """Write a page, say where it is, and open it where a person is watching.

    Raises
    ------
    SettingError
        The file cannot be written.
    """
    write_file(out, content, "out")
    path = Path(out).absolute()
    say(f"{what}: {path}")
    if sys.stdout.isatty():
        webbrowser.open(path.as_uri())
