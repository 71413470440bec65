"""A deployment for as long as a block lasts: what Ctrl-C and failures do to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.deployments import table
from infra.deployments.service import Limits, Service
from infra.deployments.settings import Settings
from infra.deployments.table import Running, deployed
from infra.errors import DeploymentError


def stand_in(monkeypatch: pytest.MonkeyPatch, remove: Callable[[], None]) -> None:
    """Starts nothing, and removes it as the test says."""
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
