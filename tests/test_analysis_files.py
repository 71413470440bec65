"""Files that are not what a recorder leaves: the file and the line are named, or the loss is; no figure is wrong."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded_runs import START, measured, request, steady_requests, steady_samples, write_experiment, write_run

from analysis.read.csvs import UnreadableFile, read_csv
from analysis.read.records import UnreadableResults
from analysis.read.results import read_results
from analysis.read.rows import Rows
from analysis.read.runs import Run
from runfiles.columns import REPLICA_STATS_COLUMNS, REQUEST_COLUMNS, column_names

NAMES = column_names(REQUEST_COLUMNS)


def run_with(folder: Path, name: str, change: object) -> tuple[Run | None, str]:
    """A host's load of which one file was changed, and what is said of what can't be read."""
    write_experiment(folder, [measured("host")])
    write_run(folder / "host", "load", steady_requests(5), steady_samples(0.5))
    path = folder / "host" / "round-1" / name
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    (round_,) = read_results(folder).deployments[0].rounds
    return round_.load, " ".join(round_.unread)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda content: content.replace(b"10.0", b"ten", 1), "line 2: response_time_ms is 'ten', which is no number"),
        (lambda content: content.replace(b"10.0", b"-1", 1), "line 2: response_time_ms is -1, which can't have been"),
        (lambda content: content.replace(b"10.0", b"inf", 1), "line 2: response_time_ms is inf"),
        (lambda content: content.replace(b"10.0", b"", 1), "line 2: response_time_ms is empty"),
        (lambda content: content + b"1,2\n", "line 62: 2 fields where the header has 16"),
        (lambda content: content + b"," * 20 + b"\n", "line 62: 21 fields where the header has 16"),
        (lambda content: content.replace(b"warm-up", b"cold", 1), "line 2: phase is 'cold'"),
        (lambda content: content.replace(b",host,", b",\xff\xfe,", 1), "line 2: this is no text in UTF-8"),
        (lambda _: b"a,b\n1,2\n", "line 1: there is no column started_at_unix_s"),
        (lambda _: b"\0\n", "line 1: "),
        (lambda content: content.replace(b"status", b"phase", 1), "line 1: "),
        (lambda content: content.replace(b"17000000", b"16000000"), "started_at_unix_s tells of another time"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_line(tmp_path: Path, change: object, expected: str) -> None:
    run, said = run_with(tmp_path, "load_requests.csv", change)
    assert run is None
    assert "host/round-1/load_requests.csv" in said
    assert expected in said


def test_a_row_that_was_cut_off_is_not_a_row(tmp_path: Path) -> None:
    run, _ = run_with(tmp_path, "load_requests.csv", lambda content: content[:-7])
    assert run is not None
    assert len(run.requests) == 59


def test_a_row_cut_off_within_quotes_is_not_a_row(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host")])
    write_run(tmp_path / "host", "load", [*steady_requests(5), request(3, error='said "no",\nthen\nnothing')])
    path = tmp_path / "host" / "round-1" / "load_requests.csv"
    assert len(read_results(tmp_path).deployments[0].loads[1].requests) == 61
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"nothing")])
    assert len(read_results(tmp_path).deployments[0].loads[1].requests) == 60


def test_an_event_of_the_engine_has_no_replica(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host")])
    event = {"at_unix_s": START + 3, "event": "engine does not answer", "replica": None, "detail": "no answer"}
    write_run(tmp_path / "host", "load", steady_requests(5), steady_samples(0.5), [event])
    run = read_results(tmp_path).deployments[0].loads[1]
    assert run.events["event"].tolist() == ["engine does not answer"]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    run, _ = run_with(tmp_path, "load_requests.csv", lambda _: b"")
    assert run is not None
    assert run.requests.empty


def test_rows_and_columns_in_another_order_change_nothing(tmp_path: Path) -> None:
    def shuffled(content: bytes) -> bytes:
        rows = list(csv.DictReader(io.StringIO(content.decode())))[::-1]
        file = io.StringIO()
        writer = csv.DictWriter(file, [*NAMES[::-1], "own"], restval="x")
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue().encode()

    run, _ = run_with(tmp_path, "load_requests.csv", shuffled)
    assert run is not None
    assert run.requests["started_at_unix_s"].is_monotonic_increasing
    assert run.requests["response_time_ms"].tolist() == [10.0] * 60


def test_a_column_that_was_not_yet_recorded_is_empty_and_any_other_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    early = [name for name in column_names(REPLICA_STATS_COLUMNS) if name != "throttled_seconds"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, early, lineterminator="\n")
        writer.writeheader()
        writer.writerows(steady_samples(0.5))
    frame = read_csv(path, REPLICA_STATS_COLUMNS)
    assert len(frame) == 25
    assert frame["throttled_seconds"].isna().all()
    path.write_text(path.read_text(encoding="utf-8").replace("cpu_seconds", "other", 1), encoding="utf-8")
    with pytest.raises(UnreadableFile, match="there is no column cpu_seconds"):
        read_csv(path, REPLICA_STATS_COLUMNS)


def test_a_large_file_is_read_in_pieces_and_nothing_is_rounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["b"] * 6 + ["a", "", "12", "c"] * 10
    took_ms = [1.5, 100.0, 1 / 3, *range(1, 44)]
    sizes = [255, 256, 70_000, 2**33, *range(42)]
    rows = [request(46 - age, ms, replica=name) for age, (ms, name) in enumerate(zip(took_ms, names, strict=True))]
    for row, size in zip(rows, sizes, strict=True):
        row |= {"response_bytes": size, "request_bytes": size % 1000, "connection_reused": "" if size == 256 else 1}
    with (tmp_path / "x.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, NAMES, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    monkeypatch.setattr("analysis.read.csvs.ROWS_AT_ONCE", 7)
    frame = read_csv(tmp_path / "x.csv", REQUEST_COLUMNS, is_large=True)
    rows.reverse()  # into the order of time
    assert frame["replica"].tolist() == [row["replica"] for row in rows]
    assert frame["replica"].cat.categories.tolist() == ["", "12", "a", "b", "c"]
    for name in ("started_at_unix_s", "response_time_ms", "response_bytes", "request_bytes"):
        assert frame[name].tolist() == [row[name] for row in rows]
    assert frame["connection_reused"].isna().tolist() == [row["connection_reused"] == "" for row in rows]
    assert frame["request_bytes"].dtype == np.uint16
    assert frame["status"].dtype == np.uint8
    whole = read_csv(tmp_path / "x.csv", REQUEST_COLUMNS)
    assert frame.select_dtypes("number").equals(
        whole.select_dtypes("number").astype(frame.dtypes[frame.dtypes != "category"])
    )


def test_rows_that_do_not_follow_each_other_are_those_of_the_frame() -> None:
    frame = pd.DataFrame({"number": range(6), "text": list("abcdef")})
    rows = Rows(frame, np.array([True, False, True, True, False, True]))
    assert len(rows) == 4
    assert rows["number"].tolist() == [0, 2, 3, 5]
    assert rows[rows["number"] > 2]["text"].tolist() == ["d", "f"]


def test_an_id_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host")])
    write_run(tmp_path / "host", "load", steady_requests(5), steady_samples(0.5, replica_id="0012e4567890"))
    assert set(read_results(tmp_path).deployments[0].loads[1].samples["replica_id"]) == {"0012e4567890"}


@pytest.mark.parametrize("content", ["{", "[]", '{"form": 1, "deployments": []}', '{"form": 2, "started_at": NaN}'])
def test_a_record_that_is_none_is_explained(tmp_path: Path, content: str) -> None:
    (tmp_path / "experiment.json").write_text(content)
    with pytest.raises(UnreadableResults, match=r"experiment.json (can't be read|is of form 1)"):
        read_results(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    times=st.lists(st.floats(0.001, 1e9), max_size=20),
    error=st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=20),
    cut=st.integers(0, 400),
)
def test_what_was_written_is_read_or_nothing_is(tmp_path: Path, times: list[float], error: str, cut: int) -> None:
    path = tmp_path / "x.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, NAMES, lineterminator="\n")
        writer.writeheader()
        writer.writerows(request(3, time, error=error) for time in times)
    frame = read_csv(path, REQUEST_COLUMNS)
    np.testing.assert_allclose(frame["response_time_ms"].to_numpy(), times, rtol=1e-12)
    assert set(frame["error"]) == ({error} if times else set())
    path.write_bytes(path.read_bytes()[:-cut] if cut else path.read_bytes())
    try:
        part = read_csv(path, REQUEST_COLUMNS)
    except UnreadableFile:
        return
    assert len(part) <= len(times)
    assert all(math.isclose(a, b, rel_tol=1e-12) for a, b in zip(part["response_time_ms"], times, strict=False))
