"""What speaks against an experiment whose load came in blocks, and against its blank."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorded_runs import START, Target, change_rows, in_blocks

from analysis.analyse import Analysis, analyse
from analysis.read.results import read_results

HOST, DOCKER = Target("host"), Target("docker")
BLOCKS, REQUESTS, SAMPLES = "load_blocks.csv", "load_requests.csv", "load_replica_stats.csv"
Row = dict[str, str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Host and docker run, one round; nothing speaks against it that the tests ask for."""
    return in_blocks(tmp_path, [HOST, DOCKER])


def change_json(path: Path, **values: Any) -> None:
    """Change keys of a record; ``blocks__repeated`` is the key ``repeated`` of the table ``blocks``."""
    content = json.loads(path.read_text())
    for name, value in values.items():
        *tables, key = name.split("__")
        place = content
        for table in tables:
            place = place[table]
        place[key] = value
    path.write_text(json.dumps(content))


def own(folder: Path, name: str) -> Path:
    """A file of the host's round."""
    return folder / "host" / "round-1" / name


def said_of(analysis: Analysis, kind: str = "") -> list[str]:
    """The texts of one kind of reason; the empty kind is a caveat."""
    return [doubt.text for doubt in analysis.validity.doubts if doubt.kind == kind]


def test_deployments_of_one_group_run_at_once_by_design(folder: Path) -> None:
    analysis = analyse(read_results(folder))
    assert analysis.validity.is_valid
    assert [doubt.text for doubt in analysis.validity.caveats if doubt.is_of_a_lack] == []


def moved(by_s: float, *names: str) -> Callable[[Row], Row]:
    return lambda row: row | {name: f"{float(row[name]) + by_s}" for name in names}


@pytest.mark.parametrize(
    ("file", "change", "kind", "said"),
    [
        (REQUESTS, moved(0.3, "started_at_unix_s"), "clock", "requests were sent outside the measured part of their"),
        (REQUESTS, lambda row: row | {"block": "99"}, "contradiction", "requests are of no block that the file of"),
        (
            REQUESTS,
            lambda row: row | {"phase": "disturbed" if row["phase"] == "measured" else row["phase"]},
            "contradiction",
            "1,000 requests are marked with another phase than their block",
        ),
        (BLOCKS, lambda row: row if int(row["block"]) < 20 else None, "cut off", "8 blocks were measured, not 10"),
        (BLOCKS, lambda row: None, "unreadable", "the load came in blocks, but no block can be read"),
        (
            SAMPLES,
            lambda row: row if int(float(row["sampled_at_unix_s"]) / 2.5) % 2 else None,
            "",
            "s from the edges of the blocks, so its CPU and network may include some of the time in between",
        ),
        (REQUESTS, lambda row: row | {"retried": str(int(row["text_id"] == "1"))}, "", "requests were sent again, as"),
    ],
)
def test_what_contradicts_or_is_missing_is_told(
    folder: Path, file: str, change: Callable[[Row], Row | None], kind: str, said: str
) -> None:
    change_rows(own(folder, file), change)
    found = said_of(analyse(read_results(folder)), kind)
    assert any(text.startswith("Host process, load") and said in text for text in found), found


def test_a_request_in_a_hundred_that_was_sent_again_is_no_caveat(folder: Path) -> None:
    change_rows(
        own(folder, REQUESTS), lambda row: row | {"retried": str(int(float(row["started_at_unix_s"]) % 1 < 0.01))}
    )
    assert not any("were sent again" in text for text in said_of(analyse(read_results(folder))))


def test_a_block_outside_of_the_run_is_of_another_clock(folder: Path) -> None:
    ended = START + 300 + 25
    change_json(own(folder, "load_run.json"), ended_at_unix_s=ended)
    assert any(
        "a block lies outside the time of the run" in text for text in said_of(analyse(read_results(folder)), "clock")
    )


def test_blocks_that_stayed_disturbed_are_a_caveat(folder: Path) -> None:
    change_json(own(folder, "load_run.json"), blocks__disturbed=2, blocks__repeated=5)
    change_rows(own(folder, BLOCKS), lambda row: row | {"others_cpu_percent": "64" if row["block"] == "10" else "5"})
    said = "Host process, load: other programs or the hypervisor took CPU in 2 of 10 blocks, up to 64% of a core; "
    assert f"{said}5 blocks were repeated before; close what is not needed" in said_of(analyse(read_results(folder)))
    change_json(own(folder, "load_run.json"), blocks__disturbed=0)
    assert not any("repeated before" in text for text in said_of(analyse(read_results(folder))))


def test_two_deployments_measured_at_one_moment_are_told(folder: Path) -> None:
    change_rows(
        own(folder, BLOCKS),
        moved(1.0, "began_at_unix_s", "measured_from_unix_s", "measured_to_unix_s", "ended_at_unix_s"),
    )
    found = said_of(analyse(read_results(folder)), "twice")
    assert any("have blocks at the same time" in text and "round 1" in text for text in found)


