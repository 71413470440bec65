"""The hook into Locust: its options, and what becomes of its events, in one process or in a master and its workers.

With ``--csv PREFIX`` a run leaves ``PREFIX_requests.csv``, ``PREFIX_replica_stats.csv`` and ``PREFIX_run.json``
(_recording.py). A further run in the same process (web UI: stop, then start) gets ``PREFIX_run2_...``, so that none
overwrites another.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from argparse import ArgumentTypeError
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gevent
import psutil
from flask import jsonify, request
from gevent.os import make_nonblocking, nb_read
from locust import events
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner, WorkerRunner

# runfiles.py and addresses.py, wherever Locust was started
sys.path.append(str(Path(__file__).resolve().parents[1]))

from runfiles.events import ALL_TEXTS, AUTO, INTERRUPTED, OPTION, RECORDING_FAILED_EXIT_CODE, ROWS_LOST, STOPPED

import _locust_files
import _options
from _clocks import Clocks
from _find_replicas import host_argument, replicas_argument
from _live import show_live
from _monitor import LEAST_INTERVAL_S
from _recording import Recording, cpu_seconds
from _server_timing import server_timing

LAST_REPORTS_S = 10.0
"""How long the master waits for its workers' last rows; Locust itself gives them half a second."""

FINISH_WITHIN_S = 30.0
"""How long a run that is interrupted may take to write all that is left; a further Ctrl-C or SIGTERM is ignored."""

WORKER_ROWS, WORKER_CPU, WORKER_IS_LAST = "fourfold_requests", "fourfold_cpu", "fourfold_is_last"
WORKER_STEADY_S = "fourfold_steady_s"
"""A worker's ``time.monotonic()``: in its reports as of the sending, in their rows as of the start of the request."""

LONGEST_NAME = 200
"""Characters that are kept of what a service calls itself, and of an error."""

logger = logging.getLogger("fourfold")


class ConnectionCount:
    """How many connections a user has opened since its last request began."""

    def __init__(self) -> None:
        self.opened = 0

    def count(self, _socket: Any) -> None:
        self.opened += 1


class Hook:
    """What the listeners below share: the recording of the run that goes on; in a worker, what it has yet to send."""

    recording: Recording | None = None
    kept_nowhere: TemporaryDirectory[str] | None = None
    runs = 0
    ended_by: str | None = None
    is_worker = False
    has_stopped = False
    reported_last: set[str] = set()
    last_report_unix_s: dict[str, float] = {}
    load_ended_unix_s: float | None = None
    unsent: list[dict[str, Any]] = []
    cpu_seconds_before = 0.0
    cpu_warnings = 0
    clocks = Clocks()
    wrong_fields: list[str] = []


def end_run(environment: Environment, reason: str = ALL_TEXTS) -> None:
    """End the run from within a user: the whole process when headless, just the run under the web UI."""
    runner = environment.runner
    if runner is None:
        return
    Hook.ended_by = reason
    if Hook.is_worker:
        runner.send_message("fourfold_end_run", reason)
    else:
        gevent.spawn(runner.stop if environment.web_ui else runner.quit)


@events.init_command_line_parser.add_listener
def add_arguments(parser: Any) -> None:
    for argument in parser._actions:  # Locust's own take any text, and fail with it later
        argument.type = {"host": host_argument, "csv_prefix": _options.prefix}.get(argument.dest, argument.type)
    parser.add_argument(
        "--replicas",
        type=replicas_argument,
        default=AUTO,
        help="auto (who serves the host), none, container:NAME, compose:PROJECT/SERVICE, swarm:SERVICE, process:PID",
    )
    parser.add_argument(
        "--replica-interval",
        type=_options.interval,
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
        type=_options.seed,
        default=0,
        help="Shuffle the texts of a load, the same way for the same seed; 0: they come in the order of their file (0)",
    )
    parser.add_argument(
        "--requests",
        type=_options.count,
        include_in_web_ui=False,
        help="End the run once so many requests of the measured phase are reported, if its run time has not ended it",
    )
    parser.add_argument(
        "--end-with-stdin",
        action="store_true",
        include_in_web_ui=False,
        help="End the run, as SIGTERM does, once standard input ends: whoever holds the other end of that pipe is gone",
    )
    parser.add_argument(
        "--warm-up",
        type=_options.seconds,
        default=0.0,
        help="Seconds at the start of a run whose requests and samples are marked 'warm-up' and enter no figure (0)",
    )


