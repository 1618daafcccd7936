"""What decides the runs of a sweep, as its parent keeps it: only the same one goes on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MOST_SHOWN = 80
"""Characters of a part that are kept as they are; of longer ones the digest says more."""
MOST_KEPT = 5000
"""Characters that every MLflow takes as a tag."""
MOST_TOLD = 6
"""Differences that a message names."""
HYDRA = "Hydra"
"""Names Hydra's release among the reasons: another one can read the same axis otherwise."""
_DIGEST = re.compile(r" ?#[0-9a-f]{16}$")


@dataclass(frozen=True)
class Part:
    """One of the things that decide the runs."""

    text: str
    """What it is; long texts and contents end with their digest, which is not shown."""
    because: Mapping[str, str] = field(default_factory=dict)
    """What it came from, by name: it explains a difference, and is none by itself."""

    @classmethod
    def of(cls, value: str, because: Mapping[str, str] | None = None) -> Part:
        """Keep a text of any length."""
        if len(value) > MOST_SHOWN:
            value = f"{value[: MOST_SHOWN - 20]}… #{digest(value)}"
        kept = {name: text[:MOST_SHOWN] for name, text in (because or {}).items()}
        return cls(value, kept)

    def cut(self) -> Part:
        """Keep its digest alone."""
        return Part(f"#{digest(self.text)}")

    @property
    def shown(self) -> str:
        """The text without its digest."""
        return _DIGEST.sub("", self.text)

    def is_same(self, other: Part) -> bool:
        """Tell whether both are the same, also where one of them was cut."""
        return other.text in {self.text, self.cut().text} or other.cut().text == self.text

    def reasons(self, other: Part) -> list[str]:
        """Name what the two came from where that differs."""
        names = dict.fromkeys([*self.because, *other.because])
        return [name for name in names if self.because.get(name) != other.because.get(name)]

    def difference(self, name: str, begun: Part) -> str:
        """Say what a part is, and what it was; an empty text means that it is not there."""
        before, after = (part.shown if part.text else "not there" for part in (begun, self))
        line = f"{name} was {before} and is {after}"
        if before == after or "" in {before, after}:
            # All that tells them apart is a digest.
            line = f"{name} differs"
        told = "; ".join(
            f"{reason} was {begun.because.get(reason, 'not there')} "
            f"and is {self.because.get(reason, 'not there')}"
            for reason in self.reasons(begun)
            if self.text and begun.text
        )
        return f"{line} ({told})" if told else line


NOTHING = Part("")


@dataclass(frozen=True)
class Plan:
    """Everything that decides the runs of a sweep, by name."""

    parts: Mapping[str, Part]

    @classmethod
    def of(cls, **texts: str) -> Plan:
        """Make a plan of plain texts."""
        return cls({name: Part.of(text) for name, text in texts.items()})

    @classmethod
    def join(cls, plans: Sequence[Plan]) -> Plan:
        """Put the plans of a sweep's configurations together, in their order."""
        names = dict.fromkeys(name for plan in plans for name in plan.parts)
        columns = {name: [plan.parts.get(name, NOTHING) for plan in plans] for name in names}
        return cls({name: _joined(column) for name, column in columns.items()})

    @property
    def digest(self) -> str:
        """16 hex digits that differ when the plan does."""
        texts = {name: part.text for name, part in self.parts.items()}
        return digest(json.dumps(texts, sort_keys=True))

    def kept(self) -> str:
        """Write it as the text of a tag."""
        parts = dict(self.parts)
        longest = sorted(parts, key=lambda name: len(str(parts[name])), reverse=True)
        while len(text := _written(parts)) > MOST_KEPT and longest:
            name = longest.pop(0)
            parts[name] = parts[name].cut()
        return text if len(text) <= MOST_KEPT else "{}"

    @classmethod
    def read(cls, text: str) -> Plan | None:
        """Read what :meth:`kept` wrote; ``None`` for what it did not."""
        try:
            return cls({name: Part(*part) for name, part in json.loads(text).items()})
        except (ValueError, TypeError, AttributeError):
            return None

    def differences(self, begun: Plan) -> list[str]:
        """Say what is otherwise than in the plan with which the sweep was begun."""
        lines = [
            after.difference(name, before)
            for name, (before, after) in self._differing(begun).items()
        ]
        more = len(lines) - MOST_TOLD
        return lines if more <= 1 else [*lines[:MOST_TOLD], f"{more} more"]

    def hydra_of(self, begun: Plan) -> str | None:
        """Return Hydra's release of the other plan if that explains all that differs."""
        explained = [
            before.because.get(HYDRA) if before.reasons(after) == [HYDRA] else None
            for before, after in self._differing(begun).values()
        ]
        return explained[0] if len(set(explained)) == 1 else None

    def _differing(self, begun: Plan) -> dict[str, tuple[Part, Part]]:
        names = dict.fromkeys([*begun.parts, *self.parts])
        pairs = {
            name: (begun.parts.get(name, NOTHING), self.parts.get(name, NOTHING))
            for name in names
        }
        return {name: pair for name, pair in pairs.items() if not pair[0].is_same(pair[1])}


def digest(text: str) -> str:
    """Return 16 hex digits of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _written(parts: Mapping[str, Part]) -> str:
    # What a part came from is left out where there is nothing.
    pairs = {name: [part.text, dict(part.because)] for name, part in parts.items()}
    return json.dumps({name: pair if pair[1] else pair[:1] for name, pair in pairs.items()})


def _joined(column: Sequence[Part]) -> Part:
    """Return what all configurations have, or the list of what each of them has."""
    names = dict.fromkeys(name for part in column for name in part.because)
    because = {}
    for name in names:
        values = dict.fromkeys(part.because.get(name, "") for part in column)
        because[name] = " | ".join(values)[:MOST_SHOWN]
    texts = [part.text for part in column]
    if len(set(texts)) == 1:
        return Part(texts[0], because)
    listed = " | ".join(dict.fromkeys(part.shown or "none" for part in column))
    return Part(f"{listed[: MOST_SHOWN - 20]} #{digest(json.dumps(texts))}", because)
