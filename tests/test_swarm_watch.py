"""When a Swarm service counts as gone: not while one of its replicas restarts, but once none has run for a while."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import docker
import pytest

from infra.deployments.swarm_service import GONE_S, Watch


class Tasks:
    """A service whose tasks are in the states that the test sets."""

    name = "llm-inference-service"

    def __init__(self, *states: str, containers: Sequence[Any] = ()) -> None:
        self.states: tuple[str, ...] | None = states
        self.client = SimpleNamespace(containers=SimpleNamespace(list=lambda **_: list(containers)))

    def tasks(self, filters: Any = None) -> list[dict[str, Any]]:
        if self.states is None:
            raise docker.errors.NotFound("no such service")
        return [
            {"Status": {"State": state} | ({"Err": "exit (1)\x1b[2J"} if state == "failed" else {}), "UpdatedAt": place}
            for place, state in enumerate(self.states)
        ]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only the test moves."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def container(status: str, said: str) -> Any:
    return SimpleNamespace(status=status, logs=lambda **_: said.encode())


def test_one_that_restarts_is_not_gone_and_one_that_never_runs_is(now: list[float]) -> None:
    there = [container("running", "fine"), container("exited", "no model\n")]
    service = Tasks("running", "running", containers=there)
    watch = Watch(service)
    service.states = ("failed", "running")
    now[0] += 100
    assert watch.why_gone() is None
    service.states = ("failed", "preparing")
    now[0] += GONE_S - 1
    assert watch.why_gone() is None
    service.states = ("failed", "running")
    assert watch.why_gone() is None
    service.states = ("failed", "failed", "ready")
    now[0] += GONE_S
    reason = watch.why_gone()
    assert reason == (
        "no replica of service llm-inference-service has run for 20 s: the last task is failed (exit (1)); "
        "last words: no model"
    )


def test_one_that_was_removed_is_gone_at_once() -> None:
    service = Tasks()
    service.states = None
    assert Watch(service).why_gone() == "service llm-inference-service was removed"
