"""Swarm's routing mesh with users that keep their connections and users that do not, and what the page says of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest
import requests
from conftest import ROOT, Mesh, names_on
from recorded_runs import measured, write_experiment

from analysis.analyse import Analysis, analyse
from analysis.measure.balance import evenness, replica_shares
from analysis.read.results import read_results
from analysis.read.runs import Run
from analysis.show.page import render
from infra.deployments.waiting import until_true

pytestmark = pytest.mark.mesh

NAME = "fourfold-test-balance"
REPLICAS = {f"{NAME}.{slot}" for slot in (1, 2, 3)}
SLOW_S = 300.0


@pytest.fixture
def three_replicas(mesh: Mesh) -> Iterator[Mesh]:
    """A service of three replicas that wait instead of computing, in a swarm of the test's own."""
    client = mesh.engine.client
    before = names_on(mesh.engine)
    address, _, _ = os.environ.get("FOURFOLD_MESH_ADDRESSES", "").partition(",")
    client.swarm.init(advertise_addr=address or None)
    options = ["--name", NAME, "--replicas", "3", "--publish", "8080:5000", "--env", "LIGHT_MS=400", "--detach"]
    options += ["--env", "REPLICA_NAME={{.Service.Name}}.{{.Task.Slot}}", "--no-resolve-image"]
    try:
        subprocess.run(["docker", "service", "create", *options, mesh.image], check=True, capture_output=True)
        assert until_true(lambda: {who_answers(mesh) for _ in range(3)} == REPLICAS, SLOW_S)
        yield mesh
    finally:
        subprocess.run(["docker", "service", "rm", NAME], check=False, capture_output=True)
        labelled = {"label": f"com.docker.swarm.service.name={NAME}"}
        until_true(lambda: not client.containers.list(all=True, filters=labelled, ignore_removed=True), SLOW_S)
        client.swarm.leave(force=True)
        if "docker_gwbridge" not in before:
            client.networks.get("docker_gwbridge").remove()
    assert names_on(mesh.engine) == before


def who_answers(mesh: Mesh) -> str | None:
    """The replica that a new connection leads to."""
    try:
        return requests.get(f"{mesh.url}/health", timeout=10).headers.get("X-Replica")
    except requests.RequestException:
        return None


def loaded(mesh: Mesh, users: str, folder: Path, *options: str) -> tuple[Analysis, Run]:
    """Four users of a class for a while, analysed as an experiment's round of three replicas is."""
    own = folder / "swarm-3" / "round-1"
    own.mkdir(parents=True)
    write_experiment(folder, [measured("swarm-3")])
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / f"{users}.py"), "--headless"]
    command += ["-u", "4", "-r", "4", "-t", "25", "--host", mesh.url, "--csv", str(own / "load")]
    command += ["--replicas", f"swarm:{NAME}", *options]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    found = analyse(read_results(folder))
    (run,) = found.results.deployments[0].loads.values()
    return found, run


def test_connections_are_dealt_round_and_users_that_keep_theirs_stay(three_replicas: Mesh, tmp_path: Path) -> None:
    analysis, run = loaded(three_replicas, "keep_alive", tmp_path / "kept")
    shares = {share.name: share for share in replica_shares(run)}
    assert set(shares) == REPLICAS
    assert sorted(share.connections for share in shares.values()) == [1, 1, 2]
    print("keep-alive", {name: round(share.request_share, 3) for name, share in shares.items()})
    assert sorted(share.request_share for share in shares.values()) == pytest.approx([0.25, 0.25, 0.5], abs=0.06)
    even = evenness(run)
    assert even is not None
    assert even.expected_largest == 0.5
    assert "4 users keep their connections: at most 2 of them on one replica" in render(analysis)

    analysis, run = loaded(three_replicas, "new_connection", tmp_path / "new")
    shares = {share.name: share for share in replica_shares(run)}
    print("new connections", {name: round(share.request_share, 3) for name, share in shares.items()})
    assert all(share.request_share == pytest.approx(1 / 3, abs=0.04) for share in shares.values())
    even = evenness(run)
    assert even is not None
    assert even.expected_largest == pytest.approx(1 / 3)
    assert even.jain > 0.98
    assert "each request has a connection of its own" in render(analysis)


@pytest.fixture
def second(mesh: Mesh) -> Iterator[tuple[Mesh, str]]:
    """A swarm of two nodes with a service of four replicas on both, and the URL of the second node's engine."""
    url = os.environ.get("FOURFOLD_MESH_SECOND")
    if url is None:
        pytest.skip("FOURFOLD_MESH_SECOND names no engine of a second machine that the first one reaches")
    client, other = mesh.engine.client, docker.DockerClient(base_url=url, timeout=60)
    address, _, its_address = os.environ["FOURFOLD_MESH_ADDRESSES"].partition(",")
    client.swarm.init(advertise_addr=address)
    options = ["--name", NAME, "--replicas", "4", "--publish", "8080:5000", "--detach", "--no-resolve-image"]
    options += ["--env", "REPLICA_NAME={{.Service.Name}}.{{.Task.Slot}}"]
    try:
        client.swarm.reload()
        token = client.swarm.attrs["JoinTokens"]["Worker"]
        with suppress(docker.errors.APIError):  # on a slow machine it goes on in the background
            other.swarm.join([f"{address}:2377"], token, advertise_addr=its_address)
        assert until_true(lambda: other.info()["Swarm"]["LocalNodeState"] == "active", SLOW_S)
        subprocess.run(["docker", "service", "create", *options, mesh.image], check=True, capture_output=True)
        assert until_true(lambda: len({who_answers(mesh) for _ in range(4)}) == 4, SLOW_S)
        yield mesh, url
    finally:
        subprocess.run(["docker", "service", "rm", NAME], check=False, capture_output=True)
        labelled = {"label": f"com.docker.swarm.service.name={NAME}"}
        for node in (client, other):
            until_true(lambda node=node: not node.containers.list(all=True, filters=labelled), SLOW_S)  # type: ignore[misc]
        for node in (other, client):
            with suppress(docker.errors.APIError):  # it is in no swarm
                node.swarm.leave(force=True)
            for bridge in node.networks.list(names=["docker_gwbridge"]):
                bridge.remove()
        other.close()


def test_replicas_of_another_node_are_sampled_over_its_engine(second: tuple[Mesh, str], tmp_path: Path) -> None:
    mesh, url = second
    analysis, run = loaded(mesh, "new_connection", tmp_path / "both", "--docker-host", url)
    sampled = run.samples.groupby("node", observed=True)["replica"].nunique()
    print("replicas a node", dict(sampled))
    assert sorted(sampled) == [2, 2]
    assert all(replica.sampled for replica in run.record.replicas.list)

    analysis, run = loaded(mesh, "new_connection", tmp_path / "one")
    away = [replica.name for replica in run.record.replicas.list if not replica.sampled]
    assert len(away) == 2
    page = render(analysis)
    assert all(f"{name} was not sampled: it runs on another node" in page for name in away[:1])
