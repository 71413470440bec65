"""The service as a process of the engine's machine, where that is another one that is reached with ssh.

It is the host process that containers of that engine can be compared with. ``--host-folder`` says where its files are
there. ``keeper.py`` runs there and keeps the service as long as its SSH connection lasts. A tunnel (``reach.py``) leads
to its port, as to those of containers.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import select
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from addresses import LOOPBACK
from infra.deployments import keeper, over_ssh
from infra.deployments.change import Change, Changeable, Made
from infra.deployments.confinement import RESERVED_MEMORY_BYTES
from infra.deployments.cpus import cpuset, why_missing
from infra.deployments.deployment import Facts
from infra.deployments.docker_context import address
from infra.deployments.own_files import digests
from infra.deployments.own_process import STARTED, OwnProcess
from infra.deployments.ownership import still_there
from infra.deployments.preflight import RESULTS_DISK_BYTES, why_too_little_disk
from infra.deployments.reach import EVERYWHERE
from infra.deployments.ready import until_ready
from infra.deployments.service import Service, live_folder
from infra.deployments.settings import Settings
from infra.environment import for_docker, for_service_there, passed_there
from infra.errors import DeploymentError
from infra.last_words import last_error, last_line, tail
from infra.paths import INFRA, STATE, WORK
from runfiles.deployments import HOST
from runfiles.events import PROCESS
from runfiles.files import SERVICE_LOG_FILE, write_whole
from runfiles.machines import Machine
from runfiles.records import Limits, Python
from runfiles.ssh_command import FAILED_EXIT_CODE, PYTHON, place_of, ssh
from servicefile.service_file import PORT_PLACE

METRICS_FILE = "system_inference_metrics.csv"
BEGIN_S = 60
NO_CHANGES = (
    "the host process on the engine's machine can't be changed (killed, stopped, paused) while it runs; leave it out "
    "(--only), or run Fourfold on that machine"
)

_children: dict[int, subprocess.Popen[bytes]] = {}
"""The SSH connections that this program has begun, by their IDs: only their parent can know that they have ended."""


@dataclass(frozen=True)
class There:
    """What is known of the other machine, and why the service can't be started there (None: nothing is known)."""

    machine: Machine
    python: Python | None
    wrong: str | None


def look_there(facts: Facts, settings: Settings) -> There:
    """Look at the other machine, and compare the service's files there with those here.

    Raises:
        DeploymentError: the machine can't be reached, or has no python3.
    """
    url = _url()
    question = _question(facts, settings) | {"act": keeper.LOOK, "files": digests(settings.service.folder)}
    found = over_ssh.ask_program(url, _program(), question)
    version = found["python"]
    python = None if version is None else Python(version=version, is_fourfolds=False)
    wrong = found["wrong"] or _why_too_little_memory(found["free_bytes"])
    if wrong is None and settings.service_cpus is not None:
        wrong = why_missing(settings.service_cpus, found["cpus"], "a process there may use")
    return There(Machine.from_json(found["machine"]), python, wrong and f"{place_of(url)}: {wrong}")


def why_not_there(facts: Facts, settings: Settings) -> str | None:
    """Why the service can't be started on the engine's machine. None if nothing is known to prevent it."""
    if not over_ssh.is_over_ssh(address().url):
        return f"--host-folder is for an engine at ssh://, and this one is at {address().url}; leave it out"
    if settings.service.requirements is not None:
        return (
            f"{settings.service.path.name} names requirements, which Fourfold installs on this machine only; install "
            "them there into a virtual environment (.venv in --host-folder), and leave requirements out"
        )
    if settings.restarts:
        return NO_CHANGES
    if (left := _noted().noted()) is not None:
        return still_there(f"host process on {place_of(left['url'])}", facts.name)
    return why_too_little_disk(WORK, RESULTS_DISK_BYTES, "a run's record") or look_there(facts, settings).wrong


