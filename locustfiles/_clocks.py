"""When a worker's requests began by the master's clock, whatever the worker's own clock says."""

from __future__ import annotations

import time
from collections import defaultdict, deque

LIMIT_S = 0.5
"""Times that differ by less are left as they are. Clocks that are set by NTP differ by milliseconds, but a busy master
can take in all reports a few tenths of a second late."""


REPORTS = 20
"""How many reports are compared, a minute of them: in hours two machines' clocks drift apart."""


class Clocks:
    """Compares each worker with the master.

    A worker's reports say its ``time.monotonic()``, which nobody sets. The master adds to that the difference from its
    own clock, the smallest of the last reports': that report was the least late.
    """

    def __init__(self) -> None:
        self._ahead_s: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=REPORTS))

    def note_report(self, worker: str, sent_steady_s: float) -> None:
        """A report that the master is receiving now."""
        self._ahead_s[worker].append(time.time() - sent_steady_s)

    def by_this_clock(self, worker: str, said_unix_s: float, steady_s: float) -> float:
        """When something happened, by the master's clock: as the worker said, unless that can't be.

        Args:
            worker: who has reported before.
            said_unix_s: when it happened, by the worker's clock.
            steady_s: the same by its ``time.monotonic()``.
        """
        here_s = steady_s + min(self._ahead_s[worker])
        return said_unix_s if abs(said_unix_s - here_s) < LIMIT_S else here_s
