"""Writes a grid's folder as infra does, with figures that are known beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from recorded_runs import a_round, measured, open_record, request, sample, write_experiment, write_run

from runfiles.files import FORM
from runfiles.grid import GRID_FILE

OFFSET_S = 100.0
"""The runs of a cell begin so long after those of the cell before."""


def cell(replicas: int, cpus: float | None = 0.5, users: float = 8, **values: Any) -> dict[str, Any]:
    """A cell as ``grid.json`` has it, with Compose and Swarm."""
    compose = "compose" if replicas == 1 else f"compose-{replicas}"
    told: dict[str, Any] = {"replicas": replicas, "cpus": cpus, "memory_mb": 512, "users": users, "rate": None}
    told["deployments"] = [compose, f"swarm-{replicas}"]
    told |= values
    load = f"users-{told['users']:g}" if told["rate"] is None else f"rate-{told['rate']:g}"
    return {"folder": f"replicas-{replicas}-cpus-{cpus}-{told['memory_mb']}-{load}"} | told


def write_grid(folder: Path, cells: Sequence[Mapping[str, Any]], rounds: int = 3, **values: Any) -> Path:
    """``grid.json`` with these cells."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "form": FORM,
        "started_at": "2023-11-14T22:13:20+00:00",
        "ended_at": "2023-11-14T23:13:20+00:00",
        "command": "python -m infra run plans/grid.toml",
        "slo": "p95 < 200 ms, failures < 1%",
        "rounds": rounds,
        "cells": [*cells],
        "left_out": [],
    }
    (folder / GRID_FILE).write_text(json.dumps(content | values))
    return folder


def write_cell(
    grid: Path,
    told: Mapping[str, Any],
    per_second: Callable[[str, int], int],
    response_ms: Callable[[str, int], float],
    rounds: int = 3,
    place: int = 0,
    failed: int = 0,
    **record: Any,
) -> Path:
    """The experiment of one cell.

    Args:
        grid: the grid's folder.
        told: the cell, as ``cell`` makes it.
        per_second: how many requests are sent per second, by the deployment and the number of the round.
        response_ms: the median response time; the times spread around it.
        rounds: how many were measured.
        place: the place of the cell in time.
        failed: how many of each 1,000 requests failed.
        record: values of the record of each run.
    """
    folder = grid / str(told["folder"])
    memory = told["memory_mb"] * 2**20
    limits = {"cpus": told["cpus"], "memory_bytes": memory}
    none = {"cpus": None, "memory_bytes": None}
    deployments = []
    for name in told["deployments"]:
        each = [a_round(name, number, limits=none if name == "host" else limits) for number in range(1, rounds + 1)]
        image = None if name == "host" else {"name": "app:1", "id": "sha256:1"}
        deployments.append(measured(name) | {"rounds": each, "image": image})
    plan = {"deployments": told["deployments"], "rounds": rounds, "users": told["users"], "rate": told["rate"]}
    plan |= {"seconds": 10, "warm_up_s": 2, "user_class": "keep_alive", "layout": "turns", "seed": 1}
    plan |= {"cpus": told["cpus"], "memory_mb": told["memory_mb"]}
    plan |= {"arrivals": "constant"} if told["rate"] is not None else {}
    write_experiment(folder, deployments, plan=plan)
    random = np.random.default_rng(place)
    at_s = OFFSET_S * place
    for number in range(1, rounds + 1):
        for name in told["deployments"]:
            count = per_second(name, number)
            times = response_ms(name, number) * np.exp(random.normal(0, 0.1, 12 * count))
            errors = random.permutation(12 * count) < 12 * count * failed / 1000
            rows = [
                request(at / count, round(time, 6), replica=name, error="500" if error else "", send_delay_ms=0.1)
                for at, (time, error) in enumerate(zip(times, errors, strict=True))
                if at / count + time / 1000 < 12
            ]
            samples = [sample(at / 2, 5 + at / 10, replica=name, memory_bytes=100e6) for at in range(25)]
            values: dict[str, Any] = {"users": told["users"]}
            if told["rate"] is not None:
                values = {"user_class": "OpenUser", "users": 1, "open": open_record(rate_per_s=told["rate"])}
            write_run(folder / name, "load", rows, samples, number=number, at_s=at_s, **(values | record))
            at_s += 20
    return folder
