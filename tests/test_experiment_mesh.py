"""Swarm's routing mesh for real: one replica, three replicas, and who answered what.

On an engine whose kernel has IPVS the tests run as they are. Else the environment names an engine elsewhere:
FOURFOLD_MESH_HOST (its DOCKER_HOST), FOURFOLD_MESH_REACH (where its port 8080 answers) and FOURFOLD_MESH_IMAGE (an
image of the service that lies there).
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from infra.engine import connect, why_no_mesh
from infra.errors import DeploymentError
from infra.images import find_image
from infra.settings import IMAGE

pytestmark = pytest.mark.mesh


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments that lead to an engine with a mesh, and the engine in DOCKER_HOST."""
    if host := os.environ.get("FOURFOLD_MESH_HOST"):
        monkeypatch.setenv("DOCKER_HOST", host)
        where = ["--image", os.environ["FOURFOLD_MESH_IMAGE"], "--reach", f"swarm={os.environ['FOURFOLD_MESH_REACH']}"]
        return [*where, "--start-timeout", "400"]
    try:
        engine = connect()
        reason = why_no_mesh(engine)
        find_image(engine, IMAGE)
    except DeploymentError as error:
        reason = str(error)
    if reason:
        pytest.skip(reason)
    return ["--image", IMAGE]


def state() -> list[str]:
    client = connect().client
    names = [one.name for one in client.containers.list(all=True)] + [one.name for one in client.networks.list()]
    return sorted([*names, str(client.info()["Swarm"]["LocalNodeState"])])


def run(results: Path, mesh: list[str], *arguments: str) -> tuple[Path, dict[str, dict[str, Any]]]:
    command = [sys.executable, "-m", "infra", "run", "--results", str(results), *mesh, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = results.iterdir()
    said = json.loads((folder / "experiment.json").read_text())
    return folder, {one["name"]: one for one in said["deployments"]}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def shares(folder: Path, name: str) -> dict[str, float]:
    answered = Counter(row["replica"] for row in rows(folder / name / "load_requests.csv") if row["status"] == "200")
    return {replica: count / answered.total() for replica, count in answered.items()}


def test_one_and_three_replicas_are_measured_through_the_mesh(mesh: list[str], tmp_path: Path) -> None:
    before = state()
    folder, deployments = run(
        tmp_path, mesh, "--only", "swarm-1,swarm-3", "--users", "6", "--seconds", "15", "--user-class", "new_connection"
    )
    assert deployments["swarm-1"]["status"] == deployments["swarm-3"]["status"] == "measured"
    assert list(shares(folder, "swarm-1")) == ["llm-inference-service.1"]
    of_three = shares(folder, "swarm-3")
    assert sorted(of_three) == [f"llm-inference-service.{slot}" for slot in (1, 2, 3)]
    assert all(abs(share - 1 / 3) < 0.05 for share in of_three.values())
    samples = rows(folder / "swarm-3" / "load_replica_stats.csv")
    for replica in of_three:
        sent = [int(one["net_tx_bytes"]) for one in samples if one["replica"] == replica]
        assert sent[-1] > sent[0]
    assert len(deployments["swarm-3"]["metrics_files"]) == 3
    logged = [row["Input Text"] for file in deployments["swarm-3"]["metrics_files"] for row in rows(folder / file)]
    assert len(logged) == 160
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(replica in page for replica in of_three)
    assert state() == before


def test_keep_alive_users_stay_with_their_replica(mesh: list[str], tmp_path: Path) -> None:
    folder, _ = run(tmp_path, mesh, "--only", "swarm-3", "--users", "3", "--seconds", "10")
    requested = rows(folder / "swarm-3" / "load_requests.csv")
    opened = [row for row in requested if row["connection_reused"] == "0"]
    assert len(opened) == 3
    assert len({row["replica"] for row in requested}) == 3
