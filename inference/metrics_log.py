"""The service's own record: one CSV row for each answered request."""

from __future__ import annotations

import csv
import io
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

HEADER = ("Inference Latency (ms)", "Prediction", "Input Text", "Timestamp")


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

    def csv(self) -> str:
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

    A file that is already there is continued, also when the process that wrote it was killed in the middle of a row.

    Raises:
        OSError: the file can't be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("ab")
        self._file.write(csv_line(HEADER).encode() if self._file.tell() == 0 else _end_of_torn_row(path))
        self._file.flush()

    def append(self, row: MetricsRow) -> None:
        line = row.csv().encode()
        with self._lock:
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        with self._lock:
            self._file.close()

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
