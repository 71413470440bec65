"""A disk that is full while an experiment runs: one reason, nothing left running, and what was measured is kept."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from conftest import free_port
from test_infra import deployments, infra, said_by


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for one round and the beginning of another."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no disk of its own can be mounted here ({mounted.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(filler: Path) -> None:
    """Take all room that is left on a small disk."""
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(8 * 2**20))


def test_what_was_measured_is_kept_and_nothing_is_left_running(small_disk: Path) -> None:
    port = free_port()
    quick = ["--set", "rounds=2", "users=2", "seconds=10", "block_s=0.5", "requests=300", "warm_up_s=0", "rest_s=0"]
    run = infra("run", "--only", "host", "--results", str(small_disk), *quick, "--port", f"host={port}")
    while not list(small_disk.glob("*/host/round-2")):
        assert run.poll() is None, said_by(run)
        time.sleep(0.05)
    fill(small_disk / "filler")
    said = said_by(run)
    assert run.returncode == 1, said
    assert "the disk is full (No space left on device" in said
    assert "what was measured before is kept" in said
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/health", timeout=5)
    assert deployments(small_disk)["host"]["rounds"][0]["status"] == "measured"
    assert deployments(small_disk)["host"]["rounds"][1]["status"] == "failed"


def test_on_a_disk_that_is_full_from_the_start_nothing_is_begun(small_disk: Path) -> None:
    fill(small_disk / "filler")
    run = infra("run", "--only", "host", "--results", str(small_disk / "results"), "--port", f"host={free_port()}")
    said = said_by(run)
    assert run.returncode == 1
    assert said.startswith("error: ")
    assert "No space left on device" in said
    assert not list(small_disk.glob("results/*"))
