"""The user's own stack file, which Fourfold deploys to Swarm under a name of its own.

Docker resolves the file. Then Fourfold sets image, number of replicas and published port of the service that
answers, and adds its labels.
"""

from __future__ import annotations

from typing import Any

import docker
import yaml

from infra.deployments.compose_project import Model, filled, label_all, run_docker, without_variables
from infra.deployments.confinement import SECOND_NS
from infra.deployments.containers import METRICS_FILE
from infra.deployments.docker_engine import Engine, why_docker_fails
from infra.deployments.images import with_tag
from infra.deployments.ownership import LABEL, is_ours, labels, still_there, why_not_ours
from infra.deployments.settings import Settings
from infra.deployments.swarm_nodes import Placement
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError
from runfiles.deployments import SWARM
from servicefile.service_file import StackFile

NAME = "fourfold-bench-stack"
"""The stack's name. Docker puts it before the name of each thing in the stack."""

IN_STACK = f"com.docker.stack.namespace={NAME}"
"""Docker's label on each thing in the stack."""

BY_HAND = f"docker stack rm {NAME}"

STOP_S = 10.0
"""What Docker gives a container to end, if the file says nothing else."""

GRACE_S = 20.0
"""So much later than a container has to end, it is gone."""


def service_name(stack: StackFile) -> str:
    """What Swarm calls the service that answers."""
    return f"{NAME}_{stack.service}"


def why_not(settings: Settings, replicas: int, port: int) -> str | None:
    """Why the user's stack can't be deployed here. None if it can, or if the service file names none.

    Raises:
        DeploymentError: the stack file is none, or lacks something.
    """
    if settings.service.stack is None:
        return None
    if reason := why_docker_fails("stack", "deploy", "--detach", "--help"):
        return (
            f"docker stack deploy --detach is not there ({reason}); "
            "install the docker command of version 26 or newer and run again"
        )
    model_of(settings.service.stack, settings, replicas, port)
    return None


def why_still_there(engine: Engine) -> str | None:
    """Why the stack can't be deployed: this checkout's is left. None if it is not."""
    found = _deployed(engine)
    return still_there(f"stack {NAME}", "swarm-1") if found and all(map(is_ours, map(_labels_of, found))) else None


def why_another_has_it(engine: Engine) -> str | None:
    """Who else has something in a stack of this name, and how to remove that. None if nobody has."""
    for found in map(_labels_of, _deployed(engine)):
        if LABEL not in found:
            return (
                f"there is a stack named {NAME} that Fourfold did not make; if nobody uses it, remove it by hand: "
                f"{BY_HAND}"
            )
        if reason := why_not_ours(found, f"stack {NAME}", "swarm-1", BY_HAND):
            return reason
    return None


def deploy(stack: StackFile, settings: Settings, replicas: int, port: int, placement: Placement) -> None:
    """Deploy the user's stack. The engine is a manager of a swarm.

    Raises:
        DeploymentError: the file is not right, or Docker refused it; what was made by then is still there.
    """
    model = model_of(stack, settings, replicas, port)
    _place(model["services"][stack.service], placement)
    # The image of the experiment is the one on the engine, not a newer one that a registry may have.
    arguments = ["stack", "deploy", "--detach", "--resolve-image", "never", "--compose-file", "-", NAME]
    run_docker(arguments, "docker stack deploy", model)


def model_of(stack: StackFile, settings: Settings, replicas: int, port: int) -> Model:
    """What Docker is to deploy: the user's file, with what the experiment sets and Fourfold's labels.

    Raises:
        DeploymentError: the file can't be resolved, lacks the service, or names a service without an image.
    """
    variables = filled(stack.environment, settings, port, replicas=str(replicas))
    try:
        arguments = ["stack", "config", "--compose-file", str(stack.file)]
        said = run_docker(arguments, "docker stack config", variables=variables)
    except DeploymentError as error:
        raise DeploymentError(
            f"{stack.file.name} can't be deployed to Swarm: {error}; correct it, or the variables that it gets "
            "(environment in [stack] of the service file)"
        ) from error
    model: Model = without_variables(yaml.safe_load(said))
    model.pop("version", None)  # the newest form of the file has all that Fourfold sets
    services = model["services"]
    if stack.service not in services:
        raise DeploymentError(
            f"there is no service {stack.service} in {stack.file.name}, it has {', '.join(services) or 'none'}; "
            "set service in [stack] of the service file"
        )
    answering = services[stack.service]
    answering["image"] = without_variables(with_tag(settings.image or ""))
    answering["ports"] = [{"mode": "ingress", "target": settings.service.port, "published": port, "protocol": "tcp"}]
    answering["deploy"] = answering.get("deploy", {}) | {"mode": "replicated", "replicas": replicas}
    if (variable := settings.service.metrics.variable) is not None:
        answering["environment"] = answering.get("environment", {}) | {variable: METRICS_FILE}
    for name, service in services.items():
        if "image" not in service:
            raise DeploymentError(
                f"service {name} in {stack.file.name} has no image, and Swarm builds none; "
                f"build it (docker build --tag NAME FOLDER) and write image: NAME there"
            )
    return _labelled(model)


