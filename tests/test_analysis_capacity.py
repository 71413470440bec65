"""The capacity on the page: searches of simulated queues of known capacity, and what is said if none was found."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from _blocks import Block
from _blocks import is_overloaded as judged_by_generator
from _capacity_search import Next, next_step
from _capacity_search import Search as Planned
from recorded_runs import (
    SETTLE_S,
    START,
    Target,
    a_round,
    change_rows,
    measured,
    open_record,
    request,
    samples_of,
    write_blank,
    write_experiment,
    write_passes,
    write_run,
)
from scipy import optimize

from analysis import compare
from analysis.__main__ import cases_of
from analysis.analyse import Analysis, analyse
from analysis.judge.findings import how_to_read
from analysis.judge.verdicts import CARRIES_LESS, NONE
from analysis.judge.words import figures_csv
from analysis.measure.capacity import capacity_ratio
from analysis.measure.quantity import CAPACITY
from analysis.measure.steps import is_overloaded
from analysis.read.results import read_results
from analysis.show.cards import cards
from analysis.show.hand_in_report import render_report
from analysis.show.junit import render_junit
from analysis.show.markdown import render_markdown
from analysis.show.page import page, render
from analysis.show.search_chart import POINT
from benchmarks.queueing_theory import md1_wait_quantile, waits
from runfiles.events import ALL_BLOCKS, MEASURED, SETTLING, WARM_UP
from runfiles.objective import Step, read_objective

SLO = "p95 < 50 ms, failures < 0.1%"
OBJECTIVE = read_objective(SLO)
BUDGET_S = 60.0


@dataclass(frozen=True)
class Queue:
    """A deployment that answers one request after the other, each in ``service_s`` (M/D/1)."""

    name: str
    service_s: float

    @property
    def capacity_per_s(self) -> float:
        """The rate at which 5% of the requests take 50 ms or longer."""
        longest_wait = 0.05 / self.service_s - 1
        load = optimize.brentq(lambda load: md1_wait_quantile(0.95, load) - longest_wait, 0.01, 0.99)
        return float(load) / self.service_s


def a_step(
    queue: Queue, rate_per_s: float, seconds: float, number: int, at_s: float, chance: np.random.Generator
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block at a rate, which begins at ``at_s``, and its requests."""
    begins, ends = at_s + SETTLE_S, at_s + SETTLE_S + seconds
    due = np.sort(chance.uniform(at_s, ends, chance.poisson(rate_per_s * (ends - at_s))))
    services_s = np.full(len(due), queue.service_s)
    times_ms = (waits(due, services_s) + services_s) * 1000
    rows = [
        request(
            float(at), float(time_ms), replica=queue.name, phase=MEASURED if at >= begins else SETTLING, block=number
        )
        | {"retried": 0, "send_delay_ms": 0.1, "client_wait_ms": 0.2}
        for at, time_ms in zip(due, times_ms, strict=True)
    ]
    edges = {"began_at_unix_s": at_s, "measured_from_unix_s": begins, "measured_to_unix_s": ends}
    edges |= {"ended_at_unix_s": max(ends, float((due + times_ms / 1000).max(initial=ends)))}
    block: dict[str, Any] = {name: START + at for name, at in edges.items()}
    block |= {"block": number, "cycle": number, "phase": MEASURED, "others_cpu_percent": 5.0, "rate_per_s": rate_per_s}
    return block | {"dropped": 0, "over_bound": 0, "unanswered": 0}, rows


