"""Reading the files of one run: its record as it is, its CSV files as frames, nothing judged yet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from analysis.read.blocks import Axis, axis_of, lay_machine, lay_requests, lay_samples, why_wrong
from analysis.read.csvs import UnreadableFile, read_csv
from analysis.read.records import UnreadableResults, read_record, unreadable
from analysis.read.rows import Rows
from runfiles.columns import (
    BLOCK_COLUMNS,
    CHANGES_COLUMNS,
    MACHINE_STATS_COLUMNS,
    REPLICA_EVENTS_COLUMNS,
    REPLICA_STATS_COLUMNS,
    REQUEST_COLUMNS,
)
from runfiles.events import KEPT, MEASURED
from runfiles.fields import LONGEST_RUN_S
from runfiles.files import (
    BLOCKS_SUFFIX,
    CHANGES_SUFFIX,
    MACHINE_STATS_SUFFIX,
    REPLICA_EVENTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REQUESTS_SUFFIX,
    RUN_RECORD_SUFFIX,
    inside,
)
from runfiles.machines import is_loopback
from runfiles.reconnect import ReconnectEvery, read_reconnect_every
from runfiles.records import RunRecord

KEEP_ALIVE = "KeepAliveUser"
"""The user class in ``locustfiles/keep_alive.py``, as the record of a run names it."""

CLOCK_STEP_S = 60.0
"""By so much a row may lie outside of its run: a clock may have been set meanwhile. Further off it is another run's."""

LEAST_TELLING = 20
"""So many different response times, each to the nanosecond, two runs do not share by chance."""

FILES = (
    (REQUESTS_SUFFIX, REQUEST_COLUMNS),
    (REPLICA_STATS_SUFFIX, REPLICA_STATS_COLUMNS),
    (REPLICA_EVENTS_SUFFIX, REPLICA_EVENTS_COLUMNS),
    (MACHINE_STATS_SUFFIX, MACHINE_STATS_COLUMNS),
    (BLOCKS_SUFFIX, BLOCK_COLUMNS),
    (CHANGES_SUFFIX, CHANGES_COLUMNS),
)
"""The CSV files of a run: how their names end, and their columns. The first column says when a row is from, by the load
generator's clock."""


