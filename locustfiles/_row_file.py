"""A CSV file that grows row by row while a run goes on, and keeps its rows while the disk is full."""

from __future__ import annotations

import csv
import errno
import fcntl
import itertools
import logging
import os
import shutil
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from runfiles.columns import Column, column_names

MOST_KEPT_BYTES = 64 * 10**6
"""Rows that could not be written are kept in memory up to this size, about 400,000 requests. Later rows are lost."""

ROWS_AT_ONCE = 1000

logger = logging.getLogger("fourfold")


def claim(file: IO[Any], path: Path | str) -> None:
    """Lock a file against other Locusts as long as it is open here.

    Raises:
        BlockingIOError: another Locust has locked it. The file is closed.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise BlockingIOError(errno.EAGAIN, "another Locust is writing it", str(path)) from None
    except OSError as error:  # a file system without locks
        logger.debug("%s can't be locked (%s)", path, error.strerror)


class Folder:
    """The folder of a run's files. It is held open, so that another folder that takes its place is noticed.

    Raises:
        OSError: it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._descriptor = self._open()

    def check(self) -> None:
        """Make the folder again if it was removed. To be called before a file in it is opened by name.

        Raises:
            FileExistsError: another folder has taken its place, or a link leads elsewhere now.
            OSError: it can't be made.
        """
        try:
            if os.path.samestat(self.path.stat(), os.fstat(self._descriptor)):
                return
        except FileNotFoundError:
            if self.path.resolve() == self.path:  # no link on the way
                self.path.mkdir(parents=True, exist_ok=True)
                anew = self._open()
                os.close(self._descriptor)
                self._descriptor = anew
                return
        raise FileExistsError(errno.EEXIST, "another folder has taken its place", str(self.path))

    def close(self) -> None:
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


class _Returned:
    """What the csv module writes to, so that its ``writerow`` returns the line."""

    def write(self, line: str) -> str:
        return line


# With \n as line end the csv module would not quote a lone \r, and readers would end the row there.
_writer = csv.writer(_Returned(), lineterminator="\r\n")


def csv_text(fields: Iterable[Any]) -> bytes:
    """Fields of a row as CSV, without a line end. None becomes an empty field."""
    line: str = _writer.writerow(fields)
    # Half of a surrogate pair, as in a name in a service's JSON, is not a character and can't be encoded.
    return line[:-2].encode("utf-8", "backslashreplace")


class RowFile:
    """``write`` takes a row, ``flush`` writes all rows taken so far to the disk.

    After each ``flush`` the file ends with a whole row. Rows that can't be written are kept, and the next ``flush``
    tries them again. If the file was removed meanwhile, it is written again. If it was cut short, the rows cut off are
    lost. Another file that has taken its place, or the place of its folder, is left alone.

    ``rows`` is the number of rows taken.

    Raises:
        OSError: the file can't be opened, or another Locust is writing it.
    """

    def __init__(self, folder: Folder, name: str, columns: tuple[Column, ...]) -> None:
        self.path = folder.path / name
        self.rows = 0
        self._folder = folder
        self._file = self.path.open(
            "a+b", buffering=0
        )  # append: the kernel finds the end, also if the file was cut short
        claim(self._file, self.path)
        self._file.truncate(0)
        self._names = column_names(columns)
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._written = -1  # the header is not counted
        self._written_bytes = 0
        self._is_away = False
        self._header = self._keep(csv_text(self._names))

    @property
    def lost(self) -> int:
        """How many rows are not in the file. While it is open, ``flush`` may still write those that are kept."""
        return self.rows if self._is_away else self.rows - max(0, self._written)

    def write(self, row: dict[str, Any]) -> None:
        """Take a row. None becomes an empty field."""
        self.write_texts([csv_text(map(row.get, self._names))])

    def write_texts(self, rows: Iterable[bytes]) -> None:
        """Take rows that are CSV already, without their line ends."""
        for row in rows:
            self.rows += 1
            if self._kept_bytes < MOST_KEPT_BYTES:
                self._keep(row)

    def flush(self) -> None:
        """Write the rows that are kept.

        Raises:
            OSError: not all of them could be written.
        """
        self._return_if_removed()
        self._mend_if_cut_short()
        try:
            while self._kept:
                self._write_some()
        except OSError:
            with suppress(OSError):
                size = os.fstat(self._file.fileno()).st_size
                self._file.truncate(min(self._written_bytes, size))  # a part of a row
            raise

    def close(self) -> None:
        """Write the rows that are left and close the file. Rows that can't be written now are lost.

        Raises:
            OSError: not all rows could be written.
        """
        try:
            self.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def _keep(self, text: bytes) -> bytes:
        row = text + b"\n"
        self._kept.append(row)
        self._kept_bytes += len(row)
        return row

    def _write_some(self) -> None:
        block = b"".join(itertools.islice(self._kept, ROWS_AT_ONCE))
        taken = self._file.write(block)
        while taken < len(self._kept[0]):
            taken += self._file.write(block[taken:])  # raises the error that stopped the first write
        while self._kept and taken >= len(self._kept[0]):
            size = len(self._kept.popleft())
            taken -= size
            self._kept_bytes -= size
            self._written_bytes += size
            self._written += 1

    def _mend_if_cut_short(self) -> None:
        """If the file was emptied or cut short, go on after the last whole row that is left."""
        if os.fstat(self._file.fileno()).st_size >= self._written_bytes:
            return
        whole = end = at = quotes = 0
        self._file.seek(0)
        with open(os.dup(self._file.fileno()), "rb") as reader:
            for line in reader:
                at += len(line)
                quotes += line.count(b'"')
                if line.endswith(b"\n") and quotes % 2 == 0:
                    whole, end = whole + 1, at
        self._file.truncate(end)
        gone = max(0, self._written) - max(0, whole - 1)
        self._written, self._written_bytes = whole - 1, end
        if whole == 0:
            self._kept.appendleft(self._header)
            self._kept_bytes += len(self._header)
        logger.error("%s was cut short while the run went on: %d of its rows are lost", self.path, gone)

    def _return_if_removed(self) -> None:
        """Write the file again if it or its folder was removed. The old content is still open here.

        Raises:
            OSError: it can't be written, or another file or folder has taken its place or that of its folder.
        """
        try:
            self._folder.check()
            self._is_away = not os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            self._is_away = True
        except OSError:
            self._is_away = True
            raise
        else:
            if self._is_away:
                raise FileExistsError(errno.EEXIST, "another file has taken its place", str(self.path))
            return
        self._file.seek(0)
        with self.path.open("xb") as copy:
            try:
                shutil.copyfileobj(self._file, copy)
                copy.flush()
            except OSError:
                self.path.unlink()
                raise
        anew = self.path.open("a+b", buffering=0)
        claim(anew, self.path)
        self._file.close()
        self._file, self._is_away = anew, False
        logger.warning("%s was removed while the run went on, and is written anew", self.path)
