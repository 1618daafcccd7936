"""A trained network as MLflow loads and serves it: it needs NumPy, pandas and MLflow alone.

MLflow keeps this file with the model and runs it. Nothing is pickled: the weights are arrays in
``weights.npz``, all else is JSON in ``model.json``.
"""

from __future__ import annotations

import datetime
import json
import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel  # type: ignore[attr-defined]
from numpy.typing import NDArray

Array = NDArray[np.float64]
NUMBERS = (int, float, np.integer, np.floating, Decimal)
PLAIN = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
SEPARATORS = {" ": "[ \u00a0\u202f]", "'": "['’]"}
EXACT = "whole numbers that float64 holds, such as those up to 2^53"
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def sigmoid(z: Array) -> Array:
    """1 / (1 + e^−z), whose tails keep their digits."""
    small = np.exp(-np.abs(z))
    found: Array = np.where(z >= 0, 1.0, small) / (1.0 + small)
    return found


def activate(name: str, z: Array, negative_slope: float) -> Array:
    """Return φ(z)."""
    if name == "identity":
        return z
    if name == "relu":
        return np.asarray(np.where(z > 0, z, 0.0))
    if name == "leaky_relu":
        return np.asarray(np.where(z > 0, z, negative_slope * z))
    if name == "tanh":
        return np.tanh(z)
    if name == "sigmoid":
        return sigmoid(z)
    if name == "gelu":
        return np.asarray(0.5 * z * _erfc(-z / math.sqrt(2.0)))
    if name == "softplus":
        return np.asarray(np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z))))
    raise ValueError(f"this model has the activation {name!r}, which its code does not know")


def forward(network: dict[str, Any], weights: Array, x: Array) -> Array:
    """Return ŷ of each row, shape (rows, outputs).

    Numbers are kept as the kernel keeps them: those of float32 networks are rounded after each
    layer. Sums may be added up in another order, so that results differ in their last digits:
    by about 1e-15 of float64, and 1e-6 of float32.
    """
    dtype = np.dtype(network["dtype"])
    weights, x = weights.astype(dtype), x.astype(dtype)
    sizes, start, layers = network["sizes"], 0, len(network["sizes"]) - 1
    for layer in range(layers):
        inputs, outputs = sizes[layer], sizes[layer + 1]
        matrix = weights[start : start + inputs * outputs].reshape(outputs, inputs)
        start += inputs * outputs
        z = x @ matrix.T
        if network["bias"]:
            z = z + weights[start : start + outputs]
            start += outputs
        z = z.astype(np.float64)
        if layer < layers - 1:
            own = activate(
                network["activation"], network["gain"] * z, network["negative_slope"]
            )
            x = own.astype(dtype)
    return finish(network, z).astype(dtype).astype(np.float64)


def finish(network: dict[str, Any], z: Array) -> Array:
    """Return ŷ of the sums of the last layer."""
    loss = network["loss"]
    if loss == "binary_cross_entropy":
        return sigmoid(z)
    if loss == "softmax_cross_entropy":
        parts = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(parts / parts.sum(axis=1, keepdims=True))
    return activate(network["output"], z, network["negative_slope"])


def read_numbers(texts: list[str], reading: dict[str, Any]) -> tuple[Array, NDArray[np.bool_]]:
    """Return what trimmed texts are, NaN where they are no number, and where they are."""
    thousands = reading["thousands"]
    decimal = reading["decimal"] or ("," if thousands == "." else ".")
    sign = None if thousands is None else SEPARATORS.get(thousands, re.escape(thousands))
    rest = rf"(?:{re.escape(decimal)}\d*)?"
    grouped = re.compile(rf"[+-]?\d{{1,3}}(?:{sign}\d{{2,3}})*{sign}\d{{3}}{rest}")
    plain = re.compile(PLAIN.replace(r"\.", re.escape(decimal)))
    values, good = np.full(len(texts), np.nan), np.zeros(len(texts), dtype=np.bool_)
    for row, text in enumerate(texts):
        text = text.replace("\u2212", "-")
        if sign is not None and grouped.fullmatch(text):
            text = re.sub(sign, "", text)
        if plain.fullmatch(text):
            values[row], good[row] = float(text.replace(decimal, ".")), True
    return values, good


