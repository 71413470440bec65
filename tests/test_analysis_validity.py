"""Each reason not to trust a run, provoked, and called by its name; and what is to mind only."""

from __future__ import annotations

import json
import shutil
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


def test_a_cpu_limit_that_differs(tmp_path: Path) -> None:
    limited = two(tmp_path / "one", limits={"cpus": 1.0})
    assert kinds(limited) == {"cpu limit"}
    assert "Host process 2, docker run 1" in said(limited)
    as_many_as_there_are = two(tmp_path / "two", limits={"cpus": 2.0})
    assert kinds(as_many_as_there_are) == set()


def test_a_model_that_differs(tmp_path: Path) -> None:
    other = two(tmp_path, service={"model": MODEL | {"sha256": "c" * 64}, "versions": {}})
    assert kinds(other) == {"model"}
    (verdict, *_) = analyse(read_results(tmp_path)).verdicts
    assert verdict.detail == "not compared: they differ in model"
    assert "not compared: they differ in model" in render(analyse(read_results(tmp_path)))


@pytest.mark.parametrize("silent", [("host", "docker"), ("docker",)])
def test_a_model_that_did_not_say_its_name_is_compared_with_none(tmp_path: Path, silent: tuple[str, ...]) -> None:
    write_experiment(tmp_path, [measured("host"), measured("docker")])
    for name in ("host", "docker"):
        service = None if name in silent else {"model": MODEL}
        write_run(tmp_path / name, "load", steady_requests(50), steady_samples(0.5), service=service)
    found = examined(tmp_path)
    assert "not compared: the service did not say which model answered" in said(found)
    assert {doubt.title for doubt in found.invalid} == {"it is not known which model answered"}


def test_a_model_and_a_circumstance_that_differ_are_two_reasons(tmp_path: Path) -> None:
    found = two(tmp_path, service={"model": MODEL | {"sha256": "c" * 64}, "versions": {}}, spawn_rate=1)
    assert {doubt.kind: doubt.text for doubt in found.invalid} == {
        "model": "docker run against Host process: not compared: they differ in model",
        "circumstances": "docker run against Host process: not compared: spawn rate not recorded for all runs",
    }


@pytest.mark.parametrize(
    "other",
    [
        {"users": 9},
        {"seed": 7},
        {"end_after_requests": 100},
        {"texts": {"sha256": "c" * 64}},
        {"service": {"model": MODEL, "versions": {}, "engine": {"name": "onnx", "weights": "fp32"}}},
    ],
)
def test_circumstances_that_differ(tmp_path: Path, other: dict[str, Any]) -> None:
    engine = {"name": "onnx", "weights": "int8"}
    write_experiment(tmp_path, [measured("host"), measured("docker")])
    alike: dict[str, Any] = {"seed": 1, "service": {"model": MODEL, "versions": {}, "engine": engine}}
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5), **alike)
    write_run(tmp_path / "docker", "load", steady_requests(50), steady_samples(0.5), **alike | other)
    assert kinds(examined(tmp_path)) == {"circumstances"}


def test_numbers_are_alike_however_they_are_written(tmp_path: Path) -> None:
    assert kinds(two(tmp_path, users=4.0, run_time_s=12.0, warm_up_s=2.0)) == set()


def test_a_load_that_is_not_the_plans_is_invalid(tmp_path: Path) -> None:
    found = one_run(tmp_path, users=50)
    assert kinds(found) == {"circumstances"}
    assert "Host process, round 1: users was 50, the plan says 4" in said(found)


def test_containers_with_unlike_memory(tmp_path: Path) -> None:
    rows = [
        measured(name) | {"rounds": [a_round(name, limits={"memory_bytes": limit})]}
        for name, limit in (("docker", 2 << 30), ("compose", 1 << 30))
    ]
    write_experiment(tmp_path, rows)
    for name in ("docker", "compose"):
        write_run(tmp_path / name, "load", steady_requests(50), steady_samples(0.5))
    assert kinds(examined(tmp_path)) == {"circumstances"}
    assert "docker run 2,147 MB, Docker Compose 1,074 MB" in said(examined(tmp_path))


