"""The service as a Swarm service behind the routing mesh, with one or more replicas.

It is the service of the stack file that the service file names, or one that Fourfold makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import docker
from docker.types import EndpointSpec, Mount, Privileges, Resources, RestartPolicy, RollbackConfig, UpdateConfig

from infra.deployments import stack
from infra.deployments.change import Change, Changeable, Made, change_swarm, replica_name, that_run, unpause
from infra.deployments.confinement import (
    CPU_NS,
    PIDS,
    RESERVED_MEMORY_BYTES,
    SECOND_NS,
    STOP_SIGNAL,
    TMP_BYTES,
    healthcheck,
    mounts,
    user,
)
from infra.deployments.containers import environment_of, log_of
from infra.deployments.deployment import Facts
from infra.deployments.docker_engine import Engine, connect
from infra.deployments.files_here import why_mounts_here
from infra.deployments.images import with_tag
from infra.deployments.ownership import is_ours, labels, still_there, why_not_ours
from infra.deployments.preflight import why_no_room, why_no_service_image, why_port_is_taken
from infra.deployments.reach import why_out_of_reach
from infra.deployments.ready import until_ready
from infra.deployments.service import Service
from infra.deployments.settings import Settings
from infra.deployments.swarm_mode import (
    ACTIVE,
    DRAINED,
    leave_own_swarm,
    make_swarm,
    set_availability,
    swarm_labels,
    why_no_mesh,
)
from infra.deployments.swarm_nodes import Placement, nodes_of, placement_of, service_nodes
from infra.deployments.swarm_service import (
    Watch,
    containers_of,
    copy_metrics,
    find,
    has_healthcheck,
    labels_of,
    last_words,
    limits_of,
    metrics_place,
    wait_for_tasks,
    why_not_reached,
)
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError
from runfiles.events import DRAIN, DRAIN_OVER, SWARM_SERVICE

NAME = "llm-inference-service"
LISTENS_AT = ("0.0.0.0", "::")  # noqa: S104  Swarm can't publish at a single address
MONITOR_NS = 10 * SECOND_NS
"""How long a replica is watched after its update before the next one has its turn."""

ANSWER_S = 30.0
"""A port that does not answer this long after all tasks run will not do so later."""


@dataclass(frozen=True)
class Swarm:
    """One Swarm service. If the engine is in no swarm, Fourfold makes one and leaves it afterwards."""

    facts: Facts

    def why_not(self, settings: Settings) -> str | None:
        engine = connect()
        return (
            why_no_service_image(settings)
            or _why_name_is_taken(engine)
            or _why_not_pinned(settings)
            or why_no_mesh(engine)
            or _why_no_node(engine, settings)
            or why_out_of_reach(self.facts, settings, engine)
            or why_mounts_here(settings, engine)
            or why_no_room(self.facts, engine)
            or stack.why_not(settings, self.facts.replicas, self.facts.port(settings))
            or why_port_is_taken(LISTENS_AT, self.facts.port(settings), engine)
        )

    def start(self, settings: Settings, folder: Path) -> Service:
        engine, said = connect(), settings.service
        if engine.swarm().get("LocalNodeState") != "active":
            make_swarm(engine)
        placement = placement_of(engine, settings, self.facts.replicas)
        if said.stack is None:
            service = _create_service(engine, self.facts, settings, placement)
        else:
            stack.deploy(said.stack, settings, self.facts.replicas, self.facts.port(settings), placement)
            service = find(engine, stack.STACK.service_name(said.stack.service))
        wait_for_tasks(service, self.facts.replicas, settings.start_timeout_s)
        # A task of a service without a health check runs before it answers.
        answer_s = ANSWER_S if has_healthcheck(service) else settings.start_timeout_s
        until_ready(
            self.facts.url(settings), said, answer_s, _why_no_answer, partial(why_not_reached, service, said.port)
        )

        def change(change: Change) -> Made:
            if change.action in (DRAIN, DRAIN_OVER):
                return Made("", set_availability(engine, DRAINED if change.action == DRAIN else ACTIVE))
            return change_swarm(change, service, partial(containers_of, service))

        return Service(
            f"{SWARM_SERVICE}:{service.name}",
            partial(copy_metrics, service, said),
            metrics_place(service, said),
            limits_of(service),
            gone=Watch(service).why_gone,
            last_words=partial(last_words, service),
            change=change,
        )

    def log(self, folder: Path) -> str:
        engine = connect()
        service = find(engine, NAME)
        return log_of(stack.STACK.containers(engine) if service is None else containers_of(service))

    def running(self, settings: Settings) -> Changeable | None:
        engine, said = connect(), settings.service.stack
        service = find(engine, NAME if said is None else stack.STACK.service_name(said.service))
        if service is None or not is_ours(labels_of(service)):
            return None
        containers = partial(containers_of, service)
        return Changeable(
            (f"{SWARM_SERVICE}:{service.name}",),
            tuple(replica_name(each) for each in that_run(containers())),
            lambda change: change_swarm(change, service, containers),
            replicas=service.attrs["Spec"]["Mode"]["Replicated"]["Replicas"],
        )

    def remove(self, settings: Settings) -> list[str]:
        engine = connect()
        removed = []
        try:
            removed += _remove_service(engine, settings.service.container.stop_s)
            removed += stack.STACK.remove(engine)
        finally:
            removed += leave_own_swarm(engine)
        return removed

    def why_another_has_it(self) -> str | None:
        return _why_another_has_it(connect())


def _why_not_pinned(settings: Settings) -> str | None:
    if settings.service_cpus is None:
        return None
    return (
        f"Swarm has no option to pin its replicas to the processors {settings.service_cpus}; "
        "leave service_cpus out, or leave Swarm out (--only), and run again"
    )


def _why_no_node(engine: Engine, settings: Settings) -> str | None:
    """Why no replica could run, as the plan places them. None if one can."""
    nodes = nodes_of(engine)
    if settings.load_nodes and not nodes:
        return "load_nodes needs a swarm of several nodes, and this engine manages none; leave load_nodes out"
    if nodes:
        service_nodes(nodes, settings.load_nodes)  # raises the reason
    return None


def _why_name_is_taken(engine: Engine) -> str | None:
    """What has one of the names already, and how to remove it. None if nothing has."""
    service = find(engine, NAME)
    if service is None:
        return stack.STACK.why_still_there(engine) or stack.STACK.why_another_has_it(engine)
    if is_ours(labels_of(service)):
        return still_there(f"service {NAME}", "swarm-1")
    return _why_another_has_it(engine) or (
        f"there is a Swarm service named {NAME} that Fourfold did not make; "
        f"remove it (docker service rm {NAME}) and run again"
    )


def _why_another_has_it(engine: Engine) -> str | None:
    """Which other checkout has service or stack, or made the swarm, and how to remove that. None if none did."""
    service = find(engine, NAME)
    whose = service and why_not_ours(labels_of(service), f"service {NAME}", "swarm-1", f"docker service rm {NAME}")
    return (
        whose
        or stack.STACK.why_another_has_it(engine)
        or why_not_ours(
            swarm_labels(engine), "the swarm that this engine is in", "swarm-1", "docker swarm leave --force"
        )
    )


def _create_service(engine: Engine, facts: Facts, settings: Settings, placement: Placement) -> Any:
    """
    Raises:
        DeploymentError: the engine refused it.
    """
    said, confined = settings.service, settings.service.container
    tmp = Mount("/tmp", None, type="tmpfs", tmpfs_size=TMP_BYTES)  # noqa: S108  in the container
    named = {} if said.replica_variable is None else {said.replica_variable: "{{.Service.Name}}.{{.Task.Slot}}"}
    try:
        return engine.client.services.create(
            with_tag(
                settings.image or ""
            ),  # as the docker command does: else its `service scale` would see a new image
            name=NAME,
            mode=docker.types.ServiceMode("replicated", replicas=facts.replicas),
            endpoint_spec=EndpointSpec(ports={facts.port(settings): said.port}),
            env=[f"{name}={value}" for name, value in (environment_of(said) | named).items()],
            labels=labels("swarm"),
            container_labels=labels("swarm"),
            user=user(confined),
            read_only=confined.read_only,
            mounts=mounts(confined, labels("swarm")) + ([tmp] if confined.read_only else []),
            cap_drop=["ALL"] if confined.hardened else None,
            privileges=_no_new_privileges() if confined.hardened else None,
            resources=_resources(settings),
            constraints=list(placement.constraints),
            maxreplicas=placement.most_per_node,
            restart_policy=RestartPolicy("any", delay=2 * SECOND_NS),
            update_config=UpdateConfig(
                parallelism=1, order="start-first", monitor=MONITOR_NS, failure_action="rollback"
            ),
            rollback_config=RollbackConfig(parallelism=1, order="start-first", monitor=MONITOR_NS),
            healthcheck=healthcheck(confined),
            init=True,
            stop_signal=STOP_SIGNAL,
            stop_grace_period=confined.stop_s * SECOND_NS,
        )
    except docker.errors.APIError as error:
        raise DeploymentError(f"the engine refused the service: {error.explanation or error}") from error


def _remove_service(engine: Engine, stop_s: int) -> list[str]:
    """Remove the service that Fourfold made, and wait until its replicas have ended."""
    service = find(engine, NAME)
    if service is None or not is_ours(labels_of(service)):
        return []
    unpause(containers_of(service))
    service.remove()
    if not until_true(lambda: not containers_of(service), stop_s + 20):
        raise DeploymentError(f"containers of {NAME} are still there; try docker ps and docker rm -f")
    return [f"service {NAME}"]


def _why_no_answer() -> str:
    return (
        "all tasks run, yet the published port answers nobody: the routing mesh does not work here "
        "(is there IPVS in the engine's kernel? does --reach name the right address?)"
    )


def _no_new_privileges() -> Privileges:
    """docker-py has no argument for it yet; engines before 25 pass over it."""
    privileges = Privileges()
    privileges["NoNewPrivileges"] = True
    return privileges


def _resources(settings: Settings) -> Resources:
    """docker-py has no argument for the PIDs yet."""
    resources = Resources(
        cpu_limit=None if settings.cpus is None else round(settings.cpus * CPU_NS),
        mem_limit=settings.memory_bytes,
        mem_reservation=RESERVED_MEMORY_BYTES,
    )
    if settings.service.container.hardened:
        resources["Limits"]["Pids"] = PIDS
    return resources