def write_searches(
    folder: Path, queues: Sequence[Queue], number: int, at_s: float, highest_per_s: float, seed: int
) -> None:
    """The files of one round: a search of each deployment, step by step in turns. From round 2 on it begins near the
    limit."""
    chance = np.random.default_rng(seed + number)
    first = {queue.name: None if number == 1 else 0.6 * queue.capacity_per_s for queue in queues}
    planned = {name: Planned(OBJECTIVE, 20.0, highest_per_s, BUDGET_S, 0.03, rate) for name, rate in first.items()}
    blocks: dict[str, list[dict[str, Any]]] = {queue.name: [] for queue in queues}
    requests: dict[str, list[dict[str, Any]]] = {queue.name: [] for queue in queues}
    steps: dict[str, list[Step]] = {queue.name: [] for queue in queues}
    left, now_s, count = [*queues], 0.0, 0
    while left:
        for queue in [*left]:
            is_first = not blocks[queue.name]
            following = Next(20.0, 1.0) if is_first else next_step(planned[queue.name], steps[queue.name])
            if not isinstance(following, Next):
                left.remove(queue)
                continue
            count += 1
            block, rows = a_step(queue, following.rate_per_s, following.seconds, count, now_s, chance)
            now_s = block["ended_at_unix_s"] - START
            if is_first:
                block["phase"] = WARM_UP
                rows = [row | {"phase": WARM_UP if row["phase"] == MEASURED else SETTLING} for row in rows]
            else:
                times = [row["response_time_ms"] for row in rows if row["phase"] == MEASURED]
                told = Step(following.rate_per_s, following.seconds, len(times), OBJECTIVE.missed(times, 0))
                steps[queue.name].append(told)
            blocks[queue.name].append(block)
            requests[queue.name] += rows
    for queue in queues:
        told_blocks = {"deployment": queue.name, "deployments": [each.name for each in queues], "group": 1}
        told_blocks |= {"block_s": 1.0, "settle_s": SETTLE_S, "planned": 8, "repeated": 0, "disturbed": 0}
        values: dict[str, Any] = {"open": open_record(arrivals="poisson"), "user_class": "OpenUser", "users": 1}
        values |= {"ended_by": ALL_BLOCKS, "run_time_s": None, "retries": 0, "warm_up_s": 1.0}
        values |= {"started_at_unix_s": START + at_s, "ended_at_unix_s": START + at_s + now_s}
        values |= {"blocks": blocks[queue.name], "record_blocks": told_blocks}
        samples = samples_of(Target(queue.name, samples_apart_s=1.0), blocks[queue.name], now_s)
        write_run(folder / queue.name, "load", requests[queue.name], samples, number=number, at_s=at_s, **values)


def experiment(
    folder: Path, queues: Sequence[Queue], rounds: int = 3, highest_per_s: float = 500.0, seed: int = 0
) -> Path:
    """An experiment whose load is a search for the capacity of these deployments."""
    names = [queue.name for queue in queues]
    deployments = []
    for name in names:
        each = [a_round(name, number, group=1, runs=["single_pass", "load"]) for number in range(1, rounds + 1)]
        deployments.append(measured(name) | {"rounds": each})
    capacity = {"slo": SLO, "tolerance": 3.0, "lowest": 20.0, "highest": highest_per_s}
    plan = {"rounds": rounds, "users": 8, "seconds": 8, "warm_up_s": 1, "user_class": "keep_alive", "block_s": 1.0}
    plan |= {"layout": "blocks", "deployments": names, "arrivals": "poisson", "capacity": capacity}
    write_experiment(folder, deployments, plan=plan, groups=[names], blank=write_blank(folder))
    for number in range(1, rounds + 1):
        for place, queue in enumerate(queues):
            write_passes(folder, Target(queue.name), number, at_s=seed + 1000.0 * number + 10 * place)
        write_searches(folder, queues, number, seed + 1000.0 * number + 100, highest_per_s, seed)
    return folder


def analysed(folder: Path) -> Analysis:
    return analyse(read_results(folder))


HOST, DOCKER = Queue("host", 0.008), Queue("docker", 0.010)


@pytest.fixture(scope="module")
def both_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return experiment(tmp_path_factory.mktemp("both"), [HOST, DOCKER])


