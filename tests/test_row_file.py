"""Rows on a full disk: kept, tried again, and counted where they are lost."""

from __future__ import annotations

import csv
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runfiles.columns import LABEL, NUMBER, TEXT, Column

import _row_file
from _row_file import Folder, RowFile

COLUMNS = (Column("number", LABEL, NUMBER, "which row"), Column("text", LABEL, TEXT, "some text"))


def row_file(path: Path) -> RowFile:
    return RowFile(Folder(path.parent), path.name, COLUMNS)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(file: RowFile, numbers: range) -> None:
    for number in numbers:
        file.write({"number": number, "text": "x" * (number % 90)})


def numbers(path: Path) -> list[int]:
    assert all(len(row["text"]) == int(row["number"]) % 90 for row in read(path))
    return [int(row["number"]) for row in read(path)]


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A file system of its own; only root can mount one."""
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=False)
    if mounted.returncode != 0:
        pytest.skip("a small tmpfs can't be mounted here: not root, or not Linux")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def test_rows_are_kept_while_the_disk_is_full_and_written_once_it_is_not(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16k") as disk:
        path, filler = disk / "rows.csv", disk / "filler"
        file = row_file(path)
        write(file, range(10))
        file.flush()
        filler.write_bytes(bytes(8192))
        write(file, range(10, 3000))
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                file.flush()
            assert path.read_bytes().endswith(b"\n")
            assert 10 <= len(numbers(path)) == file.rows - file.lost < 200
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        write(file, range(3000, 3010))
        file.flush()
        assert numbers(path) == list(range(3010))
        file.close()
        assert file.lost == 0


def test_a_row_is_never_torn_where_a_write_takes_a_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    file = row_file(path)
    write(file, range(400))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for limit in range(1000, 1060, 7):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            with pytest.raises(OSError, match="too large"):
                file.flush()
            assert limit - 100 < path.stat().st_size <= limit
            assert numbers(path) == list(range(file.rows - file.lost))
        with pytest.raises(OSError, match="too large"):
            file.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert numbers(path) == list(range(400 - file.lost))


def test_rows_beyond_the_memory_set_aside_are_lost_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_row_file, "MOST_KEPT_BYTES", 5000)
    file = row_file(tmp_path / "rows.csv")
    write(file, range(1000))
    file.close()
    assert file.rows == 1000
    assert 0 < file.lost == 1000 - len(numbers(tmp_path / "rows.csv"))


def test_a_file_whose_folder_was_removed_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "run" / "rows.csv"
    path.parent.mkdir()
    file = row_file(path)
    write(file, range(100))
    file.flush()
    path.unlink()
    path.parent.rmdir()
    write(file, range(100, 200))
    file.flush()
    write(file, range(200, 210))
    file.close()
    assert numbers(path) == list(range(210))


def test_a_file_that_has_taken_its_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    file = row_file(path)
    write(file, range(100))
    file.flush()
    (tmp_path / "other").write_text("not ours")
    (tmp_path / "other").replace(path)
    with pytest.raises(FileExistsError, match="another file has taken its place"):
        file.close()
    assert path.read_text() == "not ours"
    assert file.lost == 100


@pytest.mark.parametrize("size", [0, 5, 1000, 1501])
def test_a_file_that_is_cut_short_goes_on_after_its_last_whole_row(tmp_path: Path, size: int) -> None:
    path = tmp_path / "rows.csv"
    file = row_file(path)
    for number in range(100):
        file.write({"number": number, "text": 'a "quoted"\nline'})
    file.flush()
    with path.open("r+b") as other:
        other.truncate(size)
    for number in range(100, 110):
        file.write({"number": number, "text": ""})
    file.close()
    assert b"\0" not in path.read_bytes()
    there = [int(row["number"]) for row in read(path)]
    assert there == [*range(len(there) - 10), *range(100, 110)]
    assert file.lost == 110 - len(there) > 0


def test_a_file_that_another_locust_writes_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = row_file(tmp_path / "rows.csv")
    write(file, range(10))
    file.flush()
    with pytest.raises(BlockingIOError, match="another Locust is writing it"):
        row_file(tmp_path / "rows.csv")
    file.close()
    assert numbers(tmp_path / "rows.csv") == list(range(10))
    row_file(tmp_path / "rows.csv").close()


@pytest.mark.parametrize("taken_by", ["link", "link to nothing", "folder", "link above"])
def test_nothing_is_written_into_what_has_taken_the_folders_place(tmp_path: Path, taken_by: str) -> None:
    folder, other = tmp_path / "host" / "round-1", tmp_path / "other"
    folder.mkdir(parents=True)
    other.mkdir()
    file = row_file(folder / "rows.csv")
    write(file, range(100))
    file.flush()
    if taken_by == "link above":
        folder.parent.rename(tmp_path / "moved")
        folder.parent.symlink_to(other)
    else:
        folder.rename(tmp_path / "moved")
        if taken_by == "folder":
            folder.mkdir()
        else:
            folder.symlink_to(other if taken_by == "link" else other / "nothing")
    write(file, range(100, 200))
    with pytest.raises(FileExistsError, match="another folder has taken its place"):
        file.close()
    assert list(other.iterdir()) == []
    assert not (folder / "rows.csv").exists()
    assert file.lost == 200


def test_a_folder_that_was_moved_is_written_to_through_a_link_to_it(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    file = row_file(tmp_path / "run" / "rows.csv")
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "run").symlink_to(tmp_path / "moved")
    write(file, range(100))
    file.close()
    assert numbers(tmp_path / "moved" / "rows.csv") == list(range(100))
    assert file.lost == 0


def test_any_text_is_a_field_of_its_row(tmp_path: Path) -> None:
    texts = ['a,b"c', "line\nbreak", "lone\rreturn", "\r", "", " ", "é中", "=1+1", "\ud800", "\x00", "\u2028"]
    file = row_file(tmp_path / "rows.csv")
    for number, text in enumerate(texts):
        file.write({"number": number, "text": text})
    file.write({"number": None, "text": None})
    file.close()
    found = [row["text"] for row in read(tmp_path / "rows.csv")]
    assert found == [r"\ud800" if text == "\ud800" else text for text in texts] + [""]
