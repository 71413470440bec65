"""``PREFIX_run.json``: what it says, and how it is written while a run goes on, also when the disk is full."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Self

from _blocks import LoadInBlocks, Target
from locust.env import Environment

import addresses
from runfiles.files import write_whole
from runfiles.records import Generator, NodeClock, Replicas, RunRecord

from _monitor import Monitor
from _row_file import Folder

RESERVE_BYTES = 4096
"""Added to twice the record's size: what is kept free for the next record, which says more."""

LIBRARIES = ("locust", "gevent", "httptools", "docker", "psutil")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run to record: what its files' names begin with, whom it loads, which replicas are sampled, and its end.

    ``visits_others``: the load visits it and others in blocks. ``repeat_s``: how long a single pass is repeated; then
    each pass is a block.
    """

    prefix: str
    host: str
    replicas: str
    warm_up_s: float = 0.0
    run_time_s: float | None = None
    end_after_requests: int | None = None
    visits_others: bool = False
    repeat_s: float = 0.0
    is_open: bool = False

    @property
    def is_in_blocks(self) -> bool:
        return self.visits_others or self.repeat_s > 0

    @classmethod
    def of_options(cls, environment: Environment, prefix: str) -> Self:
        """The run that Locust's options ask for, as they are now: the form of the web UI changes them."""
        options = environment.parsed_options
        return cls(
            prefix=prefix,
            host=environment.host or "",
            replicas=options.replicas,
            warm_up_s=options.warm_up,
            run_time_s=options.run_time or None,
            end_after_requests=options.requests,
            repeat_s=options.repeat_s,
            is_open=is_open(environment),
        )

    @classmethod
    def of_target(cls, environment: Environment, load: LoadInBlocks, target: Target) -> Self:
        """The run of one target of a load in blocks."""
        return cls(
            prefix=target.csv,
            host=target.url,
            replicas=target.replicas,
            warm_up_s=load.warm_up_s,
            end_after_requests=load.requests,
            visits_others=True,
            is_open=is_open(environment),
        )

    def settings(self, environment: Environment) -> dict[str, Any]:
        """What the record says of how the run was started."""
        options = environment.parsed_options
        return {
            "command": addresses.without_password(shlex.join(["locust", *sys.argv[1:]])),
            "user_class": "+".join(user.__name__ for user in environment.user_classes),
            "host": addresses.without_password(self.host) or None,
            "spawn_rate": options.spawn_rate,
            "run_time_s": self.run_time_s,
            "warm_up_s": self.warm_up_s,
            "end_after_requests": self.end_after_requests,
            "seed": options.seed,
            "reconnect_every": options.reconnect_every,
        }

    def open_settings(self, environment: Environment) -> dict[str, Any] | None:
        """What the record says of an open workload, as it was started; None: it is a closed one."""
        if not self.is_open:
            return None
        options = environment.parsed_options
        return {
            "rate_per_s": None if self.visits_others else options.rate,
            "arrivals": options.arrivals,
            "connection": options.connection,
            "most_in_flight": options.most_in_flight,
            "spikes": tuple(options.spike),
        }


def is_open(environment: Environment) -> bool:
    """Whether the workload is an open one: its requests are due at a rate."""
    return any(getattr(user, "is_open", False) for user in environment.user_classes)


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
        clocks=tuple(
            NodeClock(node=node, offset_ms=clock.ahead_s * 1000, uncertainty_ms=clock.uncertainty_s * 1000)
            for node, clock in sorted(monitor.finder.clocks().items())
        ),
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
