"""CPU time of this machine that no container's stats show, although it differs between deployments."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
import psutil

BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
"""The fields of ``psutil.cpu_times`` that are CPU time used by programs, the kernel and the hypervisor."""

INTERVAL_S = 1.0
PROGRAMS = {
    "docker-proxy": "docker_proxy_cpu_seconds",
    "fourfold-proxy": "reverse_proxy_cpu_seconds",
    "dockerd": "dockerd_cpu_seconds",
    "containerd": "containerd_cpu_seconds",
    "containerd-shim": "containerd_cpu_seconds",
    "containerd-shim-runc-v2": "containerd_cpu_seconds",
}
"""The Docker engine's own programs, and the nginx that infra puts before several replicas (it starts it by that name)
-> the column that their CPU time is added to. The kernel cuts names at 15 characters."""

BY_KERNELS_NAME = {name[:15]: column for name, column in PROGRAMS.items()}


class MachineMonitor:
    """Samples this machine once a second, in CPU seconds since the run began.

    A column stays empty if nothing of its kind runs here: there is no Docker engine on this machine, or the system does
    not tell the time of softirqs.
    """

    def __init__(self, write: Callable[[dict[str, Any]], None]) -> None:
        self._write = write
        self._generator = psutil.Process()
        self._programs: dict[int, tuple[psutil.Process, str] | None] = {}
        self._before: dict[int, float] = {}
        self._spent: dict[str, float] = {}
        self._at_start = self._totals()
        self._count(is_first=True)
        self._greenlet = gevent.spawn(self._follow)

    def stop(self) -> None:
        """End after one last sample."""
        self._greenlet.kill()
        self.sample()

    def _follow(self) -> None:
        while True:
            gevent.sleep(INTERVAL_S)
            self.sample()

    def sample(self) -> dict[str, Any]:
        """Take a sample now, and give its row to ``write``. Returns a copy of the row."""
        self._count(is_first=False)
        totals = {name: value - self._at_start[name] for name, value in self._totals().items()}
        row = {"sampled_at_unix_s": time.time()} | self._spent | totals
        self._write(dict(row))
        return row

    def _count(self, *, is_first: bool) -> None:
        """Add what each of these programs has used since the last count. A new program adds all of its time."""
        there = set(psutil.pids())
        self._programs = {pid: known for pid, known in self._programs.items() if pid in there}
        self._programs |= {pid: _program(pid) for pid in there - set(self._programs)}
        for pid, known in self._programs.items():
            if known is None:
                continue
            process, column = known
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            used = times.user + times.system
            grown = used - self._before.get(pid, used if is_first else 0.0)
            self._spent[column] = self._spent.get(column, 0.0) + max(0.0, grown)
            self._before[pid] = used

    def _totals(self) -> dict[str, float]:
        machine = psutil.cpu_times()
        found = {
            "generator_cpu_seconds": cpu_seconds(self._generator),
            "busy_cpu_seconds": _busy_seconds(machine),
        }
        if hasattr(machine, "softirq"):
            found["softirq_cpu_seconds"] = machine.softirq
        return found


class CpuUse:
    """The CPU that this process and this machine have used since the run began, 100 = one core."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.begin()

    def begin(self) -> None:
        self._began_s = time.monotonic()
        self._process_before = cpu_seconds(self._process)
        self._machine_before = _busy_seconds(psutil.cpu_times())

    def percents(self, workers_s: Sequence[float]) -> tuple[list[float], float]:
        """Of this process and of each worker, and of all the machine. ``workers_s``: CPU seconds of each worker."""
        elapsed_s = time.monotonic() - self._began_s
        spent = [cpu_seconds(self._process) - self._process_before, *workers_s]
        machine_s = _busy_seconds(psutil.cpu_times()) - self._machine_before
        return [seconds / elapsed_s * 100 for seconds in spent], machine_s / elapsed_s * 100


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time that a process has used, in user mode and in the kernel."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy_seconds(machine: Any) -> float:
    return float(sum(getattr(machine, name, 0.0) for name in BUSY))


def _program(pid: int) -> tuple[psutil.Process, str] | None:
    """A process and its column if it is one of ``PROGRAMS``, else None."""
    try:
        process = psutil.Process(pid)
        column = BY_KERNELS_NAME.get(process.name()[:15])
    except psutil.Error:
        return None
    return None if column is None else (process, column)
