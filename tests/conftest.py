"""What holds for all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# A script's background job ignores Ctrl-C. What the tests start would inherit that, and they
# send it on purpose.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The tests run side by side: how long an example took says nothing of the code.
settings.register_profile("side by side", deadline=None)
settings.load_profile("side by side")
