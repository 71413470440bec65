"""Writes an experiment's folder as infra and locustfiles do, with figures that are known beforehand."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runfiles.columns import (
    MACHINE_STATS_COLUMNS,
    REPLICA_EVENTS_COLUMNS,
    REPLICA_STATS_COLUMNS,
    REQUEST_COLUMNS,
    Column,
    column_names,
)
from runfiles.events import ALL_TEXTS, MEASURED, RUN_TIME, WARM_UP
from runfiles.files import (
    EXPERIMENT_FILE,
    FORM,
    MACHINE_STATS_SUFFIX,
    REPLICA_EVENTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REQUESTS_SUFFIX,
    RUN_RECORD_SUFFIX,
    SINGLE_PASS,
)

START = 1_700_000_000.0
NASTY = "</script><script>document.title='broken'</script>"
MODEL = {"name": "some/model", "source": "hub", "sha256": "a" * 64}


def write_experiment(folder: Path, deployments: Sequence[Mapping[str, Any]], **values: Any) -> Path:
    """``experiment.json`` with these deployments; the rest is always the same, but for ``values``."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "form": FORM,
        "started_at": "2023-11-14T22:13:20+00:00",
        "ended_at": "2023-11-14T22:16:20+00:00",
        "command": "python -m infra run",
        "resumed_at": [],
        "plan": {
            "deployments": [deployment["name"] for deployment in deployments],
            "rounds": max([1, *(len(deployment["rounds"]) for deployment in deployments)]),
            "users": 4,
            "seconds": 10,
            "requests": None,
            "warm_up_s": 2,
            "rest_s": 1,
            "user_class": "keep_alive",
            "seed": 1,
            "cpus": None,
            "memory_mb": 2048,
        },
        "machine": {"system": "Linux", "kernel": "6.1", "cpu_model": "A CPU", "cpu_count": 2, "memory_bytes": 8 << 30},
        "engine": {"endpoint": "unix:///var/run/docker.sock", "version": "26.1", "kernel": "6.1"},
        "git": {"commit": "abc", "dirty": False},
        "versions": {},
        "order": [],
        "deployments": list(deployments),
    }
    (folder / EXPERIMENT_FILE).write_text(json.dumps(content | values))
    return folder


def measured(name: str, rounds: int = 1, **values: Any) -> dict[str, Any]:
    """A deployment that was measured in so many rounds, as a row of ``experiment.json``."""
    each = [a_round(name, number + 1) for number in range(rounds)]
    return {"name": name, "status": "measured", "reason": None, "image": None, "rounds": each} | values


def a_round(name: str, number: int = 1, **values: Any) -> dict[str, Any]:
    """A round that was measured."""
    row: dict[str, Any] = {"number": number, "status": "measured", "reason": None, "folder": f"{name}/round-{number}"}
    row |= {"started_at": "2023-11-14T22:13:20+00:00", "seconds_to_healthy": 4.0, "runs": ["load"]}
    return row | {"metrics_files": [], "limits": {"cpus": None, "memory_bytes": None}} | values


def not_run(name: str, reason: str) -> dict[str, Any]:
    return measured(name, rounds=0, status="not run", reason=reason)


