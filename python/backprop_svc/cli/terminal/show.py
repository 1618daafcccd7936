"""What the terminal shows."""

from __future__ import annotations

import shlex
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Timer

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from backprop_svc import Result
from backprop_svc.cli.config.schema import DataConfig
from backprop_svc.cli.terminal import interrupt
from backprop_svc.cli.terminal.tables import print_table
from backprop_svc.datasets import Dataset
from backprop_svc.errors import counted, printable
from backprop_svc.interactive.progress import duration, number
from backprop_svc.interactive.terminal import Terminal, say
from backprop_svc.memory import told
from backprop_svc.sweep import repeats
from backprop_svc.sweep.estimate import Estimate
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.tracking import default_uri, shown_uri
from backprop_svc.tracking.uri import HIDDEN, command_for

PATIENCE = 1.0
"""Seconds that may pass before the terminal says what takes so long."""
MOST_ROWS = 21
LARGE = 30
"""Inputs or targets above which the learning rates of the presets are too large."""
BEST = 10
"""Runs of a sweep that are shown."""


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say what is being done, if it takes longer than a second."""
    console = Terminal(stderr=True)
    # Other terminals have no signs for the usual spinner.
    spinner = "dots" if console.encoding.lower().startswith("utf") else "line"
    status = console.status(what, spinner=spinner)
    timer = Timer(PATIENCE, status.start if console.is_live else lambda: None)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
    interrupt.answer()


def opening(uri: str) -> AbstractContextManager[None]:
    """Say that a store is opened, if it takes long: the first time MLflow makes its tables."""
    from backprop_svc.tracking.sqlite import file_named_by

    file = file_named_by(uri)
    is_new = file is not None and not file.exists()
    return waiting("MLflow makes its tables, once" if is_new else "opening MLflow")


class TrainingBar:
    """A progress bar that appears when training takes longer than a second."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._console = Terminal(stderr=True)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("training", total=1)

    def __call__(self, done: int, total: int) -> None:
        """Take the epochs done and their total."""
        interrupt.answer()
        if time.monotonic() - self._begin > PATIENCE and self._console.is_live:
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total)

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar.live.is_started:
            self._bar.stop()


def print_sweep(
    outcomes: Outcomes, differing: Collection[str], *, tracked: bool = False
) -> None:
    """Print the best runs, the share of each outcome, and the speed.

    The outcomes have their settings as they were written. ``differing`` names those that
    are not the same in all configurations. Runs that are tracked are shown with their ids.
    """
    axes, metric = outcomes.points, outcomes.metric
    table = Table(title="best runs", title_justify="left", box=None, pad_edge=False)
    best = outcomes.best(BEST)
    numbers = {"loss", "val_loss", "val_accuracy", metric} - {*axes}
    shown = {*differing, *axes, *numbers, "outcome"}
    chosen = [name for name in best[0] if name in shown]
    chosen += ["run_id"] if tracked else []
    for name in chosen:
        # Ids are given to other commands: a narrow terminal cuts the rest first.
        widest = max(len(str(run[name])) for run in best) if name == "run_id" else None
        table.add_column(printable(name), justify="right", min_width=widest)
    for run in best:
        cells = [_exactly(run[n]) if n in axes else run[n] for n in chosen]
        for name in numbers & {*chosen}:
            cells[chosen.index(name)] = f"{run[name]:.6g}"
        table.add_row(*map(printable, cells))
    print_table(table)
    if ties := outcomes.ties_told():
        say(f"\n{ties}")
    if outcomes.seeds:
        _print_settings(outcomes)
    say(f"\n{outcomes.told()}")
    say(f"{counted(len(outcomes) - outcomes.there, 'run')} in {_seconds(outcomes.seconds)} s")
    if outcomes.out_of_time:
        say(f"train.time_limit ended {outcomes.out_of_time:,} of them before their last epoch")


