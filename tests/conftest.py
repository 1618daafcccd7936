"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# The tests run side by side: how long an example took says nothing of the code.
settings.register_profile("side by side", deadline=None)
settings.load_profile("side by side")
