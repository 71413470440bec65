"""What users hand in, as they run it: docs/deployments.md's ``docker run`` and docker-compose.yml, on a real engine."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, free_port, names_on
from test_teaching_page import docker_run

from infra.deployments.compose import why_no_compose
from infra.deployments.confinement import TMP_BYTES
from infra.deployments.docker_engine import Engine
from infra.deployments.ready import until_ready
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME
from infra.deployments.waiting import until_true
from servicefile.service_file import read_service

pytestmark = pytest.mark.engine

CONFINEMENT = ("ReadonlyRootfs", "Tmpfs", "CapDrop", "CapAdd", "Memory", "PidsLimit", "Init", "Privileged")
RUN = ("User", "StopSignal", "StopTimeout", "Healthcheck")


def texts() -> list[str]:
    return texts_in(ROOT / "texts" / "reviews.csv", "text")


def texts_in(path: Path, column: str) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row[column] for row in csv.DictReader(file)]


def single_pass(port: int) -> None:
    script = [str(ROOT / "infra" / "latency_test.sh"), "127.0.0.1", str(port)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.count("Query ") == 160


def docker(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        ["docker", *arguments], env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def confinement(container: Any) -> dict[str, Any]:
    """A container's confinement, whoever started it."""
    host, own = container.attrs["HostConfig"], container.attrs["Config"]
    said = {name: host.get(name) for name in CONFINEMENT} | {name: own.get(name) for name in RUN}
    health = dict(said["Healthcheck"])
    health["Test"] = [word for part in health["Test"] if part not in ("CMD", "CMD-SHELL") for word in part.split()]
    # The same thing in the words of the engine's clients.
    no_new = any(
        option.partition("=")[0].partition(":")[0] == "no-new-privileges" for option in host["SecurityOpt"] or ()
    )
    return said | {"Healthcheck": health, "CapAdd": said["CapAdd"] or None, "no-new-privileges": no_new}


def test_docker_run_as_the_page_says(engine: Engine, service_image: str, bystanders: list[str], tmp_path: Path) -> None:
    port, name = free_port(), "fourfold-by-the-page"
    words = [
        {"llm-inference-container": name, "127.0.0.1:5000:5000": f"127.0.0.1:{port}:5000"}.get(word, word)
        for word in docker_run()
    ]
    assert words[0] == "docker"
    docker(*words[1:])
    try:
        container = engine.client.containers.get(name)
        until_ready(f"http://127.0.0.1:{port}", read_service(), 60, lambda: container.logs().decode())
        single_pass(port)
        listed = docker("exec", name, "ls", "/app").split()
        assert listed == ["docker_system_inference_metrics.csv", "inference", "requirements.txt"]
        for command in ("touch /app/other", "touch /other", "echo changed >>/app/inference/app.py"):
            assert container.exec_run(["sh", "-c", command]).exit_code != 0, command
        assert container.exec_run(["id", "-u"]).output.strip() == b"1000"
        filled = container.exec_run(["sh", "-c", "cd /tmp; head -c 100000000 /dev/zero >x; wc -c <x; rm x"])
        assert f"No space left on device\n{TMP_BYTES}" in filled.output.decode()
        docker("cp", f"{name}:/app/docker_system_inference_metrics.csv", str(tmp_path))
        metrics = tmp_path / "docker_system_inference_metrics.csv"
        assert metrics.read_bytes().count(b"\n") == 161
        assert texts_in(metrics, "Input Text") == texts()

        def is_healthy() -> bool:
            container.reload()
            return bool(container.attrs["State"]["Health"]["Status"] == "healthy")

        assert until_true(is_healthy, 30)
        by_the_page = confinement(container)
    finally:
        docker("rm", "-fv", name)
    settings = Settings(ports={"docker": port})
    try:
        BY_NAME["docker"].start(settings, tmp_path)
        by_infra = confinement(engine.client.containers.get("llm-inference-container"))
    finally:
        BY_NAME["docker"].remove(settings)
    assert by_infra | {"User": ""} == by_the_page | {"User": ""}
    assert names_on(engine) == bystanders


def test_compose_on_its_first_start(engine: Engine, service_image: str, bystanders: list[str], tmp_path: Path) -> None:
    if reason := why_no_compose(engine):
        pytest.skip(reason)
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    port = free_port()
    compose = ["compose", "--project-directory", str(tmp_path), "--project-name", "fourfold-first-start"]
    environment = {"PUBLISHED_PORT": str(port)}
    checked = subprocess.run(
        ["docker", *compose, "config", "--quiet"], env=os.environ | environment, capture_output=True, check=True
    )
    assert checked.stdout + checked.stderr == b""
    metrics = tmp_path / "compose_inference_metrics.csv"
    assert not metrics.exists()
    docker(*compose, "up", "--detach", **environment)
    try:
        container = engine.client.containers.get("fourfold-first-start-llm-inference-1")
        until_ready(f"http://127.0.0.1:{port}", read_service(), 60, lambda: container.logs().decode())
        single_pass(port)
        confined = confinement(container)
        assert confined["ReadonlyRootfs"] is True
        assert confined["no-new-privileges"] is True
        assert "inside_compose_inference_metrics.csv" in container.exec_run(["ls", "/app"]).output.decode()
    finally:
        docker(*compose, "down", **environment)
    assert metrics.read_bytes().count(b"\n") == 161
    assert texts_in(metrics, "Input Text") == texts()
    docker(*compose, "up", "--detach", **environment)  # and a second time, when the file is there
    try:
        until_ready(f"http://127.0.0.1:{port}", read_service(), 60, lambda: None)
    finally:
        docker(*compose, "down", **environment)
    assert metrics.read_bytes().count(b"\n") == 161
    assert names_on(engine) == bystanders


def test_compose_says_whose_the_metrics_file_is(engine: Engine, service_image: str, tmp_path: Path) -> None:
    if reason := why_no_compose(engine):
        pytest.skip(reason)
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    metrics = tmp_path / "compose_inference_metrics.csv"
    metrics.touch(0o644)
    os.chown(metrics, 1234, 1234)
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    compose = ["compose", "--project-directory", str(tmp_path), "--project-name", "fourfold-foreign-file"]
    environment = {"PUBLISHED_PORT": str(free_port())}
    docker(*compose, "up", "--detach", **environment)
    try:
        container = engine.client.containers.get("fourfold-foreign-file-llm-inference-1")
        container.wait(timeout=60)
        assert "it belongs to user 1234: run as that user (this is 1000)" in container.logs().decode()
    finally:
        docker(*compose, "down", **environment)
    assert metrics.stat().st_uid == 1234


def test_infra_compose_and_page_confine_alike(engine: Engine, service_image: str, tmp_path: Path) -> None:
    if reason := why_no_compose(engine):
        pytest.skip(reason)
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    compose = ["compose", "--project-directory", str(tmp_path), "--project-name", "fourfold-alike"]
    environment = {"PUBLISHED_PORT": str(free_port()), "SERVICE_USER": "1000:1000"}
    docker(*compose, "create", **environment)
    settings = Settings(ports={"docker": free_port()})
    try:
        by_compose = confinement(engine.client.containers.get("fourfold-alike-llm-inference-1"))
        BY_NAME["docker"].start(settings, tmp_path)
        by_infra = confinement(engine.client.containers.get("llm-inference-container"))
    finally:
        BY_NAME["docker"].remove(settings)
        docker(*compose, "down", **environment)
    assert by_compose | {"User": ""} == by_infra | {"User": ""}