def test_images_that_differ(tmp_path: Path) -> None:
    images = [{"name": "i", "id": id, "bytes": 1} for id in ("sha256:1", "sha256:2")]
    write_experiment(tmp_path, [measured("docker", image=images[0]), measured("compose", image=images[1])])
    for name in ("docker", "compose"):
        write_run(tmp_path / name, "load", steady_requests(50), steady_samples(0.5))
    assert kinds(examined(tmp_path)) == {"image"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ([row | ({"cpu_seconds": 0.1} if n > 12 else {}) for n, row in enumerate(steady_samples(0.5))], "restarted"),
        ([row | ({"replica_id": "2"} if n > 20 else {}) for n, row in enumerate(steady_samples(0.5))], "replaced"),
    ],
)
def test_a_replica_that_restarted_shows_in_its_samples(tmp_path: Path, changed: list[Any], expected: str) -> None:
    found = one_run(tmp_path, samples=changed)
    assert kinds(found) == {"restart"}
    assert f"host was {expected} while it was measured" in said(found)


@pytest.mark.parametrize(
    ("event", "kind"), [("restarted", "restart"), ("ended", "restart"), ("not sampled", "unsampled")]
)
def test_a_replica_that_restarted_shows_in_its_events(tmp_path: Path, event: str, kind: str) -> None:
    events = [{"at_unix_s": START + 5, "event": event, "replica": "host", "detail": "exit code 137"}]
    assert kinds(one_run(tmp_path / "in", events=events)) == {kind}
    after_the_end = [events[0] | {"at_unix_s": START + 13}]
    assert kinds(one_run(tmp_path / "after", events=after_the_end)) == set()


def test_gaps_in_the_samples(tmp_path: Path) -> None:
    gap = [row for row in steady_samples(0.5) if not 3 < row["sampled_at_unix_s"] - START < 9]
    found = one_run(tmp_path / "long", samples=gap)
    assert kinds(found) == {"gap"}
    assert "no sample of host for 6.0 s" in said(found)
    short = [row for row in steady_samples(0.5) if not 3 < row["sampled_at_unix_s"] - START < 5]
    mind = one_run(tmp_path / "short", samples=short)
    assert kinds(mind) == set()
    assert "no sample of host for 2.0 s" in said(mind)


def test_requests_that_failed(tmp_path: Path) -> None:
    failing = steady_requests(50) + [request(3, 20 + n, error="refused", status=0) for n in range(20)]
    found = one_run(tmp_path, failing)
    assert kinds(found) == {"errors"}
    assert "20 of 520 requests failed (the first: refused)" in said(found)
    few = steady_requests(50) + [request(3, 20 + n, error="refused", status=0) for n in range(4)]
    assert kinds(one_run(tmp_path / "few", few)) == set()


def test_too_few_requests_for_the_percentile_that_is_shown(tmp_path: Path) -> None:
    few = one_run(tmp_path / "few", steady_requests(19))
    assert kinds(few) == {"few requests"}
    enough = one_run(tmp_path / "enough", steady_requests(20))
    assert kinds(enough) == set()
    assert (
        "p95 and p99 under load are not shown for Host process (200 requests): fewer than 100 requests were slower."
        in said(enough)
    )
    (load,) = analyse(read_results(tmp_path / "enough")).loads
    reason = "fewer than 100 of the 200 requests were slower; 2,000 requests are needed"
    assert load.summary["p95_ms"].missing == reason
    assert words.why_missing(load.summary["p95_ms"]) == f"not shown: {reason}"


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


def single_pass(folder: Path, requests: Iterable[Any], **record: Any) -> Validity:
    """What is found against a host's only round, of whose single pass these are the requests."""
    write_experiment(folder, [measured("host")])
    write_run(folder / "host", "load", steady_requests(50), steady_samples(0.5))
    write_run(folder / "host", "single_pass", requests, (), warm_up_s=0, users=1, run_time_s=None, **record)
    return examined(folder)