def _place(service: Model, placement: Placement) -> None:
    """Bind a service to where its replicas may run, besides what the user's file says of it."""
    said = service["deploy"].get("placement") or {}
    service["deploy"]["placement"] = said | {"constraints": [*said.get("constraints", ()), *placement.constraints]}
    if placement.most_per_node is not None:
        service["deploy"]["placement"]["max_replicas_per_node"] = placement.most_per_node


def remove(engine: Engine) -> list[str]:
    """Remove what this checkout made of the stack, and wait until its containers have ended. Returns what it was.

    Raises:
        DeploymentError: something is still there.
    """
    services = [service for service in _services(engine) if is_ours(_labels_of(service))]
    stop_s = max(map(_stop_s, services), default=STOP_S)
    for service in services:
        service.remove()
    if not until_true(lambda: not containers(engine), stop_s + GRACE_S):
        raise DeploymentError(f"containers of stack {NAME} are still there; try docker ps and docker rm -f")
    volumes = engine.client.volumes.list(filters={"label": IN_STACK})
    others = [thing for thing in (*_others(engine), *volumes) if is_ours(_labels_of(thing))]
    for thing in others:
        _remove(thing)
    return [f"stack {NAME}"] if services or others else []


def _labelled(model: Model) -> Model:
    """The same with Fourfold's labels on each thing that Docker makes of it."""
    ours = without_variables(labels(SWARM))
    for service in model["services"].values():
        service["labels"] = service.get("labels", {}) | ours
        of_service = service.get("deploy", {})
        service["deploy"] = of_service | {"labels": of_service.get("labels", {}) | ours}
    model.setdefault("networks", {}).setdefault("default", {})
    for kind in ("networks", "volumes", "configs", "secrets"):
        label_all(model.get(kind, {}), ours)
    return model


def _deployed(engine: Engine) -> list[Any]:
    """All things in the stack but its volumes, which stay when somebody removes a stack."""
    return [*_services(engine), *_others(engine)]


def _services(engine: Engine) -> list[Any]:
    if not engine.swarm().get("ControlAvailable"):
        return []
    return list(engine.client.services.list(filters={"label": IN_STACK}))


def _others(engine: Engine) -> list[Any]:
    """The stack's configs, secrets and networks."""
    if not engine.swarm().get("ControlAvailable"):
        return []
    client, filters = engine.client, {"label": IN_STACK}
    kinds = (client.configs, client.secrets, client.networks)
    return [thing for kind in kinds for thing in kind.list(filters=filters)]


def containers(engine: Engine) -> list[Any]:
    """The containers on this engine of the stack's services that are ours."""
    filters = {"label": [IN_STACK, LABEL]}
    found = engine.client.containers.list(all=True, filters=filters, ignore_removed=True)
    return [container for container in found if is_ours(container.labels)]


def _labels_of(thing: Any) -> dict[str, str]:
    """Swarm's things have their labels in their specification, networks and volumes beside their name."""
    return thing.attrs.get("Spec", thing.attrs).get("Labels") or {}


def _stop_s(service: Any) -> float:
    said = service.attrs["Spec"]["TaskTemplate"]["ContainerSpec"].get("StopGracePeriod")
    return STOP_S if said is None else said / SECOND_NS


def _remove(thing: Any) -> None:
    """Remove a config, a secret, a network or a volume. The swarm may take a moment to see that nobody uses it.

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

    if not until_true(is_removed, GRACE_S):
        raise DeploymentError(f"{thing.name} of stack {NAME} can't be removed: {why}; try {BY_HAND}")
