"""The service with Docker Compose: docker-compose.yml of this project, as its users run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from addresses import LOOPBACK
from infra.deployments.confinement import user
from infra.deployments.containers import last_words, limits_of, why_gone
from infra.deployments.cpus import why_containers_not_pinned
from infra.deployments.deployment import Facts
from infra.deployments.docker_engine import Engine, connect, why_docker_fails
from infra.deployments.ownership import LABEL, is_ours, labels, still_there, why_not_ours
from infra.deployments.preflight import why_no_room, why_port_is_taken
from infra.deployments.service import Service, live_file
from infra.deployments.settings import Settings
from infra.deployments.waiting import until_healthy
from infra.environment import for_docker
from infra.errors import DeploymentError
from infra.last_words import last_line
from infra.paths import ROOT
from runfiles.events import COMPOSE_SERVICE

PROJECT = "fourfold-bench"
SERVICE = "llm-inference"
METRICS_FILE_MAKER = "metrics-file"
METRICS_FILE = "compose_inference_metrics.csv"
DOWN_BY_HAND = f"docker compose --project-name {PROJECT} down --volumes"


@dataclass(frozen=True)
class Compose:
    """The Compose project, with one container of the service."""

    facts: Facts

    def why_not(self, settings: Settings) -> str | None:
        engine = connect()
        left = bool(_containers(engine))
        return (
            _why_another_has_project(engine)
            or (still_there(f"Compose project {PROJECT}", self.facts.name) if left else None)
            or why_no_compose(engine)
            or why_containers_not_pinned(settings.service_cpus, engine)
            or why_no_room(self.facts, engine)
            or why_port_is_taken([LOOPBACK], self.facts.port(settings), engine)
        )

    def start(self, settings: Settings, folder: Path) -> Service:
        engine = connect()
        metrics = live_file(folder, METRICS_FILE)
        _compose(settings, self.facts.port(settings), metrics.parent, "up", "--detach", "--no-build")

        def evidence() -> str | None:
            for container in _containers(engine, SERVICE):
                if reason := why_gone(container):
                    raise DeploymentError(reason)
                return f"container {container.name} is {container.status}; its last line was: {last_words(container)}"
            return "Compose made no container"

        until_healthy(self.facts.url(settings), settings.start_timeout_s, evidence)

        (container,) = _containers(engine, SERVICE)
        return Service(
            f"{COMPOSE_SERVICE}:{PROJECT}/{SERVICE}",
            lambda to: [Path(shutil.copy(metrics, to / METRICS_FILE))],
            str(metrics),
            limits_of(container),
            gone=lambda: why_gone(container),
            last_words=lambda: last_words(container),
        )

    def remove(self, settings: Settings) -> list[str]:
        found = _labels_found(connect())
        if not found or not all(map(is_ours, found)):
            return []
        _compose(settings, self.facts.port(settings), ROOT, "down", "--volumes")
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


def _override(service_cpus: str | None) -> str:
    """What Compose reads after docker-compose.yml. That file has no labels and no CPU set, as users also start it by
    themselves."""
    ours = {"labels": labels("compose")}
    pinned = {} if service_cpus is None else {"cpuset": service_cpus}
    added = {"services": {SERVICE: ours | pinned, METRICS_FILE_MAKER: ours}, "networks": {"default": ours}}
    return json.dumps(added, ensure_ascii=False).replace("$", "$$")  # Compose takes a $ for a variable


def _containers(engine: Engine, service: str | None = None) -> list[Any]:
    """The project's containers, or those of one of its services."""
    labels = [f"com.docker.compose.project={PROJECT}"] + ([f"com.docker.compose.service={service}"] if service else [])
    return list(engine.client.containers.list(all=True, filters={"label": labels}, ignore_removed=True))


def _compose(settings: Settings, port: int, metrics_folder: Path, *arguments: str) -> None:
    environment = for_docker() | {
        "INFERENCE_IMAGE": settings.image,
        "PUBLISHED_PORT": str(port),
        "METRICS_FOLDER": str(metrics_folder.resolve()),
        "SERVICE_USER": user(),
        "CPU_LIMIT": str(settings.cpus or 0),
        "MEMORY_LIMIT": str(settings.memory_bytes),
    }
    done = subprocess.run(
        # The folder is given because Compose would take it from $PWD, which may name it by a symlink.
        [
            *("docker", "compose", "--project-directory", str(ROOT), "--file", str(ROOT / "docker-compose.yml")),
            # No .env file: one in this folder would set what is not set here, such as another image.
            *("--file", "-", "--project-name", PROJECT, "--env-file", os.devnull, "--progress", "plain", *arguments),
        ],
        cwd=ROOT,
        start_new_session=True,  # Ctrl-C is for the experiment; Compose has to finish what it has begun to remove
        env=environment,
        input=_override(settings.service_cpus),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise DeploymentError(f"docker compose {arguments[0]} failed: {last_line(done.stderr or done.stdout)}")
