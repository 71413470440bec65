"""Reads a process of another machine, with all that it has started, over an SSH connection of its own."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import _process_there
import gevent
from _node_clocks import Offset, better, offset
from _replicas import NoReplicas, Replica, Target, named_target

from runfiles.columns import CPU, MEMORY, PIDS
from runfiles.events import PROCESS
from runfiles.ssh_command import PYTHON, place_of, ssh

from _counters import Counters

FIRST_ANSWER_S = 20.0
"""For the connection and the start of Python there."""

ANSWER_S = 3.0
"""As long as a Docker engine is given."""

FIRST_QUESTIONS = 5
"""For the clock there: the quickest answer tells it best."""


class ThereFailure(OSError):
    """The process can't be read. The message names its machine."""


_early: dict[tuple[int, str], subprocess.Popen[bytes]] = {}
"""Connections that nobody uses yet, by process and machine."""


def connect_early(asked: str) -> None:
    """Connect to the machine that a value of ``--replicas`` names, if it names one, before the run time begins: that
    takes a second or more. If it fails, the monitor says so when it tries."""
    with suppress(NoReplicas, OSError):
        target = named_target(asked)
        if target.kind == PROCESS and "@" in target.name:
            pid, url = place_in(target)
            _early[pid, url] = ProcessThere(pid, url, dict).connected()


def place_in(target: Target) -> tuple[int, str]:
    """The process and the machine that a target names."""
    pid, _, url = target.name.partition("@")
    return int(pid), url


class ProcessThere:
    """The process ``pid`` of the machine at ``url`` (``ssh://``) as a replica.

    Args:
        said: what the service says of itself (see ``Finder``).
    """

    def __init__(self, pid: int, url: str, said: Callable[[], Mapping[str, Any]]) -> None:
        self._pid = pid
        self._url = url
        self._said = said
        self._process: subprocess.Popen[bytes] | None = None
        self._started: str | None = None
        self._clock: Offset | None = None
        self._is_pss = False
        self._replica: Replica | None = None
        self._has_ended = False

    def replica(self) -> Replica:
        """
        Raises:
            NoReplicas: it has ended, or its machine can't be reached.
        """
        if self._replica is None:
            try:
                told = self._ask()
            except OSError as error:
                raise NoReplicas(str(error)) from error
            if told is not None:
                self._replica = self._as_replica(told)
        if self._replica is None or self._has_ended:
            raise NoReplicas(f"process {self._pid} of {place_of(self._url)} has ended")
        return self._replica

    def read(self) -> Counters | None:
        """The counters now, with their time by this machine's clock; None if the process has ended.

        Raises:
            ThereFailure: the machine does not answer.
        """
        told = self._ask()
        if told is None or self._clock is None:
            return None
        self._is_pss = told["is_pss"]
        read_at_unix_s = told["read_at"] - self._clock.ahead_s
        return Counters(read_at_unix_s, told["cpu_seconds"], told["memory_bytes"], pids=told["threads"])

    @property
    def sources(self) -> dict[str, str]:
        """How each group of columns is read."""
        memory = "PSS of the process tree, once a second" if self._is_pss else "RSS of the process tree, once a second"
        return {
            CPU: "/proc of its machine: the process tree",
            MEMORY: f"/proc of its machine: {memory}",
            PIDS: "/proc of its machine: threads of the tree",
        }

    def clocks(self) -> dict[str, Offset]:
        """How far the clock there is ahead of this machine's, by the name of the machine."""
        return {self._replica.node: self._clock} if self._replica and self._clock else {}

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    def connected(self) -> subprocess.Popen[bytes]:
        """A connection whose other end has answered.

        Raises:
            ThereFailure: it has not.
        """
        process = subprocess.Popen(
            [*ssh(self._url), f"exec {PYTHON}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            program = Path(_process_there.__file__).read_text(encoding="utf-8")
            self._write(process, f"{json.dumps(program)}\n{self._pid}\n")
            self._exchange(process, FIRST_ANSWER_S)
        except BaseException:
            _end(process)
            raise
        return process

    def _as_replica(self, told: Mapping[str, Any]) -> Replica:
        said = self._said()
        pid, name = said.get("pid"), str(said.get("replica") or f"process {self._pid}")
        is_other = pid is not None and pid not in told["pids"]
        doubt = f"process {self._pid} of {place_of(self._url)} is not the service, which is process {pid}"
        return Replica(
            f"process {self._pid}" if is_other else name,
            str(self._pid),
            str(told["node"]),
            self.read,
            sources=lambda: self.sources,
            doubt=doubt if is_other else None,
            is_instant=lambda: False,
        )

    def _ask(self) -> Mapping[str, Any] | None:
        """What the machine tells of the process now; None: it has ended.

        Raises:
            ThereFailure: it does not answer.
        """
        try:
            told = self._answer()
        except BaseException:  # an answer that comes later would be taken for that to the next question
            self.close()
            raise
        is_same = told["is_there"] and self._started in (None, told["started"])
        if not is_same:  # the number may have been given to another process
            self._has_ended = True
            self.close()
            return None
        self._started = told["started"]
        return told

    def _answer(self) -> Mapping[str, Any]:
        if self._process is not None:
            return self._exchange(self._process, ANSWER_S)
        self._process = process = _early.pop((self._pid, self._url), None) or self.connected()
        return [self._exchange(process, ANSWER_S) for _ in range(FIRST_QUESTIONS)][-1]

    def _exchange(self, process: subprocess.Popen[bytes], seconds: float) -> Mapping[str, Any]:
        """One question and its answer."""
        late = ThereFailure(f"{place_of(self._url)} has not answered within {seconds:g} s")
        with gevent.Timeout(seconds, late):
            sent = time.time()
            self._write(process, "\n")
            line = process.stdout.readline() if process.stdout else b""
            answered = time.time()
        if not line:
            raise ThereFailure(self._why_broken(process))
        told: Mapping[str, Any] = json.loads(line)
        self._clock = better(self._clock, offset(sent, told["received"], told["ready"], answered))
        return told

    def _write(self, process: subprocess.Popen[bytes], text: str) -> None:
        with suppress(BrokenPipeError):
            if process.stdin is not None:
                process.stdin.write(text.encode())
                process.stdin.flush()
            return
        raise ThereFailure(self._why_broken(process))  # not from that error, which tells less

    def _why_broken(self, process: subprocess.Popen[bytes]) -> str:
        with gevent.Timeout(ANSWER_S, False):
            said = process.stderr.read().decode("utf-8", "replace").split("\n") if process.stderr else []
            if words := [line.strip() for line in said if line.strip()]:
                return f"the SSH connection to {place_of(self._url)} broke off: {words[-1]}"
        return f"the SSH connection to {place_of(self._url)} broke off"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
