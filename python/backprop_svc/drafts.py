"""Files that take another's place at once, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import IO


@contextmanager
def replacing(path: Path, prefix: str, mode: int | None = None) -> Iterator[IO[bytes]]:
    """Open a draft beside a file; it becomes that file once all is written and on the disk.

    The file of before stays if anything goes wrong. The new one has the mode that is told, or
    that of the old one, or the one that any new file has.
    """
    number, name = mkstemp(dir=path.parent, prefix=prefix)
    draft = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # Windows replaces no file that is open.
        if mode is None:
            mode = path.stat().st_mode if path.exists() else 0o666 & ~_umask()
        draft.chmod(mode)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
