"""Locust's own CSV files, written so that a full disk ends nothing and their last second is in them."""

from __future__ import annotations

import csv
import io
import logging
import os
from contextlib import suppress
from typing import Any

import locust.stats

logger = logging.getLogger("fourfold")


class LocustFiles(locust.stats.StatsCSVFileWriter):  # type: ignore[misc]
    """Locust's writer of ``PREFIX_stats.csv`` and its like.

    Locust's own one ends at the first write that fails, and raises once more when Locust ends, which hides the exit
    code. It wakes once a second and is not called again when the run ends, so its totals lack up to a second.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        for name in ("requests", "stats_history", "failures", "exceptions"):
            opened = getattr(self, f"{name}_csv_filehandle")
            file = io.TextIOWrapper(_WholeOrNot(opened.name), "utf-8", newline="", write_through=True)
            opened.close()
            setattr(self, f"{name}_csv_filehandle", file)
            setattr(self, f"{name}_csv_writer", csv.writer(file))

    def close_files(self) -> None:
        """Write the totals as they are at the end of the run, and close all files."""
        for file, write in (
            (self.requests_csv_filehandle, self.requests_csv),
            (self.failures_csv_filehandle, self.failures_csv),
            (self.exceptions_csv_filehandle, self.exceptions_csv),
        ):
            file.seek(0)
            write(csv.writer(file))
            file.truncate()
        super().close_files()


class _WholeOrNot(io.FileIO):
    """A file to which each piece of text is written whole or, where there is no room for it, not at all.

    The first time that one of these files lacks something the log says so.
    """

    has_failed = False

    def __init__(self, path: str) -> None:
        super().__init__(path, "w")

    def write(self, data: Any) -> int:
        began, left = self.tell(), memoryview(data)
        try:
            while left:
                left = left[super().write(left) or 0 :]
        except OSError as error:
            if not _WholeOrNot.has_failed:
                logger.warning("Locust's own files lack rows, %s is the first (%s)", self.name, error.strerror)
            _WholeOrNot.has_failed = True
            with suppress(OSError):
                self.truncate(began)
                self.seek(began, os.SEEK_SET)
        return len(data)


def install() -> None:
    """Have Locust use this writer, before it makes its own."""
    locust.stats.StatsCSVFileWriter = LocustFiles
