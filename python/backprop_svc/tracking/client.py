"""The writer for any tracking URI, run by run, by a client of MLflow's."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from backprop_svc.errors import SettingError
from backprop_svc.tracking import links
from backprop_svc.tracking.entities import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
    Client,
    Metric,
    Param,
    status_after,
)
from backprop_svc.tracking.failures import is_locked, may_pass, store_errors
from backprop_svc.tracking.links import Place
from backprop_svc.tracking.parents import (
    BY_CLIENT,
    INDEX,
    MOST_METRICS,
    MOST_PARAMS,
    SWEEP_ID,
    Parents,
    batches,
    drawn,
    log_files,
    tag,
)
from backprop_svc.tracking.patience import patiently
from backprop_svc.tracking.record import Progress, RunRecord, Runs, Summary, Sweep
from backprop_svc.tracking.source import source_tags
from backprop_svc.tracking.sqlite import file_named_by
from backprop_svc.tracking.uri import command_for, shown_uri

KIND_OF_EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}
"""The UI then shows what belongs to training, and not to language models."""
THREADS = 8
"""Runs written at once: a server answers several as quickly as one."""


@dataclass
class There:
    """What a store has of a sweep, by position."""

    finished: set[int] = field(default_factory=set)
    halves: dict[int, list[str]] = field(default_factory=dict)
    """Runs that an interrupt or a lost answer left half-written or doubled."""
    counts: Counter[str] = field(default_factory=Counter)
    """Finished runs with each outcome."""
    best: float = math.inf
    """The smallest last loss of a finished run that did not diverge."""


class ClientWriter:
    """Keeps runs with a :class:`.entities.Client`, which is MLflow's own one here."""

    kind = BY_CLIENT
    """What the parent of a sweep says of its writer."""
    most = 200
    """Runs that are given to it at once: those of some seconds."""

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        self._client = self._connect()
        with self.store_errors():
            self.experiment = patiently(lambda: self._experiment_id(experiment), is_locked)
            self.source_tags = source_tags()
        self._parents = Parents(self._client, uri, self.experiment, self.kind, self.source_tags)
        self._there: dict[str, There] = {}

    def _connect(self) -> Client:
        from backprop_svc.tracking.remote import connect

        return connect(self.uri)

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What the store raises where it refuses or fails."""
        return self._client.failures

    def write(self, record: RunRecord) -> str:
        """Keep one run, return its id; a failure leaves it FAILED, an interrupt KILLED."""
        with self.store_errors():
            tags = {**self.source_tags, **record.tags}
            # A run that a server made may be there although its answer was lost; one that a
            # lock kept out is not.
            run_id = patiently(lambda: self._create(record, tags), is_locked)
            with self._ended(run_id):
                patiently(lambda: self._fill(run_id, record), self.passes)
        return run_id

    def open_sweep(self, sweep: Sweep) -> str:
        """Return the run id of the sweep's parent; it is made, or taken up again."""
        with self.store_errors():
            return patiently(lambda: self._open_sweep(sweep), self.passes)

    @property
    def lease(self) -> str | None:
        """Name the lease of the sweep, if one process at a time writes it."""
        lease = self._parents.lease
        return None if lease is None else lease.name

    def write_runs(self, runs: Runs, parent: str) -> int:
        """Keep the runs that are not there yet, under their parent; return how many."""
        with self.store_errors():
            return patiently(lambda: self._write_confirmed(runs, parent), self.passes)

    def close_sweep(self, parent: str, status: str, summary: Summary | None = None) -> str:
        """End the parent as FINISHED, FAILED or KILLED; return where to look at it."""
        lease = self._parents.lease
        with self.store_errors(), self._parents.releasing():
            if status == "FINISHED":
                patiently(lambda: self._finish(parent, summary), self.passes)
            elif lease is None or not lease.is_lost:
                # What ended the sweep may be that the store is away.
                self._client.set_terminated(parent, status)
        return self.look(parent, links.METRICS)

    def report(self, parent: str) -> None:
        """Keep how far the sweep is as metrics of its parent."""
        with self.store_errors():
            self._parents.report(parent, self.progress(parent))

    def progress(self, parent: str) -> Progress:
        """Return how far the sweep is, in all processes that write it."""
        with self.store_errors():
            there = self._find(parent)
        return Progress(there.counts, there.best)

    def links(self, run_id: str) -> tuple[str, str]:
        """Return the addresses of the page of a sweep and of that with all sweeps."""
        address = links.address(self.uri) or links.LOCAL
        pages = (
            links.run_page(self.experiment, run_id, links.METRICS),
            links.sweeps_page(self.experiment),
        )
        return f"{address}/{pages[0]}", f"{address}/{pages[1]}"

    def place(self, parent: str) -> Place:
        """Return where the runs of a sweep are."""
        address = links.address(self.uri) or links.LOCAL
        return Place(address, self.experiment, parent, numbered=False)

    def leave_sweep(self) -> None:
        """End the work for a sweep that another process owns."""
        if self._parents.lease is not None:
            self._parents.lease.leave()

    def last_sweep(self) -> str | None:
        """Return the identity of the newest sweep that can go on."""
        with self.store_errors():
            found = self._parents.unfinished()
        return str(found[0].data.tags[SWEEP_ID]) if found else None

    def passes(self, error: Exception) -> bool:
        """Tell whether an error may be gone in some seconds, such as a server's restart."""
        return may_pass(error)

    def child_tags(self, runs: Runs, parent: str) -> dict[str, str]:
        """Tags which the runs of a sweep share; the rest of the versions is the parent's."""
        kept = (MLFLOW_USER, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE, MLFLOW_GIT_COMMIT)
        tags = {name: self.source_tags[name] for name in kept if name in self.source_tags}
        return {**tags, MLFLOW_PARENT_RUN_ID: parent, SWEEP_ID: runs.sweep}

    def _open_sweep(self, sweep: Sweep) -> str:
        with self._parents.releasing(only_errors=True):
            run_id = str(self._parents.open(sweep).info.run_id)
            if sweep.config:
                with self._ended(run_id):
                    self._client.log_text(run_id, sweep.config, "config.yaml")
        return run_id

    def _write_confirmed(self, runs: Runs, parent: str) -> int:
        if self._parents.lease is not None:
            self._parents.lease.confirm()
        return self._write_runs(runs, parent)

    def _keep_states(self, runs: Runs, parent: str) -> None:
        """Keep where runs ended, before the runs themselves are there."""
        if runs.states is not None:
            log_files(self._client, parent, {}, runs.states.files())

    def _write_runs(self, runs: Runs, parent: str) -> int:
        there, shared = self.there(parent), self.child_tags(runs, parent)
        runs = runs.select(
            np.flatnonzero([place not in there.finished for place in runs.index.tolist()])
        )
        positions = runs.index.tolist()
        missing = [
            (record, {**shared, **record.tags, INDEX: str(position)})
            for record, position in zip(runs.records(), positions, strict=True)
        ]
        try:
            self._keep_states(runs, parent)
            for position in positions:
                for run_id in there.halves.pop(position, []):
                    self._discard(run_id)
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(lambda task: self._write_own(*task), missing))
        except BaseException:
            # What of it has arrived is asked for before it is tried again.
            del self._there[parent]
            raise
        there.finished.update(positions)
        return len(missing)

    def _finish(self, parent: str, summary: Summary | None) -> None:
        if self._parents.lease is not None:
            self._parents.lease.confirm()
        self._tidy(parent)
        if summary is not None:
            best = None if summary.best is None else self._run_at(summary.best, parent)
            self._parents.finish(parent, summary, best)
        self._client.set_terminated(parent, "FINISHED")

    def _run_at(self, position: int, parent: str) -> str | None:
        """Return the id of the run at a position of a sweep."""
        search = f"{tag(MLFLOW_PARENT_RUN_ID)} = '{parent}' and {tag(INDEX)} = '{position}'"
        found = self._client.search_runs([self.experiment], search, max_results=1)
        return str(found[0].info.run_id) if found else None

    def _write_own(self, record: RunRecord, tags: dict[str, str]) -> None:
        if self._parents.lease is not None:
            self._parents.lease.check()
        run_id = self._create(record, tags)
        with self._ended(run_id):
            self._fill(run_id, record)

    def _create(self, record: RunRecord, tags: dict[str, str]) -> str:
        run = self._client.create_run(self.experiment, record.start_time, tags, record.name)
        return str(run.info.run_id)

    def _fill(self, run_id: str, record: RunRecord) -> None:
        """Give a run all that it has and end it; doing it again changes nothing."""
        self._log(run_id, record)
        self._client.set_terminated(run_id, "FINISHED", record.end_time)

    @contextlib.contextmanager
    def _ended(self, run_id: str) -> Iterator[None]:
        """Leave no run that seems to go on after an error or an interrupt."""
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(Exception):
                self._client.set_terminated(run_id, status_after(error))
            raise

    def _log(self, run_id: str, record: RunRecord) -> None:
        metrics = [Metric(n, v, record.end_time, step) for n, v, step in record.metrics]
        params = [Param(name, value) for name, value in record.params.items()]
        # Each call costs a server more than what is in it: the first has all of most runs.
        beside = MOST_METRICS - MOST_PARAMS
        self._client.log_batch(run_id, metrics[:beside], params[:MOST_PARAMS])
        for batch in batches(params[MOST_PARAMS:], MOST_PARAMS):
            self._client.log_batch(run_id, params=batch)
        for batch in batches(metrics[beside:], MOST_METRICS):
            self._client.log_batch(run_id, metrics=batch)
        files = {**record.files, **drawn(record.images)}
        log_files(self._client, run_id, record.texts, files)

    def _tidy(self, parent: str) -> None:
        """Delete the halves of a sweep whose answers were lost."""
        for halves in self._find(parent).halves.values():
            for run_id in halves:
                self._discard(run_id)

    def _discard(self, run_id: str) -> None:
        """Delete a half; among the deleted ones it does not seem to go on either."""
        self._client.set_terminated(run_id, "FAILED")
        self._client.delete_run(run_id)

    def there(self, parent: str) -> There:
        """Return what a sweep has under its parent; it is asked for once."""
        if parent not in self._there:
            self._there[parent] = self._find(parent)
        return self._there[parent]

    def _find(self, parent: str) -> There:
        there = There()
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self.experiment],
                f"{tag(MLFLOW_PARENT_RUN_ID)} = '{parent}' and {tag(INDEX)} != ''",
                max_results=1000,
                page_token=token,
            )
            for run in page:
                position = int(run.data.tags[INDEX])
                if run.info.status == "FINISHED" and position not in there.finished:
                    there.finished.add(position)
                    outcome = run.data.tags.get("outcome", "unresolved")
                    there.counts[outcome] += 1
                    loss = run.data.metrics.get("loss", math.inf)
                    if outcome != "diverged" and loss < there.best:
                        there.best = loss
                else:
                    there.halves.setdefault(position, []).append(run.info.run_id)
            token = page.token
            if not token:
                return there

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, tags=KIND_OF_EXPERIMENT))
            except self.failures:
                # Another process was quicker.
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise SettingError(
                "experiment",
                f"{name!r}, which was deleted",
                "an active or a new experiment",
                "choose another name, or restore it with "
                f"`{command_for(self.uri)}mlflow experiments restore -x {found.experiment_id}`",
            )
        return str(found.experiment_id)

    def look(self, run_id: str, tab: str = "") -> str:
        """Return where to look at a run."""
        address = links.address(self.uri)
        if address is not None:
            return f"{address}/{links.run_page(self.experiment, run_id, tab)}"
        file = file_named_by(self.uri)
        return f"run {run_id} in {shown_uri(self.uri) if file is None else file.absolute()}"

    def store_errors(self) -> contextlib.AbstractContextManager[None]:
        """Turn what this store raises into a :class:`StoreError`."""
        return store_errors(self.uri, self.failures)


def latest_pages(uri: str) -> list[str]:
    """Return pages of the UI: the newest run, or the sweep that it is of; all sweeps.

    Before the first run it is that of all experiments, without the second one.
    """
    from backprop_svc.tracking.access import client_of

    client = client_of(uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    order = ["attributes.start_time DESC"]
    newest = client.search_runs(experiments, max_results=1, order_by=order)
    if not newest:
        return [links.EXPERIMENTS]
    info, tags = newest[0].info, newest[0].data.tags
    run_id = tags.get(MLFLOW_PARENT_RUN_ID, info.run_id)
    page = links.run_page(info.experiment_id, run_id, links.METRICS * (SWEEP_ID in tags))
    if not client.search_runs([info.experiment_id], links.SWEEPS, max_results=1):
        return [page]
    return [page, links.sweeps_page(info.experiment_id)]
