"""The load of an experiment on a cluster: nodes of the swarm send it, and an agent on each samples its replicas."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import addresses
from infra.cluster import monitor_stack
from infra.cluster.load_stack import LoadPlace, run_on_swarm
from infra.deployments.docker_engine import Engine, connect
from infra.deployments.settings import Settings
from infra.deployments.swarm_nodes import first_service_node, nodes_of
from infra.deployments.table import BY_NAME
from infra.experiment.load import GONE_EVERY_S, Load, Target, refuse_gone


@dataclass(frozen=True)
class FromSwarm:
    """Runs Locust as ``infra.experiment.load.run_here`` does, with so many workers on nodes of the swarm,
    and with this image there."""

    settings: Settings
    workers: int
    image: str

    def __call__(self, load: Load, targets: Sequence[Target]) -> int:
        """Locust's exit code. ``load.arguments`` name neither host nor replicas.

        Raises:
            ServiceGone: the service is gone, and Locust was ended.
            DeploymentError: agents, master or workers do not start, or the files can't be brought here.
        """
        (target,) = targets
        engine = connect()
        place = LoadPlace(self.workers, image=self.image, sampled=target.service.replicas.partition(":")[2])
        said = ["--host", entry_url(engine, target.deployment, self.settings), *load.arguments]
        asked_at = time.monotonic()

        def meanwhile() -> None:
            nonlocal asked_at
            load.meanwhile()
            if time.monotonic() - asked_at >= GONE_EVERY_S:
                asked_at = time.monotonic()
                refuse_gone(targets)

        with monitor_stack.agents(engine, self.image):
            return run_on_swarm(
                engine, place, replace(load, arguments=said, meanwhile=meanwhile), self.settings.service
            )


def entry_url(engine: Engine, deployment: str, settings: Settings) -> str:
    """Where the nodes reach a deployment: at the published port of the node at which the load comes in."""
    address = first_service_node(nodes_of(engine), settings.load_nodes).address
    host = f"[{address}]" if ":" in address else address
    return addresses.parse(f"{host}:{BY_NAME[deployment].facts.port(settings)}").url
