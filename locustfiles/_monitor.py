"""The replica monitor: samples every replica on an absolute schedule, while the load runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.pool import Group

from _replicas import READ_FAILURES, Finder, NoReplicas, Replica
from _stats import Counters, cpu_percent

LEAST_INTERVAL_S = 0.05
FIND_EVERY_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0
"""Between tries while the engine does not answer: each pause is twice the one before."""

logger = logging.getLogger("fourfold.monitor")


class Monitor:
    """Follows the replicas of one target and hands each sample on as a row of ``PREFIX_replica_stats.csv``.

    It never ends the load: what keeps it from sampling is logged once and kept in ``problems``, and the samples that
    are missing stay missing.
    """

    def __init__(self, finder: Finder, interval_s: float, write: Callable[[dict[str, Any]], None]) -> None:
        self.finder = finder
        self.interval_s = max(interval_s, LEAST_INTERVAL_S)  # the web UI's field is checked by nobody
        self.problems: list[str] = []
        self._seen: dict[str, Replica] = {}
        self._sampled: set[str] = set()
        self._write = write
        self._samplers: dict[str, gevent.Greenlet] = {}
        self._greenlets = Group()

    def start(self) -> None:
        self._find()
        self._greenlets.spawn(self._follow)

    def stop(self) -> None:
        """End all sampling, after one last sample of each replica, so that the totals reach to the end of the run."""
        samplers = [replica for id, replica in self._seen.items() if id in self._samplers]
        self._greenlets.kill()
        for replica in samplers:
            try:
                self._sample(replica, None)
            except READ_FAILURES as error:
                self._problem(f"no last sample of {replica.name}: {error}")

    def record(self) -> list[dict[str, Any]]:
        """All replicas seen, for the record of the run."""
        return [
            {
                "name": one.name,
                "id": one.id,
                "node": one.node,
                "sampled": one.id in self._sampled,
                "reason": one.reason,
            }
            for one in self._seen.values()
        ]

    def _follow(self) -> None:
        pause = FIND_EVERY_S
        while True:
            gevent.sleep(pause)
            pause = FIND_EVERY_S if self._find() else min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, pause * 2))

    def _find(self) -> bool:
        """Start sampling the replicas that are new; whether the engine told which there are."""
        try:
            replicas = self.finder.replicas()
        except (NoReplicas, *READ_FAILURES) as error:
            self._problem(f"replicas of {self.finder.target} can't be found: {error}")
            return False
        for replica in replicas:
            if replica.id not in self._seen:
                logger.info("replica %s (%s) on %s", replica.name, replica.id, replica.node)
            self._seen[replica.id] = replica
            if replica.read is not None and replica.id not in self._samplers:
                self._samplers[replica.id] = self._greenlets.spawn(self._sample_on_schedule, replica)
        return True

    def _sample_on_schedule(self, replica: Replica) -> None:
        before: Counters | None = None
        due = time.monotonic()
        pause = FIRST_PAUSE_S
        while True:
            try:
                before = self._sample(replica, before)
                pause = FIRST_PAUSE_S
            except READ_FAILURES as error:
                self._problem(f"no samples of {replica.name} for a while: {error}")
                before = None
                gevent.sleep(pause)
                pause = min(LONGEST_PAUSE_S, pause * 2)
            else:
                if before is None:
                    self._samplers.pop(replica.id)
                    return
            late_by = time.monotonic() - due
            due += self.interval_s * max(1, int(late_by / self.interval_s) + 1)
            gevent.sleep(max(0.0, due - time.monotonic()))

    def _sample(self, replica: Replica, before: Counters | None) -> Counters | None:
        """Read and hand on one sample; None when the replica has ended."""
        if replica.read is None:
            return None
        now = replica.read()
        if now is not None:
            self._sampled.add(replica.id)
            self._write(
                {
                    "sampled_at_unix_s": time.time(),
                    "read_at_unix_s": now.read_at_unix_s,
                    "replica": replica.name,
                    "replica_id": replica.id,
                    "node": replica.node,
                    "cpu_seconds": now.cpu_seconds,
                    "cpu_percent": cpu_percent(before, now),
                    "memory_bytes": now.memory_bytes,
                    "memory_limit_bytes": now.memory_limit_bytes,
                    "net_rx_bytes": now.net_rx_bytes,
                    "net_tx_bytes": now.net_tx_bytes,
                }
            )
        return now

    def _problem(self, text: str) -> None:
        if text not in self.problems:
            logger.warning(text)
            self.problems.append(text)
