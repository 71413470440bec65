"""What several deployments need before they start: image, memory, disk, a free port. Each reason names a remedy."""

from __future__ import annotations

import errno
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import docker
import psutil

import addresses
from infra.build import BASE_IMAGE
from infra.deployments.confinement import RESERVED_MEMORY_BYTES
from infra.deployments.deployment import Facts
from infra.deployments.docker_engine import API_FAILURES, Engine
from infra.deployments.settings import Settings
from infra.paths import ROOT, WORK

BUILD_DISK_BYTES = 5 * 10**9
"""The image and the build's stages: the packages take about 1 GB, and the model is in it twice."""

RESULTS_DISK_BYTES = 200 * 10**6


def why_no_room(facts: Facts, engine: Engine | None) -> str | None:
    """Why there is too little memory for the replicas, or too little disk for what is recorded of them."""
    return why_too_little_memory(facts.replicas, engine) or why_too_little_disk(
        WORK, RESULTS_DISK_BYTES, "a run's record"
    )


def why_too_little_memory(replicas: int, engine: Engine | None) -> str | None:
    """Why so many replicas of the model don't fit. Of an engine on another machine only the total memory is known."""
    if engine is not None and (engine.is_remote or engine.elsewhere()):
        there = engine.memory_bytes or 0
        has = f"the engine's machine has {there / 1e9:.1f} GB in all"
    else:
        there = psutil.virtual_memory().available
        has = f"{there / 1e9:.1f} GB are free"
    needed = replicas * RESERVED_MEMORY_BYTES
    if not there or there >= needed:
        return None
    need = "replica needs" if replicas == 1 else "replicas need"
    return (
        f"too little memory: {replicas} {need} {needed / 1e9:.1f} GB, {has}; "
        "end other programs, or leave this deployment out (--only), and run again"
    )


def why_too_little_disk(folder: Path, needed: int, purpose: str) -> str | None:
    """Why ``purpose`` does not fit on the disk of ``folder``. None if it fits, or if that can't be known."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:  # the engine runs in a virtual machine, as on macOS: its folder is not on this machine
        return None
    if free >= needed:
        return None
    return (
        f"too little disk: {purpose} takes {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free at {folder}; "
        "make room (docker system df tells what Docker holds) and run again"
    )


def why_no_service_image(settings: Settings) -> str | None:
    """Why no container can run the service: its service file names no image. None if it does."""
    if settings.image is not None:
        return None
    return (
        f"{settings.service.path.name} has neither image nor build, so there is nothing for a container to run; add "
        'build = "." for a folder with a Dockerfile, or image = "NAME"'
    )


def why_no_image(engine: Engine, image: str, built_from: Path | None) -> str | None:
    """Why there is no image to run, and none can be built or pulled.

    ``built_from``: the folder whose Dockerfile makes it; None: it is not built here.
    """
    if _has_image(engine, image):
        return None
    if built_from is None:
        reason = _why_not_in_registry(engine, image)
        remedy = "check the name, or build or load it (docker load), and run again"
        return reason and f"image {image} is not here, and {reason}; {remedy}"
    if not engine.is_remote and not engine.elsewhere():
        root = Path(engine.client.info().get("DockerRootDir") or "/")
        if reason := why_too_little_disk(root, BUILD_DISK_BYTES, "building the image"):
            return reason
    if built_from != ROOT or _has_image(engine, BASE_IMAGE):
        return None
    reason = _why_not_in_registry(engine, BASE_IMAGE)
    return reason and (
        f"image {image} is not here and can't be built: its base {BASE_IMAGE} is not here either, and {reason}; "
        "connect to the network, name the base image at a mirror (FOURFOLD_BASE_IMAGE), or load an image (docker load) "
        "and name it (--image), and run again"
    )


def why_port_is_taken(
    ips: Sequence[str], port: int, engine: Engine | None, otherwise: str = "choose another port (--port)"
) -> str | None:
    """Why nobody else can listen on a TCP port at these IP addresses, with the remedy. None if it is free.

    Of an engine on another machine only the ports that it publishes itself can be seen. ``otherwise`` is the remedy
    where the one who holds it can't be ended.
    """
    holder = publisher(engine, ips, port) if engine is not None else None
    is_elsewhere = engine is not None and engine.is_remote
    if holder is None and not is_elsewhere and _why_not_bound(ips, port) == errno.EADDRINUSE:
        holder = _listener(ips, port)
    return holder and f"port {port} is taken by {holder}; end that, or {otherwise} and run again"


def why_port_is_for_root(kind: str, ips: Sequence[str], port: int) -> str | None:
    """Why a process of this user may not listen on a TCP port. An engine may, as it runs as root."""
    if _why_not_bound(ips, port) != errno.EACCES:
        return None
    return f"only root may use port {port}; choose one above 1023 (--port {kind}=PORT) and run again"


def publisher(engine: Engine, ips: Sequence[str], port: int) -> str | None:
    """The container or Swarm service that publishes a TCP port at one of these IP addresses."""
    for container in engine.client.api.containers():
        for published in container.get("Ports") or ():
            is_tcp = (published.get("PublicPort"), published.get("Type")) == (port, "tcp")
            if is_tcp and any(addresses.overlap(published.get("IP") or "", ip) for ip in ips):
                return f"container {container['Names'][0].lstrip('/')}"
    if engine.swarm().get("ControlAvailable"):
        for service in engine.client.services.list():
            for published in service.attrs["Endpoint"].get("Ports") or ():
                if (published.get("PublishedPort"), published.get("Protocol")) == (port, "tcp"):
                    return f"Swarm service {service.name}"
    return None


def _has_image(engine: Engine, image: str) -> bool:
    try:
        engine.client.images.get(image)
    except docker.errors.APIError:
        return False
    return True


def _why_not_in_registry(engine: Engine, image: str) -> str | None:
    """Why the engine can't pull an image. This asks the registry for its digest and downloads nothing."""
    try:
        engine.client.images.get_registry_data(image)
    except docker.errors.NotFound:
        return "its registry does not have it"
    except docker.errors.APIError as error:
        if error.status_code in (401, 403):
            return "its registry does not have it for you (docker login)"
        return f"its registry can't be reached ({error.explanation or error})"
    except API_FAILURES as error:
        return f"its registry can't be reached ({error})"
    return None


def _why_not_bound(ips: Sequence[str], port: int) -> int | None:
    """The error number with which the kernel refuses a TCP socket at one of these IP addresses. None if it allows it.

    An address that this machine does not have is skipped, as all of IPv6 may be.
    """
    for ip in ips:
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        try:
            socket.create_server((ip, port), family=family).close()
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return error.errno
    return None


def _listener(ips: Sequence[str], port: int) -> str:
    """Who has a TCP port at one of these IP addresses. A process that listens comes before a client of that port."""
    try:
        sockets = sorted(psutil.net_connections(kind="tcp"), key=lambda held: held.status != psutil.CONN_LISTEN)
        for held in sockets:
            if not (held.pid and held.laddr and held.laddr.port == port):
                continue
            if any(addresses.overlap(held.laddr.ip, ip) for ip in ips):
                return f"{psutil.Process(held.pid).name()} (process {held.pid})"
    except psutil.Error:
        pass
    return "a process of another user"
