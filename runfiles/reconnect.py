"""When a kept connection is replaced by a new one: Locust's option, the key of a plan and the field of both records.

It is written as a number of requests, such as ``100``, or of seconds, such as ``10s``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

LEAST_REQUESTS, MOST_REQUESTS = 2, 1_000_000
LEAST_S, MOST_S = 0.1, 86_400.0
EXPECTED = (
    f"a number of requests from {LEAST_REQUESTS} to {MOST_REQUESTS}, such as 100, "
    f"or of seconds from {LEAST_S:g} to {MOST_S:g}, such as 10s"
)

_FORM = re.compile(r"(?P<number>[0-9]{1,9}(\.[0-9]{1,9})?)\s*(?P<unit>s?)")


@dataclass(frozen=True)
class ReconnectEvery:
    """A connection is replaced after so many ``requests``, or when it is about so many ``seconds`` old."""

    requests: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return str(self.requests) if self.seconds is None else f"{self.seconds:.15g}s"

    @property
    def in_words(self) -> str:
        """How long a connection is used, such as "100 requests" or "10 s"."""
        return f"{self.requests:,} requests" if self.seconds is None else f"{self.seconds:,.15g} s"


def read_reconnect_every(said: Any) -> ReconnectEvery:
    """What an option, a plan or a record says. A plan may have a number of requests without quotes.

    Raises:
        ValueError: it says something else. The message is what would be right.
    """
    text = str(said) if type(said) is int and said.bit_length() <= 64 else said
    found = _FORM.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError(EXPECTED)
    number = float(found["number"])
    if found["unit"]:
        if not LEAST_S <= number <= MOST_S:
            raise ValueError(EXPECTED)
        return ReconnectEvery(seconds=number)
    if number == 1:
        raise ValueError(f"{EXPECTED} (new_connection opens a connection for each request)")
    if not number.is_integer() or not LEAST_REQUESTS <= number <= MOST_REQUESTS:
        raise ValueError(EXPECTED)
    return ReconnectEvery(requests=int(number))


def why_not_reconnect_every(value: str) -> str | None:
    """The rule for a field of a record: what is wrong with its value; None: nothing."""
    try:
        read_reconnect_every(value)
    except ValueError:
        return "no number of requests or of seconds"
    return None
