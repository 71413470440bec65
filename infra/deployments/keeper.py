"""Looks at another machine, and starts, keeps and ends the service there as a host process.

``host_there.py`` sends this file to a python3 there, so it uses nothing but the standard library, and is for Python 3.8
and later (whose annotations are not evaluated). It gets a question as a line of JSON, and answers with one. ``act``
names what is asked.

The keeper of a service lasts as long as its standard input, which is the SSH connection: when that ends, for whatever
reason, so does the service.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOOK, KEEP, END = "look", "keep", "end"
STARTED = "FOURFOLD_STARTED"
"""A variable of the keeper and of its service. It tells whether a process is still the one that was started."""

PIDS_FILE = "pids.json"
OWN_PYTHON = ".venv/bin/python"
POLL_S = 0.05
MORE_S = 5.0
"""Longer than the keeper gives the service to end, before the keeper itself counts as hung."""


def look(question: Mapping[str, Any]) -> dict[str, Any]:
    """What this machine is, and why the service can't be started here (None: nothing is known to prevent it)."""
    folder = _folder(question)
    found: dict[str, Any] = {"wrong": _why_wrong(question, folder), "python": None, "machine": _machine()}
    found["cpus"] = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    found["free_bytes"] = _free_bytes()
    if found["wrong"] is None:
        python = _python(folder, question["python"])
        if Path(_command(question, folder)[0]).parent == Path(python).parent:
            ask = [python, "-c", "import platform; print(platform.python_version())"]
            own = _environment(question)
            told = subprocess.run(ask, env=own, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
            found["python"] = told.decode().strip() or None
    return found


def _folder(question: Mapping[str, Any]) -> Path:
    """The service's folder here. A relative one is in the user's home, in which an SSH connection begins."""
    return Path(os.path.abspath(os.path.expanduser(question["folder"])))


def _why_wrong(question: Mapping[str, Any], folder: Path) -> str | None:
    if not Path("/proc/self/stat").exists():
        return "it has no /proc, by which Fourfold knows its processes; only Linux can be used"
    if not folder.is_dir():
        return f"there is no folder {folder}; put the service's files there, or name another (--host-folder)"
    if reason := _why_other_files(folder, question["files"]):
        return reason
    program = _command(question, folder)[0]
    if shutil.which(str(folder / program) if "/" in program else program) is None:
        return f"there is no program {program}; install it there, or set command in the service file"
    try:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((question["address"], question["port"]))
    except OSError as error:
        return f"port {question['port']} can't be had there ({error.strerror}); choose another (--port host=PORT)"
    return None


def _why_other_files(folder: Path, digests: Mapping[str, str]) -> str | None:
    for name, digest in digests.items():
        try:
            is_same = hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        except OSError:
            return f"{name} is not in {folder}; bring the same files there as here"
        if not is_same:
            return f"{name} in {folder} is not the same as here; bring the same files there"
    return None


def _machine() -> Mapping[str, Any]:
    model = None
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
    return {
        "node": platform.node(),
        "system": platform.system(),
        "kernel": platform.release(),
        "cpu_model": model,
        "architecture": platform.machine(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }


def _free_bytes() -> int | None:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    return None


def _python(folder: Path, named: str | None) -> str:
    """What a first word ``python`` stands for: what the service file names, else that of a virtual environment in the
    folder, else the one that runs this."""
    if named is not None:
        return str(folder / named)
    return str(folder / OWN_PYTHON) if (folder / OWN_PYTHON).is_file() else sys.executable


def _command(question: Mapping[str, Any], folder: Path) -> list[str]:
    first, *others = question["command"]
    python = Path(_python(folder, question["python"]))
    if first in ("python", "python3"):
        return [str(python), *others]
    is_beside = "/" not in first and (python.parent / first).is_file()
    return [str(python.parent / first) if is_beside else first, *others]


def keep(question: Mapping[str, Any]) -> None:
    """Start the service, tell its ID and where its metrics file is, and end it when standard input or it itself ends.

    The exit code is that of the service, as a shell tells it. If the service ended by itself, its files stay until
    ``end`` is asked for: they may tell why.
    """
    own = _own_folder(question["token"])
    own.mkdir(0o700)
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    is_told: list[int] = []
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: is_told.append(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    service, has_ended_itself = None, False
    try:
        folder = _folder(question)
        environment = _environment(question)
        environment[STARTED] = question["token"]
        metrics = own / question["metrics_file"]
        if question["metrics_variable"] is not None:
            environment[question["metrics_variable"]] = str(metrics)
        if question["cpus"]:
            os.sched_setaffinity(0, question["cpus"])  # this process has nothing to do meanwhile
        service = subprocess.Popen(
            _command(question, folder),
            cwd=str(folder),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=2,
            stderr=2,
            start_new_session=True,
        )
        (own / PIDS_FILE).write_text(json.dumps({"keeper": os.getpid(), "service": service.pid}), encoding="utf-8")
        print(json.dumps({"pid": service.pid, "metrics": str(metrics)}), flush=True)
        is_connected = True
        while is_connected and service.poll() is None and not is_told:
            ready, _, _ = select.select([0, wake], [], [])
            if wake in ready:
                os.read(wake, 64)
            is_connected = 0 not in ready or bool(os.read(0, 4096))
        has_ended_itself = service.poll() is not None and is_connected and not is_told
    finally:
        code = None if service is None else _end_service(service, question["stop_s"])
        if not has_ended_itself:
            shutil.rmtree(str(own), ignore_errors=True)
    sys.exit(1 if code is None else code if code >= 0 else 128 - code)


def _environment(question: Mapping[str, Any]) -> dict[str, str]:
    """The variables of this machine that the service gets, and its own."""
    there = {name: os.environ[name] for name in os.environ if _is_passed(name, question["passed"])}
    return {**there, **question["environment"]}


def _is_passed(name: str, passed: list[str]) -> bool:
    return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in passed)


def _end_service(service: Any, stop_s: float) -> int:
    """End a service and the processes that it has started. Returns its exit code."""
    if service.poll() is None:
        service.terminate()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(service.pid, signal.SIGCONT)  # it may be paused
        with contextlib.suppress(subprocess.TimeoutExpired):
            service.wait(stop_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(service.pid, signal.SIGKILL)
    return int(service.wait())


def end(question: Mapping[str, Any]) -> Mapping[str, Any]:
    """End a service and its keeper, also if that has been killed. Says whether there was something to end."""
    own = _own_folder(question["token"])
    if not own.is_dir():
        return {"was_there": False}
    pids: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        pids = json.loads((own / PIDS_FILE).read_text(encoding="utf-8"))
    if _is_ours(pids.get("keeper"), question["token"]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids["keeper"], signal.SIGTERM)
        until_s = time.monotonic() + question["stop_s"] + MORE_S
        while own.is_dir() and time.monotonic() < until_s:
            time.sleep(POLL_S)
    if _is_ours(pids.get("service"), question["token"]):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pids["service"], signal.SIGKILL)
    shutil.rmtree(str(own), ignore_errors=True)
    return {"was_there": True}


def _own_folder(token: str) -> Path:
    return Path(tempfile.gettempdir()) / f"fourfold-{token}"


def _is_ours(pid: int | None, token: str) -> bool:
    if pid is None:
        return False
    try:
        return f"{STARTED}={token}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def main() -> None:
    question = json.loads(sys.stdin.readline())
    if question["act"] == KEEP:
        keep(question)
    else:
        print(json.dumps((look if question["act"] == LOOK else end)(question)))


if __name__ == "__main__":
    main()
