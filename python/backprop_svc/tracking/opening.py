"""A store that is opened while something else goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from backprop_svc.tracking.record import Writer

SOON = 0.3
"""Seconds of work after which the store is opened beside it: short work is done before."""


class Opening:
    """Opens a store once: beside long work, or after short one."""

    def __init__(self, opened: Callable[[], Writer]) -> None:
        self._opened = opened
        self._begin = time.monotonic()
        self._writer: Writer | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Begin to open it, once the work takes long.

        Raises
        ------
        StoreError, SettingError
            It cannot be opened: more work would be in vain.
        """
        if self._thread is None and time.monotonic() - self._begin > SOON:
            # Ctrl-C does not wait for a store.
            self._thread = threading.Thread(target=self._open, daemon=True)
            self._thread.start()
        if self._error is not None:
            raise self._error

    def writer(self) -> Writer:
        """Return the writer, once the store is open.

        Raises
        ------
        StoreError, SettingError
            It cannot be opened.
        """
        if self._thread is None:
            self._open()
        else:
            self._thread.join()
        if self._writer is None:
            raise self._error or RuntimeError("the store was not opened")
        return self._writer

    def _open(self) -> None:
        try:
            self._writer = self._opened()
        except BaseException as error:
            self._error = error
