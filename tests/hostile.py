"""Calls of every public function with arguments that nobody should give.

`tests/test_hostile.py` makes some hundred of them. Many more are made by hand, with limits
of time and memory that a test suite must not have::

    python tests/hostile.py 1000000 [seed]
"""

from __future__ import annotations

import faulthandler
import random
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import backprop_svc as bp
from backprop_svc import datasets
from backprop_svc.errors import shown
from backprop_svc.lyapunov import ALLOWED
from backprop_svc.sweep.axes import grid
from backprop_svc.train import RECORDS

LONG = 10.0
"""Seconds after which a call of small arrays counts as hanging."""
ENOUGH = 0.05
"""Seconds after which a training that may take years is ended by its progress function."""


class Enough(Exception):  # noqa: N818
    """What ends a training that would take years."""


ERRORS = [RuntimeError, ValueError, TypeError, KeyError, OverflowError, ZeroDivisionError]
METHODS = [
    *("__repr__", "__str__", "__array__", "__float__", "__int__", "__index__", "__bool__"),
    *("__len__", "__iter__", "__getitem__", "__eq__", "__hash__", "__contains__", "__lt__"),
    *("__format__", "__array_interface__", "__array_struct__", "__array_ufunc__"),
]
BASES: list[tuple[type, Any]] = [
    *((object, ()), (int, (1,)), (float, (0.5,)), (str, ("relu",)), (list, ([1.0],))),
    *((tuple, ([1.0],)), (dict, ({"a": 1},)), (Fraction, (1, 2)), (Decimal, ("0.5",))),
]


def raising(base: tuple[type, Any], methods: list[str], error: type[Exception]) -> object:
    """Return an object of a subclass whose methods raise."""

    def fail(*_: object, **__: object) -> Any:
        raise error("hostile")

    kind, arguments = base
    return type("Hostile", (kind,), dict.fromkeys(methods, fail))(*arguments)


NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from(
        [
            sign * 2**n + d
            for sign in (1, -1)
            for n in (31, 32, 53, 62, 63, 64, 70)
            for d in (-1, 0, 1)
        ]
    ),
    st.sampled_from([0, 1, -1, True, False, None, ...]),
    # Python refuses to write the last of them.
    st.sampled_from([20, 400, 5000]).map(lambda digits: 10**digits),
    st.floats(),
    st.complex_numbers(),
    st.decimals(),
    st.fractions(),
    st.sampled_from([np.float16(1), np.float32("nan"), np.longdouble("1e4000"), np.int8(-1)]),
    st.sampled_from([np.uint64(2**64 - 1), np.bool_(True), np.datetime64("NaT"), np.str_("a")]),
)
TEXTS = st.one_of(
    st.text(max_size=9),
    st.binary(max_size=9),
    st.sampled_from(
        [
            "\ud800",
            "relu",
            "adam",
            "loss",
            "[/x]",
            "~nobody/x",
            "1e999",
            "x" * 100_000,
            "\x1b[0m",
        ]
    ),
)
OBJECTS = st.builds(
    raising,
    st.sampled_from(BASES),
    st.lists(st.sampled_from(METHODS), min_size=1, max_size=3, unique=True),
    st.sampled_from(ERRORS),
)
DTYPES = st.one_of(
    hnp.scalar_dtypes(),
    hnp.nested_dtypes(max_itemsize=64),
    st.sampled_from(
        [np.dtype(np.longdouble), np.dtype(object), np.dtype("S3"), np.dtype(">f8")]
    ),
)
LAYOUTS: list[Callable[[Any], Any]] = [
    lambda a: a,
    lambda a: a.T,
    lambda a: a[::-1] if a.ndim else a,
    lambda a: a[::2] if a.ndim else a,
    lambda a: np.asfortranarray(a),
    lambda a: np.broadcast_to(a, (2, *a.shape)),
    lambda a: np.ma.masked_array(a, mask=np.ones(a.shape, bool)),
    lambda a: np.ma.masked_array(a),
    lambda a: a.tolist(),
    lambda a: a.astype(object),
    lambda a: a[..., None][..., :0],
]


