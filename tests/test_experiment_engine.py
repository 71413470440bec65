"""The experiment with a real engine: it measures docker run and Compose, leaves nothing, and harms nothing."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, free_port, names_on
from test_experiment_resume import files, kill_in_round, record

from infra.deployments.compose import why_no_compose
from infra.deployments.containers import why_gone
from infra.deployments.docker_engine import Engine
from runfiles.events import CUT_OFF

pytestmark = pytest.mark.engine


@pytest.fixture
def image(engine: Engine, service_image: str) -> str:
    """The service's image, on an engine with Compose."""
    if reason := why_no_compose(engine):
        pytest.skip(reason)
    return service_image


def infra(results: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "infra", "run", "--results", str(results), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def experiment(results: Path) -> tuple[Path, dict[str, dict[str, Any]]]:
    (folder,) = results.iterdir()
    said = json.loads((folder / "experiment.json").read_text())
    return folder, {deployment["name"]: deployment for deployment in said["deployments"]}


def ports() -> list[str]:
    return ["--port", f"docker={free_port()}", "--port", f"compose={free_port()}", "--port", f"host={free_port()}"]


def test_docker_and_compose_are_measured_and_nothing_is_left(
    engine: Engine, image: str, bystanders: list[str], tmp_path: Path
) -> None:
    quick = ["--set", "rounds=1", "users=3", "seconds=4", "warm_up_s=1", "cpus=1.5", "memory_mb=1024"]
    run = infra(tmp_path, "--only", "docker,compose", "--image", image, *quick, *ports())
    said, _ = run.communicate(timeout=240)
    assert run.returncode in (0, 3), said  # 3: so short a run is nothing to rely on
    folder, deployments = experiment(tmp_path)
    with (ROOT / "texts" / "reviews.csv").open(newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    for name in ("docker", "compose"):
        assert deployments[name]["status"] == "measured"
        (measured,) = deployments[name]["rounds"]
        assert measured["limits"] == {"cpus": 1.5, "memory_bytes": 1024**3, "cpuset": None}
        (metrics,) = measured["metrics_files"]
        assert (folder / metrics).read_bytes().count(b"\n") == 161
        with (folder / metrics).open(newline="") as file:
            assert [row["Input Text"] for row in csv.DictReader(file)] == texts
        with (folder / name / "round-1" / "load_replica_stats.csv").open(newline="") as file:
            samples = list(csv.DictReader(file))
        assert len(samples) > 8
        received = [int(sample["net_rx_bytes"]) for sample in samples]
        assert received == sorted(received)
        assert received[-1] > received[0]
        assert any(float(sample["cpu_percent"] or 0) > 10 for sample in samples)
        with (folder / name / "round-1" / "load_requests.csv").open(newline="") as file:
            answered_by = {row["replica"] for row in csv.DictReader(file)}
        assert answered_by == {samples[0]["replica_id"]}
    assert deployments["host"]["reason"] == "not in the plan"
    assert (folder / "report.html").is_file()
    assert names_on(engine) == bystanders


@pytest.mark.parametrize(("number", "layout"), [(signal.SIGINT, "blocks"), (signal.SIGTERM, "turns")])
def test_an_interrupted_run_leaves_nothing_and_keeps_what_it_has(
    engine: Engine, image: str, bystanders: list[str], tmp_path: Path, number: signal.Signals, layout: str
) -> None:
    options = ["--set", "seconds=60", f"layout={layout}", *ports()]
    run = infra(tmp_path, "--only", "docker,compose", "--image", image, *options)
    until = time.monotonic() + 120
    while not list(tmp_path.glob("*/docker/round-1/load_run.json")):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < until
        time.sleep(0.2)
    run.send_signal(number)
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 130, said
    assert "Traceback" not in said
    folder, deployments = experiment(tmp_path)
    assert deployments["docker"]["status"] == "failed"
    assert deployments["docker"]["rounds"][0]["runs"] == ["single_pass"]
    if layout == "blocks":
        assert deployments["compose"]["rounds"][0]["runs"] == ["single_pass"]
        assert deployments["compose"]["reason"] == deployments["docker"]["reason"] == CUT_OFF
    else:
        assert deployments["compose"]["reason"] == "the experiment ended before its turn"
    assert json.loads((folder / "docker" / "round-1" / "load_run.json").read_text())["ended_by"] == "interrupted"
    assert (folder / "report.html").is_file()
    assert names_on(engine) == bystanders


@pytest.mark.slow
def test_one_that_was_killed_is_continued_and_its_rounds_are_alike(
    engine: Engine, image: str, bystanders: list[str], tmp_path: Path
) -> None:
    quick = ["--set", "rounds=2", "users=1", "seconds=10", "block_s=0.5", "requests=60", "warm_up_s=1", "rest_s=0"]
    killed = infra(tmp_path, "--only", "docker,compose", "--image", image, *quick, *ports())
    kill_in_round(killed, tmp_path, "compose/round-2")
    half, _ = experiment(tmp_path)
    first = files(half / "docker/round-1"), files(half / "compose/round-1")
    command = [sys.executable, "-m", "infra", "run", "--resume", str(half)]
    continued = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert continued.returncode in (0, 3), continued.stdout + continued.stderr
    assert "removed what was left: Compose project fourfold-bench" in continued.stdout
    assert "removed what was left: container llm-inference-container" in continued.stdout
    for deployment in record(half)["deployments"]:
        if deployment["name"] in ("docker", "compose"):
            assert [each["status"] for each in deployment["rounds"]] == ["measured", "measured"]
    assert (files(half / "docker/round-2"), files(half / "compose/round-2")) == first
    assert names_on(engine) == bystanders


@pytest.mark.parametrize("name", ["docker", "compose"])
def test_what_a_killed_run_left_is_found_and_removed(
    engine: Engine, image: str, bystanders: list[str], tmp_path: Path, name: str
) -> None:
    run = infra(tmp_path, "--only", name, "--image", image, "--set", "seconds=3", *ports())
    kill_in_round(run, tmp_path, f"{name}/round-1")
    assert names_on(engine) != bystanders
    down = subprocess.run(
        [sys.executable, "-m", "infra", "down", "--all"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {"docker": "container llm-inference-container", "compose": "Compose project fourfold-bench"}[
        name
    ] in down.stdout
    assert names_on(engine) == bystanders


def test_a_service_that_does_not_start_is_a_failure_with_its_evidence(
    engine: Engine, image: str, bystanders: list[str], tmp_path: Path
) -> None:
    tag = "fourfold-broken:test"
    broken = engine.client.containers.create(image, ["python", "-c", "raise SystemExit('no model here')"])
    try:
        broken.commit("fourfold-broken", "test")
        run = infra(tmp_path, "--only", "docker,compose", "--image", tag, "--set", "rounds=1", *ports())
        said, _ = run.communicate(timeout=120)
    finally:
        broken.remove(force=True)
        engine.client.images.remove(tag)
    assert run.returncode == 1, said
    _, deployments = experiment(tmp_path)
    assert deployments["docker"]["status"] == "failed"
    assert "exit code 1: no model here" in deployments["docker"]["reason"]
    assert deployments["compose"]["status"] == "failed"
    assert "no model here" in deployments["compose"]["reason"]
    assert names_on(engine) == bystanders


@pytest.mark.parametrize("name", ["docker", "compose"])
def test_a_container_that_is_killed_fails_its_round_at_once_with_its_last_words(
    engine: Engine, image: str, bystanders: list[str], tmp_path: Path, name: str
) -> None:
    quick = ["--set", "rounds=1", "seconds=600", "warm_up_s=1"]
    run = infra(tmp_path, "--only", name, "--image", image, *quick, *ports())
    until = time.monotonic() + 120
    while not list(tmp_path.glob(f"*/{name}/round-1/load_run.json")):
        assert run.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    container = {"docker": "llm-inference-container", "compose": "fourfold-bench-llm-inference-1"}[name]
    engine.client.containers.get(container).kill()
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 1, said
    _, deployments = experiment(tmp_path)
    (killed,) = deployments[name]["rounds"]
    expected = f"container {container} ended with exit code 137 (killed by a person or another program, or by "
    expected += "the kernel because memory was short): serving "
    assert killed["reason"].startswith(expected)
    assert killed["runs"] == ["single_pass"]
    assert names_on(engine) == bystanders


def test_a_container_that_is_killed_in_a_group_is_lost_and_the_host_is_measured_without_it(
    engine: Engine, image: str, bystanders: list[str], tmp_path: Path
) -> None:
    quick = ["--set", "rounds=1", "users=2", "seconds=3", "warm_up_s=1", "block_s=0.5"]
    run = infra(tmp_path, "--only", "host,docker", "--image", image, *quick, *ports())
    until = time.monotonic() + 120
    while not any(path.read_bytes().count(b"\n") > 1 for path in tmp_path.glob("*/docker/round-1/load_blocks.csv")):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)
    engine.client.containers.get("llm-inference-container").kill()
    said, _ = run.communicate(timeout=120)
    assert run.returncode == 1, said
    assert "Round 1 of 1: the load begins anew, without docker run" in said
    folder, deployments = experiment(tmp_path)
    (killed,), (host,) = deployments["docker"]["rounds"], deployments["host"]["rounds"]
    assert "ended with exit code 137" in killed["reason"]
    assert (killed["status"], killed["runs"]) == ("failed", ["single_pass"])
    assert (host["status"], host["runs"], host["group"]) == ("measured", ["single_pass", "load"], 1)
    record = json.loads((folder / "host/round-1/load_run.json").read_text())
    assert record["blocks"]["deployments"] == ["host"]
    assert record["failures"] == 0
    assert names_on(engine) == bystanders


def test_why_a_container_is_gone_is_one_line_whatever_it_said(engine: Engine, image: str) -> None:
    says = "print('x' * 10**6); print(chr(27) + '[2J' + chr(27) + ']0;t' + chr(7) + 'the end' + chr(8)); print()"
    container = engine.client.containers.create(image, ["python", "-c", f"{says}; raise SystemExit(7)"], name="gone")
    try:
        assert why_gone(container) is None
        container.start()
        container.wait(timeout=60)
        assert why_gone(container) == "container gone ended with exit code 7: the end"
    finally:
        container.remove(force=True)
    assert why_gone(container) == "container gone was removed"


def test_a_foreign_container_of_the_same_name_is_left_alone(engine: Engine, image: str, tmp_path: Path) -> None:
    foreign = engine.client.containers.create(image, name="llm-inference-container")
    try:
        run = infra(tmp_path, "--only", "docker", "--image", image, *ports())
        said, _ = run.communicate(timeout=60)
        _, deployments = experiment(tmp_path)
        assert "that Fourfold did not make" in deployments["docker"]["reason"]
        assert run.returncode == 1, said
        foreign.reload()
        assert foreign.status == "created"
    finally:
        foreign.remove()
