"""No password of a tracking URI is shown, kept or told to other users of the machine."""

from __future__ import annotations

import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

import stores
from backprop_svc.errors import SettingError
from backprop_svc.tracking import checked_uri, remember, shown_uri, without_password
from command import CLEAN, COMMAND, call

MARKER = "Zq7kXv"
"""A password, of which no part is anywhere else."""


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("sqlite:////a@b/c:d@e.db", "sqlite:////a@b/c:d@e.db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://me:se/cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:se cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:se@cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:s@e/c@ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:s%40e@host:54/db", "postgresql://me:***@host:54/db"),
        ("postgresql://me:secret@host:port/db", "postgresql://***"),
        ("postgresql://h/db?user=me&password=secret", "postgresql://h/db?user=me&***"),
        ("postgresql://h/db?p%61ssword=secret", "postgresql://h/db?***"),
        ("postgresql://h/db?secret", "postgresql://h/db?***"),
        (
            "postgresql://me@h/db?sslmode=require&sslpassword=s",
            "postgresql://me@h/db?sslmode=require&***",
        ),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dsecret", "mssql+pyodbc:///?***"),
        ("mssql+pyodbc:///?odbc_connect=UID=a;PWD=b&secret", "mssql+pyodbc:///?***"),
        ("http://token@host:5000", "http://***@host:5000"),
        ("https://me:s/e@cr@host/path?token=x", "https://***@host/path?***"),
        ("http://h/#/experiments/1?workflowType=a", "http://h/#/experiments/1?workflowType=a"),
        ("host=h password=secret", "***"),
    ],
)
def test_a_uri_is_shown_without_its_secrets(uri: str, expected: str) -> None:
    assert shown_uri(uri) == expected


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("postgresql://me:qwertz@h/db", "dsn: password=qwertz host=h"),
        ("postgresql://me:qwe rtz@h/db", "uri: postgresql://me:qwe\n    rtz@h/db"),
        ("postgresql://me:qwe%20rtz@h/db", "password='qwe rtz'"),
        ("postgresql://me:qwe rtz@h/db", "at postgresql://me:qwe%20rtz@h/db and qwe+rtz"),
        ("postgresql://h/db?sslpassword=qwertz", "invalid option sslpassword=qwertz"),
        ("mssql:///?odbc_connect=D%3Dx%3BPWD%3Dqwertz", "login: PWD=qwertz;"),
        ("http://qwertz@h", "request to http://qwertz@h/api failed"),
        ("http://me:qwertz@h", "Authorization me:qwertz for /api"),
    ],
)
def test_no_secret_of_a_known_uri_is_in_what_a_library_says(uri: str, told: str) -> None:
    remember(uri)
    assert not re.search("qwe|rtz", without_password(told))


def test_a_password_that_is_part_of_a_word_leaves_the_word() -> None:
    remember("postgresql://postgres:sql@h/db")
    assert without_password("postgresql, or sqlite") == "postgresql, or sqlite"


@pytest.mark.parametrize("sign", ["@", "@/", "/@"])
def test_a_password_that_sqlalchemy_would_cut_in_two_is_refused(sign: str) -> None:
    with pytest.raises(SettingError, match="percent-encoded") as caught:
        checked_uri(f"postgresql://me:{MARKER}{sign}{MARKER}@host/db")
    assert MARKER not in str(caught.value)
    assert checked_uri("postgresql://m@e:a%40b@host/db")


def test_a_password_that_is_a_sign_leaves_how_to_write_it() -> None:
    with pytest.raises(SettingError, match="write %40 for @"):
        checked_uri("postgresql://me:@@host/db")
    for sign in ("@", "%40", "%2F", "%41", "%"):
        remember(f"postgresql://me:{sign}@127.0.0.1:1/db")
        told = "write %40 for @, postgresql://me@host/db: A run"
        assert without_password(told) == told


@pytest.mark.parametrize("sign", ["/", "?", "#", "@/", "/@", "?@"])
def test_a_password_that_ends_an_address_is_refused(sign: str) -> None:
    for user in ("me:", ""):
        with pytest.raises(SettingError, match="percent-encoded") as caught:
            checked_uri(f"http://{user}{MARKER}{sign}{MARKER}@host/path")
        assert MARKER not in str(caught.value)
    assert checked_uri("http://me:a@b%2Fc@host/path?d#e")


@pytest.mark.parametrize("command", ["ui", "upgrade"])
def test_no_password_is_in_what_other_commands_say(tmp_path: Path, command: str) -> None:
    for sign in "@/":
        for place in ("postgresql", "http"):
            uri = f"{place}://me:{MARKER}{sign}{MARKER}@127.0.0.1:1/db"
            for words, env in (
                ([f"tracking.uri={uri}"], {}),
                ([], {"MLFLOW_TRACKING_URI": uri}),
            ):
                done = call(tmp_path, command, *words, **env)
                assert done.returncode == 1
                assert done.stderr.startswith("backprop-svc: tracking.uri is ")
                assert MARKER not in done.stdout + done.stderr


