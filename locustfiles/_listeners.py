"""Records the runs of Locust: listens to its events and hands what they say to a recording (_recording.py).

With ``--csv PREFIX`` a run leaves ``PREFIX_requests.csv``, ``PREFIX_replica_stats.csv`` and ``PREFIX_run.json``. The
next run in the same process (web UI: stop, then start) gets ``PREFIX_run2_...``, so that none overwrites another. With
``--blocks FILE`` the file says which deployments are recorded, and where.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import gevent
from _block_load import BlockLoad
from _block_recording import BlockRecording
from _blocks import LoadInBlocks, read_blocks
from _open_counts import open_warnings
from _passes import repeated_passes
from _read_there import connect_early
from _steady_time import steady_time
from locust.env import Environment, Events
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner, WorkerRunner

from runfiles.events import INTERRUPTED, OPTION, RECORDING_FAILED_EXIT_CODE, STOPPED
from runfiles.files import FIRST_PASS_DONE_SUFFIX

import _ending
import _locust_files
import _options
from _live import Live, show_live
from _live_changes import LiveChanges
from _open import OpenLoad
from _prometheus import serve_metrics
from _recording import Recording
from _request_batch import RequestBatch
from _request_row import request_row
from _run_record import Run
from _texts import asked_service
from _visits import ANSWERED, GIVE_UP, LEAVE, VISIT, BlockVisits, Visits
from _workers import Worker, Workers

WRONG_OPTIONS_EXIT_CODE = 2
"""As argparse's own."""

NO_WORKERS_EXIT_CODE = 1
"""As Locust's own if not all workers have come."""

logger = logging.getLogger("fourfold")