def test_a_single_pass_sends_each_text_once(tmp_path: Path) -> None:
    assert kinds(single_pass(tmp_path / "whole", texts_once())) == set()
    for name, requests, expected in (
        ("short", texts_once(133), "the single pass sent 133 of 160 texts"),
        ("empty", [], "the single pass sent 0 of 160 texts"),
        ("twice", [*texts_once(), request(9, phase="measured")], "the single pass sent 1 text more than once"),
        ("more", texts_once(161), "the single pass sent 161 texts, but there are only 160"),
        ("another", [row | {"text_id": 1} for row in texts_once()], "the single pass sent 1 of 160 texts"),
    ):
        found = single_pass(tmp_path / name, requests)
        assert kinds(found) - {"contradiction"} == {"incomplete"}, name
        assert expected in said(found)


def test_a_single_pass_that_was_refused_throughout(tmp_path: Path) -> None:
    refused = [row | {"status": 0, "error": "refused"} for row in texts_once()]
    found = single_pass(tmp_path, refused)
    assert kinds(found) == {"errors"}
    assert "160 of 160 requests failed (the first: refused)" in said(found)


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


def test_two_runs_of_one_time_are_not_two_measurements(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host", 2), measured("docker", 2)])
    for name in ("host", "docker"):
        for number in (1, 2):
            write_run(tmp_path / name, "load", steady_requests(50), steady_samples(0.5), number=number)
    assert kinds(examined(tmp_path)) == set()
    shutil.rmtree(tmp_path / "host" / "round-2")
    shutil.copytree(tmp_path / "host" / "round-1", tmp_path / "host" / "round-2")
    found = examined(tmp_path)
    assert kinds(found) == {"twice"}
    assert "Host process, round 1, and Host process, round 2, have runs at the same time" in said(found)
    assert {verdict.kind for verdict in analyse(read_results(tmp_path)).verdicts} == {"no verdict"}


def test_a_record_that_says_nothing_of_the_machines_says_so(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("docker")], machine={}, engine=None)
    write_run(tmp_path / "docker", "load", steady_requests(50), steady_samples(0.5))
    found = examined(tmp_path)
    assert kinds(found) == set()
    assert "does not tell whether the Docker engine ran on this machine" in said(found)
    assert "does not say how many CPUs the machine has" in said(found)


