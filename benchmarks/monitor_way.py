"""One way of sampling the containers of benchmarks/monitor.py, measured in a process of its own.

    python -m benchmarks.monitor_way WAY COMPOSE_PROJECT COMPOSE_SERVICE HERTZ SECONDS

Prints three lines: the CPU percent of this process, that of dockerd meanwhile, and the samples a second.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import locust  # noqa: F401 - first, as it patches the standard library for gevent

# isort: split
import docker
import gevent
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "locustfiles"))

from runfiles.columns import MACHINE_STATS_COLUMNS, REPLICA_STATS_COLUMNS

from _find_replicas import Finder
from _machine import MachineMonitor
from _monitor import Monitor
from _row_file import Folder, RowFile

START_S = 2.0
"""From the start of the sampling until it is measured."""


def main() -> None:
    way, project, service, hertz, seconds = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        if way == "monitor":
            counted = start_monitor(Path(name), f"compose:{project}/{service}", float(hertz))
        else:
            counted = start_without_stream(project)
        measure(counted, float(seconds))


def start_monitor(folder: Path, target: str, hertz: float) -> Callable[[], int]:
    """The replica monitor as Locust runs it. Returns what counts its samples."""
    files = Folder(folder)
    samples = RowFile(files, "samples.csv", REPLICA_STATS_COLUMNS)
    machine_samples = RowFile(files, "machine.csv", MACHINE_STATS_COLUMNS)
    Monitor(Finder(target, "", None), 1 / hertz, samples.write, lambda event: None).start()
    MachineMonitor(machine_samples.write)
    return lambda: samples.rows


def start_without_stream(project: str) -> Callable[[], int]:
    """docker-py's ``stats(stream=False)`` of each container, as often as it answers. Returns what counts them."""
    api = docker.from_env().api
    count = 0

    def ask(id: str) -> None:
        nonlocal count
        while True:
            api.stats(id, stream=False)
            count += 1

    for container in api.containers(filters={"label": f"com.docker.compose.project={project}"}):
        gevent.spawn(ask, container["Id"])
    return lambda: count


def measure(counted: Callable[[], int], seconds: float) -> None:
    gevent.sleep(START_S)
    engines = [process for process in psutil.process_iter(["name"]) if process.info["name"] == "dockerd"]
    watched = [psutil.Process(), *engines]
    before, began, had = [cpu_seconds(process) for process in watched], time.monotonic(), counted()
    gevent.sleep(seconds)
    after, elapsed = [cpu_seconds(process) for process in watched], time.monotonic() - began
    own, *others = [(late - early) / elapsed * 100 for late, early in zip(after, before, strict=True)]
    print(own, sum(others), (counted() - had) / elapsed, sep="\n")


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
