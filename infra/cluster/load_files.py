"""The files that a load needs on each node, where they come as Swarm configs; and those that it leaves."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.errors import DeploymentError
from infra.paths import ROOT
from servicefile.service_file import ServiceFile

GIVEN = "/app/given"
"""The folder of the service file and its texts in the containers."""

MOST_CONFIG_BYTES = 1_023_999
"""SwarmKit takes no larger config (manager/controlapi/config.go, MaxConfigSize)."""


def given_files(locustfile: str, service: ServiceFile, folder: Path) -> Mapping[str, tuple[Path, str]]:
    """Name of a config -> the file with its content, and where it stands in the containers. A service file with what
    the load needs of it is written to ``folder``.

    Raises:
        DeploymentError: one of the files is missing, or larger than a swarm takes.
    """
    asked = folder / "service.toml"
    asked.write_text(service_file_of(service), encoding="utf-8")
    texts = service.request.texts
    files = {
        "service": (asked, f"{GIVEN}/service.toml"),
        "texts": (texts, f"{GIVEN}/{texts.name}"),
        "locustfile": (ROOT / "locustfiles" / f"{locustfile}.py", in_container(locustfile)),
    }
    for path, _ in files.values():
        try:
            size = path.stat().st_size
        except OSError as error:
            raise DeploymentError(f"{path} can't be read ({error.strerror}); name another file") from error
        if size > MOST_CONFIG_BYTES:
            raise DeploymentError(
                f"{path} has {size / 1000:.0f} kB, and a swarm takes no config of more than "
                f"{MOST_CONFIG_BYTES / 1000:.0f} kB; use fewer texts, or send the load from one machine (docs/load.md)"
            )
    return files


def in_container(locustfile: str) -> str:
    """Where a locustfile stands in the containers. The modules that it imports stand beside it."""
    return f"/app/locustfiles/{locustfile}.py"


def service_file_of(service: ServiceFile) -> str:
    """What the load needs of a service file, as one that has no other files than its texts: on the nodes there are no
    Dockerfile and no stack file."""
    request = service.request
    top = {
        "name": service.name,
        "image": service.image or "none",
        "port": service.port,
        "replica_header": service.replica_header,
        "ready": service.ready,
        "ready_status": service.ready_status,
    }
    asked = {
        "method": request.method,
        "path": request.path,
        "headers": dict(request.headers),
        "body": request.body,
        "texts": request.texts.name,
        "status": request.status,
        "answer_has": request.answer_has,
    }
    return "".join([*_lines(top), "\n[request]\n", *_lines(asked)])


def copy_out(chunks: Iterable[bytes], folder: Path) -> list[Path]:
    """Write the files of an engine's tar archive to a folder, each by its own name. Returns them.

    Raises:
        OSError: one can't be written.
        DeploymentError: the archive is not whole.
    """
    written = []
    try:
        with tarfile.open(fileobj=io.BufferedReader(_Chunks(chunks)), mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is None:
                    continue
                path = folder / Path(member.name).name
                with path.open("wb") as file:
                    shutil.copyfileobj(content, file)
                written.append(path)
    except tarfile.TarError as error:
        raise DeploymentError(f"the files of the load did not arrive whole ({error})") from error
    return written


class _Chunks(io.RawIOBase):
    """What a response brings in pieces, as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            try:
                self._left = next(self._chunks)
            except StopIteration:
                return 0
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}\n" for key, value in table.items() if value is not None]


def _toml(value: Any) -> str:
    """A value of a TOML file, written as TOML again. Its basic strings are those of JSON, but for DEL."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(content)}" for key, content in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)
