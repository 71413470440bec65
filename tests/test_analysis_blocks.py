"""A load in blocks, whose right figures are known beforehand: how it is read, and what is measured of it."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_runs import (
    Target,
    a_round,
    change_rows,
    in_blocks,
    measured,
    write_blank,
    write_experiment,
    write_group,
    write_passes,
)

from analysis.analyse import analyse
from analysis.judge.verdicts import NONE
from analysis.measure.idle_cpu import idle_cpu_percent
from analysis.measure.parts import PARTS, measure_blank, parts
from analysis.measure.ratios import log_ratio_of_blocks, log_ratios, trimmed_mean
from analysis.measure.rounds import measure_load, summarize
from analysis.measure.series import throughput_per_second
from analysis.read.blocks import Axis, lay_machine, total_growth
from analysis.read.results import read_results
from analysis.read.runs import Run
from runfiles.columns import MACHINE_STATS_COLUMNS

HOST, DOCKER = Target("host"), Target("docker", per_second=50, busy=0.25)


def loads_of(folder: Path) -> dict[str, Run]:
    """The load of each deployment in round 1."""
    return {deployment.name: deployment.loads[1] for deployment in read_results(folder).deployments}


def assert_known(load: Run, target: Target, seconds: int = 10) -> None:
    """What ``write_group`` writes of a target."""
    start, end = load.window_unix_s
    assert end - start == pytest.approx(seconds)
    summary = summarize(load)
    assert summary["requests"].value == seconds * target.per_second
    assert throughput_per_second(load).tolist() == [target.per_second] * seconds
    assert summary["cpu_percent"].value == pytest.approx(target.busy * 100)
    assert summary["cpu_ms_per_answer"].value == pytest.approx(target.busy * 1000 / target.per_second)
    assert summary["interface_in_mb"].value == pytest.approx(0.001 * seconds)
    assert summary["interface_out_mb"].value == pytest.approx(0.002 * seconds)
    assert summary["interface_in_kb_per_s"].value == pytest.approx(1)
    assert summary["memory_mean_mb"].value == summary["memory_max_mb"].value == pytest.approx(100)
    assert summary["memory_percent"].value == pytest.approx(25)
    assert summary["memory_limit_mb"].value == pytest.approx(400)
    assert summary["hidden_softirq_cpu_ms"].value == pytest.approx(100 / target.per_second)
    assert not any(estimate.is_part for estimate in summary.values())


def test_figures_are_those_of_the_measured_parts(tmp_path: Path) -> None:
    loads = loads_of(in_blocks(tmp_path, [HOST, DOCKER]))
    for target in (HOST, DOCKER):
        assert_known(loads[target.name], target)
        assert np.ptp(loads[target.name].samples["sampled_at_unix_s"]) == pytest.approx(10)
    assert analyse(read_results(tmp_path)).validity.is_valid


def test_what_is_recorded_stays_as_it_was(tmp_path: Path) -> None:
    load = loads_of(in_blocks(tmp_path, [HOST, DOCKER]))["host"]
    recorded = load.as_recorded
    assert recorded.as_recorded is recorded
    assert load.rows_lost == recorded.rows_lost == 0
    assert set(recorded.samples["phase"]) == {"warm-up", "measured", "settling", "waiting"}
    assert np.ptp(recorded.samples["sampled_at_unix_s"]) > 25
    assert load.fingerprint == recorded.fingerprint


def test_a_block_that_was_repeated_is_in_no_figure(tmp_path: Path) -> None:
    slow = Target("docker", response_ms=lambda cycle: 8.0)
    loads = loads_of(in_blocks(tmp_path, [HOST, slow], disturbed=[("host", 3), ("host", 7), ("docker", 3)]))
    assert_known(loads["host"], HOST)
    assert_known(loads["docker"], slow)
    assert (loads["host"].blocks["phase"] == "disturbed").sum() == 2


def test_samples_that_miss_the_edges_are_interpolated(tmp_path: Path) -> None:
    in_blocks(tmp_path, [HOST, DOCKER])
    path = tmp_path / "host" / "round-1" / "load_replica_stats.csv"
    blocks = loads_of(tmp_path)["host"].blocks
    edges = {f"{edge:.3f}" for name in ("measured_from_unix_s", "measured_to_unix_s") for edge in blocks[name]}
    change_rows(path, lambda row: None if f"{float(row['sampled_at_unix_s']):.3f}" in edges else row)
    load = loads_of(tmp_path)["host"]
    percent = summarize(load)["cpu_percent"].value
    assert percent != pytest.approx(50)
    assert percent == pytest.approx(50, abs=5)  # an edge is up to 0.25 s from a sample


def test_a_counter_that_was_reset_gives_no_negative_rate_and_is_a_restart(tmp_path: Path) -> None:
    in_blocks(tmp_path, [HOST, DOCKER])
    path = tmp_path / "host" / "round-1" / "load_replica_stats.csv"
    middle = loads_of(tmp_path)["host"].blocks["began_at_unix_s"].iloc[6] - 0.5
    before = max(float(row["cpu_seconds"]) for row in _rows(path) if float(row["sampled_at_unix_s"]) < middle)

    def reset(row: dict[str, str]) -> dict[str, str]:
        is_after = float(row["sampled_at_unix_s"]) >= middle
        return row | {"cpu_seconds": str(float(row["cpu_seconds"]) - before)} if is_after else row

    change_rows(path, reset)
    assert summarize(loads_of(tmp_path)["host"])["cpu_percent"].value == pytest.approx(50)
    (doubt,) = analyse(read_results(tmp_path)).validity.of("host")
    assert doubt.kind == "restart"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_events_between_blocks_lie_where_the_blocks_meet() -> None:
    axis = Axis(np.array([1.0, 2.0]), np.array([10.0, 20.0]), np.array([11.0, 22.0]), 10.0)
    assert axis.window_unix_s == (10.0, 13.0)
    placed = axis.place(np.array([9.0, 10.5, 11.0, 15.0, 20.0, 21.0, 22.0, 25.0]))
    assert placed.tolist() == [9.0, 10.5, 11.0, 11.0, 11.0, 12.0, 13.0, 16.0]
    assert axis.is_inside(np.array([9.9, 10.0, 11.0, 11.1, 20.0, 22.1])).tolist() == [0, 1, 1, 0, 1, 0]


LATE = ("measured_to_unix_s", "ended_at_unix_s")
LENGTHS = st.lists(st.tuples(st.floats(0.1, 5), st.floats(0, 20)), min_size=1, max_size=12)


def _axis(lengths: list[tuple[float, float]]) -> Axis:
    """Parts of these lengths, each with a wait before it."""
    ends = np.cumsum([length + wait for length, wait in lengths])
    begins = ends - [length for length, _ in lengths]
    return Axis(np.arange(len(lengths)) + 1.0, begins, ends, float(begins[0]))


@given(LENGTHS, st.lists(st.floats(-10, 300), min_size=2, max_size=50))
def test_the_axis_keeps_the_order_of_times_and_their_distance_within_a_part(
    lengths: list[tuple[float, float]], times: list[float]
) -> None:
    axis = _axis(lengths)
    at = np.sort(times)
    placed = axis.place(at)
    assert (np.diff(placed) >= -1e-9).all()
    for (first, first_placed), (second, second_placed) in itertools.pairwise(zip(at, placed, strict=True)):
        assert second_placed - first_placed <= second - first + 1e-9
        is_one_part = (
            axis.is_inside(np.array([first, second])).all() and len(set(axis.part_of(np.array([first, second])))) == 1
        )
        if is_one_part:
            assert second_placed - first_placed == pytest.approx(second - first, abs=1e-6)


@given(LENGTHS, st.lists(st.floats(0, 100), min_size=2, max_size=40, unique=True), st.randoms())
def test_a_counter_grows_by_what_it_grew_in_the_parts(
    lengths: list[tuple[float, float]], at: list[float], chance: object
) -> None:
    axis = _axis(lengths)
    end = float(axis.to_unix_s[-1])
    times = np.sort([0.0, *(moment / 100 * end for moment in at), end])
    grown = np.cumsum([chance.random() for _ in times])  # type: ignore[attr-defined]
    machine = pd.DataFrame({"sampled_at_unix_s": times, "phase": "waiting"})
    for column in MACHINE_STATS_COLUMNS[1:-1]:
        machine[column.name] = grown
    laid = lay_machine(axis, machine)
    before, after = (np.interp(edges, times, grown) for edges in (axis.from_unix_s, axis.to_unix_s))
    total = laid["softirq_cpu_seconds"].iloc[-1] - laid["softirq_cpu_seconds"].iloc[0]
    assert total == pytest.approx((after - before).sum(), abs=1e-6)
    assert (laid["softirq_cpu_seconds"].diff().dropna() >= -1e-9).all()
    assert np.ptp(laid["sampled_at_unix_s"]) == pytest.approx(axis.lengths_s.sum(), abs=1e-6)


def test_a_reset_counter_grows_by_what_it_shows() -> None:
    assert total_growth(np.array([5.0, 6.0, 0.5, 1.0])).tolist() == [0.0, 1.0, 1.5, 2.0]


def test_a_killed_load_has_the_figures_of_its_whole_blocks(tmp_path: Path) -> None:
    in_blocks(tmp_path, [HOST, DOCKER], ended_at_unix_s=None, ended_by=None)
    path = tmp_path / "host" / "round-1" / "load_blocks.csv"
    rows = _rows(path)
    change_rows(path, lambda row: None if row in rows[-4:] else row)
    load = loads_of(tmp_path)["host"]
    assert_known(load, HOST, seconds=6)
    assert {doubt.kind for doubt in analyse(read_results(tmp_path)).validity.of("host")} == {"cut off"}
    path.unlink()
    load = loads_of(tmp_path)["host"]
    assert load.measured_requests.empty
    kinds = {doubt.kind for doubt in analyse(read_results(tmp_path)).validity.of("host")}
    assert kinds == {"cut off", "incomplete"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row | {"block": "2"}, "block 2 is there twice"),
        (
            lambda row: row | {"measured_to_unix_s": row["began_at_unix_s"]},
            "measured_to_unix_s of block 2 is earlier than measured_from_unix_s",
        ),
        (
            lambda row: row | {name: str(float(row[name]) + 0.5) for name in LATE if row["block"] == "2"},
            "block 3 begins before the block before it ended",
        ),
        (lambda row: row | {"phase": "waiting"}, "phase is 'waiting'"),
    ],
)
def test_a_file_of_blocks_that_contradicts_itself_is_refused(
    tmp_path: Path, change: Callable[[dict[str, str]], dict[str, str]], said: str
) -> None:
    in_blocks(tmp_path, [HOST, DOCKER])
    change_rows(tmp_path / "host" / "round-1" / "load_blocks.csv", change)
    (round_,) = read_results(tmp_path).deployments[0].rounds
    assert round_.load is None
    (unread,) = round_.unread
    assert "load_blocks.csv" in unread
    assert said in unread


def test_blocks_of_another_run_are_refused(tmp_path: Path) -> None:
    in_blocks(tmp_path, [HOST, DOCKER], rounds=2)
    first, second = (tmp_path / "host" / f"round-{number}" / "load_blocks.csv" for number in (1, 2))
    second.write_bytes(first.read_bytes())
    _, round_ = read_results(tmp_path).deployments[0].rounds
    assert "load_blocks.csv can't be read (began_at_unix_s tells of another time than the run's" in round_.unread[0]


def test_a_repeated_single_pass_is_measured_over_all_passes(tmp_path: Path) -> None:
    in_blocks(tmp_path, [HOST, DOCKER])
    (single_pass,) = read_results(tmp_path).deployments[1].single_passes.values()
    start, end = single_pass.window_unix_s
    assert end - start == pytest.approx(6)
    summary = summarize(single_pass)
    assert summary["requests"].value == 3 * 160
    assert summary["median_ms"].n == 3 * 160
    assert summary["cpu_percent"].value == pytest.approx(25)
    assert summary["cpu_percent"].n == 6
    assert throughput_per_second(single_pass).tolist() == [80] * 6


def test_the_cpu_of_a_deployment_that_waits(tmp_path: Path) -> None:
    loads = loads_of(in_blocks(tmp_path, [HOST, Target("docker", idle=0.08)]))
    assert idle_cpu_percent(loads["host"]).value == pytest.approx(1)
    assert idle_cpu_percent(loads["docker"]).value == pytest.approx(8)
    alone = loads_of(in_blocks(tmp_path / "alone", [HOST]))["host"]
    assert "never elsewhere" in str(idle_cpu_percent(alone).missing)
    caveats = [doubt.text for doubt in analyse(read_results(tmp_path)).validity.caveats]
    assert any("deployments that waited used CPU (100% = one core): docker run 8%." in text for text in caveats)
    assert not any("Host process 1%" in text for text in caveats)


@pytest.mark.parametrize(("values", "mean"), [([1.0], 1.0), ([1, 2, 9], 2), ([9, 1, 2, 3], 2.5), (range(10), 4.5)])
def test_the_trimmed_mean_leaves_a_fifth_out_at_each_end(values: list[float], mean: float) -> None:
    assert trimmed_mean(np.array(values, dtype=float)) == mean


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.randoms())
def test_the_trimmed_mean_is_scipys(values: list[float], chance: object) -> None:
    cut = round(0.2 * len(values))
    expected = np.mean(sorted(values)[cut : len(values) - cut])
    chance.shuffle(values)  # type: ignore[attr-defined]
    assert trimmed_mean(np.array(values)) == pytest.approx(expected)
    assert trimmed_mean(-np.array(values)) == pytest.approx(-expected)


def test_a_disturbed_cycle_does_not_change_the_ratio(tmp_path: Path) -> None:
    def drifts(cycle: int) -> float:
        return 8.0 + cycle

    def slower(cycle: int) -> float:
        return drifts(cycle) * (3.0 if cycle == 4 else 1.1)

    in_blocks(tmp_path, [Target("host", response_ms=drifts), Target("docker", response_ms=slower)], rounds=3)
    host, docker = (measure_load(deployment) for deployment in read_results(tmp_path).deployments)
    found = log_ratios(host, docker, "median_ms", [host, docker])
    assert [*found] == [1, 2, 3]
    assert [*found.values()] == pytest.approx([math.log(1.1)] * 3)
    assert [*log_ratios(docker, host, "median_ms").values()] == pytest.approx([-math.log(1.1)] * 3)
    assert host.values("median_ms")[1] != pytest.approx(docker.values("median_ms")[1] / 1.1)


def test_blocks_too_thin_for_a_quantile_give_the_ratio_of_the_whole_round(tmp_path: Path) -> None:
    thick = Target("host", per_second=400, response_ms=lambda cycle: 8.0 + cycle)
    loads = loads_of(in_blocks(tmp_path, [thick, Target("docker", response_ms=lambda cycle: 9.0)]))
    whole = math.log(9.0 / np.quantile(loads["host"].answered["response_time_ms"], 0.95))
    assert log_ratio_of_blocks(loads["host"], loads["docker"], 0.95) == pytest.approx(whole)
    by_cycle = np.log(9.0 / (8.0 + np.arange(1, 11)))
    assert log_ratio_of_blocks(loads["host"], loads["docker"], 0.5) == pytest.approx(trimmed_mean(by_cycle))


def with_reference(folder: Path, rounds: int = 1) -> Path:
    """``docker`` beside the host in group 1, ``compose`` beside it in group 2, where the machine is half as fast."""
    deployments = [
        measured("host") | {"rounds": [a_round("host", n, group=1, reference_in=[2]) for n in range(1, rounds + 1)]},
        measured("docker") | {"rounds": [a_round("docker", n, group=1) for n in range(1, rounds + 1)]},
        measured("compose") | {"rounds": [a_round("compose", n, group=2) for n in range(1, rounds + 1)]},
    ]
    groups = [["host", "docker"], ["host", "compose"]]
    write_experiment(folder, deployments, groups=groups)
    for number in range(1, rounds + 1):
        write_group(folder, [HOST, Target("docker", response_ms=lambda _: 8 * 1.2)], number, at_s=200.0 * number)
        slow = [Target("host", response_ms=lambda _: 16.0), Target("compose", response_ms=lambda _: 16 * 1.5)]
        write_group(folder, slow, number, group=2, at_s=200.0 * number + 100)
    return folder


def test_deployments_of_two_groups_are_compared_through_their_reference(tmp_path: Path) -> None:
    results = read_results(with_reference(tmp_path, rounds=2))
    assert [round_.group for round_ in results.deployments[2].rounds] == [2, 2]
    assert [*results.deployments[0].rounds[0].reference_loads] == [2]
    analysis = analyse(results)
    assert analysis.validity.is_valid
    ratios = {verdict.id: verdict.comparison.ratio for verdict in analysis.verdicts}
    assert ratios["median_ms-docker-host"] == pytest.approx(1.2)
    assert ratios["median_ms-compose-host"] == pytest.approx(1.5)
    assert ratios["median_ms-compose-docker"] == pytest.approx(1.5 / 1.2)


def test_two_are_not_compared_through_a_reference_that_is_not_valid(tmp_path: Path) -> None:
    with_reference(tmp_path, rounds=3)
    path = tmp_path / "host" / "round-2" / "load_group2_requests.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-50]))
    analysis = analyse(read_results(tmp_path))
    assert not analysis.validity.of("docker")
    assert not analysis.validity.of("compose")
    found = {verdict.id: verdict for verdict in analysis.verdicts}["median_ms-compose-docker"]
    assert (found.kind, found.shows_ratio) == (NONE, False)
    assert found.detail.startswith("the measurement of Host process, through which they are compared, is not valid: ")


def test_a_load_that_the_reference_lacks_is_told(tmp_path: Path) -> None:
    with_reference(tmp_path)
    (tmp_path / "host" / "round-1" / "load_group2_run.json").unlink()
    (round_,) = read_results(tmp_path).deployments[0].rounds
    assert "load_group2_run.json is missing" in round_.unread[0]
    assert round_.load is not None


def test_the_parts_add_up_to_the_median(tmp_path: Path) -> None:
    in_blocks(tmp_path, [HOST, DOCKER])
    chance = np.random.default_rng(3)
    path = tmp_path / "host" / "round-1" / "load_requests.csv"

    def drawn(row: dict[str, str]) -> dict[str, str]:
        return row | {"response_time_ms": f"{8 + chance.gamma(2, 1)}", "client_wait_ms": f"{chance.gamma(1, 0.3)}"}

    change_rows(path, drawn)
    results = read_results(tmp_path)
    for deployment in results.deployments:
        summary = measure_load(deployment, measure_blank(results)).summary
        assert sum(summary[key].value for key in PARTS) == pytest.approx(summary["median_ms"].value, rel=0.01)
    exact = measure_load(results.deployments[1], measure_blank(results)).summary
    assert [exact[key].value for key in PARTS] == pytest.approx([1.0 + 0.5 - 0.2, 8 - 1.3 - 6, 1, 5])
    assert exact["part_client_ms"].n == 500


def test_where_waits_are_not_told_the_client_is_the_blanks_median(tmp_path: Path) -> None:
    in_blocks(tmp_path, [HOST, DOCKER])
    change_rows(tmp_path / "host" / "round-1" / "load_requests.csv", lambda row: row | {"client_wait_ms": ""})
    results = read_results(tmp_path)
    found = parts(results.deployments[0].loads[1].answered, measure_blank(results))
    assert [found[key].value for key in PARTS] == pytest.approx([1.0, 1.0, 1, 5])


def test_without_a_blank_the_client_is_a_part_of_the_network(tmp_path: Path) -> None:
    in_blocks(tmp_path, [HOST, DOCKER])
    (tmp_path / "blank" / "round-1" / "load_run.json").unlink()
    results = read_results(tmp_path)
    assert "load_run.json is missing" in str(results.why_no_blank)
    blank = measure_blank(results)
    assert blank.median_ms.missing == results.why_no_blank
    found = parts(results.deployments[0].loads[1].answered, blank)
    assert found["part_client_ms"].missing == results.why_no_blank
    assert found["part_network_ms"].value == pytest.approx(2)


def test_without_server_timing_only_the_client_is_known(tmp_path: Path) -> None:
    in_blocks(tmp_path, [HOST, DOCKER])
    change_rows(tmp_path / "host" / "round-1" / "load_requests.csv", lambda row: row | {"queue_ms": ""})
    results = read_results(tmp_path)
    found = parts(results.deployments[0].loads[1].answered, measure_blank(results))
    assert found["part_client_ms"].value == pytest.approx(1.3)
    assert {found[key].missing for key in PARTS[1:]} == {"the service did not say (Server-Timing)"}


def test_the_blank_has_its_own_figures(tmp_path: Path) -> None:
    in_blocks(tmp_path, [HOST])
    blank = analyse(read_results(tmp_path)).blank
    assert (blank.median_ms.value, blank.p95_ms.value, blank.wait_ms) == (1.0, 1.0, 0.2)
    assert blank.median_ms.n == 500
    failed = write_blank(tmp_path) | {"status": "failed", "reason": "the responder did not start"}
    write_experiment(tmp_path, [measured("host")], blank=failed)
    results = read_results(tmp_path)
    assert (results.blank, results.why_no_blank) == (None, "the blank was not measured: the responder did not start")


def test_a_single_pass_without_repeats_is_one_block(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host")])
    write_passes(tmp_path, HOST, passes=1)
    (round_,) = read_results(tmp_path).deployments[0].rounds
    assert round_.single_pass is not None
    assert summarize(round_.single_pass)["requests"].value == 160
