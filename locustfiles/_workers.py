"""Runs with Locust workers: a worker sends its rows to the master, and the master notes which workers it lost."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Any

import gevent
import psutil
from _block_recording import BlockRecording
from locust import runners
from locust.env import Environment, Events
from locust.runners import MasterRunner, WorkerRunner

from runfiles.events import ROWS_LOST

from _clocks import Clocks
from _ending import ignore_signals_while_finishing
from _machine import cpu_seconds
from _recording import Recording
from _request_batch import RequestBatch
from _request_row import request_row

LAST_REPORTS_S = 10.0
"""How long the master waits for its workers' last reports. Locust itself gives them half a second."""

SILENT_S = 6
"""A worker that a master has not heard for so long is lost. Locust itself waits 3 s. A worker whose node is busy can be
silent for longer, and Locust ends the run if it was the last one. Locust has no option for it; its maintainers say to
set it so (https://github.com/locustio/locust/pull/1988)."""

ROWS, UNSENT, CPU, IS_LAST = "fourfold_requests", "fourfold_unsent", "fourfold_cpu", "fourfold_is_last"
IN_FLIGHT, COUNTS = "fourfold_in_flight", "fourfold_open_counts"
STEADY_S, UNIX_S = "fourfold_steady_s", "fourfold_unix_s"
"""Keys of a worker's report. ``ROWS`` are the fields of each ``RequestBatch`` since the report before. ``IN_FLIGHT`` is
``OpenLoad.in_flight``, ``COUNTS`` what it has counted since the report before. ``STEADY_S`` and ``UNIX_S`` are the
worker's ``time.monotonic()`` and ``time.time()`` when it was sent. In Locust's process the one is the other plus a
constant (_steady_time.py), so they date all that is in the report."""

logger = logging.getLogger("fourfold")


class Worker:
    """A worker process: keeps the rows of its requests until its next report to the master."""

    def __init__(self, runner: WorkerRunner, replica_header: str) -> None:
        self._runner = runner
        self._replica_header = replica_header
        self._process = psutil.Process()
        self._begin_run()

    def register(self, events: Events) -> None:
        """Listen to the events of a worker. Locust calls listeners to ``quitting`` in reverse, so ours comes before its
        own: once a worker has said that it quits, the master no longer reads its reports."""
        events.test_start.add_listener(self._begin_run)
        events.request.add_listener(self._keep_row)
        events.cpu_warning.add_listener(self._count_cpu_warning)
        events.report_to_master.add_listener(self._add_to_report)
        events.test_stop.add_listener(self._report_last)
        events.quitting.add_listener(self._stop)

    def _begin_run(self, **_: Any) -> None:
        self._batches: dict[int | None, RequestBatch] = {}
        self._unsent: list[dict[str, Any]] = []
        self._has_stopped = False
        self._cpu_seconds_before = cpu_seconds(self._process)
        self._cpu_warnings = 0

    def _keep_row(self, **event: Any) -> None:
        row = request_row(self._replica_header, **event)
        block = row["block"]
        if block not in self._batches:
            self._batches[block] = RequestBatch(block)
        self._batches[block].add(row)

    def keep_unsent(self, arrival: dict[str, Any]) -> None:
        """An arrival of an open workload that was not sent, or not answered (``Recording.add_unsent``)."""
        self._unsent.append(arrival)

    def _count_cpu_warning(self, **_: Any) -> None:
        self._cpu_warnings += 1

    def _add_to_report(self, data: dict[str, Any], **_: Any) -> None:
        data[ROWS], self._batches = [vars(batch) for batch in self._batches.values()], {}
        data[UNSENT], self._unsent = self._unsent, []
        spent = cpu_seconds(self._process) - self._cpu_seconds_before
        data[CPU] = {"cpu_seconds": spent, "cpu_warnings": self._cpu_warnings}
        data[IS_LAST] = self._has_stopped
        open_load = self._runner.environment.fourfold.open_load
        data[IN_FLIGHT] = None if open_load is None else open_load.in_flight
        data[COUNTS] = {} if open_load is None else open_load.take_counts()
        data[STEADY_S], data[UNIX_S] = time.monotonic(), time.time()

    def _report_last(self, **_: Any) -> None:
        """Report at once what this worker did since its last report: it may end before the next one is due."""
        self._has_stopped = True
        self._runner._send_stats()

    def _stop(self, environment: Environment, **_: Any) -> None:
        ignore_signals_while_finishing()
        environment.runner.stop()


