"""A server that ends with the command that started it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from backprop_svc.cli.commands import watch


@contextmanager
def serving(command: list[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server meanwhile; none of its processes is left, also not after kill -9.

    It is in a session of its own: Ctrl-C ends it from here, without its tracebacks. What it
    writes to standard output comes on standard error.
    """
    if os.name != "posix":
        process = subprocess.Popen(command, env=dict(env), stdout=sys.stderr)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()
        return
    ours, theirs = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-S", "-E", watch.__file__, str(ours), *command],
            env=dict(env),
            start_new_session=True,
            pass_fds=(ours,),
            stdout=sys.stderr,
        )
    except BaseException:
        os.close(theirs)
        raise
    finally:
        os.close(ours)
    try:
        yield process
    finally:
        os.close(theirs)
        process.wait()
