"""The hook into Locust: what a run did, request by request and replica by replica, beside Locust's own CSV files.

With ``--csv PREFIX`` a run leaves ``PREFIX_requests.csv``, ``PREFIX_replica_stats.csv`` and ``PREFIX_run.json``. A
further run in the same process (web UI: stop, then start) gets ``PREFIX_run2_...``, so that none overwrites another.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import re
import shlex
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gevent
import psutil
import requests
from locust import events
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner, WorkerRunner
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV

sys.path.append(str(Path(__file__).resolve().parents[1]))  # runfiles.py, wherever Locust was started

import runfiles

from _live import Live, show_live
from _machine import MachineMonitor
from _monitor import LEAST_INTERVAL_S, Monitor
from _replicas import Finder, NoReplicas, replicas_argument
from _row_file import RowFile
from _texts import read_reviews, texts_record

FLUSH_EVERY_S = 1.0
HEALTH_TIMEOUT_S = 3.0
RUN_TIME_SLACK_S = 1.0
LAST_REPORTS_S = 10.0
"""How long the master waits for its workers' last rows; Locust itself gives them half a second."""

WORKER_ROWS, WORKER_CPU, WORKER_IS_LAST = "fourfold_requests", "fourfold_cpu", "fourfold_is_last"

logger = logging.getLogger("fourfold")


class ConnectionCount:
    """How many connections a user has opened since its last request began."""

    def __init__(self) -> None:
        self.opened = 0

    def count(self, _socket: Any) -> None:
        self.opened += 1


