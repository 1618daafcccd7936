"""What a shell is offered that completes a line, beside what Hydra knows."""

from __future__ import annotations

from backprop_svc.cli.config.choices import CHOICES, INTERNAL


def choices(line: str) -> list[str] | None:
    """Return the values of the setting at the end of a line; ``None`` if others know them.

    >>> choices("backprop-svc train train.schedule=co")
    ['train.schedule=constant', 'train.schedule=cosine']
    >>> choices("backprop-svc sweep train.schedule=step,cos")
    ['train.schedule=step,cosine']
    """
    word = "" if line.endswith(" ") else (line.split() or [""])[-1]
    name, equals, typed = word.partition("=")
    known = CHOICES.get(name.lstrip("+"))
    if not equals or known is None:
        return None
    given = typed.rpartition(",")[0]
    before = f"{name}={given}," if given else f"{name}="
    return [before + value for value in known if (before + value).startswith(word)]


def for_users(offered: str) -> str:
    """Leave out, of the lines that Hydra offers, what a sweep tells its jobs alone."""
    lines = offered.splitlines(keepends=True)
    kept = [
        " ".join(word for word in line.split(" ") if word.strip().rstrip("=.") not in INTERNAL)
        for line in lines
    ]
    return "".join(kept)
