"""Docker engines, and the cheapest way to read a container of theirs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import docker
import psutil
import requests
import urllib3

from _cgroup import CgroupReader, NoCgroup
from _stats import Counters, counters_of

API_TIMEOUT_S = 3
SLOW_ONE_SHOT_S = 0.5
"""Engines before 23.0.8, 24.0.7 and 25.0 take a second for a one-shot: slower than their stream (moby 46448)."""

YEAR_ONE = "0001-01-01T00:00:00Z"

READ_FAILURES = (
    docker.errors.DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    psutil.Error,
    OSError,
)
"""All that reading a replica raises. Of what a Docker API call raises, ProtocolError is only an urllib3 error."""

logger = logging.getLogger("fourfold.engines")


@dataclass(frozen=True)
class Replica:
    """One instance of the service.

    ``read`` gives its counters, or None when it has ended; no ``read``: it is out of reach, for ``reason``.
    ``generation`` tells it from the one that had its name before; ``why_ended`` what the engine says of its end.
    """

    name: str
    id: str
    node: str
    read: Callable[[], Counters | None] | None
    reason: str | None = None
    generation: str = ""
    state: str = ""
    why_ended: Callable[[], str] = lambda: ""


class Engine:
    """One engine that answers, and the readers of its containers.

    Args:
        url: where it listens (``tcp://``, ``ssh://``, ``unix://``); None: where the docker command would look.

    Raises:
        docker.errors.DockerException and others of ``READ_FAILURES``: it does not answer.
    """

    def __init__(self, url: str | None = None) -> None:
        if url is None:
            self.client = docker.from_env(timeout=API_TIMEOUT_S, use_ssh_client=True)
        else:
            self.client = docker.DockerClient(base_url=url, timeout=API_TIMEOUT_S, use_ssh_client=True)
        about = self.client.info()
        self.name = str(about.get("Name", ""))
        self.node_id = str((about.get("Swarm") or {}).get("NodeID", ""))
        self.sampling: set[str] = set()
        self._readers: dict[str, Callable[[], Counters | None]] = {}
        self._is_one_shot_fast: bool | None = None

    def container(self, name: str, id: str, generation: str = "", state: str = "") -> Replica:
        """A container of this engine as a replica."""

        def read() -> Counters | None:
            counters = self._reader(id)()
            if counters is None:
                self._readers.pop(id, None)  # should it come back, its processes are others
            return counters

        return Replica(name, id[:12], self.name, read, None, generation, state, lambda: self._end_of(id))

    def _reader(self, id: str) -> Callable[[], Counters | None]:
        """The cgroup's own files, else a fast one-shot, else the stream."""
        if id not in self._readers:
            self._readers[id], how = self._choose_reader(id)
            self.sampling |= {how} if how else set()
        return self._readers[id]

    def _choose_reader(self, id: str) -> tuple[Callable[[], Counters | None], str | None]:
        try:
            about = self.client.api.inspect_container(id)
        except docker.errors.NotFound:
            return (lambda: None), None
        try:
            host = about["HostConfig"]
            limit = host.get("Memory") or psutil.virtual_memory().total
            has_network = host.get("NetworkMode") not in ("host", "none")
            reader = CgroupReader(about["State"]["Pid"], id, limit, has_network=has_network)
            return reader.read, f"the control group's files (v{reader.version}) and /proc/PID/net/dev"
        except NoCgroup as error:
            logger.debug("%s: %s; asking the engine", id[:12], error)

        def one_shot() -> Counters | None:
            try:
                return counters_of(self.client.api.stats(id, stream=False, one_shot=True))
            except docker.errors.NotFound:
                return None

        if self._is_one_shot_fast is None:
            one_shot()
            began = time.monotonic()
            one_shot()
            self._is_one_shot_fast = time.monotonic() - began < SLOW_ONE_SHOT_S
        if self._is_one_shot_fast:
            return one_shot, "docker stats, one-shot"
        frames = self.client.api.stats(id, stream=True, decode=True)

        def next_frame() -> Counters | None:
            return counters_of(next(frames, {"read": YEAR_ONE}))

        return next_frame, "docker stats, stream (one a second)"

    def _end_of(self, id: str) -> str:
        """What the engine says of a container's end."""
        try:
            state: dict[str, Any] = self.client.api.inspect_container(id)["State"]
        except docker.errors.NotFound:
            return "removed"
        if state.get("Running") and not state.get("Restarting"):
            return "it runs again"
        code = state.get("ExitCode")
        if state.get("OOMKilled"):
            return f"exit code {code}: out of memory"
        return f"exit code {code}" + (": killed, out of memory suspected" if code == 137 else "")
