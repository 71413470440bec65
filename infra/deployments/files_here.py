"""Files of this machine that containers use. An engine on another machine does not see them, and would mount empty
folders in their place.

The metrics file of a Compose file is moved into the container, from where it is copied. All other files are a reason
not to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.deployments.compose_project import Model
from infra.deployments.containers import METRICS_FILE
from infra.deployments.docker_engine import Engine
from infra.deployments.settings import Settings
from servicefile.service_file import ServiceFile

BIND = "bind"
REMEDY = "put them into the image, or run Fourfold on the engine's own machine"


def why_mounts_here(settings: Settings, engine: Engine) -> str | None:
    """Why the mounts of the service file can't be used. None if they can, or if there are none."""
    mounts = settings.service.container.mounts
    if not engine.is_remote or not mounts:
        return None
    return (
        f"mounts of {settings.service.path.name} are folders of this machine ({mounts[0].rsplit(':', 2)[0]}), and the "
        f"engine is at {engine.endpoint}; {REMEDY}"
    )


def why_model_uses_files_here(model: Model, settings: Settings, metrics_folder: Path, engine: Engine) -> str | None:
    """Why a Compose file can't be used. None if it can. What it mounts from ``metrics_folder`` is no reason: see
    ``keep_metrics_there``. Neither is what it mounts from outside of its own folder, such as /etc/localtime: that may
    be meant to be of the engine's machine."""
    if settings.service.compose is None:
        return why_mounts_here(settings, engine)
    folder = settings.service.compose.file.resolve().parent
    for path in _used(model):
        if path.is_relative_to(folder) and not path.is_relative_to(metrics_folder):
            return (
                f"{settings.service.compose.file.name} mounts {path} of this machine, and the engine is at "
                f"{engine.endpoint}; {REMEDY}"
            )
    return None


def _used(model: Model) -> Iterator[Path]:
    """The files and folders of this machine that the containers of a Compose file use."""
    for service in model["services"].values():
        yield from (Path(mount["source"]) for mount in service.get("volumes") or () if mount.get("type") == BIND)
    for kind in ("configs", "secrets"):
        yield from (Path(thing["file"]) for thing in (model.get(kind) or {}).values() if thing.get("file"))


def keep_metrics_there(model: Model, answering: str, service: ServiceFile, metrics_folder: Path) -> None:
    """Have nothing of a Compose file in a folder of this machine: the service that answers writes its metrics file in
    its container, and other services get an empty volume in the folder's place."""
    own = model["services"][answering]
    if any(is_in(mount.get("source"), metrics_folder) for mount in own.get("volumes") or ()):
        metrics_in_container(own, service, metrics_folder)
    for other in model["services"].values():
        for mount in other.get("volumes") or ():
            if is_in(mount.get("source"), metrics_folder):
                target = mount["target"]
                mount.clear()
                mount.update(type="volume", target=target)


def metrics_in_container(answering: Model, service: ServiceFile, metrics_folder: Path) -> None:
    """Have the service that answers write its metrics file in its container, and not in a folder of this machine."""
    if service.metrics.variable is not None:
        answering["environment"] = (answering.get("environment") or {}) | {service.metrics.variable: METRICS_FILE}
    if service.compose is None:
        return
    volumes: list[Any] = [
        each for each in answering.get("volumes") or () if not is_in(each.get("source"), metrics_folder)
    ]
    if answering.get("read_only"):
        volumes += [{"type": "volume", "target": folder} for folder in service.container.writable]
    answering["volumes"] = volumes


def is_in(source: str | None, folder: Path) -> bool:
    return source is not None and Path(source).is_relative_to(folder)
