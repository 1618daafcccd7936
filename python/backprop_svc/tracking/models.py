"""Logged models as rows of MLflow's tables, and as files beside those of the runs."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from backprop_svc.scratch import scratch
from backprop_svc.tracking.artifacts import ARTIFACTS, Folder, below
from backprop_svc.tracking.entities import ACTIVE, Run, WriteModel
from backprop_svc.tracking.failures import artifact_errors
from backprop_svc.tracking.record import now
from backprop_svc.tracking.tables import (
    INPUTS,
    LATEST_METRICS,
    LOGGED_MODEL_METRICS,
    LOGGED_MODEL_PARAMS,
    LOGGED_MODEL_TAGS,
    LOGGED_MODELS,
)

MODELS = "models"
"""The folder of models, within that of an experiment."""
READY = 2
"""The status of a model that is whole."""


def id_of(run: Run) -> str:
    """Return the id of the model of a run, so that it is the same one when logged again."""
    return f"m-{run.info.run_id}"


def location_of(root: str, model_id: str) -> str:
    """Return the address of a model's files, below the artifacts of its experiment."""
    return below(root, MODELS, model_id, ARTIFACTS)


def write_files(folder: Path, location: str, model_id: str, write: WriteModel) -> None:
    """Write the files of a model: each of them at once, and the one that names all others last.

    Parameters
    ----------
    folder
        Where they will be.
    location
        The address of that folder.
    model_id, write
        The model, and what writes its files into an empty folder.
    """
    with scratch() as draft:
        write(model_id, location, draft)
        with artifact_errors(lambda: location, (OSError,)):
            for entry in sorted(draft.iterdir(), key=lambda entry: entry.name == "MLmodel"):
                Folder(folder).copy(entry, entry.name)


def logged(database: sa.Connection, run: Run, name: str) -> str | None:
    """Return the id of the model of a run that was logged by this name, and not deleted."""
    own = LOGGED_MODELS.c
    of_run = (own.source_run_id == run.info.run_id) & (own.name == name)
    whole = (own.status == READY) & (own.lifecycle_stage == ACTIVE)
    found = database.scalar(sa.select(own.model_id).where(of_run, whole).limit(1))
    return None if found is None else str(found)


def log_rows(database: sa.Connection, run: Run, name: str, location: str) -> None:
    """Write the rows of a model whose files are there; those of a deleted one are replaced.

    It has the params of its run, and the last value of each metric.
    """
    if logged(database, run, name) is not None:
        # Another process was quicker.
        return
    model_id, experiment_id = id_of(run), int(run.info.experiment_id)
    run_id, time = run.info.run_id, now()
    for table in (LOGGED_MODEL_METRICS, LOGGED_MODEL_TAGS, LOGGED_MODEL_PARAMS, LOGGED_MODELS):
        database.execute(table.delete().where(table.c.model_id == model_id))
    database.execute(
        LOGGED_MODELS.insert().values(
            model_id=model_id,
            experiment_id=experiment_id,
            name=name,
            artifact_location=location,
            creation_timestamp_ms=time,
            last_updated_timestamp_ms=time,
            status=READY,
            lifecycle_stage=ACTIVE,
            source_run_id=run_id,
        )
    )
    params = [
        {"experiment_id": experiment_id, "model_id": model_id, "param_key": k, "param_value": v}
        for k, v in run.data.params.items()
    ]
    if params:
        database.execute(LOGGED_MODEL_PARAMS.insert(), params)
    last = LATEST_METRICS.c
    database.execute(
        LOGGED_MODEL_METRICS.insert().from_select(
            [column.name for column in LOGGED_MODEL_METRICS.columns],
            sa.select(
                sa.literal(model_id), last.key, last.timestamp, last.step, last.value,
                sa.literal(experiment_id), last.run_uuid,
            ).where(last.run_uuid == run_id),
        )
    )  # fmt: skip
    link = {
        "source_type": "RUN_OUTPUT",
        "source_id": run_id,
        "destination_type": "MODEL_OUTPUT",
        "destination_id": model_id,
    }
    same = [INPUTS.c[column] == value for column, value in link.items()]
    database.execute(INPUTS.delete().where(*same))
    database.execute(INPUTS.insert().values(input_uuid=model_id.removeprefix("m-"), **link))