class Recording:
    """The files of one run, from its start to the last request that is reported."""

    def __init__(self, environment: Environment, prefix: str) -> None:
        self._environment = environment
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
        # Of the web UI's options and of the host only what holds now: the form of the next run overwrites them.
        self._warm_up_s = self._options.warm_up
        self._settings = {
            "command": shlex.join(["locust", *sys.argv[1:]]),
            "user_class": "+".join(one.__name__ for one in environment.user_classes),
            "host": environment.host,
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
        self._generator_cpu_before = _cpu_seconds(self._generator)
        self._machine_percent: float | None = None
        self._machine_cpu_before = _machine_cpu_seconds()
        if self._monitor is not None:
            self._monitor.start()
        self._machine = MachineMonitor(self._add_machine_sample) if self._asked != "none" else None
        self._started_at_unix_s = time.time()
        self._flusher = gevent.spawn(self._flush_regularly)
        self._write_record()

    def add_request(self, row: dict[str, Any]) -> None:
        row["phase"] = self._phase(row["started_at_unix_s"])
        self._failures += bool(row["error"])
        self._requests.write(row)
        self.live.add_request(row)
        self._measured += row["phase"] == runfiles.MEASURED
        if self._measured == self._settings["end_after_requests"]:
            end_run(self._environment, "number of requests")

    def add_cpu_warning(self) -> None:
        self._cpu_warnings += 1

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
        runner = self._environment.runner
        self._users = runner.target_user_count if runner else None
        spent = [_cpu_seconds(self._generator) - self._generator_cpu_before]
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
            answers_as = (self._service or {}).get("replica")
            finder = Finder(self._asked, self._environment.host or "", answers_as, self._options.docker_host)
        except NoReplicas as error:  # a slip in the web UI's form
            self._problem = f"no replica is sampled: {error}"
            logger.warning(self._problem)
            return None
        return Monitor(finder, self._interval_s, self._add_sample, self._events.write)

    def _add_sample(self, row: dict[str, Any]) -> None:
        runner = self._environment.runner
        row["phase"] = self._phase(row["sampled_at_unix_s"])
        row["users"] = runner.user_count if runner else None
        self._samples.write(row)
        self.live.add_sample(row)

    def _add_machine_sample(self, row: dict[str, Any]) -> None:
        row["phase"] = self._phase(row["sampled_at_unix_s"])
        self._machine_stats.write(row)

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
        runner, monitor = self._environment.runner, self._monitor
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


class _Hook:
    """What the listeners below share: the recording of the run that goes on; in a worker, what it has yet to send."""

    recording: Recording | None = None
    kept_nowhere: TemporaryDirectory[str] | None = None
    runs = 0
    ended_by: str | None = None
    is_worker = False
    has_stopped = False
    reported_last: set[str] = set()
    unsent: list[dict[str, Any]] = []
    cpu_seconds_before = 0.0
    cpu_warnings = 0


def end_run(environment: Environment, reason: str) -> None:
    """End the run from within a user: the whole process when headless, just the run under the web UI."""
    runner = environment.runner
    if runner is None:
        return
    _Hook.ended_by = reason
    if _Hook.is_worker:
        runner.send_message("fourfold_end_run", reason)
    else:
        gevent.spawn(runner.stop if environment.web_ui else runner.quit)


@events.init_command_line_parser.add_listener
def add_arguments(parser: Any) -> None:
    parser.add_argument(
        "--replicas",
        type=replicas_argument,
        default="auto",
        help="auto (who serves the host), none, container:NAME, compose:PROJECT/SERVICE, swarm:SERVICE, process:PID",
    )
    parser.add_argument(
        "--replica-interval",
        type=_interval,
        default=0.25,
        help=f"Seconds between two samples of a replica (0.25; at least {LEAST_INTERVAL_S:g})",
    )
    parser.add_argument(
        "--docker-host",
        action="append",
        default=[],
        metavar="URL",
        include_in_web_ui=False,
        help="The engine of a swarm's other node (ssh://USER@NODE or tcp://NODE:2376), to sample its replicas too; "
        "repeatable",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="Shuffle the texts of a load, the same way for the same seed; 0: they come in the order of their file (0)",
    )
    parser.add_argument(
        "--requests",
        type=_count,
        include_in_web_ui=False,
        help="End the run once so many requests of the measured phase are reported, if its run time has not ended it",
    )
    parser.add_argument(
        "--warm-up",
        type=float,
        default=0.0,
        help="Seconds at the start of a run whose requests and samples are marked 'warm-up' and enter no figure (0)",
    )


@events.init.add_listener
def know_the_runner(environment: Environment, **_: Any) -> None:
    def end(environment: Environment, msg: Any, **_: Any) -> None:
        end_run(environment, msg.data)

    _Hook.is_worker = isinstance(environment.runner, WorkerRunner)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        gevent.signal_handler(signal.SIGINT, interrupt)
    if isinstance(environment.runner, MasterRunner):
        environment.runner.register_message("fourfold_end_run", end)
    # Only now: of these listeners Locust calls the last one first, and a master's own would stop the run before it.
    environment.events.quitting.add_listener(note_interruption)
    show_live(environment, lambda: _Hook.recording.live if _Hook.recording else None)


def interrupt() -> None:
    """Ctrl-C reaches Locust as it would anyway, but between two events: Python alone raises it in the midst of whatever
    runs, and the rows or Locust's own counts of a report that is just being taken in would be lost."""
    hub = gevent.get_hub()
    hub.loop.run_callback(hub.parent.throw, KeyboardInterrupt)


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    if _Hook.is_worker:
        _Hook.unsent, _Hook.has_stopped = [], False
        _Hook.cpu_seconds_before, _Hook.cpu_warnings = _cpu_seconds(psutil.Process()), 0
        return
    if _Hook.recording is not None:
        _Hook.recording.close()
        _Hook.recording = None
    _Hook.ended_by = None
    _Hook.reported_last = set()
    prefix = environment.parsed_options.csv_prefix
    if not prefix:
        logger.info("requests and replicas are not kept; --csv PREFIX would keep them")
        if environment.web_ui is None:
            return
        _Hook.kept_nowhere = _Hook.kept_nowhere or TemporaryDirectory(prefix="fourfold-")
        prefix = str(Path(_Hook.kept_nowhere.name, "run"))
    _Hook.runs += 1
    _Hook.recording = Recording(environment, prefix if _Hook.runs == 1 else f"{prefix}_run{_Hook.runs}")


@events.request.add_listener
def record_request(
    response_time: float,
    response_length: int,
    response: Any,
    context: dict[str, Any],
    exception: Exception | None,
    start_time: float,
    **_: Any,
) -> None:
    headers = getattr(response, "headers", None) or {}
    durations = _server_timing(_header(headers, "server-timing") or "")
    connections = context.get("connections")
    row = {
        "started_at_unix_s": start_time,
        "response_time_ms": response_time,
        "status": getattr(response, "status_code", 0) or 0,
        "error": str(exception).partition("\n")[0] or type(exception).__name__ if exception else "",
        "request_bytes": context.get("request_bytes"),
        "response_bytes": response_length,
        "text_id": context.get("text_id"),
        "replica": _header(headers, "x-replica"),
        "queue_ms": durations.get("queue"),
        "inference_ms": durations.get("inference"),
        "connection_reused": None if connections is None else int(connections.opened == 0),
    }
    if _Hook.recording is not None:
        _Hook.recording.add_request(row)
    elif _Hook.is_worker:
        _Hook.unsent.append(row)


@events.report_to_master.add_listener
def send_rows(data: dict[str, Any], **_: Any) -> None:
    data[WORKER_ROWS], _Hook.unsent = _Hook.unsent, []
    spent = _cpu_seconds(psutil.Process()) - _Hook.cpu_seconds_before
    data[WORKER_CPU] = {"cpu_seconds": spent, "cpu_warnings": _Hook.cpu_warnings}
    data[WORKER_IS_LAST] = _Hook.has_stopped


@events.worker_report.add_listener
def receive_rows(client_id: str, data: dict[str, Any], **_: Any) -> None:
    if _Hook.recording is not None:
        for row in data.get(WORKER_ROWS, []):
            _Hook.recording.add_request(row)
        if WORKER_CPU in data:
            _Hook.recording.note_worker(client_id, data[WORKER_CPU])
        if data.get(WORKER_IS_LAST):
            _Hook.reported_last.add(client_id)


@events.cpu_warning.add_listener
def note_cpu_warning(**_: Any) -> None:
    _Hook.cpu_warnings += 1
    if _Hook.recording is not None:
        _Hook.recording.add_cpu_warning()


@events.test_stop.add_listener
def stop(environment: Environment, **_: Any) -> None:
    if _Hook.is_worker and environment.runner is not None:
        _Hook.has_stopped = True
        environment.runner._send_stats()  # what this worker did since its last report, also if it ends now
    if _Hook.recording is not None:
        _Hook.recording.stop(_Hook.ended_by)


def note_interruption(environment: Environment, **_: Any) -> None:
    """Quitting before the run has stopped is Ctrl-C or SIGTERM; a run that has stopped keeps its own reason.

    A worker stops first, and so reports first: once it has said that it quits, the master listens to it no more. The
    master waits for all their last reports, which on a busy machine can take longer than Locust would wait.
    """
    _Hook.ended_by = _Hook.ended_by or "interrupted"
    runner = environment.runner
    if _Hook.is_worker and runner is not None:
        runner.stop()
    elif isinstance(runner, MasterRunner) and runner.state in (STATE_SPAWNING, STATE_RUNNING):
        workers = {client.id for client in runner.clients.spawning + runner.clients.running}
        runner.send_message("quit")
        with gevent.Timeout(LAST_REPORTS_S, False):
            while not workers <= _Hook.reported_last:
                gevent.sleep(0.05)


@events.quit.add_listener
def finish(**_: Any) -> None:
    if _Hook.recording is not None:
        _Hook.recording.stop(_Hook.ended_by or "interrupted")
        _Hook.recording.close()
        if _Hook.kept_nowhere is None:
            _write_locust_totals(_Hook.recording._environment)
        else:
            _Hook.kept_nowhere.cleanup()


def _write_locust_totals(environment: Environment) -> None:
    """Locust's last second: its CSV writer wakes once a second and is not called again when the run ends."""
    totals = StatsCSV(environment, PERCENTILES_TO_REPORT)
    prefix = environment.parsed_options.csv_prefix
    for suffix, write in (
        ("_stats.csv", totals.requests_csv),
        ("_failures.csv", totals.failures_csv),
        ("_exceptions.csv", totals.exceptions_csv),
    ):
        with Path(prefix + suffix).open("w", encoding="utf-8", newline="") as file:
            write(csv.writer(file))


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _machine_cpu_seconds() -> float:
    """CPU time that all programs of this machine, its kernel and its hypervisor have taken from its processors."""
    times = psutil.cpu_times()._asdict()
    return float(sum(times.get(name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal")))


def _interval(text: str) -> float:
    if not (seconds := float(text)) >= LEAST_INTERVAL_S:
        raise argparse.ArgumentTypeError(f"{text!r} is less than {LEAST_INTERVAL_S:g} s")
    return seconds


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _header(headers: Any, name: str) -> str | None:
    """A header's value; of one that came several times, as through a proxy that adds its own, all values."""
    value = headers.get(name)
    return ", ".join(value) if isinstance(value, list) else value


def _server_timing(header: str) -> dict[str, float]:
    """Durations in ms by name, from a Server-Timing header."""
    return {name: float(value) for name, value in re.findall(r"(\w+)\s*;\s*dur=([\d.]+)", header)}


def _health(host: str) -> dict[str, Any] | None:
    """What the service says of itself; None where it has no ``/health`` that answers with JSON."""
    try:
        answer = requests.get(f"{host.rstrip('/')}/health", timeout=HEALTH_TIMEOUT_S)
        answer.raise_for_status()
        said = answer.json()
    except (requests.RequestException, ValueError) as error:
        logger.warning("%s/health does not say who serves: %s", host, error)
        return None
    return said if isinstance(said, dict) else None
