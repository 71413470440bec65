"""Which queues are loaded, and how. Imports no installed package."""

from __future__ import annotations

from dataclasses import dataclass

SERVICE_MS = 10.0
"""The mean service time of the server."""
CONSTANT, EXPONENTIAL = "constant", "exponential"
"""Services that take equally long, and those with an exponential distribution."""
THINK_MS = 100.0
"""The mean pause of a closed user."""


@dataclass(frozen=True)
class OpenCase:
    """Poisson arrivals at a server that is busy for this share (``load``) of the time.

    ``servers``: so many are loaded at the same time, each by itself. With one alone it would take too long until the
    interval is narrow.
    """

    services: str
    load: float
    servers: int

    @property
    def queue(self) -> str:
        return "M/D/1" if self.services == CONSTANT else "M/M/1"

    @property
    def name(self) -> str:
        return f"{self.services}-{self.load:g}"

    @property
    def rate_per_s(self) -> float:
        return self.load * 1000 / SERVICE_MS


@dataclass(frozen=True)
class Cases:
    """What is loaded at the same time, for so many seconds each after a warm-up.

    ``closed_users``: of each closed load, at a server with exponential services. In addition, an idle server gets
    constant arrivals at ``idle_rate_per_s``: none of them has to wait.
    """

    warm_up_s: int
    seconds: int
    open_cases: tuple[OpenCase, ...]
    closed_users: tuple[int, ...]
    idle_rate_per_s: float = 50.0


ALL = Cases(
    warm_up_s=30,
    seconds=660,
    open_cases=(
        OpenCase(CONSTANT, 0.3, servers=2),
        OpenCase(CONSTANT, 0.5, servers=1),
        OpenCase(CONSTANT, 0.7, servers=2),
        OpenCase(EXPONENTIAL, 0.3, servers=2),
        OpenCase(EXPONENTIAL, 0.5, servers=2),
        OpenCase(EXPONENTIAL, 0.7, servers=3),
    ),
    closed_users=(2, 8),
)
"""So long, and at so many servers, that simulated intervals are 4% to 6% wide to each side, and hardly ever 7%."""

QUICK = Cases(warm_up_s=1, seconds=5, open_cases=(OpenCase(CONSTANT, 0.5, servers=1),), closed_users=(8,))
"""Shows that everything works. The figures prove nothing."""
