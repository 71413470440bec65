"""Converts the times of a worker's requests to the master's clock, in case the worker's own clock is wrong."""

from __future__ import annotations

import time
from collections import defaultdict, deque

LIMIT_S = 0.5
"""Times that differ by less are not changed. Clocks that are set by NTP differ by milliseconds, but a busy master may
receive all reports a few tenths of a second late."""

REPORTS = 20
"""How many reports are compared. They cover a minute; over hours the clocks of two machines drift apart."""


class Clocks:
    """Compares each worker's clock with the master's.

    A worker's report contains its ``time.monotonic()``, which is never set. The master adds the difference between that
    and its own clock. It uses the smallest difference of the last reports, because that report was the least late.
    """

    def __init__(self) -> None:
        self._ahead_s: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=REPORTS))

    def note_report(self, worker: str, sent_steady_s: float) -> None:
        """Note a report that the master receives just now."""
        self._ahead_s[worker].append(time.time() - sent_steady_s)

    def by_this_clock(self, worker: str, said_unix_s: float, steady_s: float) -> float:
        """When something happened, by the master's clock: the time that the worker said, unless that is impossible.

        Args:
            worker: a worker that has reported before.
            said_unix_s: when it happened, by the worker's clock.
            steady_s: the same moment by the worker's ``time.monotonic()``.
        """
        here_s = steady_s + min(self._ahead_s[worker])
        return said_unix_s if abs(said_unix_s - here_s) < LIMIT_S else here_s
