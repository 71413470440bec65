"""Requests as a worker hands them to its master: each has its row, its time by the master's clock, and its phase."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from _phases import InOnePiece

from runfiles.columns import REQUEST_COLUMNS, column_names
from runfiles.events import LATE_MS

from _request_batch import RequestBatch
from _row_file import Folder, RowFile

BEGAN_S = 1_700_000_000.0
WARM_UP_S = 2.0


def request(age_s: float, **changed: Any) -> dict[str, Any]:
    """A request as ``request_row`` returns it, sent so long after the run began."""
    row: dict[str, Any] = dict.fromkeys(column_names(REQUEST_COLUMNS))
    row |= {"started_at_unix_s": BEGAN_S + age_s, "response_time_ms": 500.0, "status": 200, "error": "", "replica": "a"}
    return row | {"text_id": 1, "reconnected": 0} | changed


def batch_of(*requests: dict[str, Any]) -> RequestBatch:
    """The requests, made anew from the fields that a worker sends."""
    batch = RequestBatch()
    for each in requests:
        batch.add(each)
    return RequestBatch(**vars(batch))


def written(path: Path, batch: RequestBatch) -> list[dict[str, str]]:
    """The rows of the batch in a file of a run with a warm-up."""
    phases, file = InOnePiece(WARM_UP_S), RowFile(Folder(path), "run_requests.csv", REQUEST_COLUMNS)
    phases.begin(BEGAN_S)
    phases.give_requests(batch, lambda own, names: file.write_texts(own.rows(names)))
    file.close()
    assert file.lost == 0
    with file.path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_each_request_has_its_row_with_the_phase_of_its_time(tmp_path: Path) -> None:
    sent = [
        request(1.5),
        request(2.0, error='say "no",\rplease', status=500),
        request(9.25, replica="b\ud800", block=3),
    ]
    expected = [each | {"phase": phase} for each, phase in zip(sent, ("warm-up", "measured", "measured"), strict=True)]
    expected[2]["replica"] = "b\\ud800"
    names = column_names(REQUEST_COLUMNS)
    as_text = [{name: "" if row[name] is None else str(row[name]) for name in names} for row in expected]
    batch = RequestBatch()
    for each in sent:
        batch.add(each)
    assert written(tmp_path, batch) == as_text


@pytest.mark.parametrize("ahead_s", [20.0, -1.25])
def test_the_requests_of_a_worker_are_dated_by_the_masters_clock(tmp_path: Path, ahead_s: float) -> None:
    batch = batch_of(*(request(age_s + ahead_s) for age_s in (1.0, 1.5, 2.0, 30.0)))
    batch.move(-ahead_s)
    rows = written(tmp_path, batch)
    assert [float(row["started_at_unix_s"]) - BEGAN_S for row in rows] == [1.0, 1.5, 2.0, 30.0]
    assert [row["phase"] for row in rows] == ["warm-up", "warm-up", "measured", "measured"]
    assert {row["response_time_ms"] for row in rows} == {"500.0"}
    assert batch.last_sent_unix_s == {"a": BEGAN_S + 30.0}


def test_the_counts_of_a_batch_are_those_of_its_requests() -> None:
    batch = batch_of(
        request(0.6, retried=1, send_delay_ms=LATE_MS + 1),
        request(0.2, retried=0, reconnected=1, send_delay_ms=LATE_MS, text_id=2),
        request(1.7, replica="b", status=500, error="status 500", text_id=2),
        request(1.8, replica="b", status=503, error="status 503", text_id=2),
        request(1.9, replica="", status=0, error="refused", text_id=3),
        request(2.0, replica=""),
    )
    assert batch.failed == [False, False, True, True, True, False]
    assert batch.late == [True, False, False, False, False, False]
    assert (batch.retries, batch.reconnects) == (1, 1)
    assert batch.failed_texts == {2: 500, 3: 0}
    assert set(batch.text_ids) == {1, 2, 3}
    seconds = int(BEGAN_S)
    assert batch.answers == {"a": {seconds + 1: 1, seconds: 1}}
    assert batch.last_sent_unix_s == {"a": BEGAN_S + 0.6, "b": BEGAN_S + 1.8, "": BEGAN_S + 2.0}
