"""A whole sweep from the command line: opens it, prints its summary, writes its report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import cast

import numpy as np
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from backprop_svc.cli.commands import model
from backprop_svc.cli.commands.configurations import Configurations, task_config
from backprop_svc.cli.commands.results import check_file, typed_settings, write_file
from backprop_svc.cli.commands.shard import WHOLE, swept
from backprop_svc.cli.config import axes
from backprop_svc.cli.config.experiment import tracking
from backprop_svc.cli.config.going_on import common_parent, go_on
from backprop_svc.cli.config.kept import kept
from backprop_svc.cli.config.origin import configurations
from backprop_svc.cli.config.overrides import in_quotes, name_of, split
from backprop_svc.cli.config.schema import Config
from backprop_svc.cli.terminal import interrupt, show
from backprop_svc.cli.terminal.errors import FORESEEN, describe, foreseen
from backprop_svc.cli.terminal.verbose import listen
from backprop_svc.errors import SettingError, counted
from backprop_svc.interactive.progress import SweepBar
from backprop_svc.interactive.terminal import say
from backprop_svc.plots import painter
from backprop_svc.sweep import description, repeats
from backprop_svc.sweep.curves import sample_curves
from backprop_svc.sweep.naming import short
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.sweep.parent import Parent, identity
from backprop_svc.sweep.space import Grid
from backprop_svc.tracking import Sweep
from backprop_svc.tracking.plan import Plan

FOLD = "data.fold"
WITHOUT = (FOLD, "data.folds", "data.validation_seed", "train.patience", "train.min_delta")
"""Settings that mean nothing where no rows are set aside."""
SWEEP_WORDS = ("sweep.id=", "sweep.resume=", "sweep.dry_run=")


class SweepCommand:
    """What :class:`BatchSweeper` asks for: see ``hydra_plugins…_core.Application``."""

    is_array = staticmethod(axes.is_array)

    def __init__(
        self, config: DictConfig, overrides: list[Override], configurations: list[list[str]]
    ) -> None:
        listen(config.hydra.verbose)
        self._axes = [override.input_line or "" for override in overrides]
        self._configurations = Configurations(self._axes, configurations)
        self._config = task_config(config)
        OmegaConf.update(self._config, "sweep.axes", self._axes)
        self._settings = cast(Config, self._config)
        self._parent: Parent | None = None
        self._painter: painter.Painter | None = None
        self._bar: SweepBar | None = None
        self._id = ""

    def check(self, config: DictConfig, words: list[str]) -> None:
        """Refuse what a configuration could not train, with the name of what is wrong."""
        with foreseen(*FORESEEN):
            self._configurations.add(config, words)

    def begin(self) -> list[list[str]]:
        """Check and describe the sweep, open it in MLflow, and cut it into jobs."""
        with foreseen(*FORESEEN):
            for name, value in self._configurations.common().items():
                OmegaConf.update(self._config, name, value)
            sweep = self._settings.sweep
            if sweep.shards < 1:
                raise SettingError(
                    "sweep.shards", str(sweep.shards), "whole numbers from 1", "try 1"
                )
            self._configurations.refuse_unused()
            grid = axes.build(sweep)
            if sweep.results is not None:
                check_file(sweep.results)
            self._id = identity(
                tracking(self._settings),
                resume=sweep.resume,
                told=sweep.id,
                names=("sweep.resume", "sweep.id"),
            )
            needed = self._configurations.estimate(grid, results=sweep.results is not None)
            if sweep.resume is None:
                needed.refuse()
            if not sweep.dry_run:
                self._open(grid)
            self._describe(grid)
            if self._parent is not None and sweep.resume is not None:
                needed = needed.after(self._parent.there)
            show.print_estimate(needed)
            if sweep.dry_run:
                return []
        self._bar = SweepBar(len(self._configurations.words) * len(grid), lines=True)
        WHOLE.set(self._bar)
        told = [f"sweep.axes={_quoted(self._axes)}", f"sweep.id='{self._id}'"]
        told.append(f"sweep.metric={self._configurations.metric}")
        told.append(f"sweep.varied={_quoted(list(self._configurations.differing()))}")
        if self._parent is not None:
            told.append(f"sweep.lease='{self._parent.writer.lease}'")
        return [
            [*words, *told, *self._planned(number), f"sweep.shard={shard}"]
            for number, words in enumerate(self._configurations.words)
            for shard in range(min(sweep.shards, len(grid)))
        ]

    def _planned(self, number: int) -> list[str]:
        """Tell a job which configuration it has, and what it was when the sweep began."""
        words, plans = [f"sweep.configuration={number}"], self._configurations.plans
        return [*words, f"sweep.plan='{plans[number].digest}'"] if plans else words

    def finish(self, returns: Sequence[JobReturn]) -> None:
        """Show and keep the summary."""
        self._end_bar()
        words = [swept(job.overrides or []) for job in returns]
        shards = [cast(Outcomes, job.return_value) for job in returns]
        # The terminal shows values as the user wrote them; the table needs one type per column.
        shown = _joined(shards, [dict(map(split, own)) for own in words])
        outcomes = _joined(shards, typed_settings(words))
        common = set.intersection(*map(set, words))
        differing = {split(word)[0] for own in words for word in own if word not in common}
        show.print_sweep(shown, differing, tracked=self._parent is not None)
        if FOLD in shown.seeds:
            say(f"the best settings on all rows: {_on_all_rows(shown)}")
        shares, first = outcomes.shares(), self._configurations.first
        if first is not None and shares["dead"] + shares["diverged"] == 1:
            show.print_scales(first.experiment.data, first.config.data)
        results = self._settings.sweep.results
        if results is not None:
            with foreseen(*FORESEEN):
                write_file(results, outcomes.parquet)
            say(f"results: {results}")
        if self._parent is not None:
            parent, place = self._parent, self._close(self._parent, outcomes)
            # It has ended, whatever comes now.
            self._parent = None
            there = f", {outcomes.there:,} were there" if outcomes.there else ""
            say(f"{counted(outcomes.written, 'run')} tracked{there}: {place}")
            show.say_where(parent.links, place, self._settings.tracking.uri)
            self._log_models(outcomes)
        self._leave_painter()

    def _log_models(self, outcomes: Outcomes) -> None:
        where = self._settings.tracking
        if not np.isfinite(outcomes.best_score()):
            return
        runs = len(outcomes) if where.model == "all" else 1
        ids = [best["run_id"] for best in outcomes.best(runs)]
        model.log_asked(ids, where, "model of the best run")

    def stop(self, error: BaseException) -> None:
        """End the parent, and say how to go on."""
        self._leave_painter()
        self._end_bar()
        if self._parent is None:
            return
        try:
            with interrupt.held():
                self._parent.fail(interrupt.cause(error))
                # A server would be asked for all of them.
                if self._parent.place.numbered:
                    say(f"{counted(self._parent.there, 'run')} are in the store", stderr=True)
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

    def _end_bar(self) -> None:
        if self._bar is not None:
            # The terminal may be closed, which is no reason to leave the parent as it is.
            with suppress(OSError):
                self._bar.stop()
        WHOLE.set(None)

    def _describe(self, grid: Grid) -> None:
        configurations, points = len(self._configurations.words), len(grid)
        several = f" = {configurations:,} configurations × {counted(points, 'point')}"
        total = counted(configurations * points, "run")
        say(f"sweep {self._id}: {total}{several if configurations > 1 else ''}")
        differing = [
            (name, ", ".join(values))
            for name, values in self._configurations.differing().items()
        ]
        for name, what in differing + axes.describe(grid):
            say(f"  {name:<12} {what}")
        for note in self._configurations.notes:
            say(f"  {note}")
        if not self._settings.tracking.enabled:
            say("  not tracked (tracking=none)")

    def _open(self, grid: Grid) -> None:
        where = tracking(self._settings)
        if where is None:
            painter.dismiss()
            return
        self._painter = painter.take()
        several = configurations(self._configurations.words)
        axes_told = description.axes(grid, self._configurations.differing())
        runs = len(grid) * len(self._configurations.words)
        told = Sweep(
            self._id,
            axes=short(axes_told),
            description=description.text(axes_told, runs),
            params=self._configurations.shared.params(axes_told),
            config=kept(self._with_run()),
            plan=Plan({**Plan.join(self._configurations.plans).parts, **several.parts}),
            resume=self._settings.sweep.resume is not None,
            goes_on_from=common_parent(self._configurations.goes_on_from, where.uri),
            metric=self._configurations.metric,
        )
        with show.opening(where.uri):
            self._parent = Parent.open(where, told)

    def _with_run(self) -> DictConfig:
        """Return the configuration with the settings of the run that goes on, if one does."""
        words = [*self._axes, *self._configurations.words[0]]
        return go_on(self._config, words, "")[0]

    def _close(self, parent: Parent, outcomes: Outcomes) -> str:
        """End the parent with the report of the sweep; return where to look at it."""
        from backprop_svc.plots.report import summary

        with foreseen(*FORESEEN), show.waiting("writing the summary"):
            curves, experiments = None, self._configurations.experiments
            if experiments and all(own.settings["epochs"] for own in experiments):
                curves = sample_curves(experiments, outcomes)
            if len(experiments) == 1:
                outcomes = replace(outcomes, experiment=experiments[0])
            draw = painter.draw_here if self._painter is None else self._painter.draw
            return parent.finish(summary(outcomes, curves, draw, parent.place))


def _joined(shards: list[Outcomes], settings: Sequence[Mapping[str, object]]) -> Outcomes:
    """Return the outcomes of all jobs, with what distinguishes each."""
    pairs = zip(shards, settings, strict=True)
    return Outcomes.join([shard.with_settings(own) for shard, own in pairs])


def _on_all_rows(outcomes: Outcomes) -> str:
    """Return the command that trains the best settings on what the folds were cut from."""
    names, best = repeats.differing(outcomes), outcomes.best_settings(1)[0]
    left_out = {*names, *WITHOUT, *repeats.SEEDS}
    given = [
        word
        for word in sys.argv[1:]
        if not word.startswith(("-", "sweep.", "hydra.", "hydra/"))
        and name_of(word) not in left_out
    ]
    chosen = [f"{name}={best[name]}" for name in names]
    return shlex.join(["backprop-svc", "train", *given, *chosen])


def _quoted(lines: list[str]) -> str:
    texts = map(in_quotes, lines)
    return f"[{','.join(texts)}]"
