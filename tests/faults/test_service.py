"""How faults of the service and of the disk are judged: what was not kept is called broken, with its evidence."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import faults_crowd
from benchmarks.faults_crowd import Watched, Window
from benchmarks.faults_crowd_client import BURST, IDLE, SLOW
from benchmarks.faults_disk import Ended, Table, judged_locust, read_table, why_unclear
from benchmarks.faults_running import Answer, Rows, read_rows, text_of, why_rows_differ
from benchmarks.faults_service import Episode, judged
from inference.metrics_log import HEADER, csv_line

WARNING = "warning: metrics.csv can't be written (Permission denied); fix that: until then requests get 500"


def row(number: int) -> str:
    return csv_line(("1.50", "POSITIVE", text_of(number), "2026-01-31T12:00:00.000000"))


def answers(statuses: dict[float, int], *, is_problem: bool = True) -> list[Answer]:
    """An answer each 0.1 s; from each key on (seconds) they have this status."""
    times_s = [number / 10 for number in range(100)]
    status = [statuses[max(since for since in statuses if since <= at_s)] for at_s in times_s]
    return [
        Answer(number, at_s, 0.001, each, is_problem and each == 500)
        for number, (at_s, each) in enumerate(zip(times_s, status, strict=True))
    ]


@pytest.mark.parametrize("cut", [1, 30])
def test_a_row_that_is_cut_off_is_torn(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "metrics.csv"
    whole = csv_line(HEADER) + row(0)
    path.write_text(whole + row(45))
    assert read_rows(path) == Rows((0, 45), torn=0)
    path.write_text((whole + row(45))[:-cut])
    assert read_rows(path).torn > 0


def test_a_table_with_a_torn_row_has_one_row_less(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('a,b\n1,"x\ny"\n2,3\n')
    assert read_table(path) == Table(whole=2, torn=0)
    for torn in ("2,", "2\n"):
        path.write_text(f'a,b\n1,"x\ny"\n{torn}')
        assert read_table(path) == Table(whole=1, torn=1)


def test_rows_are_those_of_the_requests_that_were_answered() -> None:
    answered = [Answer(0, 0.0, 0.1, 200), Answer(1, 0.1, 0.1, 500), Answer(2, 0.2, 0.1, 200)]
    assert why_rows_differ(Rows((0, 2)), answered) == []
    assert "1 of 2 requests answered with 200 have no row" in why_rows_differ(Rows((0,)), answered)[0]
    assert "1 rows twice" in why_rows_differ(Rows((0, 0, 2)), answered)[0]
    assert "1 rows twice" in why_rows_differ(Rows((0, 1, 2)), answered)[0]
    assert "2 rows of the metrics file are torn" in why_rows_differ(Rows((0, 2), torn=2), answered)[0]


def broken_of_episode(found: list[Answer], *, keeps_answering: bool = False, code: int = 0, said: str = WARNING) -> str:
    rows = Rows(tuple(answer.number for answer in found if answer.status == 200))
    episode = Episode("away", 2.0, 5.0, keeps_answering)
    return " ".join(judged([episode], found, rows, code, said, "metrics.csv").broken)


def test_a_metrics_file_that_is_away_for_a_while_is_judged() -> None:
    good = answers({0: 200, 2.2: 500, 5.1: 200})
    assert broken_of_episode(good) == ""
    assert "meanwhile were 500 (200: 25)" in broken_of_episode(answers({0: 200}))
    assert "meanwhile were 200 (500: 25)" in broken_of_episode(good, keeps_answering=True)
    assert "No 200 within 5 s" in broken_of_episode(answers({0: 200, 2.2: 500}))
    assert "before and after" in broken_of_episode(answers({0: 200, 2.2: 500, 5.1: 200, 8: 500}))
    assert "no problem document" in broken_of_episode(answers({0: 200, 2.2: 500, 5.1: 200}, is_problem=False))
    assert "exit code 1" in broken_of_episode(good, code=1)
    assert "does not say which file" in broken_of_episode(good, said="warning: it can't be written")


def crowd(kind: str, answered: dict[int, list[float]], *, took_s: float = 0.003, grown_bytes: int = 0) -> str:
    """What is broken if the others' answers take ``took_s`` with the crowd and 2 ms without it."""
    usual, crowded = [Window(0, 1), Window(2, 3), Window(4, 5)], [Window(1, 2), Window(3, 4), Window(5, 6)]
    others = [Answer(n, n / 10, 0.002 if n // 10 % 2 == 0 else took_s, 200) for n in range(60)]
    watched = Watched(kind, 1000, usual, [], crowded, answered, 10**8, [10**8 + grown_bytes])
    return " ".join(faults_crowd.judged(watched, others).broken)


def test_a_crowd_is_judged_by_what_others_notice_and_by_how_it_is_refused() -> None:
    assert crowd(IDLE, {503: [20.0]}) == crowd(SLOW, {408: [75_500.0]}) == crowd(BURST, {200: [90.0], 503: [9.0]}) == ""
    assert "p99 of others is 5.0 ms instead of 2.0 ms" in crowd(IDLE, {}, took_s=0.005)
    assert "p99" not in crowd(BURST, {}, took_s=0.005)
    assert "slowest 503 took 1.20 s" in crowd(BURST, {503: [1200.0]})
    assert "some of them got 200" in crowd(IDLE, {200: [20.0]})
    assert "1 got no answer" in crowd(IDLE, {0: [30_000.0]})
    assert "slowest 408 took 90 s" in crowd(SLOW, {408: [90_000.0]})
    assert "needs 60 MB more" in crowd(IDLE, {}, grown_bytes=60_000_000)


def test_of_few_windows_one_that_is_disturbed_does_not_decide() -> None:
    assert not faults_crowd.is_over([2.0, 2.0], [2.5, 90.0])
    assert faults_crowd.is_over([2.0, 2.0], [4.5, 90.0])
    assert faults_crowd.is_over([2.0, 2.0, 30.0], [3.0, 4.5, 90.0])


def test_a_full_disk_has_to_be_told_with_file_and_remedy() -> None:
    assert why_unclear("it", "run_x: No space left; make room", "run_") == []
    assert "names no remedy" in why_unclear("it", "run_x: No space left", "run_")[0]
    assert "does not name the file" in why_unclear("it", "No space left; make room", "run_")[0]
    assert "does not say" in why_unclear("it", "it failed", "run_")[0]
    assert "traceback" in why_unclear("it", "Traceback\nrun_x: No space left; make room", "run_")[0]


def test_rows_that_locust_lost_have_to_be_told() -> None:
    said = "run_*: No space left; make room\n5 of 15 rows of run_requests.csv are not in it"
    files = {"run_requests.csv": Table(10, 0), "run_stats.csv": Table(2, 0)}
    assert judged_locust(Ended(4, said), files, 15, 10, None).broken == ()
    silent = judged_locust(Ended(4, said.splitlines()[0]), files, 15, 10, None)
    assert "does not say that 5 of 15 rows are lost" in silent.broken[0]
    assert "instead of 4" in judged_locust(Ended(0, said), files, 15, 10, None).broken[0]
    assert "torn" in judged_locust(Ended(4, said), files | {"run_stats.csv": Table(1, 1)}, 15, 10, None).broken[0]
    assert "the analysis reads 9" in judged_locust(Ended(4, said), files, 15, 9, None).broken[0]
