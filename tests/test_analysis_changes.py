"""Planned changes: what a change does to a load, when it is over, what makes such a load invalid, and how it is shown.

Each answer is known beforehand: the rows are made by hand.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from recorded_runs import (
    START,
    a_round,
    measured,
    open_record,
    request,
    sample,
    write_blank,
    write_experiment,
    write_run,
)

from analysis.analyse import Analysis, analyse
from analysis.measure.recovery import Recovery, recoveries
from analysis.read.results import read_results

WARM_UP_S = 2.0
RATE = 50
SECONDS = 40.0
BEGAN_S = 20.0
"""When the first change begins, in s since the measured part began."""
REFUSED = "ConnectionRefusedError(111, 'Connection refused')"


def due(*, seconds: float = SECONDS, rate: int = RATE) -> list[float]:
    """When requests are due, in s since the run began: at even distances."""
    return [(place + 0.5) / rate for place in range(round((WARM_UP_S + seconds) * rate))]


def row(at_s: float, ms: float = 8.0, **values: Any) -> dict[str, Any]:
    """A request that is due ``at_s`` after the run began."""
    own = {"send_delay_ms": 0.1, "retried": 0, "client_wait_ms": 0.1, "inference_ms": 2.0}
    return request(at_s, ms, **(own | values))


def lost(at_s: float, ms: float = 0.5, error: str = REFUSED) -> dict[str, Any]:
    return row(at_s, ms, status=0, error=error, replica="")


def after(at_s: float) -> float:
    """How long after the first change something is that is ``at_s`` after the run began."""
    return at_s - WARM_UP_S - BEGAN_S


def change(number: int, action: str, at_s: float, **values: Any) -> dict[str, Any]:
    """A change that began ``at_s`` after the measured part began, and took 0.3 s."""
    began = START + WARM_UP_S + at_s
    told = {"began_at_unix_s": began, "due_at_unix_s": began, "ended_at_unix_s": began + 0.3}
    return told | {"number": number, "action": action, "replica": "", "detail": "", "error": ""} | values


def event(kind: str, name: str, id_: str, at_s: float) -> dict[str, Any]:
    """An event ``at_s`` after the measured part began."""
    return {"at_unix_s": START + WARM_UP_S + at_s, "event": kind, "replica": name, "replica_id": id_, "detail": ""}


def samples_of(lives: Iterable[tuple[str, str, float, float]]) -> list[dict[str, Any]]:
    """Two samples a second of each replica: name, ID, from and to, in s since the run began."""
    return [
        sample(half / 2, 5 + half / 10, replica=name, replica_id=id_)
        for name, id_, from_s, to_s in lives
        for half in range(int(from_s * 2), int(to_s * 2) + 1)
    ]


@dataclass(frozen=True)
class Load:
    """The rows of one load."""

    requests: Sequence[Mapping[str, Any]]
    changes: Sequence[Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]] = ()
    samples: Sequence[Mapping[str, Any]] = ()
    told: Mapping[str, Any] | None = None


def experiment(
    folder: Path, loads: Mapping[str, Sequence[Load]], planned: Sequence[Mapping[str, Any]], seconds: float = SECONDS
) -> Path:
    """An experiment in turns at a rate, with these loads of each deployment, one a round."""
    rounds = max(map(len, loads.values()))
    plan = {"rounds": rounds, "users": 8, "seconds": seconds, "warm_up_s": WARM_UP_S, "user_class": "keep_alive"}
    plan |= {"rate": float(RATE), "layout": "turns", "deployments": [*loads], "arrivals": "constant"}
    deployments = [
        measured(name) | {"rounds": [a_round(name, number + 1) for number in range(len(own))]}
        for name, own in loads.items()
    ]
    write_experiment(folder, deployments, plan=plan | {"changes": [*planned]}, blank=write_blank(folder))
    place = 0
    for number in range(rounds):
        for name, own in loads.items():
            at_s = 100.0 + place * (seconds + 20)
            place += 1
            load = own[number]
            length = {"run_time_s": WARM_UP_S + seconds, "started_at_unix_s": START + at_s}
            length |= {"ended_at_unix_s": START + at_s + WARM_UP_S + seconds, "at_s": at_s}
            write_run(
                folder / name,
                "load",
                load.requests,
                load.samples,
                load.events,
                number=number + 1,
                changes=load.changes,
                user_class="OpenUser",
                users=1,
                open=open_record(rate_per_s=float(RATE)) | (load.told or {}),
                **length,
            )
    return folder


KILL = {"at_s": BEGAN_S, "action": "kill", "replica": 1}


def one(folder: Path, load: Load, planned: Sequence[Mapping[str, Any]] = (KILL,), name: str = "docker") -> Analysis:
    return analyse(read_results(experiment(folder, {name: [load]}, planned)))


def recovery(folder: Path, load: Load, planned: Sequence[Mapping[str, Any]] = (KILL,)) -> Recovery:
    run = read_results(experiment(folder, {"docker": [load]}, planned)).deployments[0].loads[1]
    return recoveries(run)[0]


def killed(gap_s: float = 3.0, noise: random.Random | None = None) -> Load:
    """A container that is killed, and answers again after a gap: new requests fail at once meanwhile. One was in
    flight: due 5 ms before the kill, it failed 5 ms after it."""
    rows = []
    for at in due():
        ms = 8.0 + (noise.random() if noise else 0.0)
        rows.append(lost(at) if 0 <= after(at) < gap_s else row(at, ms, replica="c"))
    rows.append(lost(WARM_UP_S + BEGAN_S - 0.005, 10.0, "RemoteDisconnected()"))
    events = [event("found", "c", "1", -1), event("ended", "c", "1", BEGAN_S + 0.1)]
    events += [event("restarted", "c", "1", BEGAN_S + gap_s - 0.5)]
    samples = samples_of([("c", "1", 0, WARM_UP_S + SECONDS)])
    return Load(rows, [change(1, "kill", BEGAN_S, replica="c")], events, samples)


def down() -> Load:
    """A container that is killed and that nobody restarts."""
    rows = [lost(at) if after(at) >= 0 else row(at, replica="c") for at in due()]
    events = [event("found", "c", "1", -1), event("ended", "c", "1", BEGAN_S + 0.1)]
    return Load(
        rows,
        [change(1, "kill", BEGAN_S, replica="c")],
        events,
        samples_of([("c", "1", 0, WARM_UP_S + BEGAN_S)]),
    )


def paused(pause_s: float = 4.0) -> Load:
    """A container that is paused: requests wait, and are answered 10 ms after it goes on."""
    waits = [(at, max(0.0, pause_s - after(at)) if after(at) >= 0 else 0.0) for at in due()]
    rows = [row(at, 8 + wait * 1000, replica="c") for at, wait in waits]
    changes = [change(1, "pause", BEGAN_S, replica="c"), change(1, "resume", BEGAN_S + pause_s, replica="c")]
    samples = samples_of([("c", "1", 0, WARM_UP_S + SECONDS)])
    return Load(rows, changes, [event("found", "c", "1", -1)], samples)


def scaled(shares: Sequence[float] = (4.0, 6.0), fair_from_s: float = 8.0) -> Load:
    """One replica becomes three: the new ones answer their first request so long after the change, and from
    ``fair_from_s`` on each request goes to the next replica."""
    rows = []
    firsts = {first: f"s.{place + 2}" for place, first in enumerate(shares)}
    for place, at in enumerate(due()):
        name = "s.1"
        if after(at) >= fair_from_s:
            name = f"s.{place % 3 + 1}"
        for first in [first for first in firsts if after(at) >= first]:
            name = firsts.pop(first)
        rows.append(row(at, replica=name))
    events = [event("found", "s.1", "a", -1), event("started", "s.2", "b", BEGAN_S + 1)]
    events += [event("started", "s.3", "c", BEGAN_S + 1)]
    ends = WARM_UP_S + SECONDS
    lives = [("s.1", "a", 0.0, ends), ("s.2", "b", 23.0, ends), ("s.3", "c", 23.0, ends)]
    return Load(rows, [change(1, "scale", BEGAN_S)], events, samples_of(lives))


SCALE = {"at_s": BEGAN_S, "action": "scale", "replicas": 3}
PAUSE = {"at_s": BEGAN_S, "action": "pause", "replica": 1, "seconds": 4}


def test_kill_with_a_gap(tmp_path: Path) -> None:
    found = recovery(tmp_path, killed())
    # 150 requests are due in the 3 s of the gap; one was in flight. 1,000 are due after the change.
    assert (found.lost, found.requests) == (151, 1001)
    assert found.errors == {REFUSED: 150, "RemoteDisconnected()": 1}
    # The first request after the gap is due 3.01 s after the kill: requests are due at 0.01, 0.03, ...
    assert found.times["errors_end_s"].value == pytest.approx(3.01)
    # It is answered 10 ms later, and the last answer before came at 19.995 + ... before the change.
    assert found.times["silent_s"].value == pytest.approx(3.02, abs=0.02)
    assert found.times["latency_back_s"].value == 3.0
    assert found.times["extra_s"].value == 0.0
    assert found.slowed == 0
    assert found.times["first_answer_s"].value == pytest.approx(3.02)
    assert found.times["fair_share_s"].value == 4.0
    assert not found.is_down
