"""Words that name runs to go on from, replaced by their ids before Hydra reads them.

The command that resumes a sweep then names the same runs, whatever is the best one meanwhile.
"""

from __future__ import annotations

import re

from backprop_svc.cli.commands.words import BEST
from backprop_svc.cli.terminal.errors import foreseen
from backprop_svc.errors import SettingError, counted, shown
from backprop_svc.tracking import best_runs, default_uri

RUN, COUNT, SWEEP, URI = "init.run", "init.best", "init.sweep", "tracking.uri"
_NUMBER = re.compile(r"\b(?=\w{32}\b)(\d+(?:e\d+)?)\b")
"""An id that Hydra would read as a number."""


def resolved(arguments: list[str]) -> list[str]:
    """Return the words of a command with ids instead of ``init.run=best``.

    ``init.best`` is how many of the best runs are meant, ``init.sweep`` of which sweep.
    """
    parts = [word.partition("=") for word in arguments]
    given = {name: value.strip("'\"") for name, _, value in parts}
    with foreseen(SettingError, OSError):
        if given.get(RUN) != BEST:
            for name in (COUNT, SWEEP):
                if name in given:
                    raise SettingError(
                        name, f"given without {RUN}={BEST}", "with it", "add that"
                    )
            return [_quoted(word) if word.startswith(f"{RUN}=") else word for word in arguments]
        count = given.get(COUNT, "1")
        if not count.isdecimal() or not 0 < int(count) < 1 << 31:
            raise SettingError(COUNT, shown(count), "whole numbers from 1", f"try {COUNT}=3")
        sweep = given.get(SWEEP, "last")
        found = best_runs(sweep, int(count), tracking=given.get(URI) or default_uri())
        if len(found) < int(count):
            told = counted(len(found), "run")
            raise SettingError(
                COUNT, count, f"up to {len(found)}: that sweep has {told} with a finite loss",
                "ask for fewer",
            )  # fmt: skip
    words = [word for word in arguments if not word.startswith((f"{COUNT}=", f"{SWEEP}="))]
    own = _quoted(f"{RUN}={','.join(found)}")
    return [own if word.startswith(f"{RUN}=") else word for word in words]


def _quoted(word: str) -> str:
    return word if "'" in word or '"' in word else _NUMBER.sub(r"'\1'", word)
