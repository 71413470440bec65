"""The Docker engine is killed and started again while an open load goes on: a second engine, beside the machine's own.

Two Locusts load the replica at its own address. One reads its counters from the control group's files. The other can't
see its process, and asks the engine.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults_outcome import Fault, Outcome
from benchmarks.needs import why_no_image, why_no_packages
from benchmarks.own_engine import PROJECT, SERVICE, OwnEngine, running_engine, why_no_own_engine
from benchmarks.plain_client import Asked, asking
from infra.environment import for_load
from infra.errors import DeploymentError
from runfiles.columns import BYTES_PER_S, RATE, REPLICA_STATS_COLUMNS
from runfiles.events import ENGINE_ANSWERS, ENGINE_SILENT
from runfiles.files import REPLICA_EVENTS_SUFFIX, REPLICA_STATS_SUFFIX, REQUESTS_SUFFIX

ROOT = Path(__file__).resolve().parents[1]
LOCUST = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "open_load.py"), "--headless"]
UNSEEING = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
"""Starts a program that sees no process but its own, and so no control group of a container."""

WAYS: Mapping[str, Sequence[str]] = {"by control group": (), "by the engine": UNSEEING}
"""How the replica is sampled -> what Locust is started with."""

RATE_PER_S, CLIENT_EVERY_S, CLIENT_TIMEOUT_S = 15, 0.1, 5.0
BEFORE_S, DEAD_S, AFTER_S = 10.0, 8.0, 10.0
TOLD_S = 60.0
LONGEST_S = 1800
KILLS = 5
"""In the long form."""

FIRST_SAMPLES = 10
"""After a gap so many samples are compared with those before it."""

SPIKE = 3.0
"""A rate is a spike above so many times the highest one before. What a gap of 8 s hid would be eight times as high, if
it were taken for that of one second."""

NET_RATES = tuple(column.name for column in REPLICA_STATS_COLUMNS if column.kind is RATE and column.unit is BYTES_PER_S)


@dataclass(frozen=True)
class Watched:
    """What one Locust recorded: how many requests Locust counted, how many of them failed, the rows of requests, the
    events of the engine (when, which) and the samples."""

    counted: int
    failed: int
    rows: int
    events: tuple[tuple[float, str], ...]
    samples: tuple[Mapping[str, str], ...]

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """From when until when the engine did not answer."""
        told = pairwise(self.events)
        return [(at, until) for (at, what), (until, then) in told if (what, then) == (ENGINE_SILENT, ENGINE_ANSWERS)]

    def highest(self, columns: Sequence[str], *, after: bool) -> float:
        """The highest value in the samples before the first gap, or in the first ones after each gap; 0: none."""
        rows = [row for gap in self.gaps for row in self._after(gap[1])] if after else self._before()
        return max((float(row[name]) for row in rows for name in columns if row[name]), default=0.0)

    def _before(self) -> list[Mapping[str, str]]:
        until = self.gaps[0][0] if self.gaps else float("inf")
        # The engine was dead before anybody noticed.
        return [row for row in self.samples if float(row["sampled_at_unix_s"]) < until]

    def _after(self, since: float) -> list[Mapping[str, str]]:
        return [row for row in self.samples if float(row["sampled_at_unix_s"]) > since][:FIRST_SAMPLES]


def broken_by(watched: Watched, kills: int, cores: int) -> Iterator[str]:
    """What of the promise one Locust's records do not hold."""
    if watched.failed:
        yield f"{watched.failed} of {watched.counted} requests failed"
    if watched.rows != watched.counted:
        yield f"{watched.rows} rows were recorded of {watched.counted} requests"
    if len(watched.gaps) < kills:
        yield f"{len(watched.gaps)} of {kills} gaps are in the events ({[what for _, what in watched.events]})"
    if not all(watched._after(until) for _, until in watched.gaps):
        yield "the replica was not sampled after a gap"
    if (cpu := watched.highest(["cpu_percent"], after=True)) > 100 * cores:
        yield f"after a gap the replica seemed to use {cpu:.0f}% CPU, and there are {cores} processors"
    for what, columns in (("CPU", ["cpu_percent"]), ("network", NET_RATES)):
        before, after = (watched.highest(columns, after=is_after) for is_after in (False, True))
        if after > SPIKE * before:
            yield f"{what}: the rate after a gap, {after:,.0f}, is above {SPIKE:g} times that before, {before:,.0f}"
    used = [float(row["cpu_seconds"]) for row in watched.samples]
    if any(second < first for first, second in pairwise(used)):
        yield "the CPU time fell"


