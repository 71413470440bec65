"""Locust's own CSV files, written so that a full disk ends nothing and their last second is in them."""

from __future__ import annotations

import csv
import io
import logging
import os
import sys
from contextlib import suppress
from typing import Any

import locust.stats

from runfiles.events import RECORDING_FAILED_EXIT_CODE

from _row_file import claim

logger = logging.getLogger("fourfold")


class LocustFiles(locust.stats.StatsCSVFileWriter):  # type: ignore[misc]
    """Locust's writer of ``PREFIX_stats.csv`` and its like.

    Locust's own one ends at the first write that fails, and raises once more when Locust ends, which hides the exit
    code. It wakes once a second and is not called again when the run ends, so its totals lack up to a second.
    """

    def __init__(self, environment: Any, percentiles: Any, prefix: str, *arguments: Any) -> None:
        first = f"{prefix}_stats.csv"
        self._claimed = open(first, "ab")  # noqa: SIM115  as long as this process lives
        try:
            claim(self._claimed, first)
        except BlockingIOError as error:  # before its files are emptied below
            logger.error("%s: %s; choose another --csv PREFIX", first, error.strerror)  # noqa: TRY400
            sys.exit(RECORDING_FAILED_EXIT_CODE)
        super().__init__(environment, percentiles, prefix, *arguments)
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
        if not _WholeOrNot.has_failed and not self._is_in_place():
            logger.warning("Locust's own files lack rows: %s was removed while the run went on", self.name)
            _WholeOrNot.has_failed = True
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

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.name), os.fstat(self.fileno()))
        except OSError:
            return False


def install() -> None:
    """Have Locust use this writer, before it makes its own."""
    locust.stats.StatsCSVFileWriter = LocustFiles
