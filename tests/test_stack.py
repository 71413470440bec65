"""The user's own stack file: what is deployed of it, what is refused, and that only what was deployed is removed."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import OWN, ROOT, Mesh, free_port, names_on

from infra.deployments import ownership, stack, swarm
from infra.deployments.docker_engine import Engine
from infra.deployments.ownership import LABEL, is_ours
from infra.deployments.settings import Settings
from infra.deployments.swarm_service import containers_of, find, limits_of
from infra.deployments.table import BY_NAME
from infra.errors import DeploymentError
from runfiles.records import Limits
from servicefile.service_file import ServiceFile, StackFile, read_service
from servicefile.toml import NotValid

USERS_FILE = """
services:
  web:
    image: ${IMAGE:?name it}
    command: ["sleep", "600"]
    stop_signal: SIGKILL
    init: true
    environment: {PRICE: "a$$b", NAME: "{{.Task.Name}}"}
    ports: ["5000:5000"]
    networks: [default, inner]
    configs: [greeting]
    volumes: ["data:/data"]
    healthcheck: {test: ["CMD", "true"], interval: 1s}
    deploy:
      mode: global
      labels: {mine: "1"}
      resources: {limits: {cpus: "${CPUS}", memory: "${MEMORY}"}}
  cache:
    image: ${IMAGE}
    command: ["sleep", "600"]
    stop_signal: SIGKILL
    init: true
    deploy: {replicas: 0}
networks:
  inner:
  elsewhere: {external: true}
volumes:
  data:
configs:
  greeting: {file: ./greeting.txt}
"""


def service_of(folder: Path, file: str = USERS_FILE, answers: str = "web") -> ServiceFile:
    """A service file that names the image of Fourfold's own service, and a stack file."""
    (folder / "stack.yml").write_text(file)
    (folder / "greeting.txt").write_text("hello")
    environment = {"IMAGE": "$image", "CPUS": "$cpus", "MEMORY": "$memory_bytes"}
    named = StackFile(folder / "stack.yml", answers, environment)
    return ServiceFile(folder / "service.toml", "mine", image=OWN.image, port=7000, stack=named)


def model_of(service: ServiceFile, replicas: int = 3, **settings: Any) -> dict[str, Any]:
    assert service.stack is not None
    return stack.model_of(service.stack, Settings(service, **settings), replicas, 8081)


def own_service(file: Path) -> ServiceFile:
    """Fourfold's own service, deployed with its stack.yml. This is what docs/own-service.md shows."""
    said = (ROOT / "inference" / "service.toml").read_text().replace('"..', f'"{ROOT}')
    file.write_text(
        f'{said}\n[stack]\nfile = "{ROOT}/stack.yml"\nservice = "inference"\n'
        '[stack.environment]\nINFERENCE_IMAGE = "$image"\nSERVICE_USER = "$user"\n'
    )
    return read_service(file)


def test_the_table_of_the_service_file(tmp_path: Path) -> None:
    (tmp_path / "stack.yml").touch()
    file = tmp_path / "service.toml"
    file.write_text('image = "mine"\n[stack]\nfile = "stack.yml"\nservice = "web"\nenvironment = {N = "$replicas"}\n')
    assert read_service(file).stack == StackFile(tmp_path / "stack.yml", "web", {"N": "$replicas"})
    file.write_text('image = "mine"\n[stack]\nfile = "stack.yml"\n')
    with pytest.raises(NotValid, match=r"service.toml, \[stack\]: service is missing"):
        read_service(file)
    file.write_text('image = "mine"\n[stack]\nfile = "none.yml"\nservice = "web"\n')
    with pytest.raises(NotValid, match=r'file = "none\.yml" is not a stack file'):
        read_service(file)


@pytest.mark.engine
def test_the_users_file_is_deployed_as_it_is_but_for_what_the_experiment_sets(engine: Engine, tmp_path: Path) -> None:
    model = model_of(service_of(tmp_path), cpus=0.5, memory_bytes=2**28)
    web, cache = model["services"]["web"], model["services"]["cache"]
    assert web["image"] == f"{OWN.image}:latest"
    assert web["ports"] == [{"mode": "ingress", "target": 7000, "published": 8081, "protocol": "tcp"}]
    assert (web["deploy"]["mode"], web["deploy"]["replicas"], cache["deploy"]["replicas"]) == ("replicated", 3, 0)
    assert web["deploy"]["resources"]["limits"] == {"cpus": "0.5", "memory": str(2**28)}
    assert web["environment"] == {
        "PRICE": "a$$b",  # Docker takes one dollar for a variable
        "NAME": "{{.Task.Name}}",
        "METRICS_LOG_FILE": "docker_system_inference_metrics.csv",
    }
    assert web["deploy"]["labels"]["mine"] == "1"
    assert model["configs"]["greeting"]["file"] == str(tmp_path / "greeting.txt")
    things = [web, web["deploy"], cache, cache["deploy"], *model["configs"].values(), *model["volumes"].values()]
    things += [model["networks"]["inner"], model["networks"]["default"]]
    assert all(thing["labels"][LABEL] == "swarm" for thing in things)
    assert "labels" not in model["networks"]["elsewhere"]


