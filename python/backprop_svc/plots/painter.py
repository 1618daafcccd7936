"""Draws pictures beside what a command does, on another core of the machine.

Importing Matplotlib and drawing take longer than most of what is drawn. A process that is
forked early has imported it by the time the numbers are there.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from backprop_svc.tracking.record import Picture

TRAINING = "backprop_svc.plots.training:training_png"
MAP = "backprop_svc.plots.sweep:map_png"
PAGE = "backprop_svc.plots.page:page_html"
CURVES = "backprop_svc.plots.sweep:curves_png"
"""The functions that draw, by their names: they are imported by who draws."""
_ready: list[Painter] = []


def draw_here(name: str, *arguments: Any, **named: Any) -> Picture:
    """Draw a picture in this process, when it is asked for."""
    return lambda: resolve_name(name)(*arguments, **named)


def prepare() -> None:
    """Have a painter ready, before it is known whether anything is drawn."""
    _ready.append(Painter())


def take() -> Painter:
    """Return the painter that is ready, or a new one."""
    return _ready.pop() if _ready else Painter()


def dismiss() -> None:
    """End the painter that is ready: nothing is drawn."""
    while _ready:
        _ready.pop().close()


class Painter:
    """Draws in a process of its own; where there is none, in this one.

    It is made before the command has threads or connections of its own, and closed in the end.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._pid = 0
        # Elsewhere, libraries of the system do not work in a forked process.
        if sys.platform == "linux":
            self._fork()

    def draw(self, name: str, *arguments: Any, **named: Any) -> Picture:
        """Begin to draw a picture."""
        here = draw_here(name, *arguments, **named)
        if not self._pid:
            return here
        order = (name, arguments, named)
        drawn = self._pool.submit(self._ordered, order)
        # Whatever ended the other process: the picture is kept.
        return lambda: drawn.result() or here()

    def close(self) -> None:
        """End the process."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0
        self._pool.shutdown()

    def __enter__(self) -> Painter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fork(self) -> None:
        ours, theirs = socket.socketpair()
        with warnings.catch_warnings():
            # Python warns of threads, of which those of NumPy take care of themselves.
            warnings.simplefilter("ignore", DeprecationWarning)
            with suppress(OSError):
                self._pid = os.fork()
                if not self._pid:
                    ours.close()
                    _paint(theirs)
        theirs.close()
        self._way = ours.makefile("rwb")
        ours.close()

    def _ordered(self, order: Any) -> bytes | None:
        try:
            pickle.dump(order, self._way)
            self._way.flush()
            picture: bytes | None = pickle.load(self._way)
        except Exception:
            # What cannot be sent is drawn here; the other process ends if it was half sent.
            return None
        return picture


def _paint(way: socket.socket) -> NoReturn:
    """Draw what is asked for until nobody asks any more; ends the process."""
    try:
        # Ctrl-C is the other one's: it ends this process.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        for name in (TRAINING, MAP, PAGE):
            resolve_name(name)
        with way.makefile("rwb") as orders:
            while True:
                name, arguments, named = pickle.load(orders)
                try:
                    picture = resolve_name(name)(*arguments, **named)
                except Exception:
                    # It is drawn again by the other process, which tells what is wrong.
                    picture = None
                pickle.dump(picture, orders)
                orders.flush()
    finally:
        os._exit(0)
