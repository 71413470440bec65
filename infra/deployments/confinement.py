"""How each container of the service is confined, watched and stopped: docker run and Swarm take it from here, and
docker-compose.yml and stack.yml say the same (a test holds them together).

There is no CPU limit unless a plan sets one: the host process has none, and a quota would be measured instead of the
deployment.
"""

from __future__ import annotations

import os

from docker.types import Healthcheck, Mount

PORT = 5000
"""Inside the container, as the Dockerfile exposes it."""

APP_FOLDER = "/app"
METRICS_PATH = f"{APP_FOLDER}/docker_system_inference_metrics.csv"

MEMORY_BYTES = 2 * 1024**3
"""A replica with DistilBERT held 0.25 GB with the ONNX engine and 0.5 GB with torch."""

RESERVED_MEMORY_BYTES = 512 * 1024**2
PIDS = 512

TMP_BYTES = 64 * 1024**2
"""What fits into a container's /tmp. It lies in memory and counts against the limit: without a size of its own, a full
/tmp would get the service killed for its memory."""

STOP_SIGNAL = "SIGTERM"
STOP_S = 40
"""Longer than the service itself waits for the requests in flight."""

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
"""A replica under heavy load may answer late, and must not be killed for that: it has a minute."""


def user() -> str:
    """``UID:GID`` that a container runs as: the user's own, so that files it writes are the user's; never root's."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else "1000:1000"


def app_volume(labels: dict[str, str]) -> Mount:
    """An anonymous volume over /app, the one place that a read-only root leaves writable.

    It starts as a copy of the image's folder, owners and modes included, so that of all files in it only the metrics
    file can be written by the container's user; ``docker cp`` finds it there, which a tmpfs would hide.
    """
    return Mount(APP_FOLDER, None, type="volume", labels=labels)
