"""What was meant by a name that is none."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from backprop_svc.cli.config.choices import SETTINGS_OF_USERS

ALIASES = {
    "learning_rate": "lr",
    "step_size": "lr",
    "eta": "lr",
    "alpha": "lr",
    "steps": "epochs",
    "iterations": "epochs",
    "max_iter": "epochs",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "max_epochs": "epochs",
    "layers": "sizes",
    "hidden_sizes": "hidden",
    "nonlinearity": "activation",
    "criterion": "loss",
    "batch": "batch_size",
    "lr_scheduler": "schedule",
    "scheduler": "schedule",
    "eps": "epsilon",
    "wd": "weight_decay",
    "beta1": "momentum",
    "workers": "threads",
    "tol": "tolerance",
    "random_state": "seed",
    "early_stopping": "patience",
    "early_stopping_rounds": "patience",
    "early_stopping_patience": "patience",
    "n_iter_no_change": "patience",
    "validation_split": "validation",
    "validation_fraction": "validation",
    "file": "path",
    "csv": "path",
    "tracking_uri": "uri",
    "experiment_name": "experiment",
    "n_samples": "samples",
    "sgd": "gradient_descent",
    "gd": "gradient_descent",
    "adamw": "adam",
    "heavy_ball": "momentum",
    "logistic": "sigmoid",
    "linear": "identity",
    "lrelu": "leaky_relu",
    "bce": "binary_cross_entropy",
    "log_loss": "binary_cross_entropy",
    "cross_entropy": "softmax_cross_entropy",
    "mean_squared_error": "mse",
    "double": "float64",
    "f64": "float64",
    "float": "float32",
    "single": "float32",
    "f32": "float32",
    "glorot": "xavier",
    "kaiming": "he",
    "gaussian": "normal",
    "lhs": "latin",
    **dict.fromkeys(("off", "false", "no", "null", "0", "disabled"), "none"),
}
"""What other programs call a setting or its value."""


def nearest(name: str) -> str | None:
    """Return the setting whose name is most like this one, if one is."""
    known = SETTINGS_OF_USERS
    # All names are written small and with underscores.
    section, _, last = name.lower().replace("-", "_").rpartition(".")
    last = ALIASES.get(last, last)
    meant = [setting for setting in known if setting.rpartition(".")[2] == last]
    own = [setting for setting in meant if setting.startswith(f"{section}.")]
    if own or meant:
        return (own or meant)[0]
    by_last = {setting.rpartition(".")[2]: setting for setting in reversed(known)}
    similar = get_close_matches(f"{section}.{last}", known, 1, 0.8)
    similar += [by_last[setting] for setting in get_close_matches(last, by_last, 1, 0.75)]
    return similar[0] if similar else None


def nearest_of(name: str, names: Iterable[str]) -> str | None:
    """Return which of some names is most like this one, if one is."""
    lower = {known.lower(): known for known in names}
    plain = name.lower().replace("-", "_")
    plain = ALIASES.get(plain, plain)
    without = {known.replace("_", ""): known for known in lower}
    found = [known for known in (plain, without.get(plain)) if known in lower]
    found += get_close_matches(plain, lower, 1, 0.6)
    return lower[found[0]] if found else None