@contextmanager
def ui(folder: Path, **env: str) -> Iterator[str]:
    """MLflow's UI by the command; yields its address."""
    port = stores.free_port()
    with (folder / "ui.log").open("w") as log:
        process = subprocess.Popen(
            [*COMMAND, "ui", f"port={port}"],
            cwd=folder,
            env={**CLEAN, **env},
            stdout=log,
            stderr=log,
        )
    try:
        address = f"127.0.0.1:{port}"
        url = f"http://{address}/health"
        stores.wait_for(lambda: urllib.request.urlopen(url, timeout=2).close())
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def arguments_of_all_processes() -> str:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


def test_no_password_reaches_the_terminal_the_store_or_other_users(tmp_path: Path) -> None:
    said = []
    with stores.postgres() as trusting:
        # PostgreSQL trusts here: it takes any password.
        spelled = trusting.replace("postgres@", f"postgres:{MARKER}%20{MARKER}@")
        env = {"MLFLOW_TRACKING_URI": spelled, "STORE": spelled}
        done = call(tmp_path, "train", "train.epochs=2", **env)
        assert done.returncode == 0, done.stderr
        said.append(done)
        with ui(tmp_path, **env) as address:
            assert MARKER not in arguments_of_all_processes()
            assert f"port={address.rpartition(':')[2]}" in arguments_of_all_processes()
            more = {"STORE": f"http://me:{MARKER}@{address}"}
            words = ["train.lr=0.1,0.2", "tracking.uri='${oc.env:STORE}'"]
            done = call(tmp_path, "sweep", *words, **more)
            assert done.returncode == 0, done.stderr
            said.append(done)
        shown = call(tmp_path, "train", "--cfg", "job", "--resolve", **env)
        assert "uri: postgresql+psycopg://postgres:***@" in shown.stdout
        said.append(shown)
        engine = sa.create_engine(trusting)
        tables = sa.MetaData()
        tables.reflect(engine)
        with engine.connect() as connection:
            rows = [
                row
                for table in tables.sorted_tables
                for row in connection.execute(sa.select(table)).fetchall()
            ]
        engine.dispose()
    # That is looked for where it would be.
    assert len([row for row in rows if "backprop.version" in row]) >= 3
    assert MARKER not in str(rows)
    kept = list(tmp_path.rglob("config.yaml"))
    assert len(kept) == 2
    assert "${oc.env:MLFLOW_TRACKING_URI" in kept[0].read_text() + kept[1].read_text()
    for file in (*kept, *tmp_path.glob("mlruns/**/*.*"), tmp_path / "ui.log"):
        if file.is_file():
            assert MARKER.encode() not in file.read_bytes(), file
    for done in said:
        assert MARKER not in done.stdout + done.stderr


PLACE = "127.0.0.1:1/db"
SPELLINGS = {
    "space": f"postgresql://me:{MARKER} {MARKER}@{PLACE}",
    "at": f"postgresql://me:{MARKER}@{MARKER}@{PLACE}",
    "encoded": f"postgresql://me:%20{MARKER}%40@{PLACE}",
    "password": f"postgresql://{PLACE}?user=me&password={MARKER}",
    "sslpassword": f"postgresql://me@{PLACE}?sslpassword={MARKER}&nonsense={MARKER}",
    "odbc": f"mssql+pyodbc:///?odbc_connect=SERVER%3Dh%3BPWD%3D{MARKER}",
    "port": f"postgresql://me:{MARKER}@127.0.0.1:x/db",
    "http": f"http://me:{MARKER}@127.0.0.1:1",
}


def test_no_password_is_in_what_a_failure_says(tmp_path: Path) -> None:
    commands: list[tuple[list[str], dict[str, str]]] = []
    for uri in SPELLINGS.values():
        by_word = ["train", f"tracking.uri='{uri}'"]
        # Unquoted, Hydra cannot read some of them, and says so.
        by_bare_word = ["sweep", f"tracking.uri={uri}", "train.lr=0.1,0.2"]
        commands += [(["sweep", "train.lr=0.1,0.2"], {"MLFLOW_TRACKING_URI": uri})]
        commands += [(by_word, {"HYDRA_FULL_ERROR": "1"}), (by_bare_word, {})]
    for words, env in commands:
        done = call(tmp_path, *words, **env)
        said = done.stdout + done.stderr
        assert done.returncode == 1, (words, said)
        assert "tracking" in said, words
        assert MARKER not in said, words
