"""What Hydra and OmegaConf say, in our words: what, what is allowed, the fix."""

from __future__ import annotations

import dataclasses
import re
import shlex

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import MISSING
from omegaconf.errors import OmegaConfBaseException

from backprop_svc.cli.config.overrides import split
from backprop_svc.cli.terminal.meant import axis, quoted, reads, value_of
from backprop_svc.cli.terminal.nearest import nearest, nearest_of


def option(error: MissingConfigException) -> str:
    """Say that a group has no such option."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    options = error.options or []
    plugin = group in {"hydra/launcher", "hydra/sweeper"}
    meant = nearest_of(name, options)
    fix = f"write {group}={meant}" if meant else "choose one of them"
    fix = f"install the plugin that has {name}, or {fix}" if plugin else fix
    if group == "experiment" and name and not meant:
        fix += f"; MLflow's experiment is tracking.experiment={shlex.quote(name)}"
    return f"{group} has no option {name!r}; allowed: {', '.join(options)}; {fix}"


def word(error: OverrideParseException, line: str) -> str:
    """Say that a word of the command line cannot be read."""
    text = error.override or ""
    closed = text.count("(") == text.count(")")
    hints = [hint for sign, hint in _HINTS.items() if sign in text and closed]
    if _EMPTY.search(line):
        return no_values(text)
    spare = _without_spare_commas(text)
    if spare:
        return f"{text} has a comma without a value; allowed: a,b; write {shlex.quote(spare)}"
    meant = quoted(text)
    apart = _apart(text)
    if apart:
        return f"{text} cannot be read: {apart}"
    if hints:
        hint = hints[0]
    elif several := axis(*split(text)):
        hint = f"{_SEVERAL}; write {several}"
    elif meant:
        hint = f"allowed: name=value, and texts with other signs in quotes; write {meant}"
    else:
        hint = _GRAMMAR
    return f"{text} cannot be read: {_reason(text)}; {hint}"


def _without_spare_commas(text: str) -> str | None:
    """Return a word without the commas that have no value beside them, if it is then read."""
    name, value = split(text)
    less = re.sub(r"(?<=[=(\[])\s*,+|,+\s*(?=,|$|[)\]])", "", value)
    return f"{name}={less}" if less and less != value and reads(name, less) else None


def _apart(text: str) -> str | None:
    """Say what is wrong with a word by what is, or is not, around its =."""
    if "=" not in text:
        meant = nearest(text) if text[:1].isalpha() else None
        fix = f"write {meant}=…" if meant else "leave it out"
        return f"it has no =; allowed: name=value, without spaces; {fix}"
    words = re.sub(r"\s*=\s*", "=", text.strip()).split()
    if words == [text] or not all("=" in word and reads(*split(word)) for word in words):
        return None
    what = "it is several words in one" if len(words) > 1 else "it has spaces around its ="
    return f"{what}; allowed: name=value, without spaces; write {shlex.join(words)}"


def _reason(text: str) -> str:
    """Say what is wrong with a word, without the names in Hydra's grammar."""
    for opened, closed in ("()", "[]", "{}"):
        if text.count(opened) != text.count(closed):
            return f"it has {opened} and {closed} that do not belong together"
    if any(text.count(quote) % 2 for quote in "'\""):
        return "a quote in it is not closed"
    return "it has signs that mean something else here"


def no_values(text: str) -> str:
    """Say that a sweep would have no point."""
    name = text.partition("=")[0]
    return f"{text} has no values; allowed: one or more; write {name}=choice(a,b), say"


def sentence(line: str) -> str:
    """Say what Hydra says, with what helps a user of this command where that is known."""
    for pattern, better in _OF_HYDRA:
        found = pattern.search(line)
        if found:
            return found.expand(better)
    return line


_EMPTY = re.compile(r"empty choice|empty sort|empty shuffle")
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
            r"^Multiple values for (\S+)\. To override a value use 'override \S+: (.*)'"
        ),
        r"+\1=\2 adds a group that is there already; allowed: name=value; write \1=\2",
    ),
    (
        re.compile(
            r"^Ambiguous value for argument "
            r"'((network\.(?:sizes|hidden)|init\.weights|data\.[xy](?:_scale)?)=(.*?))' 1\."
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
        re.compile(
            r"^Could not append to config\. An item is already at .* prefix: '(.*?)' Or"
        ),
        r"+\1 adds what is there already; allowed: name=value; write \1",
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

_SEVERAL = "allowed: one number, and in a sweep a,b or range(a,b,step) or interval(a,b)"
_KINDS = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "a text",
    "list[int]": "a list of whole numbers",
    "list[float]": "a list of numbers",
    "list[str]": "a list of texts",
}


def setting(error: OmegaConfBaseException, line: str) -> str:
    """Say what is wrong with a setting, by an error of OmegaConf."""
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
        of = optional[1] if optional else str(field.type)
        if of in _KINDS:
            _, told, text = where.partition("=")
            several = axis(name, text)
            if several is not None:
                return f"{name} is {text}; {_SEVERAL}; write {several}"
            meant = value_of(of, text) or _example(field)
            fix = f"write {name}={meant}" if meant else f"correct {name}"
            none = " or null" if optional else ""
            wrong = (
                f"{name} is {text or chr(39) * 2}" if told else f"{where}{_referred(reason)}"
            )
            return f"{wrong}; allowed: {_KINDS[of]}{none}; {fix}"
    return f"{where}{_referred(reason)}; allowed: a value of that type; correct it"


def _referred(reason: str) -> str:
    """Say what is wrong with ``${…}``."""
    for pattern, better in _OF_INTERPOLATION:
        found = pattern.search(reason)
        if found:
            return f" refers to {found.expand(better)}"
    return f": {reason}"


_OF_INTERPOLATION = [
    (re.compile(r"Interpolation key '(.*)' not found"), r"\1, which is no setting"),
    (
        re.compile(r"Environment variable '(.*)' not found"),
        r"the environment variable \1, which is not set",
    ),
    (re.compile(r"Recursive interpolation"), "itself"),
    (re.compile(r"Unsupported interpolation type (\S+)"), r"\1:, which nothing resolves"),
]
"""What OmegaConf says of ``${…}``, and what it refers to."""


def _example(field: dataclasses.Field[object]) -> str | None:
    """Write a value that a setting may have: the usual one, or the other of true and false."""
    usual = field.default
    if isinstance(usual, bool):
        return "false" if usual else "true"
    return None if usual in (None, 0, MISSING, dataclasses.MISSING) else f"{usual}, say"
