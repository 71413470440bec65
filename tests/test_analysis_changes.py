"""Planned changes: what a change does to a load, when it is over, what makes such a load invalid, and how it is shown.

Each answer is known beforehand: the rows are made by hand.
"""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_runs import (
    NASTY,
    START,
    a_round,
    change_rows,
    measured,
    open_record,
    request,
    sample,
    write_blank,
    write_experiment,
    write_run,
)

from analysis.__main__ import cases_of
from analysis.analyse import Analysis, analyse
from analysis.judge.words import figures_csv
from analysis.measure.effects import drawn_of
from analysis.measure.new_replicas import NO_NEW_REPLICA
from analysis.measure.recovery import FEWEST_IN_SECOND, HOLD_S, HOLD_SHARE, SLOWED, Recovery, recoveries
from analysis.measure.spans import BEFORE_S, NEVER, divided
from analysis.measure.timeline import lives_of, timeline_of
from analysis.precision import precision
from analysis.read.results import read_results
from analysis.read.runs import Run
from analysis.show.changes import TITLE
from analysis.show.hand_in_report import render_report
from analysis.show.markdown import render_markdown
from analysis.show.page import page, render
from runfiles.files import CHANGES_SUFFIX

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
    own: dict[str, Any] = {"send_delay_ms": 0.1, "retried": 0, "client_wait_ms": 0.1, "inference_ms": 2.0}
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
    changes: Sequence[Mapping[str, Any]] | None
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
            length: dict[str, Any] = {"run_time_s": WARM_UP_S + seconds, "started_at_unix_s": START + at_s}
            length |= {"ended_at_unix_s": START + at_s + WARM_UP_S + seconds, "at_s": at_s}
            told = open_record(rate_per_s=float(RATE)) | dict(load.told or {})
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
                open=told,
                **length,
            )
    return folder


KILL = {"at_s": BEGAN_S, "action": "kill", "replica": 1}


def one(folder: Path, load: Load, planned: Sequence[Mapping[str, Any]] = (KILL,), name: str = "docker") -> Analysis:
    return analyse(read_results(experiment(folder, {name: [load]}, planned)))


def recovery(folder: Path, load: Load, planned: Sequence[Mapping[str, Any]] = (KILL,)) -> Recovery:
    run = read_results(experiment(folder, {"docker": [load]}, planned)).deployments[0].loads[1]
    return recoveries(run)[0]


def killed(gap_s: float = 3.0) -> Load:
    """A container that is killed, and answers again after a gap: new requests fail at once meanwhile. One was in
    flight: due 5 ms before the kill, it failed 5 ms after it."""
    rows = [lost(at) if 0 <= after(at) < gap_s else row(at, replica="c") for at in due()]
    rows.append(lost(WARM_UP_S + BEGAN_S - 0.005, 10.0, "RemoteDisconnected()"))
    events = [event("found", "c", "1", -1), event("ended", "c", "1", BEGAN_S + 0.1)]
    events += [event("restarted", "c", "1", BEGAN_S + gap_s - 0.5)]
    samples = samples_of([("c", "1", 0, WARM_UP_S + SECONDS)])
    return Load(rows, [change(1, "kill", BEGAN_S, replica="c")], events, samples)


def down(ms: float = 8.0) -> Load:
    """A container that is killed and that nobody restarts."""
    rows = [lost(at) if after(at) >= 0 else row(at, ms, replica="c") for at in due()]
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


