"""Waiting for a condition by asking again and again, never by sleeping for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_S = 0.2


def until_true(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll ``condition`` for at most ``seconds``. Returns its last value."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    return True
