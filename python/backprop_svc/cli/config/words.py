"""The words of a command line, checked before Hydra composes a configuration of them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice, product
from typing import Any, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Override,
    QuotedString,
    RangeSweep,
    Sweep,
)
from hydra.errors import HydraException

from backprop_svc.cli.config.axes import count, is_array
from backprop_svc.cli.config.choices import INTERNAL, options_of
from backprop_svc.cli.config.overrides import split, written
from backprop_svc.cli.terminal.nearest import nearest, nearest_of
from backprop_svc.errors import SettingError
from backprop_svc.memory import refuse_points

OWN = ("--config", "-cd", "-cp", "-cn", "hydra.searchpath")
"""How a user adds configuration files, which may have settings of their own."""
WORDS = 20
"""Memory of a configuration before it is composed, as a multiple of that of a run."""
MOST_WRITTEN = 6
"""Values that a fix writes out."""


def refuse(arguments: Sequence[str], schema: type) -> None:
    """Refuse words that Hydra would take for something else, or explain in its own words.

    Words that cannot be read are left to Hydra, which says where.

    Parameters
    ----------
    arguments
        All words after the command.
    schema
        The settings of the command.

    Raises
    ------
    SettingError
        Names of no setting; settings that are removed; values that are several at once.
    """
    _refuse_options(arguments)
    parser = OverridesParser.create()
    sections = {
        section: [field.name for field in dataclasses.fields(kind)]
        for section, kind in get_type_hints(schema).items()
    }
    own = any(word.startswith(OWN) or "${" in word for word in arguments)
    configurations = 1
    for word in arguments:
        # One without a name comes of spaces around its =, which Hydra finds before it.
        if word.startswith(("-", "=")) or not ("=" in word or word.startswith("~")):
            continue
        try:
            override = parser.parse_override(word)
        except HydraException:
            continue
        except Exception as error:
            raise _unreadable(word, error) from error
        _refuse_unknown(word, override, sections, own=own)
        _refuse_nested(word, override)
        _refuse_empty(word, override)
        if override.is_sweep_override() and not is_array(override):
            configurations *= count(override)
    # Each is a list of words, and an outcome.
    refuse_points(configurations * WORDS)


def _unreadable(word: str, error: Exception) -> SettingError:
    if sys.flags.optimize:
        return SettingError(
            word, "since Python optimizes, and Hydra's parser needs its assertions",
            "python without -O, and PYTHONOPTIMIZE not set",
            "write PYTHONOPTIMIZE= before the command", verb="cannot be read,",
        )  # fmt: skip
    return SettingError(word, str(error), "name=value", "correct it", verb="cannot be read:")


def _refuse_options(arguments: Sequence[str]) -> None:
    """Refuse what begins as an option does and is none of Hydra's."""
    try:
        from hydra._internal.utils import get_args_parser

        known = list(get_args_parser()._option_string_actions)
    except (ImportError, AttributeError):
        # A Hydra that is built otherwise says it in its own words.
        return
    for word, after in zip(arguments, [*arguments, ""][1:], strict=True):
        option, equals, value = word.partition("=")
        if not option.startswith("-") or option == "--":
            continue
        # Long ones may be cut short, and a short one may have its value behind it.
        if any(name.startswith(option) for name in known if name.startswith("--")) or any(
            option.startswith(name) for name in known if not name.startswith("--")
        ):
            continue
        if not equals and "=" not in after and not after.startswith("-"):
            value = after
        meant = nearest(option.lstrip("-").replace("-", "_"))
        fix = f"write {meant}={value or '…'}" if meant else "leave it out"
        raise SettingError(
            word, "an option",
            "settings as name=value, and the options that --hydra-help shows", fix,
            verb="is not",
        )  # fmt: skip