def swarm_killed(again_s: float = 5.0) -> Load:
    """One of three replicas is killed. It still answers for 0.4 s, and the others take over; another one starts under
    its name, and answers from ``again_s`` on."""
    rows = []
    for place, at in enumerate(due()):
        name = f"s.{place % 3 + 1}"
        if name == "s.1" and 0.4 <= after(at) < again_s:
            name = "s.2"
        rows.append(row(at, replica=name))
    events = [event("found", f"s.{number}", f"old{number}", -1) for number in (1, 2, 3)]
    events += [event("ended", "s.1", "old1", BEGAN_S + 0.5), event("started", "s.1", "new", BEGAN_S + 2)]
    ends = WARM_UP_S + SECONDS
    lives = [("s.1", "old1", 0.0, 22.0), ("s.1", "new", 24.0, ends)]
    lives += [(f"s.{number}", f"old{number}", 0.0, ends) for number in (2, 3)]
    return Load(rows, [change(1, "kill", BEGAN_S, replica="s.1")], events, samples_of(lives))


def reasons(analysis: Analysis) -> dict[str, str]:
    return {doubt.kind: doubt.text for doubt in analysis.validity.invalid}


def said(analysis: Analysis) -> str:
    return " ".join(finding.text for finding in analysis.findings)


@pytest.fixture(scope="module")
def three_rounds(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """The host process stays down; docker run answers again after 2.5, 3 and 3.5 s, but in the third round never."""
    loads = {
        "host": [down(8.0 + place / 100) for place in range(3)],
        "docker": [killed(2.5), killed(3.5), killed(3.0)],
        "compose": [killed(2.51), down(7.9), killed(3.01)],
    }
    return analyse(read_results(experiment(tmp_path_factory.mktemp("three"), loads, [KILL])))


def test_kill_with_a_gap(tmp_path: Path) -> None:
    found = recovery(tmp_path, killed())
    # 1,000 requests are due after the kill, 150 of them in the gap of 3 s. One more was waiting for its answer.
    assert (found.lost, found.requests) == (151, 1001)
    assert found.errors == {REFUSED: 150, "RemoteDisconnected()": 1}
    # The last one in the gap is due 2.99 s after the kill. The first one after it is answered after 3.018 s; the median
    # is not as before any sooner.
    assert found.times["last_failed_s"].value == pytest.approx(2.99)
    for key in ("silent_s", "served_again_s", "latency_back_s"):
        assert found.times[key].value == pytest.approx(3.018)
    assert found.times["extra_s"].value == 0.0
    assert found.times["first_answer_s"].value == pytest.approx(3.018)
    assert found.times["fair_share_s"].missing == "there is one replica only"
    assert (found.slowed, found.new_replicas, found.is_down) == (0, 1, False)
    # All medians before are 8 ms, so 10% more is still as before.
    assert found.latency_limit_ms == pytest.approx(8.8)


def test_down_to_the_end_is_no_number(tmp_path: Path) -> None:
    found = recovery(tmp_path, down())
    assert found.is_down
    assert (found.lost, found.requests) == (1000, 1000)
    for key in ("last_failed_s", "served_again_s", "silent_s", "latency_back_s"):
        assert found.times[key] == NEVER
    assert found.times["extra_s"].missing == "nothing was answered"
    assert found.times["first_answer_s"].missing == NO_NEW_REPLICA


def test_a_pause_delays_and_loses_nothing(tmp_path: Path) -> None:
    found = recovery(tmp_path, paused(), [PAUSE])
    assert found.lost == 0
    assert found.times["last_failed_s"].value == 0.0
    for key in ("silent_s", "served_again_s", "latency_back_s"):
        assert found.times[key].value == pytest.approx(4.008)
    # 200 requests, due at even distances in 4 s, wait 2 s in the mean.
    assert found.slowed == 200
    assert found.times["extra_s"].value == pytest.approx(400.0)
    assert found.change.over_unix_s - found.change.began_unix_s == pytest.approx(4.0)


def test_new_replicas_answer_and_get_their_share(tmp_path: Path) -> None:
    found = recovery(tmp_path, scaled(), [SCALE])
    assert found.new_replicas == 2
    assert found.times["first_answer_s"].value == pytest.approx(4.018)
    # From 8 s on each gives a third of the answers: by the end of that second all have had their share.
    assert found.times["fair_share_s"].value == 9.0
    assert found.times["latency_back_s"].value == 0.0


def test_kept_connections_never_reach_new_replicas(tmp_path: Path) -> None:
    analysis = one(tmp_path, scaled(fair_from_s=99), [SCALE], "swarm-1")
    (found,) = analysis.effects[0].rounds.values()
    assert found.times["fair_share_s"] == NEVER
    # Since the first answer of a new replica 799 requests were due; that answer's own was due before.
    assert (found.kept, found.reached) == (799, 1)
    why = "of 799 answers over kept connections they gave 1"
    assert f"Not all new ones got their fair share until the end of the run: {why}" in said(analysis)


def test_a_new_replica_with_the_name_of_the_old_one(tmp_path: Path) -> None:
    found = recovery(tmp_path, swarm_killed())
    # The last answers of the old one, up to 0.4 s after the kill, are not those of the new one. Every third request
    # is its own: the first one due at 5 s or later that it gets is due after 5.03 s.
    assert found.times["first_answer_s"].value == pytest.approx(5.038, abs=0.021)
    assert found.times["fair_share_s"].value == 6.0
    assert found.lost == 0


def test_a_replica_that_ended_before_it_answered(tmp_path: Path) -> None:
    """As an update with Compose is recorded: the old container seems to start again before it is removed."""
    load = killed()
    events = [event("found", "c", "1", -1), event("ended", "c", "1", BEGAN_S + 0.1)]
    events += [event("restarted", "c", "1", BEGAN_S + 0.2), event("ended", "c", "1", BEGAN_S + 0.5)]
    events += [event("started", "c", "2", BEGAN_S + 2.5)]
    found = recovery(tmp_path, replace(load, events=events))
    assert found.new_replicas == 1
    assert found.times["first_answer_s"].value == pytest.approx(3.018)
    crashed = recovery(tmp_path / "crashed", replace(down(), events=events[:4]))
    assert (crashed.new_replicas, crashed.times["first_answer_s"]) == (1, NEVER)


def test_answers_that_do_not_name_the_replica(tmp_path: Path) -> None:
    load = scaled()
    found = recovery(tmp_path, replace(load, requests=[{**own, "replica": ""} for own in load.requests]), [SCALE])
    assert "do not say" in found.times["first_answer_s"].missing
    assert "do not say" in found.times["fair_share_s"].missing


def test_each_change_counts_to_the_next_one(tmp_path: Path) -> None:
    planned: list[dict[str, Any]] = [{"at_s": 10.0, "action": "kill", "replica": 1}, {"at_s": 30.0, "action": "update"}]
    # 20 requests fail at once after the kill, and one 5 s after the update.
    rows = []
    for at in due():
        is_lost = 10 <= at - WARM_UP_S < 10.4 or at - WARM_UP_S == pytest.approx(35.01)
        rows.append(lost(at) if is_lost else row(at))
    load = Load(rows, [change(1, "kill", 10.0), change(2, "update", 30.0)])
    run = read_results(experiment(tmp_path, {"docker": [load]}, planned)).deployments[0].loads[1]
    kill, update = recoveries(run)
    assert (kill.lost, kill.requests, kill.is_last) == (20, 1000, False)
    assert (update.lost, update.requests, update.is_last) == (1, 500, True)
    assert kill.times["last_failed_s"].value == pytest.approx(0.39)
    assert update.times["last_failed_s"].value == pytest.approx(5.01)
    assert update.times["served_again_s"].value == pytest.approx(5.038)
    assert kill.times["first_answer_s"].missing == "the replicas were not watched"


def test_requests_without_a_row(tmp_path: Path) -> None:
    load = replace(killed(), told={"over_bound": 7, "unanswered": 6, "dropped": 1})
    found = recovery(tmp_path, load)
    assert found.unsent == {"over_bound": 7, "unanswered": 6, "cut_off": 0, "dropped": 1}
    # What the load generator did not send is not lost, but it was due.
    assert (found.lost, found.requests) == (164, 1015)
    # When the unanswered ones were due is not known; others were answered to the end.
    assert found.times["last_failed_s"].value == pytest.approx(2.99)


def test_lost_requests_without_a_time(tmp_path: Path) -> None:
    rows = [row(at, replica="c") for at in due()]
    load = Load(rows, [change(1, "pause", BEGAN_S), change(1, "resume", BEGAN_S + 4)], told={"over_bound": 7})
    found = recovery(tmp_path, load, [PAUSE])
    assert (found.lost, found.failed) == (7, 0)
    assert found.times["last_failed_s"].missing == "when the lost requests were due is not recorded"


def test_requests_that_wait_to_the_end(tmp_path: Path) -> None:
    """Nothing fails, but nothing is answered either."""
    rows = [row(at, replica="c") for at in due() if after(at) < 0]
    found = recovery(tmp_path, Load(rows, [change(1, "kill", BEGAN_S)], told={"unanswered": 1000}))
    assert found.is_down
    assert (found.lost, found.requests) == (1000, 1000)


def test_counts_are_divided_whole() -> None:
    assert divided(10, np.array([1.0, 1.0, 2.0])) == [3, 2, 5]
    assert divided(3, np.array([0.0, 0.0])) == [3, 0]
    assert divided(0, np.array([1.0])) == [0]


def test_noise_is_no_change_of_latency(tmp_path: Path) -> None:
    """The medians of the seconds differ by some 5%: 10 loads in which nothing happens stay as before, or nearly."""
    noise = random.Random(7)
    backs = []
    for number in range(10):
        rows = [row(at, 8 * noise.lognormvariate(0, 0.3)) for at in due()]
        folder = tmp_path / str(number)
        found = recovery(folder, Load(rows, [change(1, "scale", BEGAN_S)]), [SCALE])
        backs.append(found.times["latency_back_s"])
    assert not any(back.is_never for back in backs)
    assert sum(back.value == 0 for back in backs) >= 7
    assert all(back.value <= 6 for back in backs)


def test_slower_for_good_is_not_as_before(tmp_path: Path) -> None:
    rows = [row(at, 8.0 if after(at) < 0 else 9.0) for at in due()]
    assert recovery(tmp_path, Load(rows, [change(1, "kill", BEGAN_S)])).times["latency_back_s"] == NEVER


def test_a_single_slow_second_later_does_not_count(tmp_path: Path) -> None:
    rows = [row(at, 30.0 if 0 <= after(at) < 2 or 9 <= after(at) < 10 else 8.0) for at in due()]
    found = recovery(tmp_path, Load(rows, [change(1, "kill", BEGAN_S)]))
    assert found.times["latency_back_s"].value == 2.0


def test_a_hole_that_comes_late_counts(tmp_path: Path) -> None:
    """A container that stops slowly: it answers for 6 s, and then not for 3 s."""
    rows = [lost(at) if 6 <= after(at) < 9 else row(at) for at in due()]
    found = recovery(tmp_path, Load(rows, [change(1, "stop", BEGAN_S)]))
    assert found.times["latency_back_s"].value == pytest.approx(9.018)
    assert found.times["last_failed_s"].value == pytest.approx(8.99)


def test_too_little_before_a_change(tmp_path: Path) -> None:
    load = Load([row(at) for at in due()], [change(1, "kill", 2.0)])
    analysis = one(tmp_path, load, [KILL | {"at_s": 2.0}])
    (found,) = analysis.effects[0].rounds.values()
    assert found.times["latency_back_s"].missing
    assert math.isnan(found.latency_limit_ms)
    assert any("too few requests before the change" in doubt.text for doubt in analysis.validity.caveats)


def test_over_rounds(three_rounds: Analysis) -> None:
    host, docker, compose = three_rounds.effects
    ends = docker.figure("served_again_s")
    # 2.518, 3.518 and 3.018 s: mean 3.018, standard deviation 0.5, and t of two degrees of freedom is 4.303.
    assert (ends.never, ends.asked) == (0, 3)
    assert ends.estimate.value == pytest.approx(3.018)
    assert ends.estimate.high == pytest.approx(3.018 + 4.303 * 0.5 / math.sqrt(3), abs=0.001)
    assert docker.total("lost") == 125 + 175 + 150 + 3
    lasting = compose.figure("served_again_s")
    assert (lasting.never, lasting.asked, lasting.estimate.rounds) == (1, 3, 2)
    assert not lasting.estimate.has_interval
    assert (host.figure("served_again_s").never, host.down) == (3, 3)
    assert not host.figure("served_again_s").estimate.is_measured


def test_errors_that_differ_in_an_address_are_one(tmp_path: Path) -> None:
    rows = [row(at) for at in due() if after(at) < 0]
    rows += [lost(at, error=f"no answer from 127.0.0.1:{40000 + place}") for place, at in enumerate(due()[-30:])]
    ((error, count),) = one(tmp_path, Load(rows, [change(1, "kill", BEGAN_S)])).effects[0].errors
    assert (error, count) == ("no answer from 127.0.0.1:40000", 30)


def test_findings_say_what_a_change_did(three_rounds: Analysis) -> None:
    host, docker, compose = (finding.text for finding in three_rounds.findings)
    assert host == (
        "The host process lost 3,000 of 3,000 requests (in 3 rounds) when a replica was killed, and was down until the "
        "end of the run: nobody restarted it."
    )
    assert "lost 453 of 3,003 requests (in 3 rounds) when a replica was killed, and served without errors" in docker
    assert "again after 3.0 s (1.8 to 4.3)" in docker
    assert "was down until the end of the run in 1 of 3 rounds: nobody restarted it; in the others it served" in compose
    assert three_rounds.headline[0].startswith("When a replica was killed, the host process was down until the end of")
    assert three_rounds.headline[1:] == (host, docker, compose)


def test_what_a_change_causes_is_no_reason_against_it(three_rounds: Analysis) -> None:
    assert three_rounds.validity.is_valid, reasons(three_rounds)
    assert not three_rounds.verdicts
    assert precision(three_rounds.results) == {"rounds": 3, "pairs": []}
    assert three_rounds.loads[0].summary["median_ms"].missing == "one figure from before and after a change says little"


def test_an_overload_is_no_reason_against_it(tmp_path: Path) -> None:
    analysis = one(tmp_path, replace(paused(), told={"over_bound": 300}), [PAUSE])
    assert analysis.validity.is_valid, reasons(analysis)
    assert analysis.effects[0].total("lost") == 300


def test_other_reasons_stay(tmp_path: Path) -> None:
    load = killed()
    requests = [{**own, "send_delay_ms": 50.0 if number < 400 else 0.0} for number, own in enumerate(load.requests)]
    late = one(tmp_path / "late", replace(load, requests=requests, told={"late": 400}))
    assert "late" in reasons(late)["rate"]
    # 20 of 1,000 requests fail before the change.
    early = [lost(at) if at - WARM_UP_S < 0.4 else own for at, own in zip(due(), load.requests, strict=False)]
    early = [own for own in early if own["started_at_unix_s"] >= START + WARM_UP_S]
    found = reasons(one(tmp_path / "early", replace(load, requests=[row(0.5), row(1.5), *early])))
    assert "20 of 1,000 requests failed" in found["errors"]
    ended = [*load.events, event("restarted", "c", "1", 5.0)]
    assert "restarted" in reasons(one(tmp_path / "ended", replace(load, events=ended)))["restart"]
    lost_rows = reasons(one(tmp_path / "lost", replace(load, requests=[*load.requests, load.requests[5]])))
    assert "copy" in lost_rows


def test_late_sends_from_the_change_on_are_a_caveat(tmp_path: Path) -> None:
    load = killed()
    requests = [{**own, "send_delay_ms": 50.0 if own["error"] else 0.0} for own in load.requests]
    found = one(tmp_path, replace(load, requests=requests, told={"late": 151}))
    assert found.validity.is_valid, reasons(found)
    assert any("10 ms late" in doubt.text for doubt in found.validity.caveats)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (None, "was not made: no record of it is there"),
        ([change(1, "kill", BEGAN_S, error=f"no such container {NASTY}")], "could not be made: no such container"),
        ([change(1, "kill", SECONDS + 1)], "was not made: the load had ended"),
    ],
)
def test_a_change_that_was_not_made(tmp_path: Path, changes: list[dict[str, Any]] | None, text: str) -> None:
    load = Load([row(at) for at in due()], changes)
    analysis = one(tmp_path, load)
    assert text in reasons(analysis)["change"]
    assert "kill, 20 s after the measured part began" in reasons(analysis)["change"]
    assert "Not valid" in analysis.headline[0]
    assert NASTY not in render(analysis)