@events.init.add_listener
def know_the_runner(environment: Environment, **_: Any) -> None:
    def end(environment: Environment, msg: Any, **_: Any) -> None:
        end_run(environment, msg.data)

    # gevent counts a time from when its loop last woke. Loading took a second or more since, by which Locust's run time
    # would end too early.
    gevent.get_hub().loop.update_now()
    Hook.is_worker = isinstance(environment.runner, WorkerRunner)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        gevent.signal_handler(signal.SIGINT, interrupt)
    if isinstance(environment.runner, MasterRunner):
        environment.runner.register_message("fourfold_end_run", end)
    # Only now: of these listeners Locust calls the last one first, and a master's own would stop the run before it.
    environment.events.quitting.add_listener(note_interruption)
    if environment.parsed_options.end_with_stdin:
        gevent.spawn(end_with_stdin)
    show_live(environment, lambda: Hook.recording.live if Hook.recording else None)
    check_form(environment)


def end_with_stdin() -> None:
    """Until Locust handles SIGTERM, which it does before a user starts, the signal just ends it."""
    stdin = sys.stdin.fileno()
    make_nonblocking(stdin)
    while nb_read(stdin, 4096):
        pass
    logger.warning("whoever started this run is gone, so it ends")
    os.kill(os.getpid(), signal.SIGTERM)


def check_form(environment: Environment) -> None:
    """Check what the web UI's form says of the host and of Fourfold's own options, which Locust would take as it is."""
    web = environment.web_ui
    if web is None:
        return
    options = vars(environment.parsed_options)
    at_start = dict(options)
    start = web.app.view_functions["locust.swarm"]

    @web.auth_required_if_enabled
    def checked_start() -> Any:
        form = request.form.copy()
        Hook.wrong_fields = _options.take_fields(form, options, at_start)
        if "host" in form:
            try:
                form["host"] = host_argument(form["host"])
            except ArgumentTypeError as error:
                if form["host"].strip() or not at_start["host"]:
                    return jsonify({"success": False, "message": f"Host: {error}", "host": environment.host})
                form["host"] = at_start["host"]
                Hook.wrong_fields.append(f"host of the web UI's form: the field was empty; {form['host']} was used")
        for name in _options.FIELDS:
            form.poplist(name)
        request.form = type(request.form)(form)
        return start()

    web.app.view_functions["locust.swarm"] = checked_start
    stop_run = web.app.view_functions["locust.stop"]

    @web.auth_required_if_enabled
    def noted_stop() -> Any:
        if environment.runner is not None and environment.runner.state in (STATE_SPAWNING, STATE_RUNNING):
            Hook.ended_by = Hook.ended_by or STOPPED
        return stop_run()

    web.app.view_functions["locust.stop"] = noted_stop


def interrupt() -> None:
    """Ctrl-C reaches Locust as it would anyway, but between two events: Python alone raises it in the midst of whatever
    runs, and the rows or Locust's own counts of a report that is just being taken in would be lost."""
    finish_undisturbed()
    hub = gevent.get_hub()
    hub.loop.run_callback(hub.parent.throw, KeyboardInterrupt)