def laid_out(array: Any, layout: Callable[[Any], Any]) -> Any:
    """Return another layout of an array, where its type has one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return layout(array)
        except (TypeError, ValueError):
            return array


SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = st.one_of(
    hnp.arrays(st.sampled_from([float, np.float32, int, np.uint8, bool]), SHAPES),
    DTYPES.flatmap(
        lambda dtype: SHAPES.map(lambda shape: np.zeros(shape, dtype)),
    ),
).flatmap(lambda array: st.sampled_from(LAYOUTS).map(lambda layout: laid_out(array, layout)))
SCALARS = NUMBERS | TEXTS | OBJECTS
ANYTHING = st.one_of(
    SCALARS,
    ARRAYS,
    st.recursive(
        SCALARS,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.tuples(inner, inner),
            st.dictionaries(st.text(max_size=2), inner, max_size=2),
            st.sets(st.integers(), max_size=3),
            st.just(range(10**12)),
            st.just(iter([1.0])),
            st.just(float),
            st.just(np),
        ),
        max_leaves=6,
    ),
)

NETWORKS = [
    bp.Network(1, 1, 1),
    bp.Network(2, 3, 2, bias=True, activation="tanh"),
    bp.Network(1, 1, activation="identity", dtype="float32"),
    bp.Network(2, 2, loss="softmax_cross_entropy"),
]
FINITE = st.floats(-1e3, 1e3) | st.floats(allow_nan=False, allow_infinity=False)
TARGETS = st.floats(0, 1)
TABLE = datasets.Dataset(np.arange(8.0).reshape(4, 2), np.arange(4.0).reshape(4, 1))

Arguments = dict[str, st.SearchStrategy[Any]]


def floats(*shape: int, elements: st.SearchStrategy[float] = FINITE) -> st.SearchStrategy[Any]:
    return hnp.arrays(float, shape, elements=elements)


def data_of(network: bp.Network, rows: int) -> Arguments:
    return {
        "network": st.just(network),
        "weights": floats(3, network.parameters),
        "x": floats(rows, network.inputs),
        "y": floats(rows, network.outputs, elements=TARGETS),
    }


def training_of(network: bp.Network, rows: int) -> Arguments:
    # Histories of so many epochs fit into no address space: nothing is ever filled.
    huge = st.sampled_from([2**48, 2**62, 2**63 - 1])
    counts = st.integers(0, 9)
    # Without histories they would be trained.
    epochs = st.integers(0, 99).flatmap(lambda n: huge if n > 95 else counts)
    given = data_of(network, rows)
    return {
        **given,
        "validation": st.none() | st.tuples(given["x"], given["y"]),
        "patience": st.none() | counts | huge,
        "min_delta": st.floats(0, 1),
        "learning_rate": st.floats(1e-9, 1e9) | floats(3, elements=st.floats(1e-3, 1.0)),
        "epochs": epochs,
        "optimizer": st.sampled_from(["gradient_descent", "momentum", "nesterov", "adam"]),
        "momentum": st.floats(0, 1),
        "beta2": st.floats(0, 1),
        "epsilon": st.floats(0, 1),
        "weight_decay": st.floats(0, 1),
        "schedule": st.sampled_from(["constant", "step", "cosine"]),
        "warmup": st.just(0) | counts | huge,
        "step_epochs": st.just(3) | counts | huge,
        "step_factor": st.floats(0, 1),
        "batch_size": st.none() | st.just(2) | counts | huge,
        "batch_seed": counts,
        "precision": st.sampled_from(["exact", "fast"]),
        "stop_when_converged": st.booleans(),
        "time_limit": st.none() | st.floats(1e-9, 1e300),
        "tolerance": st.floats(0, 1),
        "divergence_bound": st.floats(0, 1e300),
        "record": st.lists(st.sampled_from(RECORDS), max_size=4),
        "record_every": counts | huge,
        "sharpness": st.booleans(),
        "smallest_eigenvalue": st.booleans(),
        "threads": st.none() | st.just(1) | counts | huge,
    }


def network_of(_: bp.Network, __: int) -> Arguments:
    huge = st.sampled_from([2**32, 2**62, 2**64])
    sizes = st.lists(st.integers(1, 5), min_size=2, max_size=4)
    return {
        "sizes": sizes | st.lists(st.integers(0, 5) | huge, max_size=4),
        "activation": st.sampled_from(["relu", "identity", "leaky_relu", "gelu"]),
        "gain": st.floats(0.1, 10) | st.floats(),
        "negative_slope": st.floats(0, 1),
        "bias": st.booleans(),
        "loss": st.sampled_from(["mse", "half_squared_error"]),
        "dtype": st.sampled_from(["float32", "float64", np.float32, float, None]),
    }


def make_network(sizes: Any, **keywords: Any) -> object:
    return bp.Network(*(sizes if type(sizes) is list else [sizes, 1]), **keywords)


def sweep_of(network: bp.Network, rows: int) -> Arguments:
    given = training_of(network, rows)
    interval = st.builds(bp.Interval, st.floats(0.1, 0.2), st.floats(0.3, 1))
    axis = interval | st.lists(st.floats(0.1, 1), min_size=1, max_size=3)
    shared = ("network", "x", "y", "optimizer", "momentum", "schedule", "precision", "record")
    return {
        **{name: given[name] for name in shared},
        "axes": st.dictionaries(st.just("lr"), axis | axis.map(bp.Zipped)),
        "init": st.sampled_from(["he", "normal"]) | st.builds(bp.Draw),
        "learning_rate": st.none() | st.floats(1e-3, 1.0),
        "validation": given["validation"],
        "patience": st.none(),
        "metric": st.none() | st.sampled_from(["loss", "rmse", "val_loss", "val_r2"]),
        "sampler": st.sampled_from(["grid", "grid", "random", "latin", "sobol"]),
        "points": st.none() | st.integers(1, 4),
        "samples": st.none() | st.integers(1, 4),
        "sampler_seed": st.integers(0, 9),
        "history": st.just("all") | st.sampled_from(["every:3", "last", "none"]),
        "data": st.just("arrays"),
        "sweep_id": st.none() | st.just("0123456789abcdef"),
        "resume": st.none(),
        "progress": st.just(False) | st.none(),
        "epochs": st.integers(0, 9),
        "threads": st.just(1),
    }


def draw_figure(outcomes: Any) -> object:
    return bp.figure(outcomes)


RESULT = bp.train(NETWORKS[0], np.ones((4, 2)), 2.0, 3.0, epochs=3)
OUTCOMES = bp.sweep(NETWORKS[0], 2.0, 3.0, {"lr": [0.1, 0.2]}, epochs=3, progress=False)


@dataclass(frozen=True)
class Function:
    """A public function, and arguments that it takes."""

    call: Callable[..., object]
    arguments: Callable[[bp.Network, int], Arguments]
    also: tuple[type[Exception], ...] = ()
    """Exceptions that its protocol asks for."""


def spaced(count: Any) -> list[Any]:
    # Hundreds of millions of values take their time and have nothing of a hang.
    if type(count) is int and 10**7 < count < 10**11:
        raise Enough
    return [bp.Interval(0, 1).spaced(count), bp.LogInterval(1, 2).spaced(count)]


def exponent_of(network: bp.Network, rows: int) -> Arguments:
    told = {n: own for n, own in training_of(network, rows).items() if n in ALLOWED}
    return {**data_of(network, rows), **told, "epochs": st.integers(0, 9)}


def exponent(**arguments: Any) -> object:
    # Nothing ends it but Ctrl-C: years of epochs have nothing of a hang.
    epochs = arguments["epochs"]
    if issubclass(type(epochs), (int, np.integer)) and epochs > 10**4:
        raise Enough
    return bp.lyapunov_exponent(**arguments)


FUNCTIONS: dict[str, Function] = {
    "train": Function(bp.train, training_of),
    "train again": Function(bp.train, training_of),
    "Network": Function(make_network, network_of),
    "gradients": Function(bp.gradients, data_of),
    "evaluate": Function(bp.evaluate, data_of),
    "sharpness": Function(bp.sharpness, data_of),
    "curvature": Function(bp.curvature, data_of),
    "lyapunov_exponent": Function(exponent, exponent_of),
    "predict": Function(
        bp.predict, lambda n, r: {k: v for k, v in data_of(n, r).items() if k != "y"}
    ),
    "accuracy": Function(
        bp.accuracy,
        lambda n, r: {
            "predictions": floats(2, r, n.outputs),
            "y": floats(r, n.outputs),
        },
    ),
    "explain": Function(
        bp.explain,
        lambda n, r: {
            "network": st.just(NETWORKS[0]) | st.just(n),
            "weights": floats(2),
            "x": FINITE,
            "y": FINITE,
            "learning_rate": st.floats(1e-9, 1e9),
        },
    ),
    "chain_rule": Function(bp.chain_rule, lambda n, r: {"x": FINITE}),
    "initial_weights": Function(
        bp.initial_weights,
        lambda n, r: {
            "network": st.just(n),
            "seed": st.integers(0, 9) | st.lists(st.integers(0, 9), min_size=2, max_size=2),
            "method": st.sampled_from(["normal", "uniform", "he", "xavier"]),
            "scale": FINITE | floats(2),
            "offset": FINITE | floats(2),
        },
    ),
    "boundary": Function(bp.boundary, lambda n, r: {"trained": hnp.arrays(bool, (r + 1, 3))}),
    "box_counting_dimension": Function(
        bp.box_counting_dimension, lambda n, r: {"cells": hnp.arrays(bool, (16, 15 + r))}
    ),
    "result": Function(
        lambda runs: repr(RESULT[runs]),
        lambda n, r: {"runs": st.integers(-4, 3)},
        (IndexError,),
    ),
    "load": Function(
        datasets.load,
        lambda n, r: {
            "path": st.just("pkg://ames.csv"),
            "x": st.just(["living_area_sqft"]),
            "y": st.just(["sale_price_usd"]),
        },
        (FileNotFoundError,),
    ),
    "prepare": Function(
        lambda **given: datasets.prepare({"a": [1, 2, 3], "b": [1, None, 2]}, "all", **given),
        lambda n, r: {
            "y": st.just(["a"]),
            "exclude": st.just("b") | st.just([]),
            "missing": st.sampled_from(["drop", "mean", None]),
            "one_hot": st.booleans() | st.none(),
            "x_scale": st.just("max"),
            "validation": st.floats(0, 0.5),
        },
    ),
    "Reading": Function(
        datasets.Reading,
        lambda n, r: {
            "delimiter": st.sampled_from([";", "tab", None]),
            "encoding": st.none() | st.just("latin-1"),
            "header": st.booleans() | st.integers(1, 3),
            "missing_values": st.none() | st.just([-9, "?"]),
            "dates": st.just("a") | st.just(["b"]),
        },
    ),
    "one_hot": Function(datasets.one_hot, lambda n, r: {"labels": floats(r, 1)}),
    "split": Function(
        lambda **given: datasets.split(TABLE, **given),
        lambda n, r: {"fraction": st.floats(0, 1), "seed": st.integers(0, 9)},
    ),
    "scaled": Function(
        lambda **given: datasets.scaled(TABLE, **given),
        lambda n, r: {"x_scale": st.just("max"), "y_scale": st.just("standard")},
    ),
    "to_pandas": Function(
        lambda runs: RESULT[runs].to_pandas(),
        lambda n, r: {"runs": st.integers(-4, 3)},
        (IndexError,),
    ),
    "sweep": Function(bp.sweep, sweep_of),
    "figure": Function(draw_figure, lambda n, r: {"outcomes": st.just(OUTCOMES)}),
    "best": Function(OUTCOMES.best, lambda n, r: {"count": st.integers(0, 9)}),
    "column": Function(
        lambda name: OUTCOMES[name],
        lambda n, r: {"name": st.sampled_from(["lr", "loss", "outcome", "epochs"])},
    ),
    "axis": Function(
        lambda values: grid({"lr": bp.Zipped(values), "w1": values}),
        lambda n, r: {"values": st.lists(FINITE, min_size=1, max_size=3)},
    ),
    "Draw": Function(
        bp.Draw,
        lambda n, r: {
            "method": st.just("he"),
            "seed": st.integers(0, 9),
            "scale": FINITE,
            "offset": FINITE,
        },
    ),
    "spaced": Function(
        spaced,
        lambda n, r: {"count": st.integers(1, 9)},
    ),
    "Interval": Function(bp.Interval, lambda n, r: {"low": st.just(0), "high": FINITE}),
    "LogInterval": Function(bp.LogInterval, lambda n, r: {"low": FINITE, "high": FINITE}),
    "shown": Function(shown, lambda n, r: {"value": ANYTHING}),
}


@dataclass(frozen=True)
class Call:
    """One call, which may be refused, but only in the documented ways."""

    function: str
    arguments: dict[str, Any]

    def check(self) -> bool:
        """Make it, and raise an ``AssertionError`` if it does what no caller expects.

        Return whether it was not refused.
        """
        begin, worked = time.monotonic(), time.process_time()
        arguments = dict(self.arguments)
        if self.function.startswith("train"):

            def progress(*_: int) -> None:
                if time.monotonic() - begin > ENOUGH:
                    raise Enough

            arguments["progress"] = progress
        if self.function == "sweep":
            # Its progress function is asked after a chunk: a run may take years.
            arguments["time_limit"] = ENOUGH
        function = FUNCTIONS[self.function]
        accepted = False
        try:
            function.call(**arguments)
            accepted = True
        except (KeyboardInterrupt, MemoryError, Enough):
            pass
        # A panic of Rust is no Exception.
        except BaseException as error:
            fault = _fault(error, function)
            if fault:
                raise AssertionError(f"{self}\n{fault}") from error
        # Not by the clock: other programs may be busy too.
        taken = time.process_time() - worked
        if taken > LONG:
            raise AssertionError(f"{self}\nit took {taken:.1f} s")
        return accepted

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={shown(value)}" for name, value in self.arguments.items())
        return f"{self.function}: {given}"


def _fault(error: BaseException, function: Function) -> str:
    """Return what is wrong with an error; nothing if it is one that callers expect."""
    if not isinstance(error, (bp.SettingError, *function.also)):
        return f"{type(error).__name__} is documented nowhere: {error}"
    text = str(error)
    if "allowed: " not in text and not isinstance(error, OSError):
        return f"the message does not say what is allowed: {text}"
    return f"the message has {len(text)} characters: {text}" if len(text) > 1000 else ""


@st.composite
def calls(
    draw: st.DrawFn, functions: tuple[str, ...] = tuple(FUNCTIONS), most_hostile: int = 2
) -> Call:
    """Draw a call of which some arguments are hostile."""
    name = draw(st.sampled_from(functions))
    network = draw(st.sampled_from(NETWORKS))
    strategies = FUNCTIONS[name].arguments(network, draw(st.integers(1, 3)))
    names = st.sampled_from(sorted(strategies))
    hostile = draw(st.lists(names, max_size=most_hostile, unique=True))
    return Call(
        name,
        {key: draw(ANYTHING if key in hostile else own) for key, own in strategies.items()},
    )


T = TypeVar("T")


def drawn(strategy: st.SearchStrategy[T], count: int, number: int) -> list[T]:
    """Draw some values; the same for the same number."""
    found: list[T] = []
    quick = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seed(number)(quick(given(strategy)(lambda value: found.append(value))))()
    return found


def systematic(name: str) -> Iterator[Call]:
    """Make calls with one hostile argument: each argument, with objects of each kind.

    Chance draws the right object for the right argument too seldom.
    """
    objects = [raising(base, [method], RuntimeError) for base in BASES for method in METHODS]
    values = [*objects, *([each] for each in objects), 10**5000, (10**5000,), [-(10**5000)]]
    for call in drawn(calls((name,), 0), 2, 0):
        for argument in call.arguments:
            for value in values:
                yield Call(name, {**call.arguments, argument: value})


def main() -> int:
    """Make as many calls as the command line says; return how many of them failed."""
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    # What would not fit is refused, instead of ending this machine.
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    warnings.simplefilter("error")
    counts, faults, begin = dict.fromkeys(FUNCTIONS, 0), 0, time.monotonic()
    while sum(counts.values()) < total:
        # Drawing takes longer than calling: what is drawn is put together in many ways.
        number += 1
        anything = drawn(ANYTHING, 2000, number)
        usual = {name: drawn(calls((name,), 0), 100, number) for name in FUNCTIONS}
        choice = random.Random(number)
        for _ in range(min(total - sum(counts.values()), 100_000)):
            name = choice.choice(list(FUNCTIONS))
            call = choice.choice(usual[name])
            hostile = choice.sample(sorted(call.arguments), min(len(call.arguments), 2))
            changed = {key: choice.choice(anything) for key in hostile[: choice.randint(0, 2)]}
            faulthandler.dump_traceback_later(30 * LONG, exit=True)
            try:
                Call(name, {**call.arguments, **changed}).check()
            except AssertionError as error:
                faults += 1
                print(f"seed {number}: {error}", flush=True)
            counts[name] += 1
        faulthandler.cancel_dump_traceback_later()
        done, seconds = sum(counts.values()), time.monotonic() - begin
        print(f"{done:,} calls in {seconds:.0f} s, {faults} failed", flush=True)
    for name, count in counts.items():
        print(f"{count:>9,} {name}")
    return faults


if __name__ == "__main__":
    raise SystemExit(min(1, main()))
