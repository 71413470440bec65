"""Deployments of all kinds run at once: each answers for itself, and the end of one leaves the others."""

from __future__ import annotations

import csv
from pathlib import Path

import psutil
import pytest
import requests
from conftest import free_port, names_on
from test_replicas import says

from infra.deployments import host
from infra.deployments.compose import why_no_compose
from infra.deployments.docker_engine import Engine
from infra.deployments.docker_host_network import why_no_host_network
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME, Running, deployed, remove, start, why_not
from infra.deployments.waiting import until_true
from runfiles.records import Limits

from _find_replicas import Finder

pytestmark = pytest.mark.engine

NAMES = ("host", "docker", "docker-host-network", "compose")
REMOVED = {
    "docker": ["container llm-inference-container"],
    "docker-host-network": ["container llm-inference-host-network"],
    "compose": ["Compose project fourfold-bench"],
}


@pytest.fixture
def settings(engine: Engine, service_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    if reason := why_no_compose(engine) or why_no_host_network(engine):
        pytest.skip(reason)
    monkeypatch.setattr(host, "STATE", tmp_path / "host.json")
    return Settings(ports={BY_NAME[name].facts.kind: free_port() for name in NAMES})


def ask(running: Running, text: str) -> requests.Response:
    return requests.post(f"{running.url}/infer", json={"text": text}, timeout=30)


def test_each_answers_for_itself_and_the_end_of_one_leaves_the_others(
    engine: Engine, bystanders: list[str], settings: Settings, tmp_path: Path
) -> None:
    services: dict[str, Running] = {}
    try:
        for name in NAMES:
            assert why_not(name, settings) is None  # whatever runs already
            services[name] = start(name, settings, tmp_path / name)
        for name, running in services.items():
            check(name, running, settings, tmp_path)
        for name in ("docker", "host", "compose", "docker-host-network"):
            removed = remove(name, settings)
            ended = services.pop(name)
            assert removed == REMOVED.get(name, [f"host process {ended.service.replicas.removeprefix('process:')}"])
            assert ended.service.gone()
            with pytest.raises(requests.ConnectionError):
                ask(ended, "gone")
            for running in services.values():
                assert running.service.gone() is None
                assert ask(running, "still here").ok
            assert (tmp_path / "host.json").exists() is ("host" in services)
    finally:
        for name in services:
            remove(name, settings)
    assert names_on(engine) == bystanders


def logged(running: Running, to: Path) -> list[str]:
    """The texts in the service's own metrics file."""
    (metrics,) = running.service.copy_metrics(to)
    with metrics.open(encoding="utf-8", newline="") as file:
        return [row["Input Text"] for row in csv.DictReader(file)]


def check(name: str, running: Running, settings: Settings, tmp_path: Path) -> None:
    """The deployment answers at its URL, logs its own texts alone, and is the one that is sampled."""
    assert ask(running, f"this is for {name}").ok
    assert until_true(lambda: logged(running, tmp_path / name) != [], 10)  # a row is written after its answer
    assert logged(running, tmp_path / name) == [f"this is for {name}"]
    finder = Finder("auto", running.url, says(running.url))
    assert len(finder.replicas()) == 1
    assert str(finder.target) == running.service.replicas
    finder.close()
    assert running.service.limits == (Limits() if name == "host" else Limits(memory_bytes=settings.memory_bytes))
    assert "is still there" in str(why_not(name, settings))


def test_the_memory_that_one_needs_is_asked_for_when_it_starts(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deployments before it have taken theirs by then."""
    with deployed("host", settings, tmp_path / "host") as running:
        left = psutil.virtual_memory()._replace(available=100_000_000)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: left)
        assert "too little memory: 1 replica needs 0.5 GB, 0.1 GB are free" in str(why_not("docker", settings))
    assert running.service.gone()


def test_a_port_that_another_deployment_has_is_a_reason(settings: Settings, tmp_path: Path) -> None:
    same = Settings(ports=settings.ports | {"docker": settings.ports["host"], "compose": settings.ports["host"]})
    with deployed("host", same, tmp_path / "host") as running:
        pid = running.service.replicas.removeprefix("process:")
        for name in ("docker", "compose"):
            reason = str(why_not(name, same))
            assert reason.startswith(f"port {same.ports['host']} is taken by python")
            assert reason.endswith(f"(process {pid}); end that, or choose another port (--port) and run again")
    assert running.service.gone()
