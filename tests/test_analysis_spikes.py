"""A load with a spike, and a deployment with another CPU limit: what is counted, what is no fault, and what is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from test_analysis_changes import (
    BEGAN_S,
    RATE,
    SECONDS,
    WARM_UP_S,
    Load,
    after,
    change,
    due,
    experiment,
    one,
    row,
    said,
)

from analysis.judge.changes import name_of, what_was_done
from analysis.measure.recovery import Recovery, recoveries
from analysis.measure.steps import expected_due
from analysis.read.results import read_results
from analysis.show.facts import run_facts
from analysis.show.page import page, render
from runfiles.records import ChangeRecord

SPIKE_S = 4.0
SPIKE = {"at_s": BEGAN_S, "action": "spike", "times": 3, "seconds": SPIKE_S}
TOLD = {"spikes": ["20:3:4"]}
ENDED_S = BEGAN_S + SPIKE_S


def spiked(slow_s: float = 6.0) -> list[dict[str, Any]]:
    """Three times as many requests are due for 4 s; all that are due within ``slow_s`` after it began take 100 ms."""
    more = [at + part / RATE / 3 for at in due() for part in (1, 2) if 0 <= after(at) < SPIKE_S]
    return [row(at, 100.0 if 0 <= after(at) < slow_s else 8.0, replica="c") for at in sorted([*due(), *more])]


def changes(number: int = 1) -> list[dict[str, Any]]:
    return [change(number, "spike", BEGAN_S), change(number, "spike over", ENDED_S)]


def found_in(folder: Path, load: Load, planned: Sequence[Mapping[str, Any]]) -> list[Recovery]:
    return recoveries(read_results(experiment(folder, {"docker": [load]}, planned)).deployments[0].loads[1])


def test_the_end_of_a_spike_belongs_to_it(tmp_path: Path) -> None:
    (found,) = found_in(tmp_path, Load(spiked(), changes(), told=TOLD), [SPIKE])
    # In 20 s 1,000 requests are due at the rate, and 400 more in the 4 s of the spike.
    assert (found.lost, found.requests) == (0, 1400)
    # The spike lasts 4 s, and the requests of 2 s more are slow.
    assert found.times["latency_back_s"].value == 6.0
    assert found.change.over_unix_s - found.change.began_unix_s == pytest.approx(SPIKE_S)


def test_a_spike_that_was_planned_is_no_fault(tmp_path: Path) -> None:
    analysis = one(tmp_path, Load(spiked(), changes(), told=TOLD), [SPIKE])
    run = analysis.results.deployments[0].loads[1]
    assert expected_due(run) == pytest.approx(RATE * (SECONDS + 2 * SPIKE_S))
    assert len(run.measured_requests) == expected_due(run)
    assert not analysis.validity.invalid
    assert not any("spike" in doubt.text or "not at all" in doubt.text for doubt in analysis.validity.caveats)
    assert "docker run lost none of 1,400 requests when the rate was tripled for 4 s." in said(analysis)
    # 600 requests in the 4 s of the spike and 100 in the 2 s after it take 100 instead of 8 ms.
    assert "700 of 1,400 requests were slowed: they waited 64.4 s longer, all together." in said(analysis)
    chart = page(analysis).sections[0].charts[0].plot["layout"]
    assert [note["text"] for note in chart["annotations"]] == ["<b>spike</b>", "<b>spike over</b>"]
    assert "spike 3 times for 4 s at 20 s" in render(analysis)


def test_a_spike_that_the_load_generator_did_not_make_is_seen(tmp_path: Path) -> None:
    usual = [row(at, replica="c") for at in due()]
    not_told = one(tmp_path / "not told", Load(usual, changes()), [SPIKE])
    texts = [doubt.text for doubt in not_told.validity.invalid]
    assert "docker run, round 1: spikes was none, the plan says 20:3:4" in texts
    not_kept = one(tmp_path / "not kept", Load(usual, changes(), told=TOLD), [SPIKE])
    # 400 of 2,400 are missing.
    assert any("16.7% not at all" in doubt.text for doubt in not_kept.validity.caveats)
    no_end = one(tmp_path / "no end", Load(spiked(), changes()[:1], told=TOLD), [SPIKE])
    assert any("change 1 (spike over" in doubt.text for doubt in no_end.validity.invalid)


def test_a_spike_that_was_only_sent_late_was_not_lighter(tmp_path: Path) -> None:
    late = [own | {"send_delay_ms": 50.0 if own["response_time_ms"] > 50 else 0.1} for own in spiked()]
    analysis = one(tmp_path, Load(late, changes(), told=TOLD | {"late": 700}), [SPIKE])
    (text,) = [doubt.text for doubt in analysis.validity.caveats if "10 ms late" in doubt.text]
    assert "late. Response times count from when a request was due, so they contain that" in text
    assert "lighter" not in text


def test_requests_without_a_row_are_those_of_the_spike(tmp_path: Path) -> None:
    rows = [own for place, own in enumerate(spiked()) if not 1100 <= place < 1110]
    load = Load(rows, [change(1, "kill", 10.0), *changes(2)], told=TOLD | {"over_bound": 10})
    kill, spike = found_in(tmp_path, load, [{"at_s": 10.0, "action": "kill", "replica": 1}, SPIKE])
    assert (kill.lost, spike.lost) == (0, 10)
    assert WARM_UP_S * RATE + BEGAN_S * RATE == 1100


def test_a_cpu_limit_that_was_changed_is_told(tmp_path: Path) -> None:
    planned = {"at_s": BEGAN_S, "action": "cpu", "cpus": 0.5}
    load = Load([row(at, replica="c") for at in due()], [change(1, "cpu", BEGAN_S)])
    analysis = one(tmp_path, load, [planned])
    assert not analysis.validity.invalid
    assert "when the CPU limit of each replica was set to 0.5 cores." in said(analysis)
    (limits,) = [fact.text for fact in run_facts(analysis) if fact.term == "Limits"]
    assert limits.startswith("no CPU limit at the start (0.5 cores from 20 s of the load on), ")


@pytest.mark.parametrize(
    ("planned", "done", "name"),
    [
        ({"action": "spike", "times": 2, "seconds": 5}, "the rate was doubled for 5 s", "spike 2 times for 5 s"),
        (
            {"action": "spike", "times": 2.5, "seconds": 5},
            "the rate was 2.5 times as high for 5 s",
            "spike 2.5 times for 5 s",
        ),
        ({"action": "drain", "seconds": 15}, "the node was drained for 15 s", "drain 15 s"),
        ({"action": "cpu", "cpus": 1}, "the CPU limit of each replica was set to 1 core", "cpu to 1 core"),
        ({"action": "update"}, "all replicas were replaced (update)", "update"),
    ],
)
def test_changes_in_words(planned: dict[str, Any], done: str, name: str) -> None:
    record = ChangeRecord.from_table({"at_s": 1.0} | planned, "changes[0]")
    assert (what_was_done(record), name_of(record)) == (done, name)
