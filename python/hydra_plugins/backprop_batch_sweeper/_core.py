"""What the sweeper does, imported only when it sweeps."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.types import HydraContext
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.backprop_batch_sweeper._composer import Composer

if TYPE_CHECKING:
    from hydra_plugins.backprop_batch_sweeper.batch_sweeper import BatchSweeper

Job = list[str]
"""The overrides of a job."""
ZIP = "zip"
"""The tag of axes that go together."""


class Application(Protocol):
    """What an application knows of a sweep: see ``backprop_svc.cli.commands.sweep``."""

    def __init__(
        self, config: DictConfig, axes: list[Override], configurations: list[Job]
    ) -> None: ...

    @staticmethod
    def is_array(override: Override) -> bool:
        """Tell whether an override becomes an array."""
        ...

    def check(self, config: DictConfig, words: Job) -> None:
        """Raise what is wrong with a configuration and its overrides, before any job."""
        ...

    def begin(self) -> list[Job]:
        """Return the overrides of the jobs to launch; none for a dry run."""
        ...

    def finish(self, returns: Sequence[JobReturn]) -> None:
        """Take what all jobs returned."""
        ...

    def stop(self, error: BaseException) -> None:
        """Clean up after an error, which is raised again."""
        ...


def sweep(sweeper: BatchSweeper, arguments: list[str]) -> Any:
    """Split the overrides into arrays and jobs, and run the jobs."""
    context, task, config = sweeper.hydra_context, sweeper.task_function, sweeper.config
    if context is None or task is None or config is None:
        raise HydraException("setup() must come before sweep()")
    context = HydraContext(
        cast(ConfigLoader, Composer(context.config_loader)), context.callbacks
    )
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=task, config=config
    )
    lines = [f"{key}={value}" for key, value in sweeper.params.items()] + arguments
    parser = OverridesParser.create(config_loader=context.config_loader)
    # The last value of a setting holds, as in Hydra's own sweeper, and in its place: who gives
    # an axis that there is already chooses the order of the axes, too.
    overrides: dict[str, Override] = {}
    for override in parser.parse_overrides(lines):
        overrides.pop(override.get_key_element(), None)
        overrides[override.get_key_element()] = override
    kind: type[Application] | None = (
        get_class(sweeper.application) if sweeper.application else None
    )
    axes = [o for o in overrides.values() if kind is not None and kind.is_array(o)]
    if any(_is_zipped(o) for o in overrides.values() if o not in axes):
        # Axes go together as arrays or as configurations: what is composed decides for all.
        axes = [o for o in axes if not _is_zipped(o)]
    if sweeper.seed is not None:
        random.seed(sweeper.seed)
    configurations = _compose([o for o in overrides.values() if o not in axes])
    if kind is None:
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / "multirun.yaml")
        sweeper.validate_batch_is_legal(configurations)
        return [_launch(launcher, configurations)]
    application = kind(config, axes, configurations)
    for words in configurations:
        composed = context.config_loader.load_sweep_config(config, list(words))
        application.check(composed, words)
    try:
        jobs = application.begin()
        returns = _launch(launcher, jobs) if jobs else []
        if jobs:
            application.finish(returns)
    except BaseException as error:
        application.stop(error)
        raise
    return [returns]


def _compose(overrides: list[Override]) -> list[Job]:
    """Return each combination of values, the last override varying fastest.

    Overrides tagged ``zip`` go together, value by value, in the place of the first of them.
    """
    tables: list[list[Job]] = []
    together: list[Job] = []
    for override in overrides:
        words = [f"{override.get_key_element()}={value}" for value in _values(override)]
        if not (_is_zipped(override) and together):
            rows = [[word] for word in words]
            tables.append(rows)
            together = rows if _is_zipped(override) else together
        elif len(words) != len(together):
            raise HydraException(
                f"{override.input_line} has {len(words)} values; allowed: {len(together)}, as "
                "the axes have that it is zipped with; make them equally long"
            )
        else:
            for row, word in zip(together, words, strict=True):
                row.append(word)
    jobs = [[word for part in parts for word in part] for parts in itertools.product(*tables)]
    if jobs:
        return jobs
    empty = [override for override in overrides if not _values(override)]
    raise HydraException(
        f"{' '.join(one.input_line or '' for one in empty)} has no values; allowed: one or "
        "more; give it values, or leave it out"
    )


def _values(override: Override) -> list[str]:
    """Return the values of an override as they are written."""
    if not override.is_sweep_override():
        return [str(override.get_value_element_as_str())]
    tags = set(getattr(override.value(), "tags", ())) - {ZIP}
    if tags:
        raise HydraException(
            f"{override.input_line} has a tag, but cannot become an array; allowed: zip, and "
            "other tags of numeric axes; leave it out"
        )
    if override.is_interval_sweep():
        raise HydraException(
            f"{override.input_line} is an interval of a setting that cannot become an "
            "array; allowed: values one by one; write them as a list or a range"
        )
    return list(override.sweep_string_iterator())


def _is_zipped(override: Override) -> bool:
    return override.is_sweep_override() and ZIP in getattr(override.value(), "tags", ())


def _launch(launcher: Any, jobs: list[Job]) -> Sequence[JobReturn]:
    returns: Sequence[JobReturn] = launcher.launch(jobs, initial_job_idx=0)
    for job in returns:
        # Raises what a failed job raised.
        _ = job.return_value
    return returns
