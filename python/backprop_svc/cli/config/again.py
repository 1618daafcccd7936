"""A tracked run trained again, from the settings that the store keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from backprop_svc.arrays import Floats
from backprop_svc.cli.config.experiment import Prepared
from backprop_svc.cli.config.going_on import go_on
from backprop_svc.cli.config.overrides import value_of
from backprop_svc.cli.config.schema import Config
from backprop_svc.errors import SettingError, shown
from backprop_svc.result import Result
from backprop_svc.sweep.experiment import Experiment
from backprop_svc.sweep.space import Points
from backprop_svc.tracking import TrackedRun, load_run, run_file

CLOSE = 1e-9
"""Relative difference of losses up to which another machine may have computed them."""


@dataclass(frozen=True, eq=False)
class Moment:
    """A run before the update of one of its epochs, and one row of its data."""

    weights: Floats
    """Shape (parameters,)."""
    x: Floats
    y: Floats
    learning_rate: float
    told: str
    """Which run and epoch it is, and whether its loss is the one that was tracked."""


@dataclass(frozen=True, eq=False)
class Again:
    """A tracked run, and the same run trained once more."""

    run: TrackedRun
    experiment: Experiment
    result: Result

    @classmethod
    def of(cls, run_id: str, uri: str | None) -> Again:
        """Train a tracked run again.

        Raises
        ------
        SettingError
            The store has no such run, or does not know the settings of it; its data are
            others now.
        """
        run = load_run(run_id, tracking=uri)
        try:
            config = OmegaConf.create(run_file(run_id, "config.yaml", tracking=uri).decode())
            own = _config(cast(DictConfig, config), run)
            if cast(Config, own).init.run is not None:
                # What it does not say itself is that of the run that it went on from.
                own, _ = go_on(own, [n for n in _named(run) if not n.startswith("init.")], "")
            experiment = Prepared.of(own).experiment
        except OmegaConfBaseException:
            raise _unknown(run_id, "it was trained on arrays, which are not kept") from None
        start = experiment.starts(Points(1, {}))
        result = experiment.train(start, ("loss", "weights"), measure=False)
        if run.params.get("network", str(experiment.network)) != str(experiment.network):
            raise _unknown(run_id, f"its network was {run.params['network']}")
        again = cls(run, experiment, result)
        epochs = int(result.epochs[0])
        if result.loss is not None and epochs:
            # It may have had other data, or groups of settings that its params name alone.
            again._compared(result.first_epoch + epochs - 1, float(result.loss[0, epochs - 1]))
        return again

    def at(self, epoch: int | None, row: int) -> Moment:
        """Return the run before the update of an epoch, the last one if none is told.

        Raises
        ------
        SettingError
            The run has no such epoch, or its data no such row; its loss is another one than
            the store has.
        """
        epochs, data = int(self.result.epochs[0]), self.experiment.data
        # A run that went on counts from there.
        first = self.result.first_epoch
        epoch = first + epochs - 1 if epoch is None else epoch
        for name, value, least, count in (
            ("epoch", epoch, first, epochs),
            ("row", row, 0, len(data.x)),
        ):
            if not least <= value < least + count:
                raise SettingError(
                    name, f"{value}, and the run has {count:,} of them",
                    f"whole numbers from {least:,} to {least + count - 1:,}",
                    f"try {{name}}={least}",
                )  # fmt: skip
        assert self.result.loss is not None
        assert self.result.weight_history is not None
        loss = float(self.result.loss[0, epoch - first])
        rates = self.result.learning_rate.reshape(-1)
        several = len(data.x) > 1
        told = [
            f"run {self.run.run_id} ({self.run.name}), epoch {epoch} of {epochs:,}"
            f"{f' from {first:,} on' if first else ''}",
            f"loss{f' of all {len(data.x):,} rows' if several else ''} {loss:.10g}, "
            f"{self._compared(epoch, loss)}",
        ]
        if several:
            told.append(f"what follows is row {row} alone")
        if len(set(rates.tolist())) > 1 or self.experiment.settings["optimizer"] != _PLAIN:
            told.append(
                "the update shown is gradient descent's, at the largest rate of a layer"
            )
        return Moment(
            self.result.weight_history[0, epoch - first],
            data.x[row],
            data.y[row],
            float(rates.max()),
            "; ".join(told),
        )

    def _compared(self, epoch: int, loss: float) -> str:
        """Compare a loss with the tracked one of the same epoch."""
        steps, losses = self.run.histories.get("loss", (np.array([]), np.array([])))
        kept = losses[steps == epoch]
        if not len(kept):
            return "which was not tracked for this epoch"
        (tracked,) = kept[-1:].tolist()
        if tracked == loss:
            return "as it was tracked"
        if np.isclose(tracked, loss, rtol=CLOSE, atol=0):
            return f"tracked as {tracked:.17g} (another machine or number of threads)"
        raise _unknown(
            self.run.run_id,
            f"its loss in epoch {epoch} was {tracked:.10g}, and is {loss:.10g} now",
        )


_PLAIN = "gradient_descent"


def _config(kept: DictConfig, run: TrackedRun) -> DictConfig:
    """Return the configuration of one run: that of its sweep, with its own values."""
    config = OmegaConf.merge(OmegaConf.structured(Config), kept)
    drawn = OmegaConf.select(config, "init.method") is not None
    config = OmegaConf.merge(config, {"sweep": {"axes": []}, "tracking": {"enabled": False}})
    named = _named(run)
    if "init.method" in named or "init.seed" in named:
        drawn = True
    for name, value in named.items():
        # Weights that were drawn are drawn again.
        if drawn and name.startswith("init.w"):
            continue
        # What all runs of a sweep share is there as it was written.
        if _is_setting(config, name) and str(OmegaConf.select(config, name)) != value:
            OmegaConf.update(config, name, value_of(value), merge=False)
    return cast(DictConfig, config)


def _named(run: TrackedRun) -> dict[str, str]:
    """Return the settings among the params of a run."""
    return {name: value for name, value in run.params.items() if "." in name}


def _is_setting(config: object, name: str) -> bool:
    group, _, last = name.rpartition(".")
    node = OmegaConf.select(cast(DictConfig, config), group)
    # Also one that the configuration of a sweep leaves to its runs.
    return isinstance(node, DictConfig) and last in node.keys()  # noqa: SIM118


def _unknown(run_id: str, why: str) -> SettingError:
    return SettingError(
        "run", f"{shown(run_id)}, which cannot be trained again: {why}",
        "runs of backprop-svc train and sweep whose data are still as they were",
        "choose another run, or work in the folder in which it was trained",
    )  # fmt: skip
