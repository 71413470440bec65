"""Reading an experiment's folder: records as they are, CSV files as frames, nothing judged yet."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import runfiles
from analysis.csvs import UnreadableFile, read_csv

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

LONGEST_RUN_S = 7 * 24 * 3600
"""A record that tells of more has a wrong time in it; figures by second would fill the memory."""
CLOCK_STEP_S = 60.0
"""By so much a row may lie outside of its run: a clock may have been set meanwhile. Further off it is another run's."""

NUMBER = (int, float)
OR_NONE = (type(None),)
EXPERIMENT_NEEDS: Mapping[str, tuple[type, ...]] = {
    "started_at": (str,),
    "command": (str,),
    "plan.users": NUMBER,
    "plan.seconds": NUMBER + OR_NONE,
    "plan.requests": NUMBER + OR_NONE,
    "plan.rounds": NUMBER,
    "plan.warm_up_s": NUMBER,
    "plan.user_class": (str,),
    "machine": (dict,),
    "machine.memory_bytes": NUMBER + OR_NONE,
    "machine.cpu_count": NUMBER + OR_NONE,
    "engine": (dict, *OR_NONE),
    "git": (dict, *OR_NONE),
    "deployments": (list,),
}
DEPLOYMENT_NEEDS: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "status": (str,),
    "reason": (str, *OR_NONE),
    "image": (dict, *OR_NONE),
    "image.bytes": NUMBER + OR_NONE,
    "rounds": (list,),
}
ROUND_NEEDS: Mapping[str, tuple[type, ...]] = {
    "number": (int,),
    "status": (str,),
    "reason": (str, *OR_NONE),
    "folder": (str,),
    "seconds_to_healthy": NUMBER + OR_NONE,
    "runs": (list, *OR_NONE),
    "limits": (dict, *OR_NONE),
    "limits.cpus": NUMBER + OR_NONE,
    "limits.memory_bytes": NUMBER + OR_NONE,
}
RUN_NEEDS: Mapping[str, tuple[type, ...]] = {
    "user_class": (str,),
    "users": NUMBER + OR_NONE,
    "run_time_s": NUMBER + OR_NONE,
    "warm_up_s": NUMBER,
    "started_at_unix_s": NUMBER,
    "ended_at_unix_s": NUMBER + OR_NONE,
    "requests": NUMBER + OR_NONE,
    "service": (dict, *OR_NONE),
    "service.model": (dict, *OR_NONE),
    "service.engine": (dict, *OR_NONE),
    "service.versions": (dict, *OR_NONE),
    "versions": (dict, *OR_NONE),
    "texts.sha256": (str,),
    "replicas.list": (list,),
    "replicas.problems": (list,),
    "generator.cpu_percent": NUMBER + OR_NONE,
    "generator.cpu_percent_all": NUMBER + OR_NONE,
    "generator.cpu_warnings": NUMBER,
}
"""What a record must say for the figures to mean anything: where it stands in the JSON -> of which types it may be.

What may be null may be absent too.
"""


class UnreadableResults(Exception):
    """Files that are not what an experiment leaves. The message says which, what is wrong, and what to do."""


@dataclass(frozen=True, eq=False)
class Run:
    """One Locust run: its record, one row a request, one a sample of a replica, one for what became of a replica, one
    a sample of the machine (columns as in ``runfiles``); the last two are empty where an earlier version recorded.

    What is computed from it is computed once: nobody changes the frames.
    """

    record: dict[str, Any]
    requests: pd.DataFrame
    samples: pd.DataFrame
    events: pd.DataFrame
    machine: pd.DataFrame

    @cached_property
    def measured(self) -> pd.DataFrame:
        """The requests that enter figures: all but those of the warm-up."""
        return _rows(self.requests, self.requests["phase"] == runfiles.MEASURED)

    @cached_property
    def answered(self) -> pd.DataFrame:
        """Those of ``measured`` that did not fail."""
        return _rows(self.measured, self.measured["error"] == "")

    @cached_property
    def answered_unix_s(self) -> np.ndarray:
        """When each request that did not fail was over, also those sent in the warm-up."""
        return self._finished_unix_s[(self.requests["error"] == "").to_numpy()].to_numpy()

    @property
    def _finished_unix_s(self) -> pd.Series:
        return self.requests["started_at_unix_s"] + self.requests["response_time_ms"] / 1000

    @property
    def rows_lost(self) -> int:
        """How many requests were recorded, by the run's own count, that no row is left of; 0 where it kept no count."""
        said = self.record.get("requests")
        return 0 if said is None else max(0, int(said) - len(self.requests))

    @cached_property
    def window_unix_s(self) -> tuple[float, float]:
        """Start and end of the measured phase.

        Where rows are lost, or the run was killed before it said its end, it ends with the last request that is left:
        a rate over time without rows would be too low.
        """
        start = self.record["started_at_unix_s"] + self.record["warm_up_s"]
        ended = self.record.get("ended_at_unix_s")
        if ended is None or self.rows_lost:
            last = self._finished_unix_s.max() if len(self.requests) else start
            ended = last if ended is None else min(last, ended)
        return start, max(start, ended)

    @property
    def is_local(self) -> bool:
        """Whether the service ran on the machine of the load generator: at a loopback address, on no other node."""
        nodes = set(self.samples["node"].unique())
        here = (self.record.get("machine") or {}).get("node")
        return any(name in str(self.record.get("host")) for name in LOOPBACK) and (here is None or nodes <= {here})


