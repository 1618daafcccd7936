"""The command as a user runs it: a process of its own, without this one's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "backprop_svc"]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HYDRA_"))}
# MLflow's server would start ten more processes for jobs that nobody gives it.
CLEAN["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"


def call(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**CLEAN, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
