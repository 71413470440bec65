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
from runfiles.events import COMPOSE_SERVICE
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
"""From the start of ``docker stats`` until it is measured."""

LONGEST_START_S, LONGEST_PAIR_S = 60.0, 15.0
"""The load is ended if it takes longer."""

FEWEST_PAIRS = 2
RESAMPLES = 9_999

WAYS = ("monitor", "no_stream")
"""The ways of sampling that monitor_way.py measures."""


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
    """Start so many containers, labelled as replicas of one Compose service. The first one serves at the URL."""
    import docker

    from infra.deployments.ready import until_ready
    from servicefile.service_file import read_service

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
        until_ready(url, read_service(), 60, lambda: None)
        yield url
    finally:
        for container in made:
            container.remove(force=True, v=True)


def one_round(seconds: int) -> dict[str, float]:
    """CPU of each way of sampling, measured once, and of dockerd meanwhile, in percent of a core."""
    values: dict[str, float] = {}
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.monitor_way", way, PROJECT, SERVICE, str(HERTZ), str(seconds)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        own, engine, samples = map(float, done.stdout.split())
        values |= {
            f"{way}_cpu_percent": own,
            f"{way}_dockerd_cpu_percent": engine,
            f"{way}_samples_per_s": samples,
        }
    own, engine = docker_stats(seconds)
    return values | {"docker_stats_cpu_percent": own, "docker_stats_dockerd_cpu_percent": engine}


def docker_stats(seconds: int) -> tuple[float, float]:
    """CPU percent of ``docker stats`` of all containers, which samples once a second, and that of dockerd meanwhile."""
    import psutil

    command = subprocess.Popen(["docker", "stats"], stdout=subprocess.DEVNULL)
    try:
        time.sleep(START_S)
        watched = psutil.Process(command.pid)
        engines = [process for process in psutil.process_iter(["name"]) if process.info["name"] == "dockerd"]
        before, before_engines, began = cpu_seconds(watched), sum(map(cpu_seconds, engines)), time.monotonic()
        time.sleep(seconds)
        elapsed = time.monotonic() - began
        used = cpu_seconds(watched) - before, sum(map(cpu_seconds, engines)) - before_engines
        return used[0] / elapsed * 100, used[1] / elapsed * 100
    finally:
        command.terminate()
        command.wait()


def cpu_seconds(process: psutil.Process) -> float:
    times: Any = process.cpu_times()
    return float(times.user + times.system)


def throughput(figures: Figures, url: str, pairs: int) -> None:
    """Answers per second in windows with the monitor and without it, pair by pair, in one run of Locust.

    If the run breaks, the pairs measured before are kept.

    Raises:
        DeploymentError: the run failed, or the monitor did not sample as it should.
    """
    with tempfile.TemporaryDirectory() as folder:
        windows = Path(folder, "windows.json")
        try:
            done = load_with_monitor(url, pairs, windows)
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


def load_with_monitor(url: str, pairs: int, windows: Path) -> subprocess.CompletedProcess[str]:
    """Run Locust, which switches the monitor on and off and writes the rates of each window to a file.

    Raises:
        DeploymentError: the run does not end in time.
    """
    folder = windows.parent
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks" / "monitor_load.py"), "--headless"]
    command += ["-u", str(USERS), "-r", str(USERS), "--host", url, "--csv", f"{folder}/run", "--replicas", "none"]
    command += ["--monitored", f"{COMPOSE_SERVICE}:{PROJECT}/{SERVICE}", "--hertz", str(HERTZ)]
    command += ["--pairs", str(pairs), "--windows", str(windows)]
    bound_s = LONGEST_START_S + pairs * LONGEST_PAIR_S
    environment = for_load(folder)
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=bound_s
        )
    except subprocess.TimeoutExpired:
        raise DeploymentError(f"Locust did not end within {bound_s:g} s") from None


def throughput_ratio(windows: dict[str, list[float]]) -> dict[str, float]:
    """Ratio of the answers with the monitor to those without it, with a 95% interval (bootstrap over pairs)."""
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
