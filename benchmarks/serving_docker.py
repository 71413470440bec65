"""Compares three replicas with 0.6 CPU each with a single replica with 1.8, on the present Docker engine."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.serving_load import result_of, start_wrk
from benchmarks.serving_services import ask

LABEL = "fourfold.benchmark=serving"
CONNECTIONS = 30


def measure(image: str, model: Path, bodies: Path, rounds: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Throughput of both, in turn, each with the same number of connections in total; and the engines' thread counts.

    Yields the results so far after each round.
    """
    found: dict[str, list[float]] = {"one_1.8": [], "three_0.6": []}
    engines: dict[str, Any] = {}
    containers: list[str] = []
    try:
        single = [_start(image, model, 1.8, containers)]
        three = [_start(image, model, 0.6, containers) for _ in range(3)]
        for port in single + three:
            _wait(port)
        engines = {"one_1.8": _threads(containers[0]), "three_0.6": _threads(containers[1])}
        for _ in range(rounds):
            for name, ports in (("one_1.8", single), ("three_0.6", three)):
                for length in (1.0, seconds):
                    loads = [
                        start_wrk(f"http://127.0.0.1:{port}/infer", bodies, CONNECTIONS // len(ports), length)
                        for port in ports
                    ]
                    total = sum(result_of(load)["throughput"] for load in loads)
                found[name].append(total)
            medians = {name: statistics.median(rates) for name, rates in found.items()}
            yield {
                "rounds": found,
                "median": medians,
                "threads": engines,
                "three_over_one": medians["three_0.6"] / medians["one_1.8"],
            }
    finally:
        if containers:
            subprocess.run(["docker", "rm", "-f", *containers], check=True, stdout=subprocess.DEVNULL)


def _start(image: str, model: Path, cpus: float, containers: list[str]) -> int:
    command = ["docker", "run", "-d", "--init", "--label", LABEL, "--cpus", f"{cpus}", "-p", "127.0.0.1::5000"]
    command += ["-v", f"{model.resolve()}:/model:ro", image]
    container = _output(command)
    containers.append(container)
    return int(_output(["docker", "port", container, "5000/tcp"]).rpartition(":")[2])


def _wait(port: int) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            ask(port, "/infer", "A first text.")
            return
        except (OSError, ValueError):
            if time.monotonic() > until:
                raise
        time.sleep(0.1)


def _threads(container: str) -> int:
    """How many threads the inference engine in a container computes with, from its /health."""
    get = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:5000/health').read().decode())"
    return int(json.loads(_output(["docker", "exec", container, "python", "-c", get]))["engine"]["threads"])


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
