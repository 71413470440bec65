"""Whether a swarm is ready for an experiment on it: its nodes, who sends the load, and the image on each node."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager, suppress
from typing import Any

import docker
from docker.types import RestartPolicy, ServiceMode

from infra.deployments.docker_engine import Engine
from infra.deployments.images import with_tag
from infra.deployments.ownership import is_ours, labels
from infra.deployments.settings import Settings
from infra.deployments.swarm_nodes import READY, Node, first_service_node, named, nodes_of
from infra.deployments.swarm_service import find, labels_of
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError
from runfiles.deployments import SWARM
from runfiles.lines import tidy

LOAD_LABEL, LOAD = "fourfold", "load"
"""The label of the nodes that send load, and its value."""

LOOK = "fourfold-bench-look"
"""The job that looks whether an image is on each node."""
LOOK_S = 180.0
"""So long a node may take to pull an image."""
ENDED = ("complete", "failed", "rejected", "shutdown", "orphaned")
NOT_THERE = "rejected"
"""A node rejects a task if it can't have the image. If the image is there and lacks the command, the task fails."""


def why_no_cluster(engine: Engine, settings: Settings) -> str | None:
    """Why no experiment on a cluster can run here, with the remedy. None if nothing is known to prevent it."""
    nodes = nodes_of(engine)
    if not nodes:
        return (
            "--cluster needs a swarm that you made, and this engine manages none; make one "
            "(docker swarm init --advertise-addr ADDRESS), join other machines, and run again"
        )
    if len(nodes) < 2:
        return (
            "--cluster needs a swarm of several nodes, and this one has one; print the command that joins another "
            "(docker swarm join-token worker), run it there, and run again"
        )
    if down := [node.name for node in nodes if node.state != READY]:
        return (
            f"node {down[0]} is down (docker node ls); start it, or remove it (docker node rm {down[0]}), and run again"
        )
    try:
        entry = first_service_node(nodes, settings.load_nodes)
        if not entry.address:
            return (
                f"the swarm does not know at which address the other nodes reach {entry.name}; make it anew with that "
                "address (docker swarm init --advertise-addr ADDRESS), and run again"
            )
        return _why_no_load(nodes, settings.load_nodes)
    except DeploymentError as error:
        return str(error)


def _why_no_load(nodes: Sequence[Node], load_nodes: Sequence[str]) -> str | None:
    """Why no node, or not each of ``load_nodes``, sends load."""
    lacking = [node for node in named(nodes, load_nodes) if node.labels.get(LOAD_LABEL) != LOAD]
    if lacking:
        return f"node {lacking[0].name} is in load_nodes and has no label for it; {_label(lacking[0])}, and run again"
    if not any(node.labels.get(LOAD_LABEL) == LOAD and node.takes_tasks for node in nodes):
        return f"no node has the label of those that send load; choose one ({_label(nodes[-1])}), and run again"
    return None


def _label(node: Node) -> str:
    return f"docker node update --label-add {LOAD_LABEL}={LOAD} {node.name}"


def nodes_without(engine: Engine, image: str, seconds: float = LOOK_S) -> dict[str, str]:
    """The nodes that take tasks and can't have an image, by name, with what Docker says. Those that have it not, but
    can pull it, do so.

    Raises:
        DeploymentError: a node did not say within this time, or the engine refused to ask.
    """
    names = {node.id: node.name for node in nodes_of(engine) if node.takes_tasks}
    with _look(engine, image) as service:

        def ended() -> dict[str, dict[str, Any]]:
            found = {task["NodeID"]: task["Status"] for task in service.tasks() if task.get("NodeID") in names}
            return {node: status for node, status in found.items() if status["State"] in ENDED}

        if not until_true(lambda: len(ended()) == len(names), seconds):
            late = next(name for node, name in names.items() if node not in ended())
            raise DeploymentError(f"node {late} did not say within {seconds:g} s whether it has the image {image}")
        told = ended()
    return {
        names[node]: tidy(status.get("Err") or status.get("Message", ""))
        for node, status in told.items()
        if status["State"] == NOT_THERE
    }


def why_no_images_there(engine: Engine, *images: str) -> str | None:
    """Why a node can't run one of the images, with the remedy. None if each node has them, or could pull them."""
    for image in images:
        lacking = nodes_without(engine, image)
        if lacking:
            name, said = next(iter(lacking.items()))
            return (
                f"image {image} is not on {', '.join(lacking)} ({said}); load it there (docker save {image} | "
                f"ssh {name} docker load), or push it to a registry that all nodes reach and name it there (--image, "
                "--load-image), and run again"
            )
    return None


@contextmanager
def _look(engine: Engine, image: str) -> Any:
    """A job that runs the image once on each node, and does nothing."""
    _remove(engine)
    try:
        service = engine.client.services.create(
            with_tag(image),
            command=["true"],
            name=LOOK,
            mode=ServiceMode("global-job"),
            labels=labels(SWARM),
            container_labels=labels(SWARM),
            restart_policy=RestartPolicy("none"),
        )
    except docker.errors.APIError as error:
        raise DeploymentError(f"the engine refused to look for {image}: {error.explanation or error}") from error
    try:
        yield service
    finally:
        _remove(engine)


def _remove(engine: Engine) -> None:
    """Remove the job if this checkout made it."""
    service = find(engine, LOOK)
    if service is not None and is_ours(labels_of(service)):
        with suppress(docker.errors.NotFound):
            service.remove()
