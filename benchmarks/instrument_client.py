"""What the load's own client costs: its CPU beside that of Locust's FastHttpUser, its latency and rate beside wrk's.

All send the same texts to the same service, one after the other. One alternation has each of them once for each number
of users; every second alternation has the opposite order, so that a slow drift of the machine affects all alike. The
figures are medians of the alternations.
"""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.serving_load import steady
from benchmarks.serving_services import OWN, ROOT, running
from infra.environment import for_load
from runfiles.events import MEASURED
from runfiles.files import REQUESTS_SUFFIX, RUN_RECORD_SUFFIX
from runfiles.records import RunRecord

USERS = (1, 8, 32)
CPU_USERS = 8
WARM_UP_S = 1.0
LONGEST_START_S = 60.0
MODEL = ROOT / "inference" / "bundled_model"
OURS = ROOT / "locustfiles" / "keep_alive.py"
FAST_HTTP = ROOT / "benchmarks" / "fast_http_load.py"

Figures = dict[str, float]
"""What one run of one client measured: ``p50_ms``, ``throughput`` (requests per second), ``cpu_ms_per_request``."""


def measure_client(alternations: int, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures of the client against the service with the bundled model, each run ``seconds`` long.

    Keys: ``client_cpu_ms_per_request``, ``fasthttp_cpu_ms_per_request`` (the Locust process's CPU from the start of its
    load to the end, with ``CPU_USERS`` users and no monitor), ``client_cpu_ratio``; ``p50_ratio_to_wrk`` and
    ``throughput_ratio_to_wrk`` by number of users; ``alternations`` has every run's own figures.

    Raises:
        SystemExit: the service, wrk or Locust failed; the message says which, and why.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bodies = folder / "bodies"
        bodies.write_text("".join(json.dumps({"text": text}) + "\n" for text in _texts()), encoding="utf-8")
        with running(OWN, MODEL, folder) as service:
            url = f"http://127.0.0.1:{service.port}"
            runs = _runs(url, bodies, folder, seconds)
            found = []
            for number in range(1, alternations + 1):
                say(f"client, alternation {number} of {alternations} ...")
                order = list(runs) if number % 2 else list(reversed(runs))
                found.append({key: runs[key]() for key in order})
    return summary(found)


def summary(alternations: Sequence[Mapping[str, Figures]]) -> dict[str, Any]:
    """The figures of ``measure_client`` from those of each run, by ``CLIENT USERS``. Ratios are within alternations."""

    def median(ratio: Callable[[Mapping[str, Figures]], float]) -> float:
        return statistics.median(map(ratio, alternations))

    def cpu(client: str) -> Callable[[Mapping[str, Figures]], float]:
        return lambda runs: runs[f"{client} {CPU_USERS}"]["cpu_ms_per_request"]

    def to_wrk(users: int, what: str) -> float:
        return median(lambda runs: runs[f"ours {users}"][what] / runs[f"wrk {users}"][what])

    return {
        "client_cpu_ms_per_request": median(cpu("ours")),
        "fasthttp_cpu_ms_per_request": median(cpu("fasthttp")),
        "client_cpu_ratio": median(lambda runs: cpu("ours")(runs) / cpu("fasthttp")(runs)),
        "p50_ratio_to_wrk": {str(users): to_wrk(users, "p50_ms") for users in USERS},
        "throughput_ratio_to_wrk": {str(users): to_wrk(users, "throughput") for users in USERS},
        "alternations": [dict(runs) for runs in alternations],
    }


def _runs(url: str, bodies: Path, folder: Path, seconds: float) -> dict[str, Callable[[], Figures]]:
    """All runs of one alternation."""
    runs: dict[str, Callable[[], Figures]] = {}
    for users in USERS:
        runs[f"wrk {users}"] = partial(_wrk, url, bodies, users, seconds)
        runs[f"ours {users}"] = partial(_locust, OURS, url, folder, users, seconds)
    runs[f"fasthttp {CPU_USERS}"] = partial(_locust, FAST_HTTP, url, folder, CPU_USERS, seconds)
    return runs


def _wrk(url: str, bodies: Path, users: int, seconds: float) -> Figures:
    steady(f"{url}/infer", bodies, users, WARM_UP_S, accept="text/csv")
    found = steady(f"{url}/infer", bodies, users, seconds, accept="text/csv")
    if found["errors"] or found["refused"]:
        raise SystemExit(f"error: of wrk's requests {found['errors'] + found['refused']} failed")
    return {"p50_ms": found["p50_ms"], "throughput": found["throughput"]}


def _locust(locustfile: Path, url: str, folder: Path, users: int, seconds: float) -> Figures:
    prefix = folder / f"{locustfile.stem}-{users}"
    command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--host", url, "--csv", str(prefix)]
    command += ["--users", str(users), "--spawn-rate", str(users), "--warm-up", f"{WARM_UP_S:g}", "--seed", "1"]
    command += ["--run-time", f"{WARM_UP_S + seconds:g}", "--replicas", "none", "--only-summary"]
    done = subprocess.run(
        command,
        cwd=folder,
        env=for_load(folder),
        capture_output=True,
        text=True,
        timeout=LONGEST_START_S + WARM_UP_S + seconds,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"error: Locust ended with exit code {done.returncode}:\n{done.stderr[-1500:]}")
    return _figures(prefix)


def _figures(prefix: Path) -> Figures:
    """The figures of a run of Locust. The rate is that of the requests that were sent after the warm-up."""
    record = RunRecord.read(Path(f"{prefix}{RUN_RECORD_SUFFIX}"))
    with Path(f"{prefix}{REQUESTS_SUFFIX}").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["phase"] == MEASURED]
    if record.ended_at_unix_s is None or record.generator.cpu_percent is None or not record.requests or not rows:
        raise SystemExit("error: a run of Locust has no requests, or no end")
    took_s = record.ended_at_unix_s - record.started_at_unix_s
    return {
        "p50_ms": statistics.median(float(row["response_time_ms"]) for row in rows),
        "throughput": len(rows) / (took_s - record.warm_up_s),
        "cpu_ms_per_request": record.generator.cpu_percent / 100 * took_s * 1000 / record.requests,
    }


def _texts() -> list[str]:
    with (ROOT / "texts" / "reviews.csv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]
