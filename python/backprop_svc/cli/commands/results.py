"""The file with the table of a sweep's results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from backprop_svc.cli.config.overrides import name_of, written
from backprop_svc.drafts import replacing
from backprop_svc.errors import SettingError


def typed_settings(words: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Read the overrides of each job; a setting has values of one type in all of them."""
    read = OverridesParser.create().parse_override
    jobs = [{name_of(word): read(word).value() for word in own} for own in words]
    columns = {name: _typed([job[name] for job in jobs]) for name in jobs[0]}
    return [{name: columns[name][i] for name in columns} for i in range(len(jobs))]


def check_file(results: str) -> None:
    """Refuse a file that cannot be written, before hours of training go into its content."""
    if not results.endswith(".parquet"):
        raise SettingError(
            "sweep.results", repr(results), "a Parquet file", "try sweep.results=map.parquet"
        )
    # A symbolic link stays: the file that it points to is replaced.
    path = Path(results).resolve()
    with _writable(results):
        try:
            path.open("xb").close()
        except FileExistsError:
            path.open("ab").close()
        else:
            path.unlink()


def write_file(results: str, content: bytes, setting: str = "sweep.results") -> None:
    """Write the table that a setting names; the one before stays if the new one cannot be."""
    # What a link points to, not the link.
    path = Path(results).resolve()
    with _writable(results, setting), replacing(path, f".{path.name}.") as file:
        file.write(content)


def _typed(values: list[Any]) -> list[Any]:
    """Convert the values of a column to one type: to text if no other holds all of them."""
    given = [value for value in values if value is not None]
    kinds = set(map(type, given))
    if kinds == {int, float} or (kinds == {int} and max(map(abs, given)) >= 2**63):
        # An integer column holds 64 bits.
        return [None if value is None else float(value) for value in values]
    if len(kinds) > 1 or kinds - {bool, int, float, str}:
        return [None if value is None else written(value) for value in values]
    return values


@contextmanager
def _writable(results: str, setting: str = "sweep.results") -> Iterator[None]:
    """Name the setting when its file cannot be written."""
    try:
        yield
    except OSError as error:
        raise SettingError(
            setting,
            f"{results!r}, which cannot be written ({error.strerror})",
            "a file in a folder that exists",
            "choose another name, or make the folder",
        ) from error
