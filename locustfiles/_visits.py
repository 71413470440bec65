"""Where the load is now: which deployment the users send their next request to."""

from __future__ import annotations

from dataclasses import dataclass

from locust.env import Environment


@dataclass(frozen=True)
class Visit:
    """One stretch of load on one deployment: the base URL that requests go to, their name in Locust's statistics, and
    the number of the block (None: the load is not in blocks)."""

    host: str
    request_name: str = "/infer"
    block: int | None = None


class Visits:
    """Tells each user where its next request goes. This load is in one piece, at Locust's host."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def begin_request(self) -> Visit:
        """The visit that the next request belongs to. A load in blocks may keep the user waiting here."""
        return Visit(self._environment.host or "")

    def end_request(self, visit: Visit) -> None:
        """Note that a request has been answered, or has failed."""