@pytest.fixture(scope="module")
def both(both_folder: Path) -> Analysis:
    return analysed(both_folder)


def make_late(folder: Path, name: str, is_late: Callable[[float], bool]) -> None:
    """Have the load generator send each tenth request late in the first round, in the steps at rates that are meant."""
    round_ = folder / name / "round-1"
    with (round_ / "load_blocks.csv").open(newline="") as file:
        late = {row["block"] for row in csv.DictReader(file) if is_late(float(row["rate_per_s"]))}
    tenth = iter(range(10**6))
    change_rows(
        round_ / "load_requests.csv",
        lambda row: row | {"send_delay_ms": "20.0"} if row["block"] in late and next(tenth) % 10 == 0 else row,
    )


def said(analysis: Analysis) -> str:
    return next(finding.text for finding in analysis.findings if finding.id == "finding-capacity")


def test_the_interval_on_the_page_holds_the_capacity(both: Analysis) -> None:
    assert both.validity.is_valid
    for search, queue in zip(both.searches, (HOST, DOCKER), strict=True):
        assert search.capacity.low < queue.capacity_per_s < search.capacity.high
        assert search.capacity.rounds == len(search.by_round) == 3
        assert not search.behind
    (verdict,) = both.verdicts
    assert verdict.kind == CARRIES_LESS
    assert verdict.comparison.low < DOCKER.capacity_per_s / HOST.capacity_per_s < verdict.comparison.high
    host, docker = both.searches
    paired = capacity_ratio(OBJECTIVE, host.counted, docker.counted)
    found = verdict.comparison
    assert (found.ratio, found.low, found.high) == pytest.approx((paired.value, paired.low, paired.high))


def test_the_steps_are_those_of_the_search(both: Analysis) -> None:
    (first, *_), (second, *_), *_ = both.searches[0].rounds.values()
    assert first.rate_per_s == 20
    assert second.rate_per_s > 20  # that rounds begin elsewhere is no reason against them
    assert first.told.seconds == pytest.approx(2.5)
    for search in both.searches:
        for step in search.steps:
            assert step.told.offered == step.counts.due == step.counts.answered
            assert step.told.missed == OBJECTIVE.missed(step.counts.times_ms, 0)


@pytest.mark.parametrize("waited_s", [0.1, 1.6])
@pytest.mark.parametrize("left", ["", "dropped", "over_bound", "unanswered"])
def test_a_step_is_overloaded_as_the_load_generator_judges_it(left: str, waited_s: float) -> None:
    block = Block(1, 1, 0.0, 1.0, 4.0, 4.0 + waited_s, rate_per_s=50.0, dropped=0, over_bound=0, unanswered=0)
    if left:
        setattr(block, left, 1)
    judged = judged_by_generator(block)
    assert judged == (left in ("over_bound", "unanswered") or waited_s > 1.5)
    assert is_overloaded(pd.Series(asdict(block))) == judged


def test_the_headline_says_how_much_each_carries(both: Analysis) -> None:
    first, host, docker = both.headline
    found = [f"{search.capacity.value:.1f}" for search in both.searches]
    assert first == f"Capacity at {SLO}: the host process {found[0]} requests/s; docker run {found[1]} requests/s."
    assert host.startswith(f"The host process carries {found[0]} requests/s (95% interval ")
    assert host.endswith(") at p95 < 50 ms.")
    ratio = both.verdicts[0].comparison
    times = f"at p95 < 50 ms, {ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) times the host process; "
    assert docker.endswith(f"{times}that it carries less is proven (p = {both.verdicts[0].p_value:.3f}).")
    assert said(both) == f"{host} {docker}"


