"""The service as a process of this machine."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from infra.deployments.docker_run import still_there
from infra.deployments.service import Service
from infra.deployments.settings import Limits, Settings, live_file
from infra.deployments.waiting import until_healthy
from infra.environment import for_service
from infra.errors import DeploymentError
from infra.last_words import last_line, tail
from infra.paths import ROOT
from runfiles.files import write_whole
from runfiles.strict_json import read_record

STATE = ROOT / ".fourfold" / "host.json"
"""Which process was started, so that ``down`` ends that one and no other."""

METRICS_FILE = "system_inference_metrics.csv"
STOP_S = 40


def why_not() -> str | None:
    process = _left()
    return None if process is None else still_there(f"host process {process.pid}")


def start(settings: Settings, url: str, folder: Path) -> Service:
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
    except BaseException:
        process.kill()  # nobody else would know of it
        process.wait()
        raise

    def gone() -> str | None:
        code = process.poll()
        if code is None:
            return None
        how = f"ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with exit code {code}"
        suspected = "; out of memory suspected" if code == -signal.SIGKILL else ""
        return f"the service {how}{suspected}: {last_line(tail(log))}"

    def evidence() -> str:
        if reason := gone():
            raise DeploymentError(reason)
        return f"its last line was: {last_line(tail(log))}"

    until_healthy(url, settings.start_timeout_s, evidence)
    return Service(
        f"process:{process.pid}",
        lambda to: [Path(shutil.copy(metrics, to / METRICS_FILE))],
        Limits(),
        gone,
        last_words=lambda: last_line(tail(log)),
    )


def remove() -> list[str]:
    process = _left()
    if process is None:
        _forget()
        return []
    try:
        process.terminate()
        process.wait(STOP_S)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()
    except psutil.AccessDenied as error:
        user = process.username()
        raise DeploymentError(f"host process {process.pid} is {user}'s; end it as that user and run again") from error
    _forget()
    return [f"host process {process.pid}"]


def _left() -> psutil.Process | None:
    """The process that ``start`` started, if it still runs."""
    try:
        known = read_record(STATE)
        pid, started_at, metrics = known["pid"], known["started_at"], known["metrics"]
        if type(pid) is not int or not isinstance(started_at, float) or not isinstance(metrics, str):
            return None
        process = psutil.Process(pid)
        # Not by its start time alone: a step of the clock shifts what psutil tells of it.
        same = process.create_time() == started_at or process.environ().get("METRICS_LOG_FILE") == metrics
        ours = same and process.status() != psutil.STATUS_ZOMBIE and _runs_here(process)
    except (OSError, ValueError, LookupError, TypeError, psutil.Error):  # no such process, or the file is not ours
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
    write_whole(STATE, json.dumps(known))


def _forget() -> None:
    if STATE.is_file() or STATE.is_symlink():
        STATE.unlink()
