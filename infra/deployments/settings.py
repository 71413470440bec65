"""What a user can choose about the deployments, with its defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import addresses
from infra.deployments.confinement import MEMORY_BYTES

IMAGE = "llm-inference-image"
PORTS = {"host": 5000, "docker": 5000, "compose": 8080, "swarm": 8080}
START_TIMEOUT_S = 180.0
MOST_START_TIMEOUT_S = 24 * 3600.0


def kind_of(name: str) -> str:
    """Which of the four ways a deployment is: ``swarm`` of ``swarm-3``."""
    return name.partition("-")[0]


def listens_at(kind: str, is_remote: bool) -> tuple[str, ...]:
    """The IP addresses at which a deployment takes its port.

    An engine elsewhere (``is_remote``) has to publish on its own network to be reached at all. Swarm can't publish at
    one address alone. The host process and docker-compose.yml use loopback.
    """
    if kind == "swarm":
        return ("0.0.0.0", "::")  # noqa: S104
    return ("0.0.0.0",) if is_remote and kind == "docker" else ("127.0.0.1",)  # noqa: S104


def replicas_of(name: str) -> int:
    """How many replicas a deployment runs."""
    return int(name.partition("-")[2] or 1)


@dataclass(frozen=True)
class Settings:
    """``reach`` says where a published port answers when that is not the same port of 127.0.0.1 (engine elsewhere), in
    any form that ``addresses`` knows.

    ``cpus`` and ``memory_bytes`` limit each container; ``cpus`` None: as many as there are. The host process has
    neither limit.
    """

    image: str = IMAGE
    ports: dict[str, int] = field(default_factory=lambda: dict(PORTS))
    reach: dict[str, str] = field(default_factory=dict)
    start_timeout_s: float = START_TIMEOUT_S
    cpus: float | None = None
    memory_bytes: int = MEMORY_BYTES

    def url(self, kind: str) -> str:
        """The base URL at which a deployment answers. 127.0.0.1, as Swarm's ingress hangs on ::1.

        Raises:
            addresses.NotAnAddress: ``reach`` is none.
        """
        return addresses.parse(self.reach.get(kind, f"127.0.0.1:{self.ports[kind]}")).url


@dataclass(frozen=True)
class Limits:
    """What a replica may use, as its container says; None where nothing limits it."""

    cpus: float | None = None
    memory_bytes: int | None = None


def live_file(folder: Path, name: str) -> Path:
    """Where a service of this machine writes its metrics for as long as it runs: beside the copy that is taken of it
    after the single pass, which the load that follows must not lengthen."""
    live = folder / "live"
    live.mkdir(parents=True, exist_ok=True)
    return live / name
