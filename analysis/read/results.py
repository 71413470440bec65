"""Reading an experiment's folder: records as they are, CSV files as frames, nothing judged yet."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from analysis.read.csvs import UnreadableFile, read_csv
from analysis.read.note import read_note
from analysis.read.records import UnreadableResults, read_record, unreadable
from runfiles.columns import MACHINE_STATS_COLUMNS, REPLICA_EVENTS_COLUMNS, REPLICA_STATS_COLUMNS, REQUEST_COLUMNS
from runfiles.deployments import HOST, SWARM, title_of
from runfiles.events import MEASURED, STATUS_MEASURED
from runfiles.fields import LONGEST_RUN_S
from runfiles.files import (
    EXPERIMENT_FILE,
    LOAD,
    MACHINE_STATS_SUFFIX,
    REPLICA_EVENTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REQUESTS_SUFFIX,
    RUN_RECORD_SUFFIX,
    SINGLE_PASS,
    OutsideFolder,
    inside,
)
from runfiles.machines import EngineElsewhere, engine_elsewhere, is_loopback
from runfiles.records import DeploymentRecord, ExperimentRecord, Image, Limits, RoundRecord, RunRecord

CLOCK_STEP_S = 60.0
"""By so much a row may lie outside of its run: a clock may have been set meanwhile. Further off it is another run's."""

LEAST_TELLING = 20
"""So many different response times, each to the nanosecond, two runs do not share by chance."""

FILES = (
    (REQUESTS_SUFFIX, REQUEST_COLUMNS),
    (REPLICA_STATS_SUFFIX, REPLICA_STATS_COLUMNS),
    (REPLICA_EVENTS_SUFFIX, REPLICA_EVENTS_COLUMNS),
    (MACHINE_STATS_SUFFIX, MACHINE_STATS_COLUMNS),
)
"""The CSV files of a run: how their names end, and their columns. The first column says when a row is from, by the load
generator's clock."""


