"""An open workload in blocks: real Locust visits real services at the rates of a staircase, or of a capacity search."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from _blocks import Block, is_overloaded, read_blocks, step_of
from conftest import ROOT, free_port
from test_open_load import one_at_a_time
from test_visits import NAMES, Named, Recorded, check_blocks, check_requests, recorded, services, start, write_blocks

from runfiles.events import MEASURED, WARM_UP
from runfiles.objective import read_objective


def open_load(folder: Path, services: list[Named], *arguments: str, **changed: object) -> int:
    blocks = write_blocks(folder, services, **changed)
    options = ("--blocks", str(blocks), "--arrivals", "constant", *arguments)
    return start(folder, *options, locustfile="open_load").wait(120)


def measured_rows(found: Recorded, block: str) -> int:
    return sum(row["block"] == block and row["phase"] == MEASURED for row in found.requests)


UNSENT = ("dropped", "over_bound", "unanswered")


def measured_and_unsent(found: Recorded, block: Mapping[str, str]) -> int:
    """How many arrivals of the measured part of a block there are in its files."""
    return measured_rows(found, block["block"]) + sum(int(block[name]) for name in UNSENT)


def due(block: Mapping[str, str]) -> float:
    """How many there should be."""
    return float(block["rate_per_s"]) * (float(block["measured_to_unix_s"]) - float(block["measured_from_unix_s"]))


def rates_of(found: Recorded) -> list[tuple[str, float]]:
    return [(block["phase"], float(block["rate_per_s"])) for block in found.blocks]


def test_a_staircase_has_its_rates_and_stops_where_a_deployment_is_overloaded(tmp_path: Path) -> None:
    """Tried three times: if the machine stalls for a tenth of a second, the fast one is overloaded too."""
    steps = [(WARM_UP, 10.0), (MEASURED, 10.0), (MEASURED, 60.0), (MEASURED, 90.0)]
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        with services("host", pause_s=0.001) as fast, services("docker", pause_s=0.3) as slow:
            options = ("-u", "1", "-r", "1", "--most-in-flight", "12")
            code = open_load(folder, [*fast, *slow], *options, rates=[10, 60, 90], blocks=3, block_s=1.0)
        assert code == 0
        found = host, docker = [recorded(folder, name) for name in NAMES]
        check_blocks(found)
        for each, name in zip(found, NAMES, strict=True):
            check_requests(each, name)
            for block in each.blocks[1:]:
                assert measured_and_unsent(each, block) == pytest.approx(due(block), abs=2)
        if (rates_of(host), rates_of(docker)) == (steps, steps[:-1]):
            break
    assert (rates_of(host), rates_of(docker)) == (steps, steps[:-1])
    last = docker.blocks[-1]
    assert int(last["over_bound"]) > 5
    assert docker.record.open is not None
    assert docker.record.open.over_bound == int(last["over_bound"])
    assert docker.record.open.rate_per_s is None
    assert docker.record.faults == ()  # an overloaded step is what a staircase looks for


def test_what_hangs_is_given_up_and_the_load_goes_on(tmp_path: Path) -> None:
    with services(*NAMES) as both:
        both[1].process.send_signal(signal.SIGUSR1)
        port = str(free_port())
        options = ("-u", "2", "-r", "2", "--processes", "2", "--master-bind-port", port, "--master-port", port)
        assert open_load(tmp_path, both, *options, rates=[20], blocks=1, warm_up_blocks=0, block_s=0.5) == 0
    host, docker = (recorded(tmp_path, name) for name in NAMES)
    (block,) = docker.blocks
    assert int(block["unanswered"]) + int(block["dropped"]) == pytest.approx(due(block), abs=3)
    assert int(block["unanswered"]) >= 5
    assert docker.record.open is not None
    assert docker.record.open.unanswered == int(block["unanswered"])
    assert docker.record.requests == 0
    (block,) = host.blocks
    assert measured_and_unsent(host, block) == pytest.approx(due(block), abs=3)
    assert int(block["unanswered"]) == 0


def test_the_capacity_of_a_service_is_searched_and_found(tmp_path: Path) -> None:
    """A service of 15 ms, one request at a time, can't answer more than 66 requests per second. Tried three times: if
    the machine stalls for half a second, a low rate is too high too."""
    capacity = {"objective": "p95 < 100 ms", "lowest_per_s": 10, "highest_per_s": 500}
    capacity |= {"budget_s": 50, "tolerance": 0.03}
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        with one_at_a_time() as (url, process):
            target = {"deployment": "host", "host": url, "replicas": f"process:{process}", "csv": str(folder / "load")}
            code = open_load(folder, [], "-u", "1", "-r", "1", targets=[target], capacity=capacity, warm_up_blocks=0)
        assert code == 0
        found = recorded(folder, ".")
        assert found.record.ended_by == "all blocks"
        rates = [float(block["rate_per_s"]) for block in found.blocks]
        if rates[:3] == [10.0, 20.0, 40.0] and 66 < max(rates) < 200 and all(30 < rate < 90 for rate in rates[-4:]):
            break
    assert rates[:3] == [10.0, 20.0, 40.0]
    assert 66 < max(rates) < 200
    assert all(30 < rate < 90 for rate in rates[-4:])
    lasted = [float(block["measured_to_unix_s"]) - float(block["measured_from_unix_s"]) for block in found.blocks]
    assert sum(lasted[:-1]) + 5 < 50.1  # there was room for the last step


def test_a_block_is_overloaded_if_its_requests_are_waited_for_or_were_not_sent() -> None:
    def block(waited_s: float, **unsent: int) -> Block:
        told = {"dropped": 0, "over_bound": 0, "unanswered": 0} | unsent
        return replace(Block(1, 1, 0.0, 1.0, 5.0, 5.0 + waited_s, rate_per_s=10.0), **told)  # type: ignore[arg-type]

    assert not is_overloaded(block(1.9))
    assert is_overloaded(block(2.1))
    assert is_overloaded(block(0.1, over_bound=1))
    assert not is_overloaded(block(0.1, dropped=1))  # the load generator was too slow
    objective = read_objective("p95 < 20 ms, failures < 1%")
    step = step_of(block(0.1, unanswered=2), objective, [1.0, 30.0, 5.0], failed=1)
    assert (step.offered, step.missed, step.seconds, step.is_overloaded) == (6, (4, 3), 4.0, True)
    assert step_of(block(0.1, dropped=2), objective, [1.0, 30.0, 5.0], failed=0).missed == (1, 0)


def test_a_slip_in_the_search_is_named(tmp_path: Path) -> None:
    capacity = {"objective": "p95 < 20", "lowest_per_s": 1, "highest_per_s": 9, "budget_s": 60, "tolerance": 0.03}
    with pytest.raises(ValueError, match=r"capacity.objective.*its unit is ms or s"):
        read_blocks(write_blocks(tmp_path, [], targets=[], capacity=capacity))


SLOW_READING = f"""
import sys, time
sys.path.insert(0, {str(ROOT / "locustfiles")!r})
from open_load import *
from _block_recording import BlockRecording

read_cpu = BlockRecording.read_cpu

def read_slowly(recording):
    until_s = time.perf_counter() + 0.3
    while time.perf_counter() < until_s:
        pass
    return read_cpu(recording)

BlockRecording.read_cpu = read_slowly
"""


def test_what_is_due_while_the_cpu_is_read_at_the_end_of_a_block_is_sent(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_READING)
    with services("host", pause_s=0.001) as fast:
        blocks = write_blocks(tmp_path, fast, rates=[20], blocks=2, block_s=1.0)
        options = ("--blocks", str(blocks), "--arrivals", "constant", "-u", "1", "-r", "1")
        run = start(tmp_path, *options, locustfile=str(tmp_path / "slow"))
        try:
            assert run.wait(60) == 0
        finally:
            run.kill()
    found = recorded(tmp_path, "host")
    assert [block["dropped"] for block in found.blocks] == ["0"] * 3
    for block in found.blocks[1:]:  # 1.6 s, with both readings
        assert measured_and_unsent(found, block) >= 24
