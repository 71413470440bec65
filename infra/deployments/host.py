"""The service as a process of this machine or, as ``host_there.py`` does it, of the engine's."""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from addresses import LOOPBACK
from infra.deployments.change import Changeable, change_process
from infra.deployments.cpus import preexec_pin, why_not_pinned
from infra.deployments.deployment import Facts
from infra.deployments.docker_engine import Engine, connect
from infra.deployments.host_there import METRICS_FILE, remove_there, running_there, start_there, why_not_there
from infra.deployments.own_process import STARTED, OwnProcess
from infra.deployments.own_python import command_of, python_of
from infra.deployments.ownership import still_there
from infra.deployments.preflight import why_no_room, why_port_is_for_root, why_port_is_taken
from infra.deployments.ready import Place, until_ready, why_misplaced
from infra.deployments.service import Service, live_folder
from infra.deployments.settings import Settings
from infra.environment import for_service
from infra.errors import DeploymentError
from infra.last_words import last_error, last_line, tail
from infra.paths import IS_IN_CONTAINER
from infra.paths import STATE as STATE_FOLDER
from runfiles.deployments import HOST
from runfiles.events import PROCESS
from runfiles.files import SERVICE_LOG_FILE
from runfiles.records import Limits
from servicefile.service_file import PORT_PLACE, ServiceFile

STATE = STATE_FOLDER / "host.json"
"""Which process was started, so that ``down`` ends that process and no other."""

_children: dict[int, subprocess.Popen[bytes]] = {}
"""The processes that this one has started, by ID: only their parent can know that they have ended."""


@dataclass(frozen=True)
class Host:
    """One process, without a container."""

    facts: Facts

    def why_not(self, settings: Settings) -> str | None:
        if settings.host_folder is not None:
            return (
                _why_no_command(settings.service) or self._why_not_told(settings) or why_not_there(self.facts, settings)
            )
        if IS_IN_CONTAINER:
            return "Fourfold itself runs in a container here; install it with pip to measure a process of this machine"
        process = _left()
        port = self.facts.port(settings)
        told = "choose another port (--port)" if settings.service.takes_port else _how_to_tell(settings.service)
        return (
            _why_no_command(settings.service)
            or _why_no_program(settings.service)
            or self._why_not_told(settings)
            or (process and still_there(f"host process {process.pid}", self.facts.name))
            or why_not_pinned(settings.service_cpus)
            or why_no_room(self.facts, None)
            or why_port_is_taken([LOOPBACK], port, _engine_of_this_machine(), told)
            or why_port_is_for_root(self.facts.kind, [LOOPBACK], port)
        )

    def _why_not_told(self, settings: Settings) -> str | None:
        """Why another port that the user has chosen can't be used."""
        chosen = settings.ports.get(self.facts.kind, self.facts.default_port)
        if settings.service.takes_port or chosen in (self.facts.default_port, settings.service.port):
            return None
        return f"nothing tells the service to use port {chosen}: {_how_to_tell(settings.service)} and run again"

    def start(self, settings: Settings, folder: Path) -> Service:
        if settings.host_folder is not None:
            return start_there(self.facts, settings, folder)
        service, port = settings.service, self.facts.port(settings)
        metrics, log = live_folder(folder) / METRICS_FILE, folder / SERVICE_LOG_FILE
        if service.metrics.variable is not None:
            metrics.parent.mkdir(parents=True, exist_ok=True)
        killed_before = _killed_for_memory()
        process = _start_process(service, port, settings.service_cpus, metrics.resolve(), log)

        def gone() -> str | None:
            return _why_ended(process, log, killed_before)

        def evidence() -> str:
            if reason := gone():
                raise DeploymentError(reason)
            return f"its log says: {last_error(tail(log))}"

        def why_not_reached() -> str | None:
            places = _places(psutil.Process(process.pid))
            return why_misplaced(places, port, "on this machine", must_reach_outside=False)

        until_ready(self.facts.url(settings), service, settings.start_timeout_s, evidence, why_not_reached)
        return Service(
            f"{PROCESS}:{process.pid}",
            lambda to: _copy_metrics(service, metrics, to / METRICS_FILE),
            None if service.metrics.variable is None else str(metrics),
            Limits(cpuset=settings.service_cpus),
            gone,
            last_words=lambda: last_line(tail(log)),
            change=lambda change: change_process(change, psutil.Process(process.pid)),
        )

    def log(self, folder: Path) -> str:
        return tail(folder / SERVICE_LOG_FILE)

    def running(self, settings: Settings) -> Changeable | None:
        process = _left()
        if process is None:
            return running_there()
        family = [process, *process.children(recursive=True)]  # a child may be the one that listens
        targets = tuple(f"{PROCESS}:{each.pid}" for each in family)
        return Changeable(targets, (HOST,), lambda change: change_process(change, process))

    def remove(self, settings: Settings) -> list[str]:
        return [*_remove_here(settings), *remove_there(settings.service.container.stop_s)]

    def why_another_has_it(self) -> str | None:
        return None  # STATE is this checkout's own file


