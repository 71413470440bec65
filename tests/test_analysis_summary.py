"""Figures whose right values are known beforehand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from recorded_runs import (
    MODEL,
    measured,
    request,
    sample,
    steady_requests,
    steady_samples,
    write_experiment,
    write_run,
)

from analysis.frames import Deployment, read_results
from analysis.summary import (
    expected_largest_share,
    quantile,
    ratio,
    replica_shares,
    summarize,
    why_unlike,
)


def host(folder: Path, **files: object) -> Deployment:
    """The host's deployment, read back from a folder with one load run."""
    write_experiment(folder, [measured("host")])
    write_run(folder / "host", "load", **files)  # type: ignore[arg-type]
    return read_results(folder).deployments[0]


def test_the_warm_up_is_in_no_figure(tmp_path: Path) -> None:
    slow_warm_up = [request(at, 500) for at in (0.0, 0.5, 1.0, 1.5)]
    load = host(tmp_path, requests=slow_warm_up + [request(2 + i / 10, 10) for i in range(100)]).load
    assert load is not None
    summary = summarize(load)
    assert summary.requests == 100
    assert summary.latency.median.value == 10
    assert summary.latency.p99.value == 10
    assert summary.seconds == 10


def test_percentiles_are_exact_and_say_from_how_many(tmp_path: Path) -> None:
    load = host(tmp_path, requests=[request(2 + i / 200, float(i)) for i in range(1, 1001)]).load
    assert load is not None
    latency = summarize(load).latency
    assert latency.median.value == 500.5
    assert latency.p95.value == pytest.approx(950.05)
    assert latency.median.n == 1000
    assert latency.median.low < 500.5 < latency.median.high


def test_the_interval_of_a_quantile_covers_the_truth_as_often_as_it_says() -> None:
    noise = np.random.default_rng(7)
    inside = sum(
        bool(figure.low <= math.log(2) <= figure.high)
        for figure in (quantile(noise.exponential(size=200), 0.5) for _ in range(300))
    )
    assert 0.91 < inside / 300 < 0.995


def test_too_few_requests_give_no_upper_bound() -> None:
    figure = quantile(np.arange(50.0), 0.99)
    assert math.isnan(figure.high)
    assert not math.isnan(figure.low)


def test_failed_requests_count_as_failures_and_in_nothing_else(tmp_path: Path) -> None:
    failed = [request(3, 1.0, status=0, error="refused", queue_ms=None, inference_ms=None) for _ in range(5)]
    load = host(tmp_path, requests=steady_requests(10) + failed).load
    assert load is not None
    summary = summarize(load)
    assert (summary.requests, summary.failures) == (105, 5)
    assert summary.latency.median.value == 10
    assert summary.latency.median.n == 100


def test_throughput_is_answers_a_second(tmp_path: Path) -> None:
    load = host(tmp_path, requests=steady_requests(20)).load
    assert load is not None
    throughput = summarize(load).throughput
    assert throughput.value == pytest.approx(20)
    assert throughput.n == 10


def test_the_time_is_split_by_what_the_service_said(tmp_path: Path) -> None:
    load = host(tmp_path, requests=steady_requests(10)).load
    assert load is not None
    summary = summarize(load)
    assert (summary.queue_ms.value, summary.inference_ms.value, summary.rest_ms.value) == (1.0, 5.0, 4.0)


def test_what_the_service_did_not_say_is_missing(tmp_path: Path) -> None:
    load = host(tmp_path, requests=steady_requests(10, queue_ms=None)).load
    assert load is not None
    summary = summarize(load)
    assert not summary.queue_ms.is_measured
    assert summary.queue_ms.missing == "the service did not say (Server-Timing)"


def test_cpu_comes_from_counters_of_all_replicas(tmp_path: Path) -> None:
    samples = steady_samples(0.5) + steady_samples(0.25, replica="other", replica_id="2")
    load = host(tmp_path, requests=steady_requests(10), samples=samples).load
    assert load is not None
    summary = summarize(load)
    assert summary.cpu_percent.value == pytest.approx(75)
    assert summary.cpu_ms_per_request.value == pytest.approx(0.75 * 10.5 * 1000 / 100)
    assert summary.memory_mean_bytes.value == pytest.approx(200e6)


def test_a_counter_that_begins_anew_gives_no_negative_rate(tmp_path: Path) -> None:
    samples = [sample(2, 50), sample(3, 51), sample(4, 0.5), sample(5, 1.5)]
    load = host(tmp_path, requests=steady_requests(10), samples=samples).load
    assert load is not None
    assert summarize(load).cpu_ms_per_request.value == pytest.approx(2.5 * 1000 / 100)


def test_a_host_process_has_no_interfaces_and_that_is_not_zero(tmp_path: Path) -> None:
    load = host(tmp_path, requests=steady_requests(10), samples=steady_samples(0.5)).load
    assert load is not None
    summary = summarize(load)
    assert not summary.interface_traffic.sent_bytes.is_measured
    assert "no network interfaces of its own" in str(summary.interface_traffic.sent_bytes.missing)
    assert summary.client_traffic.received_bytes.value == 100 * 100
    assert summary.client_traffic.sent_bytes.value == 100 * 200


def test_bytes_through_interfaces_are_summed_over_replicas(tmp_path: Path) -> None:
    samples = steady_samples(0.5, 1000) + steady_samples(0.5, 3000, replica="other", replica_id="2")
    load = host(tmp_path, requests=steady_requests(10), samples=samples).load
    assert load is not None
    traffic = summarize(load).interface_traffic
    assert traffic.received_bytes.value == pytest.approx(4000 * 10.5)
    assert traffic.sent_bytes.value == pytest.approx(8000 * 10.5)


def test_shares_join_requests_by_name_or_by_id(tmp_path: Path) -> None:
    requests = [request(2 + i / 100, replica="web.1" if i % 4 else "2") for i in range(400)]
    samples = steady_samples(0.1, 3000, replica="web.1", replica_id="1")
    samples += steady_samples(0.1, 1000, replica="web.2", replica_id="2")
    load = host(tmp_path, requests=requests, samples=samples).load
    assert load is not None
    first, second = replica_shares(load)
    assert (first.name, first.requests, first.request_share, first.byte_share) == ("web.1", 300, 0.75, 0.75)
    assert (second.name, second.requests, second.request_share, second.byte_share) == ("web.2", 100, 0.25, 0.25)


@pytest.mark.parametrize(
    ("users", "replicas", "reused", "expected"), [(4, 3, 1, 0.5), (8, 3, 1, 3 / 8), (8, 3, 0, 1 / 3)]
)
def test_the_largest_share_to_expect(tmp_path: Path, users: int, replicas: int, reused: int, expected: float) -> None:
    load = host(tmp_path, requests=steady_requests(10, connection_reused=reused), users=users).load
    assert load is not None
    assert expected_largest_share(load, replicas)[0] == pytest.approx(expected)


def test_only_like_runs_are_compared(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host"), measured("docker"), measured("compose")])
    for name in ("host", "docker"):
        write_run(tmp_path / name, "load", steady_requests(10))
    other = {"model": MODEL | {"sha256": "c" * 64}}
    write_run(tmp_path / "compose", "load", steady_requests(10), service=other, users=9)
    one, docker, compose = read_results(tmp_path).deployments
    assert why_unlike(docker, one) is None
    unlike = why_unlike(compose, one)
    assert unlike == "not compared: model, users not the same"
    assert one.load is not None
    figure = summarize(one.load).latency.median
    assert ratio(figure, figure, None).value == 1
    assert math.isnan(ratio(figure, figure, unlike).value)
