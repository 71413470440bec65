"""Each reason not to trust the requests of a load or of a single pass, provoked and called by its name."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from recorded_runs import (
    measured,
    request,
    steady_requests,
    steady_samples,
    texts_once,
    write_experiment,
    write_run,
)
from test_analysis_validity import examined, kinds, one_run, said

from analysis.analyse import analyse
from analysis.judge import words
from analysis.judge.doubts import Validity
from analysis.read.results import read_results


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


def test_texts_that_are_not_known(tmp_path: Path) -> None:
    unknown = one_run(tmp_path / "load", steady_requests(50, text_id=161))
    assert kinds(unknown) == {"contradiction"}
    assert "600 requests sent a text that is not one of the 160: number 161" in said(unknown)
    silent = single_pass(tmp_path / "silent", [row | {"text_id": None} for row in texts_once()])
    assert kinds(silent) == {"incomplete"}
    assert "160 requests of the single pass do not say which text they sent" in said(silent)
    assert kinds(single_pass(tmp_path / "count", texts_once(), texts={"sha256": "b" * 64})) == {"incomplete"}


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
