"""The metrics file: the service writes one CSV row for each answered request."""

from __future__ import annotations

import csv
import errno
import io
import logging
import os
import stat
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

HEADER = ("Inference Latency (ms)", "Prediction", "Input Text", "Timestamp")

FLUSH_S = 0.05
"""How long rows are collected before they are written together."""

PIECE_BYTES = 1024 * 1024

FILE_FAULTS = {
    "deleted": "was deleted, with the rows that it had",
    "moved": "was moved away, with the rows that it had",
    "replaced": "was replaced by another file",
    "truncated": "was truncated by another program",
    "changed": "was changed by another program",
    "orphaned": "was deleted outside of the container: its rows can no longer be read",
    "unwritable": "can't be written",
}
"""Kinds of fault -> what happened to the metrics file."""

OTHER_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a character device", stat.S_IFBLK: "a block device"}

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class MetricsRow:
    """One answered request. ``answered_at`` is in UTC and is written without an offset."""

    inference_ms: float
    prediction: str
    text: str
    answered_at: datetime

    @property
    def timestamp(self) -> str:
        return self.answered_at.replace(tzinfo=None).isoformat(timespec="microseconds")

    @cached_property
    def csv(self) -> str:
        """The row with its line end, as it is sent to the client and written to the file."""
        return csv_line((f"{self.inference_ms:.2f}", self.prediction, self.text, self.timestamp))


def csv_line(fields: tuple[str, ...]) -> str:
    r"""One row of RFC 4180, ended by ``\n``, from which a CSV reader gets back exactly ``fields``.

    The csv module quotes a text only if it contains a character of the line end. With ``\n`` as line end a lone ``\r``
    would not be quoted, and readers would take it for the end of the row. So the row is made with ``\r\n``.
    """
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(fields)
    return line.getvalue().removesuffix("\r\n") + "\n"


class NotMetricsFile(OSError):
    """The file holds something else, which rows must not be added to."""