def test_a_single_pass_during_the_load_of_its_group_overlaps_it(folder: Path) -> None:
    change_json(folder / "docker" / "round-1" / "single_pass_run.json", ended_at_unix_s=START + 310)
    (text,) = said_of(analyse(read_results(folder)), "twice")
    assert "docker run, round 1, and" in text
    assert "have runs at the same time" in text


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"layout": "turns"}, "the load came in blocks, the plan says one deployment after another"),
        ({"block_s": 2.0}, "round 1: block_s was 1, the plan says 2"),
        ({"seconds": 20}, "round 1: the load was 10 s, the plan says 20 s"),
        ({"warm_up_s": 6}, "round 1: the warm-up was 2 s, the plan says 6 s"),
    ],
)
def test_a_load_in_blocks_that_is_not_the_plans_is_told(folder: Path, plan: dict[str, Any], said: str) -> None:
    content = json.loads((folder / "experiment.json").read_text())
    (folder / "experiment.json").write_text(json.dumps(content | {"plan": content["plan"] | plan}))
    found = said_of(analyse(read_results(folder)), "circumstances")
    assert len([text for text in found if said in text]) == 2


def test_a_plan_of_half_a_block_more_is_the_same(folder: Path) -> None:
    content = json.loads((folder / "experiment.json").read_text())
    plan = content["plan"] | {"seconds": 10.4, "warm_up_s": 1.6}
    (folder / "experiment.json").write_text(json.dumps(content | {"plan": plan}))
    assert analyse(read_results(folder)).validity.is_valid


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        (None, "the load came in one piece, the record of the experiment says in blocks"),
        ({"deployment": "docker"}, "the load is that of docker in group 1"),
        ({"group": 2}, "the load is that of host in group 2"),
    ],
)
def test_a_load_of_another_deployment_or_group_is_told(folder: Path, blocks: dict[str, Any] | None, said: str) -> None:
    path = own(folder, "load_run.json")
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"blocks": None if blocks is None else content["blocks"] | blocks}))
    assert any(said in text for text in said_of(analyse(read_results(folder)), "contradiction"))


def test_rounds_that_the_budget_ended_are_a_lack(folder: Path) -> None:
    content = json.loads((folder / "experiment.json").read_text())
    plan = content["plan"] | {"rounds": None, "precision": 5, "budget_minutes": 6}
    path = folder / "experiment.json"
    for stopped_by, is_told in (("budget", True), ("precision", False), (None, False)):
        path.write_text(json.dumps(content | {"plan": plan, "stopped_by": stopped_by}))
        analysis = analyse(read_results(folder))
        lacks = [doubt.text for doubt in analysis.validity.caveats if doubt.is_of_a_lack]
        text = (
            "The rounds ended because the time was up (6 minutes), before the ratio of the medians of every pair was "
        )
        assert lacks == ([f"{text}known to within 5%."] if is_told else [])
        assert analysis.validity.is_valid


def test_a_client_of_more_than_a_third_of_the_median_is_a_caveat(tmp_path: Path) -> None:
    fast = Target("docker", response_ms=lambda _: 3.0)
    in_blocks(tmp_path, [HOST, fast])
    path = tmp_path / "docker" / "round-1" / REQUESTS
    change_rows(path, lambda row: row | {"inference_ms": "1", "queue_ms": "0.5"})
    said = "The load generator's own time is a large part of the median response time: docker run 43%. "
    found = said_of(analyse(read_results(tmp_path)))
    assert f"{said}So ratios are closer to 1 than those of the deployments alone." in found
    assert not any("Host process" in text and "own time" in text for text in found)


def test_without_a_blank_that_is_told_unless_an_earlier_version_recorded(folder: Path) -> None:
    said = "It is not known how much of the response time is the load generator's own: no blank was measured."
    assert said not in said_of(analyse(read_results(folder)))
    change_json(folder / "experiment.json", blank=None)
    assert said in said_of(analyse(read_results(folder)))
    change_json(folder / "experiment.json", plan__layout=None)
    assert said not in said_of(analyse(read_results(folder)))


@pytest.mark.parametrize(
    ("generator", "service", "is_shared"),
    [
        ("0", "1", False),
        ("0-1,4", "2-3", False),
        ("0-1", "1", True),
        ("0", None, True),
        (None, None, True),
        ("0", "x", True),
    ],
)
def test_processors_are_shared_unless_both_have_their_own(
    folder: Path, generator: str | None, service: str | None, is_shared: bool
) -> None:
    change_json(folder / "experiment.json", plan__generator_cpus=generator, plan__service_cpus=service)
    found = said_of(analyse(read_results(folder)))
    assert any("share this machine's processors" in text for text in found) == is_shared


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (lambda row: row if (row["block"], row["text_id"]) != ("1", "7") else None, "incomplete", "159 of 160 texts"),
        (lambda row: row if (row["block"], row["text_id"]) != ("3", "7") else None, "", "1 of the repeated passes did"),
    ],
)
def test_the_first_pass_must_be_whole_and_the_others_should(
    folder: Path, change: Callable[[Row], Row | None], kind: str, said: str
) -> None:
    change_rows(own(folder, "single_pass_requests.csv"), change)
    change_json(own(folder, "single_pass_run.json"), requests=479)
    found = said_of(analyse(read_results(folder)), kind)
    assert any(text.startswith("Host process, single pass") and said in text for text in found)


def test_loads_in_blocks_and_in_one_piece_are_not_compared(folder: Path) -> None:
    change_json(own(folder, "load_run.json"), blocks__block_s=2.0)
    (unlike, *_) = [verdict.unlike for verdict in analyse(read_results(folder)).verdicts]
    assert str(unlike) == "not compared: they differ in blocks"
