"""Hydra's own tests of a sweeper, as far as they concern one without an application."""

from __future__ import annotations

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.launcher_common_tests import LauncherTestSuite

from hydra_plugins.backprop_batch_sweeper.batch_sweeper import BatchSweeper


def test_hydra_finds_the_plugin() -> None:
    names = {plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)}
    assert BatchSweeper.__name__ in names


# The suite runs with the defaults of Hydra 1.1, which warn.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("launcher_name", "overrides"), [("basic", ["hydra/sweeper=batch"])])
class TestBatchSweeper(LauncherTestSuite):
    """Each combination is one job: what Hydra's users know."""
