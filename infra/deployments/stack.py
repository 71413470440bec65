"""The user's own stack file, which Fourfold deploys to Swarm under a name of its own.

Docker resolves the file. Then Fourfold sets image, number of replicas and published port of the service that
answers, and adds its labels.
"""

from __future__ import annotations

import yaml

from infra.deployments.compose_project import Model, filled, run_docker, without_variables
from infra.deployments.containers import METRICS_FILE
from infra.deployments.images import with_tag
from infra.deployments.settings import Settings
from infra.deployments.swarm_nodes import Placement
from infra.deployments.swarm_stack import Stack, why_no_stacks
from infra.errors import DeploymentError
from runfiles.deployments import SWARM
from servicefile.service_file import StackFile

STACK = Stack("fourfold-bench-stack", SWARM, "swarm-1")


def why_not(settings: Settings, replicas: int, port: int) -> str | None:
    """Why the user's stack can't be deployed here. None if it can, or if the service file names none.

    Raises:
        DeploymentError: the stack file is none, or lacks something.
    """
    if settings.service.stack is None:
        return None
    if reason := why_no_stacks():
        return reason
    model_of(settings.service.stack, settings, replicas, port)
    return None


def deploy(stack: StackFile, settings: Settings, replicas: int, port: int, placement: Placement) -> None:
    """Deploy the user's stack. The engine is a manager of a swarm.

    Raises:
        DeploymentError: the file is not right, or Docker refused it; what was made by then is still there.
    """
    model = model_of(stack, settings, replicas, port)
    _place(model["services"][stack.service], placement)
    STACK.deploy(model)


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
    return STACK.labelled(model)


def _place(service: Model, placement: Placement) -> None:
    """Bind a service to where its replicas may run, besides what the user's file says of it."""
    said = service["deploy"].get("placement") or {}
    service["deploy"]["placement"] = said | {"constraints": [*said.get("constraints", ()), *placement.constraints]}
    if placement.most_per_node is not None:
        service["deploy"]["placement"]["max_replicas_per_node"] = placement.most_per_node
