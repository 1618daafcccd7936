"""What holds for all tests."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

import shared

# A script's background job ignores Ctrl-C, and what nohup starts ignores SIGHUP. What the tests
# start would inherit that, and they send both on purpose.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
# The tests run side by side: how long an example took, or its making, says nothing of the code.
settings.register_profile(
    "side by side", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("side by side")

# Workers inherit its name, and the tests leave the user's cache alone.
os.environ["XDG_CACHE_HOME"] = str(shared.folder() / "cache")

FIRST = (
    *("test_a_server_that_is_away_is_waited_for", "test_a_run_waits_for_a_locked_database"),
    *("test_exactly_once.py", "test_ui.py", "test_one_owner.py"),
)
"""What mostly waits, the longest first: whatever else there is goes on beside it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        ranks = [rank for rank, name in enumerate(FIRST) if name in {item.name, item.path.name}]
        return min(ranks, default=len(FIRST))

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors, as there is always a test that waits."""
    return (os.cpu_count() or 1) + 1