def start_there(facts: Facts, settings: Settings, folder: Path) -> Service:
    """Start the service there, and wait until it answers at the end of its tunnel."""
    service, url, log = settings.service, _url(), folder / SERVICE_LOG_FILE
    process, pid, metrics = _keep(url, _question(facts, settings) | {"act": keeper.KEEP}, log)
    if service.metrics.variable is not None:
        live_folder(folder).mkdir(parents=True, exist_ok=True)

    def gone() -> str | None:
        return _why_ended(process, url, log)

    def evidence() -> str:
        if reason := gone():
            raise DeploymentError(reason)
        return f"its log says: {last_error(tail(log))}"

    def copy_metrics(to: Path) -> list[Path]:
        if service.metrics.variable is None:
            return []
        content = over_ssh.fetch(url, metrics)
        if content is None:
            if service.metrics.folder is None:
                return []
            raise DeploymentError(f"the service's metrics file is not on {place_of(url)} ({metrics})")
        write_whole(to / METRICS_FILE, content)
        return [to / METRICS_FILE]

    def keep_files() -> None:
        copy_metrics(live_folder(folder))

    until_ready(facts.url(settings), service, settings.start_timeout_s, evidence)
    return Service(
        f"{PROCESS}:{pid}@{url}",
        copy_metrics,
        None if service.metrics.variable is None else f"{over_ssh.by_hand(url)} cat {metrics}",
        Limits(cpuset=settings.service_cpus),
        gone,
        last_words=lambda: last_line(tail(log)),
        change=_refuse_change,
        keep_files=keep_files,
    )


def running_there() -> Changeable | None:
    """What this checkout has started on another machine; None: nothing that is still there."""
    if _noted().left() is None:
        return None
    known = _noted().noted() or {}
    return Changeable((f"{PROCESS}:{known.get('service')}@{known.get('url')}",), (HOST,), _refuse_change)


def remove_there(stop_s: float) -> list[str]:
    """End what ``start_there`` has started, also in an earlier command. Returns what it was.

    Raises:
        DeploymentError: the other machine can't be asked whether the service has ended.
    """
    noted = _noted()
    known = noted.noted()
    if known is None or not re.fullmatch("[0-9a-f]{16}", known["token"]):
        noted.forget()
        return []
    url, place = known["url"], place_of(known["url"])
    question = {"act": keeper.END, "token": known["token"], "stop_s": stop_s}
    try:
        ended = over_ssh.ask_program(url, _program(), question, over_ssh.ASK_S + stop_s)
    except DeploymentError as error:
        raise DeploymentError(
            f"{error} (the host process there ends with its connection; run {INFRA} down {HOST} again when {place} "
            f"answers; if it never will, delete {noted.state})"
        ) from error
    finally:  # the service ends with this connection, whatever was answered
        if (left := noted.left()) is not None:
            left.terminate()
        if (child := _children.pop(known["pid"], None)) is not None:
            over_ssh.end(child)
    noted.forget()
    return [f"host process on {place}"] if ended["was_there"] or left is not None else []


def _url() -> str:
    """The machine, without the engine's socket."""
    where = urlsplit(address().url)
    return f"{where.scheme}://{where.netloc}"


def _program() -> str:
    return Path(keeper.__file__).read_text(encoding="utf-8")


def _question(facts: Facts, settings: Settings) -> dict[str, Any]:
    """What the keeper has to know of the service."""
    service, port = settings.service, facts.port(settings)
    where = EVERYWHERE if facts.kind in settings.reach else LOOPBACK
    python = service.python and Path(os.path.relpath(service.python, service.folder))
    is_outside = python is not None and ".." in python.parts
    return {
        "folder": settings.host_folder,
        "command": [word.replace(PORT_PLACE, str(port)) for word in service.command or ()],
        "python": str(service.python if is_outside else python) if python else None,
        "address": where,
        "port": port,
        "passed": passed_there(),
        "environment": for_service_there()
        | {"PYTHONUNBUFFERED": "1"}
        | dict(service.environment)
        | service.told(where, port, HOST),
        "metrics_variable": service.metrics.variable,
        "metrics_file": METRICS_FILE,
        "cpus": sorted(cpuset(settings.service_cpus)) if settings.service_cpus else None,
        "stop_s": service.container.stop_s,
    }