def test_a_pause_that_does_not_end(tmp_path: Path) -> None:
    load = paused()
    assert load.changes is not None
    found = reasons(one(tmp_path, replace(load, changes=load.changes[:1]), [PAUSE]))
    assert "change 1 (resume" in found["change"]


def test_changes_that_are_not_those_of_the_plan(tmp_path: Path) -> None:
    rows = [row(at) for at in due()]
    twice = Load(rows, [change(1, "kill", BEGAN_S), change(1, "kill", BEGAN_S + 1)])
    assert "twice" in reasons(one(tmp_path / "twice", twice))["contradiction"]
    other = Load(rows, [change(1, "kill", BEGAN_S), change(2, "update", BEGAN_S + 1)])
    assert "not in the plan" in reasons(one(tmp_path / "other", other))["contradiction"]
    unplanned = Load(rows, [change(1, "kill", BEGAN_S)])
    assert "the plan has none" in reasons(one(tmp_path / "none", unplanned, []))["contradiction"]


def test_changes_in_any_order_with_any_text(tmp_path: Path) -> None:
    load = paused()
    assert load.changes is not None
    rows = [own | {"detail": NASTY, "replica": NASTY} for own in reversed(load.changes)]
    analysis = one(tmp_path, replace(load, changes=rows), [PAUSE])
    run = analysis.results.deployments[0].loads[1]
    assert [*run.changes["action"]] == ["pause", "resume"]
    assert recoveries(run)[0].change.replica == NASTY
    assert NASTY not in render(analysis)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    folder = experiment(tmp_path, {"docker": [killed()]}, [KILL])
    change_rows(folder / f"docker/round-1/load{CHANGES_SUFFIX}", lambda own: own | {"action": "explode"})
    assert "action is 'explode'" in reasons(analyse(read_results(folder)))["unreadable"]


