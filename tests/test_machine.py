"""The CPU time of this machine that is in no replica's account."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import gevent
import psutil
import pytest

import _machine
from _machine import MachineMonitor


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_machine, "INTERVAL_S", 0.2)


@pytest.mark.usefixtures("_often")
def test_a_programs_cpu_time_is_counted_from_the_run_on(tmp_path: Path) -> None:
    shell = shutil.which("sh")
    assert shell
    program = tmp_path / "docker-proxy"
    shutil.copy(shell, program)
    had = [process for process in psutil.process_iter(["name"]) if process.info["name"] == "docker-proxy"]
    busy = [str(program), "-c", "while :; do :; done"]
    before = subprocess.Popen(busy)
    time.sleep(0.5)
    rows: list[dict[str, Any]] = []
    try:
        monitor = MachineMonitor(rows.append)
        gevent.sleep(0.5)
        late = subprocess.Popen(busy)
        gevent.sleep(0.7)
        monitor.stop()
        late.kill()
        late.wait()
    finally:
        before.kill()
        before.wait()
    spent = [row["docker_proxy_cpu_seconds"] for row in rows]
    assert spent == sorted(spent)
    if not had:
        assert 0.3 < spent[-1] < 2.2  # two shells, 1.2 s and 0.7 s, on whatever cores are free
    assert 0 <= rows[-1]["generator_cpu_seconds"] < rows[-1]["busy_cpu_seconds"]
    assert rows[-1]["busy_cpu_seconds"] >= spent[-1] * 0.5


@pytest.mark.usefixtures("_often")
def test_only_fourfolds_own_nginx_is_a_reverse_proxy(tmp_path: Path) -> None:
    shell = shutil.which("sh")
    assert shell
    shutil.copy(shell, tmp_path / "nginx")
    (tmp_path / "fourfold-proxy").symlink_to(shell)  # as infra starts it
    rows: list[dict[str, Any]] = []
    monitor = MachineMonitor(rows.append)
    before = float(monitor.sample().get("reverse_proxy_cpu_seconds", 0.0))

    def used(name: str) -> float:
        with subprocess.Popen([str(tmp_path / name), "-c", "while :; do :; done"]) as busy:
            gevent.sleep(0.5)
            monitor.sample()
            busy.kill()
        return float(rows[-1].get("reverse_proxy_cpu_seconds", 0.0)) - before

    assert used("nginx") == 0
    assert used("fourfold-proxy") > 0
    monitor.stop()


@pytest.mark.usefixtures("_often")
def test_without_an_engine_its_columns_are_empty_and_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_machine, "BY_KERNELS_NAME", {"no-such-program": "dockerd_cpu_seconds"})
    rows: list[dict[str, Any]] = []
    monitor = MachineMonitor(rows.append)
    gevent.sleep(0.3)
    monitor.stop()
    assert rows
    assert all("dockerd_cpu_seconds" not in row for row in rows)
