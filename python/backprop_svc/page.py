"""A page of HTML that needs no server: in a notebook, or in a file."""

from __future__ import annotations

from html import escape
from pathlib import Path

HEIGHT = 900
"""Pixels of the frame in a notebook."""


class Page:
    """A page, which a notebook shows and a file holds.

    Attributes
    ----------
    html
        All of it: it needs nothing else, and asks no server for anything.
    """

    def __init__(self, html: str) -> None:
        self.html = html

    def save(self, path: str | Path) -> Path:
        """Write the page into a file; return its path."""
        file = Path(path)
        file.write_text(self.html, encoding="utf-8")
        return file

    def _repr_html_(self) -> str:
        """Return a frame with the page, whose scripts and styles are then its own."""
        style = "border:0;width:100%"
        return (
            f'<iframe srcdoc="{escape(self.html)}" height="{HEIGHT}" style="{style}"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<Page of {len(self.html) / 1e6:.1f} MB; .save('report.html') writes it>"
