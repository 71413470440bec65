"""The service as a process of this machine."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from addresses import LOOPBACK
from infra.deployments.confinement import STOP_S
from infra.deployments.cpus import preexec_pin, why_not_pinned
from infra.deployments.deployment import Facts
from infra.deployments.docker_engine import Engine, connect
from infra.deployments.ownership import still_there
from infra.deployments.preflight import why_no_room, why_port_is_for_root, why_port_is_taken
from infra.deployments.service import Service, live_file
from infra.deployments.settings import Settings
from infra.deployments.waiting import until_healthy
from infra.environment import for_service
from infra.errors import DeploymentError
from infra.last_words import last_line, tail
from infra.paths import ROOT
from runfiles.events import PROCESS
from runfiles.files import write_whole
from runfiles.records import Limits
from runfiles.strict_json import read_record

STATE = ROOT / ".fourfold" / "host.json"
"""Which process was started, so that ``down`` ends that process and no other."""

METRICS_FILE = "system_inference_metrics.csv"


@dataclass(frozen=True)
class Host:
    """One process, without a container."""

    facts: Facts

    def why_not(self, settings: Settings) -> str | None:
        process = _left()
        port = self.facts.port(settings)
        return (
            (process and still_there(f"host process {process.pid}", self.facts.name))
            or why_not_pinned(settings.service_cpus)
            or why_no_room(self.facts, None)
            or why_port_is_taken([LOOPBACK], port, _engine_of_this_machine())
            or why_port_is_for_root(self.facts.kind, [LOOPBACK], port)
        )

    def start(self, settings: Settings, folder: Path) -> Service:
        metrics, log = live_file(folder, METRICS_FILE), folder / "service.log"
        process = _start_process(self.facts.port(settings), settings.service_cpus, metrics.resolve(), log)

        def gone() -> str | None:
            return _why_ended(process, log)

        def evidence() -> str:
            if reason := gone():
                raise DeploymentError(reason)
            return f"its last line was: {last_line(tail(log))}"

        until_healthy(self.facts.url(settings), settings.start_timeout_s, evidence)
        return Service(
            f"{PROCESS}:{process.pid}",
            lambda to: [Path(shutil.copy(metrics, to / METRICS_FILE))],
            str(metrics),
            Limits(cpuset=settings.service_cpus),
            gone,
            last_words=lambda: last_line(tail(log)),
        )

    def remove(self, settings: Settings) -> list[str]:
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
            whose = f"host process {process.pid} is {process.username()}'s"
            raise DeploymentError(f"{whose}; end it as that user and run again") from error
        _forget()
        return [f"host process {process.pid}"]

    def why_another_has_it(self) -> str | None:
        return None  # STATE is this checkout's own file


def _engine_of_this_machine() -> Engine | None:
    """The engine that may tell which container holds the port. None if there is none on this machine."""
    try:
        engine = connect()
    except DeploymentError:
        return None
    return None if engine.is_remote else engine


def _start_process(port: int, cpus: str | None, metrics: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the service and write to STATE which process it is; without that, end it."""
    environment = for_service() | {
        "HOST": LOOPBACK,
        "PORT": str(port),
        "METRICS_LOG_FILE": str(metrics),
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
            preexec_fn=preexec_pin(cpus),  # noqa: PLW1509  it takes no lock that another thread may hold
        )
    try:
        _note(process.pid, str(metrics))
    except BaseException:
        process.kill()  # nobody else would know of it
        process.wait()
        raise
    return process


def _why_ended(process: subprocess.Popen[bytes], log: Path) -> str | None:
    code = process.poll()
    if code is None:
        return None
    how = f"ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with exit code {code}"
    suspected = "; out of memory suspected" if code == -signal.SIGKILL else ""
    return f"the service {how}{suspected}: {last_line(tail(log))}"


def _left() -> psutil.Process | None:
    """The process that ``start`` started, if it still runs."""
    try:
        known = read_record(STATE)
        pid, started_at, metrics = known["pid"], known["started_at"], known["metrics"]
        if type(pid) is not int or not isinstance(started_at, float) or not isinstance(metrics, str):
            return None
        process = psutil.Process(pid)
        # The start time alone does not tell: if the clock is set, psutil gives another one.
        same = process.create_time() == started_at or process.environ().get("METRICS_LOG_FILE") == metrics
        ours = same and process.status() != psutil.STATUS_ZOMBIE and _runs_here(process)
    except (OSError, ValueError, LookupError, TypeError, psutil.Error):  # no such process, or the file is not ours
        return None
    return process if ours else None  # the number may have been given to another process since


def _runs_here(process: psutil.Process) -> bool:
    """Whether a process runs in this checkout's folder: a copy of the checkout has a copy of STATE as well."""
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
