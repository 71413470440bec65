"""The service as a Swarm service behind the routing mesh, with one or more replicas."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import docker
from docker.types import EndpointSpec, Mount, Privileges, Resources, RestartPolicy, RollbackConfig, UpdateConfig

from addresses import LOOPBACK
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
from infra.deployments.containers import (
    METRICS_FILE,
    copy_metrics,
    environment_of,
    last_words,
    log_of,
    why_nobody_reaches,
)
from infra.deployments.deployment import Facts
from infra.deployments.docker_engine import Engine, connect
from infra.deployments.images import with_tag
from infra.deployments.ownership import LABEL, is_ours, labels, still_there, why_not_ours
from infra.deployments.preflight import why_no_room, why_no_service_image, why_out_of_reach, why_port_is_taken
from infra.deployments.ready import until_ready
from infra.deployments.service import Service
from infra.deployments.settings import Settings
from infra.deployments.waiting import until_true
from infra.environment import for_python
from infra.errors import DeploymentError
from runfiles.events import SWARM_SERVICE
from runfiles.lines import tidy
from runfiles.records import Limits
from servicefile.service_file import ServiceFile

NAME = "llm-inference-service"
LISTENS_AT = ("0.0.0.0", "::")  # noqa: S104  Swarm can't publish at a single address
IPVS = "ip_vs"
"""The kernel's module, and its file under /proc/net."""

MONITOR_NS = 10 * SECOND_NS
"""How long a replica is watched after its update before the next one has its turn."""

GONE_S = 20.0
"""A service counts as gone if none of its tasks has run for so long. A task that restarts takes less: 2 s, and the time
to load the model. Such restarts are part of what is measured."""

ANSWER_S = 30.0
"""A port that does not answer this long after all tasks run will not do so later."""

GATEWAY = "docker_gwbridge"
HAD_GATEWAY = f"{LABEL}.had-gateway"
"""A label on a swarm of ours: whether the bridge was there before the swarm. Leaving a swarm does not remove it."""


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
            or why_out_of_reach(self.facts, settings, engine)
            or why_no_room(self.facts, engine)
            or why_port_is_taken(LISTENS_AT, self.facts.port(settings), engine)
        )

    def start(self, settings: Settings, folder: Path) -> Service:
        engine = connect()
        if engine.swarm().get("LocalNodeState") != "active":
            _make_swarm(engine)
        try:
            service = _create_service(engine, self.facts, settings)
        except docker.errors.APIError as error:
            raise DeploymentError(f"the engine refused the service: {error.explanation or error}") from error
        _wait_for_tasks(service, self.facts.replicas, settings.start_timeout_s)
        said = settings.service
        # A task of a service without a health check runs before it answers.
        answer_s = settings.start_timeout_s if said.container.healthcheck is None else ANSWER_S
        until_ready(
            self.facts.url(settings), said, answer_s, _why_no_answer, partial(_why_not_reached, engine, said.port)
        )
        containers = f"docker ps --filter label=com.docker.swarm.service.name={NAME}"
        return Service(
            f"{SWARM_SERVICE}:{NAME}",
            lambda to: _copy_metrics(engine, said, to),
            f"in each replica's container; list them with {containers}, "
            f"copy one file with docker cp CONTAINER:{said.metrics.folder or 'FOLDER'}/{METRICS_FILE} .",
            _limits_of(service),
            gone=_Watch(engine, service).why_gone,
            last_words=lambda: _last_words(engine),
        )

    def log(self, folder: Path) -> str:
        return log_of(_containers(connect()))

    def remove(self, settings: Settings) -> list[str]:
        engine = connect()
        removed = []
        try:
            service = _find(engine)
            if service is not None and is_ours(_labels_of(service)):
                service.remove()
                removed.append(f"service {NAME}")
                if not until_true(lambda: not _containers(engine), settings.service.container.stop_s + 20):
                    raise DeploymentError(f"containers of {NAME} are still there; try docker ps and docker rm -f")
        finally:
            removed += _leave_own_swarm(engine)
        return removed

    def why_another_has_it(self) -> str | None:
        return _why_another_has_service(connect())


def _why_not_pinned(settings: Settings) -> str | None:
    if settings.service_cpus is None:
        return None
    return (
        f"Swarm has no option to pin its replicas to the processors {settings.service_cpus}; "
        "leave service_cpus out, or leave Swarm out (--only), and run again"
    )