def _remove_here(settings: Settings) -> list[str]:
    process = _left()
    if process is None:
        OwnProcess(STATE).forget()
        return []
    try:
        _end(process, settings.service.container.stop_s)
    except psutil.AccessDenied as error:
        whose = f"host process {process.pid} is {process.username()}'s"
        raise DeploymentError(f"{whose}; end it as that user and run again") from error
    if (child := _children.pop(process.pid, None)) is not None:
        child.wait()
    OwnProcess(STATE).forget()
    return [f"host process {process.pid}"]


def _how_to_tell(service: ServiceFile) -> str:
    """What makes a service able to use another port."""
    return (
        f"add the variable by which it takes its port (port_variable) to {service.path.name}, or {PORT_PLACE} to its "
        "command"
    )


def _engine_of_this_machine() -> Engine | None:
    """The engine that may tell which container holds the port. None if there is none on this machine."""
    try:
        engine = connect()
    except DeploymentError:
        return None
    return None if engine.is_remote else engine


def _why_no_command(service: ServiceFile) -> str | None:
    if service.command is not None:
        return None
    return (
        f"{service.path.name} has no command for the host process; add one, such as "
        'command = "python app.py", to measure it'
    )


def _why_no_program(service: ServiceFile) -> str | None:
    # Requirements may bring the program, and are not installed yet.
    if service.command is None or service.requirements is not None:
        return None
    program = command_of(service.command, python_of(service))[0]
    place = str(service.folder / program) if "/" in program else program
    return None if shutil.which(place) else _no_program(program, service)


def _no_program(program: str, service: ServiceFile) -> str:
    return (
        f"there is no program {program} on this machine; install it, or set command in {service.path.name}, "
        "and run again"
    )


def _start_process(
    service: ServiceFile, port: int, cpus: str | None, metrics: Path, log: Path
) -> subprocess.Popen[bytes]:
    """Start the service and write to STATE which process it is; without that, end it."""
    token = secrets.token_hex(8)
    environment = for_service() | {"PYTHONUNBUFFERED": "1", STARTED: token} | dict(service.environment)
    environment |= service.told(LOOPBACK, port, "host")
    if service.metrics.variable is not None:
        environment[service.metrics.variable] = str(metrics)
    words = [word.replace(PORT_PLACE, str(port)) for word in service.command or ()]
    command = command_of(words, python_of(service))
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=service.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the experiment, which then ends the service
                preexec_fn=preexec_pin(cpus),  # noqa: PLW1509  it takes no lock that another thread may hold
            )
        except OSError as error:
            raise DeploymentError(_why_not_started(command[0], error, service)) from error
    try:
        OwnProcess(STATE).note(process.pid, token)
        _children[process.pid] = process
    except BaseException:
        process.kill()  # nobody else would know of it
        process.wait()
        raise
    return process


def _why_not_started(program: str, error: OSError, service: ServiceFile) -> str:
    if isinstance(error, FileNotFoundError):
        return _no_program(program, service)
    return (
        f"the command of the host process can't be started ({program}: {error.strerror}); "
        f"set command in {service.path.name}"
    )


def _copy_metrics(service: ServiceFile, metrics: Path, to: Path) -> list[Path]:
    """The copy of the service's metrics file; none if it writes none."""
    if service.metrics.variable is None or (service.metrics.folder is None and not metrics.exists()):
        return []
    return [Path(shutil.copy(metrics, to))]


def _places(process: psutil.Process) -> list[Place]:
    """Where a process and its children listen; nothing where that can't be seen."""
    found = []
    try:
        for each in [process, *process.children(recursive=True)]:
            held = each.net_connections(kind="tcp")
            found += [(place.laddr.ip, place.laddr.port) for place in held if place.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return []
    return found


def _end(process: psutil.Process, seconds: float) -> None:
    """End a process and its children, such as the workers of a server."""
    family: Sequence[psutil.Process] = [process, *process.children(recursive=True)]
    process.terminate()
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.resume()  # it may be paused
    _, left = psutil.wait_procs(family[:1], seconds)
    _, left = psutil.wait_procs(family, 1 if not left else 0)
    for each in left:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(left, seconds)


def _why_ended(process: subprocess.Popen[bytes], log: Path, killed_before: int | None) -> str | None:
    """Why a service has ended; None as long as it runs. ``killed_before``: ``_killed_for_memory`` before its start."""
    code = process.poll()
    if code is None:
        return None
    words = last_line(tail(log))
    if code >= 0:
        return f"the service ended with exit code {code}: {words}"
    how = f"the service ended by signal {-code} ({signal.strsignal(-code)})"
    if code != -signal.SIGKILL:
        return f"{how}: {words}"
    return f"{how}; {_who_killed(killed_before, _killed_for_memory())}; the last line of its log: {words}"


def _who_killed(before: int | None, after: int | None) -> str:
    """Whose the signal SIGKILL probably was, by how many processes the kernel had killed before and after it."""
    if before is None or after is None:
        return "a person or another program killed it, or the kernel because memory was short"
    if after > before:
        return "the kernel killed a process because memory was short, probably this one"
    return "a person or another program killed it (the kernel killed no process for lack of memory)"


def _killed_for_memory() -> int | None:
    """How many processes the kernel has killed since it started because memory was short; None: it does not say so."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/vmstat").read_text(encoding="utf-8").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("oom_kill ")))
    return None


def _left() -> psutil.Process | None:
    """The process that ``start`` started, if it still runs."""
    return OwnProcess(STATE).left()
