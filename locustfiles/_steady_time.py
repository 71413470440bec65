"""The time of day in Locust's process: it goes on evenly also if somebody sets the machine's clock meanwhile.

Locust's own figures, such as requests per second, are differences of ``time.time()``, and so are many of ours. If the
clock is set by an hour, they would be wrong by an hour.
"""

from __future__ import annotations

import os
import time

from runfiles.files import CLOCK_VARIABLE

LIMIT_S = 0.5
"""A clock that is set by less is not told: NTP corrects one slowly, and both times here follow that."""


class SteadyTime:
    """``time.time()`` as it was when a run began, and what has passed since then by the clock that is never set.

    An experiment names in ``CLOCK_VARIABLE`` what is added to that clock, so that all its runs have one time.
    """

    def __init__(self) -> None:
        self._machines_clock = time.time
        given = os.environ.get(CLOCK_VARIABLE)
        self._is_given = given is not None
        self._ahead_s = float(given) if given is not None else 0.0
        self.begin()

    def install(self) -> None:
        """Let all of the process use it, also Locust itself."""
        time.time = self.unix_s

    def begin(self) -> None:
        """A run begins: from now on its time is that of the machine's clock now, unless an experiment names one."""
        if not self._is_given:
            self._ahead_s = self._machines_clock() - time.monotonic()

    def unix_s(self) -> float:
        return self._ahead_s + time.monotonic()

    def why_other_than_the_clock(self) -> str | None:
        """What was done to the machine's clock since ``begin``, or since the experiment began; None: nothing."""
        set_by_s = self._machines_clock() - self.unix_s()
        if abs(set_by_s) < LIMIT_S:
            return None
        since = "since the experiment began" if self._is_given else "during the run"
        direction = "forward" if set_by_s > 0 else "back"
        return (
            f"the clock of this machine was set {direction} by {abs(set_by_s):,.1f} s {since}, or the machine slept; "
            "all times are those of the clock as it was before"
        )


steady_time = SteadyTime()
