"""Open workloads: what makes them invalid, which are compared, and up to which rate a staircase was answered."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from recorded_runs import (
    START,
    OpenTarget,
    change_rows,
    measured,
    open_record,
    request,
    staircase_experiment,
    steady_requests,
    steady_samples,
    write_blank,
    write_experiment,
    write_run,
)

from analysis.analyse import Analysis, analyse
from analysis.judge.comparability import circumstances, why_unlike
from analysis.judge.staircases import highest
from analysis.judge.words import figures_csv
from analysis.measure.balance import expected_largest_share
from analysis.measure.parts import Blank, parts
from analysis.measure.quantity import Estimate
from analysis.measure.steps import ANSWERED, NOT_KEPT, OVERLOADED, RoundStep, Staircase, lacking, round_steps
from analysis.read.results import Results, read_results
from analysis.read.runs import Run
from analysis.show.cards import cards
from analysis.show.hand_in_report import render_report
from analysis.show.markdown import render_markdown
from analysis.show.page import page, render

RATES = (50.0, 100.0, 200.0, 300.0)


def staircases_of(folder: Path, *rounds: list[OpenTarget], rates: tuple[float, ...] = RATES) -> Analysis:
    return analyse(read_results(staircase_experiment(folder, rounds, rates)))


def said(analysis: Analysis) -> str:
    return next(finding.text for finding in analysis.findings if finding.id == "finding-staircase")


def reasons(analysis: Analysis) -> dict[str, str]:
    return {doubt.kind: doubt.text for doubt in analysis.validity.invalid}


def one_rate(folder: Path, rows: list[dict[str, Any]], plan: dict[str, Any] | None = None, **told: Any) -> Analysis:
    """An experiment at 50 requests per second, in turns."""
    planned = {"rounds": 1, "users": 8, "seconds": 10, "warm_up_s": 2, "user_class": "keep_alive", "rate": 50.0}
    planned |= {"layout": "turns", "deployments": ["host"], "arrivals": "constant"} | (plan or {})
    write_experiment(folder, [measured("host")], plan=planned, blank=write_blank(folder))
    values: dict[str, Any] = {"user_class": "OpenUser", "users": 1, "open": open_record(rate_per_s=50.0) | told}
    write_run(folder / "host", "load", rows, steady_samples(0.5), **values)
    return analyse(read_results(folder))


def steady(**values: Any) -> list[dict[str, Any]]:
    return steady_requests(50, send_delay_ms=0.1, **values)


@pytest.fixture(scope="module")
def overloaded(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """The host process answers 250 requests per second, docker run 150, of which 30 may wait."""
    rounds = [
        [OpenTarget("host", 250, base_ms), OpenTarget("docker", 150, base_ms, most_waiting=30)]
        for base_ms in (8.0, 8.1, 8.2)
    ]
    return staircases_of(tmp_path_factory.mktemp("overloaded"), *rounds)


def test_the_figures_of_a_step_are_those_of_its_requests(overloaded: Analysis) -> None:
    host = overloaded.staircases[0]
    assert [(step.rate_per_s, step.state) for step in host.steps] == [
        (50, ANSWERED),
        (100, ANSWERED),
        (200, ANSWERED),
        (300, OVERLOADED),
    ]
    lowest, highest_step = host.steps[0], host.steps[-1]
    median = lowest.estimates["median_ms"]
    assert median.value == pytest.approx(8.1)
    assert (median.low, median.high) == pytest.approx((8.1 - 0.248, 8.1 + 0.248), abs=0.001)  # t = 4.303
    assert median.n == lowest.total("due") == lowest.total("answered") == 3 * 100
    assert lowest.estimates["throughput_per_s"].value == pytest.approx(50)
    assert (lowest.total("growth"), lowest.drifts) == (0, [])
    # Of 600 requests that are due in 2 s, 500 are answered in them, and the others wait: 50 more each second.
    own = highest_step.rounds[1]
    assert (own.due, own.answered, own.lost, own.is_growing) == (600, 600, 0, True)
    assert own.in_time == pytest.approx(500, abs=1)
    assert own.growth == pytest.approx(100, abs=1)
    assert own.drift is not None
    assert own.drift > 1
    assert highest_step.estimates["throughput_per_s"].low == pytest.approx(250, abs=1)


def test_a_request_without_an_answer_is_slower_than_all_others(overloaded: Analysis) -> None:
    docker = overloaded.staircases[1]
    step = docker.steps[2]
    assert step.state == OVERLOADED
    # After 0.6 s (0.2 s of them settle) 30 wait. Before, all of 200 requests per second are sent, and then 150.
    assert step.share("answered") == pytest.approx((0.4 * 200 + 1.6 * 150) / 400, abs=0.01)
    assert step.share("over_bound") == pytest.approx(1.6 * 50 / 400, abs=0.01)
    assert step.estimates["median_ms"].is_measured
    for key in ("p95_ms", "p99_ms"):
        assert not step.estimates[key].is_measured
        assert "not answered" in (step.estimates[key].missing or "")


def test_a_deployment_that_was_overloaded_needs_no_higher_rate(overloaded: Analysis) -> None:
    docker = overloaded.staircases[1]
    assert [step.rate_per_s for step in docker.steps] == [50, 100, 200]
    assert overloaded.validity.is_valid


def test_a_deployment_that_was_not_overloaded_needs_all_rates(tmp_path: Path) -> None:
    folder = staircase_experiment(tmp_path, [[OpenTarget("host", 1000)]], RATES)
    blocks = folder / "host/round-1/load_blocks.csv"
    change_rows(blocks, lambda row: None if float(row["block"]) == 5 else row)
    change_rows(folder / "host/round-1/load_requests.csv", lambda row: None if float(row["block"]) == 5 else row)
    assert "3 blocks were measured, not 4" in reasons(analyse(read_results(folder)))["cut off"]


def test_the_finding_names_the_highest_rate_and_what_happened_above_it(overloaded: Analysis) -> None:
    text = said(overloaded)
    assert "The host process answered up to 200 requests/s (in all 3 rounds). At 300/s it gave 250 answers" in text
    assert re.search(r"docker run answered up to 100 requests/s \(in all 3 rounds\)\. At 200/s it answered 80%", text)
    assert overloaded.headline[0] == (
        "The highest rates that were answered: the host process 200 requests/s; docker run 100 requests/s."
    )
    assert text == " ".join(overloaded.headline[1:])


def test_each_number_of_the_finding_leads_to_the_table(overloaded: Analysis) -> None:
    html = render(overloaded)
    anchors = set(re.findall(r'href="#(step-[^"]+)"', html))
    assert {"step-host-200", "step-host-300", "step-docker-100", "step-docker-200"} == anchors
    assert all(f'<tr id="{anchor}">' in html for anchor in anchors)


def test_figures_over_all_rates_are_not_shown(overloaded: Analysis) -> None:
    shown = {section.id: section for section in page(overloaded).sections}
    assert [chart.id for chart in shown["staircase"].charts] == ["staircase-times", "staircase-answers"]
    assert len(shown["staircase"].tables[0].rows) == 7
    assert [chart.id for chart in shown["latency"].charts] == ["latency-pass-distribution"]
    assert not {"cpu", "time"} & set(shown)
    assert overloaded.verdicts == ()
    assert not shown["key"].tables
    rows = {row.title for row in shown["table"].tables[0].rows}
    assert "Requests, all rounds" in rows
    assert not {row for row in rows if "response time" in row or "CPU time" in row}
    assert "Highest rate that was answered" in render_report(overloaded)
    assert [card.values[0].text for card in cards(overloaded)] == ["200 requests/s", "100 requests/s"]


def test_the_csv_has_each_rate_and_markdown_the_table(overloaded: Analysis) -> None:
    text = figures_csv(overloaded.loads, (), (), overloaded.staircases)
    rows = [*csv.DictReader(text.splitlines())]
    knees = [row for row in rows if row["figure"] == "highest_rate_answered" and row["deployment"] == "docker run"]
    assert [(row["round"], float(row["value"])) for row in knees] == [("all", 100), ("1", 100), ("2", 100), ("3", 100)]
    at_300 = {row["figure"]: row for row in rows if row["run"] == "load at 300/s" and row["round"] == "all"}
    assert (at_300["due"]["value"], at_300["due"]["note"]) == ("1800", OVERLOADED)
    assert float(at_300["throughput_per_s"]["value"]) == pytest.approx(250, abs=1)
    assert not [row for row in rows if row["run"] == "load" and row["figure"] in ("median_ms", "cpu_percent")]
    lines = render_markdown(overloaded).splitlines()
    assert any(line.startswith("| docker run, 200/s | overloaded ") for line in lines)


def test_the_knee_is_that_of_most_rounds(tmp_path: Path) -> None:
    analysis = staircases_of(tmp_path, *([OpenTarget("host", capacity)] for capacity in (150.0, 250.0, 260.0)))
    host = analysis.staircases[0]
    assert host.knees_per_s == {1: 100, 2: 200, 3: 200}
    assert (host.knee_per_s, host.agreeing, host.is_reached) == (200, 2, True)
    assert "up to 200 requests/s (this rate or more in 2 of 3 rounds; they went from 100/s to 200/s)" in said(analysis)
    assert len(analysis.headline) == 1


def test_a_limit_that_was_not_reached_is_called_so(tmp_path: Path) -> None:
    analysis = staircases_of(tmp_path, [OpenTarget("host", 1000)])
    assert highest(analysis.staircases[0]) == "at least 300 requests/s"
    assert "so the limit was not reached: measure higher rates" in said(analysis)


def test_not_even_the_lowest_rate_may_be_answered(tmp_path: Path) -> None:
    analysis = staircases_of(tmp_path, [OpenTarget("host", 20, most_waiting=10)])
    host = analysis.staircases[0]
    assert (host.knee_per_s, host.knee, highest(host)) == (0, None, "less than the lowest rate")
    assert "The host process did not answer even the lowest rate in most rounds. At 50/s it answered" in said(analysis)
    assert "less than the lowest rate" in render(analysis)


def test_a_rate_that_the_load_generator_did_not_keep_says_nothing_of_the_deployment(tmp_path: Path) -> None:
    folder = staircase_experiment(tmp_path, [[OpenTarget("host", 1000)]], RATES)
    late = {"send_delay_ms": "20.0"}
    change_rows(
        folder / "host/round-1/load_requests.csv",
        lambda row: row | late if float(row["block"]) == 5 and int(row["text_id"]) else row,
    )
    analysis = analyse(read_results(folder))
    host = analysis.staircases[0]
    assert [step.state for step in host.steps] == [ANSWERED, ANSWERED, ANSWERED, NOT_KEPT]
    assert highest(host) == "at least 200 requests/s"
    assert "At 300/s the load generator could not keep the rate: it sent 100.0% of the requests late" in said(analysis)
    assert "rate" not in reasons(analysis)


def test_an_overload_above_a_rate_that_was_not_kept_is_told_too(tmp_path: Path) -> None:
    folder = staircase_experiment(tmp_path, [[OpenTarget("host", 250)]], RATES)
    change_rows(
        folder / "host/round-1/load_requests.csv",
        lambda row: row | {"send_delay_ms": "20.0"} if float(row["block"]) == 4 else row,
    )
    text = said(analyse(read_results(folder)))
    assert "up to 100 requests/s" in text
    assert "At 200/s the load generator could not keep the rate" in text
    assert "At 300/s it gave 250 answers per second" in text


def test_the_lowest_rate_must_be_kept(tmp_path: Path) -> None:
    analysis = staircases_of(tmp_path, [OpenTarget("host", 1000, late=5)])
    assert (
        "50 requests/s, the lowest rate: of 100 requests 5.0% were sent more than 10 ms late"
        in reasons(analysis)["rate"]
    )


def test_requests_that_were_never_counted_are_dropped_ones(tmp_path: Path) -> None:
    """As when the load generator is so far behind that a step ends before it has come to its last requests."""
    folder = staircase_experiment(tmp_path, [[OpenTarget("host", 1000)]], RATES)
    change_rows(
        folder / "host/round-1/load_requests.csv",
        lambda row: None if float(row["block"]) == 5 and row["phase"] == "measured" and not lucky() else row,
    )
    run = read_results(folder).deployments[0].loads[1]
    step = round_steps(run)[-1]
    assert step.due == 600
    assert step.dropped == 600 - step.answered > 200
    assert step.state == NOT_KEPT
    assert lacking(100, 60) == 0  # by chance
    assert lacking(100, 40) == 60


CHANCE = np.random.default_rng(1)


def lucky() -> bool:
    return bool(CHANCE.random() < 0.5)


def test_a_block_that_does_not_say_what_was_not_sent_is_no_step(tmp_path: Path) -> None:
    folder = staircase_experiment(tmp_path, [[OpenTarget("host", 1000)]], RATES)
    nothing = {"dropped": "", "over_bound": "", "unanswered": ""}
    change_rows(folder / "host/round-1/load_blocks.csv", lambda row: row | nothing)
    analysis = analyse(read_results(folder))
    assert analysis.staircases == ()
    assert "not shown" in render_markdown(analysis)


def test_failed_requests_of_a_staircase_belong_to_their_step(tmp_path: Path) -> None:
    folder = staircase_experiment(tmp_path, [[OpenTarget("host", 1000)]], RATES)
    change_rows(
        folder / "host/round-1/load_requests.csv",
        lambda row: row | {"status": "503", "error": "status 503"} if float(row["block"]) == 5 else row,
    )
    analysis = analyse(read_results(folder))
    assert [step.state for step in analysis.staircases[0].steps][2:] == [ANSWERED, OVERLOADED]
    assert "At 300/s it answered 0.0% of the requests" in said(analysis)
    assert not {"errors", "trend"} & set(reasons(analysis))


def waits(run: Run, utilisation: float, seed: int) -> RoundStep:
    """A step of 3 s of a queue with one server, exponential times and 300 answers per second at most (M/M/1)."""
    chance = np.random.default_rng(seed)
    rate = 300 * utilisation
    due = np.cumsum(chance.exponential(1 / rate, round(rate * 5)))
    due = due[due < 3.6]
    free, rows = 0.0, []
    for at, takes in zip(due, chance.exponential(1 / 300, len(due)), strict=True):
        free = max(free, at) + takes
        rows.append(request(at, (free - at) * 1000, block=1, phase="measured" if at >= 0.6 else "settling"))
    block = {"block": 1, "phase": "measured", "measured_from_unix_s": START + 0.6, "measured_to_unix_s": START + 3.6}
    block |= {"rate_per_s": rate, "dropped": 0, "over_bound": 0, "unanswered": 0}
    block |= {"others_cpu_percent": np.nan}
    requests = pd.DataFrame(rows).assign(send_delay_ms=0.0)
    return round_steps(replace(run, requests=requests, blocks=pd.DataFrame([block]), recorded=None))[0]


def test_a_busy_queue_is_not_a_growing_one(overloaded: Analysis) -> None:
    run = overloaded.results.deployments[0].loads[1]
    assert not [seed for seed in range(20) if waits(run, 0.8, seed).is_growing]
    assert len([seed for seed in range(20) if waits(run, 1.5, seed).is_growing]) >= 19


def test_a_load_at_one_rate_is_valid_whatever_its_users_are(tmp_path: Path) -> None:
    analysis = one_rate(tmp_path, steady())
    assert analysis.validity.is_valid
    assert analysis.staircases == ()
    assert "50 requests/s, whether or not earlier ones were answered" in render_markdown(analysis)
    assert "staircase" not in {section.id for section in page(analysis).sections}
    assert not [doubt for doubt in analysis.validity.doubts if "users" in doubt.text]


def test_late_and_dropped_requests_make_a_run_invalid(tmp_path: Path) -> None:
    assert one_rate(tmp_path / "few", steady(), late=3, dropped=2).validity.is_valid
    text = reasons(one_rate(tmp_path / "many", steady(), late=3, dropped=4))["rate"]
    assert "of 504 requests 0.6% were sent more than 10 ms late, and 0.8% not at all" in text
    assert "more processes (--set processes=2, on a cluster --set workers=2) or more cores, or use a lower rate" in text


def test_unanswered_requests_make_a_run_at_one_rate_invalid(tmp_path: Path) -> None:
    assert one_rate(tmp_path / "few", steady(), over_bound=3, unanswered=2).validity.is_valid
    text = reasons(one_rate(tmp_path / "many", steady(), over_bound=5, unanswered=5))["overload"]
    assert "10 of 510 requests (2.0%) were left without an answer" in text


def test_a_rate_that_was_not_offered_makes_a_run_invalid(tmp_path: Path) -> None:
    half = [row for place, row in enumerate(steady()) if place % 2]
    assert "250" not in (text := reasons(one_rate(tmp_path, half))["rate"])
    assert "of 500 requests 0.0% were sent more than 10 ms late, and 50.0% not at all" in text


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        ({"rate": 60.0}, "the rate was 50 requests/s, the plan says 60"),
        ({"rate": None}, "the load was made by a rate, the plan says by users"),
        ({"arrivals": "poisson"}, "arrivals was constant, the plan says poisson"),
        ({"user_class": "new_connection"}, "connection was kept, the plan says new"),
    ],
)
def test_the_rate_is_that_of_the_plan(tmp_path: Path, plan: dict[str, Any], text: str) -> None:
    analysis = one_rate(tmp_path, steady(), plan)
    assert [doubt for doubt in analysis.validity.invalid if doubt.kind == "circumstances" and text in doubt.text]


def test_the_rates_of_a_staircase_are_the_first_of_the_plan(tmp_path: Path) -> None:
    folder = staircase_experiment(tmp_path, [[OpenTarget("host", 1000)]], RATES)
    path = folder / "experiment.json"
    path.write_text(path.read_text().replace("[50.0, 100.0, 200.0, 300.0]", "[50.0, 100.0, 250.0, 300.0]"))
    text = reasons(analyse(read_results(folder)))["circumstances"]
    assert "the rate was 50, 100, 200, 300 requests/s, the plan says 50, 100, 250, 300" in text


def test_a_poisson_process_is_not_unsteady(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    rows = [request(at, send_delay_ms=0.1) for at in np.sort(chance.uniform(0, 12, 12 * 6))]
    poisson = {"arrivals": "poisson", "rate": 6.0}
    told = {"arrivals": "poisson", "rate_per_s": 6.0}
    doubts = [doubt.text for doubt in one_rate(tmp_path / "poisson", rows, poisson, **told).validity.doubts]
    assert not [text for text in doubts if "throughput was not steady" in text]
    told["arrivals"] = poisson["arrivals"] = "constant"
    doubts = [doubt.text for doubt in one_rate(tmp_path / "constant", rows, poisson, **told).validity.doubts]
    assert [text for text in doubts if "throughput was not steady" in text]


def test_loads_at_different_rates_are_not_compared(tmp_path: Path) -> None:
    plan = {"rounds": 1, "users": 8, "seconds": 10, "warm_up_s": 2, "user_class": "keep_alive", "rate": 50.0}
    plan |= {"arrivals": "constant", "deployments": ["host", "docker"]}
    write_experiment(tmp_path, [measured("host"), measured("docker")], plan=plan)
    for name, users, rate in (("host", 1, 50.0), ("docker", 2, 60.0)):
        values: dict[str, Any] = {"user_class": "OpenUser", "users": users, "spawn_rate": users}
        write_run(tmp_path / name, "load", steady(replica=name), open=open_record(rate_per_s=rate), **values)
    host, docker = read_results(tmp_path).deployments
    unlike = why_unlike(host, docker)
    assert unlike is not None
    assert unlike.differing == ("rate",)
    assert circumstances(host.loads[1])["users"] == circumstances(docker.loads[1])["users"]


def test_the_delay_of_the_load_generator_is_its_own_part(tmp_path: Path) -> None:
    one_rate(tmp_path, steady(client_wait_ms=0.5))
    answered = read_results(tmp_path).deployments[0].loads[1].answered
    blank = Blank(Estimate(1.0, 100, "requests"), Estimate(1.0, 100, "requests"), wait_ms=0.2)
    found = parts(answered, blank)
    assert found["part_client_ms"].value == pytest.approx(1.0 + 0.3 + 0.1)
    assert sum(part.value for part in found.values()) == pytest.approx(10.0)


def test_kept_connections_of_an_open_load_belong_to_no_user(tmp_path: Path) -> None:
    one_rate(tmp_path, steady())
    run = read_results(tmp_path).deployments[0].loads[1]
    assert run.asks_to_keep
    assert expected_largest_share(run, 3)[0] == 1.0


def test_the_results_of_a_staircase_say_so(tmp_path: Path, overloaded: Analysis) -> None:
    results: Results = overloaded.results
    assert results.is_staircase
    assert isinstance(overloaded.staircases[0], Staircase)
    one_rate(tmp_path, steady())
    assert not read_results(tmp_path).is_staircase
