"""The service with Docker Compose: with the Compose file that its service file names, or with one that Fourfold writes.

Fourfold's own service has docker-compose.yml, as its users run it. Compose resolves the file. Then Fourfold adds its
labels, the port and the CPU set.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Any

from addresses import LOOPBACK
from infra.deployments.confinement import PIDS, TMP_BYTES, user
from infra.deployments.containers import METRICS_FILE as DOCKER_METRICS_FILE
from infra.deployments.containers import (
    copy_metrics,
    environment_of,
    last_words,
    limits_of,
    metrics_path,
    why_gone,
    why_nobody_reaches,
)
from infra.deployments.cpus import why_containers_not_pinned
from infra.deployments.deployment import Facts
from infra.deployments.docker_engine import Engine, connect, why_docker_fails
from infra.deployments.ownership import LABEL, is_ours, labels, still_there, why_not_ours
from infra.deployments.preflight import why_no_room, why_no_service_image, why_port_is_taken
from infra.deployments.ready import until_ready
from infra.deployments.service import Service, live_file
from infra.deployments.settings import Settings
from infra.environment import for_docker
from infra.errors import DeploymentError
from infra.last_words import last_line
from runfiles.events import COMPOSE_SERVICE
from servicefile.service_file import ComposeFile, ServiceFile

PROJECT = "fourfold-bench"
METRICS_FILE = "compose_inference_metrics.csv"
OWN_SERVICE = "service"
"""The name of the service in a Compose file that Fourfold writes."""

DOWN_BY_HAND = f"docker compose --project-name {PROJECT} down --volumes"


@dataclass(frozen=True)
class Compose:
    """The Compose project, with one container of the service that answers."""

    facts: Facts

    def why_not(self, settings: Settings) -> str | None:
        engine = connect()
        left = bool(_containers(engine))
        return (
            why_no_service_image(settings)
            or _why_another_has_project(engine)
            or (still_there(f"Compose project {PROJECT}", self.facts.name) if left else None)
            or why_no_compose(engine)
            or why_containers_not_pinned(settings.service_cpus, engine)
            or why_no_room(self.facts, engine)
            or why_port_is_taken([LOOPBACK], self.facts.port(settings), engine)
        )

    def start(self, settings: Settings, folder: Path) -> Service:
        engine = connect()
        metrics = live_file(folder, METRICS_FILE)
        service = settings.service
        model = _model(settings, self.facts.port(settings), metrics.parent)
        _compose(["--file", "-", "up", "--detach", "--no-build"], model)
        answering = _answering(service)

        def container() -> Any:
            return next(iter(_containers(engine, answering)), None)

        def evidence() -> str | None:
            found = container()
            if found is None:
                return "Compose made no container"
            if reason := why_gone(found):
                raise DeploymentError(reason)
            return f"container {found.name} is {found.status}; its last line was: {last_words(found)}"

        def why_not_reached() -> str | None:
            found = container()
            return found and why_nobody_reaches(found, service.port)

        until_ready(self.facts.url(settings), service, settings.start_timeout_s, evidence, why_not_reached)
        (running,) = _containers(engine, answering)
        return Service(
            f"{COMPOSE_SERVICE}:{PROJECT}/{answering}",
            lambda to: _copy_metrics(service, running, metrics, to / METRICS_FILE),
            _metrics_place(service, running, metrics),
            limits_of(running),
            gone=lambda: why_gone(running),
            last_words=lambda: last_words(running),
        )

    def remove(self, settings: Settings) -> list[str]:
        found = _labels_found(connect())
        if not found or not all(map(is_ours, found)):
            return []
        _compose(["down", "--volumes", "--remove-orphans"])
        return [f"Compose project {PROJECT}"]

    def why_another_has_it(self) -> str | None:
        return _why_another_has_project(connect())


def why_no_compose(engine: Engine) -> str | None:
    """Why Docker Compose can't be used with this engine. None if it can."""
    if engine.is_remote:
        return (
            f"Compose maps its metrics file to a file of this machine, and the engine is at {engine.endpoint}; "
            "run Fourfold on the engine's own machine"
        )
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


def _why_another_has_project(engine: Engine) -> str | None:
    """Who else has a container or a network of the project, and how to remove that. None if nobody has.

    What has no label of Fourfold's was made with Compose by hand, or by a version that did not label things yet.
    """
    for found in _labels_found(engine):
        if LABEL not in found:
            folder = found.get("com.docker.compose.project.working_dir", "")
            return (
                f"there is a Compose project named {PROJECT} that Fourfold did not make"
                f"{folder and f', in the folder {folder}'}; if nobody uses it, remove it by hand: {DOWN_BY_HAND}"
            )
        if reason := why_not_ours(found, f"Compose project {PROJECT}", "compose", DOWN_BY_HAND):
            return reason
    return None


def _labels_found(engine: Engine) -> list[dict[str, str]]:
    """The labels of everything in the project. A run that was killed may have left only a network."""
    networks = engine.client.networks.list(filters={"label": f"com.docker.compose.project={PROJECT}"})
    containers = [container.labels for container in _containers(engine)]
    return [*containers, *(network.attrs.get("Labels") or {} for network in networks)]


def _answering(service: ServiceFile) -> str:
    """The name of the service that answers, in the Compose file."""
    return OWN_SERVICE if service.compose is None else service.compose.service


