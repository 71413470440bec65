"""Writes an experiment's folder as infra and locustfiles do, with figures that are known beforehand."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runfiles.columns import (
    BLOCK_COLUMNS,
    CHANGES_COLUMNS,
    MACHINE_STATS_COLUMNS,
    REPLICA_EVENTS_COLUMNS,
    REPLICA_STATS_COLUMNS,
    REQUEST_COLUMNS,
    Column,
    column_names,
)
from runfiles.events import ALL_BLOCKS, ALL_TEXTS, DISTURBED, MEASURED, RUN_TIME, SETTLING, WAITING, WARM_UP
from runfiles.files import (
    BLANK_FOLDER,
    BLOCKS_SUFFIX,
    CHANGES_SUFFIX,
    EXPERIMENT_FILE,
    FORM,
    MACHINE_STATS_SUFFIX,
    REPLICA_EVENTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REQUESTS_SUFFIX,
    RUN_RECORD_SUFFIX,
    SINGLE_PASS,
    load_prefix,
)

START = 1_700_000_000.0
NASTY = "</script><script>document.title='broken'</script>"
MODEL = {"name": "some/model", "source": "hub", "sha256": "a" * 64}


def write_experiment(folder: Path, deployments: Sequence[Mapping[str, Any]], **values: Any) -> Path:
    """``experiment.json`` with these deployments; the rest is always the same, but for ``values``."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "form": FORM,
        "started_at": "2023-11-14T22:13:20+00:00",
        "ended_at": "2023-11-14T22:16:20+00:00",
        "command": "python -m infra run",
        "resumed_at": [],
        "plan": {
            "deployments": [deployment["name"] for deployment in deployments],
            "rounds": max([1, *(len(deployment["rounds"]) for deployment in deployments)]),
            "users": 4,
            "seconds": 10,
            "requests": None,
            "warm_up_s": 2,
            "rest_s": 1,
            "user_class": "keep_alive",
            "seed": 1,
            "cpus": None,
            "memory_mb": 2048,
        },
        "machine": {"system": "Linux", "kernel": "6.1", "cpu_model": "A CPU", "cpu_count": 2, "memory_bytes": 8 << 30},
        "engine": {"endpoint": "unix:///var/run/docker.sock", "version": "26.1", "kernel": "6.1"},
        "git": {"commit": "abc", "dirty": False},
        "versions": {},
        "order": [],
        "deployments": list(deployments),
    }
    (folder / EXPERIMENT_FILE).write_text(json.dumps(content | values))
    return folder


def measured(name: str, rounds: int = 1, **values: Any) -> dict[str, Any]:
    """A deployment that was measured in so many rounds, as a row of ``experiment.json``."""
    each = [a_round(name, number + 1) for number in range(rounds)]
    return {"name": name, "status": "measured", "reason": None, "image": None, "rounds": each} | values


def a_round(name: str, number: int = 1, **values: Any) -> dict[str, Any]:
    """A round that was measured."""
    row: dict[str, Any] = {"number": number, "status": "measured", "reason": None, "folder": f"{name}/round-{number}"}
    row |= {"started_at": "2023-11-14T22:13:20+00:00", "seconds_to_healthy": 4.0, "runs": ["load"]}
    return row | {"metrics_files": [], "limits": {"cpus": None, "memory_bytes": None}} | values


def not_run(name: str, reason: str) -> dict[str, Any]:
    return measured(name, rounds=0, status="not run", reason=reason)


