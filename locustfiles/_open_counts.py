"""What became of the requests of an open workload: their counts, and a warning if too many were late or lost."""

from __future__ import annotations

from collections.abc import Mapping

from runfiles.events import DROPPED, LATE_MS, OVER_BOUND, UNANSWERED
from runfiles.rates import GENERATOR_LIMIT, LOST_LIMIT

DUE, LATE = "due", "late"
OPEN_COUNTS = (DUE, LATE, DROPPED, OVER_BOUND, UNANSWERED)
"""What is counted: the requests that were due, and of them those that were sent too late, or became one of
``runfiles.events.UNSENT``."""


def open_warnings(counts: Mapping[str, int]) -> list[str]:
    """What was wrong with an open workload that has ended, in a sentence each; none if it was what it should be.

    ``counts``: by the words of ``OPEN_COUNTS``; those that are missing are 0.
    """
    due, late, dropped, over_bound, unanswered = (counts.get(name, 0) for name in OPEN_COUNTS)
    found = []
    if late + dropped > GENERATOR_LIMIT * due:
        found.append(
            f"the load generator could not keep the rate: of {due:,} requests that were due it sent {late:,} "
            f"({late / due:.1%}) more than {LATE_MS:g} ms late, and dropped {dropped:,} ({dropped / due:.1%}). So "
            "response times contain the load generator's own delay, and what was dropped is missing from the load; use "
            "a lower rate, or more processes (--processes, on a swarm --workers)"
        )
    if over_bound + unanswered > LOST_LIMIT * due:
        found.append(
            f"the service could not keep up with the rate: of {due:,} requests that were due {over_bound:,} "
            f"({over_bound / due:.1%}) were not sent because too many others were unanswered (over the bound), and "
            f"{unanswered:,} ({unanswered / due:.1%}) were unanswered at the end. So the response times lack the "
            "slowest requests; use a lower rate"
        )
    return found
