"""A stack of Fourfold's own in a swarm: what is in it, whose it is, and how it is deployed and removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import docker

from infra.deployments.compose_project import Model, label_all, run_docker, without_variables
from infra.deployments.confinement import SECOND_NS
from infra.deployments.docker_engine import Engine, why_docker_fails
from infra.deployments.ownership import LABEL, is_ours, labels, still_there, why_not_ours
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError

STOP_S = 10.0
"""What Docker gives a container to end, if the file says nothing else."""

GRACE_S = 20.0
"""So much later than a container has to end, it is gone."""


@dataclass(frozen=True)
class Stack:
    """One stack. Docker puts ``name`` before the name of each thing in it. ``kind`` is for the labels of what is in it;
    ``down`` is what ``infra down`` takes to remove it."""

    name: str
    kind: str
    down: str

    @property
    def down_by_hand(self) -> str:
        return f"docker stack rm {self.name}"

    @property
    def label(self) -> str:
        """Docker's label on each thing in the stack."""
        return f"com.docker.stack.namespace={self.name}"

    def service_name(self, service: str) -> str:
        """What Swarm calls a service of the stack."""
        return f"{self.name}_{service}"

    def why_still_there(self, engine: Engine) -> str | None:
        """Why the stack can't be deployed: this checkout's is left. None if it is not."""
        found = self._deployed(engine)
        is_left = found and all(map(is_ours, map(labels_of, found)))
        return still_there(f"stack {self.name}", self.down) if is_left else None

    def why_another_has_it(self, engine: Engine) -> str | None:
        """Who else has something in a stack of this name, and how to remove that. None if nobody has."""
        for found in map(labels_of, self._deployed(engine)):
            if LABEL not in found:
                return (
                    f"there is a stack named {self.name} that Fourfold did not make; if nobody uses it, remove it by "
                    f"hand: {self.down_by_hand}"
                )
            if reason := why_not_ours(found, f"stack {self.name}", self.down, self.down_by_hand):
                return reason
        return None

    def labelled(self, model: Model) -> Model:
        """The same with Fourfold's labels on each thing that Docker makes of it."""
        ours = without_variables(labels(self.kind))
        for service in model["services"].values():
            service["labels"] = service.get("labels", {}) | ours
            of_service = service.get("deploy", {})
            service["deploy"] = of_service | {"labels": of_service.get("labels", {}) | ours}
        model.setdefault("networks", {}).setdefault("default", {})
        for kind in ("networks", "volumes", "configs", "secrets"):
            label_all(model.get(kind, {}), ours)
        return model

    def deploy(self, model: Model) -> None:
        """Deploy what a model describes. The engine is a manager of a swarm.

        Raises:
            DeploymentError: Docker refused it; what was made by then is still there.
        """
        # The image is the one on the engine, not a newer one that a registry may have.
        arguments = ["stack", "deploy", "--detach", "--resolve-image", "never", "--compose-file", "-", self.name]
        run_docker(arguments, "docker stack deploy", model)

    def remove(self, engine: Engine) -> list[str]:
        """Remove what this checkout made of the stack, and wait until its containers here have ended. Returns what it
        was.

        Raises:
            DeploymentError: something is still there.
        """
        services = [service for service in self.services(engine) if is_ours(labels_of(service))]
        stop_s = max(map(_stop_s, services), default=STOP_S)
        for service in services:
            service.remove()
        if not until_true(lambda: not self.containers(engine), stop_s + GRACE_S):
            raise DeploymentError(f"containers of stack {self.name} are still there; try docker ps and docker rm -f")
        volumes = engine.client.volumes.list(filters={"label": self.label})
        others = [thing for thing in (*self._others(engine), *volumes) if is_ours(labels_of(thing))]
        for thing in others:
            self._remove(thing, stop_s)
        return [f"stack {self.name}"] if services or others else []

    def services(self, engine: Engine) -> list[Any]:
        """The services in the stack, whoever made it."""
        if not engine.swarm().get("ControlAvailable"):
            return []
        return list(engine.client.services.list(filters={"label": self.label}))

    def containers(self, engine: Engine) -> list[Any]:
        """The containers on this engine of the stack's services that are ours."""
        filters = {"label": [self.label, LABEL]}
        found = engine.client.containers.list(all=True, filters=filters, ignore_removed=True)
        return [container for container in found if is_ours(container.labels)]

    def _deployed(self, engine: Engine) -> list[Any]:
        """All things in the stack but its volumes, which stay when somebody removes a stack."""
        return [*self.services(engine), *self._others(engine)]

    def _others(self, engine: Engine) -> list[Any]:
        """The stack's configs, secrets and networks."""
        if not engine.swarm().get("ControlAvailable"):
            return []
        client, filters = engine.client, {"label": self.label}
        kinds = (client.configs, client.secrets, client.networks)
        return [thing for kind in kinds for thing in kind.list(filters=filters)]

    def _remove(self, thing: Any, stop_s: float) -> None:
        """Remove a config, a secret, a network or a volume. The swarm may take a moment to see that nobody uses it: on
        other nodes, until the containers there have ended.

        Raises:
            DeploymentError: it can't be removed.
        """
        why = ""

        def is_removed() -> bool:
            nonlocal why
            try:
                thing.remove()
            except docker.errors.NotFound:
                pass
            except docker.errors.APIError as error:
                why = str(error.explanation or error)
                return False
            return True

        if not until_true(is_removed, stop_s + GRACE_S):
            raise DeploymentError(f"{thing.name} of stack {self.name} can't be removed: {why}; try {self.down_by_hand}")


def why_no_stacks() -> str | None:
    """Why the docker command can't deploy stacks as Fourfold does. None if it can."""
    if reason := why_docker_fails("stack", "deploy", "--detach", "--help"):
        return (
            f"docker stack deploy --detach is not there ({reason}); "
            "install the docker command of version 26 or newer and run again"
        )
    return None


def labels_of(thing: Any) -> dict[str, str]:
    """Swarm's things have their labels in their specification, networks and volumes beside their name."""
    return thing.attrs.get("Spec", thing.attrs).get("Labels") or {}


def _stop_s(service: Any) -> float:
    said = service.attrs["Spec"]["TaskTemplate"]["ContainerSpec"].get("StopGracePeriod")
    return STOP_S if said is None else said / SECOND_NS
