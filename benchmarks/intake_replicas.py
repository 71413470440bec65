"""Simulated replicas for the recording that benchmarks/intake.py measures, and what the recording itself costs.

A locustfile beside locustfiles/keep_alive.py. Reading a simulated replica takes no time worth mentioning: what is
measured is the recording's part of a sample.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from locust import events
from locust.env import Environment

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "locustfiles"))

from _node_clocks import Offset
from _replicas import Replica, Target

from benchmarks.intake import FIGURES_SUFFIX, REPLICAS_VARIABLE
from benchmarks.intake_workers import ROWS_OF_REPORT, name_of

import _recording
from _counters import Counters, Interface
from _workers import STEADY_S


class SimulatedReplicas:
    """Takes the place of what finds the replicas: so many replicas, whose counters grow evenly."""

    target = Target("swarm", "simulated")

    def __init__(self, *_: Any) -> None:
        self._replicas = [
            Replica(name_of(number), f"{number:012x}", f"node-{number % 10}", self._read, state="running")
            for number in range(int(os.environ[REPLICAS_VARIABLE]))
        ]

    def replicas(self) -> list[Replica]:
        return self._replicas

    def explain_unsampled(self, names: Sequence[str]) -> str:
        return f"{len(names)} are not simulated"

    def clocks(self) -> Mapping[str, Offset]:
        return {}

    def close(self) -> None:
        pass

    def _read(self) -> Counters:
        now = time.time()
        counted = int(time.monotonic() * 1000)
        network = Interface(rx_bytes=counted, tx_bytes=counted, rx_packets=counted, tx_packets=counted)
        return Counters(now, time.monotonic() / 10, 10**8, 2 * 10**9, {"eth0": network}, 0, 0, 10, 0.0, 10**7, counted)


class Cost:
    """What the recording's process spends, from the first report with rows to the last one, and how late it is."""

    def __init__(self) -> None:
        self._late_s: dict[str, float] = {}
        self._most_late_s = 0.0
        self._begin: tuple[float, float] | None = None
        self._end = (0.0, 0.0)
        self._rows = 0

    def note_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        """Called when the recording has taken in a report."""
        rows = data.get(ROWS_OF_REPORT, 0)
        if STEADY_S not in data or not (rows or self._begin):
            return
        self._late_s[client_id] = time.monotonic() - data[STEADY_S]
        self._most_late_s = max(self._most_late_s, self._late_s[client_id])
        if not rows:
            return
        self._end = (time.monotonic(), time.process_time())
        if self._begin is None:
            self._begin = self._end
        else:
            self._rows += rows

    def write(self, environment: Environment, **_: Any) -> None:
        began_s, began_cpu_s = self._begin or self._end
        counted_s, cpu_s = self._end[0] - began_s, self._end[1] - began_cpu_s
        figures = {
            "counted_s": counted_s,
            "counted_rows": self._rows,
            "cpu_percent": cpu_s / counted_s * 100 if counted_s else 0.0,
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
            "behind_s": max(self._late_s.values(), default=0.0),
            "most_behind_s": self._most_late_s,
        }
        Path(f"{environment.parsed_options.csv_prefix}{FIGURES_SUFFIX}").write_text(json.dumps(figures))


@events.init.add_listener
def count_the_cost(environment: Environment, **_: Any) -> None:
    """After the recording's own listeners, which come with keep_alive.py."""
    cost = Cost()
    environment.events.worker_report.add_listener(cost.note_report)
    environment.events.quit.add_listener(lambda **_: cost.write(environment))


_recording.finder_of = SimulatedReplicas  # type: ignore[assignment, attr-defined]
