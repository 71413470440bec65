"""The capacity on the page: searches of simulated queues of known capacity, and what is said if none was found."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _capacity_search import Next, next_step
from _capacity_search import Search as Planned
from recorded_runs import (
    SETTLE_S,
    START,
    Target,
    a_round,
    change_rows,
    measured,
    open_record,
    request,
    samples_of,
    write_blank,
    write_experiment,
    write_passes,
    write_run,
)
from scipy import optimize

from analysis import compare
from analysis.__main__ import cases_of
from analysis.analyse import Analysis, analyse
from analysis.judge.verdicts import CARRIES_LESS, NONE
from analysis.judge.words import figures_csv
from analysis.measure.capacity import capacity_ratio
from analysis.measure.quantity import CAPACITY
from analysis.read.results import read_results
from analysis.show.cards import cards
from analysis.show.hand_in_report import render_report
from analysis.show.junit import render_junit
from analysis.show.markdown import render_markdown
from analysis.show.page import page, render
from benchmarks.queueing_theory import md1_wait_quantile, waits
from runfiles.events import ALL_BLOCKS, MEASURED, SETTLING, WARM_UP
from runfiles.objective import Step, read_objective

SLO = "p95 < 50 ms, failures < 0.1%"
OBJECTIVE = read_objective(SLO)
BUDGET_S = 60.0


@dataclass(frozen=True)
class Queue:
    """A deployment that answers one request after the other, each in ``service_s`` (M/D/1)."""

    name: str
    service_s: float

    @property
    def capacity_per_s(self) -> float:
        """The rate at which 5% of the requests take 50 ms or longer."""
        longest_wait = 0.05 / self.service_s - 1
        load = optimize.brentq(lambda load: md1_wait_quantile(0.95, load) - longest_wait, 0.01, 0.99)
        return float(load) / self.service_s


def a_step(
    queue: Queue, rate_per_s: float, seconds: float, number: int, at_s: float, chance: np.random.Generator
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block at a rate, which begins at ``at_s``, and its requests."""
    begins, ends = at_s + SETTLE_S, at_s + SETTLE_S + seconds
    due = np.sort(chance.uniform(at_s, ends, chance.poisson(rate_per_s * (ends - at_s))))
    services_s = np.full(len(due), queue.service_s)
    times_ms = (waits(due, services_s) + services_s) * 1000
    rows = [
        request(
            float(at), float(time_ms), replica=queue.name, phase=MEASURED if at >= begins else SETTLING, block=number
        )
        | {"retried": 0, "send_delay_ms": 0.1, "client_wait_ms": 0.2}
        for at, time_ms in zip(due, times_ms, strict=True)
    ]
    edges = {"began_at_unix_s": at_s, "measured_from_unix_s": begins, "measured_to_unix_s": ends}
    edges |= {"ended_at_unix_s": max(ends, float((due + times_ms / 1000).max(initial=ends)))}
    block: dict[str, Any] = {name: START + at for name, at in edges.items()}
    block |= {"block": number, "cycle": number, "phase": MEASURED, "others_cpu_percent": 5.0, "rate_per_s": rate_per_s}
    return block | {"dropped": 0, "over_bound": 0, "unanswered": 0}, rows


def write_searches(
    folder: Path, queues: Sequence[Queue], number: int, at_s: float, highest_per_s: float, seed: int
) -> None:
    """The files of one round: a search of each deployment, step by step in turns."""
    chance = np.random.default_rng(seed + number)
    planned = Planned(OBJECTIVE, 20.0, highest_per_s, BUDGET_S, 0.03)
    blocks: dict[str, list[dict[str, Any]]] = {queue.name: [] for queue in queues}
    requests: dict[str, list[dict[str, Any]]] = {queue.name: [] for queue in queues}
    steps: dict[str, list[Step]] = {queue.name: [] for queue in queues}
    left, now_s, count = [*queues], 0.0, 0
    while left:
        for queue in [*left]:
            is_first = not blocks[queue.name]
            following = Next(20.0, 1.0) if is_first else next_step(planned, steps[queue.name])
            if not isinstance(following, Next):
                left.remove(queue)
                continue
            count += 1
            block, rows = a_step(queue, following.rate_per_s, following.seconds, count, now_s, chance)
            now_s = block["ended_at_unix_s"] - START
            if is_first:
                block["phase"] = WARM_UP
                rows = [row | {"phase": WARM_UP if row["phase"] == MEASURED else SETTLING} for row in rows]
            else:
                times = [row["response_time_ms"] for row in rows if row["phase"] == MEASURED]
                told = Step(following.rate_per_s, following.seconds, len(times), OBJECTIVE.missed(times, 0))
                steps[queue.name].append(told)
            blocks[queue.name].append(block)
            requests[queue.name] += rows
    for queue in queues:
        told_blocks = {"deployment": queue.name, "deployments": [each.name for each in queues], "group": 1}
        told_blocks |= {"block_s": 1.0, "settle_s": SETTLE_S, "planned": 8, "repeated": 0, "disturbed": 0}
        values: dict[str, Any] = {"open": open_record(arrivals="poisson"), "user_class": "OpenUser", "users": 1}
        values |= {"ended_by": ALL_BLOCKS, "run_time_s": None, "retries": 0, "warm_up_s": 1.0}
        values |= {"started_at_unix_s": START + at_s, "ended_at_unix_s": START + at_s + now_s}
        values |= {"blocks": blocks[queue.name], "record_blocks": told_blocks}
        samples = samples_of(Target(queue.name, samples_apart_s=1.0), blocks[queue.name], now_s)
        write_run(folder / queue.name, "load", requests[queue.name], samples, number=number, at_s=at_s, **values)


def experiment(
    folder: Path, queues: Sequence[Queue], rounds: int = 3, highest_per_s: float = 500.0, seed: int = 0
) -> Path:
    """An experiment whose load is a search for the capacity of these deployments."""
    names = [queue.name for queue in queues]
    deployments = []
    for name in names:
        each = [a_round(name, number, group=1, runs=["single_pass", "load"]) for number in range(1, rounds + 1)]
        deployments.append(measured(name) | {"rounds": each})
    capacity = {"slo": SLO, "tolerance": 3.0, "lowest": 20.0, "highest": highest_per_s}
    plan = {"rounds": rounds, "users": 8, "seconds": 8, "warm_up_s": 1, "user_class": "keep_alive", "block_s": 1.0}
    plan |= {"layout": "blocks", "deployments": names, "arrivals": "poisson", "capacity": capacity}
    write_experiment(folder, deployments, plan=plan, groups=[names], blank=write_blank(folder))
    for number in range(1, rounds + 1):
        for place, queue in enumerate(queues):
            write_passes(folder, Target(queue.name), number, at_s=1000.0 * number + 10 * place)
        write_searches(folder, queues, number, 1000.0 * number + 100, highest_per_s, seed)
    return folder


def analysed(folder: Path) -> Analysis:
    return analyse(read_results(folder))


HOST, DOCKER = Queue("host", 0.008), Queue("docker", 0.010)
