"""Writes an experiment's folder as infra and locustfiles do, with figures that are known beforehand."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import runfiles

START = 1_700_000_000.0
MODEL = {"name": "some/model", "source": "hub", "sha256": "a" * 64}


def write_experiment(folder: Path, deployments: Sequence[Mapping[str, Any]]) -> Path:
    """``experiment.json`` with these deployments; the rest is always the same."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "form": runfiles.FORM,
        "started_at": "2026-01-31T12:00:00+00:00",
        "ended_at": "2026-01-31T12:03:00+00:00",
        "command": "python -m infra run",
        "settings": {"users": 4, "seconds": 10, "warm_up_s": 2, "user_class": "keep_alive"},
        "machine": {"system": "Linux", "kernel": "6.1", "cpu_model": "A CPU", "cpu_count": 2, "memory_bytes": 8 << 30},
        "engine": {"endpoint": "unix:///var/run/docker.sock", "version": "26.1", "kernel": "6.1"},
        "git": {"commit": "abc", "dirty": False},
        "deployments": list(deployments),
    }
    (folder / runfiles.EXPERIMENT_FILE).write_text(json.dumps(content))
    return folder


def measured(name: str, **values: Any) -> dict[str, Any]:
    """A deployment that was measured, as a row of ``experiment.json``."""
    row = {"name": name, "status": "measured", "reason": None, "folder": name, "seconds_to_healthy": 4.0}
    return row | {"runs": ["single_pass", "load"], "metrics_files": [], "image": None} | values


def not_run(name: str, reason: str) -> dict[str, Any]:
    return measured(name, status="not run", reason=reason, seconds_to_healthy=None, runs=[])


def write_run(
    folder: Path,
    prefix: str,
    requests: Iterable[Mapping[str, Any]],
    samples: Iterable[Mapping[str, Any]] = (),
    events: Iterable[Mapping[str, Any]] = (),
    machine_samples: Iterable[Mapping[str, Any]] = (),
    **record: Any,
) -> None:
    """The files of one run of 2 s of warm-up and 10 s measured, by 4 users."""
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "form": runfiles.FORM,
        "user_class": "KeepAliveUser",
        "host": "http://127.0.0.1:5000",
        "users": 4,
        "run_time_s": 12,
        "warm_up_s": 2,
        "started_at_unix_s": START,
        "ended_at_unix_s": START + 12,
        "ended_by": "run time",
        "service": {"model": MODEL, "replica": "host", "versions": {"torch": "2"}},
        "texts": {"file": "reviews.csv", "sha256": "b" * 64, "count": 160},
        "replicas": {
            "asked": "auto",
            "found": "process:1",
            "sampling": "psutil",
            "interval_s": 0.25,
            "list": [],
            "problems": [],
        },
        "generator": {"cpu_percent": 20.0, "cpu_warnings": 0},
        "versions": {"locust": "2.47.0"},
    }
    (folder / f"{prefix}{runfiles.RUN_RECORD_SUFFIX}").write_text(json.dumps(content | record))
    _write(folder / f"{prefix}{runfiles.REQUESTS_SUFFIX}", runfiles.REQUEST_COLUMNS, requests)
    _write(folder / f"{prefix}{runfiles.REPLICA_STATS_SUFFIX}", runfiles.REPLICA_STATS_COLUMNS, samples)
    _write(folder / f"{prefix}{runfiles.REPLICA_EVENTS_SUFFIX}", runfiles.REPLICA_EVENTS_COLUMNS, events)
    _write(folder / f"{prefix}{runfiles.MACHINE_STATS_SUFFIX}", runfiles.MACHINE_STATS_COLUMNS, machine_samples)


def request(at_s: float, response_time_ms: float = 10.0, **values: Any) -> dict[str, Any]:
    """A request sent ``at_s`` seconds into the run; the first 2 s are warm-up."""
    row: dict[str, Any] = {
        "started_at_unix_s": START + at_s,
        "response_time_ms": response_time_ms,
        "status": 200,
        "error": "",
        "request_bytes": 100,
        "response_bytes": 200,
        "text_id": 1,
        "replica": "host",
        "queue_ms": 1.0,
        "inference_ms": 5.0,
        "connection_reused": 1,
        "phase": runfiles.WARM_UP if at_s < 2 else runfiles.MEASURED,
    }
    return row | values


def sample(at_s: float, cpu_seconds: float, **values: Any) -> dict[str, Any]:
    """A sample taken ``at_s`` seconds into the run."""
    row: dict[str, Any] = {
        "sampled_at_unix_s": START + at_s,
        "read_at_unix_s": START + at_s,
        "replica": "host",
        "replica_id": "1",
        "node": "n1",
        "cpu_seconds": cpu_seconds,
        "cpu_percent": None,
        "memory_bytes": 100e6,
        "memory_limit_bytes": None,
        "net_rx_bytes": None,
        "net_tx_bytes": None,
        "phase": runfiles.WARM_UP if at_s < 2 else runfiles.MEASURED,
    }
    return row | values


def steady_requests(per_second: int, seconds: int = 12, **values: Any) -> list[dict[str, Any]]:
    """So many requests in each second, each of 10 ms."""
    return [
        request(second + number / per_second, **values) for second in range(seconds) for number in range(per_second)
    ]


def steady_samples(cpu_per_second: float, rx_per_second: float | None = None, **values: Any) -> list[dict[str, Any]]:
    """Two samples a second of a replica that uses so much in each."""
    rows = []
    for half in range(25):
        at = half / 2
        network = (
            {}
            if rx_per_second is None
            else {"net_rx_bytes": at * rx_per_second, "net_tx_bytes": at * 2 * rx_per_second}
        )
        rows.append(sample(at, 5 + at * cpu_per_second, **network, **values))
    return rows


def _write(path: Path, columns: tuple[runfiles.Column, ...], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, runfiles.names(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
