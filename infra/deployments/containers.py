"""What can be asked of a container, whoever started it.

Why it ended, its last line, its limits, a file of it, and where its programs listen.
"""

from __future__ import annotations

import io
import ipaddress
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docker

from infra.deployments.confinement import CPU_NS
from infra.deployments.docker_engine import API_FAILURES
from infra.deployments.ready import Place, why_misplaced
from infra.errors import DeploymentError
from infra.last_words import LINES_KEPT, last_error, last_line
from runfiles.records import Limits
from servicefile.service_file import ServiceFile

LOG_LINES = 5
"""Enough to find one that is not empty: some programs end with empty lines."""

ERROR_LINES = 60
"""An error may stand some lines above the last one: a server writes its line about the request below it."""

LOGS_KEPT = 3
"""Of so many containers the log is kept if a deployment does not start."""

SIGKILL_CODE = 137

METRICS_FILE = "docker_system_inference_metrics.csv"
"""What a service in a container is told to call its metrics file."""

LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp (Linux, net/tcp_states.h)."""

KILLED = "killed by a person or another program, or by the kernel because memory was short"
"""What a container tells that ended with ``SIGKILL_CODE``, if its engine saw no lack of memory."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""What an engine calls its machine -> what images call it."""


def why_gone(container: Any) -> str | None:
    """Why a container no longer runs, with its last words. None as long as it runs."""
    try:
        container.reload()
        if container.status not in ("exited", "dead", "removing"):
            return None
        state = container.attrs["State"]
        code = state["ExitCode"]
        memory = " (out of memory)" if state.get("OOMKilled") else ""
        memory = memory or (f" ({KILLED})" if code == SIGKILL_CODE else "")
        words = f"{last_words(container)}{_why_other_machine(container)}"
        return f"container {container.name} ended with exit code {code}{memory}: {words}"
    except docker.errors.NotFound:
        return f"container {container.name} was removed"


def last_error_of(container: Any) -> str:
    """The last line of a container's log that states an error; if there is none, its last line."""
    return last_error(container.logs(tail=ERROR_LINES).decode("utf-8", "replace"))


def last_words(container: Any) -> str:
    """The last line that a container has written."""
    return last_line(container.logs(tail=LOG_LINES).decode("utf-8", "replace"))


def log_of(containers: Sequence[Any]) -> str:
    """The end of what containers have written, each under its name. Of many containers only the first ones are asked,
    those that have ended before the others."""
    by_end = sorted(containers, key=lambda container: container.status == "running")
    return "".join(
        f"--- {container.name}\n{said}"
        for container in by_end[:LOGS_KEPT]
        if (said := container.logs(tail=LINES_KEPT).decode("utf-8", "replace"))
    )


def limits_of(container: Any) -> Limits:
    """The limits that the engine sets for a container; it writes 0, or no processors, for no limit."""
    said = container.attrs["HostConfig"]
    return Limits(
        cpus=said["NanoCpus"] / CPU_NS or None,
        memory_bytes=said["Memory"] or None,
        cpuset=said.get("CpusetCpus") or None,
    )


def _why_other_machine(container: Any) -> str:
    """That the image is for machines of another architecture than the engine's; empty if it is not."""
    built = container.image.attrs.get("Architecture")
    machine = container.client.info().get("Architecture")
    if not built or not machine or built == ARCHITECTURES.get(machine, machine):
        return ""
    return f"; the image is for {built}, the engine's machine is {machine}: build it for that (docker build --platform)"


def environment_of(service: ServiceFile, metrics_file: str = METRICS_FILE) -> dict[str, str]:
    """The variables that a container of the service gets."""
    named = {service.metrics.variable: metrics_file} if service.metrics.variable else {}
    return dict(service.environment) | named


def copy_metrics(container: Any, service: ServiceFile, to: Path, metrics_file: str = METRICS_FILE) -> list[Path]:
    """Copy the service's metrics file out of a container; none if it writes none.

    Raises:
        DeploymentError: it has none, though the service file says in which folder it is.
    """
    if service.metrics.variable is None:
        return []
    try:
        return [copy_file(container, metrics_path(container, service, metrics_file), to)]
    except DeploymentError:
        if service.metrics.folder is not None:
            raise
        return []


def metrics_place(container: Any, service: ServiceFile, metrics_file: str = METRICS_FILE) -> str | None:
    """Where a person finds the service's metrics file in a container; None: the service writes none."""
    if service.metrics.variable is None:
        return None
    path = metrics_path(container, service, metrics_file)
    return f"in the container; copy it with docker cp {container.name}:{path} ."


def metrics_path(container: Any, service: ServiceFile, metrics_file: str = METRICS_FILE) -> str:
    """Where the service's metrics file is in a container, if it writes one."""
    folder = service.metrics.folder or container.attrs["Config"].get("WorkingDir") or "/"
    return f"{folder.rstrip('/')}/{metrics_file}"


def why_nobody_reaches(container: Any, port: int) -> str | None:
    """Why a service that runs in a container is not reached at its port: it listens elsewhere. None if nothing shows
    that."""
    if container.attrs["HostConfig"]["NetworkMode"] == "host":  # it would see all programs of the machine
        return None
    try:
        code, output = container.exec_run(["cat", "/proc/net/tcp", "/proc/net/tcp6"])
    except API_FAILURES:
        return None
    if code != 0:  # an image without cat
        return None
    return why_misplaced(
        listening(output.decode("ascii", "replace")), port, "in the container", must_reach_outside=True
    )


def listening(table: str) -> list[Place]:
    """The places at which programs listen, from what /proc/net/tcp and tcp6 say. Docker's own name server is none."""
    found = []
    for line in table.splitlines():
        parts = line.split()
        if len(parts) < 4 or parts[3] != LISTEN or ":" not in parts[1]:
            continue
        address, _, port = parts[1].partition(":")
        # Words of four bytes, each in the byte order of the machine.
        words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
        ip = str(ipaddress.ip_address(b"".join(words)))
        if ip != "127.0.0.11":
            found.append((ip, int(port, 16)))
    return found


def copy_file(container: Any, path: str, to: Path) -> Path:
    """Copy one file out of a container, as ``docker cp`` does.

    Raises:
        DeploymentError: the container has no such file.
    """
    try:
        blocks, _ = container.get_archive(path)
    except docker.errors.NotFound as error:
        raise DeploymentError(f"container {container.name} has no {path}") from error
    with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as archive:
        content = archive.extractfile(archive.getmembers()[0])
        to.write_bytes(content.read() if content else b"")
    return to
