"""Arithmetic on what the Docker API says of a container: no network, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Counters:
    """One reading of a replica: cumulative since it started, but for the memory. None: not measured."""

    read_at_unix_s: float
    cpu_seconds: float
    memory_bytes: int
    memory_limit_bytes: int | None
    net_rx_bytes: int | None
    net_tx_bytes: int | None


def counters_of(reply: dict[str, Any]) -> Counters | None:
    """The counters in a reply of ``GET /containers/ID/stats``; None where the container does not run.

    A stopped container answers 200 with zeros and the year 1: that is no sample. Without ``networks``
    (``--network host`` or ``none``) the network is not measured, which is not zero.
    """
    read_at = parse_time(reply["read"])
    usage = reply.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage")
    memory = reply.get("memory_stats") or {}
    if read_at <= 0 or not usage or "usage" not in memory:
        return None
    networks = reply.get("networks")
    return Counters(
        read_at_unix_s=read_at,
        cpu_seconds=usage / 1e9,
        memory_bytes=working_set(memory),
        memory_limit_bytes=memory.get("limit") or None,
        net_rx_bytes=None if networks is None else sum(one["rx_bytes"] for one in networks.values()),
        net_tx_bytes=None if networks is None else sum(one["tx_bytes"] for one in networks.values()),
    )


def working_set(memory: dict[str, Any]) -> int:
    """Memory in use less the file cache that can go, in bytes, as ``docker stats`` shows it.

    cgroup v1 names that cache ``total_inactive_file``, v2 ``inactive_file`` (docker/cli, stats_helpers.go).
    """
    usage = int(memory["usage"])
    details = memory.get("stats") or {}
    cache = int(details.get("total_inactive_file", details.get("inactive_file", 0)))
    return usage - cache if cache < usage else usage


def cpu_percent(before: Counters | None, after: Counters) -> float | None:
    """CPU between two readings, 100 = one core; None without an earlier one, or where the counters began anew.

    Used seconds over the seconds between the two ``read`` stamps: the system's own clock, which ``docker stats``
    divides by, ticks every 10 ms and is 5% off at short intervals.
    """
    if before is None:
        return None
    used = after.cpu_seconds - before.cpu_seconds
    elapsed = after.read_at_unix_s - before.read_at_unix_s
    if used < 0 or elapsed <= 0:
        return None
    return used / elapsed * 100


def parse_time(stamp: str) -> float:
    """An RFC 3339 time of the Docker API (nanoseconds, ``Z``) as Unix seconds; negative for the year 1."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", stamp)).timestamp()
