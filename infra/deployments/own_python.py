"""The Python that starts the host process: Fourfold's own, the service's, or one with the service's requirements."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from infra.environment import for_pip, for_python, for_service
from infra.errors import DeploymentError
from infra.last_words import last_error, tail
from infra.paths import STATE
from runfiles.records import Python
from servicefile.service_file import ServiceFile

FOLDER = STATE / "python"
"""Each set of requirements has a virtual environment of its own here, which is made once."""

DONE = "installed"
"""An empty file in an environment that has all requirements."""


def python_of(service: ServiceFile) -> Path:
    """The Python that a first word ``python`` of the service's command stands for."""
    if service.requirements is not None:
        return _environment(service.requirements) / "bin" / "python"
    return service.python or Path(sys.executable)


def command_of(words: Sequence[str], python: Path) -> list[str]:
    """A command of a service file. Its first word ``python`` is ``python``. A program that is installed beside
    ``python``, such as gunicorn, is taken from there, as in a virtual environment that is active."""
    first, *others = words
    if first in ("python", "python3"):
        return [str(python), *others]
    is_beside = "/" not in first and (python.parent / first).is_file()
    return [str(python.parent / first) if is_beside else first, *others]


def python_record(service: ServiceFile) -> Python | None:
    """The Python that the host process runs on. None if its command does not begin with ``python`` or a program that is
    installed beside it, or if that Python does not tell its version."""
    if service.command is None:
        return None
    python = python_of(service)
    if Path(command_of(service.command, python)[0]).parent != python.parent:
        return None
    if service.python is None:
        return Python(version=platform.python_version(), is_fourfolds=service.requirements is None)
    ask = [str(python), "-c", "import platform; print(platform.python_version())"]
    try:
        told = subprocess.run(ask, env=for_service(), capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return Python(version=told, is_fourfolds=False) if told else None


def prepare_python(service: ServiceFile, show: Callable[[str], None]) -> None:
    """Install the service's requirements, if they are not installed yet. ``show`` is told what is done.

    Raises:
        DeploymentError: they can't be installed.
        OSError: the folder can't be written.
    """
    if service.requirements is None:
        return
    folder = _environment(service.requirements)
    if (folder / DONE).is_file():
        return
    if folder.exists():
        shutil.rmtree(folder)  # of a try that was cut off
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    show(f"installing {service.requirements.name} for the host process, once; what pip says is in {log}")
    python = str(folder / "bin" / "python")
    try:
        pip_settings = for_pip()
    except subprocess.CalledProcessError as error:
        raise DeploymentError("pip can't read its settings; its reason is above") from error
    install = [python, "-m", "pip", "install", "--disable-pip-version-check", "-r", str(service.requirements)]
    with log.open("w", encoding="utf-8") as output:
        for command, environment in (
            ([sys.executable, "-m", "venv", str(folder)], for_python()),
            (install, pip_settings),
        ):
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            )
            if done.returncode != 0:
                raise DeploymentError(
                    f"{service.requirements} could not be installed: {last_error(tail(log))}; all of it is in {log}; "
                    "correct that, or name a Python that has it (python in the service file)"
                )
    (folder / DONE).touch()


def _environment(requirements: Path) -> Path:
    """The virtual environment of a requirements file, by what the file says and by this Python's version."""
    said = f"{sys.version}\n".encode() + requirements.read_bytes()
    return FOLDER / hashlib.sha256(said).hexdigest()[:16]
