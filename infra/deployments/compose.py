"""The service with Docker Compose: with the Compose file that its service file names, or with one that Fourfold writes.

Fourfold's own service has docker-compose.yml, as its users run it. Compose resolves the file. Then Fourfold adds its
labels, the port and the CPU set.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Any

from addresses import LOOPBACK
from infra.deployments.change import RESTART, Change, Changeable, Made, change_container
from infra.deployments.compose_project import Model, Project, filled, without_variables
from infra.deployments.confinement import PIDS, STOP_SIGNAL, TMP_BYTES, healthcheck, user
from infra.deployments.containers import METRICS_FILE as DOCKER_METRICS_FILE
from infra.deployments.containers import (
    copy_metrics,
    environment_of,
    last_error_of,
    last_words,
    limits_of,
    log_of,
    metrics_place,
    why_gone,
    why_nobody_reaches,
)
from infra.deployments.cpus import why_containers_not_pinned
from infra.deployments.deployment import Facts
from infra.deployments.docker_engine import Engine, connect, why_docker_fails
from infra.deployments.files_here import keep_metrics_there, why_model_uses_files_here
from infra.deployments.preflight import why_no_room, why_no_service_image, why_port_is_taken
from infra.deployments.reach import published_at, why_out_of_reach
from infra.deployments.ready import until_ready
from infra.deployments.service import Service, live_folder
from infra.deployments.settings import Settings
from infra.errors import DeploymentError
from runfiles.events import COMPOSE_SERVICE, UPDATE
from servicefile.service_file import ComposeFile, ServiceFile

PROJECT = Project("fourfold-bench", kind="compose", down="compose")
METRICS_FILE = "compose_inference_metrics.csv"
METRICS_FOLDER = "metrics_folder"
"""What a service file calls the folder of this machine for metrics files."""

OWN_SERVICE = "service"
"""The name of the service in a Compose file that Fourfold writes."""


@dataclass(frozen=True)
class Compose:
    """The Compose project, with one container of the service that answers."""

    facts: Facts

    def why_not(self, settings: Settings) -> str | None:
        engine = connect()
        return (
            why_no_service_image(settings)
            or PROJECT.why_another_has_it(engine)
            or PROJECT.why_still_there(engine)
            or why_no_compose(engine)
            or why_out_of_reach(self.facts, settings, engine)
            or why_compose_uses_files_here(PROJECT, settings, self.facts.port(settings), engine)
            or why_containers_not_pinned(settings.service_cpus, engine)
            or why_no_room(self.facts, engine)
            or why_port_is_taken([published_at(engine, self.facts, settings)], self.facts.port(settings), engine)
        )

    def start(self, settings: Settings, folder: Path) -> Service:
        engine = connect()
        metrics = live_folder(folder) / METRICS_FILE
        service = settings.service
        port = self.facts.port(settings)
        model = model_of(PROJECT, settings, port, metrics.parent)
        answering = answering_of(service)
        at = published_at(engine, self.facts, settings)
        model["services"][answering]["ports"] = [published(port, service.port, at)]
        if engine.is_remote:
            keep_metrics_there(model, answering, service, metrics.parent.resolve())
        PROJECT.up(model)

        def container() -> Any:
            return next(iter(PROJECT.containers(engine, answering)), None)

        def evidence() -> str | None:
            found = container()
            if found is None:
                return "Compose made no container"
            if reason := why_gone(found):
                raise DeploymentError(reason)
            return f"container {found.name} is {found.status}; its log says: {last_error_of(found)}"

        def why_not_reached() -> str | None:
            found = container()
            return found and why_nobody_reaches(found, service.port)

        def change(change: Change) -> Made:
            if change.action != UPDATE:
                return change_container(change, PROJECT.containers(engine, answering))
            PROJECT.up(model, again=True)
            return Made("", "docker compose up --force-recreate")

        until_ready(self.facts.url(settings), service, settings.start_timeout_s, evidence, why_not_reached)
        (running,) = PROJECT.containers(engine, answering)
        left_here = None if engine.is_remote else _left_in(metrics.parent, service)
        return Service(
            f"{COMPOSE_SERVICE}:{PROJECT.name}/{answering}",
            lambda to: _copy_metrics(service, running, left_here, to / METRICS_FILE),
            _metrics_place(service, running, left_here),
            limits_of(running),
            gone=lambda: why_gone(running),
            last_words=lambda: last_words(running),
            change=change,
            keep_files=lambda: _keep_metrics(service, running, metrics.parent) if engine.is_remote else None,
        )

    def log(self, folder: Path) -> str:
        return log_of(PROJECT.containers(connect()))

    def running(self, settings: Settings) -> Changeable | None:
        return PROJECT.running(connect(), answering_of(settings.service))

    def remove(self, settings: Settings) -> list[str]:
        return PROJECT.remove()

    def why_another_has_it(self) -> str | None:
        return PROJECT.why_another_has_it(connect())


def why_no_compose(engine: Engine) -> str | None:
    """Why Docker Compose can't be used with this engine. None if it can."""
    if shutil.which("docker") is None:
        return "no docker command on the PATH; install the Docker CLI with the Compose plugin and run again"
    if why_docker_fails("compose", "version") is not None:
        has_v1 = shutil.which("docker-compose") is not None
        return (
            "only Compose v1 (docker-compose) is there, which is no longer kept" if has_v1 else "there is no Compose"
        ) + "; install Compose v2 (the package docker-compose-plugin or docker-compose-v2) and run again"
    if reason := why_docker_fails("version"):
        return f"the docker command does not reach the engine at {engine.endpoint} ({reason}); check that and run again"
    return None


