"""What page and Markdown say of a load in blocks: how it was laid out, where the time goes, and how pairs are read."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from recorded_runs import (
    Target,
    a_round,
    change_rows,
    in_blocks,
    measured,
    whole_experiment,
    write_experiment,
    write_group,
)

from analysis.analyse import Analysis, analyse
from analysis.judge import words
from analysis.measure.parts import PARTS
from analysis.read.results import read_results
from analysis.show import facts, sections
from analysis.show.charts import where_the_time_goes
from analysis.show.elements import Section
from analysis.show.layout_facts import layout_facts
from analysis.show.markdown import render_markdown
from analysis.show.page import page_sections, render
from analysis.show.tables import how_pairs_are_read
from runfiles.events import BUDGET, PRECISE
from runfiles.files import EXPERIMENT_FILE

Change = Callable[[dict[str, Any]], None]


def noisy(seed: int, mean_ms: float) -> Callable[[int], float]:
    """Response times that differ by some percent."""
    chance = random.Random(seed)
    return lambda _: mean_ms * chance.lognormvariate(0, 0.1)


HOST, DOCKER = Target("host", response_ms=noisy(1, 8.0)), Target("docker", response_ms=noisy(2, 9.0), idle=0.003)


def recorded(folder: Path, rounds: int = 1, change: Change = lambda _: None, **values: Any) -> Analysis:
    """Host process and docker run side by side; ``change`` is done to ``experiment.json``."""
    in_blocks(folder, [HOST, DOCKER], rounds, **values)
    return changed(folder, change)


def changed(folder: Path, change: Change) -> Analysis:
    path = folder / EXPERIMENT_FILE
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return analyse(read_results(folder))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """One round of ten blocks each."""
    return recorded(tmp_path_factory.mktemp("blocks"))


def told(analysis: Analysis) -> dict[str, str]:
    return {fact.term: fact.text for fact in layout_facts(analysis)}


def until(stopped_by: str | None) -> Change:
    """As many rounds as it took."""

    def change(content: dict[str, Any]) -> None:
        content["plan"] |= {"rounds": None, "precision": 5.0, "budget_minutes": 6.0}
        content["stopped_by"] = stopped_by

    return change


def test_what_was_run_says_how_the_blocks_were_laid_out(blocks: Analysis) -> None:
    said = told(blocks)
    assert said["Layout"] == (
        "in blocks: the deployments of a group ran at once, and the load visited them in random order, each once in a "
        "cycle. A visit is a block: 0.2 s in which the load settles, then 1 s that count. The plan of a round had 10 "
        "such blocks for each deployment"
    )
    assert "Groups" not in said
    assert said["Disturbed blocks"].startswith("none")
    assert said["Rounds"] == "1 round; the plan asked for 1"
    assert said["Blank"] == "median 1.00 ms, p95 1.00 ms (n = 500 requests)"
    shown = render(blocks)
    for term, text in said.items():
        assert f"<dt>{term}</dt><dd>{text}</dd>" in shown
        assert f"- **{term}**: " in render_markdown(blocks)


def test_the_header_says_how_the_load_came_in_blocks(blocks: Analysis) -> None:
    load = {fact.term: fact.text for fact in facts.header_facts(blocks)}["Load"]
    assert load == (
        "1 round. In each round the deployments ran at once, and 4 users sent requests to one of them at a time, in "
        "blocks of 1 s: 10 to each, after 2 s of warm-up each, which are not counted. A user keeps its connection, "
        "if the service does."
    )


def test_disturbed_blocks_are_counted(tmp_path: Path) -> None:
    said = told(recorded(tmp_path, disturbed=[("docker", 3), ("docker", 5)]))["Disturbed blocks"]
    assert said.endswith("Repeated: docker run 2 (20 blocks were planned). No disturbed block is in a figure.")


def test_blocks_that_stayed_disturbed_are_said_to_be_in_the_figures(tmp_path: Path) -> None:
    in_blocks(tmp_path, [HOST, DOCKER])
    path = tmp_path / "host" / "round-1" / "load_run.json"
    content = json.loads(path.read_text())
    content["blocks"] |= {"disturbed": 1, "repeated": 4}
    path.write_text(json.dumps(content))
    said = told(analyse(read_results(tmp_path)))["Disturbed blocks"]
    assert "Repeated: Host process 4 (20 blocks were planned). Not repeated, and in the figures, because " in said
    assert said.endswith("had been repeated: Host process 1.")


def test_what_waiting_deployments_used_is_told(blocks: Analysis) -> None:
    said = told(blocks)["CPU while waiting"]
    assert (
        said == "while the load was elsewhere, a deployment used, in % of one core: Host process 1.0%; docker run 0.30%"
    )


@pytest.mark.parametrize(
    ("stopped_by", "expected"),
    [
        (PRECISE, "3 rounds; then all pairs were as precise as the plan asked for: \xb15% or better"),
        (BUDGET, "3 rounds; then the time was up: 6 minutes. The plan asked for \xb15% or better"),
        (None, "3 rounds; the experiment was cut off. The plan asked for \xb15% or better"),
    ],
)
def test_why_there_was_no_further_round(tmp_path: Path, stopped_by: str | None, expected: str) -> None:
    analysis = recorded(tmp_path, 3, until(stopped_by))
    assert told(analysis)["Rounds"] == expected
    assert "3 rounds, `python" in render_markdown(analysis)


def test_each_pair_has_its_precision(tmp_path: Path, blocks: Analysis) -> None:
    analysis = recorded(tmp_path, 3)
    found = analysis.verdicts[0].comparison
    half_width = (found.high / found.ratio - 1) * 100  # the interval is symmetric on a logarithmic scale
    assert told(analysis)["Precision"].endswith(f": docker run against Host process \xb1{half_width:.1f}%")
    assert "Precision" not in told(blocks)


def groups(folder: Path) -> Analysis:
    """Two groups, with the host process in both."""
    names = ["host", "swarm-1", "swarm-3"]
    reference = {"group": 1, "reference_in": [2]}
    rows = [measured("host") | {"rounds": [a_round("host", 1, **reference)]}]
    rows += [measured(name) | {"rounds": [a_round(name, 1, group=place)]} for place, name in enumerate(names[1:], 1)]
    why = "Swarm, 1 replica and Swarm, 3 replicas can't run at once: they are one service, scaled"
    write_experiment(folder, rows, groups=[names[:2], [names[0], names[2]]], groups_reason=why)
    for group, name in enumerate(names[1:], 1):
        write_group(folder, [HOST, Target(name)], group=group, at_s=100.0 * group)
    return analyse(read_results(folder))


def test_several_groups_are_listed_with_the_reason(tmp_path: Path) -> None:
    analysis = groups(tmp_path)
    assert told(analysis)["Groups"] == (
        "group 1: Host process, Swarm, 1 replica; group 2: Host process, Swarm, 3 replicas. They are several because "
        "Swarm, 1 replica and Swarm, 3 replicas can't run at once: they are one service, scaled"
    )
    assert "(40 blocks were planned)" in told(with_a_repeated_block(tmp_path))["Disturbed blocks"]
    assert "are compared through the reference of all groups: Host process." in how_pairs_are_read(analysis)
    load = {fact.term: fact.text for fact in facts.header_facts(analysis)}["Load"]
    assert "the deployments of a group ran at once (2 groups), and " in load


def with_a_repeated_block(folder: Path) -> Analysis:
    """In the second group, in which the host process is the reference."""
    path = folder / "host" / "round-1" / "load_group2_run.json"
    content = json.loads(path.read_text())
    content["blocks"]["repeated"] = 1
    path.write_text(json.dumps(content))
    return analyse(read_results(folder))


def test_pairs_of_blocks_are_read_in_another_way_than_those_of_turns(tmp_path: Path, blocks: Analysis) -> None:
    in_turns = analyse(read_results(whole_experiment(tmp_path)))
    to_and_fro = "Both ran at once, and the load went to and fro between them in short blocks."
    for analysis, is_in_blocks in ((in_turns, False), (blocks, True)):
        assert (to_and_fro in how_pairs_are_read(analysis)) is is_in_blocks
        assert ("It is computed in each round" in how_pairs_are_read(analysis)) is not is_in_blocks
        assert ("one after another" in render(analysis)) is not is_in_blocks
        assert ("one after another" in render_markdown(analysis)) is not is_in_blocks


def test_charts_over_time_say_that_blocks_are_laid_end_to_end(tmp_path: Path, blocks: Analysis) -> None:
    over_time = {"latency-time", "throughput-time", "cpu-time", "memory-time"}
    for layout, analysis in (
        ("turns", analyse(read_results(whole_experiment(tmp_path)))),
        ("blocks", blocks),
    ):
        found = {
            chart.id
            for section in page_sections(analysis)
            for chart in section.charts
            if "end to end" in chart.how_to_read
        }
        assert found == (over_time if layout == "blocks" else set())


def parts_of(section: Section) -> tuple[list[str], str]:
    """The parts of the chart, from the bottom, and how it is read."""
    chart = section.charts[0]
    return [bar["name"] for bar in chart.plot["data"] if bar["type"] == "bar"], chart.how_to_read


def test_the_four_parts_of_the_time_stand_on_each_other_up_to_the_median(blocks: Analysis) -> None:
    names, how_to_read = parts_of(sections.where_the_time_goes(blocks.loads, blocks.blank))
    assert names == ["in the model", "waiting for the model", "network, HTTP, ingress", "the load generator itself"]
    assert how_to_read.endswith("The blank: median 1.00 ms, p95 1.00 ms (n = 500 requests).")
    assert "lay in the kernel's buffer until the client read it" in how_to_read
    *bars, line = where_the_time_goes(blocks.loads).data
    assert [bar.y[0] for bar in bars][::3] == pytest.approx([5.0, 1.0 + 0.5 - 0.2])
    for place, load in enumerate(blocks.loads):
        assert line.y[place] == pytest.approx(load.summary["median_ms"].value)
        assert sum(bar.y[place] for bar in bars) == pytest.approx(line.y[place], rel=0.01)


def test_the_finding_on_the_time_has_the_same_four_parts(blocks: Analysis) -> None:
    (text,) = (finding.text for finding in blocks.findings if finding.id == "finding-time")
    assert text.startswith(
        "Parts of the median response time under load. The load generator itself: Host process 1.30 ms; docker run "
        "1.30 ms. Network, HTTP, ingress: Host process "
    )
    assert text.endswith(
        " Waiting for the model: Host process 1.00 ms; docker run 1.00 ms. In the model: Host process 5.00 ms; docker "
        "run 5.00 ms."
    )


def test_without_a_blank_the_client_is_in_the_rest(tmp_path: Path) -> None:
    analysis = recorded(tmp_path, change=lambda content: content.update(blank=None))
    names, how_to_read = parts_of(sections.where_the_time_goes(analysis.loads, analysis.blank))
    assert names == ["waiting for the model", "in the model", "the rest (HTTP, network, client)"]
    assert "Each part is a median, so the parts may not add up" in how_to_read
    titles = [words.row_title(quantity, analysis.loads) for quantity in words.rows_of(analysis.loads)]
    assert "Part of the median response time: network, HTTP, ingress, load generator, ms" in titles
    assert "Blank" not in told(analysis)


def test_without_server_timing_no_part_is_drawn_alone(tmp_path: Path) -> None:
    in_blocks(tmp_path, [HOST])
    path = tmp_path / "host" / "round-1" / "load_requests.csv"
    path.write_text(path.read_text().replace(",1.0,5.0,", ",,,"))
    analysis = analyse(read_results(tmp_path))
    assert not words.is_client_told(analysis.loads)
    chart = where_the_time_goes(analysis.loads)
    assert [bar.y[0] for bar in chart.data] == [None] * 3
    assert "the service did not say" in chart.layout.annotations[0].text.replace("<br>", " ")


def test_a_blank_that_was_not_measured_says_why(tmp_path: Path) -> None:
    blank = {"status": "failed", "reason": "no port was free", "folder": "blank"}
    analysis = recorded(tmp_path, change=lambda content: content.update(blank=blank))
    assert told(analysis)["Blank"] == "not measured: the blank was not measured: no port was free"


def test_a_blank_without_waits_does_not_speak_of_them(tmp_path: Path) -> None:
    in_blocks(tmp_path, [HOST, DOCKER])
    (path,) = (tmp_path / "blank").rglob("load_requests.csv")
    change_rows(path, lambda row: row | {"client_wait_ms": ""})
    analysis = analyse(read_results(tmp_path))
    names, how_to_read = parts_of(sections.where_the_time_goes(analysis.loads, analysis.blank))
    assert len(names) == 4
    assert "kernel" not in how_to_read


@pytest.mark.parametrize("name", ["engine-keep-alive", "engine-large-model", "engine-new-connection"])
def test_a_recording_in_blocks_has_its_blank_and_its_parts(name: str) -> None:
    analysis = analyse(read_results(ROOT / "examples" / name))
    assert told(analysis)["Layout"].startswith("in blocks: ")
    assert analysis.blank.median_ms.is_measured
    for load in analysis.loads:
        parts_ms = [load.summary[key].value for key in PARTS]
        assert sum(parts_ms) == pytest.approx(load.summary["median_ms"].value, rel=0.03)


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("mesh-*")))
def test_a_recording_of_an_earlier_version_is_one_in_turns_without_a_blank(name: str) -> None:
    analysis = analyse(read_results(ROOT / "examples" / name))
    said = told(analysis)
    assert said["Layout"].startswith("in turns: ")
    assert said.keys() <= {"Layout", "Rounds", "Precision"}
    (text,) = (finding.text for finding in analysis.findings if finding.id == "finding-time")
    assert ". The rest, which is HTTP, network and client: " in text


def test_processors_of_their_own_are_named(tmp_path: Path, blocks: Analysis) -> None:
    def change(content: dict[str, Any]) -> None:
        content["plan"] |= {"generator_cpus": "0", "service_cpus": "1-3", "processes": 2}

    found = {fact.term: fact.text for fact in facts.run_facts(recorded(tmp_path, change=change))}
    assert found["Processors"] == (
        "load generator: 0, service: 1-3; the load generator had 2 processes beside its master"
    )
    assert "Processors" not in {fact.term for fact in facts.run_facts(blocks)}
