"""Dockerfile, docker-compose.yml and stack.yml follow the assignment and agree with each other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from conftest import ROOT

from infra.deployments.confinement import (
    MEMORY_BYTES,
    PIDS,
    RESERVED_MEMORY_BYTES,
    SECOND_NS,
    STOP_SIGNAL,
    TMP_BYTES,
    healthcheck,
)
from infra.deployments.containers import METRICS_FILE
from infra.deployments.docker_engine import why_docker_fails
from infra.deployments.table import PORTS
from servicefile.service_file import read_service

OWN = read_service()
PORT, IMAGE, STOP_S = OWN.port, OWN.image, OWN.container.stop_s
HEALTHCHECK = healthcheck(OWN.container) or {}
METRICS_PATH = f"{OWN.metrics.folder}/{METRICS_FILE}"

ALLOWED = {"FROM", "WORKDIR", "COPY", "ENV", "RUN", "EXPOSE", "CMD"}


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile as pairs of keyword and rest, without comments, with continued lines joined."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split()[0], line.partition(" ")[2]) for line in joined.splitlines()]


def of(keyword: str) -> list[str]:
    """The instructions with this keyword in the Dockerfile, in order, without the keyword."""
    return [rest for found, rest in instructions((ROOT / "Dockerfile").read_text()) if found == keyword]


def service(file: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / file).read_text())["services"][name]
    return found


@pytest.fixture(name="compose")
def compose_service() -> dict[str, Any]:
    return service("docker-compose.yml", "llm-inference")


@pytest.fixture(name="stack")
def stack_service() -> dict[str, Any]:
    return service("stack.yml", "inference")


def test_the_dockerfile_uses_no_other_keyword() -> None:
    keywords = {keyword for keyword, _ in instructions((ROOT / "Dockerfile").read_text())}
    assert keywords <= ALLOWED
    assert "USER" in {keyword for keyword, _ in instructions("FROM x\nUSER me\n")} - ALLOWED  # the reader sees them


def test_the_dockerfile_says_what_the_assignment_asks_for() -> None:
    assert of("FROM")[0].split()[0] == "python:3.12-slim"
    assert of("WORKDIR")[0] == "/app"
    assert "requirements.txt" in of("COPY")[0]
    assert of("COPY")[-2:] == [
        "inference/*.py inference/health.sh inference/",
        "inference/engines inference/engines",
    ]
    assert of("ENV")[0].split()[0] == "METRICS_LOG_FILE=docker_system_inference_metrics.csv"
    assert set(of("EXPOSE")) == {str(PORT)}
    assert json.loads(of("CMD")[0]) == ["python", "-m", "inference"]


def test_compose_and_stack_name_the_same_image_and_port(compose: dict[str, Any], stack: dict[str, Any]) -> None:
    for deployed in (compose, stack):
        assert deployed["image"].startswith("${INFERENCE_IMAGE:-")
        assert deployed["image"].endswith(f"{IMAGE}}}")
    assert "${DOCKERHUB_USER" in compose["image"]
    assert compose["ports"] == [f"127.0.0.1:${{PUBLISHED_PORT:-{PORTS['compose']}}}:{PORT}"]
    assert stack["ports"] == [{"target": PORT, "published": PORTS["compose"], "mode": "ingress"}]


def test_compose_and_stack_are_watched_and_stopped_alike(compose: dict[str, Any], stack: dict[str, Any]) -> None:
    for key in ("healthcheck", "init", "stop_signal", "stop_grace_period"):
        assert compose[key] == stack[key], key
    check = compose["healthcheck"]
    assert check["test"] == HEALTHCHECK["Test"]
    for key, name in (("interval", "Interval"), ("timeout", "Timeout"), ("start_period", "StartPeriod")):
        assert check[key] == f"{HEALTHCHECK[name] // SECOND_NS}s"
    assert check["retries"] == HEALTHCHECK["Retries"]
    assert compose["init"] is True
    assert compose["stop_signal"] == STOP_SIGNAL
    assert compose["stop_grace_period"] == f"{STOP_S}s"


def test_compose_and_stack_have_the_same_limits_and_hardening(compose: dict[str, Any], stack: dict[str, Any]) -> None:
    for key in ("user", "read_only", "cap_drop"):
        assert compose[key] == stack[key], key
    assert compose["user"] == "${SERVICE_USER:-1000:1000}"
    assert compose["read_only"] is True
    assert compose["cap_drop"] == ["ALL"]
    assert compose["security_opt"] == ["no-new-privileges:true"]  # Swarm has no option for it
    assert compose["tmpfs"] == [f"/tmp:size={TMP_BYTES // 1024**2}m"]  # noqa: S108  inside the container
    assert {"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": TMP_BYTES}} in stack["volumes"]  # noqa: S108  as above
    memory = f"{MEMORY_BYTES // 1024**3}G"
    reservations = {"memory": f"{RESERVED_MEMORY_BYTES // 1024**2}M"}
    assert stack["deploy"]["resources"] == {"limits": {"memory": memory, "pids": PIDS}, "reservations": reservations}
    assert compose["deploy"]["resources"] == {
        "limits": {"memory": f"${{MEMORY_LIMIT:-{memory}}}", "cpus": "${CPU_LIMIT:-0}", "pids": PIDS},
        "reservations": reservations,
    }


@pytest.mark.parametrize(
    "command", [["stack", "config", "-c", "stack.yml"], ["compose", "-f", "docker-compose.yml", "config", "--quiet"]]
)
def test_the_docker_command_takes_the_file(command: list[str]) -> None:
    if shutil.which("docker") is None or why_docker_fails(command[0], "--help") is not None:
        pytest.skip(f"there is no docker {command[0]}")
    done = subprocess.run(["docker", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_each_writes_the_metrics_file_that_the_assignment_names(compose: dict[str, Any], stack: dict[str, Any]) -> None:
    inside = compose["environment"]["METRICS_LOG_FILE"]
    assert inside == "inside_compose_inference_metrics.csv"
    assert compose["volumes"] == [f"${{METRICS_FOLDER:-.}}/compose_inference_metrics.csv:/app/{inside}"]
    assert f"/app/{stack['environment']['METRICS_LOG_FILE']}" == METRICS_PATH


def test_the_stack_rolls_out_without_a_gap(stack: dict[str, Any]) -> None:
    update, rollback = stack["deploy"]["update_config"], stack["deploy"]["rollback_config"]
    assert update["order"] == rollback["order"] == "start-first"
    assert update["failure_action"] == "rollback"
    assert stack["deploy"]["restart_policy"]["condition"] == "any"