def write_run(
    folder: Path,
    prefix: str,
    requests: Iterable[Mapping[str, Any]],
    samples: Iterable[Mapping[str, Any]] = (),
    events: Iterable[Mapping[str, Any]] = (),
    machine_samples: Iterable[Mapping[str, Any]] = (),
    number: int = 1,
    after_s: float = 0,
    at_s: float | None = None,
    blocks: Iterable[Mapping[str, Any]] | None = None,
    changes: Iterable[Mapping[str, Any]] | None = None,
    **record: Any,
) -> None:
    """The files of one run of 2 s of warm-up and 10 s measured, by 4 users, in a round of the deployment's folder.

    Rows and events tell of a run that begins at ``START``. They are moved to a time of the run's own, after the other
    runs of the experiment and ``after_s``; the record's times are not, where ``record`` names them. ``at_s``: it begins
    so long after ``START``, whatever else is there.
    """
    later_s = at_s
    if later_s is None:
        later_s = later(folder.parent, folder / f"round-{number}" / f"{prefix}{RUN_RECORD_SUFFIX}", after_s)
    folder = folder / f"round-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    requests = list(requests)
    content: dict[str, Any] = {
        "form": FORM,
        "requests": len(requests),
        "user_class": "KeepAliveUser",
        "host": "http://127.0.0.1:5000",
        "users": 4,
        "run_time_s": 12,
        "warm_up_s": 2,
        "started_at_unix_s": START + later_s,
        "ended_at_unix_s": START + later_s + 12,
        "ended_by": ALL_TEXTS if prefix == SINGLE_PASS else RUN_TIME,
        "service": {"model": MODEL, "replica": "host", "versions": {"torch": "2"}},
        "texts": {"file": "reviews.csv", "sha256": "b" * 64, "count": 160},
        "replicas": {
            "asked": "auto",
            "found": "process:1",
            "sampling": "psutil",
            "interval_s": 0.25,
            "list": [],
            "problems": [],
        },
        "generator": {"cpu_percent": 20.0, "cpu_warnings": 0},
        "versions": {"locust": "2.47.0"},
    }
    content |= {"blocks": record.pop("record_blocks", None)}
    (folder / f"{prefix}{RUN_RECORD_SUFFIX}").write_text(json.dumps(content | record))
    for suffix, columns, rows in (
        (REQUESTS_SUFFIX, REQUEST_COLUMNS, requests),
        (REPLICA_STATS_SUFFIX, REPLICA_STATS_COLUMNS, samples),
        (REPLICA_EVENTS_SUFFIX, REPLICA_EVENTS_COLUMNS, events),
        (MACHINE_STATS_SUFFIX, MACHINE_STATS_COLUMNS, machine_samples),
    ):
        _write(folder / f"{prefix}{suffix}", columns, [_moved(row, later_s) for row in rows])
    if changes is not None:
        _write(folder / f"{prefix}{CHANGES_SUFFIX}", CHANGES_COLUMNS, [_moved(row, later_s) for row in changes])
    if blocks is not None:
        _write(folder / f"{prefix}{BLOCKS_SUFFIX}", BLOCK_COLUMNS, [_moved(row, later_s) for row in blocks])


def later(experiment: Path, own: Path, after_s: float) -> float:
    """By how many seconds a run begins after ``START``: after all others that are there."""
    if own.exists():
        return float(json.loads(own.read_text())["started_at_unix_s"]) - START
    return after_s + 20.0 * len(list(experiment.rglob(f"*{RUN_RECORD_SUFFIX}")))


def _moved(row: Mapping[str, Any], later_s: float) -> dict[str, Any]:
    return {name: value + later_s if name.endswith("_unix_s") else value for name, value in row.items()}


def request(at_s: float, response_time_ms: float = 10.0, **values: Any) -> dict[str, Any]:
    """A request sent ``at_s`` seconds into the run; the first 2 s are warm-up."""
    row: dict[str, Any] = {
        "started_at_unix_s": START + at_s,
        "response_time_ms": response_time_ms,
        "status": 200,
        "error": "",
        "request_bytes": 100,
        "response_bytes": 200,
        "text_id": 1,
        "replica": "host",
        "queue_ms": 1.0,
        "inference_ms": 5.0,
        "connection_reused": 1,
        "phase": WARM_UP if at_s < 2 else MEASURED,
    }
    return row | values


