"""What the replica monitor costs: its own CPU, and the throughput of a saturated run with it and without it.

    python -m benchmarks.monitor [--replicas 10] [--pairs 60] [--seconds 6] [--image NAME] [--json FILE]

Needs a Docker engine on this machine and the image llm-inference-image (make image). Starts that many containers, one
of them the service, and removes them again; takes about six minutes. The ways of sampling are measured one after the
other in each of three rounds, and their figures are medians over the rounds. The throughput is that of one run, in
which the monitor goes on and off (monitor_load.py).
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
from typing import TYPE_CHECKING, Any

from benchmarks.needs import Figures, output_file, positive, require, run, why_no_image, why_no_packages
from infra.environment import for_load
from infra.errors import DeploymentError
from runfiles.machines import this_machine

if TYPE_CHECKING:
    import psutil

ROOT = Path(__file__).resolve().parents[1]
IMAGE = "llm-inference-image"
PROJECT, SERVICE = "fourfold-monitor-benchmark", "web"
LABELS = {
    "com.docker.compose.project": PROJECT,
    "com.docker.compose.service": SERVICE,
    "com.docker.compose.oneoff": "False",
}
HERTZ = 4
USERS = 8
ROUNDS = 3
START_S = 2.0
"""What a way of sampling has to start, before it is measured."""

LONGEST_START_S, LONGEST_PAIR_S = 60.0, 15.0
"""The load is ended if it takes longer."""

FEWEST_PAIRS = 2
RESAMPLES = 9_999

MONITOR = """
import sys, tempfile
sys.path[:0] = [{root!r}, {locustfiles!r}]
import locust, gevent, runfiles
from pathlib import Path
from _machine import MachineMonitor
from _monitor import Monitor
from _find_replicas import Finder
from _row_file import RowFile
folder = tempfile.TemporaryDirectory()
samples = RowFile(Path(folder.name, "samples.csv"), runfiles.REPLICA_STATS_COLUMNS)
machine = RowFile(Path(folder.name, "machine.csv"), runfiles.MACHINE_STATS_COLUMNS)
monitor = Monitor(Finder("compose:{project}/{service}", "", None), 1 / {hertz}, samples.write, lambda event: None)
monitor.start()
of_machine = MachineMonitor(machine.write)
counted = lambda: samples.rows
"""
"""The monitor as Locust runs it."""

NO_STREAM = """
import locust, gevent, docker
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
counted = lambda: count
"""
"""docker-py's stats(stream=False) of each container, as often as it answers."""

MEASURE = """
import time, psutil
gevent.sleep({start})
watched = [psutil.Process()] + [one for one in psutil.process_iter(["name"]) if one.info["name"] == "dockerd"]
used = lambda: [times.user + times.system for times in (one.cpu_times() for one in watched)]
before, began, had = used(), time.monotonic(), counted()
gevent.sleep({seconds})
after, elapsed = used(), time.monotonic() - began
own, *engine = [(late - early) / elapsed * 100 for late, early in zip(after, before)]
print(own, sum(engine), (counted() - had) / elapsed, sep="\\n")
"""
"""Ends either script: prints CPU percent of its process, that of dockerd meanwhile, and the samples a second."""


