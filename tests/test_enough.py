"""When an experiment ends: by precision, by its budget, or after as many rounds as the plan says."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import OWN, OWN_RECORD, ROOT
from rich.console import Console

from infra.deployments.settings import Settings
from infra.deployments.table import PORTS
from infra.experiment import enough, rounds
from infra.experiment.bench import Bench
from infra.experiment.circumstances import Circumstances
from infra.experiment.enough import FEWEST_ROUNDS_TO_STOP, Budget, Pair, ask_precision, spent_s, why_enough
from infra.experiment.journal import Journal, Step
from infra.experiment.plan import Plan
from infra.experiment.progress import View
from infra.experiment.rounds import Rounds
from runfiles.machines import Machine
from runfiles.records import Options
from runfiles.strict_json import read_record

PRECISE = [Pair("host", "docker", 4.2), Pair("host", "compose", 5.0)]
BOTH = ("host", "docker", "compose")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which passes when a test says so."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_the_time_counts_from_the_first_start_and_a_round_that_would_end_late_has_no_room(clock: list[float]) -> None:
    budget = Budget(minutes=5)
    clock[0] += 1000
    assert budget.left_s == 300
    budget.begin()
    clock[0] += 90
    budget.note_round(90)
    budget.begin()
    assert budget.left_s == 210
    clock[0] += 110
    budget.note_round(110)
    assert budget.left_s == 100
    assert budget.has_room()  # a round takes 100 s, as those before
    clock[0] += 1
    assert not budget.has_room()


def test_what_an_earlier_try_used_is_gone() -> None:
    assert Budget(minutes=5, spent_s=200).left_s == 100
    assert not Budget(minutes=5, spent_s=300).has_room()


@pytest.mark.parametrize(
    ("number", "pairs", "running", "expected"),
    [
        (FEWEST_ROUNDS_TO_STOP, PRECISE, BOTH, "precision"),
        (FEWEST_ROUNDS_TO_STOP - 1, PRECISE, BOTH, None),
        (FEWEST_ROUNDS_TO_STOP, [*PRECISE, Pair("docker", "compose", 5.01)], BOTH, None),
        (FEWEST_ROUNDS_TO_STOP, [*PRECISE, Pair("docker", "compose", None)], BOTH, None),
        (FEWEST_ROUNDS_TO_STOP, [*PRECISE, Pair("host", "swarm-1", None)], BOTH, "precision"),
        (FEWEST_ROUNDS_TO_STOP, [], BOTH, None),
        (FEWEST_ROUNDS_TO_STOP, [], ("host",), "precision"),
        (FEWEST_ROUNDS_TO_STOP - 1, [], ("host",), None),
    ],
)
def test_it_is_enough_if_all_pairs_of_those_that_run_are_precise(
    number: int, pairs: list[Pair], running: tuple[str, ...], expected: str | None
) -> None:
    assert why_enough(Plan(), number, pairs, running, Budget(6)) == expected
    ended = "precision" if expected else "budget"
    assert why_enough(Plan(), number, pairs, running, Budget(6, spent_s=361)) == ended


def test_a_pair_is_told_with_its_names() -> None:
    assert str(PRECISE[0]) == "docker run against Host process ±4.2%"
    assert str(Pair("host", "docker", None)) == "docker run against Host process not known yet"


@pytest.fixture
def analysis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program in the place of the analysis."""
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").touch()
    monkeypatch.setattr(enough, "ROOT", tmp_path)

    def put(code: str) -> None:
        (tmp_path / "analysis" / "__main__.py").write_text(code)

    return put


def test_the_analysis_is_asked(tmp_path: Path, analysis: Callable[[str], None]) -> None:
    pairs = [
        {"baseline": "host", "subject": "docker", "ratio": 1.05, "low": 1, "high": 1.1, "half_width_percent": 4.8},
        {"baseline": "host", "subject": "compose", "ratio": None, "low": None, "half_width_percent": None},
    ]
    said = json.dumps({"rounds": 3, "pairs": pairs})
    analysis(f"import sys\nassert sys.argv[1:] == ['precision', {str(tmp_path)!r}]\nprint({said!r})")
    assert ask_precision(tmp_path) == [Pair("host", "docker", 4.8), Pair("host", "compose", None)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise SystemExit('no rows')", "the analysis ended with exit code 1: no rows"),
        ("print('page')", "does not say how precise the pairs are"),
        ("print('{}')", "does not say how precise the pairs are"),
        ("print('[]')", "does not say how precise the pairs are"),
        ('print(\'{"pairs": [{"baseline": "a", "subject": "b"}]}\')', "does not say"),
        (
            'print(\'{"pairs": [{"baseline": "a", "subject": "b", "half_width_percent": true}]}\')',
            "half_width_percent is True",
        ),
    ],
)
def test_an_analysis_that_does_not_tell_is_told(
    tmp_path: Path, analysis: Callable[[str], None], code: str, expected: str
) -> None:
    analysis(code)
    with pytest.raises(ValueError, match=expected):
        ask_precision(tmp_path)


