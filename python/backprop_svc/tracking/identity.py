"""Identities of sweeps."""

from __future__ import annotations

import re
import uuid

from backprop_svc.errors import SettingError, shown


def new_sweep_id() -> str:
    """Return 16 hex digits, the first a letter: Hydra would read 12345e67 as a number."""
    digits = uuid.uuid4().hex
    return "abcdef"[int(digits[16:18], 16) % 6] + digits[:15]


def check_sweep_id(setting: str, value: object) -> str:
    """Return the identity, or raise a :class:`SettingError` that names the setting."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{16}", value):
        or_last = "last or " if setting.endswith("resume") else ""
        raise SettingError(
            setting,
            shown(value),
            f"{or_last}the 16 hexadecimal digits of a sweep",
            "see the tag backprop.sweep_id of its runs, or leave it out",
        )
    return value
