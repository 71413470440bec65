"""The load of benchmarks/monitor.py: one run, in which the replica monitor is switched on and off in short windows.

Windows come in pairs, one with the monitor and one without. The order changes from pair to pair (ABBA), so that other
load on the machine affects both alike. The monitor writes its samples where a run's own monitor does.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.env import Environment

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "locustfiles"))

from keep_alive import KeepAliveUser  # noqa: F401 - whom Locust finds here and runs

from _find_replicas import Finder
from _listeners import Hook
from _machine import MachineMonitor
from _monitor import Monitor
from _recording import Recording

WARM_UP_S = 5.0
SETTLE_S = 0.4
"""At the start of each window, not counted: the monitor opens its files, or the end of the window before is over."""

COUNTED_S = 2.0
"""The period of all that the monitor does: one look for replicas, two samples of the machine, eight of each replica."""


class _Answers:
    count = 0


@events.init_command_line_parser.add_listener
def add_arguments(parser: Any) -> None:
    parser.add_argument("--monitored", help="the target that the monitor samples in its windows, as for --replicas")
    parser.add_argument("--hertz", type=float, help="samples a second of each replica")
    parser.add_argument("--pairs", type=int, help="pairs of windows")
    parser.add_argument("--windows", type=Path, help="where to write the rates of all windows, as JSON")


@events.request.add_listener
def count_answer(exception: Exception | None, **_: Any) -> None:
    _Answers.count += exception is None


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    gevent.spawn(run_windows, environment)


def run_windows(environment: Environment) -> None:
    """All windows; then the run ends."""
    options = environment.parsed_options
    gevent.sleep(WARM_UP_S)
    recording = Hook.recording
    if recording is None:
        raise RuntimeError("the load needs --csv PREFIX")
    found: dict[str, list[Any]] = {"on": [], "off": [], "samples_per_s": [], "problems": []}
    for number in range(options.pairs):
        for is_on in (number % 2 == 0, number % 2 == 1):
            if is_on:
                with_monitor(recording, options, environment.host or "", found)
            else:
                found["off"].append(answers_per_s())
        beside = options.windows.with_suffix(".new")  # now, and whole: the run may be interrupted
        beside.write_text(json.dumps(found), encoding="utf-8")
        beside.replace(options.windows)
    environment.runner.quit()


def with_monitor(recording: Recording, options: Any, host: str, found: dict[str, list[Any]]) -> None:
    """One window with the monitor. Its start and end are not counted."""
    finder = Finder(options.monitored, host, None)
    count = 0

    def add_sample(row: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        recording.add_sample(row)

    monitor = Monitor(finder, 1 / options.hertz, add_sample, lambda event: None)
    monitor.start()
    machine = MachineMonitor(recording.add_machine_sample)
    had, began = count, time.monotonic()
    found["on"].append(answers_per_s())
    found["samples_per_s"].append((count - had) / (time.monotonic() - began))
    machine.stop()
    monitor.stop()
    found["problems"] += monitor.problems


def answers_per_s() -> float:
    """Answers without error per second, in the counted part of a window."""
    gevent.sleep(SETTLE_S)
    had, began = _Answers.count, time.monotonic()
    gevent.sleep(COUNTED_S)
    return (_Answers.count - had) / (time.monotonic() - began)
