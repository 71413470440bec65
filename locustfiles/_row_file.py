"""A CSV file that grows row by row while a run goes on, and loses no row while its disk is full."""

from __future__ import annotations

import csv
import errno
import io
import itertools
import logging
import os
import shutil
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import runfiles

MOST_KEPT_BYTES = 64 * 10**6
"""Rows that could not be written are kept in memory up to this size, about 400,000 requests. Later rows are lost."""

ROWS_AT_ONCE = 1000

logger = logging.getLogger("fourfold")


class Folder:
    """The folder of a run's files, held open: so it is told from whatever takes its place while the run goes on.

    Raises:
        OSError: it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._descriptor = self._open()

    def check(self) -> None:
        """Make the folder anew if somebody removed it. To be called before anything in it is touched by name.

        Raises:
            FileExistsError: another folder has its place, or a link leads elsewhere now.
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


class RowFile:
    """``write`` takes a row, ``flush`` brings all rows taken so far to the disk.

    The file ends with a whole row after each ``flush``. Rows that can't be written are kept, and the next ``flush``
    tries them again. A file that was removed meanwhile is written anew. What has taken the place of the file or of its
    folder is left alone.

    ``rows`` is the number of rows taken.

    Raises:
        OSError: the file can't be opened.
    """

    def __init__(self, folder: Folder, name: str, columns: tuple[runfiles.Column, ...]) -> None:
        self.path = folder.path / name
        self.rows = 0
        self._folder = folder
        self._file = self.path.open("w+b", buffering=0)
        self._line = io.StringIO(newline="")
        # With \n as line end the csv module would leave a lone \r unquoted, and readers would end the row there.
        self._writer = csv.DictWriter(self._line, runfiles.names(columns), lineterminator="\r\n")
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._written = -1  # the header is no row
        self._written_bytes = 0
        self._is_away = False
        self._writer.writeheader()
        self._keep()

    @property
    def lost(self) -> int:
        """How many of the rows are not in the file; while it is open, ``flush`` may still write those that are kept."""
        return self.rows if self._is_away else self.rows - max(0, self._written)

    def write(self, row: dict[str, Any]) -> None:
        """Take one row; None becomes an empty field."""
        self.rows += 1
        if self._kept_bytes < MOST_KEPT_BYTES:
            self._writer.writerow(row)
            self._keep()

    def flush(self) -> None:
        """Write the rows that are kept.

        Raises:
            OSError: not all of them could be written.
        """
        self._return_if_removed()
        try:
            while self._kept:
                self._write_some()
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._written_bytes)  # a part of a row
            raise

    def close(self) -> None:
        """Write what is left, and end. Rows that can't be written now are lost.

        Raises:
            OSError: not all rows could be written.
        """
        try:
            self.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def _keep(self) -> None:
        row = self._line.getvalue().removesuffix("\r\n") + "\n"
        self._line.seek(0)
        self._line.truncate()
        # Half of a surrogate pair, from a name in some service's JSON, is no character and has no encoding.
        self._kept.append(row.encode("utf-8", "backslashreplace"))
        self._kept_bytes += len(self._kept[-1])

    def _write_some(self) -> None:
        block = b"".join(itertools.islice(self._kept, ROWS_AT_ONCE))
        self._file.seek(self._written_bytes)
        taken = self._file.write(block)
        while taken < len(self._kept[0]):
            taken += self._file.write(block[taken:])  # the error that kept it from writing more
        while self._kept and taken >= len(self._kept[0]):
            size = len(self._kept.popleft())
            taken -= size
            self._kept_bytes -= size
            self._written_bytes += size
            self._written += 1

    def _return_if_removed(self) -> None:
        """Write the file anew if somebody removed it or its folder; what was written is still open here.

        Raises:
            OSError: it can't be written, or another file has its name now, or another folder that of its folder.
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
        anew = self.path.open("r+b", buffering=0)
        self._file.close()
        self._file, self._is_away = anew, False
        logger.warning("%s was removed while the run went on, and is written anew", self.path)
