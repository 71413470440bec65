"""The rate of an open workload: its bounds, when it was not kept, and when it is too high for a service."""

from __future__ import annotations

from typing import Annotated

from runfiles.fields import Between

LEAST_RATE_PER_S, MOST_RATE_PER_S = 0.001, 1_000_000

Rate = Annotated[float, Between(LEAST_RATE_PER_S, MOST_RATE_PER_S)]
"""Requests that are due per second."""

LOST_LIMIT = 0.01
"""A service did not answer a rate if more than this share of the requests due was not answered."""
GENERATOR_LIMIT = 0.01
"""The load generator did not keep a rate if more than this share of the requests due was sent late, or not at all."""


def is_too_high(measured_s: float, waited_s: float, left: float) -> bool:
    """Whether a block showed that its rate is too high for the service. What the load generator dropped says nothing of
    the service.

    Args:
        measured_s: the length of its measured part.
        waited_s: for how long the last answers were waited for after that.
        left: how many requests were not sent because too many others were unanswered, or were given up.
    """
    return left > 0 or waited_s > measured_s / 2
