"""How each container of the service is confined, watched and stopped.

docker run and Swarm use these values. docker-compose.yml and stack.yml repeat them, and a test compares them.

There is no CPU limit unless a plan sets one. The host process has none, and with a limit one would measure the limit
instead of the deployment.
"""

from __future__ import annotations

import os

from docker.types import Healthcheck, Mount

PORT = 5000
"""The service's port inside the container, which the Dockerfile exposes."""

APP_FOLDER = "/app"
METRICS_PATH = f"{APP_FOLDER}/docker_system_inference_metrics.csv"

MEMORY_BYTES = 2 * 1024**3
"""A replica with DistilBERT used 0.25 GB with the ONNX engine and 0.5 GB with torch."""

RESERVED_MEMORY_BYTES = 512 * 1024**2
PIDS = 512

TMP_BYTES = 64 * 1024**2
"""The size of a container's /tmp. Its files are in memory and count against the memory limit. Without a size, a full
/tmp would get the service killed for its memory."""

STOP_SIGNAL = "SIGTERM"
STOP_S = 40
"""Longer than the service itself waits for requests that it is answering."""

SECOND_NS = 1_000_000_000
CPU_NS = 1_000_000_000
"""The engine counts a CPU limit in billionths of a core."""

HEALTHCHECK = Healthcheck(
    test=["CMD", "bash", "inference/health.sh"],
    interval=5 * SECOND_NS,
    timeout=10 * SECOND_NS,
    retries=6,
    start_period=120 * SECOND_NS,
)
"""A replica under heavy load may answer late and must not be killed for that: it has a minute."""


def user() -> str:
    """``UID:GID`` that a container runs as. It is the user's own, so that the user owns its files, but never root's."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else "1000:1000"


def app_volume(labels: dict[str, str]) -> Mount:
    """An anonymous volume over /app, the only folder on disk that a container with a read-only root can write to.

    It starts as a copy of the image's folder with owners and modes, so the container's user can write only the metrics
    file in it. ``docker cp`` can copy that file, which it could not from a tmpfs.
    """
    return Mount(APP_FOLDER, None, type="volume", labels=labels)