def main() -> int:
    description = (__doc__ or "").split("\n", 1)[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitor", description=description)
    parser.add_argument("--replicas", type=positive, default=10)
    parser.add_argument("--pairs", type=positive, default=60, help="of windows with the monitor and without it (60)")
    parser.add_argument("--seconds", type=positive, default=6, help="of each measurement of a way of sampling (6)")
    parser.add_argument("--image", default=IMAGE, help=f"of the service ({IMAGE})")
    parser.add_argument("--json", type=output_file, help="write all raw figures there")
    arguments = parser.parse_args()
    if arguments.pairs < FEWEST_PAIRS:
        parser.error(f"an interval needs at least {FEWEST_PAIRS} pairs (--pairs)")
    require(
        why_no_packages("locust", "numpy", "scipy"),
        why_no_image(arguments.image, on_this_machine=True),
    )
    figures = Figures(arguments.json, replicas=arguments.replicas, hertz=HERTZ, users=USERS, raw={})
    figures["machine"] = this_machine().to_json()
    with containers(arguments.replicas, arguments.image) as url:
        ways(figures, arguments.seconds)
        say(f"throughput, {arguments.pairs} pairs of windows ...")
        throughput(figures, url, arguments.pairs)
    return 0


def ways(figures: Figures, seconds: int) -> None:
    """What each way of sampling costs, kept after each round."""
    found: dict[str, list[float]] = {}
    for number in range(1, ROUNDS + 1):
        say(f"ways of sampling, round {number} of {ROUNDS} ...")
        for name, value in one_round(seconds).items():
            found.setdefault(name, []).append(value)
        medians = {name: statistics.median(values) for name, values in found.items()}
        figures.keep(**medians, rounds=number, raw=figures["raw"] | found)
    show(medians)


def show(figures: dict[str, float]) -> None:
    for name, value in figures.items():
        print(f"{name:<34} {value:10.3f}", flush=True)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def containers(count: int, image: str) -> Iterator[str]:
    """So many containers, labelled as replicas of one Compose service; the first is the service, at the URL."""
    import docker

    from infra.deployments.waiting import until_healthy

    client = docker.from_env()
    made = []
    try:
        labels = LABELS | {"com.docker.compose.container-number": "1"}
        made.append(
            client.containers.run(image, detach=True, init=True, labels=labels, ports={"5000/tcp": ("127.0.0.1", 0)})
        )
        for number in range(2, count + 1):
            labels = LABELS | {"com.docker.compose.container-number": str(number)}
            made.append(client.containers.run(image, ["sleep", "3600"], detach=True, init=True, labels=labels))
        made[0].reload()
        url = f"http://127.0.0.1:{made[0].ports['5000/tcp'][0]['HostPort']}"
        until_healthy(url, 60, lambda: None)
        yield url
    finally:
        for one in made:
            one.remove(force=True, v=True)


def one_round(seconds: int) -> dict[str, float]:
    """CPU of all ways of sampling, once, and of dockerd meanwhile, in percent of a core."""
    places = {"root": str(ROOT), "locustfiles": str(ROOT / "locustfiles"), "project": PROJECT, "service": SERVICE}
    values: dict[str, float] = {}
    for name, script in (("monitor", MONITOR), ("no_stream", NO_STREAM)):
        text = (script + MEASURE).format(**places, hertz=HERTZ, seconds=seconds, start=START_S)
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
        own, engine, samples = map(float, done.stdout.split())
        values |= {
            f"{name}_cpu_percent": own,
            f"{name}_dockerd_cpu_percent": engine,
            f"{name}_samples_per_s": samples,
        }
    own, engine = docker_stats(seconds)
    return values | {"docker_stats_cpu_percent": own, "docker_stats_dockerd_cpu_percent": engine}


def docker_stats(seconds: int) -> tuple[float, float]:
    """CPU percent of the docker command's own stats of all containers, once a second as it is, and that of dockerd."""
    import psutil

    process = subprocess.Popen(["docker", "stats"], stdout=subprocess.DEVNULL)
    try:
        time.sleep(START_S)
        watched = psutil.Process(process.pid)
        engines = [one for one in psutil.process_iter(["name"]) if one.info["name"] == "dockerd"]
        before, before_engines, began = cpu_seconds(watched), sum(map(cpu_seconds, engines)), time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - began
        used = cpu_seconds(watched) - before, sum(map(cpu_seconds, engines)) - before_engines
        return used[0] / elapsed * 100, used[1] / elapsed * 100
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(process: psutil.Process) -> float:
    times: Any = process.cpu_times()
    return float(times.user + times.system)


def throughput(figures: Figures, url: str, pairs: int) -> None:
    """Answers a second of the windows with the monitor and without it, pair by pair, in one run of Locust.

    Pairs that were measured before the run broke are kept.

    Raises:
        DeploymentError: the run failed, or the monitor did not sample as it should.
    """
    with tempfile.TemporaryDirectory() as folder:
        windows = Path(folder, "windows.json")
        command = [sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks" / "monitor_load.py"), "--headless"]
        command += ["-u", str(USERS), "-r", str(USERS), "--host", url, "--csv", f"{folder}/run", "--replicas", "none"]
        command += ["--monitored", f"compose:{PROJECT}/{SERVICE}", "--hertz", str(HERTZ)]
        command += ["--pairs", str(pairs), "--windows", str(windows)]
        bound_s = LONGEST_START_S + pairs * LONGEST_PAIR_S
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=for_load(Path(folder)),
                capture_output=True,
                text=True,
                check=False,
                timeout=bound_s,
            )
        except subprocess.TimeoutExpired:
            raise DeploymentError(f"Locust did not end within {bound_s:g} s") from None
        finally:
            measured = json.loads(windows.read_text(encoding="utf-8")) if windows.is_file() else {}
            problems = measured.pop("problems", [])
            rates = {f"throughput_{name}": values for name, values in measured.items()}
            if measured and len(measured["off"]) >= FEWEST_PAIRS:
                ratio = throughput_ratio(rates)
                figures.keep(**ratio, raw=figures["raw"] | rates, problems=problems)
                show(ratio)
        if done.returncode or not windows.is_file():
            raise DeploymentError(f"Locust failed with exit code {done.returncode}: {done.stderr[-2000:]}")
        if problems:
            raise DeploymentError(f"the monitor did not sample as it should: {problems[0]}")


def throughput_ratio(windows: dict[str, list[float]]) -> dict[str, float]:
    """Answers with the monitor to those without it, in equal time; with its 95% interval (bootstrap over pairs)."""
    import numpy as np
    from scipy import stats

    def ratio(on: Any, off: Any, axis: int) -> Any:
        return np.sum(on, axis=axis) / np.sum(off, axis=axis)

    on, off = np.array(windows["throughput_on"]), np.array(windows["throughput_off"])
    interval = stats.bootstrap(
        (on, off), ratio, paired=True, n_resamples=RESAMPLES, rng=np.random.default_rng(1)
    ).confidence_interval
    return {
        "throughput_ratio": float(ratio(on, off, 0)),
        "throughput_ratio_low": float(interval.low),
        "throughput_ratio_high": float(interval.high),
        "throughput_pairs": len(on),
        "throughput_on": float(on.mean()),
        "throughput_off": float(off.mean()),
        "throughput_samples_per_s": float(np.mean(windows["throughput_samples_per_s"])),
    }


if __name__ == "__main__":
    sys.exit(run(main))
