"""MLflow's own client: for servers, for other databases, and for making tables."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any, cast

from backprop_svc.tracking import entities
from backprop_svc.tracking.environment import told
from backprop_svc.tracking.failures import store_errors
from backprop_svc.tracking.patience import bounded

os.environ.update(told(os.environ))

from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

# What goes wrong is raised as well.
for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class RemoteClient(MlflowClient):
    """MLflow's client, which also takes the light entities."""

    failures: tuple[type[Exception], ...] = (MlflowException, SQLAlchemyError, OSError)

    def log_batch(  # type: ignore[override]
        self,
        run_id: str,
        metrics: Sequence[entities.Metric] = (),
        params: Sequence[entities.Param] = (),
        tags: Sequence[Any] = (),
        synchronous: bool | None = None,
    ) -> Any:
        """Keep values of metrics, and params."""
        return super().log_batch(
            run_id,
            [Metric(one.key, one.value, one.timestamp, one.step) for one in metrics],
            [Param(one.key, one.value) for one in params],
            tags,
            synchronous,
        )


def as_client(uri: str) -> entities.Client:
    """Return MLflow's client, whose entities have all that the light ones have."""
    return cast(entities.Client, RemoteClient(uri))


def connect(uri: str) -> entities.Client:
    """Return MLflow's client for a store.

    Raises
    ------
    StoreError
        MLflow does not open it.
    """
    with store_errors(uri, RemoteClient.failures):
        return bounded(as_client(uri), uri)


def make_tables(uri: str) -> None:
    """Let MLflow make its tables in an empty database, as it does when it opens one."""
    MlflowClient(uri).search_experiments(max_results=1)
