"""What the replica monitor costs: its own CPU, and the throughput of a saturated run with it and without it.

    python -m benchmarks.monitor [--replicas 10] [--rounds 5] [--json FILE]

Needs a Docker engine on this machine and the image llm-inference-image (make image). Starts that many containers, one
of them the service, and removes them again. All ways of sampling are measured one after the other in each round, so
that what else the machine does meets them alike; the figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import psutil

from infra.settings import IMAGE, ROOT
from infra.waiting import until_healthy

PROJECT, SERVICE = "fourfold-monitor-benchmark", "web"
LABELS = {
    "com.docker.compose.project": PROJECT,
    "com.docker.compose.service": SERVICE,
    "com.docker.compose.oneoff": "False",
}
HERTZ = 4

MONITOR = """
import sys, time
sys.path[:0] = [{root!r}, {locustfiles!r}]
import locust, gevent, psutil
from _monitor import Monitor
from _replicas import Finder
rows = []
monitor = Monitor(Finder("compose:{project}/{service}", "", None), 1 / {hertz}, rows.append, lambda event: None)
monitor.start()
gevent.sleep(1)
before, began, had = psutil.Process().cpu_times(), time.monotonic(), len(rows)
gevent.sleep({seconds})
after = psutil.Process().cpu_times()
used = after.user + after.system - before.user - before.system
print(used / (time.monotonic() - began) * 100, (len(rows) - had) / {seconds}, sep="\\n")
"""
"""The monitor as Locust runs it, in a process of its own, whose CPU percent and samples a second it prints."""

NO_STREAM = """
import sys, time
import locust, gevent, psutil, docker
engine = docker.from_env()
ids = [one["Id"] for one in engine.api.containers(filters={{"label": "com.docker.compose.project={project}"}})]
count = 0
def sample(id):
    global count
    while True:
        engine.api.stats(id, stream=False)
        count += 1
for id in ids:
    gevent.spawn(sample, id)
gevent.sleep(1)
before, began, had = psutil.Process().cpu_times(), time.monotonic(), count
gevent.sleep({seconds})
after = psutil.Process().cpu_times()
used = after.user + after.system - before.user - before.system
print(used / (time.monotonic() - began) * 100, (count - had) / {seconds}, sep="\\n")
"""
"""docker-py's stats(stream=False) of each container, as often as it answers."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--replicas", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement (8)")
    parser.add_argument("--json", type=Path, help="write all raw figures there")
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {}
    with containers(arguments.replicas) as url:
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds} ...", file=sys.stderr, flush=True)
            for name, value in one_round(url, arguments.seconds, first_with=number % 2 == 0).items():
                found.setdefault(name, []).append(value)
    ratios = [on / off for on, off in zip(found["throughput_on"], found["throughput_off"], strict=True)]
    summary = {name: statistics.median(values) for name, values in found.items()} | {
        "throughput_ratio": statistics.median(ratios),
        "replicas": arguments.replicas,
        "hertz": HERTZ,
    }
    for name, value in summary.items():
        print(f"{name:<34} {value:10.3f}")
    if arguments.json:
        raw = {"raw": found | {"throughput_ratio": ratios}, "machine": {"cpu_count": psutil.cpu_count()}}
        arguments.json.write_text(json.dumps(summary | raw, indent=1) + "\n", encoding="utf-8")
    return 0


@contextmanager
def containers(count: int) -> Iterator[str]:
    """So many containers, labelled as replicas of one Compose service; the first is the service, at the URL."""
    client = docker.from_env()
    made = []
    try:
        labels = LABELS | {"com.docker.compose.container-number": "1"}
        made.append(
            client.containers.run(IMAGE, detach=True, init=True, labels=labels, ports={"5000/tcp": ("127.0.0.1", 0)})
        )
        for number in range(2, count + 1):
            labels = LABELS | {"com.docker.compose.container-number": str(number)}
            made.append(client.containers.run(IMAGE, ["sleep", "3600"], detach=True, init=True, labels=labels))
        made[0].reload()
        url = f"http://127.0.0.1:{made[0].ports['5000/tcp'][0]['HostPort']}"
        until_healthy(url, 60, lambda: None)
        yield url
    finally:
        for one in made:
            one.remove(force=True, v=True)


def one_round(url: str, seconds: int, *, first_with: bool) -> dict[str, float]:
    """All ways of sampling once, and the load with the monitor and without it, in turns who comes first."""
    places = {"root": str(ROOT), "locustfiles": str(ROOT / "locustfiles"), "project": PROJECT, "service": SERVICE}
    values: dict[str, float] = {}
    for name, script in (("monitor", MONITOR), ("no_stream", NO_STREAM)):
        with daemon(values, name):
            values |= cpu_and_rate(name, script.format(**places, hertz=HERTZ, seconds=seconds))
    with daemon(values, "docker_stats"):
        values["docker_stats_cpu_percent"] = docker_stats(seconds)
    for is_on in (first_with, not first_with):
        values["throughput_on" if is_on else "throughput_off"] = throughput(url, seconds, is_on=is_on)
    return values


def cpu_and_rate(name: str, script: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    cpu, rate = done.stdout.split()
    return {f"{name}_cpu_percent": float(cpu), f"{name}_samples_per_s": float(rate)}


@contextmanager
def daemon(values: dict[str, float], name: str) -> Iterator[None]:
    """Adds what dockerd used meanwhile, in percent of a core."""
    engines = [one for one in psutil.process_iter(["name"]) if one.info["name"] == "dockerd"]
    before, began = sum(cpu_seconds(one) for one in engines), time.monotonic()
    yield
    used = sum(cpu_seconds(one) for one in engines) - before
    values[f"{name}_dockerd_cpu_percent"] = used / (time.monotonic() - began) * 100


def docker_stats(seconds: int) -> float:
    """CPU percent of the docker command's own stats of all containers, once a second as it is."""
    process = subprocess.Popen(["docker", "stats"], stdout=subprocess.DEVNULL)
    try:
        watched = psutil.Process(process.pid)
        before, began = cpu_seconds(watched), time.monotonic()
        time.sleep(seconds)
        return (cpu_seconds(watched) - before) / (time.monotonic() - began) * 100
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(process: psutil.Process) -> float:
    times: Any = process.cpu_times()
    return float(times.user + times.system)


def throughput(url: str, seconds: int, *, is_on: bool) -> float:
    """Answers a second that eight users get."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "keep_alive.py"), "--headless"]
        command += ["-u", "8", "-r", "8", "-t", str(seconds), "--host", url, "--csv", f"{folder}/run"]
        command += ["--replicas", f"compose:{PROJECT}/{SERVICE}" if is_on else "none"]
        subprocess.run(command, capture_output=True, check=True)
        said = json.loads(Path(f"{folder}/run_run.json").read_text())
        return float(said["requests"] / (said["ended_at_unix_s"] - said["started_at_unix_s"]))


if __name__ == "__main__":
    sys.exit(main())
