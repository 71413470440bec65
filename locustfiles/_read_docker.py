"""Docker engines, and the cheapest way to read each of their containers."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import docker
import psutil
import requests
import urllib3
from _replicas import Reader, Replica
from docker.context import ContextAPI
from docker.utils import parse_host

from addresses import NO_PROXY
from runfiles.columns import REPLICA_STATS_COLUMNS

from _counters import Counters, counters_of
from _read_cgroup import CgroupReader, NoCgroup, container_cgroup

API_TIMEOUT_S = 3
SLOW_ONE_SHOT_S = 0.5
"""Engines before 23.0.8, 24.0.7 and 25.0 take a second for a one-shot: slower than their stream (moby 46448)."""

COLUMN_GROUPS = tuple(dict.fromkeys(column.group for column in REPLICA_STATS_COLUMNS if column.group))

READ_FAILURES = (
    docker.errors.DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    psutil.Error,
    OSError,
)
"""All that reading a replica raises. A call of the Docker API can also raise urllib3's own ProtocolError."""

logger = logging.getLogger("fourfold.engines")


class Engine:
    """A Docker engine that answers, and the readers of its containers.

    ``host`` is the machine that its address names; empty for a socket of this machine.

    Args:
        url: where it listens (``tcp://``, ``ssh://``, ``unix://``). None: where the docker command would look.

    Raises:
        docker.errors.DockerException and others of ``READ_FAILURES``: it does not answer.
    """

    def __init__(self, url: str | None = None) -> None:
        _spare_loopback_from_proxies()
        endpoint = url or os.environ.get("DOCKER_HOST") or ContextAPI.kwargs_from_context().get("base_url")
        address = urlsplit(parse_host(endpoint))
        self.host = (address.hostname or "") if address.scheme in ("http", "https", "ssh") else ""
        if url is None:
            self.client = docker.from_env(timeout=API_TIMEOUT_S, use_ssh_client=True)
        else:
            self.client = docker.DockerClient(base_url=url, timeout=API_TIMEOUT_S, use_ssh_client=True)
        about = self.client.info()
        self.name = str(about.get("Name", ""))
        self.node_id = str((about.get("Swarm") or {}).get("NodeID", ""))
        self._readers: dict[str, Reader] = {}
        self._sources: dict[str, Mapping[str, str]] = {}
        self._started_at: dict[str, str] = {}
        self._is_one_shot_fast: bool | None = None

    def container(self, name: str, id: str, generation: str = "", state: str = "") -> Replica:
        """A container of this engine as a replica."""

        def read() -> Counters | None:
            try:
                if id not in self._readers:
                    self._readers[id] = self._choose_reader(id)
                    self._sources[id] = self._readers[id].sources
                counters = self._readers[id].read()
            except docker.errors.NotFound:
                counters = None
            except READ_FAILURES:
                self._forget(id)  # a stream that broke off gives no more replies
                raise
            if counters is None:
                self._forget(id)  # if it comes back, it has other processes
            return counters

        def sources() -> Mapping[str, str]:
            return self._sources.get(id, {})

        return Replica(
            name,
            id[:12],
            self.name,
            read,
            None,
            generation,
            state,
            lambda: self._end_of(id),
            lambda: self._is_anew(id),
            sources,
            lambda: self.names_of(id),
            is_instant=lambda: isinstance(self._readers.get(id), CgroupReader),
        )

    def is_manager(self) -> bool:
        """Whether it manages a swarm: only then can it list services."""
        return bool((self.client.info().get("Swarm") or {}).get("ControlAvailable"))

    def names_of(self, id: str) -> list[str]:
        """The names by which the service in a container may answer: its host name, and ``REPLICA_NAME``."""
        try:
            config = self.client.api.inspect_container(id)["Config"]
        except docker.errors.NotFound:  # it has just been removed
            return []
        variables = [variable.partition("=") for variable in config.get("Env") or []]
        named = [value for name, _, value in variables if name == "REPLICA_NAME"]
        return [name for name in (config.get("Hostname"), *named) if name]

    def close(self) -> None:
        for id in list(self._readers):
            self._forget(id)
        self.client.close()

    def _forget(self, id: str) -> None:
        if id in self._readers:
            self._readers.pop(id).close()

    def _choose_reader(self, id: str) -> Reader:
        """The control group's files if they can be read, else one-shot stats if they are fast, else the stream."""
        about = self.client.api.inspect_container(id)
        self._started_at[id] = about["State"]["StartedAt"]
        try:
            host = about["HostConfig"]
            limit = host.get("Memory") or psutil.virtual_memory().total
            has_network = host.get("NetworkMode") not in ("host", "none")
            return container_cgroup(about["State"]["Pid"], id, limit, has_network=has_network)
        except NoCgroup as error:
            logger.debug("%s: %s; asking the engine", id[:12], error)
        one_shot = OneShot(self.client, id)
        if self._is_one_shot_fast is None:
            one_shot.read()
            began = time.monotonic()
            one_shot.read()
            self._is_one_shot_fast = time.monotonic() - began < SLOW_ONE_SHOT_S
        return one_shot if self._is_one_shot_fast else Stream(self.client, id)

    def _is_anew(self, id: str) -> bool:
        """Whether a container runs, and was started later than when it was last read or seen to have ended."""
        try:
            state: dict[str, Any] = self.client.api.inspect_container(id)["State"]
        except docker.errors.NotFound:
            return False
        return bool(state["Running"]) and state["StartedAt"] != self._started_at.get(id)

    def _end_of(self, id: str) -> str:
        """What the engine says of a container's end."""
        try:
            state: dict[str, Any] = self.client.api.inspect_container(id)["State"]
        except docker.errors.NotFound:
            return "removed"
        if state.get("Running") and not state.get("Restarting"):
            return "it runs again"
        self._started_at[id] = state["StartedAt"]
        code = state.get("ExitCode")
        if state.get("OOMKilled"):
            return f"exit code {code}: out of memory"
        return f"exit code {code}" + (": killed, perhaps because memory was short" if code == 137 else "")


