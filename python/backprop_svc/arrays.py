"""Array arguments: the types that all modules share, and how values become arrays."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backprop_svc._core import Network
from backprop_svc.errors import SettingError, SettingTypeError, counted, shortened, shown

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
MOST_NAMED = 6
"""Parameters that a message names one by one."""


def array(name: str, values: object) -> NDArray[Any]:
    """Return what NumPy makes of values, which may be anything at all.

    Raises
    ------
    SettingError
        Rows of different length; masked values; an object that NumPy cannot read.
    """
    try:
        # A structured array has a mask for each of its fields.
        mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
        found = np.asarray(values)
    except MemoryError:
        raise
    except Exception:
        # Objects may raise anything when they are looked at.
        if type(values) in (list, tuple):
            raise SettingError(
                name, "ragged", "a rectangular array", "make its rows equally long"
            ) from None
        allowed = "an array of numbers"
        raise SettingTypeError(name, shown(values), allowed, "convert it") from None
    if mask is not None and mask.dtype == np.bool_ and mask.any():
        raise _missing(name, mask)
    return found


def _missing(name: str, mask: Booleans) -> SettingError:
    """Return an error that counts missing values, masked ones or those of pandas."""
    place = ", ".join(map(str, np.unravel_index(int(mask.argmax()), mask.shape)))
    count = int(mask.sum())
    plural = "" if count == 1 else f"s, the first of {count}"
    first = f" at [{place}]" if mask.ndim else ""
    return SettingError(
        name,
        f"missing (masked) value{plural}{first}",
        "numbers alone",
        'fill or remove them, or see bp.datasets.prepare(…, missing="mean")',
        verb="has",
    )


def floats(name: str, values: ArrayLike) -> Floats:
    """Return real numbers as float64; booleans, text and complex numbers are mistakes.

    Raises
    ------
    SettingError, SettingTypeError
        As for :func:`array`; values that are not real numbers.
    """
    return _as_floats(_numbers(name, values))


def _numbers(name: str, values: object) -> NDArray[Any]:
    """Return values of a type of real numbers, or none, without a copy where they have it."""
    found = array(name, values)
    if found.dtype.kind == "O":
        found = _plain(name, found)
    _refuse_inexact(name, found)
    if found.size and found.dtype.kind not in "iuf":
        such = f", such as {shown(found.flat[0])}" if found.dtype.kind == "O" else ""
        kind = f"type {shortened(str(found.dtype))}{such}"
        raise SettingTypeError(name, kind, "real numbers", "convert it", verb="has")
    return found


def _plain(name: str, objects: NDArray[Any]) -> NDArray[Any]:
    """Return numbers that are objects, as those of a table of pandas are, as numbers.

    Raises
    ------
    SettingError
        One of them is missing, or a whole number that float64 does not hold.
    """
    values = objects.ravel().tolist()
    kinds = {type(value) for value in values}
    missing = {kind for kind in kinds if kind.__name__ in {"NAType", "NaTType", "NoneType"}}
    # Not classes of somebody else's, which may be anything but numbers.
    if not kinds - missing <= {int, float, bool, Decimal} or not kinds - missing:
        return objects
    if missing:
        mask = np.array([type(value) in missing for value in values], dtype=np.bool_)
        raise _missing(name, mask.reshape(objects.shape))
    try:
        numbers = np.array([float(value) for value in values])
    except (OverflowError, ValueError):
        return objects
    for number, value in zip(numbers, values, strict=True):
        if type(value) is int and int(number) != value:
            raise _inexact(name, value)
    if kinds == {bool}:
        return numbers.astype(np.bool_).reshape(objects.shape)
    return numbers.reshape(objects.shape)


def _refuse_inexact(name: str, found: NDArray[Any]) -> None:
    """Refuse whole numbers that float64 would change."""
    if found.dtype.kind not in "iu" or found.dtype.itemsize < 8:
        return
    large = found[(found > 2**53) | ((found < -(2**53)) if found.dtype.kind == "i" else False)]
    for value in large.tolist():
        if int(float(value)) != value:
            raise _inexact(name, value)


def _inexact(name: str, value: int) -> SettingError:
    return SettingError(
        name,
        shown(value),
        f"whole numbers that float64 holds (this one would be {float(value):.0f})",
        "convert it with .astype(float) if that is meant",
        verb="has",
    )


def _as_floats(found: NDArray[Any]) -> Floats:
    if not found.size:
        return np.zeros(found.shape)
    # What only a long double holds becomes infinite, which is refused where it matters.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(found, dtype=np.float64).reshape(found.shape)


def column(name: str, values: ArrayLike) -> Floats:
    """Return a number or finite numbers of shape (runs,) as shape (runs,) or (1,).

    Raises
    ------
    SettingError, SettingTypeError
        As for :func:`floats`; another shape; values that are NaN or infinite.
    """
    found = floats(name, values)
    if found.ndim > 1:
        raise SettingError(
            name, f"shape {found.shape}", "a number or (runs,)", "give one for each run", "has"
        )
    bad = found[~np.isfinite(found)]
    if bad.size:
        raise SettingError(name, shown(bad.flat[0]), "finite numbers", "replace it")
    return np.atleast_1d(found)


def checked_network(network: object) -> Network:
    """Return the network, or raise a :class:`SettingTypeError` if it is none."""
    if type(network) is not Network:
        raise SettingTypeError(
            "network", shown(network), "a Network", "try bp.Network(1, 1, 1)"
        )
    return network


def parameters(network: Network, values: ArrayLike) -> Floats:
    """Return the weights of every run, shape (runs, parameters).

    Raises
    ------
    SettingError, SettingTypeError
        As for :func:`floats`; not one value for each parameter of the network.
    """
    count, weights = checked_network(network).parameters, _numbers("weights", values)
    given = weights.shape
    if weights.ndim == 1:
        weights = weights[np.newaxis]
    if weights.ndim != 2 or weights.shape[1] != count:
        raise SettingError(
            "weights",
            f"shape {given}",
            f"(runs, {count}) or ({count},)",
            f"give one value for each of {_named(network)}",
            verb="has",
        )
    # Its shape is known to be right: this may take as much memory again.
    return _as_floats(weights)


def rows(name: str, values: ArrayLike, columns: int) -> Floats:
    """Return inputs or targets, shape (rows, columns); True is 1 and False is 0.

    Raises
    ------
    SettingError, SettingTypeError
        As for :func:`floats`; another number of columns.
    """
    found = array(name, values)
    if found.dtype.kind == "O":
        found = _plain(name, found)
    found = _numbers(name, found.astype(np.float64) if found.dtype.kind == "b" else found)
    given = found.shape
    if columns == 1 and found.ndim < 2:
        found = found.reshape(-1, 1)
    elif found.ndim == 1:
        found = found[np.newaxis]
    if found.ndim != 2 or found.shape[1] != columns:
        each = "input" if name == "x" else "output"
        raise SettingError(
            name,
            f"shape {given}",
            f"(rows, {columns})",
            f"give one column for each {each} of the network",
            verb="has",
        )
    return _as_floats(found)


def pairs(network: Network, x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Return inputs, shape (rows, inputs), and targets, shape (rows, outputs).

    Raises
    ------
    SettingError, SettingTypeError
        As for :func:`rows`; another number of targets than of inputs.
    """
    inputs, targets = rows("x", x, network.inputs), rows("y", y, network.outputs)
    if len(inputs) != len(targets) and len(inputs):
        raise SettingError(
            "y",
            counted(len(targets), "row"),
            f"{len(inputs)}, as many rows as x",
            "give one target per row of x and output of the network",
            verb="has",
        )
    return inputs, targets


def validation_pairs(network: Network, validation: object) -> tuple[Floats, Floats] | None:
    """Return inputs and targets that are not trained on, if there are any: see :func:`pairs`.

    Raises
    ------
    SettingError, SettingTypeError
        No inputs and targets; as for :func:`pairs`, of ``validation x`` or ``validation y``.
    """
    if validation is None:
        return None
    x, y = pair("validation", validation)
    try:
        return pairs(network, x, y)
    except SettingError as error:
        raise error.renamed(f"validation {error.name}") from None


def pair(name: str, values: object) -> tuple[Any, Any]:
    """Return inputs and targets that are given together, whatever they are."""
    try:
        if isinstance(values, (tuple, list)):
            x, y = values
            return x, y
    except Exception:
        # Objects may raise anything when they are looked at.
        pass
    raise SettingTypeError(name, shown(values), "inputs and targets", "write (x, y)")


def _named(network: Network) -> str:
    """Name the parameters of a small network; the names of a large one take seconds."""
    few = network.parameters <= MOST_NAMED
    return ", ".join(network.parameter_names) if few else "its parameters"
