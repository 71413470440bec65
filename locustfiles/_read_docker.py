"""Docker engines, and the cheapest way to read a container of theirs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import docker
import psutil
import requests
import urllib3
from docker.context import ContextAPI
from docker.utils import parse_host

from addresses import NO_PROXY

from _counters import Counters, counters_of
from _read_cgroup import NoCgroup, container_cgroup

API_TIMEOUT_S = 3
SLOW_ONE_SHOT_S = 0.5
"""Engines before 23.0.8, 24.0.7 and 25.0 take a second for a one-shot: slower than their stream (moby 46448)."""

COLUMN_GROUPS = ("CPU", "memory", "network", "block I/O", "PIDs", "throttling")

READ_FAILURES = (
    docker.errors.DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    psutil.Error,
    OSError,
)
"""All that reading a replica raises. Of what a Docker API call raises, ProtocolError is only an urllib3 error."""

logger = logging.getLogger("fourfold.engines")


class Reader(Protocol):
    """Reads one replica's counters; ``sources`` says how each group of columns is had."""

    @property
    def sources(self) -> Mapping[str, str]: ...

    def read(self) -> Counters | None:
        """The counters now; None when the replica has ended."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Replica:
    """One instance of the service.

    ``read`` gives its counters, or None when it has ended; no ``read``: it is out of reach, for ``reason``.
    ``generation`` tells it from the one that had its name before; ``why_ended`` what the engine says of its end;
    ``sources`` how each group of columns is had, once it has been read; ``other_names`` by which it may answer besides
    its name and ID; ``doubt`` why it may not be the service.
    """

    name: str
    id: str
    node: str
    read: Callable[[], Counters | None] | None
    reason: str | None = None
    generation: str = ""
    state: str = ""
    why_ended: Callable[[], str] = lambda: ""
    sources: Callable[[], Mapping[str, str]] = dict
    other_names: Callable[[], Sequence[str]] = list
    doubt: str | None = None


class Engine:
    """One engine that answers, and the readers of its containers. ``host``: the machine that its address names; empty
    for a socket of this machine.

    Args:
        url: where it listens (``tcp://``, ``ssh://``, ``unix://``); None: where the docker command would look.

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
                self._forget(id)  # a stream that broke off goes on nowhere
                raise
            if counters is None:
                self._forget(id)  # should it come back, its processes are others
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
            sources,
            lambda: self.names_of(id),
        )

    def is_manager(self) -> bool:
        """Whether it manages a swarm, and so tells of its services."""
        return bool((self.client.info().get("Swarm") or {}).get("ControlAvailable"))

    def names_of(self, id: str) -> list[str]:
        """The names by which the service in a container may answer: its host name, and ``REPLICA_NAME``."""
        try:
            config = self.client.api.inspect_container(id)["Config"]
        except docker.errors.NotFound:  # it has just been removed
            return []
        variables = [one.partition("=") for one in config.get("Env") or []]
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
        """The cgroup's own files, else a fast one-shot, else the stream."""
        about = self.client.api.inspect_container(id)
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


def _spare_loopback_from_proxies() -> None:
    """docker-py would ask an engine at ``tcp://127.0.0.1`` through the user's proxy; the docker command does not."""
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if named != "*" and not named.endswith(NO_PROXY):
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{named},{NO_PROXY}".lstrip(",")


class OneShot:
    """Asks the engine for one reply a reading."""

    sources = dict.fromkeys(COLUMN_GROUPS, "Docker API: stats, one-shot")

    def __init__(self, client: docker.DockerClient, id: str) -> None:
        self._client = client
        self._id = id

    def read(self) -> Counters | None:
        return counters_of(self._client.api.stats(self._id, stream=False, one_shot=True))

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
        return None if reply is None else counters_of(reply)

    def close(self) -> None:
        self._frames.close()


def explained(error: BaseException) -> str:
    """Why an engine or a file could not be read, in words that are the same each time it happens."""
    causes: list[BaseException] = [error]
    while (inner := causes[-1].__cause__ or causes[-1].__context__) is not None and inner not in causes:
        causes.append(inner)
    inside = [*causes, *(one for cause in causes for one in cause.args if isinstance(one, BaseException))]
    for kind, words in (
        (PermissionError, "permission is denied; for Docker's socket, join its group or run as its user"),
        ((FileNotFoundError, ConnectionRefusedError), "nobody answers there; is the engine running?"),
        ((requests.Timeout, TimeoutError), f"no answer within {API_TIMEOUT_S} s"),
        ((ConnectionError, requests.ConnectionError, urllib3.exceptions.HTTPError), "the connection broke off"),
    ):
        if any(isinstance(one, kind) for one in inside):
            return words
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
