"""Reading an experiment's folder: records as they are, CSV files as frames, nothing judged yet."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import runfiles

TEXT_COLUMNS = {"error", "replica", "replica_id", "node", "phase"}


class UnreadableResults(Exception):
    """A folder that holds no experiment. The message says what was looked for, and what to do."""


@dataclass(frozen=True)
class Run:
    """One Locust run: its record, one row a request, one row a sample of a replica (columns as in ``runfiles``)."""

    record: dict[str, Any]
    requests: pd.DataFrame
    samples: pd.DataFrame

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


@dataclass(frozen=True)
class Deployment:
    """One row of the experiment. ``status`` is measured, failed or not run; ``reason`` says why, where not measured."""

    name: str
    status: str
    reason: str | None
    seconds_to_healthy: float | None
    image: dict[str, Any] | None
    single_pass: Run | None
    load: Run | None

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
        UnreadableResults: it holds no experiment, or one in another form.
    """
    path = folder / runfiles.EXPERIMENT_FILE
    if not path.is_file():
        raise UnreadableResults(
            f"{folder} holds no {runfiles.EXPERIMENT_FILE}; name one that `make bench` wrote, such as results/<time>"
        )
    try:
        experiment = json.loads(path.read_text(encoding="utf-8"))
        form = experiment["form"]
        rows = experiment["deployments"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableResults(f"{path} can't be read ({error}); it is not what `make bench` wrote") from error
    if form != runfiles.FORM:
        raise UnreadableResults(f"{path} is of form {form}, this version reads form {runfiles.FORM}; measure again")
    return Results(folder, experiment, tuple(_read_deployment(folder, row) for row in rows))


def _read_deployment(folder: Path, row: dict[str, Any]) -> Deployment:
    own = folder / (row.get("folder") or row["name"])
    single_pass, load = (_read_run(own / prefix) for prefix in (runfiles.SINGLE_PASS, runfiles.LOAD))
    return Deployment(
        name=row["name"],
        status=row["status"],
        reason=row.get("reason"),
        seconds_to_healthy=row.get("seconds_to_healthy"),
        image=row.get("image"),
        single_pass=single_pass,
        load=load,
    )


def _read_run(prefix: Path) -> Run | None:
    """The run whose files begin with ``prefix``; None where it left no record."""
    record = Path(f"{prefix}{runfiles.RUN_RECORD_SUFFIX}")
    try:
        said = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return Run(
        record=said,
        requests=_read_csv(Path(f"{prefix}{runfiles.REQUESTS_SUFFIX}"), runfiles.REQUEST_COLUMNS),
        samples=_read_csv(Path(f"{prefix}{runfiles.REPLICA_STATS_SUFFIX}"), runfiles.REPLICA_STATS_COLUMNS),
    )


def _read_csv(path: Path, columns: tuple[runfiles.Column, ...]) -> pd.DataFrame:
    """A CSV file as a frame with ``columns``; what a killed process left of a last row is not a row."""
    content = path.read_bytes() if path.is_file() else b""
    whole = content[: content.rfind(b"\n") + 1]
    wanted = runfiles.names(columns)
    if not whole:
        return pd.DataFrame({name: pd.Series(dtype=str if name in TEXT_COLUMNS else float) for name in wanted})
    types = {name: (str if name in TEXT_COLUMNS else float) for name in wanted}
    return pd.read_csv(
        io.BytesIO(whole),
        dtype=types,
        keep_default_na=False,
        na_values={name: [""] for name in wanted if name not in TEXT_COLUMNS},
    ).reindex(columns=wanted)