def print_estimate(needed: Estimate) -> None:
    """Print what a sweep will need, and how that was measured."""
    seconds = needed.training + (needed.writing or 0)
    parts = [
        f"{told(needed.memory)} of memory",
        f"some {duration(seconds)}" if seconds >= 1 else "less than a second",
    ]
    rates = f"{number(needed.runs / max(needed.training, 1e-9))} trained"
    if needed.store:
        parts.insert(0, f"{told(next(iter(needed.store.values())))} in the store")
    left = needed.runs - needed.there
    if needed.writing:
        rates += f", {number(left / needed.writing)} written"
    elif needed.writing is None and needed.store:
        parts[-1] += " to train (how quickly the store writes is measured with the first runs)"
    if needed.there:
        say(f"  {needed.there:,} of them are in the store")
    say(f"  {'still ' * bool(needed.there)}needs {', '.join(parts)}")
    say(f"  measured on {counted(needed.measured, 'run')}: {rates} a second")


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds >= 0.1 else f"{seconds:.2g}"


def _exactly(value: float) -> str:
    """Write a number so that it can be given again: as short as it is read back the same."""
    return repr(value).removesuffix(".0")


def look(uri: str) -> str:
    """Say how to see in MLflow what a database keeps."""
    if uri == default_uri():
        return "backprop-svc ui"
    return _with_secret(shlex.join(["backprop-svc", "ui", f"tracking.uri={shown_uri(uri)}"]))


def with_store(command: str, uri: str) -> str:
    """Write a command of MLflow's so that it finds a store."""
    return _with_secret(command_for(uri) + command)


def _with_secret(command: str) -> str:
    return f"{command}, and what {HIDDEN} hides" if HIDDEN in command else command


def say_where(links: tuple[str, str], place: str, uri: str) -> None:
    """Say where to look at a sweep, whose runs were tracked at a place, and at all sweeps."""
    sweep, sweeps = links
    if place != sweep:
        say(f"look at them with: {look(uri)}")
        say(f"this sweep: {sweep}")
    say(f"all sweeps: {sweeps}")


def print_training(result: Result, run: int, rows: int, unit: str, factor: float) -> None:
    """Print the guide's table (at most some twenty epochs, evenly) and its summary."""
    loss, prediction, weights = result.loss, result.prediction, result.weight_history
    if loss is None or prediction is None or weights is None:
        raise RuntimeError("the table needs the histories of loss, prediction and weights")
    network = result.network
    shown = network.parameter_names if network.parameters <= 6 else []
    diverged = int(result.diverged_at[run])
    first, epochs = result.first_epoch, int(result.epochs[run])
    table = Table(title=None, box=None, pad_edge=False)
    # The mean of several outputs says nothing.
    predicts = result.network.outputs == 1
    named = "prediction" if rows == 1 else "mean prediction"
    heading = [f"{named} [{unit}]" if unit else named] if predicts else []
    aside = result.val_loss
    looks = [] if aside is None else ["val_loss"]
    for column in ("epoch", "loss", *looks, *heading, *shown):
        table.add_column(printable(column), justify="right")
    if epochs:
        for epoch in _some_epochs(epochs):
            amounts = [prediction[run, epoch] * factor] if predicts else []
            table.add_row(
                str(first + epoch),
                f"{loss[run, epoch]:.6g}",
                *([] if aside is None else [f"{aside[run, epoch]:.6g}"]),
                *(_cell(amount, 2) for amount in amounts),
                *(_cell(weight, 6) for weight in weights[run, epoch, : len(shown)]),
            )
        print_table(table)
    finals = [f"{n} = {w!r}" for n, w in zip(shown, result.weights[run].tolist(), strict=False)]
    outcome = str(result.outcome[run])
    if diverged >= 0:
        outcome += f" at epoch {diverged}"
    if result.period[run]:
        outcome += f" with period {result.period[run]}"
    if result.stall_code[run]:
        outcome += f" at a {result.stall[run]}"
    if result.died_at[run] >= 0:
        outcome += f" since epoch {result.died_at[run]}"
    parts = [outcome]
    if epochs:
        if predicts:
            amount = f"{prediction[run, epochs - 1] * factor:.6g}"
            parts.append(f"last {named} {amount}{f' {unit}' if unit else ''}")
        parts.append(
            f"last loss {loss[run, epochs - 1]!r}".replace("np.float64(", "").rstrip(")")
        )
    say(f"\n{', '.join(parts)}")
    kept = last = first + epochs
    if result.best_epoch is not None:
        kept = int(result.best_epoch[run])
        say(
            f"the loss on the rows of validation was the smallest after "
            f"{counted(kept, 'epoch')} of {last:,}: these weights are kept"
        )
    if finals:
        say(f"after {counted(kept, 'epoch')}: {', '.join(finals)}")