@dataclass(frozen=True, eq=False)
class Run:
    """One Locust run: its record, one row a request, one a sample of a replica, one for what became of a replica, one
    a sample of the machine, one a block, one a planned change (columns as in ``runfiles``). ``events`` and ``machine``
    are empty where an earlier version recorded, ``blocks`` where the load came in one piece, ``changes`` where nothing
    was changed.
    ``absent``: those of its files that are not there, though replicas were sampled.

    If it came in blocks, the measured parts of its blocks are laid end to end: all times of ``requests``, ``samples``,
    ``events`` and ``machine`` are on ``axis``, and the samples are those of the measured parts. ``recorded`` is the
    same run as it is in the files. ``blocks`` has times of the clock in both.

    What is computed from it is computed once: nobody changes the frames.
    """

    record: RunRecord
    requests: pd.DataFrame
    samples: pd.DataFrame
    events: pd.DataFrame
    machine: pd.DataFrame
    absent: tuple[str, ...] = ()
    blocks: pd.DataFrame = field(default_factory=pd.DataFrame)
    changes: pd.DataFrame = field(default_factory=pd.DataFrame)
    axis: Axis | None = None
    recorded: Run | None = None

    @property
    def as_recorded(self) -> Run:
        """The run with the times of the clock, waiting and disturbed blocks included."""
        return self.recorded or self

    @cached_property
    def measured_requests(self) -> pd.DataFrame:
        """The requests that enter figures: all but those of the warm-up."""
        return _rows(self.requests, self.requests["phase"] == MEASURED)

    @cached_property
    def answered(self) -> pd.DataFrame | Rows:
        """Those of ``measured_requests`` that did not fail."""
        is_answer = (self.measured_requests["error"] == "").to_numpy()
        span = _span(is_answer)
        return Rows(self.measured_requests, is_answer) if span is None else self.measured_requests.iloc[span]

    @cached_property
    def answered_unix_s(self) -> np.ndarray:
        """When each request that did not fail was over, also those sent in the warm-up; of a load in blocks, those that
        were over in the measured part of a measured block."""
        if self.axis is not None:
            ended = self.as_recorded.answered_unix_s
            return self.axis.place(ended[self.axis.is_inside(ended)])
        is_answer = (self.requests["error"] == "").to_numpy()
        return (self.finished_unix_s if is_answer.all() else self.finished_unix_s[is_answer]).to_numpy()

    @cached_property
    def finished_unix_s(self) -> pd.Series:
        """When each request was over, also those that failed."""
        finished = self.requests["response_time_ms"] / 1000
        finished += self.requests["started_at_unix_s"]
        return finished

    @cached_property
    def replica_names(self) -> dict[str, str]:
        """What an answer may call the replica that gave it, besides its name (ID, host name) -> the replica's name."""
        listed = self.record.replicas.list
        called = {said: replica.name for replica in listed for said in (replica.id, *replica.answers_as)}
        return called | dict(zip(self.samples["replica_id"], self.samples["replica"], strict=True))

    @property
    def rows_lost(self) -> int:
        """How many requests were recorded, by the run's own count, that no row is left of; 0 where it kept no count."""
        recorded = self.record.requests
        return 0 if recorded is None else max(0, recorded - len(self.requests))

    @cached_property
    def window_unix_s(self) -> tuple[float, float]:
        """Start and end of the measured phase.

        Where rows are lost, or the run was killed before it said its end, it ends with the last request that is left:
        a rate over time without rows would be too low. A load in blocks has only whole blocks: it lasts from the first
        to the last of them.
        """
        if self.axis is not None:
            return self.axis.window_unix_s
        if len(self.blocks):
            measured = self.blocks[(self.blocks["phase"] == MEASURED).to_numpy()]
            if len(measured):
                return measured["measured_from_unix_s"].iloc[0], measured["measured_to_unix_s"].iloc[-1]
        start = self.record.started_at_unix_s + self.record.warm_up_s
        ended = self.record.ended_at_unix_s
        if ended is None or self.rows_lost:
            last = self.finished_unix_s.max() if len(self.requests) else start
            ended = last if ended is None else min(last, ended)
        return start, max(start, ended)

    @cached_property
    def before_changes(self) -> Run:
        """The part before the first planned change, as a run of its own, with the requests that were over by then; the
        run itself where nothing was changed. Its record has no counts: those are of the whole run."""
        if self.changes.empty:
            return self
        end = float(self.changes["began_at_unix_s"].iloc[0])
        record = replace(self.record, ended_at_unix_s=end, run_time_s=None, requests=None, failures=None)
        return replace(
            self,
            record=record,
            requests=_rows(self.requests, self.finished_unix_s < end),
            samples=_rows(self.samples, self.samples["sampled_at_unix_s"] < end),
            events=_rows(self.events, self.events["at_unix_s"] < end),
            machine=_rows(self.machine, self.machine["sampled_at_unix_s"] < end),
            changes=self.changes.iloc[:0],
        )

    @cached_property
    def rates_per_s(self) -> tuple[float, ...]:
        """The rates of an open workload at which requests were due in the measured phase, each once and from the lowest
        on; none in a closed one."""
        if self.record.open is None:
            return ()
        if self.record.open.rate_per_s is not None:
            return (self.record.open.rate_per_s,)
        measured = self.blocks[(self.blocks["phase"] == MEASURED).to_numpy()] if len(self.blocks) else self.blocks
        return tuple(float(rate) for rate in np.unique(measured["rate_per_s"].dropna())) if len(measured) else ()

    @property
    def asks_to_keep(self) -> bool:
        """Whether the load generator would use a connection for several requests, if the service keeps it open."""
        if self.record.open is not None:
            return self.record.open.connection == KEPT
        return self.record.user_class == KEEP_ALIVE

    @property
    def replaced_after(self) -> ReconnectEvery | None:
        """How long a kept connection was used before the load generator replaced it; None: it replaced none."""
        said = self.record.reconnect_every
        return read_reconnect_every(said) if said is not None and self.record.reconnects else None

    @cached_property
    def fingerprint(self) -> bytes | None:
        """The same for two runs only if one is a copy of the other, at whatever time; None where the response times are
        too few, or too much alike, to tell."""
        times = np.sort(self.requests["response_time_ms"].to_numpy())
        is_telling = np.count_nonzero(times[1:] != times[:-1]) >= LEAST_TELLING
        return hashlib.blake2b(times.data).digest() if is_telling else None

    @property
    def is_local(self) -> bool:
        """Whether the service ran on the machine of the load generator: at a loopback address, on no other node."""
        sampled, listed = self.samples["node"].unique(), self.record.replicas.list
        nodes = set(sampled) | {replica.node for replica in listed if replica.node is not None}
        here = self.record.machine.node
        address = urlsplit(self.record.host or "").hostname or ""
        return is_loopback(address) and (here is None or nodes <= {here})


