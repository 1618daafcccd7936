"""Ctrl-C while the package is imported, which extensions in the middle of that swallow."""

from __future__ import annotations

# Nothing slow: until this file is read, Ctrl-C is answered by Python.
import os
import signal
import sys
import threading


class Deferred:
    """Answers a Ctrl-C after the imports; the command, which has begun nothing, at once."""

    def __enter__(self) -> None:
        self._asked = False
        in_main = threading.current_thread() is threading.main_thread()
        # Another answer than Python's is somebody else's; background jobs ignore it.
        self._waits = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._waits:
            signal.signal(signal.SIGINT, stop if _is_command() else self._note)

    def __exit__(self, *_: object) -> None:
        if self._waits and not _is_command():
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._asked:
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        self._asked = True


def stop(*_: object) -> None:
    """Say one line, and end the process with the code that shells give to Ctrl-C."""
    os.write(2, b"backprop-svc: stopped\n")
    os._exit(130)


def _is_command() -> bool:
    program = sys.argv[0] if getattr(sys, "argv", None) else ""
    as_module = "-m backprop_svc " in f"{' '.join(sys.orig_argv)} "
    return as_module or program.replace("\\", "/").endswith(
        ("/backprop-svc", "/backprop-svc.exe")
    )
