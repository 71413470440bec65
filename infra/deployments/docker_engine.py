"""The Docker engine that this shell points to."""

from __future__ import annotations

import errno
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import requests
import urllib3

from infra.deployments import over_ssh
from infra.deployments.docker_context import Address, address, config_file
from infra.environment import for_docker
from infra.errors import DeploymentError
from runfiles.machines import DockerEngine, EngineElsewhere, Machine, engine_elsewhere, this_machine

API_FAILURES = (
    docker.errors.DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    ConnectionError,
    TimeoutError,
)
"""Everything that a call to an engine raises. Any other ``OSError`` comes from a file, such as on a full disk."""

FAILURES = (DeploymentError, *API_FAILURES, OSError)
"""What ends the start, a round or the removal of a deployment, and not the program."""

API_TIMEOUT_S = 60


@dataclass(frozen=True)
class Engine:
    """An engine that has answered. ``is_remote``: its published ports and its files are on another machine.

    The other fields describe the machine that it runs on, which may be a virtual one. None: the engine did not tell.
    """

    client: docker.DockerClient
    endpoint: str
    version: str
    node: str | None
    kernel: str
    is_remote: bool
    cpu_count: int | None
    memory_bytes: int | None
    architecture: str | None
    operating_system: str | None

    @property
    def is_over_ssh(self) -> bool:
        return over_ssh.is_over_ssh(self.endpoint)

    def record(self) -> DockerEngine:
        """What ``experiment.json`` records of it."""
        return DockerEngine(
            endpoint=self.endpoint,
            version=self.version,
            node=self.node,
            kernel=self.kernel,
            cpu_count=self.cpu_count,
            memory_bytes=self.memory_bytes,
            architecture=self.architecture,
            operating_system=self.operating_system,
        )

    def elsewhere(self) -> EngineElsewhere | None:
        """The other machine that it runs on, which may be a virtual one. None if nothing shows that there is one."""
        return engine_elsewhere(this_machine(), self.record())

    def why_no_verdict(self, host_machine: Machine | None = None) -> str | None:
        """Why a host process can't be compared with this engine's containers. None if it can. ``host_machine``: that of
        the host process; None: this one."""
        elsewhere = self.elsewhere() if host_machine is None else engine_elsewhere(host_machine, self.record())
        if elsewhere is None:
            return None
        no_verdict = f"host process against containers gets no verdict: {elsewhere}"
        remedy = ""
        if not elsewhere.is_virtual:
            there = "measure the host process there too (--host-folder), or " if self.is_over_ssh else ""
            remedy = f" (to compare all, {there}run Fourfold on that machine)"
        return f"{no_verdict}; containers are still compared with each other{remedy}"

    def swarm(self) -> dict[str, Any]:
        """The engine's part in a swarm, as ``docker info`` gives it now."""
        return self.client.info().get("Swarm") or {}


def connect() -> Engine:
    """Connect to the engine that this shell points to.

    Raises:
        DeploymentError: none answers, or it may not be talked to; with the remedy.
    """
    try:
        where = address()
    except docker.errors.TLSParameterError as error:
        folder = os.environ.get("DOCKER_CERT_PATH") or "~/.docker"
        raise DeploymentError(
            f"the keys for the engine at {os.environ['DOCKER_HOST']} are not in {folder} (ca.pem, cert.pem, key.pem); "
            "put them there, set DOCKER_CERT_PATH, or unset DOCKER_TLS_VERIFY, and run again"
        ) from error
    try:
        is_ssh = over_ssh.is_over_ssh(where.url)
        url, tls = (over_ssh.forwarded(where.url), None) if is_ssh else (where.url, where.tls)
        client = docker.DockerClient(base_url=url, tls=tls or False, timeout=API_TIMEOUT_S)
        about = client.info()
    except (*API_FAILURES, OSError, ValueError) as error:  # the address makes no sense, or can't be opened
        raise DeploymentError(_why_no_engine(where, error)) from error
    except (AttributeError, TypeError) as error:  # docker-py does not check the types in that file
        raise DeploymentError(f"{config_file()} can't be used ({error}); repair or remove it and run again") from error
    return Engine(
        client,
        endpoint=where.url,
        version=about.get("ServerVersion", "?"),
        node=about.get("Name") or None,
        kernel=about.get("KernelVersion", "?"),
        is_remote=urlsplit(where.url).scheme in ("tcp", "ssh", "http", "https"),
        cpu_count=about.get("NCPU") or None,
        memory_bytes=about.get("MemTotal") or None,
        architecture=about.get("Architecture") or None,
        operating_system=about.get("OperatingSystem") or None,
    )


def _why_no_engine(where: Address, error: BaseException) -> str:
    causes = [error]
    while (inner := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(inner)
    other = "" if where.context is None else ", or choose another (docker context use default)"
    if over_ssh.is_over_ssh(where.url):
        return (
            f"no Docker engine answers at {where} ({over_ssh.why_ended(where.url)}); check it there "
            f"({over_ssh.by_hand(where.url)} docker info) and run again{other}"
        )
    if any(isinstance(cause, PermissionError) or getattr(cause, "errno", None) == errno.EACCES for cause in causes):
        group = _group_of(where.url) or "docker"
        return (
            f"the Docker socket at {where} is open only to the group {group}, and this user is not in it; "
            f"join it (sudo usermod -aG {group} $USER), log in again, and run again"
        )
    if any(isinstance(cause, (FileNotFoundError, ConnectionRefusedError)) for cause in causes):
        return f"no Docker engine at {where}, start one and run again{other}"
    return f"no Docker engine answers at {where} ({error}); check it (docker info) and run again{other}"


def _group_of(where: str) -> str | None:
    """The group that owns a Unix socket, by name or number. None if that can't be known."""
    if urlsplit(where).scheme != "unix":
        return None
    socket = Path(urlsplit(where).path)
    try:
        return socket.group()
    except KeyError:
        return str(socket.stat().st_gid)
    except OSError:
        return None


def why_docker_fails(*arguments: str) -> str | None:
    """The last line of a docker command that fails. None if it succeeds."""
    try:
        done = subprocess.run(
            ["docker", *arguments],
            env=for_docker(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:  # a program of another architecture, say
        return str(error)
    if done.returncode == 0:
        return None
    said = (done.stderr or done.stdout).strip().splitlines()
    return said[-1] if said else f"exit code {done.returncode}"
