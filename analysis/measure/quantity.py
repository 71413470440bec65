"""The quantities that are measured, with their units, and what an estimate of one is: page, table, CSV, Markdown and
compare share them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

NAN = float("nan")
FEWEST_ROUNDS = 3
"""With fewer rounds no interval is shown: from two, Student's t makes it 12.7 standard errors wide to each side."""

FEWEST_TICKS = 10
"""A value from fewer ticks of a clock is not shown as a number: one tick more or less would change it too much."""


@dataclass(frozen=True)
class Quantity:
    """What is measured, and how it is shown.

    ``unit`` is that of the value as it is computed and shown; ``digits`` are shown behind the point. ``quantile`` is
    set for response times' percentiles. ``worse``: +1 where more is worse, -1 where less is, 0 where neither.
    ``is_sampled``: it comes from the replicas' samples, so it is missing where they were not sampled.
    """

    key: str
    title: str
    unit: str
    digits: int
    quantile: float | None = None
    worse: int = 0
    is_sampled: bool = False


REVERSE_PROXY = "hidden_reverse_proxy_cpu_ms"

HIDDEN = {
    "hidden_proxy_cpu_ms": "Docker's proxy",
    REVERSE_PROXY: "the reverse proxy (nginx)",
    "hidden_daemon_cpu_ms": "Docker's daemons (dockerd, containerd)",
    "hidden_softirq_cpu_ms": "the kernel's network code (softirq)",
    "hidden_generator_cpu_ms": "the load generator",
}
"""CPU time that no replica's account shows: key of the quantity -> whose it is."""

PARTS_OF_TIME = {
    "part_client_ms": "the load generator itself",
    "part_network_ms": "network, HTTP, ingress",
    "part_queue_ms": "waiting for the model",
    "part_model_ms": "in the model",
}
"""What a response time consists of: key of the quantity -> what takes the time. They add up to the median."""

CAPACITY = "capacity_per_s"
"""The key of what a search for the highest rate finds. No other load has it."""

QUANTITIES = {
    quantity.key: quantity
    for quantity in (
        Quantity("requests", "Requests, all rounds", "", 0),
        Quantity("failures", "Failed requests, all rounds", "", 0, worse=1),
        Quantity("median_ms", "Median response time", "ms", 2, 0.5, worse=1),
        Quantity("p95_ms", "p95 of the response time", "ms", 2, 0.95, worse=1),
        Quantity("p99_ms", "p99 of the response time", "ms", 2, 0.99, worse=1),
        Quantity("throughput_per_s", "Answers per second", "/s", 1, worse=-1),
        Quantity("queue_ms", "Waiting for the model, median", "ms", 2, worse=1),
        Quantity("inference_ms", "In the model, median", "ms", 2, worse=1),
        Quantity("rest_ms", "The rest (HTTP, network, client), median", "ms", 2, worse=1),
        *(
            Quantity(key, f"Part of the median response time: {whose}", "ms", 2, worse=int(key != "part_client_ms"))
            for key, whose in PARTS_OF_TIME.items()
        ),
        Quantity("cpu_percent", "CPU of all replicas (100% = one core)", "%", 1, worse=1, is_sampled=True),
        Quantity("cpu_ms_per_answer", "CPU time per answer", "CPU-ms", 2, worse=1, is_sampled=True),
        *(
            Quantity(key, f"CPU time per answer outside the service: {whose}", "CPU-ms", 3, worse=1)
            for key, whose in HIDDEN.items()
        ),
        Quantity("memory_mean_mb", "Memory of all replicas, mean", "MB", 1, worse=1, is_sampled=True),
        Quantity("memory_max_mb", "Memory of all replicas, largest", "MB", 1, worse=1, is_sampled=True),
        Quantity("memory_percent", "Memory of all replicas, of their limits", "%", 1, worse=1, is_sampled=True),
        Quantity("memory_limit_mb", "Memory limit of all replicas", "MB", 0, is_sampled=True),
        Quantity(
            "memory_mb_s_per_1000",
            "Memory held for 1,000 answers (memory x time)",
            "MB-s",
            0,
            worse=1,
            is_sampled=True,
        ),
        Quantity("body_kb_per_1000", "Bytes for 1,000 answers: bodies, counted by the client", "kB", 1, worse=1),
        Quantity(
            "interface_kb_per_1000", "Bytes for 1,000 answers: network interfaces", "kB", 1, worse=1, is_sampled=True
        ),
        Quantity("body_in_mb", "Bytes into the service per round: request bodies, counted by the client", "MB", 3),
        Quantity("body_out_mb", "Bytes out of the service per round: answer bodies, counted by the client", "MB", 3),
        Quantity(
            "body_in_kb_per_s", "Bytes into the service per second: request bodies, counted by the client", "kB", 1
        ),
        Quantity(
            "body_out_kb_per_s", "Bytes out of the service per second: answer bodies, counted by the client", "kB", 1
        ),
        Quantity("interface_in_mb", "Bytes into the service per round: network interfaces", "MB", 3, is_sampled=True),
        Quantity(
            "interface_out_mb", "Bytes out of the service per round: network interfaces", "MB", 3, is_sampled=True
        ),
        Quantity(
            "interface_in_kb_per_s", "Bytes into the service per second: network interfaces", "kB", 1, is_sampled=True
        ),
        Quantity(
            "interface_out_kb_per_s",
            "Bytes out of the service per second: network interfaces",
            "kB",
            1,
            is_sampled=True,
        ),
        Quantity("idle_cpu_percent", "CPU of all replicas while the load was elsewhere", "%", 1, worse=1),
        Quantity("seconds_to_healthy", "From start to healthy", "s", 1, worse=1),
        Quantity(CAPACITY, "Capacity: highest rate that meets the objective", "requests/s", 1, worse=-1),
    )
}
"""In the order in which they are shown."""


@dataclass(frozen=True)
class Estimate:
    """One number, and how well it is known.

    ``low`` and ``high`` bound its 95% interval and are NaN where there is none. ``n`` is how many of what ``of`` names
    it was computed from, and ``which`` says which of these n counts. ``rounds`` is the number of rounds in which it was
    measured. ``missing`` says why ``value`` is NaN. ``is_part``: in one round at least it covers only the part of the
    measured phase that samples cover. ``tick``: what one tick of the clock adds to ``n`` times the value; 0 if the
    clock is fine enough. ``is_of_steps``: the interval comes from how the steps of a capacity search differ, and not
    from how rounds do.
    """

    value: float
    n: int
    of: str
    low: float = NAN
    high: float = NAN
    rounds: int = 1
    missing: str | None = None
    is_part: bool = False
    which: str = ""
    tick: float = 0.0
    is_of_steps: bool = False

    @property
    def is_measured(self) -> bool:
        return not math.isnan(self.value)

    @property
    def is_withheld(self) -> bool:
        """Whether it was measured, but from too few to be shown."""
        return not self.is_measured and self.n > 0

    @property
    def least(self) -> float:
        """The smallest value that is shown as a number: fewer ticks of the clock tell only that it is less."""
        return FEWEST_TICKS * self.tick / self.n if self.n else 0.0

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval, from steps, or from rounds enough to show it."""
        are_enough = self.is_of_steps or self.rounds >= FEWEST_ROUNDS
        return are_enough and not (math.isnan(self.low) or math.isnan(self.high))


Estimates = Mapping[str, Estimate]
"""The estimates of one run's measured phase, or of a deployment over its rounds, by the keys of ``QUANTITIES``."""


def missing(reason: str) -> Estimate:
    """An estimate that is lacking."""
    return Estimate(NAN, 0, "", rounds=0, missing=reason)
