"""The stock MLflow UI, on loopback."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from pathlib import Path

from backprop_svc.cli.commands import words
from backprop_svc.cli.commands.server import serving
from backprop_svc.cli.terminal import interrupt
from backprop_svc.cli.terminal.errors import foreseen, stop
from backprop_svc.errors import SettingError, StoreError
from backprop_svc.interactive.terminal import say
from backprop_svc.tracking import default_uri, remember, shown_uri

HOST = "127.0.0.1"
USAGE = (
    "backprop-svc ui [tracking.uri=sqlite:///mlflow.db] [port=5000]\n"
    "Serves MLflow's UI on the tracked runs until Ctrl-C; opens at the newest run or sweep."
)


def ui(arguments: list[str]) -> int:
    """Serve the runs until Ctrl-C; takes ``tracking.uri=…`` and ``port=…``."""
    given = words.read("ui", arguments, ("tracking.uri", "port"), USAGE)
    remember(uri := given.get("tracking.uri", default_uri()))
    port = _port(given.get("port", "5000"))
    if uri.startswith(("http://", "https://")):
        server = f"tracking.uri is {shown_uri(uri)!r}, a server with a UI of its own"
        stop(f"{server}; open it in a browser")
    from backprop_svc.tracking.sqlite import file_named_by, gather_changes

    file = file_named_by(uri)
    if file is not None and not file.is_file():
        told = [f"tracking.uri={given['tracking.uri']}"] if "tracking.uri" in given else []
        stop(
            f"{file} does not exist in {Path.cwd()}; allowed: a database with runs; "
            f"run {shlex.join(['backprop-svc', 'train', *told])} first, or give "
            "tracking.uri=sqlite:///<path>"
        )
    from backprop_svc.tracking.store import prepare

    with foreseen(SettingError, StoreError):
        # MLflow's server would migrate the database of an older one.
        prepare(uri)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            stop(f"port {port} is taken; allowed: a free one; try port={port + 1}")
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    # A line for each request would hide the address.
    command += ["--uvicorn-opts", "--log-level warning"]
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "PYTHONWARNINGS": "ignore",
        **os.environ,
        # Not an argument: every user of the machine sees those, with the password in it.
        "MLFLOW_BACKEND_STORE_URI": uri,
    }
    # Standard output has our line alone: what MLflow says may come before it.
    try:
        with serving(command, quiet) as process:
            address = f"http://{HOST}:{port}{quiet.get('MLFLOW_STATIC_PREFIX', '')}"
            page, *sweeps = [f"{address}/{page}" for page in _latest(uri)]
            if _is_up(address, process):
                say(f"MLflow on {page} (Ctrl-C to stop)")
                for link in sweeps:
                    say(f"all sweeps: {link}")
                if sys.stdout.isatty():
                    webbrowser.open(page)
            return process.wait()
    except KeyboardInterrupt:
        interrupt.forget()
        return 0
    finally:
        if file is not None:
            gather_changes(file)


def _port(told: str) -> int:
    if not (told.isdecimal() and 0 < int(told) < 65536):
        stop(f"port is {told!r}; allowed: whole numbers from 1 to 65535; try port=5000")
    return int(told)


def _latest(uri: str) -> list[str]:
    # MLflow is slow to import, so it is imported while the server starts.
    from backprop_svc.tracking.client import latest_pages

    return latest_pages(uri)


def _is_up(address: str, process: subprocess.Popen[bytes]) -> bool:
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=2).close()
        except OSError:
            time.sleep(0.2)
        else:
            return True
    return False