@pytest.mark.engine
def test_fourfolds_own_stack_file_can_be_measured(engine: Engine, tmp_path: Path) -> None:
    service = own_service(tmp_path / "service.toml")
    assert replace(service, path=OWN.path, stack=None) == OWN
    own = model_of(service)["services"]["inference"]
    assert own["environment"]["REPLICA_NAME"] == "{{.Service.Name}}.{{.Task.Slot}}"
    assert own["ports"][0]["published"] == 8081
    assert service.stack is not None
    assert stack.STACK.service_name(service.stack.service) == "fourfold-bench-stack_inference"


@pytest.mark.engine
@pytest.mark.parametrize(
    ("file", "answers", "reason"),
    [
        (USERS_FILE, "app", "there is no service app in stack.yml, it has cache, web; set service in [stack] of the"),
        (
            USERS_FILE.replace("cache:\n    image: ${IMAGE}", "cache:\n    build: ."),
            "web",
            "service cache in stack.yml has no image, and Swarm builds none; build it (docker build --tag NAME FOLDER)",
        ),
        (
            "services: {web: {image: x, ports: 5000}}",
            "web",
            "stack.yml can't be deployed to Swarm: docker stack config failed: services.web.ports must be a",
        ),
        (
            "services: {web: {image: '${MINE:?set it}'}}",
            "web",
            "or the variables that it gets (environment in [stack] of",
        ),
        ("services: {}", "web", "there is no service web in stack.yml, it has none; set service in [stack] of the"),
        ("", "web", "docker stack config failed: "),
    ],
)
def test_a_file_that_can_not_be_deployed_is_refused_before_anything_starts(
    engine: Engine, tmp_path: Path, file: str, answers: str, reason: str
) -> None:
    with pytest.raises(DeploymentError) as refused:
        stack.why_not(Settings(service_of(tmp_path, file, answers)), 3, 8081)
    assert reason in str(refused.value)


@pytest.mark.engine
def test_a_service_that_is_built_needs_no_image_in_the_file(engine: Engine, tmp_path: Path) -> None:
    model = model_of(service_of(tmp_path, "services: {web: {build: .}}"))
    assert model["services"]["web"]["image"] == f"{OWN.image}:latest"


@pytest.mark.engine
def test_a_stack_is_deployed_watched_and_removed_and_what_is_foreign_stays(
    engine: Engine, service_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.swarm().get("LocalNodeState") != "inactive":
        pytest.skip("this engine is in a swarm")
    before = names_on(engine)
    monkeypatch.setattr(swarm, "ANSWER_S", 0.0)  # the service only sleeps
    service = service_of(tmp_path)
    settings, swarm_2 = Settings(service, cpus=0.5, ports={"swarm": free_port()}), BY_NAME["swarm-2"]
    assert service.stack is not None
    name = stack.STACK.service_name(service.stack.service)
    foreign = engine.client.volumes.create("fourfold-bench-stack_foreign", labels={"com.docker.stack.namespace": "x"})
    try:
        with pytest.raises(DeploymentError, match="all tasks run, yet the published port answers nobody"):
            swarm_2.start(settings, tmp_path)
        made = find(engine, name)
        assert len(containers_of(made)) == 2
        assert limits_of(made) == Limits(cpus=0.5, memory_bytes=settings.memory_bytes)
        assert all(is_ours(container.labels) for container in containers_of(made))
        assert "stack fourfold-bench-stack is still there" in str(stack.STACK.why_still_there(engine))
        assert swarm_2.why_another_has_it() is None
        with monkeypatch.context() as of_another_checkout:
            of_another_checkout.setattr(ownership, "FOLDER", "/elsewhere")
            of_another_checkout.setattr(ownership, "WORK", tmp_path)
            assert swarm_2.remove(settings) == []
            assert str(swarm_2.why_another_has_it()).startswith(
                f"stack {stack.STACK.name} belongs to the checkout {ROOT}"
            )
        assert swarm_2.remove(Settings()) == [f"stack {stack.STACK.name}", "the swarm that Fourfold made"]
        assert foreign.name in {volume.name for volume in engine.client.volumes.list()}
    finally:
        with suppress(DeploymentError):
            swarm_2.remove(settings)
        foreign.remove()
    assert names_on(engine) == before


@pytest.mark.mesh
def test_the_replicas_of_the_users_stack_answer_through_the_mesh(mesh: Mesh, tmp_path: Path) -> None:
    before = names_on(mesh.engine)
    file = tmp_path / "service.toml"
    own_service(file)
    arguments = ["swarm-2", "--service", str(file), *mesh.arguments]
    try:
        said = infra("up", *arguments)
        name = f"{stack.STACK.name}_inference"
        assert f"--replicas swarm:{name}" in said
        assert f"docker ps --filter label=com.docker.swarm.service.name={name}" in said
        answers = [requests.post(f"{mesh.url}/infer", json={"text": "fine"}, timeout=60) for _ in range(8)]
        assert Counter(answer.headers["X-Replica"] for answer in answers) == {f"{name}.1": 4, f"{name}.2": 4}
    finally:
        removed = infra("down", *arguments)
    assert removed.strip() == f"removed: stack {stack.STACK.name}, the swarm that Fourfold made"
    assert names_on(mesh.engine) == before


def infra(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "infra", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
