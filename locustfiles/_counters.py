"""Arithmetic on what the Docker API says of a container: no network, no clock."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Interface:
    """What passed one network interface since the replica started, Ethernet headers included."""

    rx_bytes: int
    tx_bytes: int
    rx_packets: int
    tx_packets: int


@dataclass(frozen=True)
class Counters:
    """One reading of a replica: cumulative since it started, but for memory and PIDs. None: not measured."""

    read_at_unix_s: float
    cpu_seconds: float
    memory_bytes: int
    memory_limit_bytes: int | None = None
    interfaces: Mapping[str, Interface] | None = None
    block_read_bytes: int | None = None
    block_write_bytes: int | None = None
    pids: int | None = None
    throttled_seconds: float | None = None

    def network(self, name: str) -> int | None:
        """One of the counters of ``Interface``, of all interfaces together."""
        return None if self.interfaces is None else sum(getattr(one, name) for one in self.interfaces.values())


def counters_of(reply: Mapping[str, Any]) -> Counters | None:
    """The counters in a reply of ``GET /containers/ID/stats``; None where the container does not run.

    A stopped container answers 200 with zeros and the year 1: that is no sample. Without ``networks``
    (``--network host`` or ``none``) the network is not measured, which is not zero; nor is the block I/O where the
    list of its devices is ``null``.
    """
    read_at = parse_time(reply["read"])
    cpu = reply.get("cpu_stats") or {}
    usage = (cpu.get("cpu_usage") or {}).get("total_usage")
    memory = reply.get("memory_stats") or {}
    if read_at <= 0 or not usage or "usage" not in memory:
        return None
    networks = reply.get("networks")
    devices = (reply.get("blkio_stats") or {}).get("io_service_bytes_recursive")
    throttled = (cpu.get("throttling_data") or {}).get("throttled_time")
    return Counters(
        read_at_unix_s=read_at,
        cpu_seconds=usage / 1e9,
        memory_bytes=working_set(memory),
        memory_limit_bytes=memory.get("limit") or None,
        interfaces=None
        if networks is None
        else {
            name: Interface(one["rx_bytes"], one["tx_bytes"], one["rx_packets"], one["tx_packets"])
            for name, one in networks.items()
        },
        block_read_bytes=_block_bytes(devices, "r"),
        block_write_bytes=_block_bytes(devices, "w"),
        pids=(reply.get("pids_stats") or {}).get("current"),
        throttled_seconds=None if throttled is None else throttled / 1e9,
    )


def _block_bytes(devices: Sequence[Mapping[str, Any]] | None, direction: str) -> int | None:
    """Bytes read (``r``) or written (``w``); v1 writes Read and Write, v2 read and write."""
    if devices is None:
        return None
    return sum(int(one["value"]) for one in devices if one["op"].lower().startswith(direction))


def working_set(memory: Mapping[str, Any]) -> int:
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
    share = None if before is None else rate(before, after, before.cpu_seconds, after.cpu_seconds)
    return None if share is None else share * 100


def began_anew(before: Counters, after: Counters) -> bool:
    """Whether any cumulative counter fell: the replica was restarted, and nothing may be computed across that.

    Its CPU alone does not tell: one that starts busily can use more within an interval than it had before.
    """
    pairs: list[tuple[float | None, float | None]] = [(before.cpu_seconds, after.cpu_seconds)]
    pairs += [(before.network(name), after.network(name)) for name in ("rx_bytes", "tx_bytes")]
    pairs += [(getattr(before, name), getattr(after, name)) for name in ("block_read_bytes", "block_write_bytes")]
    return any(first is not None and second is not None and second < first for first, second in pairs)


def rate(before: Counters | None, after: Counters, first: float | None, second: float | None) -> float | None:
    """How much a cumulative counter grew in each second between two readings; None as for ``cpu_percent``."""
    if before is None or first is None or second is None:
        return None
    elapsed = after.read_at_unix_s - before.read_at_unix_s
    if second < first or elapsed <= 0:
        return None
    return (second - first) / elapsed


def parse_time(stamp: str) -> float:
    """An RFC 3339 time of the Docker API (nanoseconds, ``Z``) as Unix seconds; negative for the year 1."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", stamp)).timestamp()
