"""How much CPU other programs and the hypervisor took: all that is neither the load generator nor a service."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from _machine import PROGRAMS, cpu_seconds

OF_THE_LOAD = ("softirq_cpu_seconds", "generator_cpu_seconds", *PROGRAMS.values())
"""Columns of ``MACHINE_STATS_COLUMNS`` whose CPU is no other program's. The softirqs are those of the load's own
packets, most of them."""


@dataclass(frozen=True)
class CpuReading:
    """The CPU seconds used until a moment: by the machine and the programs on it (a row of ``MachineMonitor``), by
    Locust's workers, and by each replica of all targets. None: not known."""

    at_steady_s: float
    machine: Mapping[str, float] | None
    workers_s: float
    replicas_s: Mapping[str, float] | None


def others_percent(before: CpuReading, after: CpuReading) -> float | None:
    """The CPU that others took between two readings, 100 = one core.

    None: it is not known, because a replica can't be read here, has come or has ended.
    """
    if before.machine is None or after.machine is None or before.replicas_s is None or after.replicas_s is None:
        return None
    if before.replicas_s.keys() != after.replicas_s.keys():
        return None
    seconds = after.at_steady_s - before.at_steady_s
    others = _grown(before.machine, after.machine, "busy_cpu_seconds") - (after.workers_s - before.workers_s)
    others -= sum(_grown(before.machine, after.machine, column) for column in dict.fromkeys(OF_THE_LOAD))
    others -= sum(_grown(before.replicas_s, after.replicas_s, id) for id in after.replicas_s)
    return max(0.0, others) / seconds * 100


class WorkerProcesses:
    """The CPU of those of Locust's workers that run on this machine."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}

    def note(self, node: str, pid: int) -> None:
        """Note a process with users, by the name of its machine and its ID. This process is no worker of its own."""
        if node == platform.node() and pid not in (os.getpid(), *self._processes):
            try:
                self._processes[pid] = psutil.Process(pid)
            except psutil.Error:  # it has just ended
                return

    def cpu_seconds(self) -> float:
        total = 0.0
        for process in self._processes.values():
            try:
                total += cpu_seconds(process)
            except psutil.Error:
                continue
        return total


def cpu_reading(
    machine: Mapping[str, Any] | None, workers_s: float, targets: Sequence[Mapping[str, float] | None]
) -> CpuReading:
    """What was read just now. ``targets``: of each of them the CPU seconds of its replicas by ID; None: not all are
    known."""
    replicas: dict[str, float] = {}
    for target in targets:
        if target is None:
            return CpuReading(time.monotonic(), machine, workers_s, None)
        replicas |= target
    return CpuReading(time.monotonic(), machine, workers_s, replicas)


def _grown(before: Mapping[str, float], after: Mapping[str, float], name: str) -> float:
    return after.get(name, 0.0) - before.get(name, 0.0)
