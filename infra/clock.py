"""The time of day of an experiment: it goes on evenly also if somebody sets the machine's clock meanwhile."""

from __future__ import annotations

import time

from runfiles.files import CLOCK_VARIABLE

AHEAD_S = time.time() - time.monotonic()
"""What is added to the clock that is never set."""


def unix_s() -> float:
    """The seconds since 1970, by the machine's clock as it was when this process began."""
    return AHEAD_S + time.monotonic()


def for_load() -> dict[str, str]:
    """The variable from which a load generator knows this time, so that all runs of an experiment have it."""
    return {CLOCK_VARIABLE: repr(AHEAD_S)}