@dataclass(frozen=True)
class Round:
    """One start of a deployment and what was measured of it. ``status`` is measured, failed or not run.

    ``limits``: what the service was confined to, ``cpus`` (cores) and ``memory_bytes``, None where to nothing.
    ``unread`` says which of its files could not be read, and why; what they hold is in no figure.
    """

    number: int
    status: str
    reason: str | None
    seconds_to_healthy: float | None
    limits: dict[str, Any]
    single_pass: Run | None
    load: Run | None
    unread: tuple[str, ...]


@dataclass(frozen=True)
class Deployment:
    """One row of the experiment. ``status`` is measured, failed or not run; ``reason`` says why, where not measured."""

    name: str
    status: str
    reason: str | None
    image: dict[str, Any] | None
    rounds: tuple[Round, ...]

    @property
    def title(self) -> str:
        return runfiles.DEPLOYMENTS.get(self.name, self.name)

    @property
    def loads(self) -> dict[int, Run]:
        """The load of each round that has one, by the round's number."""
        return {one.number: one.load for one in self.rounds if one.load is not None}

    @property
    def single_passes(self) -> dict[int, Run]:
        """The single pass of each round that has one, by the round's number."""
        return {one.number: one.single_pass for one in self.rounds if one.single_pass is not None}


@dataclass(frozen=True)
class Results:
    """One experiment: its folder, its record, its deployments in the order in which they are shown."""

    folder: Path
    experiment: dict[str, Any]
    deployments: tuple[Deployment, ...]

    @property
    def runs(self) -> list[Run]:
        """All runs of all rounds of all deployments, single passes too."""
        rounds = [each for one in self.deployments for each in one.rounds]
        return [run for each in rounds for run in (each.single_pass, each.load) if run is not None]


def read_results(folder: Path) -> Results:
    """Read the folder that ``python -m infra run`` wrote; runs that were cut off are read as far as they got.

    Raises:
        UnreadableResults: it holds no experiment, or one in another form. A run that can't be read is no error: it is
            left out, and its round's ``unread`` says why.
    """
    path = folder / runfiles.EXPERIMENT_FILE
    if not path.is_file():
        raise UnreadableResults(
            f"{folder} holds no {runfiles.EXPERIMENT_FILE}; name one that `make bench` wrote, such as results/<time>"
        )
    experiment = _read_record(path, EXPERIMENT_NEEDS)
    for row in experiment["deployments"]:
        _check(path, "a deployment", row, DEPLOYMENT_NEEDS)
        for one in row["rounds"]:
            _check(path, f"a round of {row['name']}", one, ROUND_NEEDS)
    for moment in (experiment["started_at"], experiment.get("ended_at")):
        try:
            datetime.fromisoformat(moment or experiment["started_at"])
        except (TypeError, ValueError) as error:
            raise UnreadableResults(f"{path} can't be read (a time in it: {error}); measure again") from error
    return Results(folder, experiment, tuple(_read_deployment(folder, row) for row in experiment["deployments"]))


def _read_deployment(folder: Path, row: dict[str, Any]) -> Deployment:
    rounds = sorted(row["rounds"], key=lambda one: int(one["number"]))
    return Deployment(
        name=row["name"],
        status=row["status"],
        reason=row.get("reason"),
        image=row.get("image"),
        rounds=tuple(_read_round(folder, one) for one in rounds),
    )


