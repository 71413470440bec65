"""Figures whose right values are known beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_runs import (
    MODEL,
    START,
    measured,
    request,
    steady_requests,
    steady_samples,
    write_experiment,
    write_run,
)

from analysis.analyse import analyse
from analysis.judge.comparability import why_unlike
from analysis.measure.rounds import summarize
from analysis.measure.series import throughput_per_second
from analysis.read.results import read_results
from analysis.read.runs import Run


def host(folder: Path, **files: object) -> Run:
    """The host's load, read back from a folder with one round of it."""
    write_experiment(folder, [measured("host")])
    write_run(folder / "host", "load", **files)  # type: ignore[arg-type]
    return load_of(folder)


def load_of(folder: Path) -> Run:
    """The load of the first deployment's only round."""
    (load,) = read_results(folder).deployments[0].loads.values()
    return load


def test_the_warm_up_is_in_no_figure(tmp_path: Path) -> None:
    slow_warm_up = [request(at, 500) for at in (0.0, 0.5, 1.0, 1.5)]
    load = host(tmp_path, requests=slow_warm_up + [request(2 + i / 10, 10) for i in range(100)])
    summary = summarize(load)
    assert summary["requests"].value == 100
    assert summary["median_ms"].value == 10
    assert summary["p99_ms"].value == 10


def test_percentiles_are_exact_and_say_from_how_many(tmp_path: Path) -> None:
    load = host(tmp_path, requests=[request(2 + i / 200, float(i)) for i in range(1, 1001)])
    latency = summarize(load)
    assert latency["median_ms"].value == 500.5
    assert latency["p95_ms"].value == pytest.approx(950.05)
    assert latency["median_ms"].n == 1000
    assert not latency["median_ms"].has_interval


def test_failed_requests_count_as_failures_and_in_nothing_else(tmp_path: Path) -> None:
    failed = [request(3, 1.0, status=0, error="refused", queue_ms=None, inference_ms=None) for _ in range(5)]
    load = host(tmp_path, requests=steady_requests(10) + failed)
    summary = summarize(load)
    assert (summary["requests"].value, summary["failures"].value) == (105, 5)
    assert summary["median_ms"].value == 10
    assert summary["median_ms"].n == 100


def test_throughput_is_answers_a_second(tmp_path: Path) -> None:
    load = host(tmp_path, requests=steady_requests(20))
    throughput = summarize(load)["throughput_per_s"]
    assert throughput.value == pytest.approx(20)
    assert throughput.n == 200


def test_an_answer_counts_in_the_second_in_which_it_came(tmp_path: Path) -> None:
    sent_in_warm_up = [request(1.5, 1000), request(1.9, 50)]
    load = host(tmp_path, requests=[*sent_in_warm_up, request(2.2, 500), request(11.9, 500)])
    assert throughput_per_second(load).tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 0]


def test_the_time_is_split_by_what_the_service_said(tmp_path: Path) -> None:
    load = host(tmp_path, requests=steady_requests(10))
    summary = summarize(load)
    assert (summary["queue_ms"].value, summary["inference_ms"].value, summary["rest_ms"].value) == (1.0, 5.0, 4.0)


def test_what_the_service_did_not_say_is_missing(tmp_path: Path) -> None:
    load = host(tmp_path, requests=steady_requests(10, queue_ms=None))
    summary = summarize(load)
    assert not summary["queue_ms"].is_measured
    assert summary["queue_ms"].missing == "the service did not say (Server-Timing)"


def test_a_clock_that_differs_moves_nothing(tmp_path: Path) -> None:
    skewed = [row | {"read_at_unix_s": row["read_at_unix_s"] - 3600} for row in steady_samples(0.5, 1000)]
    load = host(tmp_path, requests=steady_requests(10), samples=skewed)
    summary = summarize(load)
    assert summary["cpu_percent"].value == pytest.approx(50)
    assert summary["interface_in_mb"].value == pytest.approx(0.01)


def test_only_like_runs_are_compared(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host"), measured("docker"), measured("compose")])
    for name in ("host", "docker"):
        write_run(tmp_path / name, "load", steady_requests(10))
    other = {"model": MODEL | {"sha256": "c" * 64}}
    write_run(tmp_path / "compose", "load", steady_requests(10), service=other, users=9)
    host_process, docker, compose = read_results(tmp_path).deployments
    assert why_unlike(docker, host_process) is None
    unlike = why_unlike(compose, host_process)
    assert str(unlike) == "not compared: they differ in model, users"
    write_run(tmp_path / "compose", "load", steady_requests(10), service=None)
    silent, again = (read_results(tmp_path).deployments[2] for _ in range(2))
    assert why_unlike(silent, silent) is None
    assert str(why_unlike(silent, again)) == "not compared: the service did not say which model answered"


def test_a_run_of_an_earlier_version_lacks_events_and_machine(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host")])
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(1.0))
    for name in ("load_replica_events.csv", "load_machine_stats.csv"):
        (tmp_path / "host" / "round-1" / name).unlink()
    load = load_of(tmp_path)
    assert load.events.empty
    assert load.machine.empty
    assert summarize(load)["cpu_percent"].value == pytest.approx(100)


def test_a_replica_that_ends_in_the_run_is_a_serious_doubt(tmp_path: Path) -> None:
    ended = {"at_unix_s": START + 5, "event": "ended", "replica": "web.1", "detail": "exit code 137"}
    write_experiment(tmp_path, [measured("host")])
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(1.0), events=[ended])
    (doubt,) = analyse(read_results(tmp_path)).validity.invalid
    assert doubt.kind == "restart"
    assert "web.1: ended, 5 s after the start (exit code 137)" in doubt.text
