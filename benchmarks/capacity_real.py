"""Whether the search for the capacity finds it in a real service whose capacity is known.

    python -m benchmarks.capacity_real [--searches 5] [--budget 420] [--json FILE]

Locust searches for the highest rate of Poisson arrivals with p95 < 50 ms, as an experiment does. The server
(benchmarks.queueing_server) serves one request at a time, in exactly 10 ms, so theory knows that rate (M/D/1). All
searches go on at the same time, each at a server of its own; it takes about as long as the budget and a third more.
Leave the machine alone meanwhile.

What client, sockets and server take beside the queue (about 0.5 ms) counts as response time, so the capacity is that of
an objective shorter by so much. The table has it with the time that an idle server takes.

Exit code: 1 if a search found no capacity, or one that is more than 5% from theory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.capacity import HIGHEST_PER_S, OBJECTIVE, SERVICE_S
from benchmarks.needs import Figures, output_file, positive, require, run, why_no_packages
from benchmarks.queueing import LONGEST_START_S, OPEN_LOAD, end, running_server
from benchmarks.queueing_cases import CONSTANT
from infra.environment import for_load
from infra.errors import DeploymentError

LOWEST_PER_S = 5
SETTLE_S = 1.0
WITHIN = 0.05
IDLE_RATE_PER_S = 10.0
"""At this rate and below, the median request of the first steps finds the server idle."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capacity_real", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--searches", type=positive, default=5, help="at the same time (5)")
    parser.add_argument("--budget", type=positive, default=420, help="seconds of load in each (420)")
    parser.add_argument("--json", type=output_file, help="write all figures there")
    arguments = parser.parse_args()
    require(why_no_packages("numpy", "pandas", "scipy", "locust", "httptools"))
    figures = Figures(arguments.json, objective=str(OBJECTIVE), budget_s=arguments.budget)
    with tempfile.TemporaryDirectory() as name:
        search_all(arguments.searches, arguments.budget, Path(name))
        rows = [figures_of(Path(name), f"search-{number}") for number in range(1, arguments.searches + 1)]
    figures.keep(searches=rows)
    print(f"{'search':<8} {'exact':>8} {'found':>8} {'95% interval':>16} {'off':>7} {'steps':>6} {'load':>6}")
    for number, row in enumerate(rows, 1):
        print(
            f"{number:<8} {row['exact_per_s']:>6.1f}/s {row['found_per_s']:>6.1f}/s "
            f"{row['low_per_s']:>7.1f} to {row['high_per_s']:.1f} {row['off']:>+7.1%} {row['steps']:>6} "
            f"{row['load_s']:>4.0f} s"
        )
    return int(not all(abs(row["off"]) <= WITHIN for row in rows))


def search_all(searches: int, budget_s: int, folder: Path) -> None:
    """Carry out all searches at the same time. Their files are in ``folder``, with names that begin with ``search-N``.

    Raises:
        DeploymentError: a server or Locust failed.
    """
    environment = for_load(folder)
    with ExitStack() as running:
        processes = {}
        for number in range(1, searches + 1):
            name = f"search-{number}"
            port = running.enter_context(running_server(CONSTANT, number))
            file = folder / f"{name}.json"
            file.write_text(json.dumps(blocks_of(name, port, budget_s, folder)))
            command = [sys.executable, "-m", "locust", "-f", str(OPEN_LOAD), "--headless", "--only-summary"]
            command += ["--blocks", str(file), "--csv", str(folder / f"{name}-all"), "--seed", str(number)]
            command += ["--arrivals", "poisson"]
            log = running.enter_context((folder / f"{name}.log").open("w+", encoding="utf-8"))
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
            running.callback(end, process)
            processes[name] = process
        for name, process in processes.items():
            try:
                code = process.wait(2 * budget_s + LONGEST_START_S)
            except subprocess.TimeoutExpired as error:
                raise DeploymentError(f"Locust of {name} did not end") from error
            if code != 0:
                said = (folder / f"{name}.log").read_text(encoding="utf-8")[-1500:]
                raise DeploymentError(f"Locust of {name} ended with exit code {code}: {said}")


def blocks_of(name: str, port: int, budget_s: int, folder: Path) -> Mapping[str, Any]:
    """What Locust is told of one search, as ``--blocks`` takes it."""
    target = {"deployment": name, "host": f"http://127.0.0.1:{port}", "replicas": "none", "csv": str(folder / name)}
    return {
        "group": 1,
        "block_s": 1.0,
        "settle_s": SETTLE_S,
        "warm_up_blocks": 1,
        "blocks": 1,
        "most_repeats": 0,
        "order_seed": 1,
        "capacity": {
            "objective": str(OBJECTIVE),
            "lowest_per_s": LOWEST_PER_S,
            "highest_per_s": HIGHEST_PER_S,
            "budget_s": budget_s,
            "tolerance": 0.001,  # it uses all of its budget
        },
        "targets": [target],
    }


def figures_of(folder: Path, prefix: str) -> dict[str, Any]:
    """What one search found, beside theory.

    Raises:
        DeploymentError: it left no record, or found no capacity.
    """
    from scipy import optimize

    from analysis.measure.capacity import capacity
    from analysis.measure.searches import steps_of
    from analysis.read.runs import read_run
    from benchmarks.queueing_theory import md1_wait_quantile

    recorded = read_run(folder, prefix)
    if recorded is None:
        raise DeploymentError(f"{prefix} left no record")
    steps = steps_of(recorded, OBJECTIVE)
    found = capacity(OBJECTIVE, [[step.told for step in steps if step.counts.is_kept]])
    if not found.is_measured:
        raise DeploymentError(f"{prefix} found no capacity: {found.missing}")
    slow_blocks = [step.block for step in steps if step.rate_per_s <= IDLE_RATE_PER_S]
    idle = recorded.measured_requests[recorded.measured_requests["block"].isin(slow_blocks)]
    beside_s = float(idle["response_time_ms"].median()) / 1000 - SERVICE_S
    (condition,) = OBJECTIVE.conditions
    longest_wait = ((condition.limit_ms or 0) / 1000 - beside_s) / SERVICE_S - 1
    load = optimize.brentq(lambda load: md1_wait_quantile(1 - condition.most_share, load) - longest_wait, 0.01, 0.99)
    exact_per_s = float(load) / SERVICE_S
    return {
        "exact_per_s": exact_per_s,
        "beside_the_queue_ms": beside_s * 1000,
        "found_per_s": found.value,
        "low_per_s": found.low,
        "high_per_s": found.high,
        "off": found.value / exact_per_s - 1,
        "steps": len(steps),
        "not_kept": sum(not step.counts.is_kept for step in steps),
        "load_s": sum(step.told.seconds for step in steps),
    }


if __name__ == "__main__":
    sys.exit(run(main))