def _read_round(folder: Path, row: dict[str, Any]) -> Round:
    unread: list[str] = []
    runs: list[Run | None] = []
    for prefix in (runfiles.SINGLE_PASS, runfiles.LOAD):
        try:
            run = _read_run(folder / row["folder"] / prefix)
            if run is None and prefix in (row.get("runs") or []):
                unread.append(
                    f"{row['folder']}/{prefix}{runfiles.RUN_RECORD_SUFFIX} is missing, though the run took place; "
                    "put it back or measure again"
                )
        except (UnreadableResults, UnreadableFile) as error:
            run = None
            unread.append(str(error).removeprefix(f"{folder}{os.sep}"))
        runs.append(run)
    single_pass, load = runs
    return Round(
        number=row["number"],
        status=row["status"],
        reason=row.get("reason"),
        seconds_to_healthy=row.get("seconds_to_healthy"),
        limits=row.get("limits") or {},
        single_pass=single_pass,
        load=load,
        unread=tuple(unread),
    )


def _rows(frame: pd.DataFrame, wanted: pd.Series) -> pd.DataFrame:
    """The rows that are wanted; the frame itself, not a copy, where that is all of them."""
    return frame if wanted.all() else frame[wanted.to_numpy()]


def _read_run(prefix: Path) -> Run | None:
    """The run whose files begin with ``prefix``; None where it left no record."""
    path = Path(f"{prefix}{runfiles.RUN_RECORD_SUFFIX}")
    if not path.is_file():
        return None
    record = _read_record(path, RUN_NEEDS)
    for one in record["replicas"]["list"]:
        if not (isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("id"), str)):
            raise UnreadableResults(f"{path} can't be read (a replica without name or id); measure again")
    read = {
        suffix: read_csv(Path(f"{prefix}{suffix}"), columns, needed)
        for suffix, columns, needed in (
            (
                runfiles.REQUESTS_SUFFIX,
                runfiles.REQUEST_COLUMNS,
                ("started_at_unix_s", "response_time_ms", "status", "phase"),
            ),
            (
                runfiles.REPLICA_STATS_SUFFIX,
                runfiles.REPLICA_STATS_COLUMNS,
                ("sampled_at_unix_s", "read_at_unix_s", "replica", "replica_id", "phase"),
            ),
            (runfiles.REPLICA_EVENTS_SUFFIX, runfiles.REPLICA_EVENTS_COLUMNS, ("at_unix_s", "event", "replica")),
            (runfiles.MACHINE_STATS_SUFFIX, runfiles.MACHINE_STATS_COLUMNS, ("sampled_at_unix_s",)),
        )
    }
    run = Run(record, *read.values())
    start, end = run.window_unix_s
    if end - start > LONGEST_RUN_S:
        raise UnreadableResults(f"{path} can't be read (it tells of a run of {end - start:,.0f} s); measure again")
    sent = run.requests["started_at_unix_s"]
    ended = record.get("ended_at_unix_s") or end
    if len(sent) and not (
        record["started_at_unix_s"] - CLOCK_STEP_S <= sent.iloc[0] and sent.iloc[-1] <= ended + CLOCK_STEP_S
    ):
        raise UnreadableResults(
            f"{prefix}{runfiles.REQUESTS_SUFFIX} can't be read (it tells of requests at another time than the run's "
            f"record, {path.name}); put back the files of one run or measure again"
        )
    return run


def _read_record(path: Path, needs: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """A JSON record of our form that says what is needed of it."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, OSError, RecursionError) as error:
        raise UnreadableResults(f"{path} can't be read ({error}); measure again") from error
    if not isinstance(record, dict):
        raise UnreadableResults(f"{path} can't be read (it is no JSON object); measure again")
    form = record.get("form")
    if form != runfiles.FORM:
        raise UnreadableResults(f"{path} is of form {form}, this version reads form {runfiles.FORM}; measure again")
    _check(path, "it", record, needs)
    return record


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number that was measured")


def _check(path: Path, what: str, record: Any, needs: Mapping[str, tuple[type, ...]]) -> None:
    lacking = [name for name, types in needs.items() if not _says(record, name, types)]
    if lacking:
        raise UnreadableResults(f"{path} can't be read ({what} lacks or garbles {', '.join(lacking)}); measure again")


def _says(record: Any, name: str, types: tuple[type, ...]) -> bool:
    """Whether ``record`` has a value of one of ``types`` at ``name``, such as ``texts.sha256``."""
    value = record
    for part in name.split("."):
        if value is not None and not isinstance(value, dict):
            return False
        value = value.get(part) if value is not None else None
    return isinstance(value, types) and not (isinstance(value, bool) and bool not in types)
