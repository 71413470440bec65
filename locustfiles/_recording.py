"""What one run did, request by request and replica by replica, in the files beside Locust's own."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gevent
import psutil
import requests
from locust.env import Environment

import addresses
import runfiles

from _live import Live
from _machine import MachineMonitor
from _monitor import Monitor
from _replicas import Finder, NoReplicas
from _row_file import RowFile
from _texts import read_reviews, texts_record

FLUSH_EVERY_S = 1.0
HEALTH_TIMEOUT_S = 3.0
RUN_TIME_SLACK_S = 1.0

logger = logging.getLogger("fourfold")


class Recording:
    """The files of one run, from its start to the last request that is reported.

    ``end`` is called with the reason once as many requests are measured as were asked for.
    """

    def __init__(self, environment: Environment, prefix: str, end: Callable[[str], None]) -> None:
        self.environment = environment
        self._end = end
        self._options = environment.parsed_options
        self._prefix = prefix
        self._requests = RowFile(Path(prefix + runfiles.REQUESTS_SUFFIX), runfiles.REQUEST_COLUMNS)
        self._samples = RowFile(Path(prefix + runfiles.REPLICA_STATS_SUFFIX), runfiles.REPLICA_STATS_COLUMNS)
        self._machine_stats = RowFile(Path(prefix + runfiles.MACHINE_STATS_SUFFIX), runfiles.MACHINE_STATS_COLUMNS)
        self._events = RowFile(Path(prefix + runfiles.REPLICA_EVENTS_SUFFIX), runfiles.REPLICA_EVENTS_COLUMNS)
        suffixes = {
            "requests": runfiles.REQUESTS_SUFFIX,
            "replica_stats": runfiles.REPLICA_STATS_SUFFIX,
            "replica_events": runfiles.REPLICA_EVENTS_SUFFIX,
            "machine_stats": runfiles.MACHINE_STATS_SUFFIX,
        }
        self.live = Live({name: Path(prefix + suffix) for name, suffix in suffixes.items()}, self._flush)
        self._failures = 0
        self._faults: list[dict[str, str]] = []
        # Of the web UI's options and of the host only what holds now: the form of the next run overwrites them.
        self._warm_up_s = self._options.warm_up
        self._settings = {
            "command": addresses.without_password(shlex.join(["locust", *sys.argv[1:]])),
            "user_class": "+".join(one.__name__ for one in environment.user_classes),
            "host": addresses.without_password(environment.host or "") or None,
            "spawn_rate": self._options.spawn_rate,
            "run_time_s": self._options.run_time or None,
            "warm_up_s": self._warm_up_s,
            "end_after_requests": self._options.requests,
            "seed": self._options.seed,
        }
        self._measured = 0
        self._users: int | None = None
        self._asked = self._options.replicas
        self._interval_s = self._options.replica_interval
        self._cpu_warnings = 0
        self._workers: dict[str, dict[str, float]] = {}
        self._ended_at_unix_s: float | None = None
        self._ended_by: str | None = None
        self._generator_percents: list[float] = []
        self._service = _health(environment.host or "")
        self._problem: str | None = None
        self._monitor = self._find_replicas()
        self._generator = psutil.Process()
        self._generator_cpu_before = cpu_seconds(self._generator)
        self._machine_percent: float | None = None
        self._machine_cpu_before = _machine_cpu_seconds()
        if self._monitor is not None:
            self._monitor.start()
        self._machine = MachineMonitor(self.add_machine_sample) if self._asked != "none" else None
        self._started_at_unix_s = time.time()
        self._flusher = gevent.spawn(self._flush_regularly)
        self._write_record()

    def add_request(self, row: dict[str, Any]) -> None:
        row["phase"] = self._phase(row["started_at_unix_s"])
        self._failures += bool(row["error"])
        self._requests.write(row)
        self.live.add_request(row)
        if self._monitor is not None and row["replica"]:
            self._monitor.note_answer(row["replica"])
        self._measured += row["phase"] == runfiles.MEASURED
        if self._measured == self._settings["end_after_requests"]:
            self._end("number of requests")

    def add_sample(self, row: dict[str, Any]) -> None:
        runner = self.environment.runner
        row["phase"] = self._phase(row["sampled_at_unix_s"])
        row["users"] = runner.user_count if runner else None
        self._samples.write(row)
        self.live.add_sample(row)

    def add_machine_sample(self, row: dict[str, Any]) -> None:
        row["phase"] = self._phase(row["sampled_at_unix_s"])
        self._machine_stats.write(row)

    def add_cpu_warning(self) -> None:
        self._cpu_warnings += 1

    def note_fault(self, kind: str, text: str) -> None:
        """Something is wrong with this recording: a kind of ``runfiles.FAULTS``, and what happened, in one sentence."""
        fault = {"kind": kind, "text": text}
        if fault not in self._faults:
            self._faults.append(fault)

    def note_worker(self, client_id: str, spent: dict[str, float]) -> None:
        """What a worker process says of its own CPU since the run began."""
        self._workers[client_id] = spent

    def stop(self, ended_by: str | None) -> None:
        """The load has ended: the last samples, the end in the record. A second call does nothing.

        ``ended_by`` None: nothing ended it but its run time, or somebody's hand.
        """
        if self._ended_at_unix_s is not None:
            return
        self._ended_at_unix_s = self.live.ended_at_s = time.time()
        elapsed = self._ended_at_unix_s - self._started_at_unix_s
        run_time_s = self._settings["run_time_s"]
        self._ended_by = ended_by or (
            "run time" if run_time_s and elapsed > run_time_s - RUN_TIME_SLACK_S else "stopped"
        )
        runner = self.environment.runner
        self._users = runner.target_user_count if runner else None
        spent = [cpu_seconds(self._generator) - self._generator_cpu_before]
        spent += [one["cpu_seconds"] for one in self._workers.values()]
        self._generator_percents = [seconds / elapsed * 100 for seconds in spent]
        self._machine_percent = (_machine_cpu_seconds() - self._machine_cpu_before) / elapsed * 100
        if self._machine is not None:
            self._machine.stop()
        if self._monitor is not None:
            self._monitor.stop()
        self._flush()
        self._write_record()

    def close(self) -> None:
        """Nothing more will be reported: the files are whole."""
        self._flusher.kill()
        self._requests.close()
        self._samples.close()
        self._events.close()
        self._machine_stats.close()
        self._write_record()

    def _find_replicas(self) -> Monitor | None:
        if self._asked == "none":
            return None
        try:
            host = self.environment.host or ""
            finder = Finder(self._asked, host, self._who_serves, self._options.docker_host)
        except NoReplicas as error:  # a slip in the web UI's form
            self._problem = f"no replica is sampled: {error}"
            logger.warning(self._problem)
            return None
        return Monitor(finder, self._interval_s, self.add_sample, self._events.write, self.note_fault)

    def _who_serves(self) -> dict[str, Any] | None:
        """What the service says of itself, asked again as long as it has not answered."""
        self._service = self._service or _health(self.environment.host or "")
        return self._service

    def _phase(self, at_unix_s: float) -> str:
        warm_until = getattr(self, "_started_at_unix_s", at_unix_s) + self._warm_up_s
        return runfiles.WARM_UP if at_unix_s < warm_until else runfiles.MEASURED

    def _flush_regularly(self) -> None:
        while True:
            gevent.sleep(FLUSH_EVERY_S)
            self._flush()

    def _flush(self) -> None:
        self._requests.flush()
        self._samples.flush()
        self._events.flush()
        self._machine_stats.flush()

    def _write_record(self) -> None:
        runner, monitor = self.environment.runner, self._monitor
        users = runner.target_user_count if runner and self._ended_at_unix_s is None else self._users
        warnings = self._cpu_warnings + sum(int(one["cpu_warnings"]) for one in self._workers.values())
        record = self._settings | {
            "form": runfiles.FORM,
            "users": users,
            "started_at_unix_s": self._started_at_unix_s,
            "ended_at_unix_s": self._ended_at_unix_s,
            "ended_by": self._ended_by,
            "requests": self._requests.rows,
            "failures": self._failures,
            "faults": self._faults,
            "service": self._service,
            "texts": texts_record(read_reviews()),
            "replicas": {
                "asked": self._asked,
                "found": str(monitor.finder.target) if monitor and monitor.finder.target else None,
                "sampling": monitor.sampling() if monitor else None,
                "interval_s": self._interval_s,
                "list": monitor.record() if monitor else [],
                "problems": ([self._problem] if self._problem else []) + (monitor.problems if monitor else []),
            },
            "generator": {
                "cpu_percent": max(self._generator_percents, default=None),
                "cpu_percent_all": sum(self._generator_percents) if self._generator_percents else None,
                "processes": 1 + len(self._workers),
                "cpu_warnings": warnings,
            },
            "versions": {name: version(name) for name in ("locust", "gevent", "geventhttpclient", "docker", "psutil")}
            | {"python": sys.version.split()[0]},
            "machine": runfiles.machine_record() | {"cpu_percent": self._machine_percent},
        }
        Path(self._prefix + runfiles.RUN_RECORD_SUFFIX).write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _machine_cpu_seconds() -> float:
    """CPU time that all programs of this machine, its kernel and its hypervisor have taken from its processors."""
    times = psutil.cpu_times()._asdict()
    return float(sum(times.get(name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal")))


def _health(host: str) -> dict[str, Any] | None:
    """What the service says of itself; None where it has no ``/health`` that answers with JSON."""
    with requests.Session() as session:
        session.trust_env = False  # as for the load itself, no proxy
        try:
            answer = session.get(f"{host.rstrip('/')}/health", timeout=HEALTH_TIMEOUT_S)
            answer.raise_for_status()
            said = answer.json()
        except (requests.RequestException, ValueError) as error:
            logger.warning("%s/health does not say who serves: %s", addresses.without_password(host), error)
            return None
    return said if isinstance(said, dict) else None
