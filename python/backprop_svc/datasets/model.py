"""A trained network with all that new rows need: its weights, and what was done to the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backprop_svc._core import Network
from backprop_svc.arrays import Floats
from backprop_svc.arrays import rows as table_rows
from backprop_svc.datasets.preparation import Preparation
from backprop_svc.datasets.source import read
from backprop_svc.evaluate import classifies, predict


@dataclass(frozen=True, eq=False)
class Model:
    """Predicts for rows of a table as they are, in the unit of the target."""

    network: Network
    weights: Floats
    """Shape (parameters,)."""
    preparation: Preparation | None = None
    """What was done to the columns in training; nothing by default."""

    def predict(self, rows: Any) -> dict[str, NDArray[Any]]:
        """Return predictions for new rows, column by column, each of shape (rows,).

        Parameters
        ----------
        rows
            A table with the columns of the training, by their names, in any order: a file, a
            DataFrame, a table of Arrow, or arrays in a dictionary. Or an array of shape (rows,
            inputs), of numbers that are not scaled.

        Returns
        -------
        The targets by their names. Where the target is a class: the class, and the
        probability of each class, ``p(class)``, if the loss makes probabilities of its
        outputs.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        SettingError
            A column is missing; a cell is of another kind than in training, of a category that
            was not trained on, or missing where missing values are not filled.
        """
        preparation = self.preparation
        outputs = predict(self.network, self.weights, self._inputs(rows))[0]
        if preparation is None:
            return _columns([f"y{place}" for place in range(1, outputs.shape[1] + 1)], outputs)
        names = [column.name for column in preparation.targets]
        classes = preparation.classes
        if classes is None:
            return _columns(names, preparation.in_units(outputs))
        if preparation.one_output:
            # The output is about the second class.
            outputs = np.hstack([1 - outputs, outputs])
        found: dict[str, NDArray[Any]] = {
            names[0]: np.array(classes)[np.argmax(outputs, axis=1)]
        }
        if classifies(self.network):
            found |= _columns([f"p({name})" for name in classes], outputs)
        return found

    def _inputs(self, rows: Any) -> Any:
        is_array = isinstance(rows, (np.ndarray, list, tuple, int, float))
        if self.preparation is None or is_array:
            x = table_rows("x", rows, self.network.inputs)
            return x if self.preparation is None else self.preparation.scaled_inputs(x)
        return self.preparation.apply_inputs(read(rows, self.preparation.reading))


def _columns(names: list[str], values: Floats) -> dict[str, NDArray[Any]]:
    return dict(zip(names, values.T, strict=True))
