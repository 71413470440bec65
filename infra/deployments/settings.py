"""What a user can choose for all deployments, with the defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from infra.deployments.confinement import MEMORY_BYTES
from servicefile.service_file import ServiceFile, read_service


@dataclass(frozen=True)
class Settings:
    """``service`` is what is measured. ``other_image`` is run in place of its image.

    ``ports`` (by kind) are the ports of deployments that do not use their default port. ``reach`` (by kind) says
    where a published port answers if that is not the same port of 127.0.0.1, as for an engine on another machine; it
    takes any form that ``addresses`` knows. ``tunnels`` (by kind) are ports of this machine's loopback that lead to a
    published port of another one; nobody chooses them. ``other_start_timeout_s`` takes the place of the service's
    ``ready_s``.

    ``cpus`` and ``memory_bytes`` limit each container; ``cpus`` None: no limit. The host process has neither limit.
    ``restarts``: the engine restarts single containers that have died (Swarm always does).
    ``host_folder`` is the service's folder on the engine's machine, on which the host process then runs; None: it runs
    on this machine. ``service_cpus`` is the CPU set that the service may use, also as a host process (see ``cpus.py``);
    None: all.
    ``placement`` (None: as Swarm likes) and ``load_nodes``, on which no replica runs, are for Swarm
    (``swarm_nodes.py``).
    """

    service: ServiceFile = field(default_factory=read_service)
    other_image: str | None = None
    ports: dict[str, int] = field(default_factory=dict)
    reach: dict[str, str] = field(default_factory=dict)
    tunnels: dict[str, int] = field(default_factory=dict)
    other_start_timeout_s: float | None = None
    cpus: float | None = None
    memory_bytes: int = MEMORY_BYTES
    host_folder: str | None = None
    service_cpus: str | None = None
    restarts: bool = False
    placement: str | None = None
    load_nodes: tuple[str, ...] = ()

    @property
    def image(self) -> str | None:
        """The name of the image that containers run; None: there is none."""
        return self.other_image or self.service.image

    @property
    def built_from(self) -> Path | None:
        """The folder whose Dockerfile makes the image; None: it is not built here."""
        return self.service.build if self.other_image is None else None

    @property
    def start_timeout_s(self) -> float:
        return self.other_start_timeout_s or self.service.ready_s