def finish_undisturbed() -> None:
    """Ignore further signals to end, for a while: they would cut off the writing of what is left."""
    until_s = time.monotonic() + FINISH_WITHIN_S

    def ignore(number: int, _frame: Any) -> None:
        if time.monotonic() > until_s:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        with suppress(OSError):
            os.write(2, b"the run is being finished; please wait\n")  # a logger may be in the midst of a line

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ignore)


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    if Hook.is_worker:
        Hook.unsent, Hook.has_stopped = [], False
        Hook.cpu_seconds_before, Hook.cpu_warnings = cpu_seconds(psutil.Process()), 0
        return
    if Hook.recording is not None:
        if not Hook.recording.close():
            environment.process_exit_code = RECORDING_FAILED_EXIT_CODE
        Hook.recording = None
    Hook.ended_by = None
    Hook.reported_last, Hook.last_report_unix_s, Hook.load_ended_unix_s = set(), {}, None
    prefix = environment.parsed_options.csv_prefix
    if not prefix:
        logger.info("requests and replicas are not kept; --csv PREFIX would keep them")
        if environment.web_ui is None:
            return
        Hook.kept_nowhere = Hook.kept_nowhere or TemporaryDirectory(prefix="fourfold-")
        prefix = str(Path(Hook.kept_nowhere.name, "run"))
    Hook.runs += 1
    prefix = prefix if Hook.runs == 1 else f"{prefix}_run{Hook.runs}"
    try:
        Hook.recording = Recording(environment, prefix, lambda reason: end_run(environment, reason))
    except OSError as error:
        logger.error(  # noqa: TRY400  what a user can cause needs no traceback
            "%s can't be written (%s), so the run ends before it begins; make room, or choose another --csv PREFIX",
            error.filename,
            error.strerror,
        )
        environment.process_exit_code = RECORDING_FAILED_EXIT_CODE
        if environment.web_ui is None:
            gevent.spawn(environment.runner.quit)
        raise gevent.GreenletExit from None  # or Locust would start the users first
    for text in Hook.wrong_fields:
        logger.warning(text)
        Hook.recording.note_fault(OPTION, text)
    Hook.recording.start()


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
    durations = server_timing(_header(headers, "server-timing") or "")
    connections = context.get("connections")
    row = {
        "started_at_unix_s": start_time,
        "response_time_ms": response_time,
        "status": getattr(response, "status_code", 0) or 0,
        "error": _brief(str(exception).partition("\n")[0]) or type(exception).__name__ if exception else "",
        "request_bytes": context.get("request_bytes"),
        "response_bytes": response_length,
        "text_id": context.get("text_id"),
        "replica": _brief(_header(headers, "x-replica") or ""),
        "queue_ms": durations.get("queue"),
        "inference_ms": durations.get("inference"),
        "connection_reused": None if connections is None else int(connections.opened == 0),
    }
    if Hook.recording is not None:
        Hook.recording.add_request(row)
    elif Hook.is_worker:
        Hook.unsent.append(row | {WORKER_STEADY_S: time.monotonic() - response_time / 1000})


@events.report_to_master.add_listener
def send_rows(data: dict[str, Any], **_: Any) -> None:
    data[WORKER_ROWS], Hook.unsent = Hook.unsent, []
    spent = cpu_seconds(psutil.Process()) - Hook.cpu_seconds_before
    data[WORKER_CPU] = {"cpu_seconds": spent, "cpu_warnings": Hook.cpu_warnings}
    data[WORKER_IS_LAST] = Hook.has_stopped
    data[WORKER_STEADY_S] = time.monotonic()


@events.worker_report.add_listener
def receive_rows(client_id: str, data: dict[str, Any], **_: Any) -> None:
    Hook.last_report_unix_s[client_id] = time.time()
    if WORKER_STEADY_S in data:
        Hook.clocks.note_report(client_id, data[WORKER_STEADY_S])
    if Hook.recording is not None:
        for row in data.get(WORKER_ROWS, []):
            began_steady_s, said_unix_s = row.pop(WORKER_STEADY_S), row["started_at_unix_s"]
            row["started_at_unix_s"] = Hook.clocks.by_this_clock(client_id, said_unix_s, began_steady_s)
            Hook.recording.note_clock(client_id, said_unix_s - row["started_at_unix_s"])
            Hook.recording.add_request(row)
        if WORKER_CPU in data:
            Hook.recording.note_worker(client_id, data[WORKER_CPU])
        if data.get(WORKER_IS_LAST):
            Hook.reported_last.add(client_id)


@events.cpu_warning.add_listener
def note_cpu_warning(**_: Any) -> None:
    Hook.cpu_warnings += 1
    if Hook.recording is not None:
        Hook.recording.add_cpu_warning()