def test_the_page_has_a_section_and_a_card_of_each_capacity(both: Analysis) -> None:
    shown = {section.id: section for section in page(both).sections}
    (chart,) = shown["capacity"].charts
    assert chart.id == "capacity-missed-0"
    points = [trace for trace in chart.plot["data"] if trace["marker"]["size"] == POINT]
    assert [len(trace["x"]) for trace in points] == [len(search.steps) for search in both.searches]
    marks = [trace["x"] for trace in chart.plot["data"] if trace["marker"]["size"] > POINT]
    assert marks == [[search.capacity.value] for search in both.searches]
    (table,) = shown["capacity"].tables
    assert [row.id for row in table.rows] == ["capacity-host", "capacity-docker"]
    assert table.rows[1].cells[-1].detail == "over the host process\ncarries less"
    assert [card.values[0].text for card in cards(both)] == [row.cells[0].text for row in table.rows]
    assert cards(both)[1].values[1].text == "carries less"
    html = render(both)
    assert 'href="#capacity-docker"' in html
    assert 'id="verdict-capacity_per_s-docker-host"' in html


def test_figures_over_all_rates_are_left_out(both: Analysis) -> None:
    sections = {section.id: section for section in page(both).sections}
    assert not {"cpu", "time", "staircase"} & set(sections)
    assert "so this page does not show them" in sections["capacity"].how_to_read
    rows = {row.title for row in sections["table"].tables[0].rows}
    assert "Capacity: highest rate that meets the objective, requests/s" in rows
    assert not {row for row in rows if "response time" in row}
    texts = [doubt.text for doubt in both.validity.doubts]
    assert not [text for text in texts if "blocks were measured" in text]


def test_csv_markdown_junit_and_the_report_have_the_capacity(both: Analysis) -> None:
    text = figures_csv(both.loads, (), both.verdicts, (), both.searches)
    rows = [*csv.DictReader(text.splitlines())]
    docker = [row for row in rows if row["figure"] == CAPACITY and row["deployment"] == "docker run"]
    assert [row["round"] for row in docker] == ["all", "1", "2", "3"]
    assert float(docker[0]["value"]) == pytest.approx(both.searches[1].capacity.value)
    assert np.exp(np.mean(np.log([float(row["value"]) for row in docker[1:]]))) == pytest.approx(
        both.searches[1].capacity.value
    )
    steps = [row for row in rows if row["figure"] == "missed p95 < 50 ms" and row["deployment"] == "Host process"]
    assert len(steps) == len(both.searches[0].steps)
    line = both.headline[0]
    assert any(row.startswith("| docker run | ") and "carries less" in row for row in render_markdown(both).split("\n"))
    report = render_report(both)
    assert "docker run carries less than the host process." in report
    assert line.replace("<", "\\<") in report
    cases = {case.name: case.said for case in cases_of(both) if case.suite == "capacity"}
    assert cases[f"docker run: {SLO}"].startswith(f"{both.searches[1].capacity.value:.1f} requests/s (95% interval ")
    assert "carries less" in render_junit(cases_of(both))


def changed(both_folder: Path, tmp_path: Path, host: Queue, slo: str = SLO) -> list[str]:
    new = experiment(tmp_path / "new", [host], seed=500)
    if slo != SLO:
        path = new / "experiment.json"
        path.write_text(path.read_text().replace(SLO, slo))
    return [str(both_folder), str(new), "--fail-on", "capacity<-5%"]


