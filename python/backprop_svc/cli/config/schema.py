"""Types of every setting; the files in ``conf/`` fill them."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Optional,
    Union,
    get_args,
    get_origin,
)

from backprop_svc.sweep.axes import OF_LAYERS
from backprop_svc.train import SETTINGS, SHARED

# OmegaConf reads these annotations at run time, on Python 3.10 too.
# ruff: noqa: UP045

MISSING: Any = "???"
"""OmegaConf's word for a value that has to be given."""


@dataclass
class NetworkConfig:
    """Shape of the network."""

    sizes: list[int] = MISSING
    # Neurons of the hidden layers; inputs and outputs are then as many as the data have.
    hidden: Optional[list[int]] = None
    activation: str = "relu"
    # Of the outputs: ŷ = φ(z). A cross-entropy has its own.
    output: str = "identity"
    gain: float = 1.0
    negative_slope: float = 0.01
    bias: bool = False
    loss: str = "half_squared_error"
    dtype: str = "float64"


@dataclass
class DataConfig:
    """Values of x and y, or with a path the names of their columns."""

    path: Optional[str] = MISSING
    x: Any = MISSING
    y: Any = MISSING
    x_scale: Any = 1
    y_scale: Any = 1
    # One output for each class; by default labels that are texts become classes.
    one_hot: Optional[bool] = None
    # Columns that x leaves out, and what becomes of rows with missing values: drop or mean.
    exclude: Any = field(default_factory=list)
    missing: Optional[str] = None
    # What is told of the table: see :class:`backprop_svc.datasets.Reading`.
    delimiter: Optional[str] = None
    quote: Optional[str] = None
    encoding: Optional[str] = None
    header: Any = None
    decimal: Optional[str] = None
    thousands: Optional[str] = None
    affixes: str = "keep"
    missing_values: Any = None
    dates: Any = field(default_factory=list)
    date_format: Optional[str] = None
    categories: Any = field(default_factory=list)
    # The fraction of rows to validate with. They are drawn by the seed, are never trained on,
    # and do not affect the scales.
    validation: float = 0.0
    validation_seed: int = 0
    # Instead of a fraction: in how many folds the rows are cut, and which one validates.
    folds: Optional[int] = None
    fold: Optional[int] = None
    # The unit of y before scaling: terminal and picture show y × unit_factor in this unit.
    unit: str = ""
    unit_factor: float = 1.0


def _annotation(kind: Any) -> str:
    """Write a type of :func:`backprop_svc.train` as one that OmegaConf knows."""
    one_of = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    (plain,) = (each for each in one_of if each is not NoneType)
    if get_origin(plain) is Annotated:
        plain = get_args(plain)[0]
    name = "str" if get_origin(plain) is Literal else plain.__name__
    return f"Optional[{name}]" if NoneType in one_of else str(name)


_RATES = [(name.removeprefix("train."), "Optional[float]", None) for name in OF_LAYERS]

if TYPE_CHECKING:

    @dataclass
    class TrainConfig:
        """How gradients become new weights, and for how many epochs."""

        lr: float = 0.1

        def __getattr__(self, name: str) -> Any: ...

else:
    TrainConfig = make_dataclass(
        "TrainConfig",
        [
            ("lr", "float", 0.1),
            # The learning rates of the first layer, the second and so on, where they differ:
            # most networks have two, and those of others come last.
            *_RATES[:2],
            *((name, _annotation(SETTINGS[name]), usual) for name, usual in SHARED.items()),
            *_RATES[2:],
        ],
        namespace={"__doc__": "The settings of :func:`backprop_svc.train`."},
    )
    # OmegaConf looks types up in the module that the class names as its own.
    TrainConfig.__module__ = __name__


@dataclass
class InitConfig:
    """Initial weights: w1 and w2, all of them as a list, or drawn by a method; or a run."""

    # The id of a tracked run that goes on.
    run: Optional[str] = None
    w1: Optional[float] = None
    w2: Optional[float] = None
    weights: Optional[list[float]] = None
    method: Optional[str] = None
    seed: int = 0
    scale: float = 1.0
    offset: float = 0.0


@dataclass
class TrackingConfig:
    """Where the runs are kept."""

    enabled: bool = True
    uri: str = "${oc.env:MLFLOW_TRACKING_URI,sqlite:///mlflow.db}"
    experiment: str = "${oc.env:MLFLOW_EXPERIMENT_NAME,backprop-svc}"
    history: str = "all"
    weights: str = "all"
    # Of which runs an MLflow model is logged, and the name under which it is registered. By
    # default of a single run, and of the best one of a sweep, where its weights are kept.
    model: Optional[str] = None
    register: Optional[str] = None


@dataclass
class SweepConfig:
    """The points of a sweep, and what becomes of it."""

    sampler: str = "grid"
    points: Any = 10
    samples: int = 64
    seed: int = 0
    shards: int = 1
    dry_run: bool = False
    resume: Optional[str] = None
    # What tells which run is the best; by default val_loss, or loss without validation.
    metric: Optional[str] = None
    # A Parquet file for the table of results, tracked or not.
    results: Optional[str] = None
    # The sweeper sets the following fields for each of its jobs.
    id: Optional[str] = None
    axes: list[str] = field(default_factory=list)
    varied: list[str] = field(default_factory=list)
    configuration: Optional[int] = None
    shard: int = 0
    lease: Optional[str] = None
    plan: Optional[str] = None


@dataclass
class Config:
    """Everything that ``backprop-svc train`` can be told."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    init: InitConfig = field(default_factory=InitConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)


@dataclass
class ExampleConfig:
    """What ``backprop-svc explain`` walks through."""

    name: str = MISSING
    x: float = 1.0


@dataclass
class ExplainConfig:
    """Everything that ``backprop-svc explain`` can be told."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    init: InitConfig = field(default_factory=InitConfig)
    example: ExampleConfig = field(default_factory=ExampleConfig)


SCHEMAS: dict[str | None, tuple[str, type]] = {
    "config": ("schema", Config),
    "explain": ("explain_schema", ExplainConfig),
}
"""The names and types of what begins the files of ``conf/`` from which a command begins."""


def register(config: str | None) -> type:
    """Make the schema of a file known to Hydra, and return it."""
    # Who completes a line needs no Hydra.
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    # Hydra copies all that is stored for each group that it lists, and changes none of it.
    setattr(store, "__deepcopy__", lambda _: store)  # noqa: B010
    name, schema = SCHEMAS[config]
    store.store(name=name, node=schema)
    return schema
