"""A whole sweep: what is said before it, and what is kept of it at its end."""

from __future__ import annotations

import hashlib
import shlex
import sys
import time
from collections.abc import Sequence
from typing import cast

import numpy as np
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

import backprop_svc as bp
from backprop_svc.arrays import Floats
from backprop_svc.cli import axes, show
from backprop_svc.cli.errors import FORESEEN, foreseen, require_values
from backprop_svc.cli.identity import check_sweep_id, new_sweep_id
from backprop_svc.cli.overrides import split, written
from backprop_svc.cli.part import Part
from backprop_svc.cli.results import Table, check_file
from backprop_svc.cli.schema import Config
from backprop_svc.cli.setup import Setup
from backprop_svc.cli.unused import refuse, unused
from backprop_svc.tracking import Summary, Sweep, Writer, open_writer, without_password

SAMPLE = 200
"""Runs whose losses are drawn and whose quantiles are kept with the sweep."""
SWEEP_WORDS = ("sweep.id=", "sweep.resume=", "sweep.dry_run=")


class Campaign:
    """What :class:`BatchSweeper` asks for: see :class:`hydra_plugins…_core.Campaign`."""

    is_array = staticmethod(axes.is_array)

    def __init__(
        self, config: DictConfig, overrides: list[Override], jobs: list[list[str]]
    ) -> None:
        self._axes = [override.input_line or "" for override in overrides]
        self._jobs = jobs
        self._config = _task_config(config)
        OmegaConf.update(self._config, "sweep.axes", self._axes)
        self._settings = cast(Config, self._config)
        self._first: Setup | None = None
        self._unused: set[str] = set()
        self._common: dict[str, list[object]] = {}
        self._writer: Writer | None = None
        self._parent = ""
        self._id = ""
        self._began = time.monotonic()

    def check(self, config: DictConfig, job: list[str]) -> None:
        """Refuse what a job could not train, with the name of what is wrong."""
        with foreseen(*FORESEEN):
            config = _task_config(config)
            require_values(config)
            OmegaConf.update(config, "sweep.axes", self._axes)
            setup = Setup.of(config)
            unneeded = unused(setup.config, [*self._axes, *job])
            # What one configuration of a sweep needs may mean nothing to another.
            self._unused = unneeded if self._first is None else self._unused & unneeded
            self._first = self._first or setup
            for name, value in _common(config).items():
                values = self._common.setdefault(name, [])
                if value not in values:
                    values.append(value)

    def begin(self) -> list[list[str]]:
        """Check and describe the sweep, open it in MLflow, and cut it into jobs."""
        with foreseen(*FORESEEN):
            for name, values in self._common.items():
                if len(values) > 1:
                    raise ValueError(
                        f"{name} is {','.join(map(written, values))}; allowed: one value for "
                        "the whole sweep; write a command for each"
                    )
                OmegaConf.update(self._config, name, values[0])
            sweep, tracking = self._settings.sweep, self._settings.tracking
            if sweep.shards < 1:
                raise ValueError(
                    f"sweep.shards is {sweep.shards}; allowed: whole numbers from 1; try 1"
                )
            refuse(self._unused)
            points = axes.build(sweep)
            if sweep.results is not None:
                check_file(sweep.results)
            self._id = self._identity()
            if tracking.enabled and not sweep.dry_run:
                with show.waiting("opening MLflow"):
                    self._open()
            self._describe(points)
            if sweep.dry_run:
                return []
        told = f"sweep.axes={_quoted(self._axes)}"
        return [
            [*job, told, f"sweep.id={self._id}", f"sweep.part={part}", f"sweep.shard={shard}"]
            for part, job in enumerate(self._jobs)
            for shard in range(min(sweep.shards, len(points)))
        ]

    def finish(self, returns: Sequence[JobReturn]) -> None:
        """Show and keep the summary."""
        parts = [cast(Part, job.return_value) for job in returns]
        table = Table(parts, self._id)
        seconds = time.monotonic() - self._began
        new = sum(part.written for part in parts)
        show.print_sweep(table.best(10), table.shares(), len(table), seconds)
        cut = sum(part.cut for part in parts)
        if cut:
            print(f"train.time_limit ended {cut:,} of them before their last epoch")
        results = self._settings.sweep.results
        if results is not None:
            with foreseen(*FORESEEN):
                table.write(results)
            print(f"results: {results}")
        if self._writer is not None:
            with foreseen(*FORESEEN), show.waiting("writing the summary"):
                place = self._writer.close_sweep(
                    self._parent, "FINISHED", self._summary(table, seconds, parts)
                )
            already = len(table) - new
            where = show.look(self._settings.tracking.uri, place)
            there = f", {already:,} were there" if already else ""
            print(f"{new:,} runs tracked{there}: {place}\nlook at them with: {where}")

    def stop(self, error: BaseException) -> None:
        """End the parent, and say how to go on."""
        if self._writer is None or not self._parent:
            return
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        if isinstance(error, SystemExit):
            status = "FAILED"
        try:
            self._writer.close_sweep(self._parent, status)
        except ConnectionError as also:
            print(f"backprop-svc: {also}", file=sys.stderr)
        words = [word for word in sys.argv[1:] if not word.startswith(SWEEP_WORDS)]
        words = [word for word in words if word not in {"-m", "--multirun"}]
        words = [word for word in words if not word.startswith("hydra.sweep.dir=")]
        command = shlex.join(["backprop-svc", "sweep", *words, f"sweep.resume={self._id}"])
        print(
            f"what was written stays; go on with: {without_password(command)}", file=sys.stderr
        )

    def _identity(self) -> str:
        resume = self._settings.sweep.resume
        tracking = self._settings.tracking
        if resume is not None and not tracking.enabled:
            raise ValueError(
                f"sweep.resume is {resume!r}, but nothing is tracked; allowed: a tracked "
                "sweep; leave out sweep.resume or tracking=none"
            )
        if resume == "last":
            found = open_writer(tracking.uri, tracking.experiment).last_sweep()
            if found is None:
                raise ValueError(
                    f"sweep.resume=last, but {without_password(tracking.uri)} has no sweep; "
                    "allowed: last or the identity of a sweep; leave it out to begin one"
                )
            return found
        if resume is not None:
            return check_sweep_id("sweep.resume", resume)
        told = self._settings.sweep.id
        return new_sweep_id() if told is None else check_sweep_id("sweep.id", told)

    def _describe(self, points: bp.Sweep) -> None:
        parts, count = len(self._jobs), len(points)
        print(f"sweep {self._id}: {parts * count:,} runs", end="")
        print(f" = {parts} configurations × {count:,} points" if parts > 1 else "")
        lines = axes.describe(points)
        swept = [(name, ", ".join(values)) for name, values in self._swept().items()]
        for name, what in swept + lines:
            print(f"  {name:<12} {what}")
        if not self._settings.tracking.enabled:
            print("  not tracked (tracking=none)")

    def _swept(self) -> dict[str, list[str]]:
        """Return the values of the settings that differ between configurations."""
        found: dict[str, dict[str, None]] = {}
        for name, value in (split(word) for job in self._jobs for word in job):
            found.setdefault(name, {})[value] = None
        return {name: list(values) for name, values in found.items() if len(values) > 1}

    def _open(self) -> None:
        tracking = self._settings.tracking
        self._writer = open_writer(tracking.uri, tracking.experiment)
        plan = [self._axes, *([w for w in job if _is_plan(w)] for job in self._jobs)]
        self._parent = self._writer.open_sweep(
            Sweep(
                self._id,
                description=f"A sweep of {', '.join(self._axes) or 'configurations'}",
                config=without_password(OmegaConf.to_yaml(self._config, resolve=True)),
                digest=hashlib.sha256(repr(plan).encode()).hexdigest()[:16],
            )
        )

    def _summary(self, table: Table, seconds: float, parts: list[Part]) -> Summary:
        from backprop_svc.plots import curves_png, map_png

        # MLflow's page begins with what has a slash in its name: curves and pictures.
        metrics = [
            ("runs", float(len(table)), 0),
            ("runs_per_second", len(table) / seconds, 0),
            ("min_loss", table.best_loss(), 0),
            *((f"share_{name}", share, 0) for name, share in table.shares().items()),
        ]
        figures = {"sweep/last loss": map_png(table.axes, table.loss, table.outcome)}
        setup = self._first
        if setup is not None and setup.config.train.epochs and len(self._jobs) == 1:
            loss, rates = _sample(setup)
            figures["sweep/loss curves"] = curves_png(loss, rates)
            metrics += _quantiles(loss)
        return Summary(metrics, files={"results.parquet": table.parquet}, figures=figures)


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


