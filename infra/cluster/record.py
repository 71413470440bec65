"""The nodes of a swarm in the record of an experiment."""

from __future__ import annotations

from functools import partial

from infra.deployments.docker_engine import Engine
from infra.deployments.settings import Settings
from infra.deployments.swarm_nodes import cluster_record, entry_node, first_service_node
from infra.deployments.table import BY_NAME
from infra.experiment.plan import Plan
from runfiles.cluster import ClusterRecord
from runfiles.deployments import DEPLOYMENTS, SWARM


def cluster_of(engine: Engine, plan: Plan, settings: Settings, *, is_on_cluster: bool) -> ClusterRecord | None:
    """The nodes of the swarm, if something is to run on it and it has several. ``is_on_cluster``: nodes of the swarm
    send the load, to the first node that runs the service."""
    swarms = [name for name in plan.deployments if DEPLOYMENTS[name].kind == SWARM]
    if not swarms:
        return None
    if is_on_cluster:
        return cluster_record(engine, settings, lambda nodes: first_service_node(nodes, settings.load_nodes).name)
    is_own = not engine.is_remote and SWARM not in settings.reach  # else loopback may be the end of a tunnel
    return cluster_record(
        engine, settings, partial(entry_node, url=BY_NAME[swarms[0]].facts.url(settings), is_own=is_own)
    )
