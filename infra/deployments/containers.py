"""What can be asked of a container, whoever started it: why it ended, its last line, its limits, a file of it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import docker

from infra.deployments.confinement import CPU_NS
from infra.errors import DeploymentError
from infra.last_words import last_line
from runfiles.records import Limits

LOG_LINES = 5
"""Enough to find one that is not empty: some programs end with empty lines."""

SIGKILL_CODE = 137


def why_gone(container: Any) -> str | None:
    """Why a container no longer runs, with its last words. None as long as it runs."""
    try:
        container.reload()
        if container.status not in ("exited", "dead", "removing"):
            return None
        state = container.attrs["State"]
        code = state["ExitCode"]
        memory = " (out of memory)" if state.get("OOMKilled") else ""
        memory = memory or (" (killed; out of memory suspected)" if code == SIGKILL_CODE else "")
        return f"container {container.name} ended with exit code {code}{memory}: {last_words(container)}"
    except docker.errors.NotFound:
        return f"container {container.name} was removed"


def last_words(container: Any) -> str:
    """The last line that a container has written."""
    return last_line(container.logs(tail=LOG_LINES).decode("utf-8", "replace"))


def limits_of(container: Any) -> Limits:
    """The limits that the engine sets for a container; it writes 0, or no processors, for no limit."""
    said = container.attrs["HostConfig"]
    return Limits(
        cpus=said["NanoCpus"] / CPU_NS or None,
        memory_bytes=said["Memory"] or None,
        cpuset=said.get("CpusetCpus") or None,
    )


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
