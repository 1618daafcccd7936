"""The parents of sweeps in a store: found, made, taken up, and ended once."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from backprop_svc.errors import SettingError
from backprop_svc.scratch import scratch
from backprop_svc.tracking import links
from backprop_svc.tracking.artifacts import smaller
from backprop_svc.tracking.entities import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    Client,
    Metric,
    Param,
    Run,
    ViewType,
    status_after,
)
from backprop_svc.tracking.lease import Lease
from backprop_svc.tracking.plan import Plan
from backprop_svc.tracking.record import Metrics, Picture, Progress, Summary, Sweep, now
from backprop_svc.tracking.uri import command_for, shown_uri, without_password

if TYPE_CHECKING:
    from PIL.Image import Image

SWEEP_ID, KIND, INDEX = "backprop.sweep_id", "backprop.kind", "backprop.index"
OUTCOME = "outcome"
"""The tag of a run that names its outcome."""
DIGEST, PLAN, WRITER = "backprop.digest", "backprop.plan", "backprop.writer"
METRIC = "backprop.metric"
"""The tag of a sweep that says what tells which of its runs is the best."""
BY_CLIENT, IN_BULK = "ClientWriter", "DatabaseWriter"
"""Who writes the runs of a sweep: the ids of the first are drawn by MLflow."""
MORE = "\n\n---\n\n"
"""Between the description of a sweep and what is added in the end."""
MOST_NOTED = 5000
"""Characters that every MLflow takes as a tag."""
MOST_NAMED = 5
"""Sweeps that a message names."""
MOST_METRICS, MOST_PARAMS = 1000, 100
"""What MLflow's server takes in one ``log_batch``."""
_PICTURE = re.compile(r"(.+?)[+%]step[+%]0[+%]timestamp[+%]\d+[+%][0-9a-f-]{36}")
"""How MLflow names a picture, without its ending."""


