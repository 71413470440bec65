"""Reading an experiment's folder: records as they are, CSV files as frames, nothing judged yet."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

import runfiles

TEXT_COLUMNS = {"error", "replica", "replica_id", "node", "phase", "event", "generation", "detail"}

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

LONGEST_RUN_S = 7 * 24 * 3600
"""A record that tells of more has a wrong time in it; figures by second would fill the memory."""

NUMBER = (int, float)
OR_NONE = (type(None),)
EXPERIMENT_NEEDS: Mapping[str, tuple[type, ...]] = {
    "started_at": (str,),
    "command": (str,),
    "settings.users": NUMBER,
    "settings.seconds": NUMBER,
    "settings.warm_up_s": NUMBER,
    "settings.user_class": (str,),
    "machine": (dict,),
    "machine.memory_bytes": NUMBER + OR_NONE,
    "engine": (dict, *OR_NONE),
    "git": (dict, *OR_NONE),
    "deployments": (list,),
}
DEPLOYMENT_NEEDS: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "status": (str,),
    "reason": (str, *OR_NONE),
    "folder": (str, *OR_NONE),
    "seconds_to_healthy": NUMBER + OR_NONE,
    "runs": (list, *OR_NONE),
    "image": (dict, *OR_NONE),
    "image.bytes": NUMBER + OR_NONE,
}
RUN_NEEDS: Mapping[str, tuple[type, ...]] = {
    "user_class": (str,),
    "users": NUMBER + OR_NONE,
    "run_time_s": NUMBER + OR_NONE,
    "warm_up_s": NUMBER,
    "started_at_unix_s": NUMBER,
    "ended_at_unix_s": NUMBER + OR_NONE,
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


@dataclass(frozen=True)
class Run:
    """One Locust run: its record, one row a request, one a sample of a replica, one for what became of a replica, one
    a sample of the machine (columns as in ``runfiles``); the last two are empty where an earlier version recorded."""

    record: dict[str, Any]
    requests: pd.DataFrame
    samples: pd.DataFrame
    events: pd.DataFrame
    machine: pd.DataFrame

    @property
    def measured(self) -> pd.DataFrame:
        """The requests that enter figures: all but those of the warm-up."""
        return self.requests[self.requests["phase"] == runfiles.MEASURED]

    @property
    def window_unix_s(self) -> tuple[float, float]:
        """Start and end of the measured phase; the last request's end where the run was killed before it said."""
        start = self.record["started_at_unix_s"] + self.record["warm_up_s"]
        ended = self.record.get("ended_at_unix_s")
        if ended is None:
            finished = self.requests["started_at_unix_s"] + self.requests["response_time_ms"] / 1000
            ended = finished.max() if len(finished) else start
        return start, max(start, ended)

    @property
    def is_local(self) -> bool:
        """Whether the service ran on the machine of the load generator: at a loopback address, on no other node."""
        nodes = set(self.samples["node"])
        here = (self.record.get("machine") or {}).get("node")
        return any(name in str(self.record.get("host")) for name in LOOPBACK) and (here is None or nodes <= {here})


@dataclass(frozen=True)
class Deployment:
    """One row of the experiment. ``status`` is measured, failed or not run; ``reason`` says why, where not measured.

    ``unread`` says which of its files could not be read, and why; what they hold is in no figure.
    """

    name: str
    status: str
    reason: str | None
    seconds_to_healthy: float | None
    image: dict[str, Any] | None
    single_pass: Run | None
    load: Run | None
    unread: tuple[str, ...]

    @property
    def title(self) -> str:
        return runfiles.DEPLOYMENTS.get(self.name, self.name)


@dataclass(frozen=True)
class Results:
    """One experiment: its folder, its record, its deployments in the order in which they are shown."""

    folder: Path
    experiment: dict[str, Any]
    deployments: tuple[Deployment, ...]


def read_results(folder: Path) -> Results:
    """Read the folder that ``python -m infra run`` wrote; runs that were cut off are read as far as they got.

    Raises:
        UnreadableResults: it holds no experiment, or one in another form. A run that can't be read is no error: it is
            left out, and its deployment's ``unread`` says why.
    """
    path = folder / runfiles.EXPERIMENT_FILE
    if not path.is_file():
        raise UnreadableResults(
            f"{folder} holds no {runfiles.EXPERIMENT_FILE}; name one that `make bench` wrote, such as results/<time>"
        )
    experiment = _read_record(path, EXPERIMENT_NEEDS)
    rows = experiment["deployments"]
    for row in rows:
        lacking = [name for name, types in DEPLOYMENT_NEEDS.items() if not _says(row, name, types)]
        if lacking:
            raise UnreadableResults(
                f"{path} can't be read (a deployment lacks or garbles {', '.join(lacking)}); measure again"
            )
    for moment in (experiment["started_at"], experiment.get("ended_at")):
        try:
            datetime.fromisoformat(moment or experiment["started_at"])
        except (TypeError, ValueError) as error:
            raise UnreadableResults(f"{path} can't be read (a time in it: {error}); measure again") from error
    return Results(folder, experiment, tuple(_read_deployment(folder, row) for row in rows))