def why_compose_uses_files_here(project: Project, settings: Settings, port: int, engine: Engine) -> str | None:
    """Why the Compose file can't be used with an engine on another machine: it mounts files of this one. None if it
    can, or if the engine is here.

    Raises:
        DeploymentError: as ``model_of``.
    """
    if not engine.is_remote:
        return None
    with TemporaryDirectory(prefix="fourfold-") as folder:
        metrics_folder = Path(folder).resolve()
        model = model_of(project, settings, port, metrics_folder)
        return why_model_uses_files_here(model, settings, metrics_folder, engine)


def answering_of(service: ServiceFile) -> str:
    """The name of the service that answers, in the Compose file."""
    return OWN_SERVICE if service.compose is None else service.compose.service


def published(port: int, target: int, at: str = LOOPBACK) -> dict[str, Any]:
    """A port of a container, published at ``port`` of an IP address."""
    return {"mode": "ingress", "host_ip": at, "target": target, "published": str(port), "protocol": "tcp"}


def model_of(project: Project, settings: Settings, port: int, metrics_folder: Path) -> Model:
    """What Compose is to start: the user's file, or one that Fourfold writes, with the image and the CPU set of the
    service that answers, and no port of it. ``metrics_folder`` is made if the user's file is told of it.

    Raises:
        DeploymentError: the Compose file is none, or lacks the service.
    """
    service = settings.service
    if service.compose is None:
        model = _written(settings)
    else:
        model = _resolved(project, service.compose, settings, port, metrics_folder)
    answering = model["services"].get(answering_of(service))
    if answering is None and service.compose is not None:
        there = ", ".join(model["services"]) or "none"
        raise DeploymentError(
            f"there is no service {answering_of(service)} in {service.compose.file.name}, it has {there}; "
            "set service in [compose] of the service file"
        )
    answering.pop("build", None)
    answering.pop("ports", None)
    if settings.restarts:
        answering.setdefault("restart", RESTART["Name"])  # a policy of the user's file stays
    answering["image"] = without_variables(settings.image)
    if settings.service_cpus is not None:
        answering["cpuset"] = settings.service_cpus
    return model