def write_run(
    folder: Path,
    prefix: str,
    requests: Iterable[Mapping[str, Any]],
    samples: Iterable[Mapping[str, Any]] = (),
    events: Iterable[Mapping[str, Any]] = (),
    machine_samples: Iterable[Mapping[str, Any]] = (),
    number: int = 1,
    after_s: float = 0,
    **record: Any,
) -> None:
    """The files of one run of 2 s of warm-up and 10 s measured, by 4 users, in a round of the deployment's folder.

    Rows and events tell of a run that begins at ``START``. They are moved to a time of the run's own, after the other
    runs of the experiment and ``after_s``; the record's times are not, where ``record`` names them.
    """
    later_s = later(folder.parent, folder / f"round-{number}" / f"{prefix}{RUN_RECORD_SUFFIX}", after_s)
    folder = folder / f"round-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    requests = list(requests)
    content: dict[str, Any] = {
        "form": FORM,
        "requests": len(requests),
        "user_class": "KeepAliveUser",
        "host": "http://127.0.0.1:5000",
        "users": 4,
        "run_time_s": 12,
        "warm_up_s": 2,
        "started_at_unix_s": START + later_s,
        "ended_at_unix_s": START + later_s + 12,
        "ended_by": ALL_TEXTS if prefix == SINGLE_PASS else RUN_TIME,
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
    (folder / f"{prefix}{RUN_RECORD_SUFFIX}").write_text(json.dumps(content | record))
    for suffix, columns, rows in (
        (REQUESTS_SUFFIX, REQUEST_COLUMNS, requests),
        (REPLICA_STATS_SUFFIX, REPLICA_STATS_COLUMNS, samples),
        (REPLICA_EVENTS_SUFFIX, REPLICA_EVENTS_COLUMNS, events),
        (MACHINE_STATS_SUFFIX, MACHINE_STATS_COLUMNS, machine_samples),
    ):
        _write(folder / f"{prefix}{suffix}", columns, [_moved(row, later_s) for row in rows])


def later(experiment: Path, own: Path, after_s: float) -> float:
    """By how many seconds a run begins after ``START``: after all others that are there."""
    if own.exists():
        return float(json.loads(own.read_text())["started_at_unix_s"]) - START
    return after_s + 20.0 * len(list(experiment.rglob(f"*{RUN_RECORD_SUFFIX}")))


def _moved(row: Mapping[str, Any], later_s: float) -> dict[str, Any]:
    return {name: value + later_s if name.endswith("_unix_s") else value for name, value in row.items()}


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
        "phase": WARM_UP if at_s < 2 else MEASURED,
    }
    return row | values


def warmed(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Requests of the measured phase, and two of the warm-up before them."""
    return [request(0.5), request(1.5), *rows]


def texts_once(count: int = 160) -> list[dict[str, Any]]:
    """The requests of a single pass: each text once, without a warm-up."""
    return [request(number / 20, text_id=number + 1, phase=MEASURED) for number in range(count)]


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
        "phase": WARM_UP if at_s < 2 else MEASURED,
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


def _write(path: Path, columns: tuple[Column, ...], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, column_names(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def whole_experiment(folder: Path, rounds: int = 1) -> Path:
    """Host and three replicas measured, one of them with a nasty name; the rest not run. It is valid."""
    no_engine = "no Docker engine at unix:///var/run/docker.sock, start one and run again"
    deployments = [measured("host", rounds), not_run("docker", no_engine), not_run("compose", no_engine)]
    deployments += [not_run("swarm-1", "no <IPVS> here"), measured("swarm-3", rounds)]
    write_experiment(folder, deployments)
    names = ["llm-inference-service.1", "llm-inference-service.2", NASTY]
    found = [{"at_unix_s": START, "event": "found", "replica": name, "detail": NASTY} for name in names]
    for number in range(1, rounds + 1):
        host, swarm = folder / "host", folder / "swarm-3"
        wave = [request(i / 100, 10 + number / 10 + i % 7) for i in range(1200)]
        once: dict[str, Any] = {"warm_up_s": 0, "users": 1, "run_time_s": None}
        measured_samples = [row | {"phase": MEASURED} for row in steady_samples(0.5)]
        write_run(host, "single_pass", texts_once(), measured_samples, number=number, **once)
        write_run(host, "load", wave, steady_samples(0.5), number=number)
        slow = [request(i / 100, 13 + number / 9 + i % 7, replica=names[i % 3]) for i in range(1200)]
        samples = [
            row
            for place, name in enumerate(names)
            for row in steady_samples(0.2, 1000 * (place + 1), replica=name, replica_id=str(place))
        ]
        write_run(swarm, "load", slow, samples, found, number=number)
    return folder
