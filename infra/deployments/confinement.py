"""How each container of the service is confined, watched and stopped, as its service file says.

docker run, Swarm and a Compose file that Fourfold writes use these values. docker-compose.yml and stack.yml repeat
those of Fourfold's own service, and a test compares them.

There is no CPU limit unless a plan sets one. The host process has none, and with a limit one would measure the limit
instead of the deployment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from docker.types import Healthcheck, Mount

from servicefile.service_file import ME, Container

MEMORY_BYTES = 2 * 1024**3
"""A replica with DistilBERT used 0.25 GB with the ONNX engine and 0.5 GB with torch."""

RESERVED_MEMORY_BYTES = 512 * 1024**2
PIDS = 512
"""Of a hardened container."""

TMP_BYTES = 64 * 1024**2
"""The size of /tmp in a container with a read-only root. Its files are in memory and count against the memory limit.
Without a size, a full /tmp would get the service killed for its memory."""

STOP_SIGNAL = "SIGTERM"

SECOND_NS = 1_000_000_000
CPU_NS = 1_000_000_000
"""The engine counts a CPU limit in billionths of a core."""


def user(container: Container) -> str | None:
    """``UID:GID`` that a container runs as; None: as its image says. "me" is the user's own, so that the user owns its
    files, but never root's."""
    if container.user != ME:
        return container.user
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else "1000:1000"


def healthcheck(container: Container) -> Healthcheck | None:
    """The health check; None: that of the image. A replica under heavy load may answer late and must not be killed for
    that: it has a minute."""
    if container.healthcheck is None:
        return None
    return Healthcheck(
        test=["CMD", *container.healthcheck],
        interval=5 * SECOND_NS,
        timeout=10 * SECOND_NS,
        retries=6,
        start_period=120 * SECOND_NS,
    )


def mounts(container: Container, labels: Mapping[str, str]) -> list[Mount]:
    """The user's mounts, and of a container with a read-only root an anonymous volume over each writable folder.

    Such a volume starts as a copy of the image's folder with owners and modes, so the container's user can write only
    what it could write there. ``docker cp`` can copy its files, which it could not from a tmpfs.
    """
    found = [_bind(mount) for mount in container.mounts]
    if container.read_only:
        found += [Mount(folder, None, type="volume", labels=dict(labels)) for folder in container.writable]
    return found


def _bind(mount: str) -> Mount:
    source, target, mode = mount.rsplit(":", 2)
    return Mount(target, source, type="bind", read_only=mode == "ro")
