"""The service with ``docker run``."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import docker

from infra.deployments.confinement import (
    CPU_NS,
    HEALTHCHECK,
    METRICS_PATH,
    PIDS,
    PORT,
    STOP_S,
    STOP_SIGNAL,
    TMP_BYTES,
    app_volume,
    user,
)
from infra.deployments.docker_engine import Engine
from infra.deployments.ownership import is_ours, labels, why_not_ours
from infra.deployments.service import Service
from infra.deployments.settings import Limits, Settings, listens_at
from infra.deployments.waiting import until_healthy
from infra.errors import DeploymentError
from infra.last_words import last_line

NAME = "llm-inference-container"
LOG_LINES = 5
"""Of these one will say something: some programs end with empty lines."""

SIGKILL_CODE = 137


def still_there(what: str) -> str:
    """The reason where something of ours is left, or wanted."""
    return (
        f"{what} is still there, from python -m infra up or from a run that was killed; "
        "python -m infra down --all, and run again"
    )


def why_not(engine: Engine) -> str | None:
    found = _find(engine)
    if found is None:
        return None
    if is_ours(found.labels):
        return still_there(f"container {NAME}")
    return why_another_has_it(engine) or (
        f"a container named {NAME} is there that Fourfold did not make; "
        f"rename or remove it (docker rename {NAME} OTHER) and run again"
    )


def why_another_has_it(engine: Engine) -> str | None:
    """Which other checkout has the container's name, and how to remove that; None where none has."""
    found = _find(engine)
    return found and why_not_ours(found.labels, f"container {NAME}", "docker", f"docker rm --force --volumes {NAME}")


def start(engine: Engine, settings: Settings, url: str) -> Service:
    (address,) = listens_at("docker", engine.is_remote)
    api = engine.client.api
    try:
        host_config = api.create_host_config(
            port_bindings={PORT: (address, settings.ports["docker"])},
            read_only=True,
            mounts=[app_volume(labels("docker"))],
            tmpfs={"/tmp": f"size={TMP_BYTES // 1024**2}m"},  # noqa: S108  inside the container
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            mem_limit=settings.memory_bytes,
            nano_cpus=None if settings.cpus is None else round(settings.cpus * CPU_NS),
            pids_limit=PIDS,
            init=True,
        )
        # The convenience of containers.run() has no stop_timeout.
        made_id = api.create_container(
            settings.image,
            name=NAME,
            ports=[PORT],
            labels=labels("docker"),
            user=user(),
            healthcheck=HEALTHCHECK,
            stop_signal=STOP_SIGNAL,
            stop_timeout=STOP_S,
            use_config_proxy=False,  # a proxy of Docker's config.json is for downloads
            host_config=host_config,
        )["Id"]
        made = engine.client.containers.get(made_id)
        made.start()
    except docker.errors.APIError as error:
        raise DeploymentError(f"the engine refused docker run: {error.explanation or error}") from error

    def evidence() -> str:
        if reason := why_gone(made):
            raise DeploymentError(reason)
        return f"the container is {made.status}; its last line was: {last_words(made)}"

    until_healthy(url, settings.start_timeout_s, evidence)
    return Service(
        f"container:{NAME}",
        lambda to: [copy_file(made, METRICS_PATH, to / Path(METRICS_PATH).name)],
        limits_of(made),
        gone=lambda: why_gone(made),
        last_words=lambda: last_words(made),
    )


def remove(engine: Engine) -> list[str]:
    found = _find(engine)
    if found is None or not is_ours(found.labels):
        return []
    found.stop(timeout=STOP_S)
    found.remove(v=True, force=True)
    return [f"container {NAME}"]


def copy_file(container: Any, path: str, to: Path) -> Path:
    """What ``docker cp`` does for one file.

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


def limits_of(container: Any) -> Limits:
    """What the engine holds a container to; it writes 0 for what is not limited."""
    said = container.attrs["HostConfig"]
    return Limits(cpus=said["NanoCpus"] / CPU_NS or None, memory_bytes=said["Memory"] or None)


def why_gone(container: Any) -> str | None:
    """Why a container no longer runs, with its last words; None while it does."""
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


def _find(engine: Engine) -> Any:
    try:
        return engine.client.containers.get(NAME)
    except docker.errors.NotFound:
        return None
