"""The Flask service that comes with Fourfold: its files, its answers, and what the page says of its connections."""

from __future__ import annotations

import csv
import json
import re
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, free_port
from recorded_runs import measured, request, steady_samples, warmed, whole_experiment, write_experiment, write_run

from analysis.analyse import analyse
from analysis.judge.findings import Finding
from analysis.read.results import read_results
from analysis.read.runs import KEEP_ALIVE
from analysis.show.page import render
from inference.metrics_log import HEADER
from infra.deployments import host
from infra.deployments.docker_engine import Engine
from infra.deployments.images import build_image
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME, deployed
from infra.errors import DeploymentError
from servicefile.service_file import read_service

FOLDER = ROOT / "services" / "flask"
SERVICE = read_service(FOLDER / "service.toml")
KEYWORDS = ["FROM", "WORKDIR", "COPY", "RUN", "COPY", "ENV", "EXPOSE", "CMD"]
TEXT = 'A "quiet" film, and a fantastic one'


def instructions() -> list[tuple[str, str]]:
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines if line and not line.startswith("#")]


def test_the_dockerfile_has_the_eight_instructions_of_the_assignment() -> None:
    assert [keyword for keyword, _ in instructions()] == KEYWORDS
    said = dict(instructions())
    assert said["FROM"] == "python:3.12-slim"
    assert said["WORKDIR"] == SERVICE.metrics.folder
    assert said["EXPOSE"] == str(SERVICE.port)
    assert json.loads(said["CMD"]) == list(SERVICE.command or ())
    variables = dict(pair.split("=") for pair in said["ENV"].split())
    assert variables["METRICS_LOG_FILE"] == "docker_system_inference_metrics.csv"
    (mount,) = SERVICE.container.mounts
    assert mount == f"{ROOT / 'inference' / 'bundled_model'}:{variables['BUNDLED_MODEL']}:ro"


def test_the_compose_file_has_the_port_and_the_file_of_the_assignment() -> None:
    (service,) = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())["services"].values()
    assert service["image"] == SERVICE.image
    assert service["ports"] == [f"8080:{SERVICE.port}"]
    file = f"{SERVICE.metrics.folder}/{service['environment']['METRICS_LOG_FILE']}"
    metrics, model = service["volumes"]
    assert metrics == f"./compose_inference_metrics.csv:{file}"
    (mount,) = SERVICE.container.mounts
    assert str((FOLDER / model.split(":")[0]).resolve()) + model[model.index(":") :] == mount


def test_fourfolds_own_python_has_what_the_service_needs() -> None:
    """So the host process starts without an installation of its own."""
    ours = {
        line
        for name in ("requirements.txt", "requirements-serve.txt")
        for line in (ROOT / "inference" / name).read_text().splitlines()
    }
    theirs = {line for line in (FOLDER / "requirements.txt").read_text().splitlines() if not line.startswith("#")}
    assert theirs - ours == {"flask>=3.0,<4"}  # Locust needs it too


def infer(url: str, content: object) -> tuple[int, dict[str, object]]:
    asked = urllib.request.Request(
        f"{url}/infer", json.dumps(content).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def ask_and_copy_rows(name: str, folder: Path) -> list[dict[str, str]]:
    """Ask the deployment for ``TEXT``, and for something wrong. The rows of its metrics file."""
    settings = Settings(service=SERVICE, ports={BY_NAME[name].facts.kind: free_port()})
    with deployed(name, settings, folder / name) as running:
        status, answer = infer(running.url, {"text": TEXT})
        assert status == 200
        assert answer["label"] == "POSITIVE"
        assert isinstance(answer["score"], float)
        assert isinstance(answer["latency_ms"], float)
        assert infer(running.url, ["text"]) == (400, {"error": 'send JSON with a text: {"text": "..."}'})
        (file,) = running.service.copy_metrics(folder)
    assert running.service.gone() is not None
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert float(rows[-1]["Inference Latency (ms)"]) == answer["latency_ms"]
    return rows


def check_rows(rows: list[dict[str, str]], began: datetime) -> None:
    """One row of the request that showed that the service is ready, and one of ``TEXT``."""
    assert [tuple(row) for row in rows] == [HEADER] * 2
    assert (rows[1]["Input Text"], rows[1]["Prediction"]) == (TEXT, "POSITIVE")
    assert began <= datetime.fromisoformat(rows[1]["Timestamp"]).replace(tzinfo=UTC) <= datetime.now(UTC)


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "STATE", tmp_path / "host.json")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # the small model answers, wherever the tests run


