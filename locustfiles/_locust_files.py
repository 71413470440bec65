"""Locust's own CSV files, written so that a full disk does not end the run and that they include its last second."""

from __future__ import annotations

import csv
import io
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
import locust.stats

from runfiles.events import RECORDING_FAILED_EXIT_CODE

from _row_file import claim

logger = logging.getLogger("fourfold")


class LocustFiles(locust.stats.StatsCSVFileWriter):  # type: ignore[misc]
    """Locust's writer of ``PREFIX_stats.csv`` and its like.

    Locust's own writer ends at the first write that fails, and raises again when Locust ends, which hides the exit
    code. It writes once a second but not at the end of the run, so its totals lack up to a second.
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
        self._has_told = False
        self._writing: gevent.Greenlet | None = None
        for name in ("requests", "stats_history", "failures", "exceptions"):
            opened = getattr(self, f"{name}_csv_filehandle")
            whole_or_not = _WholeOrNot(opened.name, self._tell_once)
            file = io.TextIOWrapper(whole_or_not, "utf-8", newline="", write_through=True)
            opened.close()
            setattr(self, f"{name}_csv_filehandle", file)
            setattr(self, f"{name}_csv_writer", csv.writer(file))

    def stats_writer(self) -> None:
        """Write once a second, until the files are closed. Locust calls this in a greenlet of its own."""
        self._writing = gevent.getcurrent()
        super().stats_writer()

    def close_files(self) -> None:
        """Write the totals as they are at the end of the run, and close all files.

        Locust with ``--processes`` goes on after this, until its workers have ended. Nothing may be written then.
        """
        if self._writing is not None:
            self._writing.kill()
        for file, write in (
            (self.requests_csv_filehandle, self.requests_csv),
            (self.failures_csv_filehandle, self.failures_csv),
            (self.exceptions_csv_filehandle, self.exceptions_csv),
        ):
            file.seek(0)
            write(csv.writer(file))
            file.truncate()
        super().close_files()

    def _tell_once(self, what: str) -> None:
        """Log the first time that one of these files lacks something."""
        if not self._has_told:
            logger.warning("Locust's own files lack rows: %s", what)
        self._has_told = True


class _WholeOrNot(io.FileIO):
    """A file to which each piece of text is written whole or, where there is no room for it, not at all."""

    def __init__(self, path: str, tell: Callable[[str], None]) -> None:
        super().__init__(path, "w")
        self._tell = tell

    def write(self, data: Any) -> int:
        began, left = self.tell(), memoryview(data)
        if not self._is_in_place():
            self._tell(f"{self.name} was removed while the run went on")
        try:
            while left:
                left = left[super().write(left) or 0 :]
        except OSError as error:
            self._tell(f"{self.name} could not be written ({error.strerror})")
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