def test_the_median_round_is_drawn(three_rounds: Analysis) -> None:
    assert {drawn.measurement.name: drawn.number for drawn in drawn_of(three_rounds.effects)} == {
        "host": 2,  # all are alike
        "docker": 3,  # of 2.5, 3.5 and 3 s
        "compose": 3,  # of 2.5 s, never, and 3 s
    }


def test_timeline(tmp_path: Path) -> None:
    run = read_results(experiment(tmp_path, {"docker": [killed()]}, [KILL])).deployments[0].loads[1]
    seconds = timeline_of(run)
    assert len(seconds.answered) == SECONDS
    assert [*seconds.answered[18:25]] == [50, 50, 0, 0, 0, 50, 50]
    assert [*seconds.failed[18:25]] == [0, 0, 51, 50, 50, 0, 0]
    assert np.isnan(seconds.median_ms[20:23]).all()
    assert seconds.median_ms[23] == pytest.approx(8.0)
    old, new = lives_of(run)
    assert [old.from_s, old.to_s, new.from_s, new.to_s] == pytest.approx([0.0, 20.1, 22.5, 40.0])
    assert [old.is_new, old.ended, new.is_new, new.ended] == [False, True, True, False]


def test_page(three_rounds: Analysis) -> None:
    content = page(three_rounds)
    sections = {section.id: section for section in content.sections}
    assert next(iter(sections)) == "changes"
    assert not {"key", "latency", "cpu", "memory", "network", "time"} & set(sections)
    changes = sections["changes"]
    assert changes.title == TITLE
    assert [card.title for card in changes.cards] == ["Host process", "docker run", "Docker Compose"]
    assert [chart.title for chart in changes.charts] == [
        "Host process, round 2 of 3",
        "docker run, round 3 of 3",
        "Docker Compose, round 3 of 3",
    ]
    layout = changes.charts[1].plot["layout"]
    shade, line = layout["shapes"]
    assert (shade["x0"], shade["x1"]) == (pytest.approx(20.0), pytest.approx(23.018))
    assert line["x0"] == pytest.approx(20.0)
    assert [note["text"] for note in layout["annotations"]] == ["<b>kill</b>"]
    host, docker, compose = changes.tables[0].rows
    assert [cell.text for cell in host.cells[:4]] == [
        "3,000 of 3,000",
        "not within the run",
        "until the end of the run",
        "not within the run",
    ]
    assert docker.cells[1].text == "3.0 s"
    assert (
        compose.cells[1].detail
        == "no interval from two rounds\nnot within the run in 1 of 3 rounds\nserved again after 2.8 s"
    )
    anchors = {part.anchor for finding in changes.findings for part in finding.parts if part.anchor}
    assert anchors == {row.id for row in changes.tables[0].rows}


