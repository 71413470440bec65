"""A CSV file that grows row by row while a run goes on."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import runfiles


class RowFile:
    """Writes the header at once and each row given; ``flush`` brings all rows so far to the disk.

    Raises:
        OSError: the file can't be written.
    """

    def __init__(self, path: Path, columns: tuple[runfiles.Column, ...]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, runfiles.names(columns), lineterminator="\n")
        self._writer.writeheader()
        self.rows = 0

    def write(self, row: dict[str, Any]) -> None:
        """Append one row; None becomes an empty field."""
        self._writer.writerow(row)
        self.rows += 1

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()