def plain_values(values: pd.Series[Any]) -> pd.Series[Any] | list[str]:
    """Return numbers, truths or times as they are, all else as trimmed texts."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.dtype.categories.dtype)
    if values.dtype.kind in "biufM":
        return values
    there = values[values.notna()]
    kinds = {type(value) for value in there}
    if all(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return values.astype("boolean")
    is_number = [issubclass(kind, NUMBERS) and kind not in (bool, np.bool_) for kind in kinds]
    if all(is_number):
        return values.astype(float) if values.isna().any() else pd.Series(values.to_list())
    if all(issubclass(kind, datetime.date) for kind in kinds):
        return pd.to_datetime(values)
    return ["" if pd.isna(value) else text_of(value) for value in values]


def text_of(value: Any) -> str:
    """Return a value as text without blanks around it."""
    return (value.decode() if isinstance(value, bytes) else str(value)).strip()


def refuse(name: str, bad: NDArray[np.bool_], cells: Any, allowed: str) -> None:
    """Raise an error that names the first bad cell, if there is one."""
    for row in np.flatnonzero(bad)[:1]:
        shown = cells[row] if isinstance(cells, list) else cells.iloc[row]
        raise ValueError(f"{name!r} is {shown!r} in row {row + 1}; allowed: {allowed}")


def is_in(cells: list[str], texts: list[str]) -> NDArray[np.bool_]:
    """Tell which cells are one of the texts."""
    return np.array([cell in texts for cell in cells], dtype=np.bool_)


def indicators(
    column: dict[str, Any], values: pd.Series[Any], reading: dict[str, Any]
) -> Array:
    """Return a column for each category, shape (rows, categories)."""
    plain, known = plain_values(values), column["categories"]
    if isinstance(plain, list):
        cells = plain
    elif plain.dtype.kind == "M":
        raise ValueError(f"{column['name']!r} has times; allowed: {', '.join(known)}")
    else:
        cells = ["" if pd.isna(value) else short(value) for value in plain]
    missing = is_in(cells, ["", *reading["missing_texts"]])
    refuse(column["name"], ~is_in(cells, known) & ~missing, cells, ", ".join(known))
    found = np.array([[float(cell == one) for one in known] for cell in cells])
    found = found.reshape(len(cells), len(known))
    found[missing] = np.nan
    return found


def short(value: Any) -> str:
    """Write a value as the training has written those of categories: 1.0 is 1."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    return repr(float(value)).removesuffix(".0")


def days(name: str, values: pd.Series[Any], reading: dict[str, Any]) -> Array:
    """Return dates as days since 1970-01-01, shape (rows,)."""
    plain, written = plain_values(values), reading["date_format"] or "ISO8601"
    if not isinstance(plain, list):
        if plain.isna().all():
            return np.full(len(plain), np.nan)
        if plain.dtype.kind == "M":
            return since_1970(plain)
        refuse(name, np.full(len(plain), plain.dtype.kind not in "iu"), plain, "dates")
        plain = ["" if pd.isna(value) else str(value) for value in plain]
    missing = is_in(plain, ["", *reading["missing_texts"], *reading["missing_numbers"]])
    dates = pd.Series(plain, dtype=object).where(~missing, None)
    read = pd.to_datetime(dates, format=written, errors="coerce", utc=True)
    refuse(name, read.isna().to_numpy() & ~missing, plain, f"dates as {written} has them")
    return since_1970(read)


def since_1970(times: pd.Series[Any]) -> Array:
    """Return times as days."""
    naive = times.dt.tz_convert(None) if times.dt.tz is not None else times
    found = naive.to_numpy().astype("datetime64[us]")
    return np.where(np.isnat(found), np.nan, found.astype(np.int64) / 86_400e6)


