"""What the person who waits sees: the last rounds, how precise the pairs are, and what is left of the time."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from conftest import OWN, OWN_RECORD
from rich.console import Console

from infra.deployments.table import PORTS
from infra.experiment.circumstances import Circumstances
from infra.experiment.enough import Budget, Pair
from infra.experiment.journal import Journal, Step
from infra.experiment.plan import Plan
from infra.experiment.progress import View
from runfiles.machines import Machine
from runfiles.records import Options

PAIRS = [Pair("host", "docker", 4.21), Pair("host", "swarm-1", None)]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds."""
    time = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: time[0])
    return time


def begun(folder: Path, plan: Plan, rounds: int) -> Journal:
    """An experiment of which all but the last round is measured."""
    options = Options(service=str(OWN.path), image="i", build=False, ports=PORTS, reach={}, start_timeout_s=5.0)
    journal = Journal.begin(folder, plan, "x", Circumstances(Machine()), options, OWN_RECORD)
    for number in range(1, rounds + 1):
        if plan.rounds is None:
            journal.add_round()
        if number < rounds:
            for name in plan.deployments:
                journal.note_round(name, number, status="measured", reason=None, runs=("single_pass", "load"))
    return journal


def drawn(view: View, console: Console) -> str:
    with console.capture() as capture:
        console.print(view._draw())
    return capture.get()


def test_until_it_is_precise_the_last_rounds_the_pairs_and_the_time_are_shown(tmp_path: Path, now: list[float]) -> None:
    journal = begun(tmp_path, Plan(deployments=("host", "docker", "swarm-1")), rounds=8)
    console = Console(width=200, force_terminal=True, color_system=None)
    budget = Budget(6)
    view = View(journal, console, budget)
    view.leave_out("swarm-1")
    view.do("Round 8: load of 8 users, block 3 of 26, 812 requests")
    view.note_precision(7, PAIRS)
    budget.begin()
    now[0] += 100
    with view.step(Step(8, ("docker", "host"), 1)):
        said = drawn(view, console).splitlines()
    assert said[0].split() == ["round", "4", "round", "5", "round", "6", "round", "7", "round", "8"]
    assert said[1].split() == ["Host", "process", *["measured"] * 4, "now"]
    assert said[3].split()[-2:] == ["not", "run"]
    expected = "docker run against Host process ±4.2%, Swarm, 1 replica against Host process not known yet (wanted ±5%)"
    assert said[4] == f"precise: {expected}"
    assert said[5].endswith("round 8, 4 min of 6 min left")
    assert said[6] == "Round 8: load of 8 users, block 3 of 26, 812 requests"
    now[0] += 10_000
    assert view.remaining() == "0 s of 6 min left"


def test_of_a_number_of_rounds_all_are_shown_with_the_time_that_they_take(tmp_path: Path, now: list[float]) -> None:
    plan = Plan(deployments=("host", "docker"), rounds=3)
    journal = begun(tmp_path, plan, rounds=2)
    console = Console(width=200, force_terminal=True, color_system=None)
    view = View(journal, console, Budget(6))
    with view.step(Step(1, ("host", "docker"), 1)):
        now[0] += 50
        assert view.remaining() == "about 2 min left"  # this one is over, and two more take as long
    with view.step(Step(2, ("docker", "host"), 1)):
        now[0] += 10
        said = drawn(view, console).splitlines()
        assert view.remaining() == "about 90 s left"  # 40 s of this round, and 50 s of the last
        now[0] += 40
        for name in plan.deployments:
            journal.note_round(name, 2, status="measured", reason=None, runs=("single_pass", "load"))
        assert view.remaining() == "about 50 s left"  # this one is over
    assert said[0].split() == ["round", "1", "round", "2", "round", "3"]
    assert said[2].split() == ["docker", "run", "measured", "now", "·"]
    assert said[3].endswith("1 of 3 rounds of groups, about 90 s left")


def test_in_turns_each_deployment_has_its_time(tmp_path: Path, now: list[float]) -> None:
    plan = Plan(deployments=("host", "docker"), rounds=2, layout="turns")
    journal = begun(tmp_path, plan, rounds=1)
    view = View(journal, Console(), Budget(6))
    for name, taken_s in (("host", 10), ("docker", 30)):
        with view.step(Step(1, (name,))):
            now[0] += taken_s
        journal.note_round(name, 1, status="measured", reason=None, runs=("single_pass", "load"))
    assert view.remaining() == "about 40 s left"
    with view.step(Step(2, ("docker",))):
        now[0] += 20
        assert view.remaining() == "about 20 s left"


def test_without_a_terminal_there_is_a_line_after_each_round(tmp_path: Path) -> None:
    out = io.StringIO()
    view = View(begun(tmp_path, Plan(), rounds=5), Console(file=out, width=20), Budget(6))
    view.note_precision(4, PAIRS[:1])
    with view.shown():
        view.do("nobody sees this")
    assert out.getvalue() == "after round 4: docker run against Host process ±4.2% (wanted ±5%)\n"
