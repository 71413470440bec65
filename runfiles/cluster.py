"""The swarm of several nodes in which an experiment ran, as ``experiment.json`` holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from runfiles.fields import Bytes, Cpus, Name, OneOf, Record

SPREAD, ONE_NODE = "spread", "one-node"
PLACEMENTS = (SPREAD, ONE_NODE)
"""Where a Swarm service's replicas run: evenly over the nodes that may take them, or all on one node."""


@dataclass(frozen=True, kw_only=True)
class NodeRecord(Record):
    """A node of the swarm: its host name, its ID, and its address as the swarm knows it. None: the swarm did not
    tell."""

    name: Name
    id: Name | None = None
    address: str | None = None
    role: Annotated[str, OneOf(("manager", "worker"))] | None = None
    cpu_count: Cpus | None = None
    memory_bytes: Bytes | None = None
    engine_version: str | None = None


@dataclass(frozen=True, kw_only=True)
class ClusterRecord(Record):
    """The nodes of the swarm, and the one at whose published port the load comes in (by its name).

    ``entry_node`` is None if that is not known, such as behind a tunnel or a load balancer. ``one_node``: the node to
    which the replicas were bound; None: to none.
    """

    nodes: tuple[NodeRecord, ...]
    entry_node: Name | None = None
    one_node: Name | None = None

    def name_of(self, said: str) -> str:
        """The name of a node, from its name or its ID."""
        return next((node.name for node in self.nodes if said in (node.id, node.name)), said)
