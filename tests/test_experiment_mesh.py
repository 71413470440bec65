"""The experiment through Swarm's routing mesh: one replica, three replicas, and who answered what."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Mesh, names_on

pytestmark = pytest.mark.mesh


def run(results: Path, mesh: Mesh, *arguments: str) -> tuple[Path, dict[str, dict[str, Any]]]:
    command = [sys.executable, "-m", "infra", "run", "--results", str(results), *mesh.arguments, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    (folder,) = results.iterdir()
    said = json.loads((folder / "experiment.json").read_text())
    return folder, {deployment["name"]: deployment for deployment in said["deployments"]}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def shares(folder: Path, name: str) -> dict[str, float]:
    answered = Counter(
        row["replica"] for row in rows(folder / name / "round-1" / "load_requests.csv") if row["status"] == "200"
    )
    return {replica: count / answered.total() for replica, count in answered.items()}


def test_one_and_three_replicas_are_measured_through_the_mesh(mesh: Mesh, tmp_path: Path) -> None:
    before = names_on(mesh.engine)
    folder, deployments = run(
        *(tmp_path, mesh, "--only", "swarm-1,swarm-3"),
        *("--set", "rounds=1", "users=6", "seconds=20", "user_class=new_connection"),
    )
    assert deployments["swarm-1"]["status"] == deployments["swarm-3"]["status"] == "measured"
    assert list(shares(folder, "swarm-1")) == ["llm-inference-service.1"]
    of_three = shares(folder, "swarm-3")
    assert sorted(of_three) == [f"llm-inference-service.{slot}" for slot in (1, 2, 3)]
    assert all(abs(share - 1 / 3) < 0.05 for share in of_three.values())
    samples = rows(folder / "swarm-3" / "round-1" / "load_replica_stats.csv")
    for replica in of_three:
        sent = [int(sample["net_tx_bytes"]) for sample in samples if sample["replica"] == replica]
        assert sent[-1] > sent[0]
    metrics_files = deployments["swarm-3"]["rounds"][0]["metrics_files"]
    assert len(metrics_files) == 3
    logged = [row["Input Text"] for file in metrics_files for row in rows(folder / file)]
    assert len(logged) == 160
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(replica in page for replica in of_three)
    assert names_on(mesh.engine) == before