def test_rows_that_are_lost(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host")])
    write_run(tmp_path / "host", "load", steady_requests(50)[:400], steady_samples(0.5))
    record = tmp_path / "host" / "round-1" / "load_run.json"
    record.write_text(record.read_text().replace('"requests": 400', '"requests": 600'))
    lost = examined(tmp_path)
    assert kinds(lost) == {"rows lost"}
    assert "600 requests were recorded, but only 400 rows can be read" in said(lost)
    (load,) = analyse(read_results(tmp_path)).loads
    assert load.summary["throughput_per_s"].value == pytest.approx(50, rel=0.05)


def test_a_replica_that_is_in_no_figure(tmp_path: Path) -> None:
    other = one_run(tmp_path / "other", steady_requests(50, replica="another"))
    assert kinds(other) == {"unsampled"}
    assert "another answered but was not sampled" in said(other)
    away = {"asked": "swarm:web", "found": "swarm:web", "sampling": "docker", "interval_s": 0.25, "problems": []}
    away["list"] = [{"name": "web.2", "id": "2", "node": "n2", "sampled": False, "reason": "runs on another node"}]
    assert "web.2 was not sampled: it runs on another node" in said(one_run(tmp_path / "away", replicas=away))


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


@pytest.mark.parametrize(("node", "is_said"), [("n1", True), ("another", False)])
def test_cpu_that_others_took_is_said_where_it_can_be_told(tmp_path: Path, node: str, is_said: bool) -> None:
    busy = {"node": node, "cpu_percent": 170.0}  # 20 by the generator, 50 by the service: 100 by others
    text = said(one_run(tmp_path, machine=busy))
    assert ("other programs and the system took 100% of a core" in text) is is_said


def test_a_service_of_other_versions_is_doubted(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host"), measured("docker")])
    for name, python in (("host", "3.13.1"), ("docker", "3.12.9")):
        told = {"model": MODEL, "versions": {"python": python}}
        write_run(tmp_path / name, "load", steady_requests(50), service=told)
    assert "The deployments ran different versions of python: Host process 3.13.1, docker run 3.12.9" in said(
        examined(tmp_path)
    )


def test_a_cpu_limit_that_held_a_replica_back_is_said(tmp_path: Path) -> None:
    held = [row | {"throttled_seconds": n / 10} for n, row in enumerate(steady_samples(0.5))]
    assert "the CPU limit held host back for 2.4 s" in said(one_run(tmp_path, samples=held))


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


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        ({"service": {"model": MODEL | {"sha256": "c" * 64}}}, "model"),
        ({"texts": {"sha256": "c" * 64}}, "circumstances"),
        ({"user_class": "NewConnectionUser"}, "circumstances"),
        ({"spawn_rate": 2}, "circumstances"),
    ],
)
def test_rounds_of_one_deployment_are_alike_too(tmp_path: Path, other: dict[str, Any], kind: str) -> None:
    write_experiment(tmp_path, [measured("host", 2)])
    alike: dict[str, Any] = {"spawn_rate": 4}
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5), **alike)
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5), number=2, **(alike | other))
    found = examined(tmp_path)
    assert kinds(found) == {kind}
    assert "Host process, its own runs: not compared: " in said(found)


@pytest.mark.parametrize(
    "other", [{"service": {"model": MODEL | {"sha256": "c" * 64}}}, {"texts": {"sha256": "c", "count": 160}}]
)
def test_single_passes_are_alike_too(tmp_path: Path, other: dict[str, Any]) -> None:
    write_experiment(tmp_path, [measured("host")])
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5))
    once: dict[str, Any] = {"warm_up_s": 0, "texts": {"sha256": "b" * 64, "count": 160}} | other
    write_run(tmp_path / "host", "single_pass", texts_once(), steady_samples(0.5, phase="measured"), **once)
    assert kinds(examined(tmp_path)) in ({"model"}, {"circumstances"})


def test_a_status_that_is_no_success_is_a_failure_without_an_error_too(tmp_path: Path) -> None:
    rows = [request(i / 50, status=(0, 200, 200, 503)[i % 4]) for i in range(600)]
    found = one_run(tmp_path / "told", rows)
    assert kinds(found) == {"errors"}
    assert "250 of 500 requests failed (the first: status" in said(found)
    few = steady_requests(50)
    few[300] = request(6, status=404)
    assert kinds(one_run(tmp_path / "other", few, failures=0)) == {"contradiction"}
    assert kinds(one_run(tmp_path / "same", few, failures=1)) == set()
    assert kinds(one_run(tmp_path / "more", few, failures=601)) == {"unreadable"}


def test_rows_that_are_there_twice_and_a_run_without_its_count(tmp_path: Path) -> None:
    rows = steady_requests(50)
    twice = [row for row in rows[:300] for _ in range(2)]
    assert "copy" in kinds(one_run(tmp_path / "twice", twice))
    write_experiment(tmp_path / "none", [measured("host")])
    write_run(tmp_path / "none" / "host", "load", rows)
    record = tmp_path / "none" / "host" / "round-1" / "load_run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"requests": None}))
    found = examined(tmp_path / "none")
    assert "requests is missing, though the run ended" in said(found)


