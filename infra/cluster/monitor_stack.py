"""The stack of agents, one on each node of a swarm: deployed for a load, and removed after it."""

from __future__ import annotations

import secrets
from typing import Any

import docker
import yaml

from infra.deployments.compose_project import Model, run_docker, without_variables
from infra.deployments.docker_engine import Engine
from infra.deployments.own_stack import OwnStack, labels_of
from infra.deployments.own_stack import remove as remove_thing
from infra.deployments.ownership import is_ours, labels, why_not_ours
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError
from infra.paths import ROOT
from runfiles.lines import tidy

FILE = ROOT / "stack-monitor.yml"

STACK = OwnStack("fourfold-agents", "agents", "--all")

NETWORK = "fourfold-agents"
"""The network of the agents. Whoever asks them is on it too."""

TOKEN = "fourfold_agent_token"
"""The secret: its name in the swarm, and its file in /run/secrets."""

AGENTS = "tasks.fourfold-agents_agent:5701"
"""What ``--agents`` of the load gets: the name that has the addresses of all agents."""

START_S = 60.0


def why_not(engine: Engine) -> str | None:
    """Why the agents can't be deployed: they are there, or somebody else has something of their name. None if they
    can."""
    if reason := STACK.why_still_there(engine) or STACK.why_another_has_it(engine):
        return reason
    by_hand = f"docker secret rm {TOKEN}"
    for secret in _tokens(engine):
        if not is_ours(labels_of(secret)):
            return why_not_ours(labels_of(secret), f"secret {TOKEN}", STACK.down, by_hand) or (
                f"there is a secret named {TOKEN} that Fourfold did not make; if nobody uses it, remove it: {by_hand}"
            )
    return None


def deploy(engine: Engine, image: str) -> None:
    """Deploy an agent to each node. The engine is a manager of a swarm; ``why_not`` has found nothing.

    Raises:
        DeploymentError: Docker refused it; what was made by then is still there.
    """
    for left in _tokens(engine):
        remove_thing(left, f"secret {TOKEN}", f"docker secret rm {TOKEN}")
    try:
        engine.client.secrets.create(name=TOKEN, data=secrets.token_urlsafe(32).encode(), labels=labels(STACK.kind))
    except docker.errors.APIError as error:
        raise DeploymentError(f"secret {TOKEN} can't be made: {error.explanation or error}") from error
    STACK.deploy(model(image))


def model(image: str) -> Model:
    """``stack-monitor.yml`` with this image and Fourfold's labels.

    Raises:
        DeploymentError: docker can't resolve the file.
    """
    variables = {"FOURFOLD_LOAD_IMAGE": image}
    said = run_docker(["stack", "config", "--compose-file", str(FILE)], "docker stack config", variables=variables)
    found: Model = without_variables(yaml.safe_load(said))
    found.pop("version", None)
    return STACK.labelled(found)


def wait_until_ready(engine: Engine, seconds: float = START_S) -> tuple[str, ...]:
    """Wait until each node that takes tasks has an agent that runs. Returns the nodes' host names.

    Raises:
        DeploymentError: a node has none within this time; with what the swarm says of it.
    """
    if until_true(lambda: not _without_agent(engine), seconds):
        return tuple(sorted(_nodes(engine).values()))
    missing = _without_agent(engine)
    nodes = ", ".join(sorted(missing.values()))
    raise DeploymentError(
        f"no agent runs on {nodes} after {seconds:g} s: {_last_task(engine, missing)}; "
        f"try docker service ps --no-trunc {STACK.name}_agent"
    )


def remove(engine: Engine) -> list[str]:
    """Remove the agents and their token if this checkout made them. Returns what it was.

    Raises:
        DeploymentError: something is still there.
    """
    removed = STACK.remove(engine)
    if engine.swarm().get("ControlAvailable"):
        for secret in _tokens(engine):
            if is_ours(labels_of(secret)):
                remove_thing(secret, f"secret {TOKEN}", f"docker secret rm {TOKEN}")
                removed.append(f"secret {TOKEN}")
    return removed


def _tokens(engine: Engine) -> list[Any]:
    """The secret, if it is there. The API's filter also takes what begins with the name."""
    found = engine.client.secrets.list(filters={"name": TOKEN})
    return [secret for secret in found if secret.name == TOKEN]


def _nodes(engine: Engine) -> dict[str, str]:
    """The host names of the nodes that are ready and take tasks, by their IDs."""
    return {
        node.id: node.attrs["Description"]["Hostname"]
        for node in engine.client.nodes.list()
        if node.attrs["Status"]["State"] == "ready" and node.attrs["Spec"]["Availability"] == "active"
    }


def _without_agent(engine: Engine) -> dict[str, str]:
    with_agent = {task["NodeID"] for task in _tasks(engine) if task["Status"]["State"] == "running"}
    return {id: name for id, name in _nodes(engine).items() if id not in with_agent}


def _tasks(engine: Engine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = engine.client.api.tasks(filters={"service": f"{STACK.name}_agent"})
    return [task for task in found if "NodeID" in task]


def _last_task(engine: Engine, nodes: dict[str, str]) -> str:
    tasks = sorted((task for task in _tasks(engine) if task["NodeID"] in nodes), key=lambda task: task["UpdatedAt"])
    if not tasks:
        return "no task was made"
    status = tasks[-1]["Status"]
    return f"the last task is {status['State']} ({tidy(status.get('Err') or status.get('Message', 'no message'))})"
