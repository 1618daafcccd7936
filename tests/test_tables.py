"""Which databases are written in bulk: those whose own tables are the known ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

import stores
from backprop_svc.tracking import open_writer
from backprop_svc.tracking.check import check
from backprop_svc.tracking.client import ClientWriter
from backprop_svc.tracking.database import DatabaseWriter
from backprop_svc.tracking.record import RunRecord, Sweep
from backprop_svc.tracking.revision import State, installed_revisions
from backprop_svc.tracking.tables import difference
from test_tracking import chunk


def changed(folder: Path, *statements: str) -> str:
    """MLflow's database after some changes; return its URI."""
    uri = stores.empty_database(folder / "mlflow.db")
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            assert database.execute(statement).rowcount in {1, -1}, statement
        database.commit()
    return uri


def rewritten(table: str, old: str, new: str) -> str:
    """The statement that changes how a table was declared."""
    old, new = (text.replace("'", "''") for text in (old, new))
    return (
        f"UPDATE sqlite_master SET sql = replace(sql, '{old}', '{new}')"
        f" WHERE type = 'table' AND name = '{table}' AND instr(sql, '{old}')"
    )


HARMLESS = [
    "ALTER TABLE runs ADD COLUMN note VARCHAR(10)",
    "ALTER TABLE metrics ADD COLUMN weight INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE tags ADD COLUMN twice VARCHAR GENERATED ALWAYS AS (value || value)",
    "CREATE INDEX more ON params (value)",
    "CREATE TABLE another (id INTEGER PRIMARY KEY)",
    rewritten("params", "value VARCHAR(8000)", "value TEXT"),
    rewritten("runs", "'PROJECT'", "'PROJECT', 'ANOTHER'"),
]
DIFFERENT = [
    (rewritten("runs", "name VARCHAR(250)", "name VARCHAR(250), owner VARCHAR NOT NULL"),
     "the column runs.owner is new and has no default"),
    ("ALTER TABLE runs RENAME COLUMN user_id TO owner",
     "the column runs.user_id is not there"),
    (rewritten("metrics", "value FLOAT", "value VARCHAR(20)"),
     "the column metrics.value has the type VARCHAR(20)"),
    (rewritten("params", "value VARCHAR(8000)", "value VARCHAR(500)"),
     "the column params.value has the type VARCHAR(500)"),
    (rewritten("metrics", "step BIGINT", "step SMALLINT"),
     "the column metrics.step has the type SMALLINT"),
    (rewritten("latest_metrics", "PRIMARY KEY (\"key\", run_uuid)",
               "PRIMARY KEY (\"key\", run_uuid, step)"),
     "the primary key of latest_metrics is (key, run_uuid, step)"),
    (rewritten("runs", "deleted_time BIGINT", "deleted_time BIGINT NOT NULL DEFAULT 0"),
     "the column runs.deleted_time must have a value"),
    (rewritten("tags", "REFERENCES runs (run_uuid)", "REFERENCES experiments (experiment_id)"),
     "the column tags.run_uuid refers to experiments"),
    ("CREATE UNIQUE INDEX once ON runs (name)", "the column runs.name must be unique"),
    (rewritten("runs", "'FINISHED'", "'DONE'"),
     "the column runs.status is checked by status IN"),
    ("DROP TABLE latest_metrics", "the table latest_metrics is not there"),
]  # fmt: skip


@pytest.mark.parametrize("statement", HARMLESS)
def test_what_fills_itself_is_no_difference(tmp_path: Path, statement: str) -> None:
    uri = changed(tmp_path, statement)
    writer = open_writer(uri, "some")
    assert type(writer) is DatabaseWriter
    parent = writer.open_sweep(Sweep("a" * 16))
    assert writer.write_runs(chunk(), parent) == 6


@pytest.mark.parametrize(("statement", "said"), DIFFERENT)
def test_the_difference_is_named(tmp_path: Path, statement: str, said: str) -> None:
    uri = changed(tmp_path, statement)
    found = difference(sa.inspect(sa.create_engine(uri)))
    assert found is not None
    assert found.startswith(said)


def test_other_tables_are_written_by_the_client(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = changed(tmp_path, "CREATE UNIQUE INDEX once ON tags (run_uuid, value, key)")
    writer = open_writer(uri, "some")
    assert type(writer) is ClientWriter
    (line,) = capsys.readouterr().err.splitlines()
    assert "the column tags.run_uuid, value, key must be unique" in line
    assert "each run is written by itself" in line
    writer.write(RunRecord("a run", {}, [("loss", 0.5, 0)], {}, 1, 2))


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with stores.postgres() as uri:
        yield uri


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER TABLE runs ADD COLUMN note VARCHAR(10)", None),
        ("ALTER TABLE runs ADD COLUMN number INTEGER GENERATED ALWAYS AS IDENTITY", None),
        ("ALTER TABLE params ALTER COLUMN value TYPE TEXT", None),
        ("ALTER TABLE metrics ALTER COLUMN value TYPE REAL", "the column metrics.value has"),
        ("ALTER TABLE runs ADD COLUMN owner INTEGER NOT NULL", "the column runs.owner is new"),
        ("ALTER TABLE tags ADD CONSTRAINT short CHECK (length(value) < 9)", "the column tags"),
        ("ALTER TABLE runs ADD CONSTRAINT one UNIQUE (name)", "the column runs.name must be"),
    ],
)
def test_the_same_on_postgresql(postgres: str, statement: str, said: str | None) -> None:
    engine = sa.create_engine(postgres)
    with engine.connect() as connection:
        connection.execute(sa.text(statement))
        found = difference(sa.inspect(connection))
        connection.rollback()
        assert difference(sa.inspect(connection)) is None
    engine.dispose()
    assert (found or "").startswith(said or "\0") or found is said


def test_a_postgresql_of_another_mlflow_is_refused(postgres: str) -> None:
    engine = sa.create_engine(postgres)
    assert check(postgres) is State.CURRENT
    newest = installed_revisions()[1]
    try:
        for revision, said in (
            ("bda7b8c39065", "older than .* make a backup and run `mlflow db upgrade`"),
            ("feedfeedfeed", "newer than .*pip install --upgrade mlflow"),
        ):
            with engine.begin() as connection:
                change = f"UPDATE alembic_version SET version_num = '{revision}'"
                connection.execute(sa.text(change))
            with pytest.raises(ConnectionError, match=said):
                open_writer(postgres, "some")
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{newest}'"))
        engine.dispose()