def test_markdown_csv_junit_and_hand_in(three_rounds: Analysis) -> None:
    markdown = render_markdown(three_rounds)
    assert f"## {TITLE}" in markdown
    assert "| Host process: kill (at 20 s, 3 rounds) | 3,000 of 3,000 (3,000: ConnectionRefusedError" in markdown
    figures = figures_csv(three_rounds.loads, three_rounds.passes, (), effects=three_rounds.effects)
    rows = [own for own in csv.DictReader(io.StringIO(figures)) if own["run"] == "load, change 1: kill"]
    ends = {(own["deployment"], own["round"]): own for own in rows if own["figure"] == "last_failed_s"}
    assert float(ends["docker run", "1"]["value"]) == pytest.approx(2.49)
    assert ends["Host process", "2"]["value"] == ""
    assert ends["Host process", "2"]["note"] == "not within the run"
    assert ends["Docker Compose", "all"]["note"] == "not in 1 of 3 rounds"
    cases = {case.name: case.said for case in cases_of(three_rounds) if case.suite == "changes"}
    assert "nobody restarted it" in cases["Host process: change 1, kill"]
    report = render_report(three_rounds)
    assert "Each change of each deployment" in report
    assert "because they were changed meanwhile" in report


def test_the_docs_have_the_numbers_of_the_definitions() -> None:
    text = (Path(__file__).parent.parent / "docs/changes.md").read_text(encoding="utf-8")
    for number in (f"{BEFORE_S} s", f"{HOLD_S} s in a row", f"{HOLD_SHARE:.0%}", f"{SLOWED:.0%}"):
        assert number in text
    assert f"at least {FEWEST_IN_SECOND} requests" in text


def test_the_part_before_the_changes(tmp_path: Path) -> None:
    run: Run = read_results(experiment(tmp_path, {"docker": [killed()]}, [KILL])).deployments[0].loads[1]
    before = run.before_changes
    assert len(before.measured_requests) == 1000
    assert (before.measured_requests["error"] == "").all()
    assert before.window_unix_s[1] - before.window_unix_s[0] == pytest.approx(BEGAN_S)
    assert before.before_changes is before