def warmed(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Requests of the measured phase, and two of the warm-up before them."""
    return [request(0.5), request(1.5), *rows]


def texts_once(count: int = 160) -> list[dict[str, Any]]:
    """The requests of a single pass: each text once, without a warm-up."""
    return [request(number / 20, text_id=number + 1, phase=MEASURED) for number in range(count)]


def sample(at_s: float, cpu_seconds: float, **values: Any) -> dict[str, Any]:
    """A sample taken ``at_s`` seconds into the run."""
    row: dict[str, Any] = {
        "sampled_at_unix_s": START + at_s,
        "read_at_unix_s": START + at_s,
        "replica": "host",
        "replica_id": "1",
        "node": "n1",
        "cpu_seconds": cpu_seconds,
        "memory_bytes": 100e6,
        "phase": WARM_UP if at_s < 2 else MEASURED,
    }
    return row | values


def steady_requests(per_second: int, seconds: int = 12, **values: Any) -> list[dict[str, Any]]:
    """So many requests in each second, each of 10 ms."""
    return [
        request(second + number / per_second, **values) for second in range(seconds) for number in range(per_second)
    ]


def steady_samples(cpu_per_second: float, rx_per_second: float | None = None, **values: Any) -> list[dict[str, Any]]:
    """Two samples a second of a replica that uses so much in each."""
    rows = []
    for half in range(25):
        at = half / 2
        network = (
            {}
            if rx_per_second is None
            else {"net_rx_bytes": at * rx_per_second, "net_tx_bytes": at * 2 * rx_per_second}
        )
        rows.append(sample(at, 5 + at * cpu_per_second, **network, **values))
    return rows


def _write(path: Path, columns: tuple[Column, ...], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, column_names(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def change_rows(path: Path, change: Callable[[dict[str, str]], dict[str, str] | None]) -> None:
    """Change each row of a CSV file, or leave it out (None)."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [changed for row in reader if (changed := change(row)) is not None]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, reader.fieldnames or [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def whole_experiment(folder: Path, rounds: int = 1) -> Path:
    """Host and three replicas measured, one of them with a nasty name; the rest not run. It is valid."""
    no_engine = "no Docker engine at unix:///var/run/docker.sock, start one and run again"
    deployments = [measured("host", rounds), not_run("docker", no_engine), not_run("compose", no_engine)]
    deployments += [not_run("swarm-1", "no <IPVS> here"), measured("swarm-3", rounds)]
    write_experiment(folder, deployments)
    names = ["llm-inference-service.1", "llm-inference-service.2", NASTY]
    found = [{"at_unix_s": START, "event": "found", "replica": name, "detail": NASTY} for name in names]
    for number in range(1, rounds + 1):
        host, swarm = folder / "host", folder / "swarm-3"
        wave = [request(i / 100, 10 + number / 10 + i % 7) for i in range(1200)]
        once: dict[str, Any] = {"warm_up_s": 0, "users": 1, "run_time_s": None}
        measured_samples = [row | {"phase": MEASURED} for row in steady_samples(0.5)]
        write_run(host, "single_pass", texts_once(), measured_samples, number=number, **once)
        write_run(host, "load", wave, steady_samples(0.5), number=number)
        slow = [request(i / 100, 13 + number / 9 + i % 7, replica=names[i % 3]) for i in range(1200)]
        samples = [
            row
            for place, name in enumerate(names)
            for row in steady_samples(0.2, 1000 * (place + 1), replica=name, replica_id=str(place))
        ]
        write_run(swarm, "load", slow, samples, found, number=number)
    return folder


BLOCK_S, SETTLE_S, TAIL_S = 1.0, 0.2, 0.05
"""Of a block that ``write_group`` writes: its measured part, what comes before it, and what comes after it."""


@dataclass(frozen=True)
class Target:
    """A deployment of a load in blocks. Per second it answers so many requests, each in so many ms (by the cycle), and
    uses so much CPU in the measured part of a block, in the rest of it, and while it waits."""

    name: str
    per_second: int = 100
    response_ms: Callable[[int], float] = lambda _: 8.0
    busy: float = 0.5
    settling: float = 0.9
    idle: float = 0.01
    samples_apart_s: float = 0.25


def blocks_of(
    names: Sequence[str], cycles: int, warm_up: int, disturbed: Iterable[tuple[str, int]] = ()
) -> dict[str, list[dict[str, Any]]]:
    """The blocks of each deployment. Each cycle begins with another one; a disturbed block is repeated at once."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    at, number = START, 0
    for cycle in range(1, warm_up + cycles + 1):
        for place in range(len(names)):
            name = names[(cycle + place) % len(names)]
            phase = WARM_UP if cycle <= warm_up else MEASURED
            for own in (DISTURBED, phase) if (name, cycle - warm_up) in disturbed else (phase,):
                number += 1
                begins = at + SETTLE_S
                ends = begins + BLOCK_S + TAIL_S
                row = {"began_at_unix_s": at, "block": number, "cycle": cycle, "ended_at_unix_s": ends, "phase": own}
                row |= {"measured_from_unix_s": begins, "measured_to_unix_s": begins + BLOCK_S}
                found[name].append(row | {"others_cpu_percent": 70.0 if own == DISTURBED else 5.0})
                at = ends
    return found


def requests_of(target: Target, blocks: Sequence[Mapping[str, Any]], warm_up: int) -> list[dict[str, Any]]:
    """Requests at even distances in the whole of each block, also while it settles."""
    rows = []
    for block in blocks:
        begins, ends = (block[f"measured_{edge}_unix_s"] for edge in ("from", "to"))
        before = int(SETTLE_S * target.per_second)
        for place in range(-before, target.per_second + int(TAIL_S * target.per_second)):
            at = begins + (place + 0.5) / target.per_second
            phase = block["phase"] if begins <= at < ends else SETTLING
            row = request(at - START, target.response_ms(block["cycle"] - warm_up), replica=target.name)
            rows.append(row | {"phase": phase, "block": block["block"], "client_wait_ms": 0.5, "retried": 0})
    return rows


def _state(blocks: Sequence[Mapping[str, Any]], at_unix_s: float) -> str:
    for block in blocks:
        if block["measured_from_unix_s"] <= at_unix_s <= block["measured_to_unix_s"]:
            return str(block["phase"])
        if block["began_at_unix_s"] <= at_unix_s <= block["ended_at_unix_s"]:
            return SETTLING
    return WAITING


def samples_of(target: Target, blocks: Sequence[Mapping[str, Any]], ended_s: float) -> list[dict[str, Any]]:
    """Samples at even distances, and at both edges of each measured part. CPU grows at the rate of its state; a second
    of the measured part receives 1,000 bytes and sends 2,000, any other 50 and 100. Memory is 100 MB of 400 MB, and
    200 MB while it waits."""
    edges = [block[name] for block in blocks for name in block if name.endswith("_unix_s")]
    turns = sorted({START, START + ended_s, *edges})
    rates = {WAITING: (target.idle, 50.0), SETTLING: (target.settling, 50.0)}
    cpu, received = [5.0], [0.0]
    for before, after in itertools.pairwise(turns):
        rate, bytes_per_s = rates.get(_state(blocks, (before + after) / 2), (target.busy, 1000.0))
        cpu.append(cpu[-1] + rate * (after - before))
        received.append(received[-1] + bytes_per_s * (after - before))
    each = (START + place * target.samples_apart_s for place in range(int(ended_s / target.samples_apart_s) + 1))
    at_edges = [block[f"measured_{edge}_unix_s"] for block in blocks for edge in ("from", "to")]
    rows = []
    for at in sorted({*each, *at_edges}):
        state = _state(blocks, at)
        values = {name: float(np.interp(at, turns, grown)) for name, grown in (("cpu", cpu), ("rx", received))}
        row = sample(at - START, values["cpu"], replica=target.name, replica_id=target.name, phase=state)
        row |= {"memory_bytes": 200e6 if state == WAITING else 100e6, "memory_limit_bytes": 400e6}
        rows.append(row | {"net_rx_bytes": values["rx"], "net_tx_bytes": 2 * values["rx"]})
    return rows


def write_group(
    folder: Path,
    targets: Sequence[Target],
    number: int = 1,
    cycles: int = 10,
    warm_up: int = 2,
    group: int = 1,
    at_s: float = 0,
    disturbed: Iterable[tuple[str, int]] = (),
    **record: Any,
) -> None:
    """The files of a load in blocks on several deployments, in one round. The first one's prefix is that of a reference
    if this is not the first group."""
    blocks = blocks_of([target.name for target in targets], cycles, warm_up, disturbed)
    ended_s = max(row["ended_at_unix_s"] for rows in blocks.values() for row in rows) - START
    machine = [
        {"sampled_at_unix_s": START + at / 4, "softirq_cpu_seconds": at / 4 * 0.1, "phase": MEASURED}
        for at in range(int(ended_s * 4) + 1)
    ]
    for place, target in enumerate(targets):
        own = blocks[target.name]
        told = {
            "deployment": target.name,
            "deployments": [each.name for each in targets],
            "group": group,
            "block_s": BLOCK_S,
            "settle_s": SETTLE_S,
            "planned": cycles,
            "repeated": sum(row["phase"] == DISTURBED for row in own),
            "disturbed": 0,
        }
        times = {"started_at_unix_s": START + at_s, "ended_at_unix_s": START + at_s + ended_s}
        ends = {"ended_by": ALL_BLOCKS, "run_time_s": None, "warm_up_s": warm_up * BLOCK_S, "retries": 0}
        write_run(
            folder / target.name,
            load_prefix(group, is_first=place > 0 or group == 1),
            requests_of(target, own, warm_up),
            samples_of(target, own, ended_s),
            machine_samples=machine,
            number=number,
            at_s=at_s,
            **({"blocks": own, **times, **ends} | {"record_blocks": told} | record),
        )


def write_passes(
    folder: Path, target: Target, number: int = 1, passes: int = 3, at_s: float = 0, **record: Any
) -> None:
    """The single pass of a deployment, with so many passes of 2 s each over 160 texts, and a second's wait after the
    first."""
    requests: list[dict[str, Any]] = []
    blocks: list[dict[str, Any]] = []
    for place in range(passes):
        begins = START + 2.0 * place + min(place, 1)
        edges = {"began_at_unix_s": begins, "measured_from_unix_s": begins}
        edges |= {"measured_to_unix_s": begins + 2, "ended_at_unix_s": begins + 2}
        blocks.append({**edges, "block": place + 1, "cycle": place + 1, "phase": MEASURED})
        for text in range(160):
            at = begins - START + text / 80 + 0.001
            row = request(at, target.response_ms(place + 1), text_id=text + 1, replica=target.name, phase=MEASURED)
            requests.append(row | {"block": place + 1, "client_wait_ms": 0.1, "retried": 0})
    ended_s = 2.0 * passes + min(passes - 1, 1)
    times = {"started_at_unix_s": START + at_s, "ended_at_unix_s": START + at_s + ended_s}
    once = {"warm_up_s": 0, "users": 1, "run_time_s": None} | times | record
    samples = samples_of(target, blocks, ended_s)
    write_run(folder / target.name, SINGLE_PASS, requests, samples, number=number, at_s=at_s, blocks=blocks, **once)


def write_blank(folder: Path, response_ms: float = 1.0, wait_ms: float = 0.2) -> dict[str, Any]:
    """The files of a blank whose answers all took as long, and what ``experiment.json`` says of it."""
    requests = [request(at / 50, response_ms, client_wait_ms=wait_ms, replica="") for at in range(600)]
    write_run(folder / BLANK_FOLDER, "load", requests, users=1, at_s=50)
    return {"status": "measured", "reason": None, "folder": f"{BLANK_FOLDER}/round-1", "answer_bytes": 400}


def in_blocks(folder: Path, targets: Sequence[Target], rounds: int = 1, **values: Any) -> Path:
    """An experiment of one group whose load came in blocks. It is valid. ``values`` are those of ``write_group``."""
    names = [target.name for target in targets]
    deployments = []
    for name in names:
        each = [a_round(name, number + 1, group=1, runs=[SINGLE_PASS, "load"]) for number in range(rounds)]
        deployments.append(measured(name) | {"rounds": each})
    plan = {"rounds": rounds, "users": 4, "seconds": 10, "warm_up_s": 2, "user_class": "keep_alive", "layout": "blocks"}
    plan |= {"deployments": names, "block_s": BLOCK_S}
    write_experiment(folder, deployments, plan=plan, groups=[names], blank=write_blank(folder))
    for number in range(1, rounds + 1):
        for place, target in enumerate(targets):
            write_passes(folder, target, number, at_s=200.0 * number + 10 * place)
        write_group(folder, targets, number, at_s=200.0 * number + 100, **values)
    return folder


STEP_S = 2.0
"""The measured part of a step that ``staircase_experiment`` writes."""


@dataclass(frozen=True)
class OpenTarget:
    """A deployment that answers one request after the other, at most ``capacity_per_s``, each in ``base_ms`` if none
    waits. ``most_waiting`` requests may be unanswered; further ones are not sent. So many of each 100 requests are sent
    ``late``, by 20 ms which the response time contains."""

    name: str
    capacity_per_s: float
    base_ms: float = 8.0
    most_waiting: int = 10**6
    late: int = 0


def open_record(**values: Any) -> dict[str, Any]:
    """What ``run.json`` says of an open workload that went well."""
    told = {"rate_per_s": None, "arrivals": "constant", "connection": "kept", "most_in_flight": 1000}
    return told | {"late": 0, "dropped": 0, "over_bound": 0, "unanswered": 0} | values


def open_step(
    target: OpenTarget, rate_per_s: float, number: int, cycle: int, phase: str, at_s: float
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block at a rate, which begins at ``at_s``, and its requests. They are due at even distances."""
    begins, ends = at_s + SETTLE_S, at_s + SETTLE_S + STEP_S
    rows: list[dict[str, Any]] = []
    finished: list[float] = []
    over_bound = 0
    for place in range(round((ends - at_s) * rate_per_s)):
        due = at_s + (place + 0.5) / rate_per_s
        own = phase if due >= begins else SETTLING
        if sum(end > due for end in finished[-target.most_waiting :]) >= target.most_waiting:
            over_bound += own == phase
            continue
        delay_ms = 20.0 if place % 100 < target.late else 0.0
        before = finished[-1] if finished else 0.0
        finished.append(max(due + (target.base_ms + delay_ms) / 1000, before + 1 / target.capacity_per_s))
        times = {"response_time_ms": (finished[-1] - due) * 1000, "send_delay_ms": delay_ms, "client_wait_ms": 0.2}
        rows.append(request(due, replica=target.name, phase=own, block=number, retried=0) | times)
    edges = {"began_at_unix_s": at_s, "measured_from_unix_s": begins, "measured_to_unix_s": ends}
    edges |= {"ended_at_unix_s": max([ends, *finished])}
    block: dict[str, Any] = {name: START + at for name, at in edges.items()}
    block |= {"block": number, "cycle": cycle, "phase": phase, "others_cpu_percent": 5.0, "rate_per_s": rate_per_s}
    return block | {"dropped": 0, "over_bound": over_bound, "unanswered": 0}, rows


def write_staircase(
    folder: Path, targets: Sequence[OpenTarget], rates: Sequence[float], number: int = 1, at_s: float = 0, **record: Any
) -> None:
    """The files of a staircase on several deployments, in one round. A deployment that leaves requests unsent, or has
    them wait for long, gets no higher rate."""
    blocks: dict[str, list[dict[str, Any]]] = {target.name: [] for target in targets}
    requests: dict[str, list[dict[str, Any]]] = {target.name: [] for target in targets}
    overloaded: set[str] = set()
    now_s, block_number = 0.0, 0
    for cycle, rate in enumerate([rates[0], *rates], 1):
        if rate == rates[0]:
            overloaded.clear()
        for target in targets:
            if target.name in overloaded:
                continue
            block_number += 1
            phase = WARM_UP if cycle == 1 else MEASURED
            block, rows = open_step(target, rate, block_number, cycle, phase, now_s)
            blocks[target.name].append(block)
            requests[target.name] += rows
            now_s = block["ended_at_unix_s"] - START
            if block["over_bound"] or block["ended_at_unix_s"] - block["measured_to_unix_s"] > STEP_S / 2:
                overloaded.add(target.name)
    for target in targets:
        told = {"deployment": target.name, "deployments": [each.name for each in targets], "group": 1}
        told |= {"block_s": STEP_S, "settle_s": SETTLE_S, "planned": len(rates), "repeated": 0, "disturbed": 0}
        measured_rows = [row for row in requests[target.name] if row["phase"] == MEASURED]
        late = sum(row["send_delay_ms"] > 10 for row in measured_rows)
        own = [block for block in blocks[target.name] if block["phase"] == MEASURED]
        values: dict[str, Any] = {"open": open_record(late=late, over_bound=sum(each["over_bound"] for each in own))}
        values |= {"user_class": "OpenUser", "users": 1, "ended_by": ALL_BLOCKS, "run_time_s": None, "retries": 0}
        values |= {"started_at_unix_s": START + at_s, "ended_at_unix_s": START + at_s + now_s, "warm_up_s": STEP_S}
        samples = samples_of(Target(target.name), blocks[target.name], now_s)
        values |= {"blocks": blocks[target.name], "record_blocks": told} | record
        write_run(folder / target.name, "load", requests[target.name], samples, number=number, at_s=at_s, **values)


def staircase_experiment(
    folder: Path, rounds: Sequence[Sequence[OpenTarget]], rates: Sequence[float], **values: Any
) -> Path:
    """An experiment with several rates, and in each round these deployments. ``values`` are those of
    ``write_staircase``."""
    names = [target.name for target in rounds[0]]
    deployments = []
    for name in names:
        each = [a_round(name, place + 1, group=1, runs=[SINGLE_PASS, "load"]) for place in range(len(rounds))]
        deployments.append(measured(name) | {"rounds": each})
    plan = {"rounds": len(rounds), "users": 8, "seconds": STEP_S, "warm_up_s": STEP_S, "user_class": "keep_alive"}
    plan |= {"layout": "blocks", "deployments": names, "block_s": STEP_S, "rates": [*rates], "arrivals": "constant"}
    write_experiment(folder, deployments, plan=plan, groups=[names], blank=write_blank(folder))
    for number, targets in enumerate(rounds, 1):
        for place, target in enumerate(targets):
            write_passes(folder, Target(target.name), number, at_s=1000.0 * number + 10 * place)
        write_staircase(folder, targets, rates, number, at_s=1000.0 * number + 100, **values)
    return folder
