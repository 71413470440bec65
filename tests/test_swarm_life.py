"""A Swarm service over its life, through the routing mesh: scaled, rolled out under load, and losing a replica."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import ROOT, Mesh, names_on

from infra.deployments.ready import until_ready
from infra.deployments.swarm import NAME
from infra.deployments.waiting import until_true
from servicefile.service_file import read_service

pytestmark = pytest.mark.mesh

STACK = "fourfold-test"
STACK_SERVICE = f"{STACK}_inference"
OLD, NEXT = "fourfold-old:latest", "fourfold-next:latest"
SLOW_S = 300.0


@pytest.fixture
def foreign_swarm(mesh: Mesh) -> Iterator[list[str]]:
    """A swarm that Fourfold did not make, with a service, a network and a container. Yields all their names."""
    client = mesh.engine.client
    before = names_on(mesh.engine)
    client.swarm.init()
    network = client.networks.create("foreign-network")
    container = client.containers.run(mesh.image, ["sleep", "900"], name="foreign-container", detach=True, init=True)
    service = client.services.create(mesh.image, command=["sleep", "900"], name="foreign-service", init=True)
    try:
        assert until_true(lambda: bool(containers_of(mesh, "foreign-service")), SLOW_S)
        yield names_on(mesh.engine)
    finally:
        service.remove()
        until_true(lambda: not containers_of(mesh, "foreign-service"), SLOW_S)
        container.remove(force=True)
        network.remove()
        client.swarm.leave(force=True)
        if "docker_gwbridge" not in before:
            client.networks.get("docker_gwbridge").remove()
    assert names_on(mesh.engine) == before


def containers_of(mesh: Mesh, service: str, **state: str) -> list[Any]:
    filters = {"label": f"com.docker.swarm.service.name={service}"} | state
    found: list[Any] = mesh.engine.client.containers.list(all=not state, filters=filters, ignore_removed=True)
    return found


def healthy(mesh: Mesh, service: str) -> int:
    return len(containers_of(mesh, service, health="healthy"))


def infra(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "infra", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def who_answers(mesh: Mesh, requests_sent: int) -> Counter[str]:
    """Each request over a connection of its own, as curl does."""
    answers = [requests.post(f"{mesh.url}/infer", json={"text": "fine"}, timeout=60) for _ in range(requests_sent)]
    assert all(answer.status_code == 200 for answer in answers)
    return Counter(answer.headers["X-Replica"] for answer in answers)


@contextmanager
def load(mesh: Mesh, prefix: Path) -> Iterator[None]:
    """Six users as long as the block lasts: three keep their connections, three open a new one for each request."""
    running = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "locust", "--headless", "--users", "3", "--run-time", "900"),
                *("--locustfile", str(ROOT / "locustfiles" / f"{users}.py"), "--replicas", "none"),
                *("--host", mesh.url, "--csv", f"{prefix}_{users}"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for users in ("keep_alive", "new_connection")
    ]
    try:
        for users in ("keep_alive", "new_connection"):
            assert until_true(lambda users=users: len(answers_of(prefix, users)) > 20, SLOW_S)  # type: ignore[misc]
        yield
    finally:
        for load in running:
            load.send_signal(signal.SIGINT)
        for load in running:
            load.wait(60)


def answers_of(prefix: Path, users: str) -> list[str]:
    """The status of each request so far; 0 if there was no answer."""
    path = Path(f"{prefix}_{users}_requests.csv")
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [row["status"] for row in csv.DictReader(file)]


@pytest.fixture
def versions(mesh: Mesh) -> Iterator[None]:
    """Two versions of the image, both with a light service that waits instead of computing. So the load leaves the CPUs
    to the replicas that start, and a replica that is told to stop is answering requests."""
    images = mesh.engine.client.images
    try:
        for tag in (OLD, NEXT):
            recipe = f"FROM {mesh.image}\nENV LIGHT_MS=1000 VERSION={tag}\n"
            images.build(fileobj=io.BytesIO(recipe.encode()), tag=tag, rm=True)
        yield
    finally:
        for tag in (OLD, NEXT):
            images.remove(tag, force=True)


@pytest.fixture
def stack(mesh: Mesh, versions: None) -> Iterator[None]:
    """stack.yml, deployed as its first lines say, in a swarm of the test's own."""
    before = names_on(mesh.engine)
    mesh.engine.client.swarm.init()
    try:
        deploy(OLD)
        assert until_true(lambda: healthy(mesh, STACK_SERVICE) == 3, SLOW_S)
        until_ready(mesh.url, read_service(), SLOW_S, lambda: None)  # the mesh publishes a port somewhat later
        yield
    finally:
        subprocess.run(["docker", "stack", "rm", STACK], check=False, capture_output=True)
        until_true(lambda: not containers_of(mesh, STACK_SERVICE), SLOW_S)
        mesh.engine.client.swarm.leave(force=True)
        if "docker_gwbridge" not in before:
            mesh.engine.client.networks.get("docker_gwbridge").remove()
    assert names_on(mesh.engine) == before