def print_curvature(result: Result, run: int = 0) -> None:
    """Print the curvature where a run ended, if it was asked for."""
    found = [f"{name} {values[run]:.6g}" for name, values in result.curvature.items()]
    if found:
        say(", ".join(found))


def print_scales(data: Dataset, settings: DataConfig) -> None:
    """Say how to scale data that no training can stand, if they are not scaled."""
    for name, values, scale in (
        ("x", data.x, settings.x_scale),
        ("y", data.y, settings.y_scale),
    ):
        largest = np.abs(values).max()
        if scale == 1 and largest > LARGE:
            say(
                f"data.{name} reaches {largest:g}, and is not scaled: try "
                f"data.x_scale=standard data.y_scale=standard, or a smaller train.lr"
            )
            return


def _some_epochs(epochs: int) -> list[int]:
    """At most some twenty, evenly, the last among them."""
    # An odd step shows both states of what alternates.
    step = -(-epochs // MOST_ROWS) | 1
    return [*range(0, epochs - 1, step), epochs - 1]


def _print_settings(outcomes: Outcomes) -> None:
    """Print the best settings, each with the mean over its seeds."""
    best = outcomes.best_settings(BEST)
    names = repeats.differing(outcomes)
    table = Table(box=None, pad_edge=False)
    for name in (*names, outcomes.metric, repeats.RUNS):
        table.add_column(printable(name), justify="right")
    for setting in best:
        own = [setting[name] for name in names]
        cells = [_exactly(value) if isinstance(value, float) else value for value in own]
        row = [*cells, repeats.shown(setting), setting[repeats.RUNS]]
        table.add_row(*(printable(str(cell)) for cell in row))
    say(f"\nbest settings{repeats.of_all(outcomes, len(best))}: {repeats.title(outcomes)}")
    print_table(table)


SHOWN = {
    "loss": ("loss", ".6g"),
    "accuracy": ("accuracy", ".1f"),
    "rmse": ("RMSE", ".6g"),
    "r2": ("R²", ".4f"),
}
"""Of each metric what it is called, and how it is written."""


def print_achieved(found: dict[str, float], unit: str = "", factor: float = 1.0) -> None:
    """Print what the final weights achieve on the rows of training and of validation.

    An error is multiplied by the factor, and shown in the unit.
    """
    for rows, prefix in (("training", ""), ("validation", "val_")):
        units = {"accuracy": " %", "rmse": f" {unit}" if unit else ""}
        own = {name: found.get(f"{prefix}{name}", np.nan) for name in SHOWN}
        own["accuracy"] *= 100
        own["rmse"] *= factor
        parts = [
            f"{what} {own[name]:{form}}{units.get(name, '')}"
            for name, (what, form) in SHOWN.items()
            if np.isfinite(own[name])
        ]
        if parts:
            say(f"{rows}: {', '.join(parts)}")


def _cell(value: float, digits: int) -> str:
    """Write a number with fixed decimals, where these can hold it."""
    fixed = value == 0 or 10.0**-digits <= abs(value) < 1e7
    return f"{value:.{digits}f}" if fixed else f"{value:.{digits}g}"
