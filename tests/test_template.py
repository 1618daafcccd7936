"""New databases that are copied from a kept one, beside those that MLflow itself makes."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

import stores
from backprop_svc.tracking import template
from backprop_svc.tracking.store import PAGE, prepare
from command import CLEAN


def content(file: Path, after: float) -> list[list[str]]:
    """All that is in a new database, which was made now, but not the very moment.

    MLflow itself makes some tables and constraints in another order each time.
    """
    with closing(sqlite3.connect(file)) as database:
        (times,) = database.execute("SELECT creation_time, last_update_time FROM experiments")
        assert all(after - 0.001 <= told / 1000 <= time.time() for told in times)
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
    (file,) = cache.rglob("*.template")
    return file


def test_a_copied_database_is_as_mlflow_makes_it(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = set()
    for name in ("first", "an odd #1 %20 ü"):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        begin = time.time()
        prepare("sqlite:///ours.db")
        (kept,) = cache.rglob("*.template")
        written.add(kept.stat().st_mtime_ns)
    # The second one is a copy.
    assert len(written) == 1
    MlflowClient("sqlite:///own.db").search_experiments()
    assert content(folder / "ours.db", begin) == content(folder / "own.db", begin)
    with closing(sqlite3.connect("ours.db")) as database:
        (found,) = database.execute("SELECT artifact_location FROM experiments")
        assert found == (f"{folder}/mlruns/0",)
        assert database.execute("PRAGMA page_size").fetchone() == (PAGE,)


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
    file.write_bytes(file.read_bytes()[:-5000])


def changed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def turned_into_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def open_to_others(file: Path) -> None:
    file.chmod(0o666)


def gone(file: Path) -> None:
    shutil.rmtree(file.parents[1])


@pytest.mark.parametrize(
    "spoil", [cut_short, changed, emptied, turned_into_a_folder, open_to_others, gone]
)
def test_a_spoilt_template_is_not_copied(
    tmp_path: Path, kept: Path, spoil: Callable[[Path], None]
) -> None:
    assert template.copy_to(tmp_path / "whole.db")
    spoil(kept)
    assert not template.copy_to(tmp_path / "spoilt.db")


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root gives files away")
def test_another_users_template_is_not_copied(tmp_path: Path, kept: Path) -> None:
    os.chown(kept, 54321, 54321)
    assert not template.copy_to(tmp_path / "new.db")


def test_another_release_has_another_template(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "installed_mlflow", lambda: "3.99")
    assert not template.copy_to(tmp_path / "new.db")


def test_a_draft_that_a_kill_left_is_removed(tmp_path: Path, kept: Path) -> None:
    left, new = (kept.with_name(f"{template.DRAFT}{name}") for name in ("left", "new"))
    for file in (left, new):
        file.write_bytes(b"half")
    os.utime(left, (1, 1))
    template.keep(tmp_path / "template.db")
    assert (left.exists(), new.exists()) == (False, True)


def test_a_spoilt_template_is_made_anew(tmp_path: Path, kept: Path) -> None:
    for spoil in (cut_short, open_to_others):
        spoil(kept)
        assert not template.copy_to(tmp_path / "spoilt.db")
        mask = os.umask(0)
        try:
            prepare(f"sqlite:///{tmp_path}/{spoil.__name__}.db")
        finally:
            os.umask(mask)
        assert template.copy_to(tmp_path / "again.db")


@pytest.mark.parametrize(("told", "home"), [("/proc/cache", "/tmp"), ("relative", "/dev/null")])
def test_a_cache_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, home: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", told)
    monkeypatch.setenv("HOME", home)
    prepare("sqlite:///mlflow.db")
    assert MlflowClient("sqlite:///mlflow.db").search_experiments()
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]
