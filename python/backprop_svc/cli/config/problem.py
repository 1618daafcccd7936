"""From configuration to arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from omegaconf import OmegaConf

from backprop_svc import Network, datasets, initial_weights
from backprop_svc.arrays import Floats
from backprop_svc.cli.config.schema import DataConfig, InitConfig, NetworkConfig
from backprop_svc.cli.terminal.errors import named
from backprop_svc.errors import SettingError, counted, shown
from backprop_svc.evaluate import classifies

if TYPE_CHECKING:
    from backprop_svc.tracking import TrackedRun


class Problem(NamedTuple):
    """What a run trains, and on what."""

    network: Network
    data: datasets.Dataset
    """The rows to train on."""
    validation: datasets.Dataset | None
    weights: list[float]
    preparation: datasets.Preparation
    """What was done to the columns of the data."""
    notes: tuple[str, ...]
    """What was done to them unasked, a line for each."""


def problem(
    network: NetworkConfig, data: DataConfig, init: InitConfig, run: TrackedRun | None = None
) -> Problem:
    """Build the arrays, and check that they fit together.

    ``run`` is the run that goes on, if one does.

    Raises
    ------
    SettingError, FileNotFoundError
        A setting cannot be used, or does not fit another one.
    """
    done = None if run is None else run.preparation
    rows = _prepared(data, network) if done is None else _prepared_again(data, done)
    sizes = _sizes(network, rows.train)
    with named("network", NetworkConfig):
        shape = Network(
            *sizes,
            activation=network.activation,
            output=network.output,
            gain=network.gain,
            negative_slope=network.negative_slope,
            bias=network.bias,
            loss=network.loss,
            dtype=network.dtype,
        )
    for name, values, size in (
        ("x", rows.train.x, shape.inputs),
        ("y", rows.train.y, shape.outputs),
    ):
        if values.shape[1] != size:
            if name == "y" and shape.loss == "softmax_cross_entropy":
                fix = "turn classes into columns with data.one_hot=true"
            else:
                fitting = _shown(_fitting(rows.train, sizes))
                fix = f"try network.sizes={fitting} init=random"
            raise SettingError(
                f"data.{name}",
                counted(values.shape[1], "column"),
                f"{size}, one for each neuron of that layer in network.sizes={_shown(sizes)}",
                fix,
                verb="has",
            )
    if run is not None and run.weights is not None:
        if shape != run.network:
            raise SettingError(
                "network", f"{shape}", f"{run.network}, which the run {run.run_id} has",
                "leave settings of the network out",
            )  # fmt: skip
        return Problem(
            shape, rows.train, rows.validation, run.weights.tolist(), rows.preparation,
            rows.notes,
        )  # fmt: skip
    weights = _weights(shape, init)
    if len(weights) != shape.parameters:
        linear = "init=linear, " if shape.parameters == 1 else ""
        raise SettingError(
            "init",
            counted(len(weights), "weight"),
            f"{shape.parameters}, one for each parameter of network.sizes={_shown(sizes)}",
            f"use {linear}init=random or init=weights init.weights=[…]",
            verb="gives",
        )
    notes = (*rows.notes, *_note_on_classes(shape, rows.preparation))
    return Problem(shape, rows.train, rows.validation, weights, rows.preparation, notes)


def _note_on_classes(network: Network, done: datasets.Preparation | None) -> Iterator[str]:
    """Say which loss makes probabilities of several outputs that are classes."""
    classes = None if done is None else done.classes
    if classes is not None and network.outputs > 1 and not classifies(network):
        yield (
            f"the outputs are {len(classes)} classes; network.loss=softmax_cross_entropy makes "
            "probabilities of them, and tells the accuracy"
        )


def draw_by_default(network: NetworkConfig, init: InitConfig) -> None:
    """Draw initial weights where only hidden layers are told, and no list of weights is."""
    told = (init.run, init.method, init.weights) != (None, None, None)
    if network.hidden is not None and not told:
        init.method, init.w1, init.w2 = "he", None, None


def layers(network: NetworkConfig) -> int:
    """Return the number of layers of weights."""
    return len(network.sizes) - 1 if network.hidden is None else len(network.hidden) + 1


def shown_unit(data: DataConfig) -> tuple[str, float]:
    """Return the unit to show predictions in, and what to multiply them by."""
    scale = _plain(data.y_scale)
    if isinstance(scale, (int, float)):
        return data.unit, data.unit_factor * scale
    # Where the scale comes from the data, predictions have no unit.
    return "", 1.0


def _fitting(rows: datasets.Dataset, sizes: Sequence[int]) -> list[int]:
    """Return sizes with an input and an output for each column."""
    return [rows.x.shape[1], *sizes[1:-1], rows.y.shape[1]]


def _shown(sizes: Sequence[int]) -> str:
    """Return a value as it is written on the command line."""
    return f"[{','.join(map(str, sizes))}]"


def _weights(network: Network, init: InitConfig) -> list[float]:
    if init.method is not None:
        if init.w1 is not None or init.w2 is not None or init.weights is not None:
            raise SettingError(
                "init.method",
                f"{init.method!r}, and init gives weights too",
                "one of them",
                "write init=random and leave the weights out, or leave the method out",
            )
        with named("init", InitConfig):
            drawn = initial_weights(
                network, init.seed, init.method, scale=init.scale, offset=init.offset
            )
        return [float(weight) for weight in drawn[0]]
    given = {"init.w1": init.w1, "init.w2": init.w2}
    given |= {f"init.weights[{i}]": weight for i, weight in enumerate(init.weights or [])}
    for name, weight in given.items():
        if weight is not None and not math.isfinite(weight):
            raise SettingError(name, shown(weight), "finite numbers", "correct it")
    if init.weights is not None:
        if init.w1 is not None or init.w2 is not None:
            raise SettingError(
                "init",
                "both weights and w1 or w2",
                "one of them",
                "write init=weights init.weights=[…], and leave init.w1 and init.w2 out",
                verb="gives",
            )
        return list(init.weights)
    if init.w1 is None and init.w2 is not None:
        raise SettingError(
            "init.w2", f"{init.w2} without init.w1", "w1, or both", "set init.w1"
        )
    return [weight for weight in (init.w1, init.w2) if weight is not None]


def _sizes(network: NetworkConfig, rows: datasets.Dataset) -> list[int]:
    """Return the sizes that are told, or hidden layers between inputs and outputs."""
    if network.hidden is None:
        return list(network.sizes)
    for size in network.hidden:
        if size < 1:
            raise SettingError(
                "network.hidden", _shown(network.hidden), "whole numbers from 1",
                "try network.hidden=[16,8]",
            )  # fmt: skip
    return [rows.x.shape[1], *network.hidden, rows.y.shape[1]]


def _prepared(data: DataConfig, network: NetworkConfig) -> datasets.Prepared:
    """Read, split, then scale: the rows to train on, and those of validation, if any."""
    if data.path is None:
        encoded = _arrays(data)
    else:
        one_output = network.hidden is None and list(network.sizes)[-1:] == [1]
        reading = _reading(data)
        encoded = datasets.encode(
            datasets.read(data.path, reading),
            "all" if data.x == "all" else _names("x", data.x),
            _names("y", data.y),
            exclude=_plain(data.exclude),
            missing=data.missing,
            one_hot=data.one_hot,
            one_output=one_output or network.loss == "binary_cross_entropy",
            reading=reading,
        )
    return datasets.finish(
        encoded,
        x_scale=_plain(data.x_scale),
        y_scale=_plain(data.y_scale),
        **_aside(data),
    )


def _prepared_again(data: DataConfig, done: datasets.Preparation) -> datasets.Prepared:
    """Put rows through what was done to those of an earlier training."""
    if data.path is None:
        encoded = datasets.same_columns(_arrays(data), done)
    else:
        encoded = datasets.encode_again(datasets.read(data.path, done.reading), done)
    return datasets.finish_again(encoded, **_aside(data))


def _aside(data: DataConfig) -> dict[str, Any]:
    """Return the settings that say which rows are set aside."""
    return {
        "validation": data.validation,
        "validation_seed": data.validation_seed,
        "folds": data.folds,
        "fold": data.fold,
    }


def _arrays(data: DataConfig) -> datasets.Encoded:
    x, y = _values("x", data.x), _values("y", data.y)
    return datasets.of_arrays(x, y, one_hot=data.one_hot)


def _reading(data: DataConfig) -> datasets.Reading:
    """Return what is told of the table."""
    names = [each.name for each in fields(datasets.Reading)]
    return datasets.Reading(**{name: _plain(getattr(data, name)) for name in names})


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _names(name: str, value: Any) -> list[str]:
    value = _plain(value)
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(column, str) for column in names):
        raise SettingError(
            f"data.{name}",
            shown(value),
            "with data.path names of columns",
            "write data=csv data.path=… data.x=[area] data.y=price, say",
        )
    return names


def _values(name: str, value: Any) -> Floats:
    value = _plain(value)
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if not array.size or array.ndim > 2:
        raise SettingError(
            f"data.{name}",
            shown(value),
            "without data.path a number, a list of rows, or a list of lists",
            f"such as data.{name}=[1,2,3]",
        )
    return array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
