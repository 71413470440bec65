"""Workers whose clock is not the master's, and clocks that are set while a run goes on."""

from __future__ import annotations

import pytest
from _steady_time import SteadyTime

from _clocks import Clocks

NOW_S = 1_700_000_000.0
BOOTED_S = NOW_S - 500
"""When the worker's machine was switched on: its ``time.monotonic()`` counts from there."""


def steady(at_s: float) -> float:
    return at_s - BOOTED_S


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """After three reports of a worker, the second of which was received a second late."""
    clocks = Clocks()
    for number, late in enumerate([0.02, 1.0, 0.01]):
        sent_at = NOW_S + 3 * number
        monkeypatch.setattr("_clocks.time.time", lambda at=sent_at + late: at)
        clocks.note_report("w", steady(sent_at))
    return clocks


@pytest.mark.parametrize("ahead_s", [20, -20, 0.8, -0.8, 86_400 * 365])
def test_a_clock_that_is_off_is_put_right(clocks: Clocks, ahead_s: float) -> None:
    assert clocks.by_this_clock("w", NOW_S + ahead_s, steady(NOW_S)) == pytest.approx(NOW_S, abs=0.02)


@pytest.mark.parametrize("ahead_s", [0, 0.3, -0.3])
def test_a_clock_that_is_nearly_right_is_believed(clocks: Clocks, ahead_s: float) -> None:
    assert clocks.by_this_clock("w", NOW_S + ahead_s, steady(NOW_S)) == NOW_S + ahead_s


def test_a_clock_that_is_set_in_the_run_is_put_right_from_then_on(clocks: Clocks) -> None:
    assert clocks.by_this_clock("w", NOW_S, steady(NOW_S)) == NOW_S
    later = NOW_S + 5
    assert clocks.by_this_clock("w", later + 30, steady(later)) == pytest.approx(later, abs=0.02)


def test_two_machines_that_drift_apart_are_compared_as_they_are_now(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks()
    for number in range(2000):
        sent_at = NOW_S + 3 * number
        monkeypatch.setattr("_clocks.time.time", lambda at=sent_at: at)
        clocks.note_report("w", steady(sent_at) * (1 - 1e-4))
    assert clocks.by_this_clock("w", 0, steady(sent_at) * (1 - 1e-4)) == pytest.approx(sent_at, abs=0.02)


@pytest.mark.parametrize(("set_by_s", "told"), [(3600.0, "forward by 3,600.0 s"), (-3600.0, "back by 3,600.0 s")])
def test_a_clock_that_is_set_moves_no_time_of_the_run_and_is_told(
    monkeypatch: pytest.MonkeyPatch, set_by_s: float, told: str
) -> None:
    clock = [NOW_S]
    monkeypatch.setattr("_steady_time.time.time", lambda: clock[0])
    steady = SteadyTime()
    assert steady.why_other_than_the_clock() is None
    before_s = steady.unix_s()
    clock[0] += set_by_s
    assert steady.unix_s() - before_s == pytest.approx(0, abs=0.5)
    assert f"the clock of this machine was set {told} during the run" in str(steady.why_other_than_the_clock())
    steady.begin()
    assert steady.unix_s() == pytest.approx(clock[0], abs=0.5)
    assert steady.why_other_than_the_clock() is None


def test_the_runs_of_an_experiment_have_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("_steady_time.time.time", lambda: NOW_S + 3600)
    monkeypatch.setattr("_steady_time.time.monotonic", lambda: 500.0)
    monkeypatch.setenv("FOURFOLD_CLOCK", repr(NOW_S - 500.0))
    steady = SteadyTime()
    steady.begin()
    assert steady.unix_s() == NOW_S
    assert "forward by 3,600.0 s since the experiment began" in str(steady.why_other_than_the_clock())
