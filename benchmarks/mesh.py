"""The Docker engine with a routing mesh that a fault is made in: the one that FOURFOLD_MESH_HOST names, else this
machine's own, if its kernel has IPVS. tests/conftest.py explains the variables."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.needs import why_no_image, why_no_packages
from infra.environment import for_docker
from infra.errors import DeploymentError

HOST, REACH, IMAGE = (f"FOURFOLD_MESH_{name}" for name in ("HOST", "REACH", "IMAGE"))
PORT_ELSEWHERE = 8080
"""What is published on an engine that FOURFOLD_MESH_HOST names."""


@dataclass(frozen=True)
class Place:
    """Where a deployment runs, and what its loads are like there. The defaults are for an engine of this machine.

    ``url``: where the service answers, None: where Fourfold says. ``rate``: requests per second of Locust.
    ``client_every_s`` and ``client_timeout_s``: of the plain client. ``long_s``: the load in which all replicas are
    replaced. ``short_s``: the load in which one is killed.
    """

    url: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    rate: float = 20
    client_every_s: float = 0.05
    client_timeout_s: float = 2.0
    long_s: int = 80
    short_s: int = 40


HERE = Place()


def find_mesh() -> Place | str:
    """Where there is a routing mesh. A text: why there is none, with the remedy."""
    if host := os.environ.get(HOST):
        return _elsewhere(host)
    if reason := why_no_packages("docker", "psutil", "requests"):
        return reason
    from infra.deployments.docker_engine import connect
    from infra.deployments.swarm_mode import why_no_mesh
    from servicefile.service_file import read_service

    try:
        reason = why_no_mesh(connect()) or why_no_image(str(read_service().image))
    except DeploymentError as error:
        reason = str(error)
    return f"{reason}; or name an engine elsewhere with {HOST}" if reason else HERE


def _elsewhere(host: str) -> Place | str:
    """An engine elsewhere may be an emulated one, 10 to 30 times as slow: the loads are weak and long."""
    reach, image = os.environ.get(REACH), os.environ.get(IMAGE)
    if not reach or not image:
        return f"{HOST} is set, but not {REACH} and {IMAGE}; set them too"
    look = ["docker", "--host", host, "image", "inspect", "--format", "{{.Id}}", image]
    try:
        done = subprocess.run(look, env=for_docker(), capture_output=True, text=True, check=False)
    except OSError as error:
        return f"the docker command can't be started ({error.strerror}); install it"
    if done.returncode != 0:
        return f"{host} ({HOST}) has no image {image} ({done.stderr.strip()[-200:]}); start it and load the image"
    arguments = ("--image", image, "--port", f"swarm={PORT_ELSEWHERE}", "--reach", f"swarm={reach}")
    return Place(
        url=f"http://{reach}",
        variables={"DOCKER_HOST": host},
        arguments=(*arguments, "--start-timeout", "400"),
        rate=5,
        client_every_s=0.5,
        client_timeout_s=10.0,
        long_s=300,
        short_s=120,
    )
