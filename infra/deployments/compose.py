"""The service with Docker Compose: docker-compose.yml of this project, as its users run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from infra.deployments.confinement import user
from infra.deployments.docker_engine import Engine
from infra.deployments.docker_run import last_words, limits_of, still_there, why_gone
from infra.deployments.ownership import LABEL, is_ours, labels, why_not_ours
from infra.deployments.service import Service
from infra.deployments.settings import Settings, live_file
from infra.deployments.waiting import until_healthy
from infra.environment import for_docker
from infra.errors import DeploymentError
from infra.last_words import last_line
from infra.paths import ROOT

PROJECT = "fourfold-bench"
SERVICE = "llm-inference"
METRICS_FILE_MAKER = "metrics-file"
METRICS_FILE = "compose_inference_metrics.csv"
DOWN_BY_HAND = f"docker compose --project-name {PROJECT} down --volumes"


def why_not(engine: Engine) -> str | None:
    whose = why_another_has_it(engine)
    return whose or (still_there(f"Compose project {PROJECT}") if _containers(engine) else None)


def why_another_has_it(engine: Engine) -> str | None:
    """Who else has something of this project, a container or a network, and how to remove that; None where nobody has.

    What carries no label of Fourfold's was made with Compose by hand, or by a version before there were labels.
    """
    for found in _labels_found(engine):
        if LABEL not in found:
            folder = found.get("com.docker.compose.project.working_dir", "")
            return (
                f"a Compose project named {PROJECT} is there that Fourfold did not make"
                f"{folder and f', in the folder {folder}'}; if nobody uses it, remove it by hand: {DOWN_BY_HAND}"
            )
        if reason := why_not_ours(found, f"Compose project {PROJECT}", "compose", DOWN_BY_HAND):
            return reason
    return None


def start(engine: Engine, settings: Settings, url: str, folder: Path) -> Service:
    metrics = live_file(folder, METRICS_FILE)
    _compose(settings, metrics.parent, "up", "--detach", "--no-build")

    def evidence() -> str | None:
        for one in _containers(engine, SERVICE):
            if reason := why_gone(one):
                raise DeploymentError(reason)
            return f"container {one.name} is {one.status}; its last line was: {last_words(one)}"
        return "Compose made no container"

    until_healthy(url, settings.start_timeout_s, evidence)

    (container,) = _containers(engine, SERVICE)
    return Service(
        f"compose:{PROJECT}/{SERVICE}",
        lambda to: [Path(shutil.copy(metrics, to / METRICS_FILE))],
        limits_of(container),
        gone=lambda: why_gone(container),
        last_words=lambda: last_words(container),
    )


def remove(engine: Engine, settings: Settings) -> list[str]:
    found = _labels_found(engine)
    if not found or not all(is_ours(one) for one in found):
        return []
    _compose(settings, ROOT, "down", "--volumes")
    return [f"Compose project {PROJECT}"]


def _labels_found(engine: Engine) -> list[dict[str, str]]:
    """The labels of all that is there of the project; a run that was killed may have left a network alone."""
    networks = engine.client.networks.list(filters={"label": f"com.docker.compose.project={PROJECT}"})
    return [*(one.labels for one in _containers(engine)), *(one.attrs.get("Labels") or {} for one in networks)]


def _override() -> str:
    """What Compose reads after docker-compose.yml, which knows nothing of checkouts: users start it by themselves."""
    ours = {"labels": labels("compose")}
    added = {"services": {SERVICE: ours, METRICS_FILE_MAKER: ours}, "networks": {"default": ours}}
    return json.dumps(added, ensure_ascii=False).replace("$", "$$")  # Compose takes a $ for a variable


def _containers(engine: Engine, service: str | None = None) -> list[Any]:
    """The project's containers, or those of one of its services."""
    labels = [f"com.docker.compose.project={PROJECT}"] + ([f"com.docker.compose.service={service}"] if service else [])
    return list(engine.client.containers.list(all=True, filters={"label": labels}, ignore_removed=True))


def _compose(settings: Settings, metrics_folder: Path, *arguments: str) -> None:
    environment = for_docker() | {
        "INFERENCE_IMAGE": settings.image,
        "PUBLISHED_PORT": str(settings.ports["compose"]),
        "METRICS_FOLDER": str(metrics_folder.resolve()),
        "SERVICE_USER": user(),
        "CPU_LIMIT": str(settings.cpus or 0),
        "MEMORY_LIMIT": str(settings.memory_bytes),
    }
    done = subprocess.run(
        # The folder is named, as Compose would take it from $PWD, where a symlink may lead to it under another name.
        [
            *("docker", "compose", "--project-directory", str(ROOT), "--file", str(ROOT / "docker-compose.yml")),
            # No .env file: one in this folder would set what is not set here, such as another image.
            *("--file", "-", "--project-name", PROJECT, "--env-file", os.devnull, "--progress", "plain", *arguments),
        ],
        cwd=ROOT,
        start_new_session=True,  # Ctrl-C is for the experiment; what it has begun to remove has to be gone
        env=environment,
        input=_override(),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise DeploymentError(f"docker compose {arguments[0]} failed: {last_line(done.stderr or done.stdout)}")
