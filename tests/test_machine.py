"""The CPU time of this machine that is in no replica's account."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import gevent
import psutil
import pytest

import _machine
from _machine import MachineMonitor


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_machine, "INTERVAL_S", 0.1)


def used_s(*processes: subprocess.Popen[bytes]) -> float:
    """The CPU time of these processes in seconds, by the kernel."""
    return sum(sum(psutil.Process(process.pid).cpu_times()[:2]) for process in processes)


def until_used(seconds: float, process: subprocess.Popen[bytes]) -> None:
    with gevent.Timeout(30):
        while used_s(process) < seconds:
            gevent.sleep(0.05)


@pytest.mark.usefixtures("_often")
def test_a_programs_cpu_time_is_counted_from_the_run_on(tmp_path: Path) -> None:
    shell = shutil.which("sh")
    assert shell
    program = tmp_path / "docker-proxy"
    shutil.copy(shell, program)
    had = [process for process in psutil.process_iter(["name"]) if process.info["name"] == "docker-proxy"]
    busy = [str(program), "-c", "while :; do :; done"]
    rows: list[dict[str, Any]] = []
    shells = [subprocess.Popen(busy)]
    try:
        until_used(0.3, shells[0])
        least_at_begin_s = used_s(*shells)
        monitor = MachineMonitor(rows.append)
        most_at_begin_s = used_s(*shells)
        shells.append(subprocess.Popen(busy))
        until_used(0.3, shells[1])
        least_at_end_s = used_s(*shells)
        monitor.stop()
        most_at_end_s = used_s(*shells)
    finally:
        for running in shells:
            running.kill()
            running.wait()
    spent = [row["docker_proxy_cpu_seconds"] for row in rows]
    assert len(spent) > 1
    assert spent == sorted(spent)
    if not had:
        tick_s = 0.05
        assert least_at_end_s - most_at_begin_s - tick_s <= spent[-1] <= most_at_end_s - least_at_begin_s + tick_s
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
            try:
                until_used(0.1, busy)
                monitor.sample()
            finally:
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
