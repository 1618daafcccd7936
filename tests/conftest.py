"""What holds for all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# The processes in which tests run side by side ignore Ctrl-C. What they start would inherit
# that, and tests send it on purpose.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The tests run side by side: how long an example took says nothing of the code.
settings.register_profile("side by side", deadline=None)
settings.load_profile("side by side")
