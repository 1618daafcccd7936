"""Where a table comes from: a file of some kind, a folder, a package, or memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from backprop_svc.datasets.binary import KINDS, OTHERS, read_arrays, read_folder
from backprop_svc.datasets.reading import Reading
from backprop_svc.datasets.table import Table, from_arrays, from_arrow, from_frame
from backprop_svc.datasets.text import read_text
from backprop_svc.errors import SettingError, SettingTypeError, printable, shortened, shown
from backprop_svc.settings import check

PACKAGED = "pkg://"
SKLEARN = "sklearn://"
BUNDLED = ("breast_cancer", "diabetes", "digits", "iris", "wine")
"""Sets within scikit-learn; none of them is downloaded."""
COMPRESSED: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"BZh": ("bzip2", bz2.decompress),
    b"\xfd7zXZ\x00": ("xz", lzma.decompress),
}
"""What compressed files begin with."""


def read(source: Any, reading: Reading | None = None) -> Table:
    """Read a table.

    Parameters
    ----------
    source
        A file of text (delimited, also gzip, bzip2, xz or zip), Parquet, Arrow, Feather,
        ``.npy`` or ``.npz``; a folder of Parquet files; ``pkg://`` or ``sklearn://`` with the
        name of a set that is carried; a pandas DataFrame, a table of Arrow or of what offers
        itself as one, or arrays in a dictionary.
    reading
        What is told of it.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    SettingError
        The file cannot be read, there is no such set, or scikit-learn is not installed.
    """
    reading = Reading() if reading is None else reading
    if isinstance(source, Path):
        source = str(source)
    if not isinstance(source, str):
        return _in_memory(source)
    source = check("data.path", source, str)
    if source.startswith(SKLEARN):
        return _bundled(source)
    file = _file(source)
    try:
        if file.is_dir():
            return read_folder(file, source)
        return _of_bytes(file.read_bytes(), file.name.lower(), source, reading)
    except SettingError:
        raise
    except OSError as error:
        raise _unreadable(source, error.strerror or str(error)) from None


def _file(source: str) -> Path:
    if source.startswith(PACKAGED):
        where = resources.files("backprop_svc") / "data" / source.removeprefix(PACKAGED)
        file = Path(str(where))
    else:
        file = Path(source)
    try:
        file = file.expanduser()
        # A pipe or a device would be waited for, perhaps for ever.
        found = file.is_file() or file.is_dir()
    except (OSError, RuntimeError, ValueError):
        # Names that are too long, and homes of nobody.
        found = False
    if not found:
        raise FileNotFoundError(
            f"data.path is {shown(source)}, which is no file; allowed: a CSV or Parquet file, "
            f"or another table; correct the path (looked for {shortened(str(file.absolute()))})"
        )
    return file


def _of_bytes(data: bytes, name: str, source: str, reading: Reading) -> Table:
    """Read a file by what it begins with, which says more than its name."""
    for mark, (kind, decompress) in COMPRESSED.items():
        if data.startswith(mark):
            try:
                data = decompress(data)
            except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError):
                raise _unreadable(source, f"its {kind} is cut off or broken") from None
            return _of_bytes(data, str(Path(name).with_suffix("")), source, reading)
    for mark, what in OTHERS.items():
        if data.startswith(mark):
            raise _unreadable(source, f"it is {what}")
    if data.startswith(b"PK\x03\x04"):
        return _of_zip(data, source, reading)
    ending = Path(name).suffix
    for mark, (endings, reader) in KINDS.items():
        if data.startswith(mark):
            try:
                return reader(data, source)
            except SettingError:
                raise
            except Exception as error:
                # Bytes that are no longer what they were raise whatever their reader raises.
                raise _unreadable(source, f"it is cut off or broken ({error})") from None
        if ending in endings:
            raise _unreadable(source, f"it does not begin as a file {ending} does")
    return read_text(data, source, reading, ending=ending)


def _of_zip(data: bytes, source: str, reading: Reading) -> Table:
    """Read the one file of an archive, or the arrays of NumPy."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if names and all(name.endswith(".npy") for name in names):
                return read_arrays(data, source)
            if "[Content_Types].xml" in names:
                raise _unreadable(source, "it is a workbook of Excel: save it as CSV")
            if len(names) != 1:
                raise _unreadable(source, f"it is an archive of {len(names)} files: unpack it")
            inner = archive.read(names[0])
    except SettingError:
        raise
    except Exception:
        raise _unreadable(source, "its zip is cut off, broken or locked") from None
    return _of_bytes(inner, names[0].lower(), source, reading)


def _in_memory(source: Any) -> Table:
    import pandas as pd
    import pyarrow as pa

    if isinstance(source, pd.DataFrame):
        return from_frame(source, "the DataFrame")
    if isinstance(source, Table):
        return source
    try:
        if isinstance(source, pa.Table) or hasattr(source, "__arrow_c_stream__"):
            return from_arrow(pa.table(source), "the table")
        if type(source) is dict and source and all(type(name) is str for name in source):
            return from_arrays(source, "the arrays")
    except SettingError:
        raise
    except Exception:
        # Objects may raise anything when they are looked at.
        pass
    raise SettingTypeError(
        "data.path", shown(source), "a text, a DataFrame, a table of Arrow, or arrays by names",
        "convert it",
    )  # fmt: skip


def _unreadable(source: str, reason: str) -> SettingError:
    line = printable(shortened(" ".join(reason.split())))
    return SettingError(
        "data.path",
        f"{source!r}, which cannot be read: {line}",
        "a CSV file with a header, or a Parquet, Arrow or NumPy file",
        "repair it",
    )


def _bundled(path: str) -> Table:
    name = path.removeprefix(SKLEARN)
    if name not in BUNDLED:
        allowed = f"{SKLEARN} with {', '.join(BUNDLED)}"
        raise SettingError("data.path", shown(path), allowed, "choose one of them")
    try:
        from sklearn import datasets
    except ModuleNotFoundError:
        raise SettingError(
            "data.path",
            f"{path!r}, and scikit-learn is not installed",
            "files, or its sets with it",
            "pip install 'backprop-svc[sklearn]'",
        ) from None
    found = getattr(datasets, f"load_{name}")()
    columns = zip(found.feature_names, np.asarray(found.data).T, strict=True)
    return from_arrays({**dict(columns), "target": found.target}, path)
