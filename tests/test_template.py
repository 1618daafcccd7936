"""New databases that are copied from a kept one, beside those that MLflow itself makes."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

import stores
from backprop_svc.tracking import template
from backprop_svc.tracking.store import prepare
from command import CLEAN, call


def content(file: Path) -> list[list[str]]:
    """All that is in a new database, but for the moment when it was made.

    MLflow itself makes some tables and constraints in another order each time.
    """
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE experiments SET creation_time = 1, last_update_time = 1")
        statements = [sorted(re.split(r",?\s*\n", text)) for text in database.iterdump()]
        return sorted(statements)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache without a template."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def kept(tmp_path: Path, cache: Path) -> Path:
    """A template in the user's cache."""
    stores.empty_database(tmp_path / "template.db")
    template.keep(tmp_path / "template.db")
    (file,) = cache.rglob("*.db")
    return file


def test_a_copied_database_is_as_mlflow_makes_it(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "an odd #1 %20 ü"):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        prepare("sqlite:///ours.db")
        assert len(list(cache.rglob("*.db"))) == 1
    MlflowClient("sqlite:///own.db").search_experiments()
    assert content(folder / "ours.db") == content(folder / "own.db")
    assert f"{folder}/mlruns/0" in str(content(folder / "ours.db"))
    assert "first" not in str(content(folder / "ours.db"))


def test_a_copy_needs_no_import_of_mlflow(tmp_path: Path, kept: Path) -> None:
    program = (
        "import sys; from backprop_svc.tracking.store import prepare\n"
        "prepare('sqlite:///new.db'); print('mlflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env={**CLEAN, "XDG_CACHE_HOME": str(kept.parents[1])},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "False\n"


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def scratched(file: Path) -> None:
    content = bytearray(file.read_bytes())
    # Its first page stays as it is.
    for place in random.Random(1).sample(range(16_384, len(content)), 10_000):
        content[place] ^= 0xFF
    file.write_bytes(content)


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def turned_into_text(file: Path) -> None:
    file.write_text("no database, but a text that is long enough for one " * 10)


def turned_into_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def without_tables(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE runs (run_uuid)")


def of_another_release(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'another'")


def with_a_run(file: Path) -> None:
    client = MlflowClient(f"sqlite:///{file}")
    client.create_run(client.create_experiment("x"))


def gone(file: Path) -> None:
    shutil.rmtree(file.parents[1])


@pytest.mark.parametrize(
    "spoil",
    [
        *(cut_short, scratched, emptied, turned_into_text, turned_into_a_folder),
        *(without_tables, of_another_release, with_a_run, gone),
    ],
)
def test_a_spoilt_template_is_not_copied(
    tmp_path: Path, kept: Path, spoil: Callable[[Path], None]
) -> None:
    assert template.copy_to(tmp_path / "whole.db")
    spoil(kept)
    assert not template.copy_to(tmp_path / "spoilt.db")
    assert not (tmp_path / "spoilt.db").exists()


def test_a_spoilt_template_is_made_anew(tmp_path: Path, kept: Path) -> None:
    cut_short(kept)
    prepare(f"sqlite:///{tmp_path}/new.db")
    assert template.copy_to(tmp_path / "again.db")


@pytest.mark.parametrize("told", ["/proc/cache", "relative", "/dev/null"])
def test_a_cache_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    home = "/dev/null" if told == "relative" else str(tmp_path)
    done = call(tmp_path, "train", "train.epochs=1", XDG_CACHE_HOME=told, HOME=home)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert {file.name for file in tmp_path.iterdir()} == {"mlflow.db", "mlruns"}