@pytest.mark.parametrize("suffix", ["replica_events", "replica_stats"])
def test_a_file_of_the_replicas_that_is_missing_is_told(tmp_path: Path, suffix: str) -> None:
    replicas = {"list": [{"name": "host", "id": "1", "node": "n1", "sampled": True}], "problems": []}
    assert kinds(one_run(tmp_path, replicas=replicas)) == set()
    path = tmp_path / "host" / "round-1" / f"load_{suffix}.csv"
    whole = path.read_bytes()
    path.unlink()
    found = examined(tmp_path)
    assert kinds(found) == {"unreadable"}
    assert f"load_{suffix}.csv is missing, though replicas were sampled" in said(found)
    for zeros in (b"\0" * 4096, whole + b"\0" * 100):
        path.write_bytes(zeros)
        assert kinds(examined(tmp_path)) == {"unreadable"}
        assert "of zero" in said(examined(tmp_path))


def test_a_service_is_elsewhere_by_the_nodes_of_the_record_too(tmp_path: Path) -> None:
    replicas = {"list": [{"name": "a", "id": "1", "node": "other", "sampled": True}], "problems": []}
    one_run(tmp_path, samples=[], replicas=replicas, machine={"node": "here"})
    (tmp_path / "host" / "round-1" / "load_replica_stats.csv").unlink()
    (run,) = read_results(tmp_path).runs
    assert not run.is_local


def test_texts_that_are_not_known(tmp_path: Path) -> None:
    unknown = one_run(tmp_path / "load", steady_requests(50, text_id=161))
    assert kinds(unknown) == {"contradiction"}
    assert "600 requests sent a text that is not one of the 160: number 161" in said(unknown)
    silent = single_pass(tmp_path / "silent", [row | {"text_id": None} for row in texts_once()])
    assert kinds(silent) == {"incomplete"}
    assert "160 requests of the single pass do not say which text they sent" in said(silent)
    assert kinds(single_pass(tmp_path / "count", texts_once(), texts={"sha256": "b" * 64})) == {"incomplete"}


@pytest.mark.parametrize(
    ("plan", "limits", "expected"),
    [
        ({"user_class": "new_connection"}, {}, "the users were KeepAliveUser, the plan says NewConnectionUser"),
        ({"cpus": 1}, {"cpus": 2}, "the limit of cpus was 2, the plan says 1"),
        ({"memory_mb": 1024}, {"memory_bytes": 2**31}, "limit of memory_bytes was 2,147,483,648, the plan says 1,073"),
    ],
)
def test_users_and_limits_that_are_not_the_plans(
    tmp_path: Path, plan: dict[str, Any], limits: dict[str, Any], expected: str
) -> None:
    write_experiment(tmp_path, [measured("docker") | {"rounds": [a_round("docker", limits=limits)]}])
    write_run(tmp_path / "docker", "load", steady_requests(50), steady_samples(0.5))
    path = tmp_path / "experiment.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"plan": record["plan"] | plan}))
    assert kinds(examined(tmp_path)) == {"circumstances"}
    assert expected in said(examined(tmp_path))


@pytest.mark.parametrize(
    ("requests", "samples", "kind", "expected"),
    [
        (
            {"inference_ms": 20},
            {},
            "contradiction",
            "500 answers report more time in the service than the whole response",
        ),
        ({}, {"memory_limit_bytes": 50e6}, "contradiction", "holds more memory than its limit"),
        ({}, {"cpu_seconds": 3}, "contradiction", "the samples of host show 36.0 s of CPU in 12.0 s, more than 2 CPUs"),
        ({"response_time_ms": 0}, {}, "unreadable", "response_time_ms is 0, which can't have been measured"),
    ],
)
def test_values_that_are_impossible(
    tmp_path: Path, requests: dict[str, Any], samples: dict[str, Any], kind: str, expected: str
) -> None:
    rows = [row | samples for row in steady_samples(0.5)]
    if "cpu_seconds" in samples:
        rows = steady_samples(samples["cpu_seconds"])
    machine = {"node": "n1", "cpu_count": 2}
    found = one_run(tmp_path, [row | requests for row in steady_requests(50)], rows, machine=machine)
    assert kinds(found) == {kind}
    assert expected in said(found)


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
