"""The service's own record: one CSV row for each answered request."""

from __future__ import annotations

import csv
import io
import sys
import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

HEADER = ("Inference Latency (ms)", "Prediction", "Input Text", "Timestamp")

FLUSH_S = 0.05
"""How long rows gather before they are written together."""


@dataclass(frozen=True)
class MetricsRow:
    """One answered request; ``answered_at`` is UTC, written without an offset."""

    inference_ms: float
    prediction: str
    text: str
    answered_at: datetime

    @property
    def timestamp(self) -> str:
        return self.answered_at.replace(tzinfo=None).isoformat(timespec="microseconds")

    @cached_property
    def csv(self) -> str:
        """The row with its line end, as it is answered and as it is recorded."""
        return csv_line((f"{self.inference_ms:.2f}", self.prediction, self.text, self.timestamp))


def csv_line(fields: tuple[str, ...]) -> str:
    r"""One row of RFC 4180, ended by ``\n``, from which a CSV reader gets back exactly ``fields``.

    The row is formed with ``\r\n`` at its end, since the csv module quotes only what its line end contains: with
    ``\n`` alone a lone ``\r`` inside a text would stay bare, and readers would take it for the end of the row.
    """
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(fields)
    return line.getvalue().removesuffix("\r\n") + "\n"


class MetricsLog:
    """Appends rows to a CSV file: the header once, each row whole, from any number of threads.

    One thread writes, at most FLUSH_S after a row came, all rows that came meanwhile at once: no request waits for the
    disk. A file that is already there is continued, also when the process that wrote it was killed inside a row.

    Raises:
        OSError: the file can't be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)
        self._file.write(csv_line(HEADER).encode() if self._file.tell() == 0 else _end_of_torn_row(path))
        self._rows: deque[MetricsRow] = deque()
        self._error: OSError | None = None
        self._came, self._closing = threading.Event(), threading.Event()
        self._writer = threading.Thread(target=self._write_as_they_come, name="metrics", daemon=True)
        self._writer.start()

    def append(self, row: MetricsRow) -> None:
        """Have ``row`` written soon.

        Raises:
            ValueError: the log is closed.
            OSError: rows before it could not be written; they are kept, and tried again.
        """
        if self._closing.is_set():
            raise ValueError(f"{self.path} is closed")
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror, str(self.path))
        self._rows.append(row)
        self._came.set()

    def close(self) -> None:
        """Write what is left, and end."""
        self._closing.set()
        self._came.set()
        self._writer.join()
        self._file.close()

    def _write_as_they_come(self) -> None:
        left = b""
        while self._came.wait() and not (self._closing.is_set() and not self._rows and not left):
            self._came.clear()
            self._closing.wait(FLUSH_S)
            left += b"".join(self._rows.popleft().csv.encode() for _ in range(len(self._rows)))
            try:
                while left:
                    left = left[self._file.write(left) :]
                self._error = None
            except OSError as error:
                self._error = error
                if self._closing.is_set():
                    print(f"warning: {self.path} lacks its last rows: {error}", file=sys.stderr, flush=True)
                    return
            if left or self._closing.is_set():
                self._came.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _end_of_torn_row(path: Path) -> bytes:
    """What closes a last row that was not written whole; nothing where it was.

    Inside a quoted text also a line break is no end, and an open quote would swallow the rows to come.
    """
    content = path.read_bytes()
    if content.count(b'"') % 2:
        return b'"\n'
    return b"" if content.endswith(b"\n") else b"\n"
