"""What a benchmark needs before it measures, and how it keeps what it has measured.

Imports no installed package, so that ``--help`` and the list of what is missing need none.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.errors import DeploymentError

BENCHMARK_REQUIREMENTS = "benchmarks/requirements.txt"


def require(*reasons: str | None) -> None:
    """End with a line for each thing that is missing. A reason that is None is not missing.

    Raises:
        SystemExit: something is missing.
    """
    missing = [reason for reason in reasons if reason]
    for reason in missing:
        print(f"error: {reason}", file=sys.stderr)
    if missing:
        raise SystemExit(1)


def why_no_packages(*names: str, requirements: str = "requirements.txt") -> str | None:
    """Which Python packages are missing, and the command that installs them."""
    missing = [name for name in names if not _is_there(name)]
    if not missing:
        return None
    what = f"package {missing[0]} is" if len(missing) == 1 else f"packages {', '.join(missing)} are"
    return f"the Python {what} missing; run infra/setup.sh {requirements}, then start this with .venv/bin/python"


def why_no_program(*names: str) -> str | None:
    """Why none of these programs can be started. The first name is also that of the Debian package."""
    if any(map(shutil.which, names)):
        return None
    return f"{' or '.join(names)} is not installed; install it (Debian, Ubuntu: sudo apt install {names[0]})"


def why_no_image(image: str, *, on_this_machine: bool = False) -> str | None:
    """Why the Docker engine can't run an image. An image of a registry is pulled."""
    try:
        from infra.deployments.docker_engine import connect
        from infra.deployments.images import find_image
        from servicefile.service_file import read_service
    except ImportError:
        return why_no_packages("docker", "psutil", "requests")
    if shutil.which("docker") is None:
        return "there is no docker command on the PATH; install Docker's command line and run again"
    try:
        engine = connect()
        if on_this_machine and engine.is_remote:
            return f"the Docker engine is at {engine.endpoint}; run this on the engine's own machine"
        find_image(engine, image, is_built=image == read_service().image)
    except DeploymentError as error:
        return str(error)
    return None


def why_no_space(folder: Path, needed_bytes: int) -> str | None:
    """Why the disk under a folder is too small."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes >= needed_bytes:
        return None
    return (
        f"too little disk: {needed_bytes / 1e9:.1f} GB are needed at {folder}, {free_bytes / 1e9:.1f} GB are free; "
        "make room, or name another folder in TMPDIR"
    )


def temporary_folder() -> Path:
    return Path(tempfile.gettempdir())


def positive(text: str) -> int:
    """A command-line option that counts something."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def output_file(text: str) -> Path:
    """A command-line option: a file that can be written later, without changing it now."""
    path = Path(text).resolve()
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        raise argparse.ArgumentTypeError(f"{text} is not a file that can be written; name another file")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        reason = error.strerror or error
        raise argparse.ArgumentTypeError(f"{text} can't be written ({reason}); name a file elsewhere") from None


def write_text(path: Path, text: str) -> None:
    """Write a whole file or leave the old one as it is."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


class Figures(dict[str, Any]):
    """What was measured so far. ``keep`` writes each new part to the file at once, if there is a file."""

    def __init__(self, path: Path | None, **known: Any) -> None:
        super().__init__(known)
        self.path = path

    def keep(self, **part: Any) -> None:
        self.update(part)
        if self.path is not None:
            write_text(self.path, json.dumps(self, indent=1) + "\n")


def run(main: Callable[[], int]) -> int:
    """The exit code of ``main``: 1 with the reason for what failed, 130 for an interruption."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # containers and services are removed then, too
    try:
        return main()
    except subprocess.CalledProcessError as error:
        said = error.stderr or error.stdout or ""
        if isinstance(said, bytes):
            said = said.decode(errors="replace")
        command = " ".join(map(str, error.cmd))
        print(f"error: {command[:200]} ended with exit code {error.returncode}: {said[-2000:]}", file=sys.stderr)
        return 1
    except (DeploymentError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False
