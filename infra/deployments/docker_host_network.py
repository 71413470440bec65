"""The service with ``docker run --network host``: Docker without its bridge and its proxy.

The container is confined as that of ``docker_run.py``. It differs in one thing: it uses the network of this machine, so
that the service itself listens on loopback, as the host process does.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from addresses import LOOPBACK
from infra.deployments.change import Changeable
from infra.deployments.cpus import why_containers_not_pinned
from infra.deployments.deployment import Facts
from infra.deployments.docker_engine import Engine, connect
from infra.deployments.docker_run import (
    Network,
    log_of_container,
    remove_container,
    run_container,
    running_container,
    why_another_has_container,
    why_name_is_taken,
)
from infra.deployments.preflight import why_no_room, why_no_service_image, why_port_is_for_root, why_port_is_taken
from infra.deployments.service import Service
from infra.deployments.settings import Settings

NAME = "llm-inference-host-network"


@dataclass(frozen=True)
class DockerHostNetwork:
    """One container in the network of this machine."""

    facts: Facts

    def why_not(self, settings: Settings) -> str | None:
        engine = connect()
        port = self.facts.port(settings)
        return (
            why_no_service_image(settings)
            or why_name_is_taken(engine, NAME, self.facts)
            or why_no_host_network(engine)
            or why_containers_not_pinned(settings.service_cpus, engine)
            or why_no_room(self.facts, engine)
            or why_port_is_taken([LOOPBACK], port, engine)
            or why_port_is_for_root(self.facts.kind, [LOOPBACK], port)  # the container's user is not root
        )

    def start(self, settings: Settings, folder: Path) -> Service:
        # Without a name of its own, its name would be the machine's, as a process' is.
        variables = settings.service.told(LOOPBACK, self.facts.port(settings), NAME)
        network = Network({"network_mode": "host"}, environment=variables)
        return run_container(connect(), NAME, self.facts, settings, network)

    def log(self, folder: Path) -> str:
        return log_of_container(connect(), NAME)

    def running(self, settings: Settings) -> Changeable | None:
        return running_container(connect(), NAME)

    def remove(self, settings: Settings) -> list[str]:
        return remove_container(connect(), NAME)

    def why_another_has_it(self) -> str | None:
        return why_another_has_container(connect(), NAME, self.facts)


def why_no_host_network(engine: Engine) -> str | None:
    """Why a container can't use the network of this machine. None if it can."""
    if engine.is_remote:
        return (
            f"the host network would be that of the engine's machine ({engine.endpoint}), where the service listens on "
            "loopback; run Fourfold on that machine"
        )
    about = engine.client.info()
    if platform.system() != "Linux" or engine.elsewhere() or about.get("OperatingSystem") == "Docker Desktop":
        return (
            "the host network would be that of the virtual machine in which the engine runs, as with Docker Desktop; "
            "run Fourfold on Linux with an engine of its own"
        )
    if any("rootless" in option for option in about.get("SecurityOptions") or ()):
        return (
            "the engine is rootless, and its host network is not that of this machine; "
            "use an engine that runs as root (docker context use default)"
        )
    return None