def deploy(image: str) -> None:
    subprocess.run(
        ["docker", "stack", "deploy", "--resolve-image", "never", "-c", str(ROOT / "stack.yml"), STACK],
        env=os.environ | {"INFERENCE_IMAGE": image},
        check=True,
        capture_output=True,
    )


def test_one_scaled_to_three_all_answer_and_what_is_foreign_stays(mesh: Mesh, foreign_swarm: list[str]) -> None:
    infra("up", "swarm-1", *mesh.arguments)
    try:
        assert who_answers(mesh, 4) == {f"{NAME}.1": 4}
        (first,) = containers_of(mesh, NAME)
        subprocess.run(["docker", "service", "scale", "--detach", f"{NAME}=3"], check=True, capture_output=True)
        assert until_true(lambda: healthy(mesh, NAME) == 3, SLOW_S)
        assert first.id in {container.id for container in containers_of(mesh, NAME)}
        assert who_answers(mesh, 9) == {f"{NAME}.{slot}": 3 for slot in (1, 2, 3)}
    finally:
        assert infra("down", "swarm-1").strip() == f"removed: service {NAME}"
    assert names_on(mesh.engine) == foreign_swarm


def test_a_swarm_of_ours_that_holds_what_is_not_ours_stays(mesh: Mesh) -> None:
    before = names_on(mesh.engine)
    infra("up", "swarm-1", *mesh.arguments)
    client = mesh.engine.client
    config = client.configs.create(name="foreign-config", data=b"mine")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "infra", "down", "swarm-1"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "now holds what it did not make (config foreign-config), and stays" in done.stderr
        assert mesh.engine.swarm()["LocalNodeState"] == "active"
    finally:
        client.api.remove_config(config.id)
        infra("down", "swarm-1")
    assert names_on(mesh.engine) == before


def test_a_rollout_under_load_loses_no_request_and_a_killed_replica_returns(
    mesh: Mesh, stack: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {container.id for container in containers_of(mesh, STACK_SERVICE)}
    service = mesh.engine.client.services.get(STACK_SERVICE)

    def rolled_out() -> bool:
        service.reload()
        return bool(service.attrs.get("UpdateStatus", {}).get("State") == "completed")

    with load(mesh, tmp_path / "rollout"):
        deploy(NEXT)
        assert until_true(rolled_out, SLOW_S)
        assert until_true(lambda: len(containers_of(mesh, STACK_SERVICE, status="running")) == 3, SLOW_S)
    assert not old & {container.id for container in containers_of(mesh, STACK_SERVICE, status="running")}
    for users in ("keep_alive", "new_connection"):
        assert set(answers_of(tmp_path / "rollout", users)) == {"200"}

    with load(mesh, tmp_path / "kill"):
        containers_of(mesh, STACK_SERVICE, health="healthy")[0].kill("KILL")
        killed_at = time.monotonic()
        assert until_true(lambda: healthy(mesh, STACK_SERVICE) == 2, SLOW_S)
        assert until_true(lambda: healthy(mesh, STACK_SERVICE) == 3, SLOW_S)
        seconds = time.monotonic() - killed_at
    assert len(who_answers(mesh, 9)) == 3
    with capsys.disabled():
        for run in ("rollout", "kill"):
            for users in ("keep_alive", "new_connection"):
                answers = answers_of(tmp_path / run, users)
                print(
                    f"\n{run}, {users}: {len(answers) - answers.count('200')} of {len(answers)} requests failed", end=""
                )
        print(f"\nkill: three replicas again after {seconds:.0f} s")
