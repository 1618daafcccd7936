"""Every foreseeable mistake as one line: what, what is allowed, the fix."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from backprop_svc.tracking import without_password


@contextmanager
def foreseen(*kinds: type[Exception]) -> Iterator[None]:
    """End the program with one line when one of these errors is raised.

    HYDRA_FULL_ERROR=1 shows the traceback instead, as Hydra's users know it.
    """
    try:
        yield
    except kinds as error:
        if os.environ.get("BACKPROP_FULL_ERROR"):
            raise
        stop(describe(error))


def stop(message: str) -> NoReturn:
    """Exit with code 1 and the message on standard error."""
    raise SystemExit(f"backprop-svc: {without_password(message)}")


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
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        options = ", ".join(error.options)
        return f"{group} has no option {name!r}; allowed: {options}; choose one of them"
    cause = error.__cause__ or error.__context__
    settings = error if isinstance(error, OmegaConfBaseException) else cause
    if isinstance(settings, OmegaConfBaseException):
        return _setting(settings, _line(error))
    return _line(error)


def _setting(error: OmegaConfBaseException, line: str) -> str:
    name = error.full_key or ""
    kind = error.object_type
    if name and kind is not None and dataclasses.is_dataclass(kind):
        allowed = [field.name for field in dataclasses.fields(kind)]
        if str(error.key) not in allowed:
            return (
                f"{name} is not a setting; allowed: {', '.join(allowed)}; "
                "correct the name (--cfg job shows all settings)"
            )
    reason = str(error).splitlines()[0]
    where = line.removeprefix("Error merging override ") if line != reason else name
    return f"{where}: {reason}; allowed: a value of that type; correct it"


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines) or type(error).__name__


CONFIGURATION = (HydraException, OmegaConfBaseException)
FORESEEN = (
    ValueError,
    TypeError,
    OSError,
    MemoryError,
    OverflowError,
    ModuleNotFoundError,
    *CONFIGURATION,
)
