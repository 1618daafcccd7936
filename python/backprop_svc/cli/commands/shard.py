"""Does one job of a sweep, which is a shard of one configuration or a single point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from backprop_svc.cli.config.experiment import Prepared
from backprop_svc.cli.config.going_on import go_on
from backprop_svc.cli.config.kept import kept
from backprop_svc.cli.config.origin import planned
from backprop_svc.cli.config.overrides import name_of, settings_of
from backprop_svc.cli.config.schema import Config
from backprop_svc.cli.terminal import interrupt, show
from backprop_svc.errors import SettingError
from backprop_svc.interactive.progress import SweepBar
from backprop_svc.interactive.terminal import say
from backprop_svc.sweep.chunk import Chunk
from backprop_svc.sweep.engine import run
from backprop_svc.sweep.naming import Naming
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.sweep.parent import Parent
from backprop_svc.sweep.sampler import GridSampler
from backprop_svc.tracking import Sweep


def run_shard(config: DictConfig, first: int | None = None) -> Outcomes:
    """Train the points of one shard of one configuration, and keep them.

    Parameters
    ----------
    config
        With ``sweep.axes`` for the arrays, none for a single point.
    first
        Position in the sweep of the configuration's first point; derived from
        ``sweep.configuration`` by default.
    """
    overrides = [*cast(Config, config).sweep.axes, *HydraConfig.get().overrides.task]
    config, data = go_on(config, overrides, data_name())
    prepared = Prepared.of(config, data)
    sweep, total = prepared.config.sweep, len(prepared.grid)
    shards = min(sweep.shards, total)
    start, stop = (total * shard // shards for shard in (sweep.shard, sweep.shard + 1))
    offset = first if first is not None else (sweep.configuration or 0) * total
    parent = None
    if prepared.tracking is not None:
        # Its parent was opened when the sweep began.
        _refuse_other(prepared, config)
        metric = prepared.experiment.by
        # Of a sweeper that does one point a job nobody else keeps it.
        alone = kept(config) if first == 0 else ""
        told = Sweep(sweep.id or "", config=alone, lease=sweep.lease, metric=metric)
        parent = Parent.open(prepared.tracking, told, again=True)
    words = settings_of(swept(HydraConfig.get().overrides.task))
    # A sweeper that does one point a job tells what it was given, but not what differs.
    differing = (
        words if first is not None else {n: words[n] for n in words if n in sweep.varied}
    )
    with _bar(stop - start) as bar:
        outcomes = run(
            prepared.experiment,
            GridSampler(prepared.grid, start, stop),
            sweep=sweep.id or "",
            first=offset + start,
            parent=parent,
            settings=words,
            naming=Naming.of(prepared.grid, differing),
            evaluate=(
                parent is not None
                or sweep.results is not None
                or prepared.experiment.validation is not None
            ),
            progress=_also_interrupted(bar),
        )
    if parent is not None:
        parent.leave()
    return outcomes


WHOLE: ContextVar[SweepBar | None] = ContextVar("WHOLE", default=None)
"""The bar of a whole sweep, in the process that began it."""


@contextmanager
def _bar(runs: int) -> Iterator[SweepBar]:
    """Give the bar of the whole sweep, or one for a job that another process launched."""
    whole = WHOLE.get()
    if whole is not None:
        whole.start()
        yield whole
        return
    with SweepBar(runs, lines=True) as own:
        yield own


def _also_interrupted(bar: SweepBar) -> Callable[[Chunk], None]:
    def progress(chunk: Chunk) -> None:
        bar(chunk)
        interrupt.answer()

    return progress


def run_point(config: DictConfig) -> float:
    """Do one job of a sweeper that knows nothing of arrays, such as Hydra's basic one."""
    number = int(HydraConfig.get().job.num)
    sweep = cast(Config, config).sweep
    for name in ("resume", "dry_run", "results"):
        value = getattr(sweep, name)
        if value:
            raise SettingError(
                f"sweep.{name}",
                repr(value),
                "with hydra/sweeper=arrays, which knows the whole sweep",
                "leave hydra/sweeper out",
            )
    where = cast(Config, config).tracking
    for name, told in (("model", where.model), ("register", where.register)):
        if told not in {None, "none"}:
            raise SettingError(
                f"tracking.{name}", repr(told), "with hydra/sweeper=arrays",
                "leave it out, and log the model of a run with backprop-svc model run=…",
            )  # fmt: skip
    try:
        outcomes = run_shard(config, first=number)
    except BaseException as error:
        parent = _parent(config)
        if parent is not None:
            parent.fail(interrupt.cause(error))
        raise
    parent, place = _parent(config), ""
    if parent is not None:
        place = parent.finish()
    words = swept(HydraConfig.get().overrides.task)
    score = float(outcomes.scores[0])
    say(f"{number}: {', '.join(words) or 'defaults'} → {outcomes.outcome[0]}, {score:.6g}")
    if parent is not None and number == 0:
        # Nobody knows which job is the last.
        say(f"runs are tracked under {place}")
        show.say_where(parent.links, place, where.uri)
    return score


def swept(words: Iterable[str]) -> list[str]:
    """Return the overrides of a job that say what is trained."""
    elsewhere = ("sweep.", "tracking")
    return [word for word in words if not name_of(word).startswith(elsewhere)]


def data_name() -> str:
    """Return the option of ``data`` that Hydra chose."""
    return str(HydraConfig.get().runtime.choices.get("data"))


def _refuse_other(prepared: Prepared, config: DictConfig) -> None:
    """Refuse a job that is not the one with which the sweep began."""
    begun = prepared.config.sweep.plan
    if begun is not None and planned(prepared, config).digest != begun:
        raise SettingError(
            f"the sweep {prepared.config.sweep.id}",
            "begun with other data or settings than this job finds: a file, an environment "
            "variable or a package differs",
            "the same for all jobs",
            "undo the change and resume the sweep, or begin a new one",
            verb="was",
        )


def _parent(config: DictConfig) -> Parent | None:
    from backprop_svc.cli.config.experiment import tracking

    where, sweep = tracking(cast(Config, config)), cast(Config, config).sweep
    return Parent.open(where, Sweep(sweep.id)) if where is not None and sweep.id else None
