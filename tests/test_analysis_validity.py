"""Each reason not to trust a run, provoked, and called by its name; and what is to mind only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_runs import (
    MODEL,
    START,
    a_round,
    measured,
    request,
    steady_requests,
    steady_samples,
    texts_once,
    warmed,
    write_experiment,
    write_run,
)

from analysis import __main__ as command
from analysis.analyse import analyse
from analysis.judge import words
from analysis.judge.check_load import trend
from analysis.judge.doubts import KINDS, Validity
from analysis.read.results import read_results
from analysis.show.markdown import render_markdown
from analysis.show.page import render
from runfiles.events import ALL_BLOCKS, FAULTS, STOPPED


def examined(folder: Path) -> Validity:
    return analyse(read_results(folder)).validity


def one_run(folder: Path, requests: Iterable[Any] = (), samples: Iterable[Any] = (), **record: Any) -> Validity:
    """What is found against a host's only round."""
    write_experiment(folder, [measured("host")])
    write_run(folder / "host", "load", requests or steady_requests(50), samples or steady_samples(0.5), **record)
    return examined(folder)


def two(folder: Path, **of_docker: Any) -> Validity:
    """Host and docker run, alike but for what is said of docker run."""
    limits = of_docker.pop("limits", {"cpus": None})
    image = of_docker.pop("image", None)
    docker = measured("docker", image=image) | {"rounds": [a_round("docker", limits=limits)]}
    write_experiment(folder, [measured("host"), docker])
    write_run(folder / "host", "load", steady_requests(50), steady_samples(0.5))
    write_run(folder / "docker", "load", steady_requests(50), steady_samples(0.5), **of_docker)
    return examined(folder)


def kinds(validity: Validity) -> set[str]:
    return {doubt.kind for doubt in validity.invalid}


def said(validity: Validity) -> str:
    return " | ".join(doubt.text for doubt in validity.doubts)


def test_a_run_against_which_nothing_speaks_is_valid(tmp_path: Path) -> None:
    assert kinds(one_run(tmp_path)) == set()
    assert kinds(two(tmp_path / "two")) == set()


def test_a_generator_short_of_cpu(tmp_path: Path) -> None:
    busy = one_run(tmp_path / "busy", generator={"cpu_percent": 95.0, "cpu_warnings": 0})
    assert kinds(busy) == {"generator"}
    assert "short of CPU (95% of a core)" in said(busy)
    assert kinds(one_run(tmp_path / "warned", generator={"cpu_percent": 50.0, "cpu_warnings": 1})) == {"generator"}


@pytest.mark.parametrize(("first", "last", "is_found"), [(20, 10, True), (10, 13, True), (10, 10.5, False)])
def test_a_trend_within_the_run(tmp_path: Path, first: float, last: float, is_found: bool) -> None:
    noise = np.random.default_rng(3)
    times = np.linspace(first, last, 1000) * noise.lognormal(0, 0.1, 1000)
    found = one_run(tmp_path, warmed(request(2 + i / 100, float(time)) for i, time in enumerate(times)))
    assert kinds(found) == ({"trend"} if is_found else set())


def test_noise_is_no_trend(tmp_path: Path) -> None:
    noise = np.random.default_rng(5)
    found = 0
    for _ in range(20):
        wave = np.repeat(noise.lognormal(0, 0.2, 10), 100)
        write_experiment(tmp_path, [measured("host")])
        write_run(
            tmp_path / "host", "load", [request(2 + i / 100, 10 * float(factor)) for i, factor in enumerate(wave)]
        )
        (run,) = read_results(tmp_path).deployments[0].loads.values()
        found += trend(run) is not None
    assert found <= 1


def test_a_run_that_was_cut_off(tmp_path: Path) -> None:
    assert kinds(one_run(tmp_path / "told", ended_by="interrupted")) == {"cut off"}
    assert kinds(one_run(tmp_path / "killed", ended_by=None, ended_at_unix_s=None)) == {"cut off"}
    assert kinds(one_run(tmp_path / "by hand", ended_by=STOPPED)) == {"cut off"}
    assert kinds(one_run(tmp_path / "to its end", ended_by=ALL_BLOCKS)) == set()
    short = one_run(tmp_path / "short", ended_at_unix_s=START + 9, requests=steady_requests(50, seconds=9))
    assert kinds(short) == {"cut off"}
    assert "the run took 9 s, not 12 s" in said(short)


