"""The deployments: each starts the service one way, waits until it answers, and removes exactly what it made.

``with deployed("docker", settings) as running:`` is all that the experiment needs; ``start`` and ``remove`` are the
two halves, for ``python -m infra up`` and ``down``. Each deployment is a module of two functions, ``start`` and
``remove``, beside this one.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.deployments import compose, docker_run, host, swarm
from infra.deployments.docker_engine import API_FAILURES, Engine, connect, why_no_compose, why_no_mesh
from infra.deployments.ownership import LABEL, is_ours
from infra.deployments.preflight import (
    RESULTS_DISK_BYTES,
    why_port_is_taken,
    why_too_little_disk,
    why_too_little_memory,
)
from infra.deployments.service import Service
from infra.deployments.settings import Settings, kind_of, replicas_of
from infra.errors import DeploymentError, why
from infra.paths import ROOT


@dataclass(frozen=True)
class Running:
    """A deployment that answers, where it does, and how long it took to do so."""

    name: str
    url: str
    seconds_to_healthy: float
    service: Service


def why_not(name: str, settings: Settings) -> str | None:
    """Why a deployment can't run here, with the remedy; None where nothing speaks against it."""
    kind = kind_of(name)
    try:
        if kind == "host":
            engine = _engine_of_this_machine()
            reason = host.why_not()
        else:
            engine = connect()
            reason = {"docker": docker_run.why_not, "compose": compose.why_not, "swarm": swarm.why_not}[kind](engine)
            if reason is None and kind == "compose":
                reason = why_no_compose(engine)
            if reason is None and kind == "swarm":
                reason = why_no_mesh(engine)
            if reason is None and engine.is_remote and kind not in settings.reach:
                reason = f"the engine is at {engine.endpoint}; say where its ports answer (--reach {kind}=HOST:PORT)"
        return (
            reason
            or why_too_little_memory(replicas_of(name), None if kind == "host" else engine)
            or why_too_little_disk(ROOT, RESULTS_DISK_BYTES, "a run's record")
            or why_port_is_taken(kind, settings.ports[kind], engine)
        )
    except DeploymentError as error:
        return str(error)
    except API_FAILURES as error:
        return f"the engine answers with an error: {error}; see to it (docker info) and run again"
    except OSError as error:
        return why(error, ROOT)


def _engine_of_this_machine() -> Engine | None:
    """To tell which container holds a port that the host process wants."""
    try:
        engine = connect()
    except DeploymentError:
        return None
    return None if engine.is_remote else engine


def start(name: str, settings: Settings, folder: Path) -> Running:
    """Start a deployment and wait until it is healthy; what it leaves of logs and metrics lands in ``folder``.

    Raises:
        DeploymentError: it does not come up; what was started by then is still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = kind_of(name)
    url = settings.url(kind)
    began = time.monotonic()
    if kind == "host":
        service = host.start(settings, url, folder)
    elif kind == "docker":
        service = docker_run.start(connect(), settings, url)
    elif kind == "compose":
        service = compose.start(connect(), settings, url, folder)
    else:
        service = swarm.start(connect(), settings, url, replicas_of(name))
    return Running(name, url, time.monotonic() - began, service)


def remove(name: str, settings: Settings) -> list[str]:
    """Remove what ``start`` made, also what an earlier, killed run left; says what that was.

    Raises:
        DeploymentError: something of it can't be removed.
    """
    kind = kind_of(name)
    if kind == "host":
        return host.remove()
    engine = connect()
    if kind == "docker":
        return docker_run.remove(engine)
    if kind == "compose":
        return compose.remove(engine, settings)
    return swarm.remove(engine)


def remove_left_volumes() -> list[str]:
    """Remove this checkout's volumes that no container uses: the lock of an experiment that was killed, and volumes of
    containers that were removed without them. For when nothing of this checkout runs.
    """
    unused = connect().client.volumes.list(filters={"label": LABEL, "dangling": True})
    left = [volume for volume in unused if is_ours(volume.attrs["Labels"])]
    for volume in left:
        volume.remove()
    return [f"volume {volume.name}" for volume in left]


def why_another_has_it(name: str) -> str | None:
    """Which other checkout has what ``remove`` would remove if it were this one's; None where none has."""
    kind = kind_of(name)
    if kind == "host":
        return None
    asked = {
        "docker": docker_run.why_another_has_it,
        "compose": compose.why_another_has_it,
        "swarm": swarm.why_another_has_it,
    }[kind]
    return asked(connect())


@contextmanager
def deployed(name: str, settings: Settings, folder: Path) -> Iterator[Running]:
    """A deployment for as long as the block lasts, gone after it, however it ends.

    What went wrong in the block is what is raised, even if the removal fails as well.

    Raises:
        KeyboardInterrupt: Ctrl-C came, if only while it was being removed, or while that failed.
    """
    try:
        yield start(name, settings, folder)
    except BaseException:
        with _uninterrupted():
            try:
                remove(name, settings)
            except (DeploymentError, OSError, *API_FAILURES) as error:
                print(f"error: {name} could not be removed: {error}", file=sys.stderr)
        raise
    with _uninterrupted():
        remove(name, settings)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C, a second time and out of impatience, must not leave half of a deployment behind; it is raised after."""
    came = []

    def say(*_: object) -> None:
        came.append(True)
        print("removing what was started, a moment ...", file=sys.stderr)

    before = {number: signal.signal(number, say) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
