"""A run goes on, and loses nothing, whatever becomes of the replicas and of the engine that tells of them.

The engine is one of the test's own, since it is halted, ended and locked up. The run lasts until all of it has been
told, and at least 90 s; FOURFOLD_UNBROKEN_S makes it longer.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, free_port

from benchmarks.faults_running import WITHOUT_ROOTS_RIGHTS
from benchmarks.own_engine import PROJECT, SERVICE, OwnEngine, running_engine, why_no_own_engine
from infra.deployments.docker_engine import Engine
from infra.deployments.ready import until_ready
from infra.deployments.waiting import until_true
from runfiles.events import ENGINE_ANSWERS, ENGINE_SILENT
from runfiles.files import REPLICA_EVENTS_SUFFIX, REPLICA_STATS_SUFFIX, REQUESTS_SUFFIX, RUN_RECORD_SUFFIX
from servicefile.service_file import read_service

pytestmark = pytest.mark.engine

SECONDS = int(os.environ.get("FOURFOLD_UNBROKEN_S", "90"))
DENIED_OWNER = 65534

NO_ANSWER, ASKED_S = "no answer within 3 s", 2.9
"""What is told of an engine that hangs, and for how long it has then been asked, at the least."""

FEWEST_SAMPLES = 3


@pytest.fixture
def own_engine(engine: Engine, service_image: str, tmp_path: Path) -> Iterator[OwnEngine]:
    if lacking := why_no_own_engine(engine):
        pytest.skip(lacking)
    with running_engine(service_image, keep_log_in=tmp_path) as own:
        yield own


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Recorded:
    """What a run that goes on has written so far. Each wait ends after 60 s, the last one after 20 s."""

    prefix: Path
    output: Path

    def events(self) -> list[dict[str, str]]:
        return rows(Path(f"{self.prefix}{REPLICA_EVENTS_SUFFIX}"))

    def wait_until_engine(self, event: str) -> None:
        """Until this is the last that the recording has noticed of the engine."""
        told = until_true(lambda: of_engine(self.events())[-1:] == [event], 60)
        assert told, f"{event}: not told; {self.output.read_text()}"

    def wait_until_restarted(self) -> None:
        told = until_true(lambda: any(event["event"] == "restarted" for event in self.events()), 60)
        assert told, self.output.read_text()

    def wait_until_sampled(self) -> None:
        """Until the replica that serves has been sampled some times since the last event, if it can be sampled then."""
        since_s, samples = float(self.events()[-1]["at_unix_s"]), Path(f"{self.prefix}{REPLICA_STATS_SUFFIX}")
        until_true(lambda: sum(at_s > since_s for at_s in sampled_at(rows(samples))) >= FEWEST_SAMPLES, 20)


def load_with_trouble(own: OwnEngine, image: str, prefix: Path) -> tuple[int, str]:
    """Load the first replica while the others and the engine get into trouble; Locust's exit code and its output."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    own.replica(1, image, variables=(f"PORT={port}", "HOST=127.0.0.1", "REPLICA_NAME=web-1"))
    for number in (2, 3):
        own.replica(number, image, "sleep", "3600")
    until_ready(url, read_service(), 60, lambda: None)
    locust = [*WITHOUT_ROOTS_RIGHTS, sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "keep_alive.py")]
    longest_s = SECONDS + 300  # the engine's starts take long on a busy machine
    locust += ["--headless", "-u", "2", "-r", "2", "-t", str(longest_s), "--host", url, "--csv", str(prefix)]
    locust += ["--only-summary", "--replicas", f"compose:{PROJECT}/{SERVICE}"]
    output = prefix.with_suffix(".log")
    began = time.monotonic()
    with output.open("w") as log:
        run = subprocess.Popen(locust, env=os.environ | {"DOCKER_HOST": own.url}, stdout=log, stderr=log)

    def wait(part: float) -> None:
        """However long the engine took for what came before, which on a busy machine can be 10 s."""
        time.sleep(part * SECONDS)
        assert run.poll() is None, output.read_text()

    recorded = Recorded(prefix, output)
    try:
        wait(0.07)
        own.docker("kill", "web-2")
        wait(0.07)
        own.replica(4, image, "sleep", "3600")
        wait(0.07)
        own.docker("rm", "--force", "web-3")
        wait(0.03)
        own.tell(signal.SIGSTOP)  # it hangs
        recorded.wait_until_engine(ENGINE_SILENT)
        recorded.wait_until_sampled()
        own.tell(signal.SIGCONT)
        recorded.wait_until_engine(ENGINE_ANSWERS)
        os.chown(own.door, DENIED_OWNER, DENIED_OWNER)
        own.door.chmod(0o700)
        own.end()
        own.start()
        recorded.wait_until_engine(ENGINE_SILENT)
        recorded.wait_until_sampled()
        os.chown(own.door, 0, 0)
        recorded.wait_until_engine(ENGINE_ANSWERS)
        own.docker("restart", "--time", "0", "web-4")
        recorded.wait_until_restarted()
        time.sleep(max(0.0, began + SECONDS - time.monotonic()))
        run.terminate()
        return run.wait(60), output.read_text()
    finally:
        run.kill()
        run.wait()


