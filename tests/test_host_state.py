"""Which host process is ours: whatever ``.fourfold/host.json`` contains, no other process is ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ROOT

from infra.deployments import host
from infra.deployments.own_process import identity
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME

HOST, SETTINGS = BY_NAME["host"], Settings()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(host, "STATE", tmp_path / "host.json")
    return tmp_path / "host.json"


@pytest.fixture
def bystander() -> Iterator[psutil.Process]:
    """A process that Fourfold did not start."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        yield psutil.Process(process.pid)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "known",
    [
        {"token": None},
        {"started_at": None, "token": None},
        {"checkout": None},
        {"checkout": "0:0"},
        {"pid": "1"},
        {"pid": True},
        {"pid": -1},
        {"pid": 2**62},
        [],
        "text",
        None,
    ],
)
def test_what_does_not_tell_of_our_process_ends_none(state: Path, bystander: psutil.Process, known: Any) -> None:
    whole = {"pid": bystander.pid, "started_at": 0.0, "token": "x", "checkout": identity(ROOT)}
    content = whole | known if isinstance(known, dict) else known
    state.write_text(json.dumps(content))
    assert host._left() is None
    assert HOST.remove(SETTINGS) == []
    assert not state.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"pid": NaN}', b"[" * 10**5, b'{"pid": 1e400}'])
def test_what_is_no_json_is_passed_over(state: Path, content: bytes) -> None:
    state.write_bytes(content)
    assert host._left() is None
    assert HOST.remove(SETTINGS) == []


def test_what_is_no_file_is_passed_over(state: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    state.symlink_to(tmp_path / "theirs")
    assert HOST.remove(SETTINGS) == []
    assert (tmp_path / "theirs").read_text() == "theirs"
    os.mkfifo(state)
    assert HOST.remove(SETTINGS) == []
    state.unlink()
    state.mkdir()
    assert HOST.remove(SETTINGS) == []
    assert state.is_dir()


def test_the_process_that_it_tells_of_is_ended(state: Path, bystander: psutil.Process) -> None:
    ours = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        started_at = psutil.Process(ours.pid).create_time()
        known = {"pid": ours.pid, "started_at": started_at, "token": "x", "checkout": identity(ROOT)}
        state.write_text(json.dumps(known))
        reason = str(HOST.why_not(SETTINGS))
        assert reason.startswith(f"host process {ours.pid} is still there, from infra up or from a run that was killed")
        assert reason.endswith("; remove it (.venv/bin/python -m infra down host) and run again")
        assert HOST.remove(SETTINGS) == [f"host process {ours.pid}"]
    finally:
        ours.kill()
        ours.wait()
