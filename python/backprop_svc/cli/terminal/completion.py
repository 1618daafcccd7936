"""What a shell is offered that completes a line, beside what Hydra knows."""

from __future__ import annotations

import os
from contextlib import suppress

from backprop_svc.cli.config.choices import CHOICES, CONF, INTERNAL, options_of, settings_of
from backprop_svc.cli.config.schema import SCHEMAS

LEFT_TO_HYDRA = ("hydra", "+", "~", "-", "/", ".")
"""How words begin that Hydra completes."""

PATHS = ("data.path", "sweep.results", "out")
"""What names a file."""


def choices(line: str, config: str | None = "config") -> list[str] | None:
    """Return what may stand at the end of a line; ``None`` if Hydra has to say.

    >>> choices("backprop-svc train train.schedule=co")
    ['train.schedule=constant', 'train.schedule=cosine']
    >>> choices("backprop-svc sweep train.schedule=step,cos")
    ['train.schedule=step,cosine']
    >>> choices("backprop-svc train tr"), choices("backprop-svc train train.op")
    (['tracking.', 'tracking=', 'train.', 'train='], ['train.optimizer='])
    """
    word = "" if line.endswith(" ") else (line.split() or [""])[-1]
    name, equals, typed = word.partition("=")
    if equals and name in PATHS:
        return files(word)
    if equals and name.lstrip("+") in CHOICES:
        known = CHOICES[name.lstrip("+")]
    elif word.startswith(LEFT_TO_HYDRA) or "-cd" in line or "--config" in line:
        return None
    elif not equals:
        names = _settings(config) if "." in word else _beginnings(config)
        return [name for name in names if name.startswith(word)]
    elif name in _groups(config):
        known = options_of(name)
    else:
        return None
    given = typed.rpartition(",")[0]
    before = f"{name}={given}," if given else f"{name}="
    return [before + value for value in known if (before + value).startswith(word)]


def files(word: str) -> list[str]:
    """Return the files and folders that ``name=path`` may go on with.

    Shells cut what they are offered at blanks.
    """
    name, _, path = word.partition("=")
    folder, slash, typed = path.rpartition("/")
    with suppress(OSError):
        return sorted(
            f"{name}={folder}{slash}{entry.name}{'/' if entry.is_dir() else ''}"
            for entry in os.scandir(f"{folder}{slash}" or ".")
            if entry.name.startswith(typed or tuple(entry.name[:1].strip(".")))
            and " " not in entry.name
        )
    return []


def _settings(config: str | None) -> list[str]:
    names = settings_of(SCHEMAS[config][1])
    return sorted(f"{name}=" for name in names if name not in INTERNAL)


def _beginnings(config: str | None) -> list[str]:
    """Return the sections, and the groups of files, with which an override begins."""
    sections = {f"{name.partition('.')[0]}." for name in _settings(config)}
    groups = {f"{name}=" for name in _groups(config)}
    return sorted({*sections, *groups, "hydra", "hydra."})


def _groups(config: str | None) -> list[str]:
    """Return the folders of ``conf/`` from which a configuration may choose a file."""
    sections = {name.partition(".")[0] for name in _settings(config)}
    mine = {*sections, *(["experiment"] if config == "config" else [])}
    return sorted(name for name in mine if (CONF / name).is_dir())


def for_users(offered: str) -> str:
    """Leave out, of the lines that Hydra offers, what a sweep tells its jobs alone."""
    lines = offered.splitlines(keepends=True)
    kept = [
        " ".join(word for word in line.split(" ") if word.strip().rstrip("=.") not in INTERNAL)
        for line in lines
    ]
    return "".join(kept)
