"""Spares the composition by which Hydra only learns ``hydra.mode``: a sixth of starting."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from backprop_svc import conf


def is_left_open(arguments: Sequence[str]) -> bool:
    """Return whether nothing that Hydra would compose can set ``hydra.mode``."""
    elsewhere = ("-cn", "-cd", "-cp", "--config")
    told = any("hydra" in word or word.startswith(elsewhere) for word in arguments)
    own = Path(conf.__file__).parent.rglob("*.yaml")
    return not told and not any(b"mode:" in file.read_bytes() for file in own)


def leave_open() -> None:
    """Tell Hydra that it is not set; a Hydra that is built otherwise looks for itself."""
    with suppress(ImportError):
        from hydra._internal.hydra import Hydra

        Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
