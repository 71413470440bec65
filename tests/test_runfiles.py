"""What the four folders share: paths that stay inside a folder, files that are whole, records that are JSON."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runfiles.files import OutsideFolder, inside, write_whole
from runfiles.strict_json import MOST_RECORD_BYTES, read_record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file in it, beside another folder that is none of its business."""
    (tmp_path / "results" / "host").mkdir(parents=True)
    (tmp_path / "results" / "host" / "file").write_text("ours")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("theirs")
    return tmp_path / "results"


def test_what_lies_inside_is_resolved(folder: Path) -> None:
    assert inside(folder, "host/file") == (folder / "host" / "file").resolve()
    assert inside(folder, folder.resolve() / "host") == (folder / "host").resolve()
    assert inside(folder, "host/../not-there/yet") == folder.resolve() / "not-there" / "yet"
    (folder / "link").symlink_to("host")
    assert inside(folder, "link/file") == (folder / "host" / "file").resolve()


def test_the_folder_itself_may_be_a_link(folder: Path) -> None:
    (folder.parent / "latest").symlink_to(folder)
    assert inside(folder.parent / "latest", "host/file") == (folder / "host" / "file").resolve()


@pytest.mark.parametrize(
    "path",
    [
        *("..", "../elsewhere/file", "host/../../elsewhere", "../results-2", "/etc/passwd"),
        *("link/file", "file-link", "dangling", "", ".", "a\0b", "\ud800"),
    ],
)
def test_what_leads_elsewhere_is_refused(folder: Path, path: str) -> None:
    (folder / "link").symlink_to("../elsewhere")
    (folder / "file-link").symlink_to(folder.parent / "elsewhere" / "file")
    (folder / "dangling").symlink_to("../not-there")
    with pytest.raises(OutsideFolder) as told:
        inside(folder, path)
    assert str(folder) in str(told.value)
    str(told.value).encode()


def test_a_file_is_written_whole_and_a_link_is_replaced(folder: Path) -> None:
    theirs = folder.parent / "elsewhere" / "file"
    (folder / "report.html").symlink_to(theirs)
    write_whole(folder / "report.html", "grün\r\n")
    assert theirs.read_text() == "theirs"
    assert not (folder / "report.html").is_symlink()
    assert (folder / "report.html").read_bytes() == "grün\r\n".encode()
    mask = os.umask(0)
    os.umask(mask)
    assert (folder / "report.html").stat().st_mode & 0o777 == 0o666 & ~mask
    write_whole(folder / "report.html", "new")
    assert (folder / "report.html").read_text() == "new"
    assert {path.name for path in folder.iterdir()} == {"host", "report.html"}


def test_what_can_t_be_written_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(folder / "host" / "file", "new")
    with pytest.raises(UnicodeEncodeError):
        write_whole(folder / "host" / "file", "\ud800")
    monkeypatch.undo()
    with pytest.raises(IsADirectoryError):
        write_whole(folder / "host", "new")
    assert [(path.name, path.read_text()) for path in (folder / "host").iterdir()] == [("file", "ours")]


def test_a_record_is_read_as_json_defines_it(folder: Path) -> None:
    path = folder / "record.json"
    path.write_text(
        '{"a": [1, -2.5e3, "\\ud83d\\ude00 gr\u00fcn", null, true], "b": 9223372036854775807}', encoding="utf-8"
    )
    assert read_record(path) == {"a": [1, -2500.0, "\U0001f600 grün", None, True], "b": 2**63 - 1}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "Expecting value"),
        (b'{"a": 1', "Expecting"),
        (b'{"a": NaN}', "NaN is not a finite number"),
        (b'{"a": -Infinity}', "-Infinity is not a finite number"),
        (b'{"a": 1e400}', "1e400 is not a finite number"),
        (b'{"a": %s}' % (b"9" * 5000), "99999 is a number beyond 64 bits"),
        (b'{"a": [9223372036854775808]}', "'a': 9223372036854775808 is a number beyond 64 bits"),
        (b'{"b": {"a": "\\ud800"}}', "'a': half a surrogate"),
        (b'{"\\udc00": 1}', "half a surrogate"),
        (b'{"a": 1, "b": {}, "a": 2}', "the key 'a' is there twice"),
        (b"[" * 10**6, "nested too deeply"),
        (b'{"a":' * 10**5 + b"1" + b"}" * 10**5, "nested too deeply"),
        (b"\xff\xfe{\x00}\x00", "not text in UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
    ],
)
def test_what_no_recorder_writes_is_no_record(folder: Path, content: bytes, expected: str) -> None:
    path = folder / "record.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=expected) as told:
        read_record(path)
    assert len(str(told.value)) < 200


def test_what_is_no_file_or_too_large_is_not_read(folder: Path) -> None:
    path = folder / "record.json"
    with pytest.raises(FileNotFoundError):
        read_record(path)
    os.mkfifo(path)
    for what in (path, folder, Path("/dev/zero")):
        with pytest.raises(ValueError, match="it is not a file"):
            read_record(what)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(20 * 10**9)
    with pytest.raises(ValueError, match=f"larger than {MOST_RECORD_BYTES // 10**6} MB"):
        read_record(path)