@events.test_stop.add_listener
def stop(environment: Environment, **_: Any) -> None:
    if Hook.is_worker and environment.runner is not None:
        Hook.has_stopped = True
        environment.runner._send_stats()  # what this worker did since its last report, also if it ends now
    elif isinstance(environment.runner, MasterRunner):
        await_last_reports(environment.runner)
    if Hook.recording is not None:
        Hook.recording.stop(Hook.ended_by, load_ended_unix_s())


def load_ended_unix_s() -> float | None:
    """When a master's load ended: at its last report, but for what it waited in vain; None: now."""
    began_to_wait = Hook.load_ended_unix_s
    return None if began_to_wait is None else max([began_to_wait, *Hook.last_report_unix_s.values()])


def await_last_reports(master: MasterRunner) -> None:
    """Have workers that still run end, and wait until each has sent its last report: on a busy machine that can take
    longer than the half second for which Locust would wait, and rows would be lost without a word.

    A worker that no longer answers is waited for no more. That rows of it may be lost is noted."""
    Hook.load_ended_unix_s = Hook.load_ended_unix_s or time.time()
    workers = {client.id for client in master.clients.spawning + master.clients.running} - Hook.reported_last
    if workers:
        master.send_message("quit")
    with gevent.Timeout(LAST_REPORTS_S, False):
        while not workers <= Hook.reported_last | {client.id for client in master.clients.missing}:
            gevent.sleep(0.05)
    for lost in sorted((workers | Hook.last_report_unix_s.keys()) - Hook.reported_last):
        if Hook.recording is not None:
            heard_unix_s = Hook.last_report_unix_s.get(lost)
            when = "before its first report"
            if heard_unix_s is not None:
                when = f"{max(0.0, Hook.load_ended_unix_s - heard_unix_s):.0f} s before the end"
            text = f"worker {lost} was lost {when}; requests that it had not reported are in no count"
            Hook.recording.note_fault(ROWS_LOST, text)
            logger.error(text)


def note_interruption(environment: Environment, **_: Any) -> None:
    """Quitting before the run has stopped is Ctrl-C or SIGTERM; a run that has stopped keeps its own reason.

    A worker stops first, and so reports first: once it has said that it quits, the master listens to it no more.
    """
    finish_undisturbed()
    Hook.ended_by = Hook.ended_by or INTERRUPTED
    runner = environment.runner
    if Hook.is_worker and runner is not None:
        runner.stop()
    elif isinstance(runner, MasterRunner) and runner.state in (STATE_SPAWNING, STATE_RUNNING):
        await_last_reports(runner)


@events.quitting.add_listener
def finish(environment: Environment, **_: Any) -> None:
    """Write all that is left. Locust fixes its exit code after this, and its runner would stop only then.

    Of the listeners to this event Locust calls the first one last: a master has its workers' last reports by now.
    """
    recording = Hook.recording
    if recording is None:
        return
    if not isinstance(environment.runner, MasterRunner):
        environment.runner.stop()
    recording.stop(Hook.ended_by, load_ended_unix_s())
    if not recording.close():
        environment.process_exit_code = RECORDING_FAILED_EXIT_CODE
    if Hook.kept_nowhere is not None:
        Hook.kept_nowhere.cleanup()


@events.quit.add_listener
def end_undisturbed(**_: Any) -> None:
    """Locust closes its own files after this, and Python takes its handlers of signals away as it ends: from then on a
    signal would end the process with an exit code of its own."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.alarm(int(FINISH_WITHIN_S))  # for all that may hang


@events.quit.add_listener
def forget_what_nobody_can_read(**_: Any) -> None:
    """Python would end with its own exit code if the log is on a full disk too."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _header(headers: Any, name: str) -> str | None:
    """A header's value; of one that came several times, as through a proxy that adds its own, all values."""
    value = headers.get(name)
    return ", ".join(value) if isinstance(value, list) else value


def _brief(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else text[:LONGEST_NAME] + "..."


_locust_files.install()
