"""Figures whose right values are known beforehand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from recorded_runs import (
    MODEL,
    START,
    measured,
    request,
    sample,
    steady_requests,
    steady_samples,
    write_experiment,
    write_run,
)

from analysis.analyse import analyse
from analysis.judge import words
from analysis.judge.comparability import why_unlike
from analysis.measure.balance import evenness, expected_largest_share, replica_shares, replicas_of
from analysis.measure.hidden_cpu import hidden_cpu
from analysis.measure.quantity import QUANTITIES
from analysis.measure.resources import resources
from analysis.measure.rounds import summarize
from analysis.measure.series import cpu_per_second, throughput_per_second
from analysis.read.results import read_results
from analysis.read.runs import Run
from analysis.show.markdown import render_markdown
from analysis.show.page import render


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


def test_cpu_comes_from_counters_of_all_replicas(tmp_path: Path) -> None:
    samples = steady_samples(0.5) + steady_samples(0.25, replica="other", replica_id="2")
    load = host(tmp_path, requests=steady_requests(10), samples=samples)
    summary = summarize(load)
    assert summary["cpu_percent"].value == pytest.approx(75)
    assert summary["cpu_ms_per_answer"].value == pytest.approx(0.75 * 10 * 1000 / 100)
    assert summary["memory_mean_mb"].value == pytest.approx(200)
    assert summary["memory_max_mb"].value == pytest.approx(200)


def test_a_counter_that_begins_anew_gives_no_negative_rate(tmp_path: Path) -> None:
    samples = [sample(2, 50), sample(3, 51), sample(4, 0.5), sample(5, 1.5)]
    load = host(tmp_path, requests=steady_requests(10), samples=samples)
    assert cpu_per_second(load).tolist() == pytest.approx([100, 50, 100])


def test_cpu_an_answer_counts_the_answers_that_came_while_it_was_sampled(tmp_path: Path) -> None:
    samples = [sample(2, 50), sample(3, 51), sample(4, 51.5), sample(5, 52.5)]
    load = host(tmp_path, requests=steady_requests(10), samples=samples)
    figure = summarize(load)["cpu_ms_per_answer"]
    assert figure.value == pytest.approx(2.5 * 1000 / 30)
    assert figure.n == 30


def test_samples_more_than_a_second_apart_lose_no_replica(tmp_path: Path) -> None:
    slow = [
        sample(at + shift, 1 + (at + shift) * 0.2, replica=name, replica_id=name, memory_bytes=50e6)
        for name, shift in (("a", 0.0), ("b", 0.7))
        for at in (-1.0, 0.6, 2.2, 3.8, 5.4, 7.0, 8.6, 10.2, 11.8, 13.4)
    ]
    load = host(tmp_path, requests=steady_requests(10), samples=slow)
    summary = summarize(load)
    assert summary["cpu_percent"].value == pytest.approx(40)
    assert summary["cpu_percent"].n == 10
    assert summary["memory_mean_mb"].value == summary["memory_max_mb"].value == pytest.approx(100)


def test_a_clock_that_differs_moves_nothing(tmp_path: Path) -> None:
    skewed = [row | {"read_at_unix_s": row["read_at_unix_s"] - 3600} for row in steady_samples(0.5, 1000)]
    load = host(tmp_path, requests=steady_requests(10), samples=skewed)
    summary = summarize(load)
    assert summary["cpu_percent"].value == pytest.approx(50)
    assert summary["interface_in_mb"].value == pytest.approx(0.01)


def test_nothing_is_made_up_beyond_the_samples(tmp_path: Path) -> None:
    half = [row for row in steady_samples(0.5) if row["sampled_at_unix_s"] <= START + 7]
    load = host(tmp_path, requests=steady_requests(10), samples=half)
    assert cpu_per_second(load).index.tolist() == [0, 1, 2, 3, 4]


def broken_off(at_s: float, names: str = "abc") -> list[dict[str, Any]]:
    """Samples of replicas of which all but the first break off so many seconds into the measured phase."""
    return [
        row
        for name in names
        for row in steady_samples(0.5, 1000, replica=name, replica_id=name)
        if name == names[0] or row["sampled_at_unix_s"] <= START + 2 + at_s
    ]


def test_sums_of_samples_that_broke_off_are_no_totals(tmp_path: Path) -> None:
    rows = [request(at / 50, replica="abc"[at % 3]) for at in range(600)]
    load = host(tmp_path, requests=rows, samples=broken_off(3))
    summary = summarize(load)
    for key in ("interface_in_mb", "interface_out_mb", "memory_max_mb"):
        assert summary[key].missing == "samples cover 3 of 10 s"
    for key, value in (("cpu_percent", 150), ("cpu_ms_per_answer", 30), ("interface_in_kb_per_s", 3)):
        assert summary[key].value == pytest.approx(value, rel=0.02)
        assert summary[key].is_part
        assert "of the part that samples cover" in words.interval(summary[key], 1, 1)
    whole, part, _ = replica_shares(load)
    assert whole.received_bytes == pytest.approx(10_000)
    assert math.isnan(whole.byte_share)
    assert math.isnan(part.received_bytes)
    assert part.missing == "samples cover 3 of 10 s"
    assert "b was sampled for part of the run only: samples cover 3 of 10 s" in " ".join(
        doubt.text for doubt in analyse(read_results(tmp_path)).validity.invalid
    )


def test_the_page_says_which_part_samples_cover(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("swarm-3")])
    rows = [request(at / 50, replica="abc"[at % 3]) for at in range(600)]
    write_run(tmp_path / "swarm-3", "load", rows, broken_off(8))
    analysis = analyse(read_results(tmp_path))
    assert analysis.validity.is_valid
    page = render(analysis)
    assert "<td>not measured: samples cover 8 of 10 s</td>" in page
    assert ">not measured<small>samples cover 8 of 10 s</small></td>" in page
    assert "0.008 MB" not in page


def test_samples_that_end_an_interval_early_cover_the_whole_phase(tmp_path: Path) -> None:
    load = host(tmp_path, requests=steady_requests(10), samples=broken_off(9.5))
    assert summarize(load)["interface_in_mb"].value == pytest.approx(0.0285)
    load = host(tmp_path, requests=steady_requests(10), samples=broken_off(8.5))
    assert summarize(load)["interface_in_mb"].missing == "samples cover 8.5 of 10 s"


@pytest.mark.parametrize("samples", [[], [sample(3, 1, replica="b", replica_id="b")]])
def test_a_replica_that_was_never_sampled_leaves_the_sum_unmeasured(tmp_path: Path, samples: list[Any]) -> None:
    listed = [{"name": name, "id": name, "node": "n1", "sampled": True, "reason": None} for name in "ab"]
    replicas = {"asked": "swarm:web", "found": "swarm:web", "sampling": "x", "interval_s": 0.25, "problems": []}
    own = steady_samples(0.5, 1000, replica="a", replica_id="a")
    load = host(tmp_path, requests=steady_requests(10), samples=own + samples, replicas=replicas | {"list": listed})
    summary = summarize(load)
    for key in ("cpu_percent", "memory_mean_mb", "interface_in_mb"):
        assert summary[key].missing == "b was not sampled in the measured phase"
    assert cpu_per_second(load).empty


@pytest.mark.parametrize("lacks", ["net_rx_bytes", "memory_bytes"])
def test_a_counter_that_one_replica_lacks_is_in_no_sum(tmp_path: Path, lacks: str) -> None:
    samples = steady_samples(0.5, 1000, replica="a", replica_id="a")
    samples += steady_samples(0.5, 1000, replica="b", replica_id="b")
    for row in samples[25:]:
        row[lacks] = None
    summary = summarize(host(tmp_path, requests=steady_requests(10), samples=samples))
    assert summary["cpu_percent"].value == pytest.approx(100)
    key = "interface_in_mb" if lacks == "net_rx_bytes" else "memory_mean_mb"
    assert not summary[key].is_measured


def test_replicas_that_were_never_sampled_together_give_no_rate(tmp_path: Path) -> None:
    samples = [row for row in steady_samples(0.5, replica="a", replica_id="a") if row["sampled_at_unix_s"] < START + 6]
    samples += [row for row in steady_samples(0.5, replica="b", replica_id="b") if row["sampled_at_unix_s"] > START + 7]
    summary = summarize(host(tmp_path, requests=steady_requests(10), samples=samples))
    assert summary["cpu_ms_per_answer"].missing == "the replicas were not sampled at the same time"


def test_hidden_cpu_of_samples_that_broke_off_is_of_their_part(tmp_path: Path) -> None:
    grows = [machine_sample(at, docker_proxy_cpu_seconds=at * 0.5) for at in range(1, 6)]
    load = host(tmp_path, requests=steady_requests(50), samples=steady_samples(1.0), machine_samples=grows)
    proxy = hidden_cpu(load)["hidden_proxy_cpu_ms"]
    assert proxy.value == pytest.approx(10, rel=0.01)
    assert proxy.is_part


def test_a_replica_out_of_reach_leaves_the_sum_unmeasured(tmp_path: Path) -> None:
    away = {"name": "web.2", "id": "2", "node": "n2", "sampled": False, "reason": "runs on another node"}
    replicas = {"asked": "swarm:web", "found": "swarm:web", "sampling": "x", "interval_s": 0.25, "problems": []}
    load = host(
        tmp_path, requests=steady_requests(10), samples=steady_samples(0.5), replicas=replicas | {"list": [away]}
    )
    summary = summarize(load)
    for figure in (summary["cpu_percent"], summary["cpu_ms_per_answer"], summary["memory_max_mb"]):
        assert not figure.is_measured
        assert figure.missing == "web.2 was not sampled: it runs on another node"


def test_a_host_process_has_no_interfaces_and_that_is_not_zero(tmp_path: Path) -> None:
    load = host(tmp_path, requests=steady_requests(10), samples=steady_samples(0.5))
    summary = summarize(load)
    assert not summary["interface_out_mb"].is_measured
    assert "no network interfaces of its own" in str(summary["interface_out_mb"].missing)
    assert summary["body_in_mb"].value == 100 * 100 / 1e6
    assert summary["body_out_mb"].value == 100 * 200 / 1e6
    assert summary["body_out_kb_per_s"].value == pytest.approx(10 * 200 / 1e3)


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        ({"CPU": "cgroup v2: cpu.stat"}, "the container uses the machine's own network (--network host)"),
        ({"CPU": "cgroup v2: cpu.stat", "network": "/proc/PID/net/dev"}, "the engine told no counters"),
        ({}, "the engine told no counters"),
    ],
)
def test_why_a_container_has_no_counters_of_interfaces_is_told(
    tmp_path: Path, sources: dict[str, str], reason: str
) -> None:
    replica = {"name": "c", "id": "1", "node": "n", "sampled": True, "reason": None, "sources": sources}
    replicas = {"asked": "container:c", "found": "container:c", "list": [replica], "problems": []}
    samples = steady_samples(0.5, replica="c", replica_id="1")
    load = host(tmp_path, requests=steady_requests(10), samples=samples, replicas=replicas)
    assert str(summarize(load)["interface_out_mb"].missing).startswith(reason)


def test_bytes_through_interfaces_are_summed_over_replicas(tmp_path: Path) -> None:
    samples = steady_samples(0.5, 1000) + steady_samples(0.5, 3000, replica="other", replica_id="2")
    load = host(tmp_path, requests=steady_requests(10), samples=samples)
    traffic = summarize(load)
    assert traffic["interface_in_mb"].value == pytest.approx(0.04)
    assert traffic["interface_out_mb"].value == pytest.approx(0.08)
    assert traffic["interface_in_kb_per_s"].value == pytest.approx(4)
    assert traffic["interface_kb_per_1000"].value == pytest.approx(12_000 * 10 / 100)


def test_shares_join_requests_by_name_or_by_id(tmp_path: Path) -> None:
    requests = [request(2 + i / 100, replica="web.1" if i % 4 else "2") for i in range(400)]
    samples = steady_samples(0.1, 3000, replica="web.1", replica_id="1")
    samples += steady_samples(0.1, 1000, replica="web.2", replica_id="2")
    load = host(tmp_path, requests=requests, samples=samples)
    first, second = replica_shares(load)
    assert (first.name, first.requests, first.request_share, first.byte_share) == ("web.1", 300, 0.75, 0.75)
    assert (second.name, second.requests, second.request_share, second.byte_share) == ("web.2", 100, 0.25, 0.25)


def test_a_replica_that_answered_nothing_has_a_share_of_zero(tmp_path: Path) -> None:
    samples = steady_samples(0.1, 1000, replica="web.1", replica_id="1")
    samples += steady_samples(0.1, 0, replica="web.2", replica_id="2")
    load = host(tmp_path, requests=steady_requests(10, replica="web.1"), samples=samples)
    assert [(share.name, share.request_share, share.byte_share) for share in replica_shares(load)] == [
        ("web.1", 1, 1),
        ("web.2", 0, 0),
    ]
    assert replicas_of(load) == 2


@pytest.mark.parametrize(
    ("users", "replicas", "reused", "expected"), [(4, 3, 1, 0.5), (8, 3, 1, 3 / 8), (8, 3, 0, 1 / 3)]
)
def test_the_largest_share_to_expect(tmp_path: Path, users: int, replicas: int, reused: int, expected: float) -> None:
    load = host(tmp_path, requests=steady_requests(10, connection_reused=reused), users=users)
    assert expected_largest_share(load, replicas)[0] == pytest.approx(expected)


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


def test_a_second_without_one_replicas_samples_is_in_no_mean(tmp_path: Path) -> None:
    both = [*steady_samples(1.0), *steady_samples(1.0, replica="b", replica_id="b")]
    short = [row for row in both if row["replica"] != "b" or row["sampled_at_unix_s"] <= START + 9]
    load = host(tmp_path, requests=steady_requests(50), samples=short)
    assert set(cpu_per_second(load).round(6)) == {200.0}
    assert len(cpu_per_second(load)) == 7
    summary = summarize(load)
    assert summary["cpu_percent"].value == pytest.approx(200)
    assert summary["memory_mean_mb"].value == 2 * short[0]["memory_bytes"] / 1e6


def machine_sample(at_s: float, **seconds: float) -> dict[str, object]:
    """A sample of the machine ``at_s`` seconds into the run."""
    return {"sampled_at_unix_s": START + at_s, "phase": "measured"} | seconds


def test_hidden_cpu_is_what_grew_in_the_measured_phase_over_its_answers(tmp_path: Path) -> None:
    grows = [machine_sample(at, docker_proxy_cpu_seconds=at * 0.5, softirq_cpu_seconds=at * 0.1) for at in range(1, 13)]
    load = host(tmp_path, requests=steady_requests(50), samples=steady_samples(1.0), machine_samples=grows)
    hidden = hidden_cpu(load)
    assert hidden["hidden_proxy_cpu_ms"].value == pytest.approx(0.5 * 1000 / 50, rel=0.01)
    assert hidden["hidden_softirq_cpu_ms"].value == pytest.approx(2, rel=0.01)
    assert not hidden["hidden_daemon_cpu_ms"].is_measured
    assert not hidden["hidden_generator_cpu_ms"].is_measured


def test_hidden_cpu_of_another_machine_is_not_measured(tmp_path: Path) -> None:
    grows = [machine_sample(at, softirq_cpu_seconds=at * 0.1) for at in range(1, 13)]
    write_experiment(tmp_path, [measured("host")])
    write_run(tmp_path / "host", "load", steady_requests(50), machine_samples=grows, host="http://server:5000")
    load = load_of(tmp_path)
    assert {estimate.missing for estimate in hidden_cpu(load).values()} == {
        "the service ran on another machine than the load generator"
    }


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


def shared_by(folder: Path, counts: dict[str, int], reused: int, opened: dict[str, int] | None = None) -> Run:
    """A run in which each replica gave so many answers, over connections that were kept or not."""
    rows = [
        request(2 + number / 100, replica=name, connection_reused=reused)
        for name, count in counts.items()
        for number in range(count)
    ]
    rows += [
        request(1, replica=name, connection_reused=0) for name, count in (opened or {}).items() for _ in range(count)
    ]
    load = host(folder, requests=rows)
    return load


def test_jains_index_and_evenness_of_requests_with_connections_of_their_own(tmp_path: Path) -> None:
    even = evenness(shared_by(tmp_path / "even", {"a": 100, "b": 100, "c": 100}, 0))
    assert even is not None
    assert (even.jain, even.p_value, even.cards) == (1.0, 1.0, "answers")
    assert even.largest == pytest.approx(1 / 3)
    uneven = evenness(shared_by(tmp_path / "uneven", {"a": 200, "b": 100, "c": 100}, 0))
    assert uneven is not None
    assert uneven.jain == pytest.approx(400**2 / (3 * 60000))
    assert uneven.p_value < 1e-9
    assert uneven.expected_largest == pytest.approx(1 / 3)


def test_evenness_of_kept_connections_is_that_of_the_connections(tmp_path: Path) -> None:
    few = evenness(shared_by(tmp_path / "few", {"a": 200, "b": 100, "c": 100}, 1, {"a": 2, "b": 1, "c": 1}))
    assert few is not None
    assert few.cards == "connections"
    assert math.isnan(few.p_value)
    assert few.largest == few.expected_largest == 0.5
    many = evenness(shared_by(tmp_path / "many", {"a": 200, "b": 100, "c": 100}, 1, {"a": 20, "b": 10, "c": 10}))
    assert many is not None
    assert many.p_value == pytest.approx(0.0821, abs=1e-4)
    assert evenness(shared_by(tmp_path / "one", {"a": 10}, 1)) is None


def test_shares_of_a_whole_that_lacks_a_replica_are_none(tmp_path: Path) -> None:
    rows = [request(2 + number / 50, replica=name) for name in "abc" for number in range(100)]
    sampled = [row for name in "ab" for row in steady_samples(1.0, 1000.0, replica=name, replica_id=name)]
    load = host(tmp_path, requests=rows, samples=sampled)
    shares = replica_shares(load)
    assert [share.name for share in shares] == ["a", "b", "c"]
    assert all(math.isnan(share.byte_share) and math.isnan(share.cpu_share) for share in shares)
    assert shares[0].received_bytes > 0


@pytest.mark.parametrize("column", ["net_rx_bytes", "memory_bytes", "net_tx_bytes"])
def test_a_counter_that_stops_in_mid_run_is_no_total_of_the_run(tmp_path: Path, column: str) -> None:
    stopped = steady_samples(0.5, 1000)
    for row in stopped[12:]:
        row[column] = None
    load = host(tmp_path, requests=steady_requests(50), samples=stopped)
    summary = summarize(load)
    assert summary["cpu_ms_per_answer"].value == pytest.approx(10)
    assert not summary["cpu_ms_per_answer"].is_part
    if column == "memory_bytes":
        assert summary["memory_mean_mb"].is_part
        assert not summary["memory_max_mb"].is_measured
    else:
        assert not summary["interface_in_mb"].is_measured
        assert "throughout" in str(summary["interface_in_mb"].missing)
    analysis = analyse(read_results(tmp_path))
    assert "was recorded for part of the run only: not for 6.5 s" in " ".join(
        doubt.text for doubt in analysis.validity.invalid
    )
    text = render_markdown(analysis)
    assert (f"100.0, {words.PART}" in text) == (column == "memory_bytes")
    assert "not measured: " in text


def test_the_last_sample_of_a_counter_may_be_lacking(tmp_path: Path) -> None:
    samples = steady_samples(0.5, 1000)
    samples[-1]["net_rx_bytes"] = samples[7]["net_rx_bytes"] = None
    summary = summarize(host(tmp_path, requests=steady_requests(50), samples=samples))
    assert summary["interface_in_mb"].value == pytest.approx(0.01, rel=0.1)


def test_a_run_without_samples_has_a_reason_for_each_quantity_that_needs_them() -> None:
    run = read_results(ROOT / "examples" / "engine-keep-alive").runs[-1]
    needed = {key for key, quantity in QUANTITIES.items() if quantity.is_sampled}
    assert set(resources(run)) == needed
    unsampled = resources(replace(run, samples=run.samples[:0]))
    assert set(unsampled) == needed
    assert all(estimate.missing for estimate in unsampled.values())
