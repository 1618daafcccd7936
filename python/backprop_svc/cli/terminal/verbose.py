"""What ``hydra.verbose=true`` shows beside the usual."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import TextIO, cast

from backprop_svc import build_info
from backprop_svc.interactive.terminal import WithoutPasswords

OURS = ("backprop_svc", "hydra")
"""The loggers that ``true`` means; a list names others, such as ``[mlflow]``."""


def listen(verbose: bool | str | Iterable[str]) -> None:
    """Show on standard error what loggers say, down to the details."""
    if not verbose:
        return
    names = OURS if verbose is True else [verbose] if isinstance(verbose, str) else verbose
    stream = cast(TextIO, WithoutPasswords(sys.stderr))
    for name in map(str, names):
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG)
        if not logger.handlers:
            handler = logging.StreamHandler(stream)
            handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
            logger.addHandler(handler)
            logger.propagate = False
            if name == OURS[0]:
                logger.debug("build: %s", build_info())
