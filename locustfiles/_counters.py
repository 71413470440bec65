"""The counters of a replica, and the arithmetic on them. It needs no network and no clock."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple

from runfiles.columns import COUNTER, PERCENT, REPLICA_STATS_COLUMNS

READ = [column.name for column in REPLICA_STATS_COLUMNS if column.group and not column.rate_of]
"""The columns that a reading fills. ``Counters`` has each of them under its name."""

GROWING = [column.name for column in REPLICA_STATS_COLUMNS if column.group and column.kind is COUNTER]
RATES = [
    (column.name, column.rate_of, 100 if column.unit is PERCENT else 1)
    for column in REPLICA_STATS_COLUMNS
    if column.rate_of
]
"""Column -> the counter whose growth in a second it is, and by how much that is multiplied."""

_read = attrgetter(*READ)


class Interface(NamedTuple):
    """What passed one network interface since the replica started, Ethernet headers included."""

    rx_bytes: int
    tx_bytes: int
    rx_packets: int
    tx_packets: int


@dataclass(frozen=True)
class Counters:
    """One reading of a replica. ``runfiles/columns.py`` says what each field means. None: not measured."""

    read_at_unix_s: float
    cpu_seconds: float
    memory_bytes: int
    memory_limit_bytes: int | None = None
    networks: Mapping[str, Interface] | None = None
    block_read_bytes: int | None = None
    block_write_bytes: int | None = None
    pids: int | None = None
    throttled_seconds: float | None = None
    memory_cache_bytes: int | None = None
    connections_accepted: int | None = None

    @property
    def net_rx_bytes(self) -> int | None:
        return self._of_all_networks("rx_bytes")

    @property
    def net_tx_bytes(self) -> int | None:
        return self._of_all_networks("tx_bytes")

    @property
    def net_rx_packets(self) -> int | None:
        return self._of_all_networks("rx_packets")

    @property
    def net_tx_packets(self) -> int | None:
        return self._of_all_networks("tx_packets")

    @property
    def interfaces(self) -> str | None:
        return None if self.networks is None else json.dumps(self.networks, separators=(",", ":"))

    @cached_property
    def by_column(self) -> Mapping[str, Any]:
        """The values of the columns in ``READ``."""
        return dict(zip(READ, _read(self), strict=True))

    def _of_all_networks(self, name: str) -> int | None:
        return None if self.networks is None else sum(getattr(network, name) for network in self.networks.values())


def rates(before: Counters | None, after: Counters) -> dict[str, float | None]:
    """The values of the columns in ``RATES``: how much each counter grew in a second between two readings.

    None if there is no earlier reading, the counter fell or was not measured, or no time has passed.

    The seconds are those between the two readings. ``docker stats`` divides by the system's own CPU clock instead,
    which ticks every 10 ms and is 5% off at short intervals.
    """
    elapsed = 0.0 if before is None else after.read_at_unix_s - before.read_at_unix_s
    if before is None or elapsed <= 0:
        return {name: None for name, _, _ in RATES}
    found: dict[str, float | None] = {}
    for name, counter, factor in RATES:
        first, second = before.by_column[counter], after.by_column[counter]
        is_known = first is not None and second is not None and second >= first
        found[name] = (second - first) / elapsed * factor if is_known else None
    return found


def began_anew(before: Counters, after: Counters) -> bool:
    """Whether any counter fell: the replica was restarted, and nothing may be computed across that.

    Its CPU alone does not show it: a replica that starts busily can use more within an interval than it had before.
    """
    pairs = ((before.by_column[name], after.by_column[name]) for name in GROWING)
    return any(first is not None and second is not None and second < first for first, second in pairs)


def counters_of(reply: Mapping[str, Any]) -> Counters | None:
    """The counters in a reply of ``GET /containers/ID/stats``; None if the container does not run.

    For a stopped container the engine answers 200 with zeros and the year 1. Without ``networks`` (``--network host``
    or ``none``) the network is not measured, which is not zero. The same holds for block I/O if the list of its devices
    is ``null``.
    """
    read_at = parse_time(reply["read"])
    used_ns = _told(reply, "cpu_stats", "cpu_usage", "total_usage")
    memory = _told(reply, "memory_stats") or {}
    if read_at <= 0 or not used_ns or "usage" not in memory:
        return None
    devices = _told(reply, "blkio_stats", "io_service_bytes_recursive")
    throttled_ns = _told(reply, "cpu_stats", "throttling_data", "throttled_time")
    return Counters(
        read_at_unix_s=read_at,
        cpu_seconds=used_ns / 1e9,
        memory_bytes=working_set(memory),
        memory_limit_bytes=memory.get("limit") or None,
        networks=_networks(reply.get("networks")),
        block_read_bytes=_block_bytes(devices, "r"),
        block_write_bytes=_block_bytes(devices, "w"),
        pids=_told(reply, "pids_stats", "current"),
        throttled_seconds=None if throttled_ns is None else throttled_ns / 1e9,
        memory_cache_bytes=_file_cache(memory.get("stats") or {}),
    )


def _told(reply: Mapping[str, Any], *path: str) -> Any:
    """What a reply holds at a path of keys; None if it ends before."""
    found: Any = reply
    for key in path:
        found = (found or {}).get(key)
    return found


def _networks(told: Mapping[str, Mapping[str, int]] | None) -> dict[str, Interface] | None:
    if told is None:
        return None
    return {name: Interface(*(counts[field] for field in Interface._fields)) for name, counts in told.items()}


def _block_bytes(devices: Sequence[Mapping[str, Any]] | None, direction: str) -> int | None:
    """Bytes read (``r``) or written (``w``); v1 writes Read and Write, v2 read and write."""
    if devices is None:
        return None
    return sum(int(device["value"]) for device in devices if device["op"].lower().startswith(direction))


def working_set(memory: Mapping[str, Any]) -> int:
    """Memory in use less the file cache that the kernel can drop, in bytes, as ``docker stats`` shows it.

    cgroup v1 names that cache ``total_inactive_file``, v2 ``inactive_file`` (docker/cli, stats_helpers.go).
    """
    usage = int(memory["usage"])
    details = memory.get("stats") or {}
    cache = int(details.get("total_inactive_file", details.get("inactive_file", 0)))
    return usage - cache if cache < usage else usage


def _file_cache(details: Mapping[str, Any]) -> int | None:
    """cgroup v1 names it ``total_cache``, v2 ``file`` (Linux, Documentation/admin-guide)."""
    told = details.get("total_cache", details.get("file"))
    return None if told is None else int(told)


def parse_time(stamp: str) -> float:
    """An RFC 3339 time of the Docker API (nanoseconds, ``Z``) as Unix seconds; negative for the year 1."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", stamp)).timestamp()
