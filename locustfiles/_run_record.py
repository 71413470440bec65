"""``PREFIX_run.json``: what it says, and how it is written while a run goes on, also when the disk is full."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version

from runfiles.files import write_whole
from runfiles.records import Generator, Replicas, RunRecord

from _monitor import Monitor
from _row_file import Folder

RESERVE_BYTES = 4096
"""Added to twice the record's size: what is kept free for the next record, which says more."""

LIBRARIES = ("locust", "gevent", "httptools", "docker", "psutil")


class RecordFile:
    """The file of a run's record, and a file beside it that keeps room for the next record.

    ``error``: why the last record could not be written; None: it was.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self.error: OSError | None = None
        self._folder = folder
        self._path = folder.path / name
        self._reserve = folder.path / f"{name}.reserve"
        self._written: os.stat_result | None = None

    def write(self, record: RunRecord) -> None:
        """Write the record whole, or leave the one before; where the disk is full, in the room that was set aside.

        What has taken the place of the record or of its folder is left alone.
        """
        text = record.text()
        try:
            self._folder.check()
            self._check()
            try:
                write_whole(self._path, text)
            except OSError:
                self._reserve.unlink(missing_ok=True)
                write_whole(self._path, text)
            self._written = self._path.stat()
            self.error = None
        except FileExistsError as error:
            self.error = error
            return
        except OSError as error:
            self.error = error
        with suppress(OSError):
            self._reserve.write_bytes(bytes(2 * len(text.encode()) + RESERVE_BYTES))

    def close(self) -> None:
        """No record is written any more: give the room back."""
        with suppress(OSError):
            self._folder.check()
            self._reserve.unlink(missing_ok=True)

    def _check(self) -> None:
        """
        Raises:
            FileExistsError: what has the record's name now is not what this run wrote.
        """
        with suppress(FileNotFoundError):
            there = self._path.lstat()
            if self._written is not None and not os.path.samestat(there, self._written):
                raise FileExistsError(errno.EEXIST, "another file has taken its place", str(self._path))


def replicas_record(asked: str, interval_s: float, monitor: Monitor | None, problems: Sequence[str]) -> Replicas:
    """What was sampled of which replicas so far. ``problems``: what kept the monitor (None) from being started."""
    if monitor is None:
        return Replicas(asked=asked, interval_s=interval_s, list=(), problems=tuple(problems))
    target = monitor.finder.target
    return Replicas(
        asked=asked,
        found=str(target) if target else None,
        sampling=monitor.sampling(),
        interval_s=interval_s,
        list=monitor.record(),
        problems=(*problems, *monitor.problems),
    )


def generator_record(cpu_percents: Sequence[float], workers: int, cpu_warnings: int) -> Generator:
    """The load generator's own CPU. ``cpu_percents``: of each of its processes; empty before the run's end."""
    return Generator(
        cpu_percent=max(cpu_percents, default=None),
        cpu_percent_all=sum(cpu_percents) if cpu_percents else None,
        processes=1 + workers,
        cpu_warnings=cpu_warnings,
    )


def recorder_versions() -> dict[str, str]:
    """The versions of what sends the load and records it."""
    return {name: version(name) for name in LIBRARIES} | {"python": sys.version.split()[0]}
