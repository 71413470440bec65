"""The swarm that an engine is in: whether its routing mesh can work, and one that Fourfold makes and leaves."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import docker

from addresses import LOOPBACK
from infra.deployments.docker_engine import Engine
from infra.deployments.ownership import LABEL, is_ours, labels
from infra.environment import for_python
from infra.errors import DeploymentError

IPVS = "ip_vs"
"""The kernel's module, and its file under /proc/net."""

GATEWAY = "docker_gwbridge"
ACTIVE, DRAINED = "active", "drain"
"""The availability of a node, as the engine calls it."""

HAD_GATEWAY = f"{LABEL}.had-gateway"
"""A label on a swarm of ours: whether the bridge was there before the swarm. Leaving a swarm does not remove it."""


def why_no_mesh(engine: Engine) -> str | None:
    """Why Swarm's routing mesh can't work here. None if nothing that can be known beforehand prevents it."""
    swarm = engine.swarm()
    state = swarm.get("LocalNodeState", "inactive")
    if state == "active" and not swarm.get("ControlAvailable"):
        return "this engine is a worker of a swarm; run Fourfold against a manager"
    if state not in ("active", "inactive"):
        return f"this engine's part in its swarm is '{state}'; repair that (docker info) and run again"
    same_kernel = not engine.is_remote and platform.system() == "Linux" and engine.kernel == platform.release()
    if same_kernel and not Path("/proc/net", IPVS).exists() and not _has_module(IPVS):
        return (
            f"this kernel ({engine.kernel}) has no IPVS, with which Swarm's routing mesh balances; "
            f"load or install the module {IPVS}, or run on another machine"
        )
    return None


def _has_module(name: str) -> bool:
    """Whether the kernel can load a module (the engine loads ip_vs itself when a service is published)."""
    modinfo = shutil.which("modinfo", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if modinfo is None:
        return False
    return subprocess.run([modinfo, name], env=for_python(), capture_output=True, check=False).returncode == 0


def make_swarm(engine: Engine) -> None:
    had_gateway = bool(engine.client.networks.list(names=[GATEWAY]))
    # Loopback only: this swarm is for one machine, and nobody else may join it.
    address = None if engine.is_remote else LOOPBACK
    try:
        engine.client.swarm.init(
            advertise_addr=address,
            listen_addr="0.0.0.0:2377" if address is None else f"{address}:2377",
            labels=labels("swarm") | {HAD_GATEWAY: "yes" if had_gateway else "no"},
        )
    except docker.errors.APIError as error:
        raise DeploymentError(f"the engine made no swarm: {error.explanation or error}") from error


def why_no_drain(engine: Engine) -> str | None:
    """Why this engine's node may not be drained: somebody else may need it. None if it may."""
    swarm = engine.swarm()
    if swarm.get("LocalNodeState") != "active":
        return None  # Fourfold makes a swarm of its own
    if not swarm.get("ControlAvailable") or not is_ours(swarm_labels(engine)):
        return (
            "the engine is in a swarm that Fourfold did not make, and only in its own it drains the node; "
            "leave drain out, or use an engine that is in no swarm"
        )
    client = engine.client
    foreign = [each.name for each in client.services.list() if not is_ours(each.attrs["Spec"].get("Labels") or {})]
    nodes = len(client.nodes.list())
    if foreign or nodes > 1:
        others = ", ".join([f"service {name}" for name in foreign] + ([f"{nodes} nodes"] if nodes > 1 else []))
        return f"the swarm that Fourfold made now holds what it did not make ({others}), which a drain would end"
    return None


def set_availability(engine: Engine, availability: str) -> str:
    """Let this engine's node take tasks (``ACTIVE``), or end those that it has and take none (``DRAINED``). Returns
    what was done.

    Raises:
        DeploymentError: the node is not Fourfold's to drain.
    """
    if availability != ACTIVE and (reason := why_no_drain(engine)):
        raise DeploymentError(reason)
    node = engine.client.nodes.get(engine.swarm()["NodeID"])
    node.update(node.attrs["Spec"] | {"Availability": availability})
    return f"docker node update --availability {availability}"


def leave_own_swarm(engine: Engine) -> list[str]:
    """Leave the swarm if this checkout made it, and remove the bridge that came with it."""
    made_with = swarm_labels(engine)
    if not is_ours(made_with):
        return []
    if others := _others_in_swarm(engine):
        set_availability(engine, ACTIVE)  # an experiment that was killed may have left it drained
        raise DeploymentError(
            f"the swarm that Fourfold made now holds what it did not make ({', '.join(others)}), and stays; "
            "when that is gone, leave it (docker swarm leave --force)"
        )
    engine.client.swarm.leave(force=True)
    if made_with.get(HAD_GATEWAY) == "no":
        for network in engine.client.networks.list(names=[GATEWAY]):
            if network.name == GATEWAY:
                network.remove()
    return ["the swarm that Fourfold made"]


def _others_in_swarm(engine: Engine) -> list[str]:
    """What somebody has added to the swarm and would lose: services, secrets, configs, nodes."""
    client = engine.client
    held = [f"service {service.name}" for service in client.services.list()]
    held += [f"secret {secret.name}" for secret in client.secrets.list()]
    held += [f"config {config.name}" for config in client.configs.list()]
    nodes = len(client.nodes.list())
    return held + ([f"{nodes} nodes"] if nodes > 1 else [])


def swarm_labels(engine: Engine) -> dict[str, str]:
    """The labels of the swarm that this engine manages; empty if it manages none."""
    if not engine.swarm().get("ControlAvailable"):
        return {}
    engine.client.swarm.reload()
    return engine.client.swarm.attrs["Spec"].get("Labels") or {}
