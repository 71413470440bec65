"""A Compose project of Fourfold's own: what is in it, whose it is, and the docker compose command on it.

Also what the Compose file and the stack file of a user have in common: the docker command that takes it, variables for
it, and labels on what is in it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template
from tempfile import TemporaryDirectory
from typing import Any

from infra.deployments.change import Changeable, changeable_containers, unpause
from infra.deployments.confinement import user
from infra.deployments.docker_engine import Engine, connect
from infra.deployments.ownership import LABEL, is_ours, labels, still_there, why_not_ours
from infra.deployments.settings import Settings
from infra.environment import for_docker
from infra.errors import DeploymentError
from infra.last_words import last_line
from runfiles.events import COMPOSE_SERVICE

Model = dict[str, Any]
"""A Compose file, as JSON."""


@dataclass(frozen=True)
class Project:
    """One project. ``kind`` is the deployment's, for the labels; ``down`` is its name for ``infra down``."""

    name: str
    kind: str
    down: str

    @property
    def down_by_hand(self) -> str:
        return f"docker compose --project-name {self.name} down --volumes"

    def containers(self, engine: Engine, service: str | None = None) -> list[Any]:
        """The project's containers, or those of one of its services."""
        labels = [f"com.docker.compose.project={self.name}"]
        labels += [f"com.docker.compose.service={service}"] if service else []
        return list(engine.client.containers.list(all=True, filters={"label": labels}, ignore_removed=True))

    def running(self, engine: Engine, service: str) -> Changeable | None:
        """Those containers of one of its services that this checkout made and that run; None: there are none."""
        own = [each for each in self.containers(engine, service) if is_ours(each.labels)]
        return changeable_containers(f"{COMPOSE_SERVICE}:{self.name}/{service}", own)

    def why_still_there(self, engine: Engine) -> str | None:
        """Why it can't be started: containers of it are left. None if there are none."""
        return still_there(f"Compose project {self.name}", self.down) if self.containers(engine) else None

    def why_another_has_it(self, engine: Engine) -> str | None:
        """Who else has a container or a network of the project, and how to remove that. None if nobody has.

        What has no label of Fourfold's was made with Compose by hand, or by a version that did not label things yet.
        """
        for found in self._labels_found(engine):
            if LABEL not in found:
                folder = found.get("com.docker.compose.project.working_dir", "")
                return (
                    f"there is a Compose project named {self.name} that Fourfold did not make"
                    f"{folder and f', in the folder {folder}'}; if nobody uses it, remove it by hand: "
                    f"{self.down_by_hand}"
                )
            if reason := why_not_ours(found, f"Compose project {self.name}", self.down, self.down_by_hand):
                return reason
        return None

    def up(self, model: Model, *, again: bool = False) -> None:
        """Start what is in a model, with Fourfold's labels on it. ``again``: make all containers anew, though they run.

        Raises:
            DeploymentError: Compose could not.
        """
        ours = without_variables(labels(self.kind))
        for each in model["services"].values():
            each.pop("container_name", None)  # names are the engine's: another project may have this one
            each["labels"] = each.get("labels", {}) | ours
        model.setdefault("networks", {}).setdefault("default", {})
        label_all(model["networks"], ours)
        anew = ["--force-recreate"] if again else []
        self.run(["--file", "-", "up", "--detach", "--no-build", *anew], model)

    def remove(self) -> list[str]:
        """Remove the project if this checkout made it."""
        found = self._labels_found(connect())
        if not found or not all(map(is_ours, found)):
            return []
        unpause(self.containers(connect()))
        self.run(["down", "--volumes", "--remove-orphans"])
        return [f"Compose project {self.name}"]

    def run(self, arguments: list[str], model: Model | None = None, variables: Mapping[str, str] | None = None) -> str:
        """Run a command of Docker Compose on the project. It reads ``model`` if it is told to read ``-``.

        Returns what it prints.

        Raises:
            DeploymentError: it failed.
        """
        command = next(word for word in arguments if word in ("config", "up", "down"))
        own = ["compose", "--project-name", self.name, "--progress", "plain"]
        with TemporaryDirectory(prefix="fourfold-") as empty:  # Compose would take a file of the folder that it is in
            return run_docker([*own, *arguments], f"docker compose {command}", model, variables, empty)

    def _labels_found(self, engine: Engine) -> list[dict[str, str]]:
        """The labels of everything in the project. A run that was killed may have left only a network."""
        networks = engine.client.networks.list(filters={"label": f"com.docker.compose.project={self.name}"})
        containers = [container.labels for container in self.containers(engine)]
        return [*containers, *(network.attrs.get("Labels") or {} for network in networks)]


def run_docker(
    arguments: Sequence[str],
    name: str,
    model: Model | None = None,
    variables: Mapping[str, str] | None = None,
    folder: str | None = None,
) -> str:
    """Run a docker command that changes or reads what a file describes. Returns what it prints.

    Args:
        arguments: what follows ``docker``.
        name: how the command is called in the error.
        model: what it reads if it is told to read ``-``.
        variables: those for the user's file.
        folder: the one that it runs in; None: the present one.

    Raises:
        DeploymentError: it failed.
    """
    done = subprocess.run(
        ["docker", *arguments],
        cwd=folder,
        start_new_session=True,  # Ctrl-C is for the experiment; Docker has to finish what it began to remove
        env=for_docker() | dict(variables or {}) | ({} if folder is None else {"PWD": folder}),
        input="" if model is None else json.dumps(model, ensure_ascii=False),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise DeploymentError(f"{name} failed: {last_line(done.stderr or done.stdout)}")
    return done.stdout


def filled(environment: Mapping[str, str], settings: Settings, port: int, **more: str) -> dict[str, str]:
    """The variables for a user's file, with the values of the experiment in place of ``$image`` and the like."""
    values = {
        "image": settings.image or "",
        "port": str(port),
        "user": user(settings.service.container) or "",
        "cpus": str(settings.cpus or 0),
        "memory_bytes": str(settings.memory_bytes),
    } | more
    return {name: Template(text).safe_substitute(values) for name, text in environment.items()}


def label_all(things: Model, ours: Mapping[str, str]) -> None:
    """Put labels on the networks, volumes or other things of a file, but for those that exist without it."""
    for name, thing in things.items():
        if not (thing or {}).get("external"):
            things[name] = (thing or {}) | {"labels": (thing or {}).get("labels", {}) | ours}


def without_variables(value: Any) -> Any:
    """The same with each dollar written twice: Compose takes one for a variable."""
    if isinstance(value, dict):
        return {key: without_variables(content) for key, content in value.items()}
    if isinstance(value, list):
        return [without_variables(content) for content in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
