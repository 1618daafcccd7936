"""What a user or the surroundings did wrong, as one line: what, what is allowed, the fix."""

from __future__ import annotations

import dataclasses
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from backprop_svc.cli.terminal.nearest import nearest
from backprop_svc.errors import SettingError, printable
from backprop_svc.tracking import without_password


@contextmanager
def foreseen(*kinds: type[Exception]) -> Iterator[None]:
    """End the program with one line when one of these errors is raised.

    HYDRA_FULL_ERROR=1 shows the traceback instead, as Hydra's users know it. Errors of other
    kinds are mistakes of this program, and keep their traceback.
    """
    try:
        yield
    except kinds as error:
        if os.environ.get("BACKPROP_FULL_ERROR"):
            raise
        stop(describe(error))


def stop(message: str) -> NoReturn:
    """Exit with code 1 and the message on standard error."""
    raise SystemExit(printable(f"backprop-svc: {without_password(message)}"))


@contextmanager
def named(section: str, schema: type) -> Iterator[None]:
    """Give errors about a setting of this section the name of the section too."""
    try:
        yield
    except SettingError as error:
        # Without the position in an array.
        name = error.name.partition("[")[0]
        if name not in {field.name for field in dataclasses.fields(schema)}:
            raise
        raise error.within(section) from error


def require_values(config: DictConfig) -> None:
    """Name the settings that have no default and were not given."""
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        stop(
            f"{', '.join(missing)} not set; allowed: a value; "
            f"add {' '.join(f'{name}=…' for name in missing)} to the command"
        )


def describe(error: BaseException) -> str:
    """Put an error into one line."""
    if isinstance(error, SettingError):
        line = _line(error.renamed(_OF_STORES.get(error.name, error.name)))
        return f"{line}: tracking=none" if line.endswith("do not track") else line
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        options = ", ".join(error.options)
        plugin = group in {"hydra/launcher", "hydra/sweeper"}
        fix = f"install the plugin that has {name}, or choose" if plugin else "choose"
        return f"{group} has no option {name!r}; allowed: {options}; {fix} one of them"
    cause = error.__cause__ or error.__context__
    settings = error if isinstance(error, OmegaConfBaseException) else cause
    line = _line(error)
    if isinstance(settings, OmegaConfBaseException):
        return _setting(settings, "" if settings is error else line)
    if isinstance(error, OverrideParseException):
        word = error.override or ""
        closed = word.count("(") == word.count(")")
        hints = [hint for sign, hint in _HINTS.items() if sign in word and closed]
        hint = next(iter(hints), _GRAMMAR)
        return f"{word} cannot be read: {line.split(' See ')[0]}; {hint}"
    for pattern, better in _OF_HYDRA:
        found = pattern.search(line)
        if found:
            return found.expand(better)
    return line


def is_of_hydra(error: Exception) -> bool:
    """Tell what Hydra raises, as bare ``ValueError`` and others, from what nobody foresaw."""
    frames = [frame.f_globals for frame, _ in traceback.walk_tb(error.__traceback__)]
    packages = [str(frame.get("__name__")).partition(".")[0] for frame in frames]
    # What a library raises is of the one that called it.
    called = [name for name in packages if name in {*_HYDRAS, "backprop_svc", "hydra_plugins"}]
    return called[-1] in _HYDRAS


_HYDRAS = {"hydra", "omegaconf"}
_GRAMMAR = (
    "allowed: name=value, and [a,b] for lists; close each bracket, quote what the shell would "
    "change, and within that quote texts with other signs: 'name=[\"a (b)\"]'"
)
_HINTS = {
    "interval(": "allowed: interval(low,high); give both ends",
    "tag(": "allowed: tag(log,interval(low,high)), or tag(zip,choice(a,b)); give one of them",
    "=~/": "allowed: a value that does not begin with ~; write $HOME instead",
}
"""What is meant by words that cannot be read, by a sign of it."""
_OF_STORES = {
    "tracking": "tracking.uri",
    "experiment": "tracking.experiment",
    "resume": "sweep.resume",
    "sweep_id": "sweep.id",
}
"""What the command calls the arguments that a store complains of."""
_OF_HYDRA = [
    (
        re.compile(r"^Only one of --run, --multirun, .*"),
        r"several of --run, --multirun (sweep is train --multirun), --cfg, --info and "
        r"--shell-completion are given; allowed: one of them; leave the others out",
    ),
    (
        re.compile(r"^(Invalid plugin .*)"),
        r"\1; allowed: the plugins of Hydra that are installed; leave it out",
    ),
    (
        re.compile(
            r"^Ambiguous value for argument "
            r"'((network\.sizes|init\.weights|data\.[xy](?:_scale)?)=(.*?))' 1\."
        ),
        r"\1 has several values; allowed: one for a single run, \2=[\3] for a list; "
        r"to train with each write backprop-svc sweep \1",
    ),
    (
        re.compile(r"^Ambiguous value for argument '(.*?)' 1\."),
        r"\1 has several values; allowed: one for a single run; "
        r"to train with each write backprop-svc sweep \1",
    ),
    (
        re.compile(r"^Sweep parameters '(.*)' requires --multirun"),
        r"\1 has several values; allowed: one for a single run; "
        r"to train with each write backprop-svc sweep '\1'",
    ),
    (
        re.compile(r"^Could not override '(.*?)'\. No match"),
        r"\1 is no group of this command; allowed: those that --help shows; leave it out",
    ),
    (
        re.compile(r"^Config group override must be a string or a list\. Got (.*)"),
        r"a group was given a value of type \1; allowed: names of its options, which --help "
        r"shows; write network=guide or train.lr=0.1, say",
    ),
    (
        re.compile(r"^Could not delete from config\. '(.*?)' does not exist"),
        r"\1 cannot be removed; allowed: groups, as ~experiment; write \1=null where that is "
        r"allowed, or leave ~\1 out",
    ),
    (
        re.compile(r"^BasicSweeper does not support sweep type : INTERVAL_SWEEP"),
        r"hydra/sweeper=basic was given an interval; allowed: values one by one; "
        r"leave hydra/sweeper out",
    ),
]
"""What Hydra says, and what helps a user of this command."""

_KINDS = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "a text",
    "list[int]": "a list of whole numbers",
    "list[float]": "a list of numbers",
    "list[str]": "a list of texts",
}


def _setting(error: OmegaConfBaseException, line: str) -> str:
    name = error.full_key or ""
    kind = error.object_type
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    where = line.removeprefix("Error merging override ") or name
    if name and kind is not None and dataclasses.is_dataclass(kind):
        fields = {field.name: field for field in dataclasses.fields(kind)}
        field = fields.get(str(error.key))
        if field is None:
            meant = nearest(name)
            fix = f"write {meant}" if meant else "correct the name"
            return (
                f"{name} is not a setting; allowed: {', '.join(fields)}; "
                f"{fix} (--cfg job shows all settings)"
            )
        optional = re.fullmatch(r"Optional\[(.*)\]", str(field.type))
        allowed = _KINDS.get(optional[1] if optional else str(field.type))
        if allowed is not None:
            default = field.default
            given = default not in (None, MISSING, dataclasses.MISSING)
            example = f"write {name}={default}, say" if given else f"correct {name}"
            none = " or null" if optional else ""
            return f"{where}: {reason}; allowed: {allowed}{none}; {example}"
    return f"{where}: {reason}; allowed: a value of that type; correct it"


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines) or type(error).__name__


CONFIGURATION = (HydraException, OmegaConfBaseException)
FORESEEN = (SettingError, OSError, MemoryError, *CONFIGURATION)
