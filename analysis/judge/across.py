"""Whether a deployment of two experiments may be compared: what they must have in common, and what differs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from analysis.judge.comparability import MODEL, memory_limits_bytes, usable_cpus, why_unlike
from analysis.read.records import UnreadableResults
from analysis.read.results import Deployment, Results
from runfiles.cluster import ClusterRecord
from runfiles.machines import DockerEngine, Machine, are_different

OWN_SERVICE = "Fourfold's service"
"""The name in the service file of Fourfold's own service."""
OF_THE_SERVICE = (MODEL, "inference engine")
"""Circumstances that belong to the service: they may differ where two services are compared."""
COMPARABLE_LOADS = (
    "two searches with the same objective can be compared, and two loads with the same users or at the same rate"
)


def service_name(results: Results) -> str:
    """The service that was measured. Experiments of earlier versions do not name it: they had Fourfold's own only."""
    service = results.experiment.service
    return OWN_SERVICE if service is None else service.name


def refuse_one_experiment(old: Results, new: Results) -> None:
    """Refuse to compare an experiment with itself or a copy of it.

    Raises:
        UnreadableResults: two of their runs began at the same moment, or have the same response times.
    """
    before, after = (
        {run.record.started_at_unix_s for run in results.runs} | {run.fingerprint for run in results.runs}
        for results in (old, new)
    )
    if old.folder.resolve() == new.folder.resolve() or before & after - {None}:
        raise UnreadableResults(
            f"{old.folder} and {new.folder} hold the same runs, so they are one experiment; name two that were measured"
        )


def changed_service(old: Results, new: Results) -> list[str]:
    """That the service is another one, or that its file changed."""
    before, after = (service_name(results) for results in (old, new))
    if before != after:
        return [f"the service changed from {before} to {after}, and its model may have changed too"]
    was, now = old.experiment.service, new.experiment.service
    return [f"the service file of {after} changed"] if was and now and was.content != now.content else []


def changed_circumstances(old: Results, new: Results) -> list[str]:
    """What changed of machine and Docker engine, or is not recorded, though the experiments may be compared. The engine
    counts if containers were measured in both."""
    found = []
    machines, engines = _machines(old, new), _engines(old, new)
    compared = [
        ([machine.node for machine in machines], "name of the machine"),
        ([machine.kernel for machine in machines], "kernel"),
    ]
    if all(_has_containers(results) for results in (old, new)):
        compared.append(([engine.version for engine in engines], "version of the Docker engine"))
    for (before, after), what in compared:
        if before != after:
            found.append(f"the {what} changed from {before or 'not recorded'} to {after or 'not recorded'}")
    groups = [{frozenset(group) for group in results.experiment.groups} for results in (old, new)]
    if all(groups) and groups[0] != groups[1]:
        found.append("other deployments ran side by side in the two experiments")
    for told, what in (
        ([machine.cpu_model for machine in machines], "processor"),
        ([machine.cpu_count for machine in machines], "number of CPUs"),
    ):
        if None in told:
            found.append(f"the {what} is not recorded for both experiments, so they may have run on two machines")
    return found


def why_other_circumstances(
    before: Deployment, after: Deployment, old: Results, new: Results, may_differ: Collection[str] = ()
) -> str | None:
    """What keeps a deployment of two experiments from being compared: another machine, other limits, another load; None
    if nothing does. ``may_differ``: circumstances that may."""
    kinds = [_kind_of_load(results) for results in (old, new)]
    if kinds[0] != kinds[1]:
        return f"not compared: the load changed from {kinds[0]} to {kinds[1]}; {COMPARABLE_LOADS}"
    hosts = [(old.host_machine, new.host_machine)] if after.is_host else []
    if any(_are_other_machines(*pair) for pair in (_machines(old, new), *hosts)):
        return "not compared: they ran on different machines"
    if not after.is_host and _are_other_engines(old, new):
        return "not compared: the Docker engine did not run on the same machine"
    for limits, what in ((usable_cpus, "CPU"), (memory_limits_bytes, "memory")):
        if limits(old, before) != limits(new, after):
            return f"not compared: the {what} limit changed"
    objectives = [plan.capacity.slo for plan in (old.experiment.plan, new.experiment.plan) if plan.capacity]
    if len(set(objectives)) > 1:
        return f"not compared: the objective changed from {objectives[0]} to {objectives[1]}"
    unlike = _why_other_cluster(after, old, new) or why_unlike(after, before, may_differ=may_differ)
    return str(unlike) if unlike else None


def _why_other_cluster(deployment: Deployment, old: Results, new: Results) -> str | None:
    """What differs in where the load came from and, of a Swarm service, in where its replicas ran; None: nothing."""
    records = [results.experiment for results in (old, new)]
    compared: list[tuple[str, list[Any]]] = [
        ("number of workers that sent the load", [record.plan.workers for record in records])
    ]
    if deployment.is_swarm:
        compared += [
            ("placement of the replicas", [record.plan.placement for record in records]),
            ("nodes that only send load", [", ".join(record.plan.load_nodes) for record in records]),
            ("nodes of the swarm", [_nodes(record.cluster) for record in records]),
        ]
    for what, (before, now) in compared:
        if before != now:
            return f"not compared: the {what} changed from {before or 'none'} to {now or 'none'}"
    return None


def _nodes(cluster: ClusterRecord | None) -> str:
    """The nodes with their processors, and where the load came in."""
    if cluster is None:
        return ""
    nodes = ", ".join(
        f"{node.name} ({node.cpu_count:g} CPUs)" if node.cpu_count else node.name for node in cluster.nodes
    )
    return f"{nodes}, entered at {cluster.entry_node}" if cluster.entry_node else nodes


def _kind_of_load(results: Results) -> str:
    if results.is_search:
        return "a search for the capacity"
    if results.is_staircase:
        return "a staircase of rates"
    plan = results.experiment.plan
    return "a number of users" if plan.rate is None and not plan.rates else "one rate"


def _machines(old: Results, new: Results) -> tuple[Machine, Machine]:
    return old.experiment.machine, new.experiment.machine


def _engines(old: Results, new: Results) -> tuple[DockerEngine, DockerEngine]:
    """The Docker engines; of none nothing is told."""
    return old.experiment.engine or DockerEngine(), new.experiment.engine or DockerEngine()


def _has_containers(results: Results) -> bool:
    return any(deployment.loads and not deployment.is_host for deployment in results.deployments)


def _are_other_machines(before: Machine, after: Machine) -> bool:
    """Whether processor, memory or system differ. A kernel may be a newer one of the same machine."""
    systems = {before.system, after.system} - {None}
    is_other_cpu = (before.cpu_model, before.cpu_count) != (after.cpu_model, after.cpu_count)
    return is_other_cpu or len(systems) > 1 or are_different(replace(before, kernel=None), after)


def _are_other_engines(old: Results, new: Results) -> bool:
    """Whether containers ran on two machines: the engine is at another place or, if elsewhere, another engine."""
    if old.engine_elsewhere != new.engine_elsewhere:
        return True
    before, after = _engines(old, new)
    hosts = {urlsplit(engine.endpoint or "unix:").hostname for engine in (before, after)}
    return old.engine_elsewhere is not None and (len(hosts) > 1 or are_different(before, after))
