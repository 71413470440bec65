"""A disk that is full, or a file that can't be used, is told as that: neither the engine nor the service is blamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from conftest import OWN, OWN_RECORD, ROOT, free_port
from test_infra import infra, said_by

from infra.deployments.docker_engine import API_FAILURES
from infra.deployments.service import Service
from infra.deployments.settings import Settings
from infra.deployments.table import Running, why_not
from infra.errors import DeploymentError, why
from infra.experiment import bench, turns
from infra.experiment.circumstances import Circumstances
from infra.experiment.experiment import Experiment
from infra.experiment.journal import Journal, Step
from infra.experiment.plan import Plan
from infra.experiment.turns import measure_turn
from runfiles.machines import Machine
from runfiles.records import Limits, Options


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EISDIR])
def test_what_a_file_raises_is_no_failure_of_the_engine(number: int) -> None:
    assert not isinstance(OSError(number, os.strerror(number)), API_FAILURES)


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), requests.ConnectionError()])
def test_what_a_connection_raises_is_one(error: OSError) -> None:
    assert isinstance(error, API_FAILURES)


def test_a_file_that_fails_is_told_with_evidence_and_remedy(tmp_path: Path) -> None:
    full = why(OSError(errno.ENOSPC, "No space left on device", "x.csv"), tmp_path / "not there yet")
    assert full.startswith("x.csv: the disk is full (No space left on device; ")
    assert f"GB are free at {tmp_path / 'not there yet'}, " in full
    assert full.endswith("make room and run again")
    denied = why(PermissionError(errno.EACCES, "Permission denied", "x.csv"), tmp_path)
    assert denied == "x.csv: Permission denied; fix that and run again"


@pytest.fixture
def one_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """An experiment whose deployment starts, and whose run is what the test says."""
    options = Options(service=str(OWN.path), image="i", build=False, ports={"host": 1}, reach={}, start_timeout_s=5.0)
    plan = Plan(deployments=("host",), rounds=1, layout="turns")
    journal = Journal.begin(tmp_path, plan, "x", Circumstances(Machine()), options, OWN_RECORD)

    @contextmanager
    def deployed(*_: object) -> Iterator[Running]:
        (tmp_path / "host" / "round-1").mkdir(parents=True)
        service = Service("none", lambda _: [], "nowhere", Limits(), gone=lambda: None, last_words=lambda: "")
        yield Running("host", "http://127.0.0.1:1", 0.0, service)

    monkeypatch.setattr(turns, "deployed", deployed)
    return Experiment(tmp_path, journal, OWN)


def reason_in(folder: Path) -> str:
    (host, *_) = json.loads((folder / "experiment.json").read_text())["deployments"]
    return str(host["rounds"][0]["reason"])


def test_a_round_whose_file_could_not_be_written_says_so(
    one_round: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(*_: object) -> None:
        with Path("/dev/full").open("w") as file:
            file.write("a row")

    monkeypatch.setattr(bench, "run_locust", copy)
    measure_turn(one_round._bench, Step(1, ("host",)))
    assert reason_in(tmp_path).startswith(f"{tmp_path}: the disk is full (No space left on device; ")


def test_a_service_that_fails_on_a_full_disk_is_not_blamed(
    one_round: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> None:
        raise DeploymentError("Locust ended with exit code 3")

    monkeypatch.setattr(bench, "run_locust", run)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    measure_turn(one_round._bench, Step(1, ("host",)))
    assert reason_in(tmp_path) == (
        f"the disk is full (0.00 GB are free at {tmp_path}); make room and run again; "
        "meanwhile: Locust ended with exit code 3"
    )


def test_a_file_that_can_not_be_read_is_a_reason_not_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "host.json")

    monkeypatch.setattr("infra.deployments.host._left", denied)
    assert why_not("host", Settings(ports={"host": free_port()})) == (
        "host.json: Permission denied; fix that and run again"
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system on which the record of an experiment just fits."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_an_experiment_on_a_full_disk_ends_with_the_reason(small_disk: Path) -> None:
    run = infra("run", "--only", "host", "--results", str(small_disk), "--port", f"host={free_port()}")
    said = said_by(run)
    assert run.returncode == 1, said
    assert "the disk is full (No space left on device" in said
    assert "To measure what is left: " in said
    assert "engine" not in said
    state = ROOT / ".fourfold" / "host.json"
    assert not state.exists()
