"""The service with ``docker run``."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
from docker.types import Healthcheck

from infra.engine import LABEL, Engine
from infra.errors import DeploymentError
from infra.settings import Settings
from infra.waiting import until_healthy

NAME = "llm-inference-container"
CONTAINER_PORT = 5000
METRICS_PATH = "/app/docker_system_inference_metrics.csv"
STOP_S = 40

ASK_HEALTH = "import urllib.request as r; r.urlopen('http://127.0.0.1:5000/health', timeout=3)"
SECOND = 1_000_000_000
HEALTHCHECK = Healthcheck(
    test=["CMD", "python", "-c", ASK_HEALTH],
    interval=30 * SECOND,
    timeout=5 * SECOND,
    retries=3,
    start_period=120 * SECOND,
)
"""As in docker-compose.yml and stack.yml. Seldom, since each check starts a Python inside the measured container."""


def still_there(what: str) -> str:
    """The reason where something of ours is left, or wanted."""
    return (
        f"{what} is still there, from python -m infra up or from a run that was killed; "
        "python -m infra down --all, and run again"
    )


def why_not(engine: Engine) -> str | None:
    found = _find(engine)
    if found is not None and _is_ours(found):
        return still_there(f"container {NAME}")
    if found is not None:
        return (
            f"a container named {NAME} is there that Fourfold did not make; "
            f"rename or remove it (docker rename {NAME} OTHER) and run again"
        )
    return None


def start(engine: Engine, settings: Settings, url: str) -> tuple[str, Callable[[Path], list[Path]]]:
    # An engine elsewhere has to publish on its own network to be reached at all.
    address = "0.0.0.0" if engine.is_remote else "127.0.0.1"  # noqa: S104
    try:
        made = engine.client.containers.run(
            settings.image,
            name=NAME,
            detach=True,
            ports={f"{CONTAINER_PORT}/tcp": (address, settings.ports["docker"])},
            labels={LABEL: "docker"},
            init=True,
            stop_signal="SIGTERM",
            healthcheck=HEALTHCHECK,
        )
    except docker.errors.APIError as error:
        raise DeploymentError(f"the engine refused docker run: {error.explanation or error}") from error

    def evidence() -> str:
        made.reload()
        if made.status in ("exited", "dead"):
            code = made.attrs["State"]["ExitCode"]
            raise DeploymentError(f"the container ended with exit code {code}: {last_line(made)}")
        return f"the container is {made.status}; its last line was: {last_line(made)}"

    until_healthy(url, settings.start_timeout_s, evidence)
    return f"container:{NAME}", lambda to: [copy_file(made, METRICS_PATH, to / Path(METRICS_PATH).name)]


def remove(engine: Engine) -> list[str]:
    found = _find(engine)
    if found is None or not _is_ours(found):
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


def last_line(container: Any) -> str:
    """The last thing a container said."""
    lines = container.logs(tail=1).decode("utf-8", "replace").strip()
    return lines or "(none)"


def _find(engine: Engine) -> Any:
    try:
        return engine.client.containers.get(NAME)
    except docker.errors.NotFound:
        return None


def _is_ours(container: Any) -> bool:
    return LABEL in container.labels
