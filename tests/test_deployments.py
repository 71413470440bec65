"""The table of deployments; and a deployment as long as a block lasts: what Ctrl-C and failures do to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.deployments import table
from infra.deployments.service import Service
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME, NAME_OF_KIND, PORTS, Running, deployed
from infra.errors import DeploymentError
from runfiles.deployments import DEPLOYMENTS, SWARM, hint_for, listed, title_of
from runfiles.records import Limits


def stand_in(monkeypatch: pytest.MonkeyPatch, remove: Callable[[], None]) -> None:
    """A deployment that starts nothing and that the test removes."""
    service = Service("none", lambda _: [], "nowhere", Limits(), gone=lambda: None, last_words=str)
    running = Running("docker", "http://127.0.0.1:1", 0.0, service)
    monkeypatch.setattr(table, "start", lambda *_: running)
    monkeypatch.setattr(table, "remove", lambda *_: remove())


def test_ctrl_c_while_it_is_removed_is_raised_when_it_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    removed = []

    def remove() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        removed.append(True)

    stand_in(monkeypatch, remove)
    with pytest.raises(KeyboardInterrupt), deployed("docker", Settings(), tmp_path):
        pass
    assert removed


def test_ctrl_c_is_not_lost_to_a_removal_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def remove() -> None:
        raise DeploymentError("it is stuck")

    stand_in(monkeypatch, remove)
    with pytest.raises(KeyboardInterrupt), deployed("docker", Settings(), tmp_path):
        raise KeyboardInterrupt
    assert "docker could not be removed: it is stuck" in capsys.readouterr().err


def test_what_fails_within_is_removed_and_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    removed: list[bool] = []
    stand_in(monkeypatch, lambda: removed.append(True))
    with pytest.raises(DeploymentError, match="no load"), deployed("docker", Settings(), tmp_path):
        raise DeploymentError("no load")
    assert removed == [True]


def test_each_deployment_that_a_record_may_name_can_be_run_and_in_the_same_order() -> None:
    assert list(BY_NAME) == list(DEPLOYMENTS)
    for name, deployment in BY_NAME.items():
        facts = deployment.facts
        assert (facts.name, facts.title) == (name, title_of(name))
        assert PORTS[facts.kind] == facts.default_port  # deployments of one kind share it
    assert NAME_OF_KIND[SWARM] == "swarm-1"
    assert [name for name, deployment in BY_NAME.items() if not deployment.facts.needs_engine] == ["host"]
    assert [BY_NAME[name].facts.replicas for name in ("host", "swarm-1", "swarm-3")] == [1, 1, 3]


def test_all_kinds_can_run_side_by_side_with_their_default_ports() -> None:
    """Also where 127.0.0.1 is the only loopback address, and Swarm takes its port at all addresses."""
    assert PORTS == {
        "host": 5000,
        "docker": 5010,
        "docker-host-network": 5050,
        "compose": 8080,
        "compose-proxy": 8082,
        "swarm": 8081,
    }
    assert len(set(PORTS.values())) == len(PORTS)
    for deployment in BY_NAME.values():
        assert deployment.facts.url(Settings()) == f"http://127.0.0.1:{PORTS[deployment.facts.kind]}"


def test_a_port_is_the_default_one_unless_the_user_names_another() -> None:
    compose = BY_NAME["compose"].facts
    assert compose.url(Settings()) == "http://127.0.0.1:8080"
    assert compose.url(Settings(ports={"compose": 9090, "docker": 1})) == "http://127.0.0.1:9090"


def test_a_record_lists_the_default_deployments_and_those_of_its_plan() -> None:
    others = [name for name, row in DEPLOYMENTS.items() if not row.is_default]
    default = [name for name in DEPLOYMENTS if name not in others]
    assert listed(["host"]) == default
    assert listed(["host", *others]) == list(DEPLOYMENTS)


def test_who_names_a_kind_is_told_the_names_of_that_kind() -> None:
    assert hint_for("swarm") == "swarm-N is possible for N from 1 to 32"
    assert hint_for("docker") == hint_for("pod") == ""
    assert title_of("a deployment of a later version") == "a deployment of a later version"
