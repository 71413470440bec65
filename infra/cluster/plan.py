"""What a plan must say for an experiment on a cluster, of which the nodes of a swarm send the load."""

from __future__ import annotations

from dataclasses import replace

from infra.errors import PlanError
from infra.experiment.plan import Plan
from runfiles.deployments import DEPLOYMENTS, SWARM
from runfiles.events import TURNS

ONLY_HERE = ("workers", "load_nodes")
"""The keys of a plan that have no effect without ``--cluster``."""


def on_cluster(plan: Plan) -> Plan:
    """The same plan, with one deployment after another: the load of each has a stack of its own.

    Raises:
        PlanError: what it measures can't be measured so.
    """
    other = [name for name in plan.deployments if DEPLOYMENTS[name].kind != SWARM]
    if other:
        raise PlanError(
            f"--cluster measures what runs on a swarm, and {other[0]} does not; choose swarm-N (--only swarm-3)"
        )
    loads = {"rates": plan.rates, "[capacity]": plan.capacity, "[grid]": plan.grid, "[[changes]]": plan.changes}
    if found := [name for name, value in loads.items() if value]:
        raise PlanError(f"--cluster measures one load, and the plan has {found[0]}; leave {found[0]} or --cluster out")
    if plan.processes > 1:
        raise PlanError("--cluster has workers in place of processes; set workers=N and leave processes out")
    if plan.generator_cpus is not None:
        raise PlanError("--cluster sends the load from other machines; leave generator_cpus out")
    if plan.rate is None and (plan.workers or 1) > plan.users:
        raise PlanError(f"workers = {plan.workers} is more than users = {plan.users}: a worker would have no user")
    return replace(plan, layout=TURNS, workers=plan.workers or 1)


def refuse_keys_of_clusters(plan: Plan) -> None:
    """Refuse keys that only an experiment on a cluster has.

    Raises:
        PlanError: one is there.
    """
    for key in ONLY_HERE:
        if getattr(plan, key):
            raise PlanError(f"{key} has no effect without --cluster; add --cluster, or leave {key} out")