def _resolved(project: Project, compose: ComposeFile, settings: Settings, port: int, metrics_folder: Path) -> Model:
    """The user's Compose file, as Compose understands it."""
    if any(METRICS_FOLDER in Template(text).get_identifiers() for text in compose.environment.values()):
        metrics_folder.mkdir(parents=True, exist_ok=True)
    variables = filled(compose.environment, settings, port, **{METRICS_FOLDER: str(metrics_folder.resolve())})
    file = ["--project-directory", str(compose.file.parent), "--file", str(compose.file)]
    if compose.environment:  # a .env file beside it would set what is not set here, such as another image
        file += ["--env-file", os.devnull]
    try:
        said = project.run([*file, "config", "--format", "json"], variables=variables)
    except DeploymentError as error:
        raise DeploymentError(
            f"{compose.file.name} can't be used: {error}; correct it, or the variables that it gets (environment in "
            "[compose] of the service file)"
        ) from error
    model: Model = json.loads(said)
    return model


def _written(settings: Settings) -> Model:
    """A Compose file for a service that has none."""
    service, confined = settings.service, settings.service.container
    limits: dict[str, Any] = {"memory": str(settings.memory_bytes)}
    if settings.cpus is not None:
        limits["cpus"] = str(settings.cpus)
    about: dict[str, Any] = {
        "image": settings.image,
        "environment": environment_of(service, METRICS_FILE),
        "init": True,
        "stop_signal": STOP_SIGNAL,
        "stop_grace_period": f"{confined.stop_s}s",
        "volumes": [_volume(mount) for mount in confined.mounts],
    }
    if confined.hardened:
        about |= {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
        limits["pids"] = PIDS
    if confined.read_only:
        about |= {"read_only": True, "tmpfs": [f"/tmp:size={TMP_BYTES // 1024**2}m"]}  # noqa: S108  in the container
        about["volumes"] += [{"type": "volume", "target": folder} for folder in confined.writable]
    if (runs_as := user(confined)) is not None:
        about["user"] = runs_as
    if (check := healthcheck(confined)) is not None:
        about["healthcheck"] = {
            "test": check["Test"],
            "interval": f"{check['Interval']}ns",
            "timeout": f"{check['Timeout']}ns",
            "retries": check["Retries"],
            "start_period": f"{check['StartPeriod']}ns",
        }
    about["deploy"] = {"resources": {"limits": limits}}
    model: Model = without_variables({"services": {OWN_SERVICE: about}})
    return model


def _volume(mount: str) -> dict[str, Any]:
    source, target, mode = mount.rsplit(":", 2)
    return {"type": "bind", "source": source, "target": target, "read_only": mode == "ro"}


def _left_in(folder: Path, service: ServiceFile) -> Path | None:
    """The metrics file that the user's Compose file leaves in a folder of this machine. None if it leaves none."""
    if service.compose is None or service.compose.metrics_file is None:
        return None
    return folder / service.compose.metrics_file


def _copy_metrics(service: ServiceFile, container: Any, left_here: Path | None, to: Path) -> list[Path]:
    """The metrics file that the service has left on this machine, or has in its container."""
    if left_here is not None:
        return [Path(shutil.copy(left_here, to))]
    return copy_metrics(container, service, to, _in_container(service))


def _metrics_place(service: ServiceFile, container: Any, left_here: Path | None) -> str | None:
    return metrics_place(container, service, _in_container(service)) if left_here is None else str(left_here)


def _in_container(service: ServiceFile) -> str:
    return METRICS_FILE if service.compose is None else DOCKER_METRICS_FILE


def _keep_metrics(service: ServiceFile, container: Any, folder: Path) -> None:
    """Copy the metrics file to where it would be if the engine were on this machine."""
    if (place := _left_in(folder, service)) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        copy_metrics(container, service, place, _in_container(service))
