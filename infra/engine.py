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

from infra.errors import DeploymentError

LABEL = "io.fourfold"
"""On all that Fourfold makes; what does not carry it is never touched."""

API_FAILURES = (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError)
API_TIMEOUT_S = 60
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
        client = docker.from_env(timeout=API_TIMEOUT_S)
        about = client.info()
    except API_FAILURES as error:
        raise DeploymentError(_why_no_engine(where, error)) from error
    is_remote = urlsplit(where).scheme in ("tcp", "ssh", "http", "https")
    return Engine(client, where, about.get("ServerVersion", "?"), about.get("KernelVersion", "?"), is_remote)


def _why_no_engine(where: str, error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PermissionError) or getattr(cause, "errno", None) == errno.EACCES:
            return (
                f"the Docker socket at {where} may not be opened by this user; "
                "join the group that owns it (often: sudo usermod -aG docker $USER, then log in again) and run again"
            )
        cause = cause.__cause__ or cause.__context__
    return f"no Docker engine at {where}, start one and run again"


def why_no_compose(engine: Engine) -> str | None:
    """Why Docker Compose can't be used with this engine; None where it can."""
    if engine.is_remote:
        return (
            f"Compose maps its metrics file to a file of this machine, and the engine is at {engine.endpoint}; "
            "run Fourfold on the engine's own machine"
        )
    if shutil.which("docker") is None:
        return "no docker command on the PATH; install the Docker CLI with the Compose plugin and run again"
    asked = subprocess.run(["docker", "compose", "version"], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        return "docker compose is not there (Compose v2); install the package docker-compose-plugin and run again"
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
    if same_kernel and not Path("/proc/net/ip_vs").exists() and not _has_module("ip_vs"):
        return (
            f"this kernel ({engine.kernel}) has no IPVS, with which Swarm's routing mesh balances; "
            "load or install the module ip_vs, or run on another machine"
        )
    return None


def _has_module(name: str) -> bool:
    """Whether the kernel can load a module (the engine loads ip_vs itself when a service is published)."""
    modinfo = shutil.which("modinfo", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if modinfo is None:
        return False
    return subprocess.run([modinfo, name], capture_output=True, check=False).returncode == 0