def measure(short: bool) -> Outcome:
    """Kill the engine, once or several times, and compare what was recorded before and afterwards."""
    from servicefile.service_file import read_service

    kills, image = 1 if short else KILLS, str(read_service().image)
    with running_engine(image) as own, TemporaryDirectory(prefix="fourfold-") as name:
        folder = Path(name)
        direct, published = _start_replica(own, image)
        with (
            asking(direct, CLIENT_EVERY_S, CLIENT_TIMEOUT_S) as asked,
            asking(published, CLIENT_EVERY_S, CLIENT_TIMEOUT_S) as asked_published,
        ):
            _load(own, direct, folder, kills)
            seen, seen_published = list(asked), list(asked_published)
        watched = {way: _read(folder / way) for way in WAYS}
    cores = os.cpu_count() or 1
    broken = [f"{way}: {why}." for way, each in watched.items() for why in broken_by(each, kills, cores)]
    if failed := sum(not each.is_answered for each in seen):
        broken.append(f"The plain client lost {failed} of {len(seen)} requests.")
    return Outcome(_figures(watched, seen, seen_published), tuple(broken))


def _figures(
    watched: Mapping[str, Watched], seen: Sequence[Asked], seen_published: Sequence[Asked]
) -> dict[str, object]:
    gaps = [until - at for each in watched.values() for at, until in each.gaps]
    figures: dict[str, object] = {
        "requests": sum(each.counted for each in watched.values()),
        "failed": sum(each.failed for each in watched.values()),
        "rows missing": sum(each.counted - each.rows for each in watched.values()),
        "lost, by the plain client": _lost(seen),
        "lost, through docker-proxy, which ends with the engine": _lost(seen_published),
        "gaps told": len(gaps),
        "longest gap, s": max(gaps, default=0.0),
    }
    for way, each in watched.items():
        for what, columns, per in (("CPU, %", ["cpu_percent"], 1), ("network, kB/s", NET_RATES, 1000)):
            before, after = (each.highest(columns, after=is_after) / per for is_after in (False, True))
            figures[f"highest {what}, {way}"] = f"{before:.0f} before, {after:.0f} after"
    return figures


def _lost(asked: Sequence[Asked]) -> str:
    return f"{sum(not each.is_answered for each in asked):,} of {len(asked):,}"


def _start_replica(own: OwnEngine, image: str) -> tuple[str, str]:
    """The URLs of a replica that is ready: at its own address, and at its published port."""
    from infra.deployments.ready import until_ready
    from servicefile.service_file import read_service

    service = read_service()
    options = ("--network=bridge", f"--publish=127.0.0.1::{service.port}")
    own.replica(1, image, options=options, variables=("HOST=0.0.0.0",))
    form = "{{.NetworkSettings.IPAddress}}"
    address = own.docker("inspect", "--format", form, f"{SERVICE}-1").stdout.strip()
    port = own.docker("port", f"{SERVICE}-1", str(service.port)).stdout.split()[0].rpartition(":")[2]
    urls = f"http://{address}:{service.port}", f"http://127.0.0.1:{port}"
    for url in urls:
        until_ready(url, service, service.ready_s, lambda: None)
    return urls


