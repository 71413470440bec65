"""The nodes of a swarm: which there are, at which the load comes in, and on which a service's replicas may run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from infra.deployments.docker_engine import Engine
from infra.deployments.settings import Settings
from infra.errors import DeploymentError
from runfiles.cluster import ONE_NODE, SPREAD, ClusterRecord, NodeRecord
from runfiles.machines import is_loopback

READY, ACTIVE = "ready", "active"
NO_ADDRESS = ("", "0.0.0.0", "127.0.0.1")  # noqa: S104  nobody listens here
"""What a swarm says of a manager that does not know its own address."""
NANO = 10**9


@dataclass(frozen=True)
class Node:
    """A node as a manager of the swarm knows it. ``state`` and ``availability`` are Docker's words."""

    id: str
    name: str
    address: str
    role: str
    state: str
    availability: str
    labels: dict[str, str]
    cpu_count: float | None
    memory_bytes: int | None
    engine_version: str | None
    is_own: bool

    @property
    def takes_tasks(self) -> bool:
        return (self.state, self.availability) == (READY, ACTIVE)

    def record(self) -> NodeRecord:
        return NodeRecord(
            name=self.name,
            id=self.id,
            address=self.address or None,
            role=self.role,
            cpu_count=self.cpu_count,
            memory_bytes=self.memory_bytes,
            engine_version=self.engine_version,
        )


@dataclass(frozen=True)
class Placement:
    """Where the replicas of a service may run, as Swarm takes it. ``most_per_node`` None: as many as there are."""

    constraints: tuple[str, ...] = ()
    most_per_node: int | None = None


def nodes_of(engine: Engine) -> list[Node]:
    """The nodes of the swarm that this engine manages, by name; none if it manages none."""
    swarm = engine.swarm()
    if not swarm.get("ControlAvailable"):
        return []
    listed = (_node(each.attrs, str(swarm.get("NodeID"))) for each in engine.client.nodes.list())
    return sorted(listed, key=lambda node: (node.name, node.id))


def named(nodes: Sequence[Node], names: Sequence[str]) -> list[Node]:
    """The nodes with these names.

    Raises:
        DeploymentError: there is no such node.
    """
    there_are = [node.name for node in nodes]
    if unknown := [name for name in names if name not in there_are]:
        raise DeploymentError(
            f"load_nodes names {unknown[0]}, and the swarm has no node of that name; it has {', '.join(there_are)}"
        )
    return [node for node in nodes if node.name in names]


def service_nodes(nodes: Sequence[Node], load_nodes: Sequence[str]) -> list[Node]:
    """The nodes on which replicas may run, the engine's own first: those that take tasks, without ``load_nodes``.

    Raises:
        DeploymentError: there is none, or a name in ``load_nodes`` is none of a node.
    """
    only_load = named(nodes, load_nodes)
    found = [node for node in nodes if node.takes_tasks and node not in only_load]
    if not found:
        raise DeploymentError(
            "no node is left to run the service: each is in load_nodes, drained, paused or down (docker node ls); "
            "take one out of load_nodes, or join another node"
        )
    return sorted(found, key=lambda node: not node.is_own)


def first_service_node(nodes: Sequence[Node], load_nodes: Sequence[str]) -> Node:
    """The node that has all replicas of "one-node", and at which the load of a cluster comes in: the engine's own, if
    it runs replicas.

    Raises:
        DeploymentError: as ``service_nodes``.
    """
    return service_nodes(nodes, load_nodes)[0]


def placement_of(engine: Engine, settings: Settings, replicas: int) -> Placement:
    """Where the replicas may run. Nodes are named by ID: two may have one host name.

    Swarm spreads replicas by itself, and has a preference only for labels of nodes. So "spread" bounds how many run on
    one node: then they are spread evenly, or do not all start.

    Raises:
        DeploymentError: no node is left for them, or a name in ``load_nodes`` is none of a node.
    """
    if settings.placement is None and not settings.load_nodes:
        return Placement()
    nodes = nodes_of(engine)
    left = service_nodes(nodes, settings.load_nodes)
    if settings.placement == ONE_NODE:
        return Placement((f"node.id == {left[0].id}",))
    only_load = named(nodes, settings.load_nodes)
    most = math.ceil(replicas / len(left)) if settings.placement == SPREAD else None
    return Placement(tuple(f"node.id != {node.id}" for node in only_load), most)


def cluster_record(
    engine: Engine, settings: Settings, entry_of: Callable[[Sequence[Node]], str | None]
) -> ClusterRecord | None:
    """What the record says of the swarm; None if it has one node only. ``entry_of``: at which of its nodes the load
    comes in."""
    nodes = nodes_of(engine)
    if len(nodes) < 2:
        return None
    one = first_service_node(nodes, settings.load_nodes).name if settings.placement == ONE_NODE else None
    return ClusterRecord(nodes=tuple(node.record() for node in nodes), entry_node=entry_of(nodes), one_node=one)


def entry_node(nodes: Sequence[Node], url: str, *, is_own: bool) -> str | None:
    """The node at whose published port a URL leads; None if that can't be told. ``is_own``: loopback is the machine of
    the engine itself."""
    host = urlsplit(url).hostname or ""
    if is_loopback(host):
        return next((node.name for node in nodes if node.is_own), None) if is_own else None
    found = [node.name for node in nodes if host in (node.address, node.name.lower())]
    return found[0] if len(found) == 1 else None


def _node(said: dict[str, Any], own_id: str) -> Node:
    about, spec, status = said.get("Description") or {}, said.get("Spec") or {}, said.get("Status") or {}
    resources = about.get("Resources") or {}
    address = status.get("Addr", "")
    if address in NO_ADDRESS:
        address = str((said.get("ManagerStatus") or {}).get("Addr", "")).rpartition(":")[0].strip("[]")
    cpus = resources.get("NanoCPUs")
    return Node(
        id=said["ID"],
        name=about.get("Hostname") or said["ID"],
        address="" if address in NO_ADDRESS else address,
        role=spec.get("Role", "worker"),
        state=status.get("State", "unknown"),
        availability=spec.get("Availability", "unknown"),
        labels=spec.get("Labels") or {},
        cpu_count=cpus / NANO if cpus else None,
        memory_bytes=resources.get("MemoryBytes") or None,
        engine_version=(about.get("Engine") or {}).get("EngineVersion"),
        is_own=said["ID"] == own_id,
    )
