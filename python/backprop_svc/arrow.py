"""Columns of a table of Arrow, made from their bytes and read by them.

PyArrow's own way imports pandas as soon as it sees an array, which takes longer than a sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def texts(values: Sequence[str]) -> Any:
    """Return a column of texts."""
    import pyarrow as pa

    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def numbers(values: NDArray[Any]) -> Any:
    """Return a column of numbers or booleans; of texts where it holds texts."""
    import pyarrow as pa

    if values.dtype.kind == "U":
        return texts(values.tolist())
    plain = np.packbits(values, bitorder="little") if values.dtype == bool else values
    buffers = [None, pa.py_buffer(np.ascontiguousarray(plain))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def lists(values: NDArray[Any]) -> Any:
    """Return a column with a list for each row of an array of shape (runs, numbers)."""
    import pyarrow as pa

    ends = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(numbers(ends), numbers(values.reshape(-1)))


def read_numbers(column: Any, kind: type[np.generic]) -> NDArray[Any]:
    """Return a column of numbers, or what is in lists of one size; no value is missing."""
    array = column.combine_chunks()
    if hasattr(array.type, "list_size"):
        size = array.type.list_size
        array = array.values.slice(array.offset * size, len(array) * size)
    dtype = np.dtype(kind)
    start = array.offset * dtype.itemsize
    return np.frombuffer(array.buffers()[1] or b"", dtype, len(array), start)
