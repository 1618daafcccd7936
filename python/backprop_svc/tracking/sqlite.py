"""Files of SQLite: where they are, whether they can be there, and their lock."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import sqlalchemy as sa

LOCKED = "database is locked"
"""What SQLite's errors say of a file that another program keeps for itself."""
LOG_WAIT = 2.0
"""Seconds in which readers may let go of the log of changes."""
SPARE = 1 << 20
"""Bytes in which the end of a sweep finds room."""
WAIT = 120
"""Seconds that another process may take to make a database, or to upgrade it."""


def file_of(url: sa.URL) -> Path | None:
    """Return the file of a SQLite URL; ``None`` where SQLite would keep it in memory."""
    from sqlalchemy.util import asbool

    name = url.database or ""
    if "mode" in url.query and url.query["mode"] == "memory":
        return None
    if name.startswith("file:") and asbool(url.query.get("uri", False)):
        # Then it is an address, of which SQLite reads codes.
        name = unquote(urlsplit(name).path)
    return Path(name) if name not in {"", ":memory:"} else None


def file_named_by(uri: str) -> Path | None:
    """Return the file that a URI names; ``None`` where it names none of SQLite."""
    if not uri.startswith("sqlite"):
        return None
    # What is not tracked does not wait for it.
    import sqlalchemy as sa

    with suppress(sa.exc.ArgumentError, ValueError):
        return file_of(sa.make_url(uri))
    return None


def uri_of(file: Path) -> str:
    """Return the URI of a file; only signs that would be misread are written as codes."""
    import sqlalchemy as sa

    uri = f"sqlite:///{file}"
    if file_named_by(uri) == file:
        return uri
    return sa.URL.create("sqlite", database=str(file)).render_as_string()


def engine_of(file: Path) -> sa.Engine:
    """Return connections to a file, whatever signs its name has."""
    import sqlalchemy as sa

    return sa.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(file), poolclass=sa.NullPool
    )


def trouble(file: Path) -> str | None:
    """Return why a database cannot be here, or ``None``.

    SQLite needs to make files beside the database, too: one is made here, and is gone again.
    """
    try:
        if file.is_dir():
            return "which is a folder"
        if file.exists() and not file.is_file():
            return "which is no file"
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            return "which may not be written"
        folder = file.resolve().parent
        if not folder.is_dir():
            return f"and there is no folder {folder}"
        with TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return f"and {file.parent or '.'} cannot hold it: {reason}"
    return None


def spare_room(file: Path) -> IO[bytes] | None:
    """Take some room beside a database, which is given back when this is closed.

    A sweep that a full disk ends needs it to say so. The file has no name: none is left behind.
    """
    if not hasattr(os, "posix_fallocate"):
        return None
    with suppress(OSError), ExitStack() as stack:
        spare: IO[bytes] = stack.enter_context(TemporaryFile(dir=file.resolve().parent))
        os.posix_fallocate(spare.fileno(), 0, SPARE)
        stack.pop_all()
        return spare
    return None


def gather_changes(file: Path) -> None:
    """Bring the log of changes beside a database into it, so that a copy of it has everything.

    Also while another program, such as the UI, has it open. What that reads at this very
    moment keeps the log: whoever closes the database last then brings it in.
    """
    if not file.is_file():
        # Opening it would make one.
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(file, timeout=LOG_WAIT)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Keep other processes from making or upgrading the same file meanwhile.

    The lock is on the folder itself: no file of it is left, no link is followed, and every
    user who can read the folder can take it. A process that ends, however it does, lets go.

    Raises
    ------
    TimeoutError
        Another process did not let go.
    """
    try:
        import fcntl
    except ImportError:
        # Windows locks no folders.
        yield
        return
    try:
        folder = os.open(file.resolve().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        # A folder may be written without being read; databases are filled in one transaction.
        yield
        return
    try:
        end = time.monotonic() + WAIT
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError(
                        f"another process has kept it locked for {WAIT} s"
                    ) from None
                time.sleep(0.05)
            except OSError:
                # Some network file systems lock no folders.
                break
        yield
    finally:
        os.close(folder)
