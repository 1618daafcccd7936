"""A whole sweep from the command line: opens it, prints its summary, writes its report."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import cast

from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from backprop_svc.cli.commands.results import check_file, typed_settings, write_file
from backprop_svc.cli.commands.shard import swept
from backprop_svc.cli.config import axes
from backprop_svc.cli.config.experiment import Prepared, tracking
from backprop_svc.cli.config.kept import kept
from backprop_svc.cli.config.origin import configurations, planned
from backprop_svc.cli.config.overrides import split, written
from backprop_svc.cli.config.schema import Config
from backprop_svc.cli.config.unused import refuse, refuse_unknown, unused
from backprop_svc.cli.terminal import interrupt, show
from backprop_svc.cli.terminal.errors import FORESEEN, describe, foreseen, require_values
from backprop_svc.errors import SettingError
from backprop_svc.interactive.terminal import say
from backprop_svc.plots import painter
from backprop_svc.sweep.curves import sample_curves
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.sweep.parent import Parent, identity
from backprop_svc.sweep.space import Grid
from backprop_svc.tracking import Sweep
from backprop_svc.tracking.plan import Plan

SWEEP_WORDS = ("sweep.id=", "sweep.resume=", "sweep.dry_run=")


class SweepCommand:
    """What :class:`BatchSweeper` asks for: see ``hydra_plugins…_core.Application``."""

    is_array = staticmethod(axes.is_array)

    def __init__(
        self, config: DictConfig, overrides: list[Override], configurations: list[list[str]]
    ) -> None:
        self._axes = [override.input_line or "" for override in overrides]
        self._configurations = configurations
        self._config = _task_config(config)
        OmegaConf.update(self._config, "sweep.axes", self._axes)
        self._settings = cast(Config, self._config)
        self._first: Prepared | None = None
        self._plans: list[Plan] = []
        self._unused: set[str] = set()
        self._common: dict[str, list[object]] = {}
        self._parent: Parent | None = None
        self._painter: painter.Painter | None = None
        self._id = ""
        self._began = time.monotonic()

    def check(self, config: DictConfig, words: list[str]) -> None:
        """Refuse what a configuration could not train, with the name of what is wrong."""
        with foreseen(*FORESEEN):
            refuse_unknown(words)
            data_name = str(config.hydra.runtime.choices.get("data"))
            config = _task_config(config)
            require_values(config)
            OmegaConf.update(config, "sweep.axes", self._axes)
            prepared = Prepared.of(config, data_name)
            if prepared.tracking is not None:
                self._plans.append(planned(prepared, config))
            unneeded = unused(prepared.config, [*self._axes, *words])
            # A setting may be needed by one configuration of the sweep and unused in another.
            self._unused = unneeded if self._first is None else self._unused & unneeded
            self._first = self._first or prepared
            for name, value in _common(config).items():
                values = self._common.setdefault(name, [])
                if value not in values:
                    values.append(value)

    def begin(self) -> list[list[str]]:
        """Check and describe the sweep, open it in MLflow, and cut it into jobs."""
        with foreseen(*FORESEEN):
            for name, values in self._common.items():
                if len(values) > 1:
                    raise SettingError(
                        name,
                        ",".join(map(written, values)),
                        "one value for the whole sweep",
                        "write a command for each",
                    )
                OmegaConf.update(self._config, name, values[0])
            sweep = self._settings.sweep
            if sweep.shards < 1:
                raise SettingError(
                    "sweep.shards", str(sweep.shards), "whole numbers from 1", "try 1"
                )
            refuse(self._unused)
            grid = axes.build(sweep)
            if sweep.results is not None:
                check_file(sweep.results)
            self._id = identity(
                tracking(self._settings),
                resume=sweep.resume,
                told=sweep.id,
                names=("sweep.resume", "sweep.id"),
            )
            if not sweep.dry_run:
                self._open()
            self._describe(grid)
            if sweep.dry_run:
                return []
        told = [f"sweep.axes={_quoted(self._axes)}", f"sweep.id='{self._id}'"]
        if self._parent is not None:
            told.append(f"sweep.lease='{self._parent.writer.lease}'")
        return [
            [*words, *told, *self._planned(number), f"sweep.shard={shard}"]
            for number, words in enumerate(self._configurations)
            for shard in range(min(sweep.shards, len(grid)))
        ]

    def _planned(self, number: int) -> list[str]:
        """Tell a job which configuration it has, and what it was when the sweep began."""
        words = [f"sweep.configuration={number}"]
        return [*words, f"sweep.plan='{self._plans[number].digest}'"] if self._plans else words

    def finish(self, returns: Sequence[JobReturn]) -> None:
        """Show and keep the summary."""
        words = [swept(job.overrides or []) for job in returns]
        shards = [cast(Outcomes, job.return_value) for job in returns]
        # The terminal shows values as the user wrote them; the table needs one type per column.
        shown = _joined(shards, [dict(map(split, own)) for own in words])
        outcomes = _joined(shards, typed_settings(words))
        seconds = time.monotonic() - self._began
        common = set.intersection(*map(set, words))
        differing = {split(word)[0] for own in words for word in own if word not in common}
        show.print_sweep(shown, differing, seconds)
        shares, first = outcomes.shares(), self._first
        if first is not None and shares["dead"] + shares["diverged"] == 1:
            show.print_scales(first.experiment.data, first.config.data)
        results = self._settings.sweep.results
        if results is not None:
            with foreseen(*FORESEEN):
                write_file(results, outcomes.parquet)
            say(f"results: {results}")
        if self._parent is not None:
            place = self._close(self._parent, outcomes, seconds)
            already = len(outcomes) - outcomes.written
            there = f", {already:,} were there" if already else ""
            say(f"{show.count(outcomes.written)} tracked{there}: {place}")
            say(f"look at them with: {show.look(self._settings.tracking.uri, place)}")
        self._leave_painter()

    def stop(self, error: BaseException) -> None:
        """End the parent, and say how to go on."""
        self._leave_painter()
        if self._parent is None:
            return
        try:
            with interrupt.held():
                self._parent.fail(interrupt.cause(error))
        except ConnectionError as also:
            say(f"backprop-svc: {describe(also)}", stderr=True)
        words = [word for word in sys.argv[1:] if not word.startswith(SWEEP_WORDS)]
        words = [word for word in words if word not in {"-m", "--multirun"}]
        words = [word for word in words if not word.startswith("hydra.sweep.dir=")]
        command = shlex.join(["backprop-svc", "sweep", *words, f"sweep.resume={self._id}"])
        say(f"what was written stays; go on with: {command}", stderr=True)

    def _leave_painter(self) -> None:
        if self._painter is not None:
            self._painter.close()

    def _describe(self, grid: Grid) -> None:
        configurations, points = len(self._configurations), len(grid)
        several = f" = {configurations} configurations × {points:,} points"
        total = show.count(configurations * points)
        say(f"sweep {self._id}: {total}{several if configurations > 1 else ''}")
        differing = [(name, ", ".join(values)) for name, values in self._differing().items()]
        for name, what in differing + axes.describe(grid):
            say(f"  {name:<12} {what}")
        if not self._settings.tracking.enabled:
            say("  not tracked (tracking=none)")

    def _differing(self) -> dict[str, list[str]]:
        """Return the values of the settings that differ between configurations."""
        found: dict[str, dict[str, None]] = {}
        for name, value in (split(word) for own in self._configurations for word in own):
            found.setdefault(name, {})[value] = None
        return {name: list(values) for name, values in found.items() if len(values) > 1}

    def _open(self) -> None:
        where = tracking(self._settings)
        if where is None:
            painter.dismiss()
            return
        self._painter = painter.take()
        several = configurations(self._configurations)
        told = Sweep(
            self._id,
            description=f"A sweep of {', '.join(self._axes) or 'configurations'}",
            config=kept(self._config),
            plan=Plan({**Plan.join(self._plans).parts, **several.parts}),
            resume=self._settings.sweep.resume is not None,
        )
        with show.opening(where.uri):
            self._parent = Parent.open(where, told)

    def _close(self, parent: Parent, outcomes: Outcomes, seconds: float) -> str:
        """End the parent with the report of the sweep; return where to look at it."""
        from backprop_svc.plots.report import summary

        with foreseen(*FORESEEN), show.waiting("writing the summary"):
            curves, first = None, self._first
            if first is not None and len(self._configurations) == 1:
                trained = first.config.train.epochs > 0
                curves = sample_curves(first.experiment, outcomes) if trained else None
            draw = painter.draw_here if self._painter is None else self._painter.draw
            return parent.finish(summary(outcomes, seconds, curves, draw))


def _joined(shards: list[Outcomes], settings: Sequence[Mapping[str, object]]) -> Outcomes:
    """Return the outcomes of all jobs, with what distinguishes each."""
    pairs = zip(shards, settings, strict=True)
    return Outcomes.join([shard.with_settings(own) for shard, own in pairs])


def _common(config: DictConfig) -> dict[str, object]:
    """Return what all configurations of a sweep have to agree on, by name."""
    values = {
        f"{section}.{name}": value
        for section in ("sweep", "tracking")
        for name, value in cast(
            dict[str, object], OmegaConf.to_container(config[section])
        ).items()
    }
    del values["tracking.history"]
    return values


def _quoted(lines: list[str]) -> str:
    texts = [QuotedString(text=line, quote=Quote.single).with_quotes() for line in lines]
    return f"[{','.join(texts)}]"


def _task_config(config: DictConfig) -> DictConfig:
    """Return a copy of the configuration without Hydra's own section, as a task gets it."""
    copy = config.copy()
    with read_write(copy), open_dict(copy):
        del copy["hydra"]
    return copy
