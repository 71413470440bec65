"""CPU, memory and bytes from the samples of replicas and of the machine, whose right values are known beforehand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from recorded_runs import (
    START,
    measured,
    request,
    sample,
    steady_requests,
    steady_samples,
    write_experiment,
    write_run,
)
from test_analysis_summary import host, load_of

from analysis.analyse import analyse
from analysis.judge import words
from analysis.measure.balance import replica_shares
from analysis.measure.hidden_cpu import hidden_cpu
from analysis.measure.quantity import QUANTITIES
from analysis.measure.resources import resources
from analysis.measure.rounds import summarize
from analysis.measure.series import cpu_per_second
from analysis.read.results import read_results
from analysis.show.markdown import render_markdown
from analysis.show.page import render


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