@pytest.mark.parametrize("kind", [*FAULTS, "of a later version"])
def test_faults_that_the_recorder_noted_are_said(tmp_path: Path, kind: str) -> None:
    found = one_run(tmp_path, faults=[{"kind": kind, "text": "what happened to it"}])
    assert kinds(found) == ({kind} if kind in ("rows lost", "incomplete", "unsampled") else set())
    assert "Host process, load: what happened to it" in said(found)
    assert "what happened to it" in render(analyse(read_results(tmp_path)))


def test_a_load_of_which_nothing_was_measured(tmp_path: Path) -> None:
    found = one_run(tmp_path / "empty", [request(0.5), request(1.5)])
    assert kinds(found) == {"incomplete"}
    assert "no request was measured" in said(found)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda row: row | {"phase": "measured"}, "100 requests of the warm-up are marked measured"),
        (lambda row: row | {"phase": "warm-up"}, "500 requests sent after the warm-up are marked warm-up"),
        (
            lambda row: row | {"started_at_unix_s": row["started_at_unix_s"] + 20, "phase": "measured"},
            "a request was sent 20.0 s after the run ended",
        ),
        (
            lambda row: row | {"started_at_unix_s": row["started_at_unix_s"] - 20, "phase": "warm-up"},
            "a request was sent 20.0 s before the run began",
        ),
    ],
)
def test_phases_by_another_clock(tmp_path: Path, change: Any, expected: str) -> None:
    found = one_run(tmp_path, [change(row) for row in steady_requests(50)])
    assert "clock" in kinds(found)
    assert "from another clock" in said(found)
    assert expected in said(found)


def test_one_worker_of_two_by_another_clock(tmp_path: Path) -> None:
    skewed = [request(2 + number / 9 + 3, 11) for number in range(90)]
    both = sorted([*steady_requests(50), *skewed], key=lambda row: float(row["started_at_unix_s"]))
    assert kinds(one_run(tmp_path, both)) == {"clock"}


def test_a_load_without_its_warm_up_was_not_warm(tmp_path: Path) -> None:
    found = one_run(tmp_path, steady_requests(50)[100:])
    assert kinds(found) == {"clock"}
    assert "no request was sent in the warm-up of 2 s" in said(found)


def test_what_the_record_claims_and_no_file_shows(tmp_path: Path) -> None:
    write_experiment(tmp_path / "none", [measured("host") | {"rounds": [a_round("host", status="failed", runs=[])]}])
    assert kinds(examined(tmp_path / "none")) == {"incomplete"}
    write_experiment(tmp_path / "half", [measured("host") | {"rounds": [a_round("host", runs=["single_pass"])]}])
    write_run(tmp_path / "half" / "host", "single_pass", texts_once(), warm_up_s=0, users=1, run_time_s=None)
    found = examined(tmp_path / "half")
    assert kinds(found) == {"unreadable"}
    assert "the record calls it measured, but its load is missing" in said(found)
    lost = write_experiment(tmp_path / "lost", [measured("host"), measured("docker")])
    record = json.loads((lost / "experiment.json").read_text())
    record["deployments"].pop()
    (lost / "experiment.json").write_text(json.dumps(record))
    write_run(lost / "host", "load", steady_requests(50), steady_samples(0.5))
    assert kinds(examined(lost)) == {"incomplete"}
    assert "docker is in the plan and not in the record" in said(examined(lost))


def test_every_kind_has_a_name_and_none_is_given_twice() -> None:
    assert len(set(KINDS.values())) == len(KINDS)


def test_an_invalid_deployment_gets_no_verdict_and_no_word(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host", 3), measured("docker", 3)])
    for number in (1, 2, 3):
        write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5), number=number)
        failing = steady_requests(50, response_time_ms=20) + [request(3, error="no", status=0)] * 20
        write_run(tmp_path / "docker", "load", failing, steady_samples(0.5), number=number)
    analysis = analyse(read_results(tmp_path))
    assert {verdict.kind for verdict in analysis.verdicts} == {"no verdict"}
    assert analysis.verdicts[0].detail == "the measurement of docker run is not valid: over 1% of the requests failed"
    assert words.ratio(analysis.verdicts[0]) == ""
    assert not any("docker run" in finding.text for finding in analysis.findings)


def test_doubts_of_every_experiment_are_said(tmp_path: Path) -> None:
    bundled = {"model": MODEL | {"source": "bundled"}, "versions": {}}
    text = said(one_run(tmp_path, service=bundled))
    assert (
        "A small bundled model answered, not DistilBERT. It needs much less time for an answer, so the ratios" in text
    )
    assert "measured in one round, so there is no interval and no verdict" in text
    assert "share this machine's processors" in text