class Parents:
    """The parents of sweeps in one experiment."""

    def __init__(
        self, client: Client, uri: str, experiment: str, writer: str, tags: dict[str, str]
    ) -> None:
        self._client, self._uri, self._experiment = client, uri, experiment
        self._writer, self._tags = writer, tags
        self.lease: Lease | None = None

    def open(self, sweep: Sweep) -> Run:
        """Return the parent of a sweep, made or taken up.

        Raises
        ------
        SettingError
            It is not the same sweep, or not there to go on, or another process writes it.
        """
        run = self._find(sweep)
        if run is None:
            run = self._make(sweep)
            try:
                return self._take_up(run, sweep, is_new=True)
            except BaseException as error:
                with suppress(Exception):
                    self._client.set_terminated(run.info.run_id, status_after(error))
                raise
        if sweep.plan is not None:
            self._refuse_other(run, sweep.id, sweep.plan)
        return self._take_up(run, sweep, is_new=False)

    def _take_up(self, run: Run, sweep: Sweep, *, is_new: bool) -> Run:
        if is_new or sweep.plan is not None:
            # It may have been stopped before it was described.
            self._describe(run, sweep)
        if sweep.lease is not None:
            self.lease = Lease.join(self._client, run, sweep.lease)
        elif sweep.plan is not None:
            self.lease = Lease.take(self._client, run.info.run_id, is_new=is_new)
        if sweep.lease is None and run.info.status != "RUNNING":
            self._client.update_run(run.info.run_id, "RUNNING")
        if self._writer == BY_CLIENT != run.data.tags.get(WRITER):
            # A sweep stays so: its runs are then found by their tags, not by their ids.
            self._client.set_tag(run.info.run_id, WRITER, BY_CLIENT)
        return run

    def unfinished(self) -> list[Run]:
        """Return the sweeps that can go on, the one that was begun last first."""
        # A sweep of another sweeper has no digest: nobody knows the whole of it.
        return list(
            self._client.search_runs(
                [self._experiment],
                f"{tag(KIND)} = 'sweep' and {tag(DIGEST)} LIKE '_%' "
                "and attributes.status != 'FINISHED'",
                max_results=MOST_NAMED,
                order_by=["attributes.start_time DESC"],
            )
        )

    def report(self, parent: str, progress: Progress) -> None:
        """Keep how far the sweep is, unless as much of it was told before."""
        run = self._client.get_run(parent)
        if progress.runs > run.data.metrics.get("runs", 0):
            self._log_metrics(run, progress.metrics())

    def finish(self, parent: str, summary: Summary, best: str | None) -> None:
        """Keep the summary; what of it is there already is not kept twice.

        ``best`` is the id of the best run.
        """
        run = self._client.get_run(parent)
        self._log_metrics(run, summary.metrics)
        self._complete_note(run, best, summary)
        if summary.metric and run.data.tags.get(METRIC) != summary.metric:
            # It went on, or was begun by a sweeper that does not know all of it.
            self._client.set_tag(parent, METRIC, summary.metric)
        files = {**summary.files, **drawn(summary.pages)}
        log_files(self._client, parent, summary.texts, files)
        for title, picture in summary.figures.items():
            self._log_picture(parent, title, picture)

    @contextmanager
    def releasing(self, *, only_errors: bool = False) -> Iterator[None]:
        """Let other processes write the sweep afterwards, or after an error only."""
        try:
            yield
            if self.lease is not None and not only_errors:
                self.lease.give_back()
        except BaseException:
            if self.lease is not None:
                self.lease.abandon()
            raise

    def _find(self, sweep: Sweep) -> Run | None:
        everywhere = self._client.search_experiments(view_type=ViewType.ALL)
        found = self._client.search_runs(
            list({self._experiment, *(e.experiment_id for e in everywhere)}),
            f"{tag(SWEEP_ID)} = '{sweep.id}' and {tag(KIND)} = 'sweep'",
            ViewType.ALL,
            order_by=["attributes.start_time ASC"],
        )
        own = [run for run in found if run.info.experiment_id == self._experiment]
        active = [run for run in own if run.info.lifecycle_stage == "active"]
        if active:
            # Two commands can have begun it in the same moment: all take the first.
            return active[0]
        setting = "resume" if sweep.resume else "sweep_id"
        if own:
            raise SettingError(
                setting,
                f"{sweep.id}, a sweep that was deleted",
                "a sweep that is there",
                f"restore it with `{command_for(self._uri)}mlflow runs restore --run-id "
                f"{own[0].info.run_id}`, "
                "or leave {name} out to begin a new one",
            )
        if found:
            names = {e.experiment_id: e.name for e in everywhere}
            elsewhere = names.get(found[0].info.experiment_id, "")
            raise SettingError(
                setting,
                f"{sweep.id}, a sweep of the experiment {elsewhere!r}",
                f"sweeps of the experiment {names.get(self._experiment, self._experiment)!r}",
                f"name the experiment {elsewhere!r}, or leave {{name}} out to begin a new one",
            )
        if sweep.resume or sweep.lease is not None:
            can = "; ".join(map(_told, self.unfinished()))
            raise SettingError(
                setting,
                f"{sweep.id}, and {shown_uri(self._uri)} has no such sweep",
                f"one that can go on: {can}"
                if can
                else "one that can go on, but there is none",
                "correct it, or leave {name} out to begin a new one",
            )
        return None

    def _make(self, sweep: Sweep) -> Run:
        tags = {
            **self._tags,
            SWEEP_ID: sweep.id,
            KIND: "sweep",
            DIGEST: "" if sweep.plan is None else sweep.plan.digest,
            **({} if sweep.plan is None else {PLAN: sweep.plan.kept()}),
            WRITER: self._writer,
            **({METRIC: sweep.metric} if sweep.metric else {}),
        }
        if sweep.goes_on_from is not None:
            tags[MLFLOW_PARENT_RUN_ID] = sweep.goes_on_from
        name = f"sweep {sweep.axes} ({sweep.id})" if sweep.axes else f"sweep {sweep.id}"
        made: Run = self._client.create_run(self._experiment, now(), tags, name)
        return made

    def _describe(self, run: Run, sweep: Sweep) -> None:
        """Keep what the sweep is, where that is not there yet."""
        run_id = run.info.run_id
        missing = [
            Param(name, without_password(value))
            for name, value in sweep.params.items()
            if name not in run.data.params
        ]
        for batch in batches(missing, MOST_PARAMS):
            self._client.log_batch(run_id, params=batch)
        if MLFLOW_RUN_NOTE not in run.data.tags:
            told = links.note(
                self._experiment,
                run_id,
                without_password(sweep.description),
                metric=sweep.metric,
            )
            self._client.set_tag(run_id, MLFLOW_RUN_NOTE, told)

    def _complete_note(self, run: Run, best: str | None, summary: Summary) -> None:
        """Add the best run to the links of the note, where nobody has changed these.

        What more there is to say stands below, in place of what was said before.
        """
        note, run_id = run.data.tags.get(MLFLOW_RUN_NOTE, ""), run.info.run_id
        first, end, rest = note.partition("\n")
        metric = run.data.tags.get(METRIC, "")
        begun = links.note(self._experiment, run_id, "", metric=metric)
        if best is not None and first.endswith(begun):
            by = summary.metric or metric
            first = links.note(self._experiment, run_id, "", best, metric=by)
        more = summary.note
        rest = rest.partition(MORE)[0].rstrip()
        told = f"{first}{end}{rest}"
        if more and len(told) + len(more) < MOST_NOTED:
            told += f"{MORE}{more}"
        if told != note:
            self._client.set_tag(run_id, MLFLOW_RUN_NOTE, told)

    def _refuse_other(self, run: Run, sweep: str, plan: Plan) -> None:
        tags = run.data.tags
        if tags.get(DIGEST, "") == plan.digest:
            return
        begun = Plan.read(tags.get(PLAN, ""))
        if begun is None:
            raise SettingError(
                f"the sweep {sweep}", "begun by a version that did not keep its settings",
                "sweeps that this version began", "begin a new sweep", verb="was",
            )  # fmt: skip
        told = "; ".join(plan.differences(begun)) or "it cannot be told which"
        hydra = plan.hydra_of(begun)
        raise SettingError(
            f"the sweep {sweep}",
            f"begun with other axes or settings: {told}",
            "the same axes, settings and data",
            "begin a new sweep, or resume this one "
            + ("as it was begun" if hydra is None else f"with hydra-core=={hydra}"),
            verb="was",
        )

    def _log_metrics(self, run: Run, metrics: Metrics) -> None:
        there = {
            (name, point.step)
            for name in {name for name, _, _ in metrics} & set(run.data.metrics)
            for point in self._client.get_metric_history(run.info.run_id, name)
        }
        when = now()
        points = [
            Metric(name, value, when, step)
            for name, value, step in metrics
            if (name, step) not in there
        ]
        for batch in batches(points, MOST_METRICS):
            self._client.log_batch(run.info.run_id, metrics=batch)

    def _log_picture(self, parent: str, title: str, picture: Picture) -> None:
        paths = [file.path for file in self._client.list_artifacts(parent, "images")]
        files = {path.rpartition("/")[2] for path in paths}
        for file in files:
            stem = file.removesuffix(".png")
            named = _PICTURE.fullmatch(stem)
            if stem == file or not named or re.sub("[~#]", "/", named[1]) != title:
                continue
            previews = {f"{stem}{sign}compressed.webp" for sign in "+%"}
            if not previews & files:
                # It was stopped between the two.
                sign = "+" if "+step+" in stem else "%"
                for png in drawn({title: picture}).values():
                    self._log_preview(parent, f"{stem}{sign}compressed.webp", png)
            return
        for png in drawn({title: picture}).values():
            self._client.log_image(parent, _opened(png), key=title, step=0)

    def _log_preview(self, parent: str, name: str, png: bytes) -> None:
        with scratch() as folder:
            smaller(_opened(png)).save(folder / name)
            self._client.log_artifact(parent, str(folder / name), "images")


def drawn(pictures: Mapping[str, Picture]) -> dict[str, bytes]:
    """Return pictures by their names; one that cannot be drawn takes nothing else with it."""
    found = {}
    for name, picture in pictures.items():
        try:
            found[name] = picture()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(
                f"backprop-svc: {name} is left out, since it failed: {reason}", file=sys.stderr
            )
    return found


def _opened(png: bytes) -> Image:
    import PIL.Image

    return PIL.Image.open(io.BytesIO(png))


def log_files(
    client: Client, run_id: str, texts: Mapping[str, str], files: Mapping[str, bytes]
) -> None:
    """Keep artifacts by their paths, over those of before."""
    if not texts and not files:
        return
    with scratch() as folder:
        told = {name: text.encode() for name, text in texts.items()}
        for name, content in (told | dict(files)).items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        client.log_artifacts(run_id, str(folder))


def batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    """Cut a list into what MLflow's server takes at once."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def tag(name: str) -> str:
    """Name a tag in a search."""
    return f"tags.`{name}`"


def _told(run: Run) -> str:
    begun = datetime.fromtimestamp(run.info.start_time / 1000)
    return f"{run.data.tags[SWEEP_ID]} ({run.info.status}, begun {begun:%Y-%m-%d %H:%M})"