class Workers:
    """The workers of a master, in one run after the other. ``open_counts``: what those of an open workload have counted
    in the present run, as ``OpenLoad.counts``."""

    def __init__(self) -> None:
        runners.HEARTBEAT_LIVENESS = SILENT_S // runners.HEARTBEAT_INTERVAL
        self._clocks = Clocks()
        self.begin_run()

    def begin_run(self) -> None:
        self._reported_last: set[str] = set()
        self._in_flight: dict[str, int | None] = {}
        self.open_counts: Counter[str] = Counter()
        self._last_report_unix_s: dict[str, float] = {}
        self._load_ended_unix_s: float | None = None

    def receive(self, worker: str, data: dict[str, Any], recording: Recording | BlockRecording | None) -> None:
        """Put the rows of a worker's report into the recording, dated by the master's clock."""
        self._last_report_unix_s[worker] = time.time()
        self._in_flight[worker] = data.get(IN_FLIGHT)
        self.open_counts.update(data.get(COUNTS, {}))
        ahead_s = 0.0
        if STEADY_S in data:
            self._clocks.note_report(worker, data[STEADY_S])
            ahead_s = data[UNIX_S] - self._clocks.by_this_clock(worker, data[UNIX_S], data[STEADY_S])
        if recording is None:
            return
        for batch in (RequestBatch(**fields) for fields in data.get(ROWS, [])):
            if ahead_s:
                batch.move(-ahead_s)
                recording.note_clock(worker, ahead_s)
            recording.add_requests(batch)
        for arrival in data.get(UNSENT, []):
            recording.add_unsent(arrival | {"due_at_unix_s": arrival["due_at_unix_s"] - ahead_s})
        if CPU in data:
            recording.note_worker(worker, data[CPU])
        if data.get(IS_LAST):
            self._reported_last.add(worker)
        # Locust takes the next report at once if it is there. While the master is busy, nobody else would have a turn:
        # no replica would be sampled, and no row written to the disk.
        gevent.sleep(0)

    def in_flight(self, master: MasterRunner) -> int | None:
        """Requests of an open workload that are not answered yet, as the workers that run reported them last; None:
        none of them has such a workload."""
        running = (client.id for client in master.clients.spawning + master.clients.running)
        told = [count for worker in running if (count := self._in_flight.get(worker)) is not None]
        return sum(told) if told else None

    def await_last_reports(self, master: MasterRunner, recording: Recording | BlockRecording | None) -> None:
        """End the workers that still run, and wait until each has sent its last report.

        On a busy machine that can take longer than the half second that Locust waits, and rows would be lost silently.
        A worker that no longer answers is not waited for. The recording notes that its rows may be lost.
        """
        self._load_ended_unix_s = self._load_ended_unix_s or time.time()
        workers = {client.id for client in master.clients.spawning + master.clients.running} - self._reported_last
        if workers:
            master.send_message("quit")
        with gevent.Timeout(LAST_REPORTS_S, False):
            while not workers <= self._reported_last | {client.id for client in master.clients.missing}:
                gevent.sleep(0.05)
        if recording is None:
            return
        for lost in sorted((workers | self._last_report_unix_s.keys()) - self._reported_last):
            text = f"worker {lost} was lost {self._when_lost(lost)}; no count includes the requests it did not report"
            recording.note_fault(ROWS_LOST, text)
            logger.error(text)

    def are_lost(self, master: MasterRunner) -> bool:
        """Whether no worker is left, and at least one did not quit by itself."""
        return master.worker_count <= 0 and bool(master.clients.missing)

    def load_ended_unix_s(self) -> float | None:
        """When a master's load ended: at the last report, or when the master began to wait for one. None: just now."""
        began_to_wait = self._load_ended_unix_s
        return None if began_to_wait is None else max([began_to_wait, *self._last_report_unix_s.values()])

    def _when_lost(self, worker: str) -> str:
        heard_unix_s = self._last_report_unix_s.get(worker)
        if heard_unix_s is None or self._load_ended_unix_s is None:
            return "before its first report"
        return f"{max(0.0, self._load_ended_unix_s - heard_unix_s):.0f} s before the end"
