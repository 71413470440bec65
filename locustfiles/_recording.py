"""Records one run: each request, each sample of a replica and of the machine, and the record of the run."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from _agent_options import finder_of
from _blocks import Block
from _open_counts import DUE, LATE
from _phases import InBlocks, InOnePiece, Phases
from _replicas import NoReplicas, Target
from _steady_time import steady_time
from gevent.lock import RLock
from locust.env import Environment
from locust.runners import MasterRunner

from runfiles.events import (
    CLOCK,
    DISTURBED,
    DROPPED,
    ENOUGH_REQUESTS,
    INCOMPLETE,
    MEASURED,
    NO_REPLICAS,
    OVER_BOUND,
    ROWS_LOST,
    RUN_TIME,
    STOPPED,
    UNANSWERED,
    UNSENT,
    WARM_UP,
)
from runfiles.files import (
    CHANGES_SUFFIX,
    MACHINE_STATS_SUFFIX,
    REPLICA_EVENTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REQUESTS_SUFFIX,
    RUN_RECORD_SUFFIX,
)
from runfiles.machines import this_machine
from runfiles.records import Blocks, FailedText, Fault, OpenWorkload, RunMachine, RunRecord, Service

from _health import health
from _live import Live
from _machine import CpuUse, MachineMonitor
from _monitor import Monitor
from _request_batch import FAILED_TEXTS_KEPT, RequestBatch
from _run_files import RunFiles
from _run_record import RecordFile, Run, generator_record, recorder_versions, replicas_record

RUN_TIME_SLACK_S = 1.0

LIVE_SUFFIXES = {
    "requests": REQUESTS_SUFFIX,
    "replica_stats": REPLICA_STATS_SUFFIX,
    "replica_events": REPLICA_EVENTS_SUFFIX,
    "machine_stats": MACHINE_STATS_SUFFIX,
    "changes": CHANGES_SUFFIX,
}
"""Name in the URL of a download in the web UI -> file of the run."""

logger = logging.getLogger("fourfold")


class Recording:
    """The files of one run, from its start to the last request that is reported.

    ``begin`` opens the files, ``begin_to_sample`` starts the monitors, ``stop`` notes the end of the load and ``close``
    closes the files. ``end`` is called with the reason once as many requests are measured as were asked for. If the
    load comes in blocks, ``begin_block`` and ``end_block`` tell of each; after the latter ``block_times_ms`` are the
    response times of its measured part in an open workload, and ``block_failed`` its requests that failed.

    A full disk does not end a run: rows are kept in memory and tried again, and room for the record is reserved from
    the start. What could not be kept is among the record's ``faults``.
    """

    def __init__(self, environment: Environment, run: Run, end: Callable[[str], None]) -> None:
        self.environment = environment
        self.blocks: Blocks | None = None
        self.measured = 0
        self.run = run
        self._prefix = run.prefix
        self._end = end
        self._interval_s = environment.parsed_options.replica_interval
        self._settings, self._open_settings = run.settings(environment), run.open_settings(environment)
        self._is_shown_live = environment.web_ui is not None
        self._in_blocks = InBlocks() if run.is_in_blocks else None
        self._phases: Phases = self._in_blocks or InOnePiece(run.warm_up_s)
        self._failures = self._retries = self._reconnects = self._cpu_warnings = self._late = 0
        self._unsent = dict.fromkeys(UNSENT, 0)
        self._unsent_of_block = dict.fromkeys(UNSENT, 0)
        self.block_times_ms: list[float] = []
        self.block_failed = 0
        self._sends_each_text_once = any(
            getattr(user, "sends_each_text_once", False) for user in environment.user_classes
        )
        self._texts_sent: dict[int | None, set[int | None]] = {}
        self._failed_texts: dict[int, FailedText] = {}
        self._faults: list[Fault] = []
        self._problems: list[str] = []
        self._workers: dict[str, dict[str, float]] = {}
        self._clocks_off_s: dict[str, float] = {}
        self._service: dict[str, Any] | None = None
        self._monitor: Monitor | None = None
        self._machine: MachineMonitor | None = None
        self._cpu_use = CpuUse()
        self._generator_percents: list[float] = []
        self._machine_percent: float | None = None
        self._users: int | None = None
        self._ended_at_unix_s: float | None = None
        self._ended_by: str | None = None
        self._ending = RLock()  # a master's run may end in two greenlets at once
        self._is_whole: bool | None = None

    def begin(self) -> None:
        """Open the files, and write a first record.

        Raises:
            OSError: a file can't be opened.
        """
        has_changes = self.environment.parsed_options.live_changes
        self.files = RunFiles(self._prefix, has_blocks=self.run.is_in_blocks, has_changes=has_changes)
        self._record_file = RecordFile(self.files.folder, Path(self._prefix).name + RUN_RECORD_SUFFIX)
        self.live = Live(
            {name: Path(self._prefix + suffix) for name, suffix in LIVE_SUFFIXES.items()},
            self.files.flush,
            self._deployment,
        )
        steady_time.begin()
        self._began_steady_s = time.monotonic()  # Locust's own run time began a moment before
        self._begin_now()
        self._write_record()
        self.files.flush()

    def begin_to_sample(self, *, with_machine: bool = True) -> None:
        """Ask who serves, start the monitors, and count the time of the run from now on.

        The end of the run may interrupt this. The record then says what is known so far. ``with_machine``: with a
        monitor of the machine of its own.
        """
        self._who_serves()
        self._monitor = self._find_replicas()
        if self._monitor is not None:
            self._monitor.await_first_samples()
        self._begin_now()
        if with_machine and self.run.replicas != NO_REPLICAS:
            self._machine = MachineMonitor(self.add_machine_sample)
        self.files.flush()
        self._write_record()

    def _begin_now(self) -> None:
        self._cpu_use.begin()
        self._started_at_unix_s = time.time()
        self._phases.begin(self._started_at_unix_s)

    def run_s(self) -> float:
        """For how long the run has gone on."""
        return time.time() - self._started_at_unix_s

    def add_requests(self, batch: RequestBatch) -> None:
        self._failures += sum(batch.failed)
        for text_id, status in batch.failed_texts.items():
            self._note_failed_text(text_id, status)
        self._retries += batch.retries
        self._reconnects += batch.reconnects
        if self._sends_each_text_once:
            self._texts_sent.setdefault(batch.block, set()).update(batch.text_ids)
        if self._is_shown_live:
            self.live.add_answers(batch.answers)
        if self._monitor is not None:
            for replica, sent_unix_s in batch.last_sent_unix_s.items():
                self._monitor.note_answer(replica, sent_unix_s)
        self._phases.give_requests(batch, self._write_requests)

    def add_unsent(self, arrival: dict[str, Any]) -> None:
        """An arrival of an open workload that was not sent, or not answered: ``due_at_unix_s``, ``block``, and ``why``,
        one of ``UNSENT``."""
        self._phases.give_unsent(arrival, self._count_unsent)

    def _count_unsent(self, arrival: dict[str, Any]) -> None:
        self._unsent[arrival["why"]] += arrival["phase"] == MEASURED
        self._unsent_of_block[arrival["why"]] += arrival["phase"] in (MEASURED, DISTURBED, WARM_UP)

    def _note_failed_text(self, text_id: int, status: int) -> None:
        """Keep the first texts that fail, for people who look for the cause."""
        if text_id in self._failed_texts or len(self._failed_texts) == FAILED_TEXTS_KEPT:
            return
        asked = self.environment.fourfold.asked.requests
        begins = asked[text_id - 1].begins
        self._failed_texts[text_id] = FailedText(text_id=text_id, begins=begins, status=status)

    def _note_answered(self, batch: RequestBatch, are_measured: Sequence[bool]) -> None:
        """Count the measured requests of an open workload."""
        self._late += sum(itertools.compress(batch.late, are_measured))
        if self._in_blocks is not None:
            failed = list(itertools.compress(batch.failed, are_measured))
            times_ms = itertools.compress(batch.response_time_ms, are_measured)
            self.block_failed += sum(failed)
            self.block_times_ms += [time for time, has_failed in zip(times_ms, failed, strict=True) if not has_failed]

    def _write_requests(self, batch: RequestBatch, phases: Sequence[str | None]) -> None:
        self.files.requests.write_texts(batch.rows(phases))
        before = self.measured
        are_measured = [phase == MEASURED for phase in phases]
        self.measured += sum(are_measured)
        if self.run.is_open:
            self._note_answered(batch, are_measured)
        if before < (self.run.end_after_requests or 0) <= self.measured:
            self._end(ENOUGH_REQUESTS)

    def add_sample(self, row: dict[str, Any]) -> None:
        runner = self.environment.runner
        row["users"] = runner.user_count if runner else None
        if self._is_shown_live:
            self.live.add_sample(row)
        self._phases.give_sample(row, self.files.samples.write)

    def _add_event(self, row: dict[str, Any]) -> None:
        if self._is_shown_live:
            self.live.add_event(row)
        self.files.events.write(row)

    def add_change(self, row: dict[str, Any]) -> None:
        """Note a change that was made in the web UI: a row of ``PREFIX_changes.csv`` without its number."""
        self.live.changes.append(row)
        self.files.write_change(row)

    def target(self) -> Target | None:
        """What is sampled; None: nothing was found so far."""
        return self._monitor.finder.target if self._monitor is not None else None

    def _deployment(self) -> str:
        """The kind of what is sampled, as ``--replicas`` calls it; empty: nothing was found so far."""
        target = self.target()
        return target.kind if target else ""

    def add_machine_sample(self, row: dict[str, Any]) -> None:
        self._phases.give_sample(row, self.files.machine_stats.write)

    def begin_block(self, block: Block) -> None:
        """The load has turned to this run's target."""
        if self._in_blocks is not None:
            self._in_blocks.begin_block(block)

    def end_block(self, block: Block) -> None:
        """The block has ended, and has its phase."""
        if self._in_blocks is not None:
            self._unsent_of_block = dict.fromkeys(UNSENT, 0)
            self.block_times_ms, self.block_failed = [], 0
            self._in_blocks.end_block()
            if block.rate_per_s is not None:
                block.dropped, block.over_bound, block.unanswered = (self._unsent_of_block[why] for why in UNSENT)
            self.files.write_block(block)

    def sample_now(self) -> Mapping[str, float] | None:
        """Take a sample of each replica, and of the machine, at once.

        Returns the CPU seconds that each replica has used; None if not all are known.
        """
        if self._machine is not None:
            self._machine.sample()
        return None if self._monitor is None else self._monitor.sample_now()

    def add_cpu_warning(self) -> None:
        self._cpu_warnings += 1

    def note_fault(self, kind: str, text: str) -> None:
        """Note a fault of this recording: a kind of ``runfiles.events.FAULTS``, and a sentence on what happened."""
        fault = Fault(kind=kind, text=text)
        if fault not in self._faults:
            self._faults.append(fault)

    def note_worker(self, client_id: str, spent: dict[str, float]) -> None:
        """Note what a worker says of its own CPU since the run began."""
        self._workers[client_id] = spent

    def note_clock(self, client_id: str, ahead_s: float) -> None:
        """Note by how many seconds the time of a worker's request was changed; 0: not at all."""
        if abs(ahead_s) > abs(self._clocks_off_s.get(client_id, 0.0)):
            if client_id not in self._clocks_off_s:
                logger.warning(_clock_text(client_id, ahead_s))
            self._clocks_off_s[client_id] = ahead_s

    def stop(self, ended_by: str | None, ended_at_unix_s: float | None = None) -> None:
        """Take the last samples, and note in the record that the load has ended. A second call does nothing.

        ``ended_by`` None: the run time ended it, or a person did. ``ended_at_unix_s`` None: just now.
        """
        with self._ending:
            if self._ended_at_unix_s is None:
                self._stop(ended_by, ended_at_unix_s or time.time())

    def _stop(self, ended_by: str | None, ended_at_unix_s: float) -> None:
        self._ended_at_unix_s = self.live.ended_at_s = ended_at_unix_s
        run_time_s = self.run.run_time_s
        is_over = run_time_s and time.monotonic() - self._began_steady_s > run_time_s - RUN_TIME_SLACK_S
        self._ended_by = ended_by or (RUN_TIME if is_over else STOPPED)
        if text := steady_time.why_other_than_the_clock():
            logger.warning(text)
            self.note_fault(CLOCK, text)
        runner = self.environment.runner
        self._users = runner.target_user_count if runner else None
        workers_s = [worker["cpu_seconds"] for worker in self._workers.values()]
        self._generator_percents, self._machine_percent = self._cpu_use.percents(workers_s)
        if self._machine is not None:
            self._machine.stop()
        if self._monitor is not None:
            try:
                self._monitor.stop()
            except Exception as error:  # whatever it is, the record comes first
                self._note_problem(f"the last samples are missing: {error!r}")
        self._phases.end()
        if not isinstance(runner, MasterRunner):  # a master's workers have more to report
            self._note_missing_texts()
        self.files.flush()
        self._write_record()

    def close(self) -> bool:
        """Close the files: nothing more will be reported. Returns whether all of the recording is on the disk."""
        with self._ending:
            if self._is_whole is None:
                self._is_whole = self._close()
            return self._is_whole

    def _close(self) -> bool:
        self._note_missing_texts()
        self.files.close()
        self._write_record()
        self._record_file.close()
        self.files.folder.close()
        if self._record_file.error is not None:
            logger.error(
                "%s%s could not be written (%s): this run is not recorded",
                self._prefix,
                RUN_RECORD_SUFFIX,
                self._record_file.error.strerror,
            )
        return self._record_file.error is None and not any(file.lost for file in self.files)

    def _find_replicas(self) -> Monitor | None:
        if self.run.replicas == NO_REPLICAS:
            return None
        try:
            has_path = self.environment.fourfold.asked.service.ready.startswith("/")
            said = self._who_serves if has_path else None
            finder = finder_of(self.environment.parsed_options, self.run.replicas, self.run.host, said)
            monitor = Monitor(finder, self._interval_s, self.add_sample, self._add_event, self.note_fault)
            monitor.start()
        except NoReplicas as error:  # a slip in the web UI's form
            self._note_problem(f"no replica is sampled: {error}")
        except Exception as error:  # whatever it is, the requests are recorded
            self._note_problem(f"no replica is sampled: {error!r}")
        else:
            return monitor
        return None

    def _who_serves(self) -> dict[str, Any] | None:
        """What the service says of itself. The record keeps the first answer.

        Before the monitor starts, the service is asked only until it has answered; the monitor gets a new answer each
        time.
        """
        said = self._service if self._monitor is None else None
        said = said or health(self.run.host, self.environment.fourfold.asked.service.ready)
        self._service = self._service or said
        return said

    def _note_problem(self, text: str) -> None:
        self._problems.append(text)
        logger.warning(text)

    def _note_missing_texts(self) -> None:
        """Note texts that were not sent, if a user class should send each text once, or once in each pass."""
        if not self._sends_each_text_once:
            return
        there = len(self.environment.fourfold.asked.requests)
        for number, texts in (self._texts_sent or {None: set()}).items():
            which = f"pass {number}: " if number is not None and number > 1 else ""
            text = f"{which}{len(texts)} of {there} texts were sent"
            if len(texts) < there and text not in (fault.text for fault in self._faults):
                logger.warning(text)
                self.note_fault(INCOMPLETE, text)

    def _all_faults(self) -> tuple[Fault, ...]:
        """The faults noted so far, those of clocks as they are now, and at the end the rows that are lost."""
        found = [*self._faults]
        found += [Fault(kind=CLOCK, text=_clock_text(*off)) for off in self._clocks_off_s.items()]
        if self._ended_at_unix_s is not None:
            lost = [file for file in self.files if file.lost]
            texts = [f"{file.lost} of {file.rows} rows of {file.path.name} are not in it" for file in lost]
            found += [Fault(kind=ROWS_LOST, text=text) for text in texts]
        return tuple(found)

    def _write_record(self) -> None:
        self._record_file.write(self._record())

    def _record(self) -> RunRecord:
        runner, monitor = self.environment.runner, self._monitor
        users = runner.target_user_count if runner and self._ended_at_unix_s is None else self._users
        warnings = self._cpu_warnings + sum(int(worker["cpu_warnings"]) for worker in self._workers.values())
        return RunRecord(
            **self._settings,
            users=users,
            started_at_unix_s=self._started_at_unix_s,
            ended_at_unix_s=self._ended_at_unix_s,
            ended_by=self._ended_by,
            requests=self.files.requests.rows,
            failures=self._failures,
            retries=self._retries,
            reconnects=None if self._settings["reconnect_every"] is None else self._reconnects,
            open=self._open_record(),
            blocks=self.blocks,
            failed_texts=tuple(self._failed_texts.values()),
            faults=self._all_faults(),
            service=None if self._service is None else Service(answer=self._service),
            texts=self.environment.fourfold.asked.texts_record(),
            replicas=replicas_record(self.run.replicas, self._interval_s, monitor, self._problems),
            generator=generator_record(self._generator_percents, len(self._workers), warnings),
            versions=recorder_versions(),
            machine=RunMachine(**vars(this_machine()), cpu_percent=self._machine_percent),
        )

    def open_counts(self) -> dict[str, int]:
        """What became of the requests that were due in the measured phase, by the words of ``OPEN_COUNTS``."""
        return {DUE: self.measured + sum(self._unsent.values()), LATE: self._late, **self._unsent}

    def _open_record(self) -> OpenWorkload | None:
        if self._open_settings is None:
            return None
        return OpenWorkload(
            **self._open_settings,
            late=self._late,
            dropped=self._unsent[DROPPED],
            over_bound=self._unsent[OVER_BOUND],
            unanswered=self._unsent[UNANSWERED],
        )


def _clock_text(client_id: str, ahead_s: float) -> str:
    direction = "ahead of" if ahead_s > 0 else "behind"
    return (
        f"the clock of worker {client_id} was {abs(ahead_s):.1f} s {direction} the master's; its requests are dated by "
        "the master's clock"
    )
