"""The stack of agents, one on each node of a swarm: deployed for a load, and removed after it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from infra.deployments.compose_project import Model, run_docker, without_variables
from infra.deployments.docker_engine import Engine
from infra.deployments.swarm_nodes import nodes_of
from infra.deployments.swarm_stack import Stack, why_no_stacks
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError
from infra.interruption import uninterrupted
from infra.paths import ROOT
from runfiles.lines import tidy
from runfiles.tasks import RUNNING

FILE = ROOT / "stack-monitor.yml"

STACK = Stack("fourfold-agents", "agents", "--all")

NETWORK = "fourfold-agents"
"""The network of the agents. Whoever asks them is on it too."""

TOKEN = "fourfold_agent_token"  # noqa: S105  the secret's name, not its content
"""The secret: its name in the swarm, and its file in /run/secrets."""

AGENTS = f"tasks.{STACK.service_name('agent')}:5701"
"""What ``--agents`` of Locust gets: the name that has the addresses of all agents."""

START_S = 60.0


@contextmanager
def agents(engine: Engine, image: str) -> Iterator[tuple[str, ...]]:
    """Each node has an agent as long as the block lasts. The block gets the nodes' host names.

    Raises:
        DeploymentError: a node gets none, or they can't be removed.
    """
    if reason := why_not(engine):
        raise DeploymentError(reason)
    try:
        deploy(image)
        yield wait_until_ready(engine)
    finally:
        with uninterrupted():
            remove(engine)


def why_not(engine: Engine) -> str | None:
    """Why the agents can't be deployed: they are there, or somebody else has something of their name. None if they
    can."""
    return why_no_stacks() or STACK.why_still_there(engine) or STACK.why_another_has_it(engine)


def deploy(image: str) -> None:
    """Deploy an agent to each node, with a new token. The engine is a manager of a swarm.

    Raises:
        DeploymentError: Docker refused it; what was made by then is still there.
    """
    with TemporaryDirectory(prefix="fourfold-") as folder:  # open to this user alone
        token = Path(folder, "token")
        token.write_text(secrets.token_urlsafe(32))
        STACK.deploy(model(image, token))


def model(image: str, token: Path) -> Model:
    """``stack-monitor.yml`` with this image, the token in this file, and Fourfold's labels.

    Raises:
        DeploymentError: Docker can't resolve the file.
    """
    variables = {"LOAD_IMAGE": image, "AGENT_TOKEN_FILE": str(token)}
    said = run_docker(["stack", "config", "--compose-file", str(FILE)], "docker stack config", variables=variables)
    found: Model = without_variables(yaml.safe_load(said))
    found.pop("version", None)  # the newest form of the file has all that Fourfold sets
    return STACK.labelled(found)


def wait_until_ready(engine: Engine, seconds: float = START_S) -> tuple[str, ...]:
    """Wait until each node that takes tasks has an agent that runs. Returns the nodes' host names.

    Raises:
        DeploymentError: a node has none within this time; with what the swarm says of it.
    """
    if until_true(lambda: not _without_agent(engine), seconds):
        return tuple(sorted(_nodes(engine).values()))
    missing = _without_agent(engine)
    raise DeploymentError(
        f"no agent runs on {', '.join(sorted(missing.values()))} after {seconds:g} s: {_last_task(engine, missing)}; "
        f"each node needs the image of the load (docs/cluster.md); try docker service ps --no-trunc "
        f"{STACK.service_name('agent')}"
    )


def remove(engine: Engine) -> list[str]:
    """Remove the agents, their network and their token if this checkout made them. Returns what it was.

    Raises:
        DeploymentError: something is still there.
    """
    return STACK.remove(engine)


def _nodes(engine: Engine) -> dict[str, str]:
    """The host names of the nodes that are ready and take tasks, by their IDs."""
    return {node.id: node.name for node in nodes_of(engine) if node.takes_tasks}


def _without_agent(engine: Engine) -> dict[str, str]:
    with_agent = {task["NodeID"] for task in _tasks(engine) if task["Status"]["State"] == RUNNING}
    return {id: name for id, name in _nodes(engine).items() if id not in with_agent}


def _tasks(engine: Engine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = engine.client.api.tasks(filters={"service": STACK.service_name("agent")})
    return [task for task in found if task.get("NodeID")]


def _last_task(engine: Engine, nodes: dict[str, str]) -> str:
    tasks = sorted((task for task in _tasks(engine) if task["NodeID"] in nodes), key=lambda task: task["UpdatedAt"])
    if not tasks:
        return "no task was made"
    status = tasks[-1]["Status"]
    return f"the last task is {status['State']} ({tidy(status.get('Err') or status.get('Message', 'no message'))})"