@pytest.mark.usefixtures("own_state")
def test_the_host_process_answers_and_writes_a_row_for_each_answer(tmp_path: Path) -> None:
    began = datetime.now(UTC)
    check_rows(ask_and_copy_rows("host", tmp_path), began)
    log = (tmp_path / "host" / "service.log").read_text()
    assert "HF_HUB_OFFLINE" in log
    assert "The small model serves instead." in log
    assert f"The model {ROOT / 'inference' / 'bundled_model'} serves." in log


@pytest.mark.engine
@pytest.mark.usefixtures("own_state")
def test_a_container_of_its_image_answers_and_writes_its_rows(engine: Engine, tmp_path: Path) -> None:
    try:
        build_image(SERVICE, tmp_path / "image_build.log", lambda _: None)
    except DeploymentError as error:
        if "No matching distribution found" not in str(error):
            raise
        pytest.skip(f"the base image lacks packages for services/flask: {error}")
    began = datetime.now(UTC)
    check_rows(ask_and_copy_rows("docker", tmp_path), began)


def load_over(folder: Path, connections: dict[str, tuple[int, int]], user_class: str = KEEP_ALIVE) -> list[Finding]:
    """The findings on loads in which each deployment's users opened so many connections for so many answers."""
    write_experiment(folder, [measured(name) for name in connections])
    for name, (opened, answers) in connections.items():
        rows = [
            request(2 + number / answers, replica="", connection_reused=int(number >= opened))
            for number in range(answers)
        ]
        sampled = [f"llm.{number + 1}" for number in range(3 if name == "swarm-3" else 1)]
        samples = [row for replica in sampled for row in steady_samples(0.5, replica=replica, replica_id=replica)]
        write_run(folder / name, "load", warmed(rows), samples, user_class=user_class)
    return [each for each in analyse(read_results(folder)).findings if each.id == "finding-connections"]


def test_a_server_that_closes_kept_connections_is_found(tmp_path: Path) -> None:
    (found,) = load_over(tmp_path, {"host": (1234, 1234), "docker": (8, 1000)})
    assert found.text == (
        "The server closes the connection after an answer, although the users keep theirs. Answers for which a new "
        "connection was opened: Host process 1,234 of 1,234. Opening it is a part of these response times. So "
        "keep_alive measures the same here as new_connection."
    )


def test_swarm_then_balances_requests(tmp_path: Path) -> None:
    (one,) = load_over(tmp_path / "one", {"swarm-1": (900, 1000)})
    assert "Swarm deals" not in one.text
    (three,) = load_over(tmp_path / "three", {"host": (501, 1000), "swarm-3": (900, 1000)})
    assert "Host process 501 of 1,000; Swarm, 3 replicas 900 of 1,000." in three.text
    assert three.text.endswith(
        "Swarm gives each new connection to the next replica, so here it balances requests, not users."
    )
    ids = set(re.findall(r'id="([^"]+)"', render(analyse(read_results(tmp_path / "three")))))
    assert {part.anchor for part in three.parts if not isinstance(part, str)} <= ids


def test_a_server_that_keeps_connections_or_is_asked_over_new_ones_gets_no_such_finding(tmp_path: Path) -> None:
    assert load_over(tmp_path / "half", {"host": (500, 1000)}) == []
    assert load_over(tmp_path / "new", {"host": (1000, 1000)}, user_class="NewConnectionUser") == []
    assert not any("Connections" in each.title for each in analyse(read_results(whole_experiment(tmp_path))).findings)
