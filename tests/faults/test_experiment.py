"""What the faults of an experiment take for broken: rows, words and ends of processes with known answers."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.faults_clock import absurd_axes, absurd_in_rows, absurd_in_text, words_of
from benchmarks.faults_experiment import Said
from benchmarks.faults_power import (
    KEY,
    MOST_CUT_BYTES,
    WHOLE_EXIT_CODES,
    Figures,
    Read,
    cut,
    why_not_told,
    wrong_figures,
)
from benchmarks.faults_signals import SIGNALS, Moment, Seen, broken_of, moments, outcome_of, why_not_clean


def test_moments_are_spread_over_the_experiment_and_the_same_each_time() -> None:
    found = moments(20, has_engine=True)
    assert found == moments(20, has_engine=True)
    assert found != moments(20, has_engine=True, seed=1)
    for number in SIGNALS:
        own = [moment for moment in found if moment.number is number]
        assert [int(moment.share * 20) for moment in own] == list(range(20))
        assert sum("docker" in moment.deployments for moment in own) == 5
    assert not any("docker" in moment.deployments for moment in moments(20, has_engine=False))


@pytest.mark.parametrize(
    ("said", "is_begun", "expected"),
    [
        (Said(130, "interrupted"), True, None),
        (Said(-2, ""), False, None),
        (Said(-2, ""), True, "the exit code is not 130"),
        (Said(0, "The page"), True, "the exit code is not 130"),
        (Said(130, "Traceback (most recent call last)\nKeyboardInterrupt"), True, "there was a traceback"),
    ],
)
def test_an_interrupted_experiment_ends_with_130_and_no_traceback(
    said: Said, is_begun: bool, expected: str | None
) -> None:
    broken = why_not_clean(said, signal.SIGINT, is_begun=is_begun)
    assert [text.partition(":")[0] for text in broken] == ([expected] if expected else [])


def test_what_broke_several_times_is_one_sentence() -> None:
    moment = Moment(signal.SIGTERM, 0.5, ("host",))
    seen = [Seen(moment, at_s, end_s=at_s, broken=["something is left: process 7"]) for at_s in (1.0, 2.0)]
    seen += [Seen(moment, 3.0, end_s=3.0, resumed=True), Seen(moment, 9.0, was_late=True, end_s=0.0)]
    assert broken_of(seen) == ("SIGTERM at 1.0 s: something is left: process 7 (2 times).",)
    figures = outcome_of(seen).figures
    assert figures["SIGTERM: moments, held"] == "3, 1"
    assert figures["SIGTERM: longest end, s"] == 3.0
    assert figures["continued and complete"] == "1 of 3"
    assert figures["ended before the signal"] == 1


def figures(n: int, median_ms: float = 2.0, first_text: int = 1) -> Figures:
    rows = pd.DataFrame([(100.0 + at, median_ms, first_text + at) for at in range(n)], columns=KEY)
    return Figures(n, median_ms, rows)


@pytest.mark.parametrize(
    ("found", "kinds", "expected"),
    [
        (figures(10), set(), None),
        (figures(8), {"rows lost"}, None),
        (figures(8), set(), "8 requests in place of 10, and nothing says so"),
        (figures(8), {"few requests"}, "8 requests in place of 10, and nothing says so"),
        (figures(8, first_text=2), {"rows lost"}, "has rows that were never written"),
    ],
)
def test_a_figure_from_fewer_rows_is_wrong_unless_the_page_says_so(
    found: Figures, kinds: set[str], expected: str | None
) -> None:
    key = ("host", 1, "load")
    wrong = wrong_figures(Read({key: figures(10)}, {"host": set()}), Read({key: found}, {"host": kinds}))
    assert len(wrong) == (expected is not None)
    assert expected is None or expected in wrong[0]


def test_a_command_that_refuses_a_folder_names_a_file_of_it() -> None:
    files = {"experiment.json", "load_requests.csv"}
    assert why_not_told(Said(2, "error: x/experiment.json can't be read"), WHOLE_EXIT_CODES, files, "it") == []
    assert "named no file" in why_not_told(Said(2, "error: no"), WHOLE_EXIT_CODES, files, "it")[0]
    assert "ended with 1" in why_not_told(Said(1, "experiment.json"), WHOLE_EXIT_CODES, files, "it")[0]
    assert "traceback" in why_not_told(Said(0, "Traceback (most recent call last)"), WHOLE_EXIT_CODES, files, "it")[0]


@pytest.mark.parametrize("spared", [(), ("experiment.json",)])
def test_files_lose_their_ends_only(tmp_path: Path, spared: tuple[str, ...]) -> None:
    content = {name: random.Random(name).randbytes(9000) for name in ("experiment.json", "load_requests.csv")}
    for name, said in content.items():
        (tmp_path / name).write_bytes(said)
    cut(tmp_path, random.Random(1), spared)
    left = {name: (tmp_path / name).read_bytes() for name in content}
    assert all(content[name].startswith(left[name]) for name in content)
    assert 9000 - MOST_CUT_BYTES <= len(left["load_requests.csv"]) < 9000
    assert (len(left["experiment.json"]) == 9000) is bool(spared)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"response_time_ms": "2.5", "started_at_unix_s": "1795973557.6", "error": ""}, []),
        ({"response_time_ms": "-3599998"}, ["response_time_ms is -3.6e+06"]),
        ({"response_time_ms": "3600002.5"}, ["response_time_ms is 3.6e+06"]),
        ({"waited_s": "3600"}, ["waited_s is 3600"]),
        ({"Request Count": "5607", "Requests/s": "-1.56"}, ["Requests/s is -1.56", "Requests/s is -1.56 for 5607"]),
        ({"Request Count": "5607", "Requests/s": "560.1"}, []),
    ],
)
def test_a_row_with_a_negative_or_absurd_number_is_found(row: dict[str, str], expected: list[str]) -> None:
    found = absurd_in_rows([row])
    assert [text[: len(start)] for text, start in zip(found, expected, strict=True)] == expected


def test_times_that_jump_by_an_hour_are_found() -> None:
    rows = [{"sampled_at_unix_s": "1795973557"}, {"sampled_at_unix_s": "1795977157"}]
    assert absurd_in_rows(rows) == ["sampled_at_unix_s spans 3600 s"]


def test_absurd_durations_on_a_page_are_found_but_for_the_caveats_own() -> None:
    page = "<p>took 2.5 ms, then \N{MINUS SIGN}3 s, <b>3,599.2</b> s</p><script>7200 s</script>"
    caveat = "<p>the clock of this machine was set back by 3,600.0 s during the run</p>"
    assert list(absurd_in_text(words_of(page + caveat))) == ["\N{MINUS SIGN}3 s", "3,599.2 s"]
    assert absurd_axes('"x": [0.5, 3600.2], "range": [0, 101], "x": ["median"]') == ["from 0.5 to 3600.2"]
