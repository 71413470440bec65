from __future__ import annotations

import csv
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from inference.metrics_log import HEADER, MetricsLog, MetricsRow, NotMetricsFile

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


@pytest.mark.parametrize(
    "content", ["# Title\n\nText\n", "x", "\n", "Inference Latency (ms),Prediction\n1,2\n", "\xff"]
)
def test_a_file_that_is_no_metrics_file_is_refused_and_left(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.md"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(
        NotMetricsFile, match=r"first line is not Inference Latency \(ms\),Prediction,Input Text,Timestamp$"
    ):
        MetricsLog(path)
    assert path.read_bytes() == content.encode("latin-1")


@pytest.mark.parametrize("length", [0, 1, 30, 54])
def test_a_header_that_a_full_disk_tore_is_completed(tmp_path: Path, length: int) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("Inference Latency (ms),Prediction,Input Text,Timestamp\n"[:length])
    with MetricsLog(path) as log:
        log.append(row("first"))
    assert texts(path) == ["first"]


def test_a_file_with_the_line_ends_of_another_system_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"Inference Latency (ms),Prediction,Input Text,Timestamp\r\n1,2,before,4\r\n")
    with MetricsLog(path) as log:
        log.append(row("behind"))
    assert texts(path) == ["before", "behind"]


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
    assert {len(line) for line in rows} == {4}
    assert sorted(line[2] for line in rows[1:]) == sorted(texts)


class Taken:
    """A metrics file that something happens to while it is written. ``told`` holds the faults that the log reported."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[str] = []
        self.log = MetricsLog(path, self.told.append)

    def write(self, text: str) -> None:
        """Append a row, and wait until the file has it."""
        self.log.append(row(text))
        wait_until(lambda: self.path.is_file() and text in self.path.read_text())


def wait_until(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[Taken]:
    (tmp_path / "folder").mkdir()
    file = Taken(tmp_path / "folder" / "metrics.csv")
    with file.log:
        yield file


def texts(path: Path) -> list[str]:
    header, *rows = read(path)
    assert header == list(HEADER)
    return [line[2] for line in rows]


def test_a_file_that_was_moved_is_begun_anew(taken: Taken) -> None:
    taken.write("before")
    moved = taken.path.rename(taken.path.with_suffix(".old"))
    taken.write("behind")
    assert (texts(moved), texts(taken.path)) == (["before"], ["behind"])
    assert taken.told == ["moved"]


def test_a_file_that_was_deleted_is_begun_anew(taken: Taken) -> None:
    taken.write("before")
    taken.path.unlink()
    taken.write("behind")
    taken.write("and on")
    assert texts(taken.path) == ["behind", "and on"]
    assert taken.told == ["deleted"]


@pytest.mark.parametrize("content", ["", "Inference Latency (ms),Prediction,Input Text,Timestamp\n1,2,other,4\n"])
def test_a_file_in_the_place_of_another_is_continued(taken: Taken, content: str) -> None:
    taken.write("before")
    other = taken.path.with_suffix(".new")
    other.write_text(content)
    other.replace(taken.path)
    taken.write("behind")
    assert texts(taken.path) == (["other", "behind"] if content else ["behind"])
    assert taken.told == ["replaced"]


def test_a_file_that_was_copied_and_truncated_gets_its_header_again(taken: Taken) -> None:
    """As logrotate does it with copytruncate."""
    for _ in range(2):
        taken.write("before")
        os.truncate(taken.path, 0)
        taken.write("behind")
        assert texts(taken.path) == ["behind"]
    assert taken.told == ["truncated"] * 2


def test_a_file_that_was_cut_inside_a_row_goes_on_with_a_whole_one(taken: Taken) -> None:
    taken.write("before, quoted")
    os.truncate(taken.path, taken.path.stat().st_size - 30)
    taken.write("behind")
    assert texts(taken.path)[-1] == "behind"


def test_a_link_to_the_null_device_takes_no_rows_away(taken: Taken) -> None:
    taken.write("before")
    taken.path.unlink()
    taken.path.symlink_to(os.devnull)
    taken.log.append(row("waits"))
    wait_until(lambda: taken.told)
    with pytest.raises(OSError, match="it is a character device"):
        taken.log.append(row("is refused"))
    taken.path.unlink()
    wait_until(lambda: taken.path.is_file() and "waits" in taken.path.read_text())
    taken.write("behind")
    assert texts(taken.path) == ["waits", "behind"]
    assert taken.told == ["unwritable", "deleted"]


@pytest.mark.parametrize("end", ["\n", ',"torn'])
def test_a_file_that_another_program_wrote_longer_goes_on_with_a_whole_row(taken: Taken, end: str) -> None:
    taken.write("before")
    os.truncate(taken.path, 0)
    with taken.path.open("a") as other:
        other.write("x" * 5_000 + end)
    taken.write("behind")
    taken.write("and on")
    assert [line[2] for line in read(taken.path)[1:]] == ["behind", "and on"]
    assert taken.told == ["changed"]


def test_rows_wait_for_a_folder_that_was_taken_away(taken: Taken, caplog: pytest.LogCaptureFixture) -> None:
    taken.write("before")
    moved = taken.path.parent.rename(taken.path.parent.with_name("elsewhere"))
    taken.log.append(row("waits"))
    wait_until(lambda: taken.told)
    with pytest.raises(OSError, match="No such file or directory"):
        taken.log.append(row("is refused"))
    taken.path.parent.mkdir()
    wait_until(taken.path.is_file)
    taken.log.close()
    assert (texts(moved / taken.path.name), texts(taken.path)) == (["before"], ["waits"])
    assert taken.told == ["unwritable", "moved"]
    assert [record.getMessage().partition("; ")[0] for record in caplog.records] == [
        f"warning: {taken.path} can't be written (No such file or directory)",
        f"warning: {taken.path} was moved away, with the rows that it had",
    ]


@contextmanager
def room_for(path: Path, more_bytes: int) -> Iterator[None]:
    """No file may grow by more than that."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + more_bytes, unlimited[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)


def test_a_row_that_a_full_disk_tore_is_whole_in_the_next_file(taken: Taken) -> None:
    """The disk takes a part of a row; before it takes the rest, the file is moved."""
    taken.write("before")
    with room_for(taken.path, 10):
        taken.log.append(row("torn"))
        wait_until(lambda: taken.told)
        moved = taken.path.rename(taken.path.with_suffix(".old"))
    wait_until(lambda: taken.path.is_file() and "torn" in taken.path.read_text())
    assert (texts(moved), texts(taken.path)) == (["before"], ["torn"])
    assert taken.told == ["unwritable", "moved"]


def test_a_file_whose_disk_stays_full_ends_with_a_whole_row(taken: Taken) -> None:
    taken.write("before")
    with room_for(taken.path, 10):
        taken.log.append(row("torn"))
        wait_until(lambda: taken.told)
        taken.log.close()
    assert taken.path.read_bytes().endswith(b"\n")
    assert texts(taken.path) == ["before"]


def test_the_null_device_keeps_no_rows() -> None:
    with MetricsLog(Path("/dev/null")) as log:
        log.append(row("nowhere"))


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "file")
    for name, reason in {
        "fifo": "it is a FIFO",
        "socket": "No such device or address",
        "dangling": "No such file or directory",
        "": "Is a directory",
        "/dev/full": "it is a character device",
        "/dev/stdin/x": "Not a directory",
    }.items():
        with pytest.raises(OSError, match=reason):
            MetricsLog(tmp_path / name)
