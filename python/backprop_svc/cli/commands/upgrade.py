"""Brings the store of an older MLflow to the installed one, when a user asks for it."""

from __future__ import annotations

from backprop_svc.cli.commands import words
from backprop_svc.cli.terminal.errors import foreseen
from backprop_svc.errors import SettingError, StoreError
from backprop_svc.interactive.terminal import say
from backprop_svc.tracking import DEFAULT_URI, default_uri

USAGE = (
    f"backprop-svc upgrade [tracking.uri={DEFAULT_URI}]\n"
    "Upgrades the tables of an older MLflow to those of the installed one. A copy is upgraded\n"
    "and then takes the place of the database, which stays beside it under another name."
)


def upgrade(arguments: list[str]) -> None:
    """Upgrade a SQLite store; takes ``tracking.uri=…``."""
    given = words.read("upgrade", arguments, ("tracking.uri",), USAGE)
    from backprop_svc.tracking.upgrade import upgrade

    with foreseen(SettingError, StoreError):
        kept = upgrade(given.get("tracking.uri", default_uri()))
    if kept is None:
        say("nothing to do: the database is of the installed MLflow")
    else:
        say(f"upgraded; the database as it was is {kept}")