def _sample(setup: Setup) -> tuple[Floats, Floats]:
    """Histories of loss of a sample, trained again: it takes microseconds."""
    total = len(setup.points)
    chosen = np.unique(np.linspace(0, total - 1, min(SAMPLE, total)).astype(np.int64))
    picked = [setup.points.points(i, i + 1) for i in chosen.tolist()]
    points = {n: np.concatenate([p[n] for p in picked]) for n in setup.points.names}
    rates, weights = setup.starts(points, len(chosen))
    result = setup.train(rates, weights, ("loss",))
    loss = cast(Floats, result.loss)
    # A run that converged keeps its loss after it ended; only a diverged one has none.
    after = np.isnan(loss) & (result.diverged_at < 0)[:, np.newaxis]
    loss = np.where(after, result.last_loss[:, np.newaxis], loss)
    return loss, rates.reshape(len(rates), -1)[:, 0]


def _quantiles(loss: Floats) -> list[tuple[str, float, int]]:
    """Curves that MLflow's page of the sweep shows: quantiles of the loss over the epochs."""
    finite = np.where(np.isnan(loss), np.inf, loss)
    curves = np.quantile(finite, (0.0, 0.25, 0.5), axis=0, method="lower")
    names = ("sweep/loss_best", "sweep/loss_quartile", "sweep/loss_median")
    return [
        (name, float(value), epoch)
        for name, curve in zip(names, curves, strict=True)
        for epoch, value in enumerate(curve)
        if np.isfinite(value)
    ]


def _quoted(lines: list[str]) -> str:
    texts = [QuotedString(text=line, quote=Quote.single).with_quotes() for line in lines]
    return f"[{','.join(texts)}]"


def _is_plan(word: str) -> bool:
    """Tell whether an override decides what is trained, not how or where."""
    where = ("tracking=", "tracking.uri=", "tracking.experiment=", "hydra")
    how = ("train.threads=", "sweep.shards=", "sweep.results=")
    return not word.startswith((*where, *how, *SWEEP_WORDS))


def _task_config(config: DictConfig) -> DictConfig:
    """Return the configuration as a task gets it: a copy without Hydra's part."""
    copy = config.copy()
    with read_write(copy), open_dict(copy):
        del copy["hydra"]
    return copy
