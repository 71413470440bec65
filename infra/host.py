"""The service as a process of this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

import runfiles
from infra.container import still_there
from infra.environment import for_service
from infra.errors import DeploymentError
from infra.settings import ROOT, Limits, Settings, live_file
from infra.waiting import until_healthy

STATE = ROOT / ".fourfold" / "host.json"
"""Which process was started, so that ``down`` ends that one and no other."""

METRICS_FILE = "system_inference_metrics.csv"
STOP_S = 40


def why_not() -> str | None:
    process = _left()
    return None if process is None else still_there(f"host process {process.pid}")


def start(settings: Settings, url: str, folder: Path) -> tuple[str, Callable[[Path], list[Path]], Limits]:
    metrics, log = live_file(folder, METRICS_FILE), folder / "service.log"
    environment = for_service() | {
        "HOST": "127.0.0.1",
        "PORT": str(settings.ports["host"]),
        "METRICS_LOG_FILE": str(metrics.resolve()),
        "REPLICA_NAME": "host",
        "PYTHONUNBUFFERED": "1",
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "inference"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the experiment, which then ends the service
        )
    try:
        _note(process.pid, environment["METRICS_LOG_FILE"])
    except BaseException:  # a full disk, say: nobody would know of the process, and nobody could end it
        process.kill()
        process.wait()
        raise

    def evidence() -> str:
        last = _last_line(log)
        if process.poll() is not None:
            raise DeploymentError(f"the service ended with exit code {process.returncode}: {last}")
        return f"its last line was: {last}"

    until_healthy(url, settings.start_timeout_s, evidence)

    return f"process:{process.pid}", lambda to: [Path(shutil.copy(metrics, to / METRICS_FILE))], Limits()


def remove() -> list[str]:
    process = _left()
    if process is None:
        STATE.unlink(missing_ok=True)
        return []
    process.terminate()
    try:
        process.wait(STOP_S)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()
    STATE.unlink(missing_ok=True)
    return [f"host process {process.pid}"]


def _left() -> psutil.Process | None:
    """The process that ``start`` started, if it still runs."""
    if not STATE.is_file():
        return None
    try:
        known = json.loads(STATE.read_text())
        process = psutil.Process(known["pid"])
        # Not by its start time alone: a step of the clock shifts what psutil tells of it.
        same = process.create_time() == known["started_at"]
        same = same or process.environ().get("METRICS_LOG_FILE") == known["metrics"]
        ours = same and process.status() != psutil.STATUS_ZOMBIE and _runs_here(process)
    except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError):  # the file: earlier versions could leave half of it
        return None
    return process if ours else None  # the number may have been given to another process since


def _runs_here(process: psutil.Process) -> bool:
    """Whether a process has this checkout as its folder: a copy of the checkout has a copy of its STATE as well."""
    try:
        return Path(process.cwd()).samefile(ROOT)
    except OSError:  # the folder has been removed
        return False


def _note(pid: int, metrics: str) -> None:
    """Write STATE, whole or not at all."""
    STATE.parent.mkdir(exist_ok=True)
    known = {"pid": pid, "started_at": psutil.Process(pid).create_time(), "metrics": metrics}
    runfiles.write_whole(STATE, json.dumps(known))


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "(none)"
