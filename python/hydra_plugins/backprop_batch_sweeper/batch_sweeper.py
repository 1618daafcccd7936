"""A Hydra sweeper whose numeric axes become arrays: one job for very many points."""

from dataclasses import dataclass
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# Hydra runs this file before it is a module: annotations must not be strings.
# ruff: noqa: UP045


@dataclass
class BatchSweeperConf:
    """``hydra/sweeper=batch``."""

    _target_: str = "hydra_plugins.backprop_batch_sweeper.batch_sweeper.BatchSweeper"
    params: Optional[dict[str, str]] = None
    seed: Optional[int] = None
    """Of Hydra's shuffle(), so that the same command gives the same order."""
    application: Optional[str] = None
    """Path of the class that knows the application; without it each point is a job."""


ConfigStore.instance().store(
    group="hydra/sweeper", name="batch", node=BatchSweeperConf, provider="backprop-svc"
)


class BatchSweeper(Sweeper):
    """Composes one job for each combination of what is not numeric; see :mod:`._core`."""

    def __init__(
        self,
        params: dict[str, str] | None = None,
        seed: int | None = None,
        application: str | None = None,
    ) -> None:
        self.params = params or {}
        self.seed = seed
        self.application = application
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None
        self.config: DictConfig | None = None

    def setup(
        self,
        *,
        hydra_context: HydraContext,
        task_function: TaskFunction,
        config: DictConfig,
    ) -> None:
        """Take what Hydra gives."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs by Hydra's configured launcher; return what they return."""
        from hydra_plugins.backprop_batch_sweeper._core import sweep

        return sweep(self, arguments)