def _refuse_unknown(
    word: str, override: Override, sections: Mapping[str, list[str]], *, own: bool
) -> None:
    name = override.key_or_group
    section, _, field = name.partition(".")
    if "/" in name or section == "hydra" or override.package is not None:
        return
    if field and section in sections:
        # What is below a setting, such as data.x.0, is Hydra's business.
        if field.partition(".")[0] not in sections[section]:
            known = [n for n in sections[section] if f"{section}.{n}" not in INTERNAL]
            raise _unknown(word, known, sections)
        if override.is_delete() and "." not in field:
            raise SettingError(
                name, "be removed", "groups, as ~experiment",
                f"leave {word} out to have its default", verb="cannot",
            )  # fmt: skip
        return
    groups = sorted({*sections, "experiment"})
    if name in groups:
        _refuse_no_option(word, override)
    elif not own or nearest(name) is not None:
        raise _unknown(word, groups, sections)


def _refuse_no_option(word: str, override: Override) -> None:
    """Refuse a number, or true or false, where a group is told which of its files is meant."""
    value: Any = override.value()
    if isinstance(value, bool | int | float):
        name, text = split(word)
        options = options_of(name)
        meant = nearest_of(text, options)
        allowed = f"its options, {', '.join(options)}, and " if options else ""
        raise SettingError(
            word, "option", f"{allowed}its settings, as {name}.name=value",
            f"write {name}={meant}" if meant else "write one of them", verb="names no",
        )  # fmt: skip


def _unknown(word: str, allowed: Sequence[str], sections: Mapping[str, object]) -> SettingError:
    name, value = split(word)
    alike = get_close_matches(name.lower(), allowed, 1, 0.85) if "." not in name else []
    meant = alike[0] if alike else nearest(name)
    if meant is None or meant.partition(".")[0] not in {*sections, "experiment"}:
        fix = "correct the name, or leave it out"
    else:
        fix = f"write {meant}={value}" if value else f"write {meant}"
    return SettingError(
        name, "a setting", ", ".join(allowed), f"{fix} (--cfg job shows all settings)",
        verb="is not",
    )  # fmt: skip


def _refuse_nested(word: str, override: Override) -> None:
    """Refuse several values within one: Hydra would keep them as they are written."""
    value: Any = override.value()
    if isinstance(value, ChoiceSweep):
        outer, parts = "several values within several", value.list
    else:
        outer, parts = "several values within one", [] if isinstance(value, Sweep) else value
    if not _holds_sweep(parts):
        return
    name, text = split(word)
    write = f"each of them as a whole, as {name}=choice(a,b)"
    each = _each(value) if isinstance(value, list) else []
    if 0 < len(each) <= MOST_WRITTEN:
        write = f"{name}=choice({','.join(each)})"
    raise SettingError(
        f"{name}={text}", outer, "one value, or a choice of whole values in a sweep",
        f"write {write}", verb="has",
    )  # fmt: skip


def _refuse_empty(word: str, override: Override) -> None:
    """Refuse a sweep without any point. What ``glob`` finds is known to Hydra alone."""
    value: Any = override.value()
    if not isinstance(value, (ChoiceSweep, RangeSweep)):
        return
    if isinstance(value, RangeSweep) and not value.step:
        raise SettingError(
            word, "a step of 0", "steps above or below 0", "give another one", verb="has"
        )
    if not count(override):
        raise SettingError(
            word, "no values", "one or more", "give it values, or leave it out", verb="has"
        )


def _holds_sweep(value: object) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return any(map(_holds_sweep, value))
    return isinstance(value, Sweep)


def _each(values: list[Any]) -> list[str]:
    """Return the lists that a list with choices in it stands for, if they can be written."""
    parts = [list(islice(_several(value), MOST_WRITTEN + 1)) for value in values]
    if any(isinstance(value, (Sweep, list, dict)) for part in parts for value in part):
        return []
    combined = islice(product(*parts), MOST_WRITTEN + 1)
    return [f"[{','.join(map(_text, row))}]" for row in combined]


def _several(value: Any) -> Iterable[Any]:
    """Return the values that one place of a list may have."""
    if isinstance(value, ChoiceSweep):
        return value.list
    return value.range() if isinstance(value, RangeSweep) and value.step else [value]


def _text(value: object) -> str:
    return value.with_quotes() if isinstance(value, QuotedString) else written(value)
