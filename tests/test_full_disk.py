"""A disk that is full while an experiment runs: one reason, nothing left running, and what was measured is kept."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from conftest import free_port
from test_experiment_resume import record
from test_infra import deployments, infra, said_by


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for one round and the beginning of another."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no disk of its own can be mounted here ({mounted.stderr.strip()})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(filler: Path) -> None:
    """Take all room that is left."""
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass


def test_what_was_measured_is_kept_and_the_rest_is_measured_once_there_is_room(small_disk: Path) -> None:
    port = free_port()
    quick = ["--set", "rounds=2", "users=2", "seconds=60", "requests=300", "warm_up_s=0", "rest_s=0"]
    filler = small_disk / "filler"
    run = infra("run", "--only", "host", "--results", str(small_disk), *quick, "--port", f"host={port}")
    while not list(small_disk.glob("*/host/round-2")):
        assert run.poll() is None, said_by(run)
    fill(filler)
    said = said_by(run)
    assert run.returncode == 1, said
    assert "No space left on device; make room" in said
    assert "what was measured before is kept" in said
    assert not [
        one for one in psutil.net_connections() if one.laddr and one.laddr.port == port and one.status == "LISTEN"
    ]
    assert deployments(small_disk)["host"]["rounds"][0]["status"] == "measured"
    assert deployments(small_disk)["host"]["rounds"][1]["status"] == "failed"
    filler.unlink()
    (folder,) = small_disk.iterdir()
    again = infra("run", "--resume", str(folder))
    said = said_by(again)
    assert again.returncode in (0, 3), said
    assert [one["status"] for one in record(folder)["deployments"][0]["rounds"]] == ["measured", "measured"]


def test_on_a_disk_that_is_full_from_the_start_nothing_is_begun(small_disk: Path) -> None:
    fill(small_disk / "filler")
    run = infra("run", "--only", "host", "--results", str(small_disk / "results"), "--port", f"host={free_port()}")
    said = said_by(run)
    assert run.returncode == 1
    assert said.startswith("error: ")
    assert "No space left on device" in said
    assert not list(small_disk.glob("results/*"))