@dataclass(frozen=True, eq=False)
class Run:
    """One Locust run: its record, one row a request, one a sample of a replica, one for what became of a replica, one
    a sample of the machine (columns as in ``runfiles``); the last two are empty where an earlier version recorded.
    ``absent``: those of its files that are not there, though replicas were sampled.

    What is computed from it is computed once: nobody changes the frames.
    """

    record: RunRecord
    requests: pd.DataFrame
    samples: pd.DataFrame
    events: pd.DataFrame
    machine: pd.DataFrame
    absent: tuple[str, ...] = ()

    @cached_property
    def measured_requests(self) -> pd.DataFrame:
        """The requests that enter figures: all but those of the warm-up."""
        return _rows(self.requests, self.requests["phase"] == MEASURED)

    @cached_property
    def answered(self) -> pd.DataFrame:
        """Those of ``measured_requests`` that did not fail."""
        return _rows(self.measured_requests, self.measured_requests["error"] == "")

    @cached_property
    def answered_unix_s(self) -> np.ndarray:
        """When each request that did not fail was over, also those sent in the warm-up."""
        return self.finished_unix_s[(self.requests["error"] == "").to_numpy()].to_numpy()

    @cached_property
    def finished_unix_s(self) -> pd.Series:
        """When each request was over, also those that failed."""
        return self.requests["started_at_unix_s"] + self.requests["response_time_ms"] / 1000

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
        a rate over time without rows would be too low.
        """
        start = self.record.started_at_unix_s + self.record.warm_up_s
        ended = self.record.ended_at_unix_s
        if ended is None or self.rows_lost:
            last = self.finished_unix_s.max() if len(self.requests) else start
            ended = last if ended is None else min(last, ended)
        return start, max(start, ended)

    @cached_property
    def fingerprint(self) -> bytes | None:
        """The same for two runs only if one is a copy of the other, at whatever time; None where the response times are
        too few, or too much alike, to tell."""
        times = np.sort(self.requests["response_time_ms"].to_numpy())
        is_telling = np.count_nonzero(np.diff(times)) >= LEAST_TELLING
        return hashlib.blake2b(times.tobytes()).digest() if is_telling else None

    @property
    def is_local(self) -> bool:
        """Whether the service ran on the machine of the load generator: at a loopback address, on no other node."""
        sampled, listed = self.samples["node"].unique(), self.record.replicas.list
        nodes = set(sampled) | {replica.node for replica in listed if replica.node is not None}
        here = self.record.machine.node
        address = urlsplit(self.record.host or "").hostname or ""
        return is_loopback(address) and (here is None or nodes <= {here})


@dataclass(frozen=True)
class Round:
    """One start of a deployment and what was measured of it. ``status`` is measured, failed or not run.

    ``started_at``: when its service was started (ISO 8601). ``limits``: what the service was confined to, ``cpus``
    (cores) and ``memory_bytes``, None where to nothing.
    ``unread`` says which of its files could not be read, and why; what they hold is in no figure.
    """

    number: int
    status: str
    reason: str | None
    seconds_to_healthy: float | None
    started_at: str | None
    limits: Limits
    single_pass: Run | None
    load: Run | None
    unread: tuple[str, ...]


@dataclass(frozen=True)
class Deployment:
    """One row of the experiment. ``status`` is measured, failed or not run; ``reason`` says why, where not measured."""

    name: str
    status: str
    reason: str | None
    image: Image | None
    rounds: tuple[Round, ...]

    @property
    def is_host(self) -> bool:
        """Whether it is the host process; all others are containers."""
        return self.name == HOST

    @property
    def is_swarm(self) -> bool:
        """Whether Swarm runs it: its name says of which kind it is, and then how many replicas it has."""
        return self.name.partition("-")[0] == SWARM

    @property
    def title(self) -> str:
        return title_of(self.name)

    @property
    def measured_rounds(self) -> list[Round]:
        """The rounds that enter figures; what a failed round left is in none."""
        if self.status != STATUS_MEASURED:
            return []
        return [each for each in self.rounds if each.status == STATUS_MEASURED]

    @property
    def loads(self) -> dict[int, Run]:
        """The load of each measured round that has one, by the round's number."""
        return {each.number: each.load for each in self.measured_rounds if each.load is not None}

    @property
    def single_passes(self) -> dict[int, Run]:
        """The single pass of each measured round that has one, by the round's number."""
        return {each.number: each.single_pass for each in self.measured_rounds if each.single_pass is not None}


@dataclass(frozen=True)
class Results:
    """One experiment: its folder, its record, its deployments in the order in which they are shown, and the ``note``
    in its folder, empty where there is none."""

    folder: Path
    experiment: ExperimentRecord
    deployments: tuple[Deployment, ...]
    note: str = ""

    @cached_property
    def engine_elsewhere(self) -> EngineElsewhere | None:
        """The engine, where it ran on another machine than the host process; None where nothing shows that."""
        engine = self.experiment.engine
        return None if engine is None else engine_elsewhere(self.experiment.machine, engine)

    @property
    def runs(self) -> list[Run]:
        """All runs of all measured rounds of all deployments, single passes too."""
        rounds = [each for deployment in self.deployments for each in deployment.measured_rounds]
        return [run for each in rounds for run in (each.single_pass, each.load) if run is not None]


def read_results(folder: Path) -> Results:
    """Read the folder that ``python -m infra run`` wrote; runs that were cut off are read as far as they got.

    Raises:
        UnreadableResults: it holds no experiment, or one in another form. A run that can't be read is no error: it is
            left out, and its round's ``unread`` says why.
    """
    try:
        path = inside(folder, EXPERIMENT_FILE)
        is_there = path.exists()
    except OutsideFolder as error:
        raise UnreadableResults(f"{error}; name a folder that `make bench` wrote") from error
    except OSError as error:
        raise UnreadableResults(f"{folder} can't be read ({error.strerror})") from error
    if not is_there:
        raise UnreadableResults(
            f"{folder} holds no {EXPERIMENT_FILE}; name one that `make bench` wrote, such as results/<time>"
        )
    experiment = read_record(path, ExperimentRecord)
    _refuse_duplicates(folder, path, experiment.deployments)
    deployments = tuple(_read_deployment(folder, record) for record in experiment.deployments)
    return Results(folder, experiment, deployments, read_note(folder))


