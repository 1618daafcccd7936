"""Gets the report of a tracked sweep out of the store."""

from __future__ import annotations

from backprop_svc.cli.commands import words
from backprop_svc.cli.commands.pages import check_page, write_page
from backprop_svc.cli.terminal.errors import foreseen, stop
from backprop_svc.errors import SettingError, StoreError
from backprop_svc.tracking import DEFAULT_URI, sweep_file
from backprop_svc.tracking.links import REPORT

USAGE = f"""\
backprop-svc report [sweep=last] [out=report.html] [tracking.uri={DEFAULT_URI}]
Writes the report of a sweep into a file, and opens it in a browser where a person is watching.
  sweep  the identity of a sweep (16 hex digits), the run id of its parent or of one of its runs
         (run=… is the same), or last
  out    a file that ends with .html"""
SETTINGS = ("sweep", "run", "out", "tracking.uri")


def report(arguments: list[str]) -> None:
    """Write the report that the arguments ask for."""
    given = words.read("report", arguments, SETTINGS, USAGE)
    out = given.get("out", REPORT)
    check_page(out)
    if {"sweep", "run"} <= set(given):
        stop("report was told both sweep and run; allowed: one sweep; leave one out")
    sweep = given.get("sweep") or given.get("run") or "last"
    with foreseen(StoreError, SettingError):
        content = sweep_file(sweep, REPORT, tracking=given.get("tracking.uri"))
        write_page(out, content, "report")