def _load(own: OwnEngine, url: str, folder: Path, kills: int) -> None:
    """Load the replica while the engine is killed and started again so often."""
    with ExitStack() as running:
        locusts = {way: running.enter_context(_locust(own, url, folder / way, WAYS[way])) for way in WAYS}

        def wait(seconds: float) -> None:
            time.sleep(seconds)
            for way, process in locusts.items():
                if process.poll() is not None:
                    raise DeploymentError(f"Locust ended early: {_log(folder / way).read_text(encoding='utf-8')}")

        wait(BEFORE_S)
        for number in range(1, kills + 1):
            own.end(signal.SIGKILL)
            wait(DEAD_S)
            own.start()
            _wait_until_told(folder, number)
            wait(AFTER_S)


def _wait_until_told(folder: Path, gaps: int) -> None:
    """Until both have noticed that the engine answers again. Whether they have is judged by what they recorded."""
    from infra.deployments.waiting import until_true

    def is_told() -> bool:
        events = [_engine_events(folder / way) for way in WAYS]
        return all(sum(what == ENGINE_ANSWERS for _, what in each) >= gaps for each in events)

    until_true(is_told, TOLD_S)


@contextmanager
def _locust(own: OwnEngine, url: str, prefix: Path, before: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Locust, which samples the replica. With the block it is asked to end, and has then written its files."""
    from infra.deployments.waiting import until_true

    command = [*before, *LOCUST, "--host", url, "--csv", str(prefix), "--only-summary", "-t", str(LONGEST_S)]
    command += ["--rate", str(RATE_PER_S), "--replicas", f"compose:{PROJECT}/{SERVICE}"]
    environment = for_load(prefix.parent) | {"DOCKER_HOST": own.url}
    with _log(prefix).open("wb") as log:
        run = subprocess.Popen(command, cwd=prefix.parent, env=environment, stdout=log, stderr=log)
    try:
        if not until_true(lambda: Path(f"{prefix}{REQUESTS_SUFFIX}").exists() or run.poll() is not None, TOLD_S):
            raise DeploymentError(f"Locust did not start: {_log(prefix).read_text(encoding='utf-8')}")
        yield run
        _ask_to_end(run)
        run.wait(60)
    finally:
        run.kill()
        run.wait()


def _ask_to_end(run: subprocess.Popen[bytes]) -> None:
    """Ask Locust to end, which may be the child of what was started."""
    import psutil

    process = psutil.Process(run.pid)
    children = process.children() if process.name() == UNSEEING[0] else []
    (children or [process])[0].send_signal(signal.SIGTERM)


def _log(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.log")


def _read(prefix: Path) -> Watched:
    """What Locust has written.

    Raises:
        DeploymentError: it did not get so far.
    """
    stats = Path(f"{prefix}_stats.csv")
    if not stats.exists():
        raise DeploymentError(f"Locust wrote no statistics: {_log(prefix).read_text(encoding='utf-8')}")
    (total,) = [row for row in _rows(stats) if row["Name"] == "Aggregated"]
    return Watched(
        counted=int(total["Request Count"]),
        failed=int(total["Failure Count"]),
        rows=len(_rows(Path(f"{prefix}{REQUESTS_SUFFIX}"))),
        events=tuple(_engine_events(prefix)),
        samples=tuple(_rows(Path(f"{prefix}{REPLICA_STATS_SUFFIX}"))),
    )


def _engine_events(prefix: Path) -> list[tuple[float, str]]:
    rows = _rows(Path(f"{prefix}{REPLICA_EVENTS_SUFFIX}"))
    return [(float(row["at_unix_s"]), row["event"]) for row in rows if not row["replica"]]


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def why_not() -> str | None:
    if reason := why_no_packages("docker", "psutil", "requests", "locust"):
        return reason
    from infra.deployments.docker_engine import connect
    from servicefile.service_file import read_service

    return why_no_image(str(read_service().image)) or why_no_own_engine(connect())


FAULTS: Sequence[Fault] = (
    Fault(
        "engine",
        "The Docker engine is killed (SIGKILL) and started again; its containers live on (live-restore)",
        "At the replica's own address no request fails, each has its row, the gap is in the replicas' events, and no "
        "counter has a spike afterwards.",
        measure,
        why_not,
    ),
)