def _keep(url: str, question: Mapping[str, Any], log: Path) -> tuple[subprocess.Popen[bytes], int, str]:
    """Start the service and write down which connection keeps it. Returns that connection, and the ID and the metrics
    file of the service there."""
    token = secrets.token_hex(8)
    STATE.mkdir(exist_ok=True)
    held, feeding = _held_open()
    try:
        with log.open("ab") as said:
            process = subprocess.Popen(
                [*ssh(url), f"exec env {STARTED}={token} {PYTHON}"],
                env=for_docker() | {STARTED: token},
                stdin=held,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,  # Ctrl-C is for the experiment, and infra up leaves the service running
            )
        _children[process.pid] = process
        try:
            _noted().note(process.pid, token, url=url)
            with open(feeding, "wb", closefd=False) as feed:
                feed.write(over_ssh.lines_for(_program(), {**question, "token": token}).encode())
            told = _first_line(process, url, log)
            _noted().note(process.pid, token, url=url, service=str(told["pid"]))
        except BaseException:
            over_ssh.end(process)  # what it has started there ends with it; remove_there looks whether it has
            raise
    finally:
        os.close(held)
        os.close(feeding)
    return process, told["pid"], told["metrics"]


def _held_open() -> tuple[int, int]:
    """Both ends of a standard input that does not end before the process that has it, also if this program does: a
    named pipe, which that process itself holds open for writing. The name is gone at once."""
    path = STATE / f"{secrets.token_hex(4)}.pipe"
    os.mkfifo(path, 0o600)
    try:
        return os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    finally:
        path.unlink()


def _first_line(process: subprocess.Popen[bytes], url: str, log: Path) -> dict[str, Any]:
    """What the keeper says once the service is started.

    Raises:
        DeploymentError: it says nothing.
    """
    line = b""
    if process.stdout is not None and select.select([process.stdout], [], [], BEGIN_S)[0]:
        line = process.stdout.readline()
    if not line:
        with suppress(subprocess.TimeoutExpired):
            process.wait(over_ssh.END_S)
        raise DeploymentError(
            _why_ended(process, url, log) or f"{place_of(url)} has not started the service in {BEGIN_S} s"
        )
    told: dict[str, Any] = json.loads(line)
    return told


def _why_ended(process: subprocess.Popen[bytes], url: str, log: Path) -> str | None:
    """Why the service has ended; None as long as its connection lasts."""
    code = process.poll()
    if code is None:
        return None
    words = last_line(tail(log))
    if code == FAILED_EXIT_CODE or code < 0:
        return f"the SSH connection to {place_of(url)}, which keeps the service there, broke off: {words}"
    if code > 128:
        return f"the service ended by signal {code - 128} ({signal.strsignal(code - 128)}): {words}"
    if code == over_ssh.NO_PROGRAM_EXIT_CODE:
        return f"the service could not be started on {place_of(url)}: {words}"
    return f"the service ended with exit code {code}: {words}"


def _refuse_change(_: Change) -> Made:
    raise DeploymentError(NO_CHANGES)


def _why_too_little_memory(free_bytes: int | None) -> str | None:
    if free_bytes is None or free_bytes >= RESERVED_MEMORY_BYTES:
        return None
    return (
        f"too little memory: 1 replica needs {RESERVED_MEMORY_BYTES / 1e9:.1f} GB, {free_bytes / 1e9:.1f} GB are free; "
        "end other programs there, or leave this deployment out (--only), and run again"
    )


def _noted() -> OwnProcess:
    return OwnProcess(STATE / "host-there.json")
