"""Files that take another's place at once, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO


@contextmanager
def replacing(path: Path, prefix: str) -> Iterator[IO[bytes]]:
    """Open a draft beside a file; it becomes that file once all is written and on the disk.

    The file of before stays if anything goes wrong. The new one has its mode, or the one that
    any new file has.
    """
    with NamedTemporaryFile(dir=path.parent, prefix=prefix, delete=False) as file:
        draft = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            draft.chmod(path.stat().st_mode if path.exists() else 0o666 & ~_umask())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
