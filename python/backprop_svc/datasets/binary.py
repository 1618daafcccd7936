"""Tables in files that tell their own types: Parquet, Arrow, NumPy."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from backprop_svc.datasets.table import Table, from_arrays, from_arrow
from backprop_svc.errors import SettingError, shown

PARQUET = (".parquet", ".pq", ".parq")


def read_parquet(data: bytes, source: str) -> Table:
    """Read a Parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    return from_arrow(parquet.read_table(pa.BufferReader(data)), source)


def read_arrow(data: bytes, source: str) -> Table:
    """Read an Arrow or Feather file."""
    import pyarrow as pa
    from pyarrow import feather

    return from_arrow(feather.read_table(pa.BufferReader(data)), source)


def read_stream(data: bytes, source: str) -> Table:
    """Read a stream of Arrow that was written to a file."""
    import pyarrow as pa

    return from_arrow(pa.ipc.open_stream(pa.BufferReader(data)).read_all(), source)


def read_arrays(data: bytes, source: str) -> Table:
    """Read arrays of NumPy; nothing is unpickled, because that runs what is in the file.

    Raises
    ------
    SettingError
        They are objects that only a pickle holds, or numbers without rows.
    """
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(found, np.ndarray):
            # A structured array names its own columns.
            if found.ndim < 2 or found.dtype.names:
                return from_arrays({"f0": found}, source)
            flat = found.reshape(len(found), int(np.prod(found.shape[1:])))
            return from_arrays({f"f{n}": flat[:, n] for n in range(flat.shape[1])}, source)
        return from_arrays({name: found[name] for name in found.files}, source)
    except ValueError as error:
        if isinstance(error, SettingError) or "pickle" not in str(error):
            raise
    raise SettingError(
        "data.path", f"{source!r}, which holds objects", "arrays of numbers or texts",
        "save it again from such an array, not from objects",
    )  # fmt: skip


def read_folder(folder: Path, source: str) -> Table:
    """Read all Parquet files of a folder, sorted by their paths, as one table.

    Folders that are named ``key=value`` are a column.

    Raises
    ------
    SettingError
        There is no such file in it, or they have columns of different types.
    """
    import pyarrow as pa
    from pyarrow import dataset

    def is_hidden(path: Path) -> bool:
        return any(part[0] in "._" for part in path.relative_to(folder).parts)

    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PARQUET and path.is_file() and not is_hidden(path)
    )
    if not files:
        raise SettingError(
            "data.path", f"{shown(source)}, a folder without Parquet files",
            "a file, or a folder of Parquet files", "name a file in it",
        )  # fmt: skip
    try:
        found = dataset.dataset(
            [str(path) for path in files],
            format="parquet",
            partitioning="hive",
            partition_base_dir=str(folder),
        )
        # The first file alone would decide which columns there are.
        schemas = [fragment.physical_schema for fragment in found.get_fragments()]
        whole = pa.unify_schemas([*schemas, found.schema], promote_options="permissive")
        table = found.replace_schema(whole.remove_metadata()).to_table()
    except (pa.ArrowException, OSError) as error:
        raise SettingError(
            "data.path", f"{source!r}, whose files cannot be read as one table: "
            f"{' '.join(str(error).split())[:200]}",
            "Parquet files with columns of the same types", "repair it",
        ) from None  # fmt: skip
    return from_arrow(table, source)


Read = Callable[[bytes, str], Table]
KINDS: dict[bytes, tuple[tuple[str, ...], Read]] = {
    b"PAR1": (PARQUET, read_parquet),
    b"ARROW1": ((".arrow", ".feather", ".ipc"), read_arrow),
    b"FEA1": ((), read_arrow),
    b"\xff\xff\xff\xff": ((".arrows",), read_stream),
    b"\x93NUMPY": ((".npy", ".npz"), read_arrays),
}
"""What such files begin with, how they are called, and what reads them."""
OTHERS = {
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"%PDF": "a PDF document",
    b"\x89HDF": "an HDF5 file: save the table as Parquet",
    b"\xd0\xcf\x11\xe0": "a workbook of Excel: save it as CSV",
    b"SQLite format 3\x00": "a database of SQLite",
    b"\x80\x04\x95": "a pickle, which is not loaded, because that runs what is in it",
    b"\x80\x05\x95": "a pickle, which is not loaded, because that runs what is in it",
    b"\x7fELF": "a program",
    b"<!DOCTYPE": "a page of the web",
    b"<html": "a page of the web",
    b"version https://git-lfs": "a pointer of Git LFS: run git lfs pull",
}
"""What files begin with that are no tables."""
