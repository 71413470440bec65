"""Several planned changes, requests that the end of a run cuts off, and silences: what is said of them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recorded_runs import START
from test_analysis_changes import (
    BEGAN_S,
    KILL,
    PAUSE,
    Load,
    after,
    change,
    down,
    due,
    event,
    experiment,
    killed,
    lost,
    one,
    row,
    said,
)

from analysis.analyse import Analysis, analyse
from analysis.judge.words import figures_csv
from analysis.read.results import read_results
from analysis.show.page import page, render
from runfiles.files import RUN_RECORD_SUFFIX


@pytest.mark.parametrize(
    ("unanswered", "ms", "is_refused", "lost_ones"),
    [
        (5, 8.0, False, 0),  # 5 are due in 0.1 s
        (6, 8.0, False, 6),
        (20, 400.0, False, 0),  # and 20 in 0.4 s
        (21, 400.0, False, 21),
        (5, 8.0, True, 1000),  # the last second failed, but at once
    ],
)
def test_requests_that_the_end_cuts_off(
    tmp_path: Path, unanswered: int, ms: float, is_refused: bool, lost_ones: int
) -> None:
    rows = [lost(at) if is_refused and after(at) >= 0 else row(at, ms, replica="c") for at in due()]
    load = Load(rows, [change(1, "kill", BEGAN_S)], told={"unanswered": unanswered})
    analysis = one(tmp_path, load)
    (found,) = analysis.effects[0].rounds.values()
    assert found.lost == lost_ones
    is_cut_off = lost_ones != unanswered
    assert found.unsent["cut_off"] == (unanswered if is_cut_off else 0)
    assert f"{unanswered}: under way when the run ended" in render(analysis) or not is_cut_off
    assert found.requests == len([own for own in rows if own["started_at_unix_s"] + ms / 1000 >= START + 22]) + (
        0 if is_cut_off else unanswered
    )


def two_pauses(folder: Path) -> Analysis:
    """Two pauses of 2 s, each over at once; in the first, all requests wait for 2 s, in the second for 1 s. Two
    requests were under way when the run ended."""
    planned = [PAUSE | {"at_s": at_s, "seconds": 2} for at_s in (20.0, 22.0)]
    rows = [row(at, 8.0 + (1000 * (4 - after(at)) if 0 <= after(at) < 4 else 0), replica="c") for at in due()]
    changes = [change(number, "pause", at_s) for number, at_s in ((1, 20.0), (2, 22.0))]
    changes += [change(number, "resume", at_s) for number, at_s in ((1, 22.0), (2, 24.0))]
    return one(folder, Load(rows, changes, told={"unanswered": 30}), planned)


def test_of_two_changes_the_last_has_what_was_under_way(tmp_path: Path) -> None:
    analysis = two_pauses(tmp_path)
    first, second = (effect.rounds[1] for effect in analysis.effects)
    assert (first.lost, second.lost) == (0, 30)
    # Nothing was answered in the first pause, so the second has nothing to be compared with.
    assert (first.is_disturbed_before, second.is_disturbed_before) == (False, True)
    assert "Already before this change it was not as before the first one." in said(analysis)


def test_of_two_changes_each_is_named(tmp_path: Path) -> None:
    analysis = two_pauses(tmp_path)
    assert "docker run lost no request when a replica was paused for 2 s (at 20 s)." in said(analysis)
    assert analysis.headline[0].startswith("When a replica was paused for 2 s (at 22 s), docker run lost 30 of 1,030")
    assert [finding.title for finding in analysis.findings] == [
        "docker run: pause 2 s at 20 s",
        "docker run: pause 2 s at 22 s",
    ]
    (card,) = page(analysis).sections[0].cards[:1]
    assert [value.detail.split("\n")[0] for value in card.values] == [
        "of 0 requests: pause 2 s at 20 s",
        "longest time without an answer",
        "of 1,030 requests: pause 2 s at 22 s",
        "longest time without an answer",
    ]
    assert "as in the 2 to 20 s before" in page(analysis).sections[0].tables[0].how_to_read


def test_a_change_that_was_not_made_cuts_no_span(tmp_path: Path) -> None:
    load = killed()
    failed = change(2, "kill", BEGAN_S + 2, error="Conflict: the container is paused")
    planned = [KILL, KILL | {"at_s": BEGAN_S + 2}]
    analysis = one(tmp_path, replace(load, changes=[*(load.changes or ()), failed]), planned)
    (effect,) = analysis.effects
    assert (effect.rounds[1].lost, effect.rounds[1].is_last) == (151, True)
    made, not_made = page(analysis).sections[0].tables[0].rows
    assert made.cells[0].text == "151 of 1,001"
    assert not_made.title == "docker run: 2. kill"
    assert "words" in not_made.cells[0].style  # a long reason breaks, and does not widen the table
    assert (not_made.cells[0].text, not_made.cells[0].detail) == ("not made", "Conflict: the container is paused")


def test_a_silence_after_the_last_failed_request(tmp_path: Path) -> None:
    """Requests fail for 0.4 s, are answered for 0.2 s, and then wait: all are answered 1.8 s after the kill."""

    def own(at: float) -> dict[str, Any]:
        if not 0 <= after(at) < 1.8 or 0.4 <= after(at) < 0.6:
            return row(at, replica="c")
        return lost(at) if after(at) < 0.4 else row(at, 8 + 1000 * (1.8 - after(at)), replica="c")

    analysis = one(tmp_path, Load([own(at) for at in due()], [change(1, "kill", BEGAN_S)]))
    (found,) = analysis.effects[0].rounds.values()
    assert found.times["last_failed_s"].value == pytest.approx(0.39)
    assert found.times["served_again_s"].value == pytest.approx(1.808)
    assert "and served without errors again after 1.8 s" in said(analysis)
    drawn = page(analysis).sections[0]
    assert [value.text for value in drawn.cards[0].values] == ["20 lost", "1.2 s"]
    assert drawn.tables[0].rows[0].cells[1].text == "0.39 s"
    assert drawn.tables[0].rows[0].cells[1].detail.endswith("served again after 1.8 s")


def test_a_share_that_was_not_asked_for(tmp_path: Path) -> None:
    """The only replica starts again, and never answers: there is no share to speak of."""
    load = down()
    analysis = one(tmp_path, replace(load, events=[*load.events, event("restarted", "c", "1", BEGAN_S + 1)]))
    assert "No new replica answered until the end of the run." in said(analysis)
    assert "fair share" not in said(analysis)


def test_a_replica_that_a_change_ended_is_no_caveat(tmp_path: Path) -> None:
    gone = "replicas of process:7 can't be found: process 7 has ended"
    for action, is_said in (("kill", False), ("cpu", True)):
        planned = KILL if action == "kill" else {"at_s": BEGAN_S, "action": "cpu", "cpus": 1}
        load = replace(down(), changes=[change(1, action, BEGAN_S)])
        folder = experiment(tmp_path / action, {"docker": [load]}, [planned])
        record = folder / f"docker/round-1/load{RUN_RECORD_SUFFIX}"
        content = json.loads(record.read_text())
        content["replicas"]["problems"] = [gone]
        record.write_text(json.dumps(content))
        analysis = analyse(read_results(folder))
        assert any(gone in doubt.text for doubt in analysis.validity.caveats) is is_said


def test_what_is_not_measured_is_no_zero_in_the_csv(tmp_path: Path) -> None:
    analysis = one(tmp_path, Load([row(at) for at in due()], [change(1, "kill", 1.0)]), [KILL | {"at_s": 1.0}])
    figures = figures_csv(analysis.loads, analysis.passes, (), effects=analysis.effects)
    (slowed,) = [own for own in csv.DictReader(io.StringIO(figures)) if own["figure"] == "slowed"]
    assert slowed["value"] == ""
    assert slowed["note"].startswith("too few requests before the change")
