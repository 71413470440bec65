"""Locust as a subprocess: its gevent patching never reaches this process, and its files land where they are told."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

import runfiles
from infra.environment import for_load
from infra.errors import DeploymentError
from infra.settings import ROOT

STOP_S = 20
POLL_S = 0.25
ONE_REQUEST_FAILED = 1
"""Locust's exit code when all went well but for the answers: the figures are there, and say so themselves."""


def run_locust(locustfile: str, prefix: Path, arguments: Sequence[str], show: Callable[[int], None]) -> None:
    """Run one locustfile headless; ``show`` gets the number of requests so far.

    Interrupted, Locust is asked to end, so that its files and ours are whole.

    Raises:
        DeploymentError: Locust could not run, or ended with an error of its own.
    """
    log = prefix.with_name(prefix.name + ".log")
    command = [*locust(locustfile), "--csv", str(prefix.resolve()), *arguments]
    with tempfile.TemporaryDirectory(prefix="fourfold-") as empty, log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            cwd=empty,
            env=for_load(Path(empty)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the experiment, which then asks Locust to end
        )
        try:
            while process.poll() is None:
                show(_requests_so_far(prefix))
                time.sleep(POLL_S)
        except BaseException:
            _end(process)
            raise
    if process.returncode not in (0, ONE_REQUEST_FAILED):
        raise DeploymentError(f"Locust ended with exit code {process.returncode}; its words are in {log}")
    show(_requests_so_far(prefix))


def locust(locustfile: str) -> list[str]:
    """The command that runs a locustfile headless."""
    file = str(ROOT / "locustfiles" / f"{locustfile}.py")
    return [sys.executable, "-m", "locust", "--locustfile", file, "--headless", "--only-summary"]


def end_leftovers(folder: Path) -> list[int]:
    """End each Locust that still writes below ``folder``, since the experiment that started it was killed; their IDs.

    It would write over the files of those who come after it.
    """
    left = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if "locust" in command and any(Path(one).is_relative_to(folder) for one in command if one.startswith("/")):
            left.append(process)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, deaf = psutil.wait_procs(left, STOP_S)
    for process in deaf:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(deaf, STOP_S)
    return [process.pid for process in left]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _requests_so_far(prefix: Path) -> int:
    try:
        return max(0, Path(f"{prefix}{runfiles.REQUESTS_SUFFIX}").read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0