def test_a_run_that_was_not_steady_is_said_to_be_so(tmp_path: Path) -> None:
    stalled = [row for row in steady_requests(50) if not 5 < row["started_at_unix_s"] - START < 8]
    assert "throughput was not steady: 0 to 50 answers a second" in said(one_run(tmp_path, stalled))


def test_rounds_that_were_not_run_and_an_experiment_without_an_end_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "the experiment ended before its turn"
    row = measured("host", 5)
    for round_ in row["rounds"][2:]:
        round_ |= {"status": "not run", "reason": reason, "runs": [], "seconds_to_healthy": None}
    write_experiment(tmp_path, [row], ended_at=None)
    for number in (1, 2):
        write_run(tmp_path / "host", "load", steady_requests(50, response_time_ms=9 + number), number=number)
    monkeypatch.setattr(sys, "argv", ["analysis", str(tmp_path)])
    assert command.main() == 0
    printed = " ".join(capsys.readouterr().out.split())
    analysis = analyse(read_results(tmp_path))
    for text in (printed, render(analysis), render_markdown(analysis)):
        assert f"Host process: 2 of 5 rounds were measured: {reason}" in text
        assert "The experiment was cut off: its record has no end." in text
    assert "2 of 5 rounds. In each round 4 users sent" in render(analysis)
    assert "2 of 5 rounds," in render_markdown(analysis)


def test_what_a_failed_round_left_is_in_no_figure(tmp_path: Path) -> None:
    row = measured("host", 2)
    row["rounds"][1] |= {"status": "failed", "reason": "the service died"}
    write_experiment(tmp_path / "round", [row])
    write_experiment(tmp_path / "deployment", [measured("host", 2, status="failed", reason="no")])
    for name in ("round", "deployment"):
        for number in (1, 2):
            rows = steady_requests(50, response_time_ms=10.0 * number)
            write_run(tmp_path / name / "host", "load", rows, steady_samples(0.5), number=number)
    (load,) = analyse(read_results(tmp_path / "round")).loads
    assert list(load.rounds) == [1]
    whole = analyse(read_results(tmp_path / "deployment"))
    assert not whole.loads
    assert kinds(whole.validity) == {"contradiction"}


def test_an_experiment_that_began_at_another_time_than_its_runs(tmp_path: Path) -> None:
    for name, started_at in (("late", "2023-11-15T22:13:20+00:00"), ("early", "2023-11-01T00:00:00+00:00")):
        write_experiment(tmp_path / name, [measured("host")], started_at=started_at)
        write_run(tmp_path / name / "host", "load", steady_requests(50), steady_samples(0.5))
        assert kinds(examined(tmp_path / name)) == {"clock"}


def test_a_start_that_took_longer_than_until_the_first_run(tmp_path: Path) -> None:
    row = measured("host")
    row["rounds"][0]["seconds_to_healthy"] = 5000.0
    write_experiment(tmp_path, [row])
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5))
    assert kinds(examined(tmp_path)) == {"contradiction"}
    assert "healthy only after 5,000 s" in said(examined(tmp_path))


def test_a_reason_that_several_rounds_give_is_said_once(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host", 3), measured("docker", 3)])
    starved = {"cpu_percent": 95.0, "cpu_warnings": 0}
    for name in ("host", "docker"):
        for number in (1, 2, 3):
            base = 5 + number + (0.1 if name == "host" else 0)
            rows = [request(2 + i / 100, base + i % 7, replica=name) for i in range(1000)]
            samples = steady_samples(0.5, replica=name)
            write_run(tmp_path / name, "load", warmed(rows), samples, number=number, generator=starved)
    analysis = analyse(read_results(tmp_path))
    texts = [doubt.text for doubt in analysis.validity.invalid if doubt.kind == "generator"]
    assert [text.partition(": the")[0] for text in texts] == [
        "Host process, load of rounds 1, 2, 3",
        "docker run, load of rounds 1, 2, 3",
    ]
    lacking = [doubt.text for doubt in analysis.validity.caveats if doubt.text.endswith("the single pass is missing")]
    assert lacking[0] == "Host process, rounds 1, 2, 3: the single pass is missing"
    page = render(analysis)
    assert "The reason: the load generator was short of CPU." in page
    assert {words.ratio(verdict) for verdict in analysis.verdicts} == {""}
    assert "neither measurement is valid: the load generator was short of CPU" in page
    assert '"ratios-' not in page
    card = page[page.index('<div class="cards">') :]
    assert card.index("not valid") < card.index("median response time")
