"""The Docker engine that this shell points to (DOCKER_HOST, the current context, or the default socket)."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import requests
import urllib3
from docker.context import ContextAPI

from infra.environment import for_docker, for_python
from infra.errors import DeploymentError

LABEL = "io.fourfold"
"""On all that Fourfold makes; what does not carry it is never touched."""

API_FAILURES = (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError)
API_TIMEOUT_S = 60
IPVS = "ip_vs"
"""The kernel's module, and its file under /proc/net."""

DEFAULT_ENDPOINT = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class Engine:
    """An engine that has answered. ``is_remote``: its published ports and its files are not this machine's."""

    client: docker.DockerClient
    endpoint: str
    version: str
    kernel: str
    is_remote: bool

    def record(self) -> dict[str, str]:
        return {"endpoint": self.endpoint, "version": self.version, "kernel": self.kernel}

    def swarm(self) -> dict[str, Any]:
        """The engine's part in a swarm, as ``docker info`` gives it; changes as swarms are made and left."""
        return self.client.info().get("Swarm") or {}


def endpoint() -> str:
    """The address of the engine that the docker command would talk to."""
    if host := os.environ.get("DOCKER_HOST"):
        return host
    return str(ContextAPI.kwargs_from_context().get("base_url") or DEFAULT_ENDPOINT)


def connect() -> Engine:
    """Ask the engine who it is.

    Raises:
        DeploymentError: none answers, or it may not be talked to; with the remedy.
    """
    where = endpoint()
    try:
        client = docker.from_env(timeout=API_TIMEOUT_S, use_ssh_client=True)
        about = client.info()
    except API_FAILURES as error:
        raise DeploymentError(_why_no_engine(where, error)) from error
    is_remote = urlsplit(where).scheme in ("tcp", "ssh", "http", "https")
    return Engine(client, where, about.get("ServerVersion", "?"), about.get("KernelVersion", "?"), is_remote)


def _why_no_engine(where: str, error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PermissionError) or getattr(cause, "errno", None) == errno.EACCES:
            group = _group_of(where) or "docker"
            return (
                f"the Docker socket at {where} is open to the group {group} alone, and this user is not in it; "
                f"join it (sudo usermod -aG {group} $USER), log in again, and run again"
            )
        cause = cause.__cause__ or cause.__context__
    return f"no Docker engine at {where}, start one and run again"


def _group_of(where: str) -> str | None:
    """The group that owns a Unix socket, by name or number; None where there is none, or it can't be told."""
    if urlsplit(where).scheme != "unix":
        return None
    socket = Path(urlsplit(where).path)
    try:
        return socket.group()
    except KeyError:
        return str(socket.stat().st_gid)
    except OSError:
        return None


def why_no_compose(engine: Engine) -> str | None:
    """Why Docker Compose can't be used with this engine; None where it can."""
    if engine.is_remote:
        return (
            f"Compose maps its metrics file to a file of this machine, and the engine is at {engine.endpoint}; "
            "run Fourfold on the engine's own machine"
        )
    if shutil.which("docker") is None:
        return "no docker command on the PATH; install the Docker CLI with the Compose plugin and run again"
    asked = subprocess.run(
        ["docker", "compose", "version"], env=for_docker(), capture_output=True, text=True, check=False
    )
    if asked.returncode != 0:
        has_v1 = shutil.which("docker-compose") is not None
        return (
            "only Compose v1 (docker-compose) is there, which is no longer kept" if has_v1 else "there is no Compose"
        ) + "; install Compose v2 (the package docker-compose-plugin or docker-compose-v2) and run again"
    return None


def why_no_mesh(engine: Engine) -> str | None:
    """Why Swarm can't balance here, as far as can be told before trying; None where nothing speaks against it."""
    swarm = engine.swarm()
    state = swarm.get("LocalNodeState", "inactive")
    if state == "active" and not swarm.get("ControlAvailable"):
        return "this engine is a worker of a swarm; run Fourfold against a manager"
    if state not in ("active", "inactive"):
        return f"this engine's part in its swarm is '{state}'; mend that (docker info) and run again"
    same_kernel = not engine.is_remote and platform.system() == "Linux" and engine.kernel == platform.release()
    if same_kernel and not Path("/proc/net", IPVS).exists() and not _has_module(IPVS):
        return (
            f"this kernel ({engine.kernel}) has no IPVS, with which Swarm's routing mesh balances; "
            f"load or install the module {IPVS}, or run on another machine"
        )
    return None


def _has_module(name: str) -> bool:
    """Whether the kernel can load a module (the engine loads ip_vs itself when a service is published)."""
    modinfo = shutil.which("modinfo", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if modinfo is None:
        return False
    return subprocess.run([modinfo, name], env=for_python(), capture_output=True, check=False).returncode == 0