class Listeners:
    """Listens to the events of one Locust process. In a worker a ``Worker`` takes its place.

    ``recording`` is that of the present run, or of the last one under the web UI; None where nothing is recorded.
    ``asked`` is the service, and what it is asked. ``visits`` tells users where their next request goes. ``open_load``
    sends the requests of an open workload; None: it is a closed one. A locustfile finds them at
    ``environment.fourfold``.
    """

    def __init__(self) -> None:
        self.recording: Recording | BlockRecording | None = None
        self._load: LoadInBlocks | None = None
        self._block_load: BlockLoad | None = None
        self._runs = 0
        self._ended_by: str | None = None
        self._wrong_fields: list[str] = []
        self._has_warned = False
        self._temporary_folder: TemporaryDirectory[str] | None = None
        self._workers = Workers()
        self._worker: Worker | None = None
        self.open_load: OpenLoad | None = None

    def register(self, events: Events) -> None:
        """Listen. To be called when the locustfile is loaded, before Locust makes its runner and its files.

        Locust calls listeners to ``quitting`` in reverse. A master's own one, which comes with its runner, waits for
        the workers' last reports, so ``_finish`` comes after it.
        """
        events.init_command_line_parser.add_listener(_options.add_arguments)
        events.init.add_listener(self._know_the_runner)
        events.quitting.add_listener(self._finish)
        events.quit.add_listener(_ending.ignore_signals_to_the_end)
        events.quit.add_listener(_ending.forget_unwritable_output)
        _locust_files.install()
        steady_time.install()

    def _know_the_runner(self, environment: Environment, **_: Any) -> None:
        # gevent counts a time from when its loop last woke. Loading has taken a second or more since then, by which
        # Locust's run time would end too early.
        gevent.get_hub().loop.update_now()
        _ending.handle_ctrl_c()
        environment.fourfold = self
        self.asked = asked_service(environment.parsed_options.service)
        self.visits = Visits(environment)
        environment.events.test_start.add_listener(self._begin_visits)
        if isinstance(environment.runner, WorkerRunner):
            self._worker = Worker(environment.runner, self.asked.service.replica_header)
            self._worker.register(environment.events)
        else:
            if reason := _options.contradiction(environment):
                logger.error(reason)
                sys.exit(WRONG_OPTIONS_EXIT_CODE)
            self._know_the_blocks(environment)
            connect_early(environment.parsed_options.replicas)
            environment.runner.register_message(_ending.END_RUN, self._end_as_told)
            self._register_for_runs(environment.events)
        if not isinstance(environment.runner, MasterRunner):
            environment.runner.register_message(VISIT, self._turn)
            environment.runner.register_message(LEAVE, self._leave)
            environment.runner.register_message(GIVE_UP, self._give_up)
        if environment.parsed_options.end_with_stdin:
            gevent.spawn(_ending.end_with_stdin)
        if environment.web_ui is not None:
            is_running = partial(_is_running, environment)
            changes = None
            if environment.parsed_options.live_changes:
                changes = LiveChanges(environment, self._recording_shown, is_running)
            show_live(environment, self._live, changes)
            serve_metrics(
                environment, self._live, partial(self._in_flight, environment), partial(self._open_counts, environment)
            )
            _options.check_form(environment, is_running, partial(self._note_wrong_fields, is_running))
            self._note_stop_button(environment)

    def _know_the_blocks(self, environment: Environment) -> None:
        if environment.parsed_options.blocks:
            self._load = read_blocks(Path(environment.parsed_options.blocks))
            environment.host = self._load.targets[0].url  # Locust asks for one
            environment.runner.register_message(ANSWERED, self._note_answer)
            environment.events.spawning_complete.add_listener(self._begin_blocks)

    def _register_for_runs(self, events: Events) -> None:
        events.test_start.add_listener(self._begin)
        events.request.add_listener(self._record_request)
        events.worker_report.add_listener(self._receive_report)
        events.cpu_warning.add_listener(self._note_cpu_warning)
        events.test_stop.add_listener(self._stop)
        events.quitting.add_listener(self._note_interruption)

    def _end_as_told(self, environment: Environment, msg: Any, **_: Any) -> None:
        self._end(environment, msg.data)

    def _end(self, environment: Environment, reason: str) -> None:
        self._ended_by = reason
        _ending.stop_or_quit(environment)

    def passes(self) -> Iterator[int]:
        """The passes of a single pass over the texts, one after the other; they are numbered from 1.

        Only what is recorded is repeated.
        """
        if not isinstance(self.recording, Recording) or not self.recording.run.repeat_s:
            return iter([1])
        marker = Path(f"{self.recording.run.prefix}{FIRST_PASS_DONE_SUFFIX}")
        return repeated_passes(self.recording, self.visits, self.recording.run.repeat_s, marker)

    def note_unsent(self, due_at_unix_s: float, block: int | None, why: str) -> None:
        """Note an arrival of an open workload that was not sent, or not answered: one of ``UNSENT``."""
        arrival = {"due_at_unix_s": due_at_unix_s, "block": block, "why": why}
        if self._worker is not None:
            self._worker.keep_unsent(arrival)
        elif self.recording is not None:
            self.recording.add_unsent(arrival)

    def _begin_visits(self, environment: Environment, **_: Any) -> None:
        self.visits = (BlockVisits if environment.parsed_options.blocks else Visits)(environment)

    def _turn(self, msg: Any, **_: Any) -> None:
        if isinstance(self.visits, BlockVisits):
            self.visits.turn(msg.data)
        if self.open_load is not None:
            self.open_load.begin_anew()

    def _give_up(self, **_: Any) -> None:
        if self.open_load is not None:
            self.open_load.give_up()

    def _leave(self, msg: Any, **_: Any) -> None:
        if self.open_load is not None:
            self.open_load.leave()  # while there is a visit that what is still due can belong to
        if isinstance(self.visits, BlockVisits):
            self.visits.leave(msg.data)

    def _begin_blocks(self, **_: Any) -> None:
        """All users run. This event comes again when workers come or go."""
        if self._block_load is not None:
            self._block_load.start()

    def _end_visits(self) -> None:
        if self._block_load is not None:
            self._block_load.stop()

    def _note_answer(self, msg: Any, **_: Any) -> None:
        if self._block_load is not None:
            self._block_load.note_answer(msg.node_id, msg.data)

    def _recording_shown(self) -> Recording | None:
        return self.recording if isinstance(self.recording, Recording) else None

    def _live(self) -> Live | None:
        return self.recording.live if isinstance(self.recording, Recording) else None

    def _in_flight(self, environment: Environment) -> int | None:
        """Requests of an open workload that are not answered yet, in all processes; None: none runs."""
        if isinstance(environment.runner, MasterRunner):
            return self._workers.in_flight(environment.runner)
        return None if self.open_load is None else self.open_load.in_flight

    def _open_counts(self, environment: Environment) -> Mapping[str, int] | None:
        """What became of the requests of an open workload in the present run; None: it is a closed one."""
        if self.open_load is None:
            return None
        return self._workers.open_counts if isinstance(environment.runner, MasterRunner) else self.open_load.counts

    def _note_wrong_fields(self, is_running: Callable[[], bool], texts: list[str], users: str) -> None:
        self._wrong_fields = texts
        if not is_running():
            return  # the recording of the run that starts now notes them
        if self.open_load is not None and users.isdecimal():
            self.open_load.expect_users(int(users))
        self._note_faults_of_options()

    def _note_faults_of_options(self) -> None:
        for text in self._wrong_fields:
            logger.warning(text)
            if self.recording is not None:
                self.recording.note_fault(OPTION, text)
        self._wrong_fields = []

    def _note_stop_button(self, environment: Environment) -> None:
        web = environment.web_ui
        stop_run = web.app.view_functions["locust.stop"]

        @web.auth_required_if_enabled
        def noted_stop() -> Any:
            if _is_running(environment):
                self._ended_by = self._ended_by or STOPPED
            return stop_run()

        web.app.view_functions["locust.stop"] = noted_stop

    def _begin(self, environment: Environment, **_: Any) -> None:
        """Record the run that starts, or end it if that can't be done."""
        self._close(environment)
        self._ended_by, self._has_warned = None, False
        self._workers.begin_run()
        recording = self._new_recording(environment)
        if recording is None:
            return
        try:
            recording.begin()
        except OSError as error:
            self._end_before_it_begins(environment, error)
        self.recording = recording
        self._note_faults_of_options()
        recording.begin_to_sample()

    def _new_recording(self, environment: Environment) -> Recording | BlockRecording | None:
        if self._load is not None:
            recording = BlockRecording(environment, self._load)
            self._block_load = BlockLoad(environment, self._load, recording, partial(self._end, environment))
            return recording
        prefix = self._prefix(environment)
        if prefix is None:
            return None
        return Recording(environment, Run.of_options(environment, prefix), partial(self._end, environment))

    def _close(self, environment: Environment) -> None:
        if self.recording is not None and not self.recording.close():
            environment.process_exit_code = RECORDING_FAILED_EXIT_CODE
        self.recording = None

    def _prefix(self, environment: Environment) -> str | None:
        """What the names of the run's files begin with. None: no files, and no web UI that shows them."""
        prefix = environment.parsed_options.csv_prefix
        if not prefix:
            logger.info("requests and replica samples are not kept; add --csv PREFIX to keep them")
            if environment.web_ui is None:
                return None
            self._temporary_folder = self._temporary_folder or TemporaryDirectory(prefix="fourfold-")
            prefix = str(Path(self._temporary_folder.name, "run"))
        self._runs += 1
        return prefix if self._runs == 1 else f"{prefix}_run{self._runs}"

    def _end_before_it_begins(self, environment: Environment, error: OSError) -> NoReturn:
        logger.error(
            "%s can't be written (%s), so the run ends before it begins; make room, or choose another --csv PREFIX",
            error.filename,
            error.strerror,
        )
        environment.process_exit_code = RECORDING_FAILED_EXIT_CODE
        if environment.web_ui is None:
            gevent.spawn(environment.runner.quit)
        raise gevent.GreenletExit from None  # or Locust would start the users first

    def _record_request(self, **event: Any) -> None:
        if self.recording is not None:
            row = request_row(self.asked.service.replica_header, **event)
            self.recording.add_requests(RequestBatch.of(row))

    def _receive_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        self._workers.receive(client_id, data, self.recording)

    def _note_cpu_warning(self, **_: Any) -> None:
        if self.recording is not None:
            self.recording.add_cpu_warning()

    def _stop(self, environment: Environment, **_: Any) -> None:
        self._end_visits()
        are_workers_lost = False
        if isinstance(environment.runner, MasterRunner):
            are_workers_lost = self._workers.are_lost(environment.runner)  # those that are not will quit now
            self._workers.await_last_reports(environment.runner, self.recording)
        if self.recording is not None:
            self.recording.stop(self._ended_by, self._workers.load_ended_unix_s())
        self._warn_of_the_load(environment)
        if are_workers_lost:
            self._end_without_workers(environment)

    def _end_without_workers(self, environment: Environment) -> None:
        """Locust would wait until the run time is over."""
        if environment.web_ui is None:
            logger.error("no worker is left, so Locust ends")
            environment.process_exit_code = NO_WORKERS_EXIT_CODE
            _ending.stop_or_quit(environment)

    def _warn_of_the_load(self, environment: Environment) -> None:
        """Say once what was wrong with an open workload. If it comes in blocks, Fourfold's analysis says it."""
        counts = self._open_counts(environment)
        if counts is None or self._load is not None or self._has_warned:
            return
        self._has_warned = True
        for text in open_warnings(self.recording.open_counts() if isinstance(self.recording, Recording) else counts):
            logger.warning(text)

    def _note_interruption(self, environment: Environment, **_: Any) -> None:
        """Before a master's own listener, which stops the run: a run that still goes on was ended by Ctrl-C or SIGTERM.
        A run that has stopped keeps its own reason."""
        _ending.ignore_signals_while_finishing()
        self._ended_by = self._ended_by or INTERRUPTED
        self._end_visits()
        runner = environment.runner
        if isinstance(runner, MasterRunner) and _is_running(environment):
            self._workers.await_last_reports(runner, self.recording)

    def _finish(self, environment: Environment, **_: Any) -> None:
        """Write all that is left. Locust sets its exit code after this, and its runner would stop only then."""
        if self.recording is not None:
            if not isinstance(environment.runner, MasterRunner):
                environment.runner.stop()
            self.recording.stop(self._ended_by, self._workers.load_ended_unix_s())
        self._warn_of_the_load(environment)
        self._close(environment)
        if self._temporary_folder is not None:
            self._temporary_folder.cleanup()


def _is_running(environment: Environment) -> bool:
    return environment.runner.state in (STATE_SPAWNING, STATE_RUNNING)
