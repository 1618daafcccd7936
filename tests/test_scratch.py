"""Folders for files that nobody needs afterwards, in real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from backprop_svc.scratch import PREFIX, scratch

HOLDS = """
import sys
from backprop_svc.scratch import scratch
with scratch() as folder:
    (folder / "file").write_text("content")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def hold() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def make_old(folder: Path) -> None:
    hour_ago = time.time() - 3600
    os.utime(folder, (hour_ago, hour_ago))


def test_a_folder_is_gone_afterwards(tmp_path: Path) -> None:
    with scratch() as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o77 == 0
        (folder / "file").write_text("content")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    process, left = hold()
    make_old(left)
    with scratch():
        # The process lives, however long ago it began.
        assert (left / "file").exists()
    process.kill()
    process.communicate()
    assert left.exists()
    with scratch() as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_may_not_be_locked_yet_stays(tmp_path: Path) -> None:
    new = tmp_path / f"{PREFIX}abcdefgh"
    new.mkdir()
    with scratch():
        pass
    assert new.exists()


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "file").write_text("content")
    link = tmp_path / f"{PREFIX}abcdefgh"
    link.symlink_to(own)
    others = [tmp_path / "backprop-svc-abcdefgh", tmp_path / f"{PREFIX}of-the-user"]
    file = tmp_path / f"{PREFIX}hgfedcba"
    file.write_text("content")
    for folder in others:
        folder.mkdir()
    for path in (own, file, *others):
        make_old(path)
    with scratch():
        pass
    assert link.is_symlink()
    assert (own / "file").exists()
    assert all(path.exists() for path in (file, *others))