def why_no_mesh(engine: Engine) -> str | None:
    """Why Swarm's routing mesh can't work here. None if nothing that can be known beforehand prevents it."""
    swarm = engine.swarm()
    state = swarm.get("LocalNodeState", "inactive")
    if state == "active" and not swarm.get("ControlAvailable"):
        return "this engine is a worker of a swarm; run Fourfold against a manager"
    if state not in ("active", "inactive"):
        return f"this engine's part in its swarm is '{state}'; repair that (docker info) and run again"
    same_kernel = not engine.is_remote and platform.system() == "Linux" and engine.kernel == platform.release()
    if same_kernel and not Path("/proc/net", IPVS).exists() and not _has_module(IPVS):
        return (
            f"this kernel ({engine.kernel}) has no IPVS, with which Swarm's routing mesh balances; "
            f"load or install the module {IPVS}, or run on another machine"
        )
    return None


def _has_module(name: str) -> bool:
    """Whether the kernel can load a module (the engine loads ip_vs itself when a service is published)."""
    modinfo = shutil.which("modinfo", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if modinfo is None:
        return False
    return subprocess.run([modinfo, name], env=for_python(), capture_output=True, check=False).returncode == 0


def _why_name_is_taken(engine: Engine) -> str | None:
    """Which service has the name already, and how to remove it. None if there is none."""
    service = _find(engine)
    if service is None:
        return None
    if is_ours(_labels_of(service)):
        return still_there(f"service {NAME}", "swarm-1")
    return _why_another_has_service(engine) or (
        f"there is a Swarm service named {NAME} that Fourfold did not make; "
        f"remove it (docker service rm {NAME}) and run again"
    )


def _why_another_has_service(engine: Engine) -> str | None:
    """Which other checkout has the service, or made the swarm, and how to remove that. None if none did."""
    service = _find(engine)
    whose = service and why_not_ours(_labels_of(service), f"service {NAME}", "swarm-1", f"docker service rm {NAME}")
    return whose or why_not_ours(
        _swarm_labels(engine), "the swarm that this engine is in", "swarm-1", "docker swarm leave --force"
    )


def _create_service(engine: Engine, facts: Facts, settings: Settings) -> Any:
    said, confined = settings.service, settings.service.container
    tmp = Mount("/tmp", None, type="tmpfs", tmpfs_size=TMP_BYTES)  # noqa: S108  in the container
    named = {} if said.replica_variable is None else {said.replica_variable: "{{.Service.Name}}.{{.Task.Slot}}"}
    return engine.client.services.create(
        with_tag(settings.image or ""),  # as the docker command does: else its `service scale` would see a new image
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
        restart_policy=RestartPolicy("any", delay=2 * SECOND_NS),
        update_config=UpdateConfig(parallelism=1, order="start-first", monitor=MONITOR_NS, failure_action="rollback"),
        rollback_config=RollbackConfig(parallelism=1, order="start-first", monitor=MONITOR_NS),
        healthcheck=healthcheck(confined),
        init=True,
        stop_signal=STOP_SIGNAL,
        stop_grace_period=confined.stop_s * SECOND_NS,
    )


def _wait_for_tasks(service: Any, replicas: int, seconds: float) -> None:
    """
    Raises:
        DeploymentError: some do not run within this time.
    """
    if until_true(lambda: len(_running_tasks(service)) == replicas, seconds):
        return
    raise DeploymentError(
        f"{len(_running_tasks(service))} of {replicas} replicas run after {seconds:g} s: "
        f"{_last_task(service)}; try docker service ps --no-trunc {NAME}"
    )


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


def _limits_of(service: Any) -> Limits:
    """Each replica's limits as the swarm knows them. Its containers may be on nodes that can't be asked here."""
    service.reload()
    said = service.attrs["Spec"]["TaskTemplate"]["Resources"]["Limits"]
    cpus, memory_bytes = said.get("NanoCPUs"), said.get("MemoryBytes")
    return Limits(cpus=cpus / CPU_NS if cpus else None, memory_bytes=memory_bytes or None)


def _make_swarm(engine: Engine) -> None:
    had_gateway = bool(engine.client.networks.list(names=[GATEWAY]))
    # Loopback only: this swarm is for one machine, and nobody else may join it.
    address = None if engine.is_remote else LOOPBACK
    try:
        engine.client.swarm.init(
            advertise_addr=address,
            listen_addr="0.0.0.0:2377" if address is None else f"{address}:2377",
            labels=labels("swarm") | {HAD_GATEWAY: "yes" if had_gateway else "no"},
        )
    except docker.errors.APIError as error:
        raise DeploymentError(f"the engine made no swarm: {error.explanation or error}") from error


def _leave_own_swarm(engine: Engine) -> list[str]:
    """Leave the swarm if this checkout made it, and remove the bridge that came with it."""
    made_with = _swarm_labels(engine)
    if not is_ours(made_with):
        return []
    if others := _others_in_swarm(engine):
        raise DeploymentError(
            f"the swarm that Fourfold made now holds what it did not make ({', '.join(others)}), and stays; "
            "when that is gone, leave it (docker swarm leave --force)"
        )
    engine.client.swarm.leave(force=True)
    if made_with.get(HAD_GATEWAY) == "no":
        for network in engine.client.networks.list(names=[GATEWAY]):
            if network.name == GATEWAY:
                network.remove()
    return ["the swarm that Fourfold made"]


def _others_in_swarm(engine: Engine) -> list[str]:
    """What somebody has added to the swarm and would lose: services, secrets, configs, nodes."""
    client = engine.client
    held = [f"service {service.name}" for service in client.services.list()]
    held += [f"secret {secret.name}" for secret in client.secrets.list()]
    held += [f"config {config.name}" for config in client.configs.list()]
    nodes = len(client.nodes.list())
    return held + ([f"{nodes} nodes"] if nodes > 1 else [])


def _find(engine: Engine) -> Any:
    if not engine.swarm().get("ControlAvailable"):
        return None
    found = engine.client.services.list(filters={"name": NAME})
    return next((service for service in found if service.name == NAME), None)


def _labels_of(service: Any) -> dict[str, str]:
    return service.attrs["Spec"].get("Labels") or {}


def _swarm_labels(engine: Engine) -> dict[str, str]:
    """The labels of the swarm that this engine manages; empty if it manages none."""
    if not engine.swarm().get("ControlAvailable"):
        return {}
    engine.client.swarm.reload()
    return engine.client.swarm.attrs["Spec"].get("Labels") or {}


def _running_tasks(service: Any) -> list[dict[str, Any]]:
    tasks = service.tasks(filters={"desired-state": "running"})
    return [task for task in tasks if task["Status"]["State"] == "running"]


class _Watch:
    """Watches whether a service still runs, and remembers when one of its tasks ran last."""

    def __init__(self, engine: Engine, service: Any) -> None:
        self._engine = engine
        self._service = service
        self._ran_at = time.monotonic()

    def why_gone(self) -> str | None:
        """Why the service no longer runs, with its last words. None while it runs, or may run again soon."""
        try:
            if _running_tasks(self._service):
                self._ran_at = time.monotonic()
                return None
            since_s = time.monotonic() - self._ran_at
            if since_s < GONE_S:
                return None
            return (
                f"no replica of service {NAME} has run for {since_s:.0f} s: {_last_task(self._service)}; "
                f"last words: {_last_words(self._engine)}"
            )
        except docker.errors.NotFound:
            return f"service {NAME} was removed"


def _last_words(engine: Engine) -> str:
    """The last line of the newest replica on this engine; of one that has ended, if there is one."""
    containers = _containers(engine)  # the newest first
    ended = [container for container in containers if container.status != "running"]
    return last_words((ended or containers)[0]) if containers else "(none on this engine)"


def _last_task(service: Any) -> str:
    """The state and the error of the newest task, or of the newest one that has an error."""
    tasks = sorted(service.tasks(), key=lambda task: ("Err" in task["Status"], str(task["UpdatedAt"])))
    if not tasks:
        return "no task was made"
    status = tasks[-1]["Status"]
    return f"the last task is {status['State']} ({tidy(status.get('Err') or status.get('Message', 'no message'))})"


def _containers(engine: Engine) -> list[Any]:
    filters = {"label": f"com.docker.swarm.service.name={NAME}"}
    return list(engine.client.containers.list(all=True, filters=filters, ignore_removed=True))


def _why_not_reached(engine: Engine, port: int) -> str | None:
    """Why a replica on this engine is not reached at the service's port. None if nothing shows that."""
    running = [container for container in _containers(engine) if container.status == "running"]
    return next((reason for each in running if (reason := why_nobody_reaches(each, port))), None)


def _copy_metrics(engine: Engine, service: ServiceFile, to: Path) -> list[Path]:
    """The files of those replicas that run on this engine."""
    files: list[Path] = []
    for container in _containers(engine):
        if container.status == "running":
            replica = re.sub(r"\.[a-z0-9]{25}$", "", container.name)
            files += copy_metrics(container, service, to / f"{Path(METRICS_FILE).stem}.{replica}.csv")
    return sorted(files)
