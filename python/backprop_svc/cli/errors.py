"""Every foreseeable mistake as one line: what, what is allowed, the fix."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException


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
    raise SystemExit(f"backprop-svc: {message}")


def describe(error: BaseException) -> str:
    """Put an error into one line."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    for link in reversed(chain):
        if isinstance(link, OmegaConfBaseException):
            return _configuration(link, error)
    return _line(error)


def _configuration(link: OmegaConfBaseException, error: BaseException) -> str:
    name = link.full_key or ""
    if isinstance(link, MissingMandatoryValue):
        return (
            f"{name or _line(link)} is not set; allowed: a value; add {name}=… to the command"
        )
    kind = link.object_type
    if kind is not None and dataclasses.is_dataclass(kind):
        allowed = [field.name for field in dataclasses.fields(kind)]
        if str(link.key) not in allowed:
            return (
                f"{name} is not a setting; allowed: {', '.join(allowed)}; "
                "correct the name (--cfg job shows all settings)"
            )
    first = (link.msg or str(link)).splitlines()[0]
    if name:
        return f"{name}: {first}; allowed: a value of that type; correct it"
    return _line(error)


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines) or type(error).__name__


CONFIGURATION = (HydraException, OmegaConfBaseException)
FORESEEN = (ValueError, TypeError, OSError, MemoryError, *CONFIGURATION)
