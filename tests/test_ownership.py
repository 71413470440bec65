"""Two checkouts on one engine: each removes only what it made, and names the other checkout's folder."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, free_port

from infra.deployments import compose, docker_run, host, host_there, ownership, swarm
from infra.deployments.compose import why_no_compose
from infra.deployments.docker_engine import Engine
from infra.deployments.own_process import identity
from infra.deployments.ownership import CHECKOUT, CHECKOUT_LABEL, LABEL, is_ours, labels, why_not_ours
from infra.deployments.settings import Settings
from infra.deployments.swarm_service import containers_of
from infra.deployments.table import BY_NAME
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError

HERE = platform.node()


def made_by(checkout: str) -> dict[str, str]:
    return {LABEL: "docker", CHECKOUT_LABEL: checkout}


def checkout_in(folder: Path) -> Path:
    """A second checkout with the files that infra needs to start containers. The image exists already."""
    for name in ("infra", "inference", "runfiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "bundled_model"))
    for name in ("addresses.py", "docker-compose.yml"):
        shutil.copy(ROOT / name, folder)
    return folder


def infra(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "infra", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_what_this_checkout_made_is_known_under_each_name_of_its_folder(tmp_path: Path) -> None:
    assert labels("docker") == made_by(f"{ROOT} on {HERE}")
    assert is_ours(labels("docker"))
    link = tmp_path / "other name"
    link.symlink_to(ROOT)
    assert is_ours(made_by(f"{link} on {HERE}"))
    assert why_not_ours(made_by(f"{link} on {HERE}"), "container c", "docker", "docker rm c") is None
    assert not is_ours({CHECKOUT_LABEL: CHECKOUT})
    assert why_not_ours({}, "container c", "docker", "docker rm c") is None  # Fourfold did not make it


def test_whose_it_is_and_how_it_is_removed_is_told(tmp_path: Path) -> None:
    def why(checkout: str) -> str | None:
        return why_not_ours(made_by(checkout), "container c", "docker", "docker rm c")

    (tmp_path / "there" / "infra").mkdir(parents=True)
    (tmp_path / "there" / "infra" / "__main__.py").touch()
    there, gone = tmp_path / "there", tmp_path / "gone on holiday"
    end_there = "end it there: .venv/bin/python -m infra down docker"
    by_hand = "remove it by hand: docker rm c"
    assert why(f"{there} on {HERE}") == f"container c belongs to the checkout {there}; {end_there}"
    assert (
        why(f"{gone} on {HERE}")
        == f"container c belongs to the checkout {gone}, which is gone; if nobody uses it, {by_hand}"
    )
    assert (
        why(f"{there} on far-away")
        == f"container c belongs to the checkout {there} on far-away; {end_there}; if that checkout is gone, {by_hand}"
    )
    assert why(f"{ROOT} on far-away") is not None  # the same folder of another machine
    of_before = why_not_ours({LABEL: "docker"}, "container c", "docker", "docker rm c")
    assert of_before is not None
    assert of_before.startswith("container c was made by an earlier version of Fourfold")
    assert of_before.endswith(by_hand)
    assert why("no such form") == of_before


@pytest.fixture
def clone(engine: Engine, service_image: str, tmp_path: Path) -> Iterator[Path]:
    folder = checkout_in(tmp_path / "Clone $HOME é")
    yield folder
    infra(folder, "down", "--all")


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "what"), [("docker", "container llm-inference-container"), ("compose", "Compose project fourfold-bench")]
)
def test_another_checkouts_deployment_is_named_and_left(engine: Engine, clone: Path, name: str, what: str) -> None:
    if name == "compose" and (reason := why_no_compose(engine)):
        pytest.skip(reason)
    port = free_port()
    code, said = infra(clone, "up", name, "--port", f"{name}={port}")
    assert code == 0, said
    metrics = {"docker": "docker cp llm-inference-container:/app/", "compose": f"{clone}/.fourfold/compose/live/"}[name]
    assert metrics in said
    belongs = f"{what} belongs to the checkout {clone}; end it there: .venv/bin/python -m infra down {name}"
    assert infra(ROOT, "down", name) == (1, f"error: {belongs}\n")
    code, said = infra(ROOT, "down", "--all")
    assert (code, f"left: {belongs}" in said) == (0, True), said
    assert belongs in infra(ROOT, "up", name)[1]
    assert belongs in infra(ROOT, "doctor", "--port", f"{name}={free_port()}")[1]
    assert engine.client.containers.list(filters={"publish": str(port)})
    assert infra(clone, "down", name) == (0, f"removed: {what}\n")


@pytest.mark.engine
def test_what_an_earlier_version_made_is_left_with_the_command_that_removes_it(
    engine: Engine, service_image: str
) -> None:
    old = engine.client.containers.create(service_image, name=docker_run.NAME, labels={LABEL: "docker"})
    project = {"com.docker.compose.project": compose.PROJECT.name}
    network = engine.client.networks.create(f"{compose.PROJECT.name}_default", labels=project)
    try:
        code, said = infra(ROOT, "down", "docker")
        assert code == 1
        assert f"by hand: docker rm --force --volumes {docker_run.NAME}" in said
        code, said = infra(ROOT, "down", "compose")
        assert code == 1
        assert f"by hand: docker compose --project-name {compose.PROJECT.name} down --volumes" in said
        old.reload()
        network.reload()
    finally:
        old.remove()
        network.remove()


@pytest.mark.engine
def test_a_container_and_its_volume_say_whose_they_are(engine: Engine, service_image: str, tmp_path: Path) -> None:
    settings = Settings(ports={"docker": free_port()})
    try:
        BY_NAME["docker"].start(settings, tmp_path)
        made = engine.client.containers.get(docker_run.NAME)
        assert is_ours(made.labels)
        (mount,) = [mount for mount in made.attrs["Mounts"] if mount["Type"] == "volume"]
        assert is_ours(engine.client.volumes.get(mount["Name"]).attrs["Labels"])
    finally:
        BY_NAME["docker"].remove(settings)


@pytest.mark.engine
def test_down_all_removes_this_checkouts_unused_volumes_and_no_others(engine: Engine) -> None:
    ours = engine.client.volumes.create(labels=labels("docker"))
    others = [engine.client.volumes.create(labels=made_by("/elsewhere on far-away")), engine.client.volumes.create()]
    try:
        assert f"volume {ours.name}" in infra(ROOT, "down", "--all")[1]
        there = {volume.name for volume in engine.client.volumes.list()}
        assert ours.name not in there
        assert {volume.name for volume in others} <= there
    finally:
        for volume in others:
            volume.remove()


@pytest.mark.engine
def test_a_service_and_its_swarm_are_left_to_the_checkout_that_made_them(
    engine: Engine, service_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.swarm().get("LocalNodeState") != "inactive":
        pytest.skip("this engine is in a swarm")
    monkeypatch.setattr(swarm, "ANSWER_S", 0.0)  # without IPVS nobody would answer
    settings, swarm_1 = Settings(ports={"swarm": free_port()}), BY_NAME["swarm-1"]
    try:
        with suppress(DeploymentError):
            swarm_1.start(settings, tmp_path)
        (made,) = engine.client.containers.list(all=True, filters={"label": f"{CHECKOUT_LABEL}={CHECKOUT}"})
        (volume,) = [mount["Name"] for mount in made.attrs["Mounts"] if mount["Type"] == "volume"]
        assert is_ours(engine.client.volumes.get(volume).attrs["Labels"])
        with monkeypatch.context() as of_another_checkout:
            of_another_checkout.setattr(ownership, "FOLDER", "/elsewhere")
            of_another_checkout.setattr(ownership, "WORK", tmp_path)
            assert swarm_1.remove(settings) == []
            end_it = "end it there: .venv/bin/python -m infra down swarm-1"
            belongs = f"service {swarm.NAME} belongs to the checkout {ROOT}; {end_it}"
            assert swarm_1.why_another_has_it() == swarm_1.why_not(settings) == belongs
            service = engine.client.services.get(swarm.NAME)
            service.remove()
            assert until_true(lambda: not containers_of(service), 60)
            belongs = f"the swarm that this engine is in belongs to the checkout {ROOT}; end it there: "
            assert str(swarm_1.why_another_has_it()).startswith(belongs)
            assert swarm._why_name_is_taken(engine) is None  # a service can run in another's swarm
    finally:
        removed = swarm_1.remove(settings)
    assert removed == ["the swarm that Fourfold made"]
    assert engine.swarm()["LocalNodeState"] == "inactive"


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_copied_checkout_does_not_end_the_originals_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_ours: bool
) -> None:
    """A copy made with `cp -r` has a copy of the file that says which process was started."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    known = {
        "pid": process.pid,
        "started_at": psutil.Process(process.pid).create_time(),
        "token": "x",
        "checkout": identity(ROOT if is_ours else tmp_path),
    }
    monkeypatch.setattr(host, "STATE", tmp_path / "host.json")
    host.STATE.write_text(json.dumps(known))
    try:
        assert BY_NAME["host"].remove(Settings()) == ([f"host process {process.pid}"] if is_ours else [])
        assert (process.poll() is None) is not is_ours
    finally:
        process.kill()
        process.wait()


def test_a_process_that_can_not_be_noted_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setattr(host, "STATE", blocked / "host.json")
    monkeypatch.setenv("INFERENCE_MODEL", str(ROOT / "inference" / "bundled_model"))
    settings = Settings(ports={"host": free_port()})
    with pytest.raises(OSError, match=str(blocked)):
        BY_NAME["host"].start(settings, tmp_path)
    metrics = str(tmp_path / "live" / host_there.METRICS_FILE)
    for child in psutil.Process(os.getpid()).children():
        with suppress(psutil.Error):  # it has just ended
            assert child.environ().get("METRICS_LOG_FILE") != metrics
