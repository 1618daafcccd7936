"""Columns as a page holds them: typed arrays one behind the other, compressed together."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backprop_svc.arrays import Floats

MOST_EXACT = 20_000
"""Runs up to which the page holds each number as it is; of more it holds some three digits."""
MOST_VALUES = 1 << 16
"""Different values up to which a column is a list of them and a position for each run."""
NAN, LOWEST, HIGHEST, LEVELS = 0, 1, 65_535, 65_532
"""Of a rounded column: the codes of NaN, of −∞ (or the logarithm of 0) and of ∞."""


class Columns:
    """Collects arrays; each is described by what JavaScript needs to find and read it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, values: NDArray[Any]) -> dict[str, Any]:
        """Take an array of numbers as it is."""
        values = np.ascontiguousarray(values)
        place = {"type": values.dtype.name, "offset": self._length, "length": values.size}
        content = values.tobytes()
        # A typed array begins at a multiple of the size of its numbers.
        content += b"\0" * (-len(content) % 8)
        self._parts.append(content)
        self._length += len(content)
        return place

    def column(self, values: NDArray[Any], *, log: bool = False) -> dict[str, Any]:
        """Take one number for each run: exact, as positions of few values, or rounded.

        Parameters
        ----------
        values
            Shape (runs,).
        log
            Whether it is rounded in its logarithm.
        """
        values = values.astype(np.float64)
        distinct = _few(values)
        if distinct is not None:
            codes = np.searchsorted(distinct, values)
            return self.codes(codes, self.add(distinct))
        if len(values) <= MOST_EXACT:
            return self.add(values)
        return self._rounded(values, log)

    def codes(self, codes: NDArray[Any], values: Any) -> dict[str, Any]:
        """Take positions in a list of values."""
        small = codes.astype(np.uint8 if codes.max(initial=0) < 256 else np.uint16)
        return {"values": values, "codes": self.add(small)}

    def packed(self) -> str:
        """Return all of it, compressed, as base64."""
        return packed(b"".join(self._parts))

    @property
    def size(self) -> int:
        """Estimate the length of :meth:`packed`, by a quarter of what may be long."""
        if self._length < 4_000_000:
            return self._length * 4 // 3
        # Every fourth piece: columns are much longer than pieces.
        whole, piece = b"".join(self._parts), 1 << 16
        parts = [whole[at : at + piece] for at in range(0, self._length, 4 * piece)]
        return 4 * len(packed(b"".join(parts)))

    def _rounded(self, values: Floats, log: bool) -> dict[str, Any]:
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.log10(values) if log else values
        finite = np.isfinite(scaled)
        low, high = (scaled[finite].min(), scaled[finite].max()) if finite.any() else (0, 1)
        # Halves, since the difference of the largest numbers is not finite.
        half = (float(high / 2 - low / 2) or 0.5) / LEVELS
        codes = np.full(len(values), NAN, np.uint16)
        codes[finite] = np.rint((scaled[finite] / 2 - low / 2) / half).astype(np.uint16) + 2
        codes[scaled == -np.inf], codes[scaled == np.inf] = LOWEST, HIGHEST
        return {"rounded": self.add(codes), "low": float(low), "step": 2 * half, "log": log}


def packed(content: bytes) -> str:
    """Compress bytes so that a page can hold them."""
    return base64.b64encode(zlib.compress(content, 4)).decode()


def _few(values: Floats) -> Floats | None:
    """Return the different values, ascending, if there are few of them and none is NaN."""
    # A look at some of them tells most columns of many values.
    if len(np.unique(values[:: max(1, len(values) // 1000)])) > 900 and len(values) > 5000:
        some = np.unique(values[: 4 * MOST_VALUES])
        if len(some) > MOST_VALUES:
            return None
    distinct = np.unique(values)
    few = len(distinct) <= min(MOST_VALUES, max(256, len(values) // 4))
    return distinct if few and np.isfinite(distinct).all() else None
