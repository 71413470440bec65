"""How this machine reaches a port that an engine on another machine publishes.

``--reach`` says where it answers; the engine then publishes it on all addresses of its machine. Without that, an engine
at ``ssh://`` publishes it on loopback, and an SSH connection of its own for each deployment, the *tunnel*, forwards a
free port of this machine to it, as long as the deployment is up.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from addresses import LOOPBACK
from infra import environment
from infra.deployments import over_ssh
from infra.deployments.deployment import Facts
from infra.deployments.docker_context import address
from infra.deployments.docker_engine import Engine
from infra.deployments.own_process import STARTED, OwnProcess
from infra.deployments.settings import Settings
from infra.errors import DeploymentError
from infra.last_words import last_line, tail
from infra.paths import STATE
from runfiles.ssh_command import ssh

EVERYWHERE = "0.0.0.0"  # noqa: S104  an engine elsewhere has to publish on its own network to be reached without a tunnel
OPEN_S = 60
POLL_S = 0.1

_children: dict[str, subprocess.Popen[bytes]] = {}
"""The tunnels that this command has opened, by the kind of deployment."""


def published_at(engine: Engine, facts: Facts, settings: Settings) -> str:
    """The IP address at which the engine publishes a port."""
    return EVERYWHERE if engine.is_remote and facts.kind in settings.reach else LOOPBACK


def why_out_of_reach(facts: Facts, settings: Settings, engine: Engine) -> str | None:
    """Why this machine can't reach a port that an engine on another machine publishes. None if it can."""
    if not engine.is_remote or engine.is_over_ssh or facts.kind in settings.reach:
        return None
    return f"the engine is at {engine.endpoint}; say where its ports answer (--reach {facts.kind}=HOST:PORT)"


def open_tunnel(facts: Facts, settings: Settings) -> Settings:
    """Open the tunnel of a deployment that needs one, before it is started. Returns the settings with its port.

    Raises:
        DeploymentError: it can't be opened.
    """
    is_here = not facts.needs_engine and settings.host_folder is None
    if is_here or facts.kind in settings.reach or not over_ssh.is_over_ssh(url := address().url):
        return settings
    close_tunnel(facts.kind)  # of a deployment that was removed by hand
    port, token = _free_port(), secrets.token_hex(8)
    STATE.mkdir(exist_ok=True)
    with _log(facts.kind).open("wb") as said:
        process = subprocess.Popen(
            ssh(url, "-N", "-L", f"{LOOPBACK}:{port}:{LOOPBACK}:{facts.port(settings)}"),
            env=environment.for_docker() | {STARTED: token},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C is for the experiment, and infra up leaves the tunnel open
        )
    _children[facts.kind] = process
    try:
        _noted(facts.kind).note(process.pid, token)
        _wait(facts.kind, port)
    except BaseException:
        close_tunnel(facts.kind)
        raise
    return replace(settings, tunnels=settings.tunnels | {facts.kind: port})


def why_tunnel_gone(kind: str) -> str | None:
    """Why the tunnel that this command has opened leads nowhere now. None as long as it does, or if there is none."""
    process = _children.get(kind)
    if process is None or process.poll() is None:
        return None
    return f"the SSH tunnel to the engine's machine broke off: {last_line(tail(_log(kind)))}"


def close_tunnel(kind: str) -> list[str]:
    """Close the tunnel of a kind of deployment, also one that an earlier command has opened. Returns what it was."""
    noted = _noted(kind)
    left, child = noted.left(), _children.pop(kind, None)
    if left is not None:
        left.terminate()
    if child is not None:
        over_ssh.end(child)
    noted.forget()
    return [] if left is None else [f"SSH tunnel (process {left.pid})"]


def _wait(kind: str, port: int) -> None:
    until = time.monotonic() + OPEN_S
    while True:
        is_open = _is_open(port)
        if reason := why_tunnel_gone(kind):
            raise DeploymentError(reason)
        if is_open:
            return
        if time.monotonic() > until:
            raise DeploymentError(f"the SSH tunnel to the engine's machine did not open in {OPEN_S} s")
        time.sleep(POLL_S)


def _noted(kind: str) -> OwnProcess:
    return OwnProcess(STATE / f"tunnel-{kind}.json")


def _log(kind: str) -> Path:
    return STATE / f"tunnel-{kind}.log"


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as server:
        return int(server.getsockname()[1])


def _is_open(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
