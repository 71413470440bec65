from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from inference.metrics_log import HEADER, MetricsLog, MetricsRow

AT = datetime(2025, 3, 1, 0, 31, 16, 866537, tzinfo=UTC)


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def row(text: str) -> MetricsRow:
    return MetricsRow(205.8712, "POSITIVE", text, AT)


def test_a_row_looks_as_the_assignment_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    with MetricsLog(path) as log:
        log.append(row("This movie was fantastic!"))
    assert path.read_text() == (
        "Inference Latency (ms),Prediction,Input Text,Timestamp\n"
        "205.87,POSITIVE,This movie was fantastic!,2025-03-01T00:31:16.866537\n"
    )


@pytest.mark.parametrize(
    "text",
    ['a, b and "c"', "two\nlines", "mac\rline", "dos\r\nline", "ünï — 漢字 🎬", '"', ",", " lead", "nul\0", "=1+1"],
)
def test_a_csv_reader_gets_the_text_back(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics.csv"
    with MetricsLog(path) as log:
        log.append(row(text))
    assert read(path)[1] == ["205.87", "POSITIVE", text, "2025-03-01T00:31:16.866537"]


def test_the_header_stands_once_when_a_file_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    for text in ("first", "second"):
        with MetricsLog(path) as log:
            log.append(row(text))
    assert [line[2] for line in read(path)] == [HEADER[2], "first", "second"]


def test_a_row_cut_off_by_a_kill_stays_apart_from_the_next(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    with MetricsLog(path) as log:
        log.append(row("whole"))
    path.write_bytes(path.read_bytes() + b"12.0,NEGA")
    with MetricsLog(path) as log:
        log.append(row("next"))
    assert [line[-2] for line in read(path)] == [HEADER[2], "whole", "12.0", "next"]


@pytest.mark.parametrize("torn", ['12.0,NEGATIVE,"Hello, wor', '12.0,NEGATIVE,"Hello\n', '12.0,NEGATIVE,"so ""call'])
def test_a_text_cut_off_within_its_quotes_swallows_no_row(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "metrics.csv"
    with MetricsLog(path) as log:
        log.append(row("whole"))
    path.write_bytes(path.read_bytes() + torn.encode())
    with MetricsLog(path) as log:
        log.append(row("next"))
        log.append(row("last"))
    assert [line[2] for line in read(path)[-2:]] == ["next", "last"]


def test_rows_of_many_threads_are_whole_and_unmixed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    texts = [f'text {number}, "quoted" ' + "x" * (number % 700) for number in range(2000)]
    with MetricsLog(path) as log, ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda text: log.append(row(text)), texts))
    rows = read(path)
    assert {len(one) for one in rows} == {4}
    assert sorted(one[2] for one in rows[1:]) == sorted(texts)
