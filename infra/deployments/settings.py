"""What a user can choose for all deployments, with the defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

from infra.deployments.confinement import MEMORY_BYTES

IMAGE = "llm-inference-image"
START_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Settings:
    """``ports`` (by kind) are the ports of deployments that do not use their default port. ``reach`` (by kind) says
    where a published port answers if that is not the same port of 127.0.0.1, as for an engine on another machine; it
    takes any form that ``addresses`` knows.

    ``cpus`` and ``memory_bytes`` limit each container; ``cpus`` None: no limit. The host process has neither limit.
    ``service_cpus`` is the CPU set that the service may use, also as a host process (see ``cpus.py``); None: all.
    """

    image: str = IMAGE
    ports: dict[str, int] = field(default_factory=dict)
    reach: dict[str, str] = field(default_factory=dict)
    start_timeout_s: float = START_TIMEOUT_S
    cpus: float | None = None
    memory_bytes: int = MEMORY_BYTES
    service_cpus: str | None = None
