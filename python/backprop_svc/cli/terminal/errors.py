"""What a user or the surroundings did wrong, as one line: what, what is allowed, the fix."""

from __future__ import annotations

import dataclasses
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from backprop_svc.cli.config.choices import CHOICES
from backprop_svc.cli.terminal import translate
from backprop_svc.cli.terminal.nearest import nearest_of
from backprop_svc.errors import SettingError, printable
from backprop_svc.tracking.uri import without_password


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
    """Name the settings that have no default and were not given, and check what is referred to.

    OmegaConf checks ``${…}`` where it stands for a number or a text, and not for a list.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        stop(
            f"{', '.join(missing)} not set; allowed: a value; "
            f"add {' '.join(f'{name}=…' for name in missing)} to the command"
        )
    for section in filter(OmegaConf.is_dict, config.values()):
        for name in section:
            if (
                OmegaConf.is_interpolation(section, name)
                and OmegaConf.get_type(section, name) is list
            ):
                OmegaConf.update(section.copy(), name, section[name])


def describe(error: BaseException) -> str:
    """Put an error into one line."""
    if isinstance(error, SettingError):
        error = _with_nearest(error.renamed(_OF_STORES.get(error.name, error.name)))
        line = _line(error)
        for python, command in _OF_PYTHON.items():
            line = line.replace(python, command)
        return f"{line}: tracking=none" if line.endswith("do not track") else line
    if isinstance(error, MissingConfigException) and error.options:
        return translate.option(error)
    if isinstance(error, MemoryError) and not isinstance(error, SettingError):
        return _line(error).replace(*_OF_MEMORY)
    cause = error.__cause__ or error.__context__
    settings = error if isinstance(error, OmegaConfBaseException) else cause
    line = _line(error)
    if isinstance(settings, OmegaConfBaseException):
        return translate.setting(settings, "" if settings is error else line)
    if isinstance(error, OverrideParseException):
        return translate.word(error, line)
    return translate.sentence(line)


def _with_nearest(error: SettingError) -> SettingError:
    """Let the fix name the choice that was meant, if one is like the value."""
    if error.fix != "choose one of them" or error.name not in CHOICES:
        return error
    meant = nearest_of(error.value.strip("'"), CHOICES[error.name])
    if meant is None:
        return error
    fix = f"write {error.name}={meant}"
    return type(error)(error.name, error.value, error.allowed, fix, error.verb)


def is_of_hydra(error: Exception) -> bool:
    """Tell what Hydra raises, as bare ``ValueError`` and others, from what nobody foresaw."""
    frames = [frame.f_globals for frame, _ in traceback.walk_tb(error.__traceback__)]
    packages = [str(frame.get("__name__")).partition(".")[0] for frame in frames]
    # What a library raises is of the one that called it.
    called = [name for name in packages if name in {*_HYDRAS, "backprop_svc", "hydra_plugins"}]
    return called[-1] in _HYDRAS


_HYDRAS = {"hydra", "omegaconf"}
_OF_STORES = {
    "tracking": "tracking.uri",
    "experiment": "tracking.experiment",
    "resume": "sweep.resume",
    "sweep_id": "sweep.id",
}
"""What the command calls the arguments that a store complains of."""
_OF_MEMORY = (
    "train in chunks or record less",
    "give fewer train.epochs, or train with backprop-svc sweep, which keeps of each run what "
    "tracking.history says",
)
_OF_PYTHON = {
    "give validation=(x, y), or": "write data.validation=0.2, or",
    'see bp.datasets.prepare(…, missing="mean")': "write data.missing=mean",
    "such as Network(1, 1, 1)": "such as network.sizes=[1,1,1]",
    "such as 1, 1, 1": "such as network.sizes=[1,1,1]",
}
"""What a fix says in Python, and what the command has for it."""


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines) or type(error).__name__


CONFIGURATION = (HydraException, OmegaConfBaseException)
FORESEEN = (SettingError, OSError, MemoryError, *CONFIGURATION)