def _refuse_duplicates(folder: Path, path: Path, deployments: tuple[DeploymentRecord, ...]) -> None:
    """No deployment, no round and no folder may stand there twice: one measurement would count as two.

    Raises:
        UnreadableResults: one does, or a folder does not lie in the experiment's.
    """
    titles: dict[str, str] = {}
    folders: dict[Path, str] = {}
    for deployment in deployments:
        name = deployment.name
        title = title_of(name)
        if title in titles:
            raise unreadable(path, f"name: two deployments are called {name!r} or {title!r}")
        titles[title] = name
        numbers: set[int] = set()
        for record in deployment.rounds:
            where = f"{name}, round {record.number}"
            if record.number in numbers:
                raise unreadable(path, f"number: {where} is there twice")
            numbers.add(record.number)
            try:
                own = inside(folder, record.folder)
            except OutsideFolder as error:
                raise unreadable(path, f"folder of {where}: {error}") from error
            if own in folders:
                raise unreadable(path, f"folder of {where}: {record.folder} is also that of {folders[own]}")
            folders[own] = where


def _read_deployment(folder: Path, record: DeploymentRecord) -> Deployment:
    rounds = sorted(record.rounds, key=lambda each: each.number)
    return Deployment(
        name=record.name,
        status=record.status,
        reason=record.reason,
        image=record.image,
        rounds=tuple(_read_round(folder, each) for each in rounds),
    )


def _read_round(folder: Path, record: RoundRecord) -> Round:
    unread: list[str] = []
    runs: list[Run | None] = []
    for prefix in (SINGLE_PASS, LOAD):
        try:
            run = _read_run(folder, f"{record.folder}/{prefix}")
            if run is None and prefix in record.runs:
                unread.append(
                    f"{record.folder}/{prefix}{RUN_RECORD_SUFFIX} is missing, though the run took place; "
                    "put it back or measure again"
                )
        except (UnreadableResults, UnreadableFile, OutsideFolder, OSError) as error:
            run = None
            unread.append(str(error).removeprefix(f"{folder.resolve()}{os.sep}"))
        runs.append(run)
    single_pass, load = runs
    return Round(
        number=record.number,
        status=record.status,
        reason=record.reason,
        seconds_to_healthy=record.seconds_to_healthy,
        started_at=record.started_at,
        limits=record.limits,
        single_pass=single_pass,
        load=load,
        unread=tuple(unread),
    )


def _rows(frame: pd.DataFrame, wanted: pd.Series) -> pd.DataFrame:
    """The rows that are wanted; the frame itself, not a copy, where that is all of them."""
    return frame if wanted.all() else frame[wanted.to_numpy()]


def _with_errors(requests: pd.DataFrame) -> pd.DataFrame:
    """The requests, of which each whose status says that it failed has an error."""
    wrong = (requests["error"] == "").to_numpy() & ~requests["status"].between(200, 299).to_numpy()
    if wrong.any():
        said = requests["error"].astype("object")
        said[wrong] = [f"status {status:.0f}" for status in requests["status"][wrong]]
        requests["error"] = said.astype("category")
    return requests


def _read_run(folder: Path, prefix: str) -> Run | None:
    """The run whose files begin with ``prefix``, within the experiment's folder; None where it left no record."""
    path = inside(folder, f"{prefix}{RUN_RECORD_SUFFIX}")
    if not path.exists():
        return None
    record = read_record(path, RunRecord)
    paths = [inside(folder, f"{prefix}{suffix}") for suffix, _ in FILES]
    frames = [read_csv(own, columns) for own, (_, columns) in zip(paths, FILES, strict=True)]
    frames[0] = _with_errors(frames[0])
    requests, samples, events, machine = frames
    is_sampled = any(replica.sampled for replica in record.replicas.list)
    absent = tuple(own.name for own in paths[1:3] if is_sampled and not own.exists())
    run = Run(record, requests, samples, events, machine, absent)
    start, end = run.window_unix_s
    if end - start > LONGEST_RUN_S:
        raise unreadable(path, f"it tells of a run of {end - start:,.0f} s")
    _refuse_other_times(run, end, prefix, path.name, frames)
    return run


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
