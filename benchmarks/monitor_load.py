"""The load of benchmarks/monitor.py: one run, in which the replica monitor goes on and off in short windows.

Windows come in pairs, one with the monitor and one without. Each pair has the opposite order of the one before (ABBA),
so that other work on the machine affects both alike. The monitor writes its rows where a run's own monitor would.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.env import Environment, Events

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "locustfiles"))

from keep_alive import KeepAliveUser  # noqa: F401 - the user class that Locust finds here and runs

from runfiles.files import write_whole

from _find_replicas import Finder
from _machine import MachineMonitor
from _monitor import Monitor
from _recording import Recording

WARM_UP_S = 5.0
SETTLE_S = 0.4
"""Not counted at the start of each window: the monitor starts, or the one of the last window ends."""

COUNTED_S = 2.0
"""The period after which the monitor repeats itself: one look for replicas, two samples of the machine, eight of each
replica."""


@events.init_command_line_parser.add_listener
def add_arguments(parser: Any) -> None:
    parser.add_argument("--monitored", help="the target that the monitor samples in its windows, as for --replicas")
    parser.add_argument("--hertz", type=float, help="samples a second of each replica")
    parser.add_argument("--pairs", type=int, help="pairs of windows")
    parser.add_argument("--windows", type=Path, help="where to write the rates of all windows, as JSON")


class Windows:
    """All windows of one run, and the rates of answers that were measured in them."""

    def __init__(self) -> None:
        self._answers = 0
        self._rates: dict[str, list[Any]] = {"on": [], "off": [], "samples_per_s": [], "problems": []}

    def register(self, events: Events) -> None:
        events.request.add_listener(self._count_answer)
        events.test_start.add_listener(self._begin)

    def _count_answer(self, exception: Exception | None, **_: Any) -> None:
        self._answers += exception is None

    def _begin(self, environment: Environment, **_: Any) -> None:
        gevent.spawn(self._run, environment)

    def _run(self, environment: Environment) -> None:
        """All windows; then the run ends."""
        options = environment.parsed_options
        gevent.sleep(WARM_UP_S)
        recording = environment.fourfold.recording
        if recording is None:
            raise RuntimeError("the load needs --csv PREFIX")
        for number in range(options.pairs):
            for is_on in (number % 2 == 0, number % 2 == 1):
                if is_on:
                    self._measure_with_monitor(recording, options, environment.host or "")
                else:
                    self._rates["off"].append(self._answers_per_s())
            write_whole(options.windows, json.dumps(self._rates))  # now: the run may be interrupted
        environment.runner.quit()

    def _measure_with_monitor(self, recording: Recording, options: Any, host: str) -> None:
        """One window with the monitor. Its start and end are not counted."""
        samples, events_file = recording.files.samples, recording.files.events
        finder = Finder(options.monitored, host, None)
        monitor = Monitor(finder, 1 / options.hertz, recording.add_sample, events_file.write)
        monitor.start()
        machine = MachineMonitor(recording.add_machine_sample)
        had, began = samples.rows, time.monotonic()
        self._rates["on"].append(self._answers_per_s())
        self._rates["samples_per_s"].append((samples.rows - had) / (time.monotonic() - began))
        machine.stop()
        monitor.stop()
        self._rates["problems"] += monitor.problems

    def _answers_per_s(self) -> float:
        """Answers without error per second, in the counted part of a window."""
        gevent.sleep(SETTLE_S)
        had, began = self._answers, time.monotonic()
        gevent.sleep(COUNTED_S)
        return (self._answers - had) / (time.monotonic() - began)


Windows().register(events)
