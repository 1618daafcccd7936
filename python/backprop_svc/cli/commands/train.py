"""The task that Hydra runs: one run, or one job of a sweep."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from backprop_svc.arrays import Floats
from backprop_svc.cli.commands import model
from backprop_svc.cli.commands.shard import data_name, run_point, run_shard, swept
from backprop_svc.cli.config.experiment import Prepared
from backprop_svc.cli.config.going_on import go_on
from backprop_svc.cli.config.kept import kept
from backprop_svc.cli.config.overrides import name_of, settings_of
from backprop_svc.cli.config.problem import shown_unit
from backprop_svc.cli.config.schema import Config
from backprop_svc.cli.config.unused import refuse, unused
from backprop_svc.cli.terminal import show
from backprop_svc.cli.terminal.errors import FORESEEN, foreseen, require_values
from backprop_svc.cli.terminal.verbose import listen
from backprop_svc.errors import SettingError, StoreError
from backprop_svc.interactive.terminal import say
from backprop_svc.metric import scores
from backprop_svc.plots import painter
from backprop_svc.result import Result
from backprop_svc.sweep.experiment import Start
from backprop_svc.sweep.runs import to_runs
from backprop_svc.sweep.space import Points
from backprop_svc.tracking import Writer, open_writer
from backprop_svc.tracking.entities import MLFLOW_PARENT_RUN_ID
from backprop_svc.tracking.opening import Opening
from backprop_svc.tracking.record import Picture, RunRecord, build_tags, now
from backprop_svc.tracking.sqlite import uri_of
from backprop_svc.train import RECORDS


def train(config: DictConfig) -> Any:
    """Train and keep what the configuration says.

    Return the metric of a single run (``sweep.metric``: the loss on the rows of validation, or
    the last loss), the objective of Hydra's other sweepers; of a shard of a sweep its outcomes.
    """
    with foreseen(*FORESEEN):
        listen(HydraConfig.get().verbose)
        require_values(config)
        if HydraConfig.get().mode != RunMode.MULTIRUN:
            return _single(config)
        if cast(Config, config).sweep.configuration is None:
            return run_point(config)
        return run_shard(config)


PICTURE = "training.png"


def _single(config: DictConfig) -> float:
    overrides = HydraConfig.get().overrides.task
    words = [word for word in overrides if name_of(word).startswith("sweep.")]
    if words:
        raise SettingError(
            words[0],
            "a single run",
            "settings of sweeps with -m",
            "write backprop-svc sweep, or leave it out",
            verb="was given to",
        )
    config, data = go_on(config, overrides, data_name())
    prepared = Prepared.of(config, data)
    settings, experiment = prepared.config, prepared.experiment
    refuse(unused(settings, overrides))
    for note in prepared.notes:
        say(note)
    start = experiment.starts(Points(1, {}))
    where, epochs = prepared.tracking, settings.train.epochs
    draws = where is not None and epochs > 0
    if not draws:
        painter.dismiss()
    with painter.take() if draws else nullcontext() as artist:
        opening = None
        if where is not None:
            opening = Opening(lambda: open_writer(where.uri, where.experiment))
        result, time_taken = _train(prepared, start, opening)
        images = {}
        if artist is not None:
            images[PICTURE] = _picture(artist, prepared, result)
        achieved = experiment.evaluate(result)
        _show(prepared, result, achieved)
        if opening is not None and where is not None:
            runs = to_runs(
                experiment,
                Points(1, {}),
                result,
                achieved,
                sweep="",
                first=0,
                settings=settings_of(swept(overrides)),
                history=where.history,
                keep=where.weights,
                time=time_taken,
            )
            (record,) = runs.records()
            tags = {**record.tags, **build_tags()}
            if settings.init.run is not None:
                tags[MLFLOW_PARENT_RUN_ID] = settings.init.run
            texts = {"config.yaml": kept(config)}
            files = {} if runs.states is None else runs.states.files()
            run = replace(record, tags=tags, texts=texts, files=files, images=images)
            _track(prepared, opening, run)
    return float(scores(experiment.by, result, achieved)[0])


def _train(
    prepared: Prepared, start: Start, opening: Opening | None
) -> tuple[Result, tuple[int, int]]:
    """Train, and return when that began and ended, too."""

    def progress(done: int, total: int) -> None:
        bar(done, total)
        if opening is not None:
            # A store that fails costs no more than a moment of training.
            opening.look()

    began = now()
    with show.TrainingBar() as bar:
        result = prepared.experiment.train(start, RECORDS, progress=progress)
    return result, (began, now())


def _show(prepared: Prepared, result: Result, achieved: dict[str, Floats]) -> None:
    settings, experiment = prepared.config, prepared.experiment
    unit, factor = shown_unit(settings.data)
    show.print_training(result, 0, len(experiment.data.x), unit, factor)
    if str(result.outcome[0]) in {"dead", "diverged"}:
        show.print_scales(experiment.data, settings.data)
    if experiment.count_out_of_time(result):
        say("train.time_limit ended it before its last epoch")
    show.print_curvature(result)
    found = {name: float(values[0]) for name, values in achieved.items()}
    show.print_achieved(found, settings.data.unit, settings.data.unit_factor)


def _track(prepared: Prepared, opening: Opening, run: RunRecord) -> None:
    where = prepared.config.tracking
    with show.opening(where.uri):
        writer = opening.writer()
    with show.waiting("writing to MLflow"):
        run_id = _kept_by(writer, run, where.experiment)
    place = writer.look(run_id)
    say(f"tracked as {place}")
    if not place.startswith("http"):
        say(f"look at it with: {show.look(where.uri)}")
    model.log_asked([run_id], prepared.config.tracking, "its model")


def _kept_by(writer: Writer, run: RunRecord, experiment: str) -> str:
    """Keep a run; where its store fails, in a database beside it, which the error names.

    Return its id.
    """
    try:
        return writer.write(run)
    except StoreError as error:
        failed = error
    for folder in (Path.cwd(), Path(gettempdir())):
        file = folder / f"backprop-svc-{run.start_time}.db"
        uri = uri_of(file)
        try:
            open_writer(uri, experiment).write(run)
        except StoreError:
            continue
        fix = f"the run is kept in {file}: {show.look(uri)}"
        raise StoreError(failed.name, failed.value, failed.allowed, fix) from failed
    raise failed


def _picture(artist: painter.Painter, prepared: Prepared, result: Result) -> Picture:
    unit, factor = shown_unit(prepared.config.data)
    target = float(prepared.experiment.data.y.mean())
    return artist.draw(painter.TRAINING, result, 0, target, unit=unit, factor=factor)