def _spare_loopback_from_proxies() -> None:
    """Keep docker-py from asking an engine at ``tcp://127.0.0.1`` through the user's proxy. The docker command does not
    use it either."""
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if named != "*" and not named.endswith(NO_PROXY):
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{named},{NO_PROXY}".lstrip(",")


class OneShot:
    """Asks the engine for one reply for each reading."""

    sources = dict.fromkeys(COLUMN_GROUPS, "Docker API: stats, one-shot")

    def __init__(self, client: docker.DockerClient, id: str) -> None:
        self._client = client
        self._id = id

    def read(self) -> Counters | None:
        return counters_of(_with_counters(self._client.api.stats(self._id, stream=False, one_shot=True)))

    def close(self) -> None:
        pass


class Stream:
    """Follows the engine's stream of replies, one a second."""

    sources = dict.fromkeys(COLUMN_GROUPS, "Docker API: stats, stream (one a second)")

    def __init__(self, client: docker.DockerClient, id: str) -> None:
        self._client = client
        self._id = id
        self._frames = client.api.stats(id, stream=True, decode=True)

    def read(self) -> Counters | None:
        reply = next(self._frames, None)
        if reply is None and self._client.api.inspect_container(self._id)["State"].get("Running"):
            raise ConnectionAbortedError("the engine broke its stream off")
        return None if reply is None else counters_of(_with_counters(reply))

    def close(self) -> None:
        self._frames.close()


def _with_counters(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """A reply that has counters. While a container ends, the engine can answer 200 with a message instead."""
    if "read" not in reply:
        raise docker.errors.DockerException(str(reply.get("message") or "its answer has no counters"))
    return reply


def explained(error: BaseException) -> str:
    """Why an engine or a file could not be read. The same failure is always explained in the same words."""
    causes: list[BaseException] = [error]
    while (inner := causes[-1].__cause__ or causes[-1].__context__) is not None and inner not in causes:
        causes.append(inner)
    inside = [*causes, *(part for cause in causes for part in cause.args if isinstance(part, BaseException))]
    for kind, words in (
        (PermissionError, "permission is denied; for Docker's socket, join its group or run as its user"),
        ((FileNotFoundError, ConnectionRefusedError), "nobody answers there; is the engine running?"),
        ((requests.Timeout, TimeoutError), f"no answer within {API_TIMEOUT_S} s"),
        ((ConnectionError, requests.ConnectionError, urllib3.exceptions.HTTPError), "the connection broke off"),
    ):
        if any(isinstance(failure, kind) for failure in inside):
            return words
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
