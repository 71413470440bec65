"""The table of all deployments, and what the experiment and ``python -m infra`` do with any of them.

``with deployed("docker", settings, folder) as running:`` is all that the experiment needs. ``start`` and ``remove`` are
its two halves, for ``python -m infra up`` and ``down``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from infra.deployments.compose import Compose
from infra.deployments.compose_proxy import ComposeProxy, have_proxy_image
from infra.deployments.deployment import Deployment, Facts
from infra.deployments.docker_engine import API_FAILURES, FAILURES, connect
from infra.deployments.docker_host_network import DockerHostNetwork
from infra.deployments.docker_run import DockerRun
from infra.deployments.host import Host
from infra.deployments.ownership import LABEL, is_ours
from infra.deployments.reach import close_tunnel, open_tunnel, why_tunnel_gone
from infra.deployments.service import Service
from infra.deployments.settings import Settings
from infra.deployments.swarm import Swarm
from infra.errors import DeploymentError, ServiceFileError, why
from infra.interruption import uninterrupted
from infra.last_words import last_lines
from infra.paths import WORK
from runfiles.deployments import COMPOSE_PROXY, SWARM, names_of
from runfiles.files import FAILED_START_FILE, SERVICE_LOG_FILE, write_whole

ALL: tuple[Deployment, ...] = (
    Host(Facts("host", default_port=5000, needs_engine=False, publishes=False)),
    DockerRun(Facts("docker", default_port=5010)),
    DockerHostNetwork(Facts("docker-host-network", default_port=5050, publishes=False)),
    Compose(Facts("compose", default_port=8080)),
    *(ComposeProxy(Facts(name, default_port=8082)) for name in names_of(COMPOSE_PROXY)),
    *(Swarm(Facts(name, default_port=8081)) for name in names_of(SWARM)),
)
BY_NAME: Mapping[str, Deployment] = {deployment.facts.name: deployment for deployment in ALL}

PORTS = {deployment.facts.kind: deployment.facts.default_port for deployment in ALL}
"""Kind -> default port. All differ, so that all kinds can run at once on 127.0.0.1: macOS has no other loopback
address."""

NAME_OF_KIND = {deployment.facts.kind: deployment.facts.name for deployment in reversed(ALL)}
"""Kind -> the first deployment of that kind; what removes one removes the others too."""


@dataclass(frozen=True)
class Running:
    """A deployment that answers, where it does, and how long it took to do so."""

    name: str
    url: str
    seconds_to_healthy: float
    service: Service


def why_not(name: str, settings: Settings) -> str | None:
    """Why a deployment can't run here, with the remedy. None if nothing is known to prevent it."""
    try:
        return BY_NAME[name].why_not(settings)
    except DeploymentError as error:
        return str(error)
    except API_FAILURES as error:
        return f"the engine answers with an error: {error}; check it (docker info) and run again"
    except OSError as error:
        return why(error, WORK)


def start(name: str, settings: Settings, folder: Path) -> Running:
    """Start a deployment and wait until it is ready. Its log and its metrics file lie in ``folder``, if they lie on
    this machine.

    Raises:
        DeploymentError: it does not come up; what was started by then is still there. The end of its log is in the file
            ``FAILED_START_FILE`` of the folder, if it wrote one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / FAILED_START_FILE
    kept.unlink(missing_ok=True)  # that of an earlier start
    deployment = BY_NAME[name]
    if deployment.facts.kind == COMPOSE_PROXY:
        have_proxy_image(settings.service)  # pulling it is no part of the start
    settings = open_tunnel(deployment.facts, settings)
    began = time.monotonic()
    try:
        service = deployment.start(settings, folder)
    except DeploymentError as error:
        if not _keeps_log(deployment, folder, kept):
            raise
        kind = ServiceFileError if isinstance(error, ServiceFileError) else DeploymentError
        raise kind(f"{error}; the end of its log is in {kept}") from error
    seconds, service_gone = time.monotonic() - began, service.gone
    service = replace(service, gone=lambda: why_tunnel_gone(deployment.facts.kind) or service_gone())
    return Running(name, deployment.facts.url(settings), seconds, service)


def keep_log(name: str, folder: Path) -> Path | None:
    """Keep the end of what a deployment that runs has written, in a file of the folder that it was started with. A host
    process writes there itself. Returns the file; None if there is none."""
    log, deployment = folder / SERVICE_LOG_FILE, BY_NAME[name]
    if not deployment.facts.needs_engine:
        return log if log.is_file() else None
    return log if _keeps_log(deployment, folder, log) else None


def _keeps_log(deployment: Deployment, folder: Path, kept: Path) -> bool:
    """Write the end of a deployment's log. Whether there is one, and it could be written."""
    try:
        said = last_lines(deployment.log(folder))
        if said:
            write_whole(kept, said)
    except FAILURES:  # what went wrong is worth more than why its log can't be kept
        return False
    return bool(said)


def remove(name: str, settings: Settings) -> list[str]:
    """Remove what ``start`` made, also in an earlier run that was killed. Returns what that was.

    Raises:
        DeploymentError: something of it can't be removed.
    """
    deployment = BY_NAME[name]
    try:
        removed = deployment.remove(settings)
    finally:
        closed = close_tunnel(deployment.facts.kind)
    return [*removed, *closed]


def remove_left_volumes() -> list[str]:
    """Remove this checkout's volumes that no container uses: the lock of an experiment that was killed, and volumes of
    containers that were removed without them. Call this only while nothing of this checkout runs.
    """
    unused = connect().client.volumes.list(filters={"label": LABEL, "dangling": True})
    left = [volume for volume in unused if is_ours(volume.attrs["Labels"])]
    for volume in left:
        volume.remove()
    return [f"volume {volume.name}" for volume in left]


def why_another_has_it(name: str) -> str | None:
    """Which other checkout has what ``remove`` would remove if it were this checkout's. None if none has."""
    return BY_NAME[name].why_another_has_it()


@contextmanager
def deployed(name: str, settings: Settings, folder: Path) -> Iterator[Running]:
    """A deployment that runs as long as the block lasts. It is removed however the block ends.

    An error in the block is raised even if the removal fails as well.

    Raises:
        KeyboardInterrupt: Ctrl-C came, even if it came only while the deployment was being removed.
    """
    running: Running | None = None
    try:
        running = start(name, settings, folder)
        yield running
    except BaseException:
        with uninterrupted():
            try:
                if running is not None:
                    _keep_files(running)
                remove(name, settings)
            except FAILURES as error:
                print(f"error: {name} could not be removed: {error}", file=sys.stderr)
        raise
    with uninterrupted():
        _keep_files(running)
        remove(name, settings)


def _keep_files(running: Running) -> None:
    """Keep what would be lost with the containers. A failure is told, and the removal goes on."""
    try:
        running.service.keep_files()
    except FAILURES as error:
        print(f"error: files of {running.name} could not be copied: {error}", file=sys.stderr)