def _read_deployment(folder: Path, row: dict[str, Any]) -> Deployment:
    own = folder / (row.get("folder") or row["name"])
    unread: list[str] = []
    runs: list[Run | None] = []
    for prefix in (runfiles.SINGLE_PASS, runfiles.LOAD):
        try:
            run = _read_run(own / prefix)
            if run is None and prefix in (row.get("runs") or []):
                unread.append(
                    f"{row['name']}/{prefix}{runfiles.RUN_RECORD_SUFFIX} is missing, though the run took place; "
                    "put it back or measure again"
                )
        except UnreadableResults as error:
            run = None
            unread.append(str(error).removeprefix(f"{folder}{os.sep}"))
        runs.append(run)
    single_pass, load = runs
    return Deployment(
        name=row["name"],
        status=row["status"],
        reason=row.get("reason"),
        seconds_to_healthy=row.get("seconds_to_healthy"),
        image=row.get("image"),
        single_pass=single_pass,
        load=load,
        unread=tuple(unread),
    )


def _read_run(prefix: Path) -> Run | None:
    """The run whose files begin with ``prefix``; None where it left no record."""
    record = Path(f"{prefix}{runfiles.RUN_RECORD_SUFFIX}")
    if not record.is_file():
        return None
    run = Run(
        record=_read_record(record, RUN_NEEDS),
        requests=_read_csv(Path(f"{prefix}{runfiles.REQUESTS_SUFFIX}"), runfiles.REQUEST_COLUMNS),
        samples=_read_csv(Path(f"{prefix}{runfiles.REPLICA_STATS_SUFFIX}"), runfiles.REPLICA_STATS_COLUMNS),
        events=_read_csv(Path(f"{prefix}{runfiles.REPLICA_EVENTS_SUFFIX}"), runfiles.REPLICA_EVENTS_COLUMNS),
        machine=_read_csv(Path(f"{prefix}{runfiles.MACHINE_STATS_SUFFIX}"), runfiles.MACHINE_STATS_COLUMNS),
    )
    for one in run.record["replicas"]["list"]:
        if not (isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("id"), str)):
            raise UnreadableResults(f"{record} can't be read (a replica without name or id); measure again")
    start, end = run.window_unix_s
    if end - start > LONGEST_RUN_S:
        raise UnreadableResults(f"{record} can't be read (it tells of a run of {end - start:,.0f} s); measure again")
    return run


def _read_record(path: Path, needs: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """A JSON record of our form that says what is needed of it."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UnreadableResults(f"{path} can't be read ({error}); measure again") from error
    if not isinstance(record, dict):
        raise UnreadableResults(f"{path} can't be read (it is no JSON object); measure again")
    form = record.get("form")
    if "plan" in record:
        record = _first_rounds(record)
    if form not in (1, runfiles.FORM):
        raise UnreadableResults(f"{path} is of form {form}, this version reads form {runfiles.FORM}; measure again")
    lacking = [name for name, types in needs.items() if not _says(record, name, types)]
    if lacking:
        raise UnreadableResults(f"{path} can't be read (it lacks or garbles {', '.join(lacking)}); measure again")
    return dict(record)


def _first_rounds(experiment: dict[str, Any]) -> dict[str, Any]:
    """The experiment as if it had had one round: of each deployment the first that was measured, else its first."""
    rows: list[dict[str, Any]] = []
    for one in experiment["deployments"]:
        rounds = sorted(one["rounds"], key=lambda each: each["status"] != runfiles.MEASURED)
        nothing: dict[str, Any] = {"folder": None, "seconds_to_healthy": None, "runs": [], "metrics_files": []}
        rows.append(
            (rounds[0] if rounds else nothing) | {key: one[key] for key in ("name", "status", "reason", "image")}
        )
    return experiment | {"settings": experiment["plan"], "deployments": rows}


def _says(record: Any, name: str, types: tuple[type, ...]) -> bool:
    """Whether ``record`` has a value of one of ``types`` at ``name``, such as ``texts.sha256``."""
    value = record
    for part in name.split("."):
        if value is not None and not isinstance(value, dict):
            return False
        value = value.get(part) if value is not None else None
    return isinstance(value, types)


def _read_csv(path: Path, columns: tuple[runfiles.Column, ...]) -> pd.DataFrame:
    """A CSV file as a frame with ``columns``; what a killed process left of a last row is not a row."""
    # Columns that are late additions are in no figure yet, and runs of an earlier version lack them.
    types = {one.name: (str if one.name in TEXT_COLUMNS else float) for one in columns if not one.is_late}
    try:
        whole = _whole_rows(path.read_bytes() if path.is_file() else b"")
        if not whole:
            return pd.DataFrame({name: pd.Series(dtype=type_) for name, type_ in types.items()})
        frame = pd.read_csv(
            io.BytesIO(whole),
            usecols=lambda name: name in types,
            dtype=types,
            keep_default_na=False,
            na_values={name: [""] for name in types if name not in TEXT_COLUMNS},
        )
    except (ValueError, OSError) as error:
        said = " ".join(str(error).split())
        raise UnreadableResults(f"{path} can't be read ({said}); measure again") from error
    lacking = [name for name in types if name not in frame]
    if lacking:
        raise UnreadableResults(f"{path} can't be read (it has no column {', '.join(lacking)}); measure again")
    return frame[list(types)]


def _whole_rows(content: bytes) -> bytes:
    """``content`` up to the end of its last whole row: one whose line is ended and whose quotes are closed."""
    whole = content[: content.rfind(b"\n") + 1]
    while whole.count(b'"') % 2:
        whole = whole[: whole.rfind(b"\n", 0, -1) + 1]
    return whole
