"""A trained network as MLflow loads and serves it: it needs NumPy, pandas and MLflow alone.

MLflow keeps this file with the model and runs it. Nothing is pickled: the weights are arrays in
``weights.npz``, all else is JSON in ``model.json``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel  # type: ignore[attr-defined]
from numpy.typing import NDArray

Array = NDArray[np.float64]
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
    """Return ŷ of each row, shape (rows, outputs)."""
    sizes, start, layers = network["sizes"], 0, len(network["sizes"]) - 1
    for layer in range(layers):
        inputs, outputs = sizes[layer], sizes[layer + 1]
        matrix = weights[start : start + inputs * outputs].reshape(outputs, inputs)
        start += inputs * outputs
        z = x @ matrix.T
        if network["bias"]:
            z = z + weights[start : start + outputs]
            start += outputs
        if layer < layers - 1:
            x = activate(network["activation"], network["gain"] * z, network["negative_slope"])
    loss = network["loss"]
    if loss == "binary_cross_entropy":
        return sigmoid(z)
    if loss == "softmax_cross_entropy":
        parts = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(parts / parts.sum(axis=1, keepdims=True))
    return activate(network["output"], z, network["negative_slope"])


def encode(column: dict[str, Any], values: pd.Series[Any]) -> Array:
    """Return a column as numbers, shape (rows, its names); NaN where a value is missing."""
    name, missing = column["name"], values.isna().to_numpy()
    if column["kind"] == "category":
        texts = values.astype(str).str.strip().to_numpy()
        missing = missing | (texts == "")
        known = list(column["categories"])
        for text in texts[~missing]:
            if text not in known:
                raise ValueError(f"{name!r} is {text!r}; allowed: {', '.join(known)}")
        found = np.array([[float(text == one) for one in known] for text in texts])
        found = found.reshape(len(texts), len(known))
        found[missing] = np.nan
        return found
    if column["kind"] == "date":
        days = pd.to_datetime(values) - pd.Timestamp(0)
        numbers = days / pd.Timedelta(days=1)
    else:
        numbers = pd.to_numeric(values)
    return np.asarray(numbers.to_numpy(na_value=np.nan), dtype=np.float64).reshape(-1, 1)


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
        self, context: Any, model_input: Any, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return one row for each row of the input, a DataFrame or an array of numbers."""
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
            names = [column["name"] for column in told["inputs"]]
            absent = [name for name in names if name not in rows]
            if absent:
                raise ValueError(f"the columns {absent} are missing; allowed: {names}")
            blocks = [encode(column, rows[column["name"]]) for column in told["inputs"]]
            x = np.concatenate(blocks, axis=1)
            if told["fill"] is not None:
                x = np.where(np.isnan(x), np.array(told["fill"]), x)
            elif np.isnan(x).any():
                raise ValueError("values are missing, which the training had none of")
        if told is None:
            return x
        return np.asarray((x - np.array(told["x_shift"])) / np.array(told["x_divisor"]))


set_model(TrainedNetwork())