class Measured:
    """Rounds that are measured in no time; by the number of rounds, how precise the pairs then are."""

    def __init__(self, folder: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
        options = Options(service=str(OWN.path), image="i", build=False, ports=PORTS, reach={}, start_timeout_s=5.0)
        self.journal = Journal.begin(folder, plan, "x", Circumstances(Machine()), options, OWN_RECORD)
        self.steps: list[Step] = []
        self.half_widths: dict[int, float] = {}
        self.failing: set[str] = set()
        self.round_s = 60.0
        self._clock = clock
        budget = Budget(plan.budget_minutes)
        self.console = Console(width=500)
        self.bench = Bench(folder, self.journal, Settings(), View(self.journal, self.console, budget))
        self.rounds = Rounds(self.bench, budget)
        monkeypatch.setattr(rounds, "why_not", lambda name, _: "no swarm" if name.startswith("swarm") else None)
        monkeypatch.setattr(rounds, "connect", lambda: None)
        monkeypatch.setattr(rounds, "measure_group", self._measure)
        monkeypatch.setattr(rounds, "ask_precision", self._ask)
        monkeypatch.setattr("time.sleep", lambda _: None)

    def _measure(self, bench: Bench, step: Step) -> None:
        self.steps.append(step)
        self._clock[0] += self.round_s
        for name in step.names:
            if name in self.failing:
                bench.journal.note_round(name, step.number, status="failed", reason="it broke", group=1)
            else:
                whole = ("single_pass", "load")
                bench.journal.note_round(name, step.number, status="measured", reason=None, runs=whole, group=1)

    def _ask(self, _: Path) -> list[Pair]:
        return [Pair("host", "docker", self.half_widths.get(len(self.journal.record.order)))]


@pytest.fixture
def until_precise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> Measured:
    plan = Plan(deployments=("host", "docker", "swarm-1"), budget_minutes=20)
    return Measured(tmp_path, plan, monkeypatch, clock)


def test_it_ends_when_all_pairs_are_precise(until_precise: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    until_precise.half_widths = {2: 3.0, 4: 6.1, 5: 4.25}
    until_precise.round_s = 180  # of one pair, 15 of 20 minutes must be used
    until_precise.rounds.measure_all(None)
    until_precise.rounds.say_why_it_ended()
    assert [step.number for step in until_precise.steps] == [1, 2, 3, 4, 5]
    assert {step.names for step in until_precise.steps} == {("host", "docker"), ("docker", "host")}
    record = until_precise.journal.record
    assert record.stopped_by == "precision"
    assert record.groups == (("host", "docker"),)
    assert record.order == tuple(map(tuple, until_precise.bench.plan.order(5)))
    reasons = {each.reason for each in record.deployments[-2].rounds}
    assert (record.deployments[-2].name, reasons) == ("swarm-1", {"no swarm"})
    said = capsys.readouterr().out
    assert "after round 4: docker run against Host process ±6.1% (wanted ±5%)" in said
    assert "after round 3: docker run against Host process not known yet (wanted ±5%)" in said
    assert "after round 1" not in said
    last = (
        "Ended: all pairs are as precise as wanted after 5 rounds; docker run against Host process ±4.2% (wanted ±5%)"
    )
    assert said.splitlines()[-1] == last


def test_it_ends_before_a_round_that_would_end_late(
    until_precise: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    until_precise.round_s = 190
    until_precise.rounds.measure_all(None)
    until_precise.rounds.say_why_it_ended()
    assert len(until_precise.steps) == 6  # a seventh would end after 22 of 20 minutes
    assert until_precise.journal.record.stopped_by == "budget"
    assert "Ended: the time is up (budget_minutes = 20) after 6 rounds; docker run against" in capsys.readouterr().out


def test_one_round_is_measured_however_short_the_time_is(until_precise: Measured) -> None:
    until_precise.round_s = 5000
    until_precise.rounds.measure_all(None)
    assert len(until_precise.steps) == 1
    assert until_precise.journal.record.stopped_by == "budget"


def test_a_round_in_which_nothing_was_measured_is_the_last(
    until_precise: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    until_precise.failing = {"host", "docker"}
    until_precise.rounds.measure_all(None)
    until_precise.rounds.say_why_it_ended()
    assert len(until_precise.steps) == 1
    assert until_precise.journal.record.stopped_by is None
    assert "Ended: nothing was measured in round 1" in capsys.readouterr().out


def test_one_that_fails_in_each_round_is_tried_in_each(until_precise: Measured) -> None:
    until_precise.failing = {"docker"}
    until_precise.rounds.measure_all(None)
    assert len(until_precise.steps) == 20
    assert until_precise.journal.record.stopped_by == "budget"


def test_what_can_t_run_is_tried_in_no_round(until_precise: Measured) -> None:
    until_precise.rounds.measure_all("there is no image")
    assert {step.names for step in until_precise.steps} == {("host",)}
    assert len(until_precise.steps) == FEWEST_ROUNDS_TO_STOP
    assert {each.reason for each in until_precise.journal.record.deployments[1].rounds} == {"there is no image"}


def test_a_number_of_rounds_is_measured_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(deployments=("host", "docker"), rounds=6, budget_minutes=0.5)
    measured = Measured(tmp_path, plan, monkeypatch, clock)
    measured.half_widths = dict.fromkeys(range(1, 7), 0.1)
    measured.rounds.measure_all(None)
    measured.rounds.say_why_it_ended()
    assert [step.number for step in measured.steps] == [1, 2, 3, 4, 5, 6]
    assert measured.journal.record.stopped_by is None
    assert "Ended: 6 rounds, as planned; docker run against Host process ±0.1% (wanted ±5%)" in capsys.readouterr().out


def test_continued_it_goes_on_with_the_round_that_is_not_whole_and_then_until_it_is_enough(
    until_precise: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    until_precise.round_s = 400
    until_precise.rounds.measure_all(None)
    assert len(until_precise.steps) == 3
    until_precise.journal.note_round("docker", 2, status="failed", reason="it was cut off")
    until_precise.journal.note(stopped_by=None)
    until_precise.steps.clear()
    budget = Budget(10)
    until_precise.half_widths = {3: 4.0, 4: 4.0, 5: 4.0}
    again = Rounds(until_precise.bench, budget)
    until_precise.round_s = 150
    again.measure_all(None)
    docker_first, host_first = ("docker", "host"), ("host", "docker")
    assert until_precise.steps == [Step(2, docker_first, 1), Step(4, docker_first, 1), Step(5, host_first, 1)]
    assert Journal.reopen(tmp_path).record.stopped_by == "precision"


def test_continued_it_keeps_what_is_measured_beside_one_that_can_t_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    plan = Plan(deployments=("host", "docker", "compose"), rounds=2)
    measured = Measured(tmp_path, plan, monkeypatch, clock)
    measured.rounds.measure_all(None)
    measured.journal.note_round("docker", 2, status="not run", reason="there is no image", runs=())
    measured.steps.clear()
    monkeypatch.setattr(rounds, "why_not", lambda name, _: "its port is taken" if name == "docker" else None)
    Rounds(measured.bench, Budget(10)).measure_all(None)
    assert measured.steps == []


def test_the_time_of_measured_rounds_is_spent(tmp_path: Path) -> None:
    plan = Plan(deployments=("host", "docker"), rounds=3)
    options = Options(service=str(OWN.path), image="i", build=False, ports=PORTS, reach={}, start_timeout_s=5.0)
    journal = Journal.begin(tmp_path, plan, "x", Circumstances(Machine()), options, OWN_RECORD)
    run = read_record(ROOT / "examples/engine-keep-alive/host/round-1/load_run.json")
    ended = 1_795_000_000.0
    for name, began_s, ended_s in (("host", 100, 10), ("docker", 90, 5)):
        started = datetime.fromtimestamp(ended - began_s, UTC).isoformat(timespec="seconds")
        journal.note_round(name, 1, status="measured", group=1, started_at=started, runs=("single_pass", "load"))
        folder = tmp_path / name / "round-1"
        folder.mkdir(parents=True)
        said = run | {"started_at_unix_s": ended - 50, "ended_at_unix_s": ended - ended_s}
        (folder / "load_run.json").write_text(json.dumps(said))
    assert spent_s(tmp_path, journal.record) == pytest.approx(95, abs=1)
    journal.note_round("docker", 2, status="failed", started_at="2026-11-18T00:00:00+00:00")
    journal.note_round("host", 3, status="measured", started_at="2026-11-18T00:00:00+00:00")  # its files are gone
    assert spent_s(tmp_path, journal.record) == pytest.approx(95, abs=1)