class MetricsLog:
    """Appends rows to a CSV file: the header once, and each row whole. Any number of threads may append.

    One thread writes all rows that came within FLUSH_S at once, so no request waits for the disk. Rows are added to an
    existing file, even if the process that wrote it was killed in the middle of a row. If the file is deleted, moved,
    replaced, truncated or changed by another program, the next rows go to the file that then has the name, which gets a
    header if it is empty. ``on_fault`` is called with one of FILE_FAULTS each time, in the thread that writes.

    Raises:
        NotMetricsFile: the file is not empty, and its first line is not the header.
        OSError: the file can't be opened or written, or is neither a regular file nor the null device.
    """

    def __init__(self, path: Path, on_fault: Callable[[str], object] = lambda kind: None) -> None:
        self.path = path
        self._on_fault = on_fault
        self._file = _AppendedFile(path)
        self._rows: deque[MetricsRow] = deque()
        self._error: OSError | None = None
        self._came, self._closing = threading.Event(), threading.Event()
        self._writer = threading.Thread(target=self._write_as_they_come, name="metrics", daemon=True)
        self._writer.start()

    def append(self, row: MetricsRow) -> None:
        """Let ``row`` be written soon.

        Raises:
            ValueError: the log is closed.
            OSError: earlier rows could not be written. They are kept, and the log tries again.
        """
        if self._closing.is_set():
            raise ValueError(f"{self.path} is closed")
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror, str(self.path))
        self._rows.append(row)
        self._came.set()

    def close(self) -> None:
        """Write the remaining rows, and end the thread."""
        self._closing.set()
        self._came.set()
        self._writer.join()
        self._file.close()

    def _write_as_they_come(self) -> None:
        left: list[bytes] = []
        while self._came.wait() and not (self._closing.is_set() and not self._rows and not left):
            self._came.clear()
            self._closing.wait(FLUSH_S)
            left += [self._rows.popleft().csv.encode() for _ in range(len(self._rows))]
            try:
                self._write(left)
            except OSError as error:
                is_new, self._error = self._error is None, error
                if is_new:
                    remedy = "make room there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "fix that"
                    self._tell(
                        "unwritable", f" ({error.strerror}); {remedy}: until then requests are answered with 500"
                    )
                if self._closing.is_set():
                    LOG.warning(
                        "warning: the last %d rows are missing from %s (%s)", len(left), self.path, error.strerror
                    )
                    return
            else:
                self._error = None
            if left or self._closing.is_set():
                self._came.set()

    def _write(self, rows: list[bytes]) -> None:
        """Write ``rows``, and remove from the list those that are written whole."""
        while rows:
            fault = self._file.fault()
            if fault == "orphaned":
                self._tell(fault, "; restart the service with a new one")
            elif fault:
                self._file.reopen()
                self._tell(fault, "; the next rows go to the file that has the name now")
            self._file.append(rows)

    def _tell(self, kind: str, consequence: str) -> None:
        self._on_fault(kind)
        logging.getLogger(f"{__name__}.{kind}").warning("warning: %s %s%s", self.path, FILE_FAULTS[kind], consequence)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _AppendedFile:
    """The open file that a path names. It may be the null device if the path names that from the start.

    Raises:
        NotMetricsFile: the file is not empty, and its first line is not the header.
        OSError: the file can't be opened or written, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lead = b""
        self._torn = 0
        """How many bytes of the next row the file has already."""
        self._size = 0
        """The size of the file, if no other program writes to it."""
        self._may_be_null = True
        self._file = self._open()
        self._may_be_null = not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        if not _is_metrics_file(self._file.fileno()):
            self._file.close()
            raise NotMetricsFile(errno.EINVAL, f"it is no metrics file: its first line is not {','.join(HEADER)}")
        self._begin()
        while self._lead:
            self.append([])

    def fault(self) -> str | None:
        """Which of FILE_FAULTS has happened since the file was opened; None if none has."""
        own = os.fstat(self._file.fileno())
        try:
            named = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return "moved" if own.st_nlink else "deleted"
        if not os.path.samestat(own, named):
            return "replaced"
        if not own.st_nlink:
            return "orphaned"
        if self._may_be_null or own.st_size == self._size:
            return None
        return "truncated" if own.st_size < self._size else "changed"

    def reopen(self) -> None:
        """Continue with the file that has the name now."""
        self._cut_off_torn()
        old, self._file = self._file, self._open()
        old.close()
        self._begin()

    def append(self, rows: list[bytes]) -> None:
        """Write as much of ``rows`` as the system takes at once, and remove from the list those that are written whole.

        If the file was deleted meanwhile, all rows stay in the list.

        Raises:
            OSError: the system takes nothing. The file ends with a whole row, as others may read it now.
        """
        data = self._lead + b"".join(rows)[self._torn :]
        try:
            written = self._file.write(data)
        except OSError:
            self._cut_off_torn()
            raise
        if not os.fstat(self._file.fileno()).st_nlink and self.fault() != "orphaned":
            return
        self._size += written
        written += self._torn - len(self._lead)
        self._lead = self._lead[len(self._lead) + min(written, 0) :]
        whole = 0
        while whole < len(rows) and written >= len(rows[whole]):
            written -= len(rows[whole])
            whole += 1
        del rows[:whole]
        self._torn = max(written, 0)

    def close(self) -> None:
        self._file.close()

    def _cut_off_torn(self) -> None:
        """Remove the part of the next row that the file has already, unless another program wrote to it since."""
        with suppress(OSError):
            if self._torn and os.fstat(self._file.fileno()).st_size == self._size:
                self._file.truncate(self._size - self._torn)
                self._size -= self._torn
                self._torn = 0

    def _open(self) -> FileIO:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        file = FileIO(os.open(self._path, flags | os.O_NONBLOCK, 0o666), "r+")  # opening a FIFO would wait for a reader
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode) or (self._may_be_null and self._path.samefile(os.devnull)):
            return file
        file.close()
        raise OSError(errno.EINVAL, f"it is {OTHER_KINDS.get(stat.S_IFMT(mode), 'no regular file')}")

    def _begin(self) -> None:
        self._lead, self._torn = _lead(self._file.fileno()), 0
        self._size = os.fstat(self._file.fileno()).st_size


def _is_metrics_file(descriptor: int) -> bool:
    """Whether the file begins with the header or is empty. The header may be incomplete, as a full disk leaves it, or
    have the line end of another system."""
    header = csv_line(HEADER).encode()
    begin = os.pread(descriptor, len(header) + 1, 0)
    return header.startswith(begin) or begin.splitlines()[0] == header.rstrip()


def _lead(descriptor: int) -> bytes:
    """What has to be written before the next row: the header or its rest, or the end of an incomplete row.

    If a row ends within a quoted text, a line break alone does not end it: readers would take the next rows for a part
    of that text.
    """
    quotes, offset, last = 0, 0, b""
    while piece := os.pread(descriptor, PIECE_BYTES, offset):
        quotes += piece.count(b'"')
        offset += len(piece)
        last = piece[-1:]
    header = csv_line(HEADER).encode()
    if offset < len(header) and header.startswith(os.pread(descriptor, len(header), 0)):
        return header[offset:]
    if quotes % 2:
        return b'"\n'
    return b"" if last == b"\n" else b"\n"