def test_a_lower_capacity_is_a_regression(
    both_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = changed(both_folder, tmp_path, Queue("host", 0.012))
    assert compare.main(folders) == 3  # docker run was not measured again
    printed = capsys.readouterr().out
    assert "Host process: capacity<-5%: regression: 0." in printed
    assert "docker run: capacity<-5%: not measured in the new experiment" in printed


def test_an_equal_capacity_is_none(both_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main(changed(both_folder, tmp_path, HOST))
    assert "Host process: capacity<-5%: no regression shown: " in capsys.readouterr().out


def test_capacities_at_other_objectives_are_not_compared(
    both_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = SLO.replace("50 ms", "60 ms")
    assert compare.main(changed(both_folder, tmp_path, HOST, other)) == 3
    assert f"not compared: the objective changed from {SLO} to {other}" in capsys.readouterr().out


def test_one_round_has_an_interval_from_its_steps_and_no_verdict(tmp_path: Path) -> None:
    analysis = analysed(experiment(tmp_path, [HOST, DOCKER], rounds=1))
    for search in analysis.searches:
        assert search.capacity.is_of_steps
        assert search.capacity.has_interval
    (verdict,) = analysis.verdicts
    assert (verdict.kind, verdict.detail) == (NONE, "one round is not enough")
    assert verdict.comparison.has_interval
    assert ") times the host process; no verdict: one round is not enough." in analysis.headline[-1]
    assert [doubt.text for doubt in analysis.validity.doubts if "so there is no verdict." in doubt.text]


def test_a_limit_above_the_highest_rate_is_no_number(tmp_path: Path) -> None:
    analysis = analysed(experiment(tmp_path, [HOST], rounds=1, highest_per_s=70))
    (search,) = analysis.searches
    assert not search.capacity.is_measured
    assert analysis.headline == (
        "The host process: the capacity was not found, because at the highest rate, 70/s, the objective was still "
        "met; search up to a higher rate.",
    )
    assert cards(analysis)[0].values[0].text == "not found"
    assert "at the highest rate, 70/s" in render(analysis)
    (case,) = [case for case in cases_of(analysis) if case.suite == "capacity"]
    assert case.said.startswith("not found: at the highest rate")


def test_a_limit_below_the_lowest_rate_is_no_number(tmp_path: Path) -> None:
    analysis = analysed(experiment(tmp_path, [Queue("host", 0.060)], rounds=1))
    assert "already at the lowest rate, 20/s, p95 < 50 ms was missed" in said(analysis)


def test_steps_that_the_load_generator_did_not_keep_do_not_count(tmp_path: Path) -> None:
    folder = experiment(tmp_path, [HOST], rounds=1)
    whole = analysed(folder).searches[0]
    make_late(folder, "host", lambda rate: rate in (20, 40))
    (search,) = analysed(folder).searches
    assert {step.rate_per_s for step in search.behind} == {20, 40}
    assert len(search.counted[1]) == len(whole.counted[1]) - 2
    assert search.capacity.value == pytest.approx(whole.capacity.value, rel=0.02)
    assert not search.may_be_generators


def test_what_the_load_generator_dropped_is_no_failure_of_the_deployment(tmp_path: Path) -> None:
    folder = experiment(tmp_path, [HOST], rounds=1)
    whole = analysed(folder).searches[0]
    change_rows(folder / "host/round-1/load_blocks.csv", lambda row: row | {"dropped": "2"})
    (search,) = analysed(folder).searches
    assert [step.told for step in search.steps] == [step.told for step in whole.steps]
    assert not search.behind
    assert search.limiting == OBJECTIVE.conditions[0]


def test_the_limit_of_the_load_generator_is_called_so(tmp_path: Path) -> None:
    folder = experiment(tmp_path, [HOST], rounds=1)
    make_late(folder, "host", lambda rate: rate > 85)
    analysis = analysed(folder)
    assert "rate" not in {doubt.kind for doubt in analysis.validity.invalid}
    text = said(analysis)
    assert (
        "steps the load generator did not keep the rate, so they do not count. In the others, at the highest " in text
    )
    assert "So the limit may be that of the load generator; give the load generator more processes" in text


def test_a_limit_near_which_many_steps_do_not_count_may_be_the_load_generators(tmp_path: Path) -> None:
    folder = experiment(tmp_path, [HOST], rounds=2)
    near = {step.rate_per_s for step in analysed(folder).searches[0].near}
    make_late(folder, "host", lambda rate: rate in near)
    analysis = analysed(folder)
    (search,) = analysis.searches
    assert search.capacity.is_measured
    assert search.may_be_generators
    of = f"In {len(search.behind_near)} of the {len(search.near)} steps near this rate the load generator did not keep"
    assert of in said(analysis)
    assert "this may be its limit and not that of the deployment" in said(analysis)


def disturb(folder: Path, is_disturbed: Callable[[int], bool], name: str = "host") -> None:
    """Other programs take 150% of a core in the steps, by their place in the first round, that are meant."""
    places = iter(range(10**6))
    change_rows(
        folder / name / "round-1/load_blocks.csv",
        lambda row: row | {"others_cpu_percent": "150.0"} if is_disturbed(next(places)) else row,
    )


def test_a_search_beside_other_programs_is_not_valid(tmp_path: Path) -> None:
    folder = experiment(tmp_path, [HOST], rounds=1)
    disturb(folder, lambda place: place > 0)
    analysis = analysed(folder)
    (search,) = analysis.searches
    assert analysis.headline == ("Not valid: other programs took the CPU (Host process).",)
    (doubt,) = analysis.validity.invalid
    near = len(search.near)
    assert f"took up to 150% of a core in {near} of {near} steps at rates near the limit" in doubt.text
    assert "not its capacity; close other programs and measure again" in doubt.text
    assert not analysis.findings or analysis.findings[0].id != "finding-capacity"
    assert "not valid: other programs took the CPU" in render_markdown(analysis)
    assert f"the host process {search.capacity.value:.1f} requests/s (not valid)." in render_report(analysis)


def test_few_disturbed_steps_are_no_reason(tmp_path: Path) -> None:
    folder = experiment(tmp_path, [HOST], rounds=1)
    disturb(folder, lambda place: place % 3 == 0)
    assert analysed(folder).validity.is_valid


def test_a_lowest_rate_that_missed_beside_other_programs_is_their_doing(tmp_path: Path) -> None:
    folder = experiment(tmp_path, [Queue("host", 0.060)], rounds=1)
    disturb(folder, lambda place: True)
    analysis = analysed(folder)
    (doubt,) = analysis.validity.invalid
    assert "already at the lowest rate, 20/s, p95 < 50 ms was missed; other programs or the hypervisor" in doubt.text
    assert "close other programs" in doubt.text
    assert "search from a lower rate" not in render(analysis)


def test_an_objective_that_was_met_beside_other_programs_is_met(tmp_path: Path) -> None:
    folder = experiment(tmp_path, [HOST], rounds=1, highest_per_s=70)
    disturb(folder, lambda place: True)
    analysis = analysed(folder)
    assert analysis.validity.is_valid
    assert "search up to a higher rate" in analysis.headline[0]


def test_more_rounds_of_a_search_need_more_time(tmp_path: Path) -> None:
    path = experiment(tmp_path, [HOST], rounds=1) / "experiment.json"
    record = json.loads(path.read_text())
    record["plan"]["budget_minutes"] = 3
    path.write_text(json.dumps(record))
    (text,) = [doubt.text for doubt in analysed(tmp_path).validity.caveats if "Measure five" in doubt.text]
    assert "rounds=5 budget_minutes=15" in text


def test_the_interval_of_one_search_is_not_denied(tmp_path: Path) -> None:
    analysis = analysed(experiment(tmp_path, [HOST], rounds=1))
    assert how_to_read(analysis.loads).startswith("Fewer than three rounds give no interval. Only a capacity has one")


def test_an_experiment_without_a_search_has_no_capacity(tmp_path: Path) -> None:
    path = experiment(tmp_path, [HOST], rounds=1) / "experiment.json"
    record = json.loads(path.read_text())
    del record["plan"]["capacity"]
    path.write_text(json.dumps(record))
    analysis = analysed(tmp_path)
    assert analysis.searches == ()
    assert CAPACITY not in analysis.loads[0].summary
    assert "capacity" not in {section.id for section in page(analysis).sections}