def _model(settings: Settings, port: int, metrics_folder: Path) -> dict[str, Any]:
    """What Compose is to start: its file, with Fourfold's labels, the port and the CPU set.

    Raises:
        DeploymentError: the Compose file is none, or lacks the service.
    """
    service = settings.service
    model = (
        _written(settings) if service.compose is None else _resolved(service.compose, settings, port, metrics_folder)
    )
    ours = labels("compose")
    answering = model["services"].get(_answering(service))
    if answering is None:
        there = ", ".join(model["services"]) or "none"
        raise DeploymentError(
            f"there is no service {_answering(service)} in the Compose file, it has {there}; "
            "set service in [compose] of the service file"
        )
    answering.pop("build", None)
    answering["image"] = settings.image
    answering["ports"] = [
        {"mode": "ingress", "host_ip": LOOPBACK, "target": service.port, "published": str(port), "protocol": "tcp"}
    ]
    if settings.service_cpus is not None:
        answering["cpuset"] = settings.service_cpus
    for each in model["services"].values():
        each.pop("container_name", None)  # names are the engine's: another project may have this one
        each["labels"] = each.get("labels", {}) | ours
    networks = model.setdefault("networks", {})
    networks.setdefault("default", {})
    for name, network in networks.items():
        if not (network or {}).get("external"):
            networks[name] = (network or {}) | {"labels": (network or {}).get("labels", {}) | ours}
    return model


def _resolved(compose: ComposeFile, settings: Settings, port: int, metrics_folder: Path) -> dict[str, Any]:
    """The user's Compose file, as Compose understands it."""
    values = {
        "image": settings.image or "",
        "port": str(port),
        "user": user(settings.service.container) or "",
        "cpus": str(settings.cpus or 0),
        "memory_bytes": str(settings.memory_bytes),
        "metrics_folder": str(metrics_folder.resolve()),
    }
    variables = {name: Template(text).safe_substitute(values) for name, text in compose.environment.items()}
    file = ["--project-directory", str(compose.file.parent), "--file", str(compose.file)]
    if compose.environment:  # a .env file beside it would set what is not set here, such as another image
        file += ["--env-file", os.devnull]
    said = _compose([*file, "config", "--format", "json"], variables=variables)
    model: dict[str, Any] = json.loads(said)
    return model


def _written(settings: Settings) -> dict[str, Any]:
    """A Compose file for a service that has none."""
    service, confined = settings.service, settings.service.container
    limits: dict[str, Any] = {"memory": str(settings.memory_bytes)}
    if settings.cpus is not None:
        limits["cpus"] = str(settings.cpus)
    about: dict[str, Any] = {
        "image": settings.image,
        "environment": environment_of(service, METRICS_FILE),
        "init": True,
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
    if confined.healthcheck is not None:
        times = {"interval": "5s", "timeout": "10s", "retries": 6, "start_period": "120s"}
        about["healthcheck"] = {"test": ["CMD", *confined.healthcheck], **times}
    about["deploy"] = {"resources": {"limits": limits}}
    model: dict[str, Any] = _without_variables({"services": {OWN_SERVICE: about}})
    return model


def _volume(mount: str) -> dict[str, Any]:
    source, target, mode = mount.rsplit(":", 2)
    return {"type": "bind", "source": source, "target": target, "read_only": mode == "ro"}


def _without_variables(value: Any) -> Any:
    """The same with each dollar written twice: Compose takes one for a variable."""
    if isinstance(value, dict):
        return {key: _without_variables(content) for key, content in value.items()}
    if isinstance(value, list):
        return [_without_variables(content) for content in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def _copy_metrics(service: ServiceFile, container: Any, metrics: Path, to: Path) -> list[Path]:
    """The metrics file that the service has left in a folder of this machine, or has in its container."""
    if service.compose is None:
        return copy_metrics(container, service, to, METRICS_FILE)
    if service.compose.metrics_file is None:
        return copy_metrics(container, service, to)
    return [Path(shutil.copy(metrics.with_name(service.compose.metrics_file), to))]


def _metrics_place(service: ServiceFile, container: Any, metrics: Path) -> str:
    if service.compose is not None and service.compose.metrics_file is not None:
        return str(metrics.with_name(service.compose.metrics_file))
    name = METRICS_FILE if service.compose is None else DOCKER_METRICS_FILE
    path = metrics_path(container, service, name)
    return f"in the container; copy it with docker cp {container.name}:{path} ."


def _containers(engine: Engine, service: str | None = None) -> list[Any]:
    """The project's containers, or those of one of its services."""
    labels = [f"com.docker.compose.project={PROJECT}"] + ([f"com.docker.compose.service={service}"] if service else [])
    return list(engine.client.containers.list(all=True, filters={"label": labels}, ignore_removed=True))


def _compose(
    arguments: list[str], model: dict[str, Any] | None = None, variables: Mapping[str, str] | None = None
) -> str:
    """Run a command of Docker Compose on the project. It reads ``model`` if it is told to read ``-``.

    Returns what it prints.

    Raises:
        DeploymentError: it failed.
    """
    with TemporaryDirectory(prefix="fourfold-") as empty:  # Compose would take a file of the folder that it is in
        done = subprocess.run(
            ["docker", "compose", "--project-name", PROJECT, "--progress", "plain", *arguments],
            cwd=empty,
            start_new_session=True,  # Ctrl-C is for the experiment; Compose has to finish what it has begun to remove
            env=for_docker() | dict(variables or {}) | {"PWD": empty},
            input="" if model is None else json.dumps(model, ensure_ascii=False),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    if done.returncode != 0:
        command = next(word for word in arguments if word in ("config", "up", "down"))
        raise DeploymentError(f"docker compose {command} failed: {last_line(done.stderr or done.stdout)}")
    return done.stdout
