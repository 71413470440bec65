"""The service with Docker Compose: docker-compose.yml of this project, as its users run it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from infra.container import last_words, limits_of, still_there, why_gone
from infra.engine import Engine
from infra.errors import DeploymentError
from infra.hardening import user
from infra.last_words import last_line
from infra.service import Service
from infra.settings import ROOT, Settings, live_file
from infra.waiting import until_healthy

PROJECT = "fourfold-bench"
SERVICE = "llm-inference"
METRICS_FILE = "compose_inference_metrics.csv"


def why_not(engine: Engine) -> str | None:
    for one in _containers(engine):
        if not _is_ours(one):
            return (
                f"a Compose project named {PROJECT} runs from another folder "
                f"({one.labels.get('com.docker.compose.project.working_dir')}); take it down there and run again"
            )
        return still_there(f"Compose project {PROJECT}")
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
    if not all(_is_ours(one) for one in _containers(engine)):
        return []
    networks = engine.client.networks.list(filters={"label": f"com.docker.compose.project={PROJECT}"})
    if not _containers(engine) and not networks:
        return []
    _compose(settings, ROOT, "down", "--volumes")
    return [f"Compose project {PROJECT}"]


def _is_ours(container: Any) -> bool:
    return Path(container.labels.get("com.docker.compose.project.working_dir", "/")).resolve() == ROOT


def _containers(engine: Engine, service: str | None = None) -> list[Any]:
    """The project's containers, or those of one of its services."""
    labels = [f"com.docker.compose.project={PROJECT}"] + ([f"com.docker.compose.service={service}"] if service else [])
    return list(engine.client.containers.list(all=True, filters={"label": labels}, ignore_removed=True))


def _compose(settings: Settings, metrics_folder: Path, *arguments: str) -> None:
    environment = os.environ | {
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
            *("--project-name", PROJECT, "--progress", "plain", *arguments),
        ],
        cwd=ROOT,
        start_new_session=True,  # Ctrl-C is for the experiment; what it has begun to remove has to be gone
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DeploymentError(f"docker compose {arguments[0]} failed: {last_line(done.stderr or done.stdout)}")
