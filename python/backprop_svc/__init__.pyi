from backprop_svc import datasets, tracking
from backprop_svc._core import Network, build_info
from backprop_svc.curvature import Curvature, curvature, sharpness
from backprop_svc.datasets.model import Model
from backprop_svc.errors import SettingError, SettingTypeError
from backprop_svc.evaluate import (
    Evaluation,
    Gradients,
    accuracy,
    evaluate,
    gradients,
    predict,
)
from backprop_svc.explain import Check, Explanation, Step, chain_rule, explain
from backprop_svc.fractal import boundary, box_counting_dimension
from backprop_svc.initial import initial_weights
from backprop_svc.interactive.sweep import figure, sweep
from backprop_svc.lyapunov import lyapunov_exponent
from backprop_svc.result import Result
from backprop_svc.state import State
from backprop_svc.sweep.axes import Zipped
from backprop_svc.sweep.experiment import Draw
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.sweep.space import Interval, LogInterval
from backprop_svc.tracking import TrackedRun, load_run, load_sweep
from backprop_svc.train import train

__version__: str

__all__ = [
    "Check",
    "Curvature",
    "Draw",
    "Evaluation",
    "Explanation",
    "Gradients",
    "Interval",
    "LogInterval",
    "Model",
    "Network",
    "Outcomes",
    "Result",
    "SettingError",
    "SettingTypeError",
    "State",
    "Step",
    "TrackedRun",
    "Zipped",
    "accuracy",
    "boundary",
    "box_counting_dimension",
    "build_info",
    "chain_rule",
    "curvature",
    "datasets",
    "evaluate",
    "explain",
    "figure",
    "gradients",
    "initial_weights",
    "load_run",
    "load_sweep",
    "lyapunov_exponent",
    "predict",
    "sharpness",
    "sweep",
    "tracking",
    "train",
]
