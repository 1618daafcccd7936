"""The compiled extension. Use it through :mod:`backprop_svc`, which shapes its arguments."""

from collections.abc import Callable
from typing import Any, TypedDict, final

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = [
    "ACTIVATIONS",
    "OUTCOMES",
    "STALLS",
    "VERSION",
    "Network",
    "build_info",
    "curvature",
    "gradients",
    "predict",
    "train",
]

ACTIVATIONS: list[str]
OUTCOMES: list[str]
STALLS: list[str]
VERSION: str

class _BuildInfo(TypedDict):
    version: str
    profile: str
    simd: str
    threads: int

@final
class Network:
    """The shape of a network: fully connected layers, and what training makes small.

    ``Network(1, 1, 1)`` is the guide's network, ŷ = w2·ReLU(w1·x). The parameters of one
    run are one flat vector: layer after layer, each layer's matrix row by row, one row per
    neuron, then its biases if it has them. Networks compare by value, can be hashed and
    pickled.

    Parameters
    ----------
    *sizes
        Numbers of neurons, from the inputs to the outputs; two or more, each from 1.
    activation
        Of the hidden layers, φ: ``"relu"``, ``"identity"``, ``"leaky_relu"``, ``"tanh"``,
        ``"sigmoid"``, ``"gelu"`` (by the error function, arXiv 1606.08415) or ``"softplus"``.
    output
        Activation of the outputs, ŷ = φ(z), one of the same; ``"identity"``, ŷ = z, by default.
        Cross-entropies have their own, so that they take ``"identity"``, and the binary one
        ``"sigmoid"``, which is its own.
    gain
        Hidden neurons compute φ(gain·z); a finite number above 0.
    negative_slope
        Of leaky ReLU where z ≤ 0; from 0 to 1.
    bias
        Whether every neuron adds a bias to its weighted sum.
    loss
        Of one row, over several rows the mean: ``"half_squared_error"`` ½ Σ (y − ŷ)²;
        ``"mse"``, the mean of (y − ŷ)² over the outputs; ``"binary_cross_entropy"``, the mean
        of −y·ln ŷ − (1 − y)·ln(1 − ŷ) with ŷ = 1 / (1 + e^−z); ``"softmax_cross_entropy"``,
        −Σ y·ln ŷ with ŷ = e^z / Σ e^z. z are the weighted sums of the last layer.
    dtype
        What it computes with, float64 or float32, as NumPy takes it; activations and losses are
        evaluated in float64 and rounded. All arrays are float64, which holds every float32.

    Raises
    ------
    SettingError
        Impossible sizes; an unknown activation, loss or type; an output activation that the
        loss does not take; a gain or negative_slope out of range.
    SettingTypeError
        A value of another type than its setting has.
    """

    def __new__(
        cls,
        *sizes: int,
        activation: str = "relu",
        gain: float = 1.0,
        negative_slope: float = 0.01,
        bias: bool = False,
        loss: str = "half_squared_error",
        dtype: DTypeLike = "float64",
        output: str = "identity",
    ) -> Network: ...
    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of neurons, from the inputs to the outputs."""
    @property
    def activation(self) -> str:
        """The activation of the hidden layers."""
    @property
    def output(self) -> str:
        """The activation of the outputs; that of a cross-entropy is its own."""
    @property
    def gain(self) -> float:
        """What z is multiplied by before the activation."""
    @property
    def negative_slope(self) -> float:
        """Of leaky ReLU where z ≤ 0."""
    @property
    def bias(self) -> bool:
        """Whether every neuron adds a bias to its weighted sum."""
    @property
    def loss(self) -> str:
        """What training makes small."""
    @property
    def dtype(self) -> str:
        """What it computes with."""
    @property
    def layers(self) -> int:
        """Number of layers of weights."""
    @property
    def inputs(self) -> int:
        """Number of inputs."""
    @property
    def outputs(self) -> int:
        """Number of outputs."""
    @property
    def parameters(self) -> int:
        """Number of parameters of one run."""
    @property
    def parameter_names(self) -> list[str]:
        """``w1`` or ``w1_<neuron>_<input>``; ``b1`` or ``b1_<neuron>``; counted from 1."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[int, ...], dict[str, str | float | bool]]: ...

def train(
    network: Network,
    weights: NDArray[np.float64],
    learning_rate: NDArray[np.float64],
    own: dict[str, NDArray[Any]],
    memory: NDArray[np.float64] | None,
    first_epoch: int,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    validation: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    settings: object,
    progress: Callable[[int, int], object] | None,
) -> dict[str, Any]: ...
def gradients(
    network: Network,
    weights: NDArray[np.float64],
    own: dict[str, NDArray[Any]],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def predict(
    network: Network,
    weights: NDArray[np.float64],
    own: dict[str, NDArray[Any]],
    x: NDArray[np.float64],
) -> NDArray[np.float64]: ...
def curvature(
    network: Network,
    weights: NDArray[np.float64],
    own: dict[str, NDArray[Any]],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    both: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64]]: ...
def build_info() -> _BuildInfo:
    """Version, build profile, the instruction set in use and the default number of threads."""