def test_nothing_is_lost_whatever_happens(own_engine: OwnEngine, service_image: str, tmp_path: Path) -> None:
    prefix = tmp_path / "run"
    code, output = load_with_trouble(own_engine, service_image, prefix)
    assert code == 0, output
    requests = rows(Path(f"{prefix}{REQUESTS_SUFFIX}"))
    (total,) = [row for row in rows(Path(f"{prefix}_stats.csv")) if row["Name"] == "Aggregated"]
    assert len(requests) == int(total["Request Count"]) > 10 * SECONDS
    assert int(total["Failure Count"]) == 0
    events = rows(Path(f"{prefix}{REPLICA_EVENTS_SUFFIX}"))
    print(f"{len(requests)} requests", *(list(event.values()) for event in events), sep="\n")
    all_events_are_told(events)
    said = json.loads(Path(f"{prefix}{RUN_RECORD_SUFFIX}").read_text())
    assert said["ended_by"] == "interrupted"
    problems = said["replicas"]["problems"]
    assert len(problems) == len(set(problems))
    assert any("permission is denied" in problem for problem in problems)
    for problem in problems:
        assert output.count(problem) == 1
    samples = rows(Path(f"{prefix}{REPLICA_STATS_SUFFIX}"))
    most = 100 * (psutil.cpu_count() or 1) * 1.2
    assert all(0 <= float(sample["cpu_percent"]) < most for sample in samples if sample["cpu_percent"])
    if "cgroup" in said["replicas"]["sampling"]:
        sampling_goes_on(events, sampled_at(samples))


def sampled_at(samples: list[dict[str, str]]) -> list[float]:
    """When the replica that serves was sampled."""
    return [float(sample["sampled_at_unix_s"]) for sample in samples if sample["replica"] == "web-1"]


def of_engine(events: list[dict[str, str]]) -> list[str]:
    return [event["event"] for event in events if not event["replica"]]


def sampling_goes_on(events: list[dict[str, str]], at_s: list[float]) -> None:
    """By its control group's files the replica that serves is sampled while the engine does not answer: before that is
    known, since the engine is then being asked, and until it answers again."""
    told = [(float(event["at_unix_s"]), event["detail"]) for event in events if not event["replica"]]
    outages = list(zip(told[::2], told[1::2], strict=True))
    before = [sum(silent - ASKED_S < at < silent for at in at_s) for (silent, why), _ in outages if NO_ANSWER in why]
    between = sorted(sum(silent < at < answers for at in at_s) for (silent, _), (answers, _) in outages)
    print(f"samples: {len(at_s)}; in outages before they are told {before}, afterwards {between}")
    assert max(before) >= 1
    assert between[-2] >= FEWEST_SAMPLES  # a busy machine may make further ones, which are short
    assert len(at_s) > SECONDS


def all_events_are_told(events: list[dict[str, str]]) -> None:
    """Each in its order, those of replicas and those of the engine, with the reason where there is one."""
    of_replicas = [(event["event"], event["replica"]) for event in events if event["replica"]]
    assert of_replicas == [
        ("found", "web-1"),
        ("found", "web-2"),
        ("found", "web-3"),
        ("ended", "web-2"),
        ("started", "web-4"),
        ("ended", "web-3"),
        ("ended", "web-4"),
        ("restarted", "web-4"),
    ]
    details = {event["replica"]: event["detail"] for event in events if event["event"] == "ended"}
    assert details["web-2"].startswith("exit code 137")
    engines = of_engine(events)
    assert engines == [ENGINE_SILENT, ENGINE_ANSWERS] * (len(engines) // 2)
    assert len(engines) >= 4  # on a busy machine it may be silent for other reasons too
    assert next(event["detail"] for event in events if event["event"] == ENGINE_SILENT) == NO_ANSWER