def numbers(name: str, values: pd.Series[Any], reading: dict[str, Any]) -> Array:
    """Return numbers, shape (rows,)."""
    plain, told = plain_values(values), reading["missing_values"] is not None
    if not isinstance(plain, list):
        refuse(name, np.full(len(plain), plain.dtype.kind == "M"), plain, "numbers")
        found = np.array(plain.to_numpy(dtype=np.float64, na_value=np.nan))
        refuse(name, np.isinf(found), plain, "finite numbers")
        if plain.dtype.kind in "iu":
            refuse(name, inexact(found, plain), plain, EXACT)
        marks, good = read_numbers(reading["missing_texts"] if told else [], reading)
        found[np.isin(found, marks[good])] = np.nan
        return found
    found, good = read_numbers(plain, reading)
    missing = is_in(plain, ["", *reading["missing_texts"], *reading["missing_numbers"]])
    if not told:
        missing &= ~good
    lower = [cell.lower() for cell in plain]
    if not missing.all() and (is_in(lower, ["true", "false"]) | missing).all():
        return np.where(missing, np.nan, is_in(lower, ["true"]))
    refuse(name, ~good & ~missing, plain, "numbers")
    refuse(name, np.isinf(found) & ~missing, plain, "numbers that float64 holds")
    digits = [cell.replace("\u2212", "-") for cell in plain]
    whole = np.array([cell.lstrip("+-").isdecimal() for cell in digits], dtype=np.bool_)
    whole &= ~missing
    refuse(name, whole & inexact(found, digits), plain, EXACT)
    found[missing] = np.nan
    return found


def inexact(found: Array, cells: Any) -> NDArray[np.bool_]:
    """Tell which whole numbers float64 does not hold."""
    bad = np.zeros(len(found), dtype=np.bool_)
    large = np.isfinite(found) & (np.abs(found) >= 2.0**53)
    for row in np.flatnonzero(large):
        cell = cells[row] if isinstance(cells, list) else cells.iloc[row]
        text = str(cell)
        bad[row] = text.lstrip("+-").isdecimal() and int(text) != int(found[row])
    return bad


def encode(column: dict[str, Any], values: pd.Series[Any], reading: dict[str, Any]) -> Array:
    """Return a column as numbers, shape (rows, its names); NaN where a value is missing."""
    if column["kind"] == "category":
        return indicators(column, values, reading)
    read = days if column["kind"] == "date" else numbers
    return read(column["name"], values, reading).reshape(-1, 1)


class TrainedNetwork(PythonModel):
    """Predicts the target in its unit, or a class and the probability of each class."""

    def load_context(self, context: Any) -> None:
        """Read the weights, and what was done to the columns of the data."""
        folder = Path(context.artifacts["network"])
        told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.network, self.preparation = told["network"], told["preparation"]
        with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
            self.weights: Array = arrays["weights"]

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return one row for each row of the input, a DataFrame or an array of numbers.

        MLflow asks for the type hint, and accepts this one without checking it.
        """
        outputs = forward(self.network, self.weights, self._inputs(model_input))
        told = self.preparation
        if told is None:
            return pd.DataFrame(outputs, columns=[f"y{i + 1}" for i in range(outputs.shape[1])])
        targets = told["targets"]
        if targets[0]["kind"] != "category" or len(targets) > 1:
            values = outputs * np.array(told["y_divisor"]) + np.array(told["y_shift"])
            return pd.DataFrame(values, columns=[target["name"] for target in targets])
        if told["one_output"]:
            outputs = np.hstack([1 - outputs, outputs])
        classes = np.array(targets[0]["categories"])
        found = pd.DataFrame({targets[0]["name"]: classes[outputs.argmax(axis=1)]})
        if self.network["loss"].endswith("_cross_entropy"):
            for place, name in enumerate(classes):
                found[f"p({name})"] = outputs[:, place]
        return found

    def _inputs(self, rows: Any) -> Array:
        told = self.preparation
        if not isinstance(rows, pd.DataFrame) or told is None:
            x = np.asarray(rows, dtype=np.float64).reshape(-1, self.network["sizes"][0])
        else:
            rows = rows.set_axis([str(name) for name in rows.columns], axis=1)
            names = [column["name"] for column in told["inputs"]]
            absent = [name for name in names if list(rows.columns).count(name) != 1]
            if absent:
                raise ValueError(f"the columns {absent} are not there once; allowed: {names}")
            blocks = [
                encode(column, rows[column["name"]], told["reading"])
                for column in told["inputs"]
            ]
            x = np.concatenate(blocks, axis=1)
            if told["fill"] is not None:
                x = np.where(np.isnan(x), np.array(told["fill"]), x)
            elif np.isnan(x).any():
                raise ValueError("values are missing, which the training had none of")
        if told is None:
            return x
        return np.asarray((x - np.array(told["x_shift"])) / np.array(told["x_divisor"]))


set_model(TrainedNetwork())