def _rows(frame: pd.DataFrame, wanted: pd.Series) -> pd.DataFrame:
    """The rows that are wanted; no copy where they follow each other, such as all after a warm-up."""
    span = _span(wanted.to_numpy())
    return frame[wanted.to_numpy()] if span is None else frame.iloc[span]


def _span(is_wanted: np.ndarray) -> slice | None:
    """The places of those that are wanted; None if they do not follow each other."""
    count = int(np.count_nonzero(is_wanted))
    first = int(is_wanted.argmax()) if count else 0
    return slice(first, first + count) if is_wanted[first : first + count].all() else None


def _with_errors(requests: pd.DataFrame) -> pd.DataFrame:
    """The requests, of which each whose status says that it failed has an error."""
    wrong = (requests["error"] == "").to_numpy() & ~requests["status"].between(200, 299).to_numpy()
    if wrong.any():
        said = requests["error"].astype("object")
        said[wrong] = [f"status {status:.0f}" for status in requests["status"][wrong]]
        requests["error"] = said.astype("category")
    return requests


def read_run(folder: Path, prefix: str) -> Run | None:
    """The run whose files begin with ``prefix``, within the experiment's folder; None where it left no record.

    Raises:
        UnreadableResults, UnreadableFile, OutsideFolder, OSError: its files can't be read, or contradict each other.
    """
    path = inside(folder, f"{prefix}{RUN_RECORD_SUFFIX}")
    if not path.exists():
        return None
    record = read_record(path, RunRecord)
    paths = [inside(folder, f"{prefix}{suffix}") for suffix, _ in FILES]
    frames = [
        read_csv(own, columns, is_large=columns is REQUEST_COLUMNS)
        for own, (_, columns) in zip(paths, FILES, strict=True)
    ]
    frames[0] = _with_errors(frames[0])
    requests, samples, events, machine, blocks, changes = frames
    *_, of_blocks, _ = paths
    is_sampled = any(replica.sampled for replica in record.replicas.list)
    absent = tuple(own.name for own in paths[1:3] if is_sampled and not own.exists())
    run = Run(record, requests, samples, events, machine, absent, blocks, changes)
    if reason := why_wrong(blocks):
        raise UnreadableFile(f"{of_blocks} can't be read ({reason}); measure again")
    start, end = run.window_unix_s
    if end - start > LONGEST_RUN_S:
        raise unreadable(path, f"it tells of a run of {end - start:,.0f} s")
    _refuse_other_times(run, end, prefix, path.name, frames)
    return _laid(run) if record.blocks is not None or len(blocks) else run


def _laid(run: Run) -> Run:
    """A run in blocks, with the measured parts of its blocks end to end."""
    axis = axis_of(run.blocks, run.window_unix_s[0])
    return replace(
        run,
        requests=lay_requests(axis, run.requests),
        samples=lay_samples(axis, run.samples),
        events=run.events.assign(at_unix_s=axis.place(run.events["at_unix_s"].to_numpy())),
        machine=lay_machine(axis, run.machine),
        axis=axis,
        recorded=run,
    )


def _refuse_other_times(run: Run, end: float, prefix: str, record_name: str, frames: list[pd.DataFrame]) -> None:
    """The rows of a run must be of its time. ``end``: where the record does not tell it, that of the measured phase.

    Raises:
        UnreadableResults: some are not.
    """
    started = run.record.started_at_unix_s
    ended = end if run.record.ended_at_unix_s is None else run.record.ended_at_unix_s
    for (suffix, columns), frame in zip(FILES, frames, strict=True):
        at = frame[columns[0].name]
        if len(at) and not (started - CLOCK_STEP_S <= at.iloc[0] and at.iloc[-1] <= ended + CLOCK_STEP_S):
            raise UnreadableResults(
                f"{prefix}{suffix} can't be read ({columns[0].name} tells of another time than the run's record, "
                f"{record_name}); put back the files of one run or measure again"
            )
    if len(run.requests) and run.finished_unix_s.max() > ended + CLOCK_STEP_S:
        raise UnreadableResults(
            f"{prefix}{REQUESTS_SUFFIX} can't be read (response_time_ms tells of an answer after the run's "
            "end); put back the files of one run or measure again"
        )
