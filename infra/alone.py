"""One experiment at a time: two would measure each other, and one that is continued removes what it left.

There are three locks, because experiments can meet in three ways:

- a file in the checkout, for experiments of one checkout; ``down`` takes this lock as well,
- a file in the folder for temporary files, for all checkouts and users of a machine,
- a volume on the Docker engine, for all machines that use that engine.

The kernel frees the lock of a file when the process ends, however it ends. The volume's labels name the process that
made it; the lock no longer counts when that process is gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import docker
import psutil

from infra.deployments.docker_engine import API_FAILURES, Engine, connect
from infra.deployments.ownership import CHECKOUT, LABEL, checkout_of, is_ours, labels
from infra.deployments.table import BY_NAME
from infra.errors import DeploymentError, why
from infra.paths import STATE, WORK

CHECKOUT_LOCK = STATE / "experiment.lock"
MACHINE_LOCK = "fourfold-experiment.lock"
"""In the folder for temporary files."""

VOLUME = "fourfold-experiment"
HOLDER_LABEL = f"{LABEL}.holder"
"""Which process made the volume, as JSON."""

TRIES = 3
WOULD_MEET = "the two would measure each other; wait until it ends, or end it"


@contextmanager
def alone_in_checkout() -> Iterator[None]:
    """Let no other experiment of this checkout run as long as the block lasts.

    Raises:
        DeploymentError: one runs.
    """
    CHECKOUT_LOCK.parent.mkdir(exist_ok=True)
    with CHECKOUT_LOCK.open("a", encoding="utf-8") as file:
        if not _is_locked(file):
            raise DeploymentError("another experiment runs from this folder; wait until it ends, or end it")
        yield


@contextmanager
def alone_on_machine() -> Iterator[None]:
    """Let no other experiment on this machine run, of whatever checkout, as long as the block lasts.

    Raises:
        DeploymentError: one runs; or the machine's lock can't be opened.
    """
    with alone_in_checkout(), _machine_lock() as file:
        if not _is_locked(file):
            file.seek(0)
            known = file.read()
            raise DeploymentError(f"an experiment of {known or 'another checkout'} runs on this machine; {WOULD_MEET}")
        with suppress(OSError):  # another user's file may be read-only, and the disk full: it is locked all the same
            file.truncate(0)
            file.write(f"the checkout {CHECKOUT} (process {os.getpid()})")
            file.flush()
        yield


@contextmanager
def alone_on_engine(names: list[str]) -> Iterator[None]:
    """Let no other experiment use the engine as long as the block lasts. Call this inside ``alone_on_machine``.

    Nothing is locked if none of the deployments needs an engine, or if no engine answers.

    Raises:
        DeploymentError: one runs, on whatever machine; or the engine refuses the lock.
    """
    engine = _engine_for(names)
    if engine is None:
        yield
        return
    own = labels("lock") | {HOLDER_LABEL: json.dumps(_this_process())}
    try:
        _take(engine, own)
    except API_FAILURES as error:
        raise DeploymentError(
            f"this experiment can't lock the engine: {error}; check the engine (docker info), "
            "or leave the containers out (--only host)"
        ) from error
    try:
        yield
    finally:
        _release(engine, own)


def why_not_alone(engine: Engine | None) -> str | None:
    """What prevents an experiment here now: which experiment runs on this machine or on the engine, or what else is in
    the way. None if nothing does."""
    try:
        with alone_on_machine():
            found = _volume(engine) if engine is not None else None
    except DeploymentError as error:
        return str(error)
    except API_FAILURES:  # the engine does not show its volumes to this user; the experiment will say why
        return None
    except OSError as error:
        return why(error, WORK)
    return None if found is None else _why_held(found.attrs.get("Labels") or {})


def _is_locked(file: IO[str]) -> bool:
    """Lock an open file unless somebody else holds the lock. Returns whether it is locked now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _machine_lock() -> IO[str]:
    """Open the machine's lock file; for writing if this user may, so that the file can name who holds the lock.

    A new file is made for all users. An existing file is opened without O_CREAT: Linux refuses that for another user's
    file in a folder such as /tmp (fs.protected_regular).
    """
    path = Path(tempfile.gettempdir(), MACHINE_LOCK)
    safely = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with suppress(FileExistsError):
            made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | safely, 0o666)
            os.fchmod(made, 0o666)  # whatever the umask is
            return os.fdopen(made, "r+", encoding="utf-8", errors="replace")
        with suppress(PermissionError):
            return os.fdopen(os.open(path, os.O_RDWR | safely), "r+", encoding="utf-8", errors="replace")
        return os.fdopen(os.open(path, os.O_RDONLY | safely), encoding="utf-8", errors="replace")
    except OSError as error:
        raise DeploymentError(
            f"the lock that keeps experiments apart can't be opened ({error}); "
            "remove that file, or name a folder with TMPDIR, and run again"
        ) from error


def _engine_for(names: list[str]) -> Engine | None:
    if not any(BY_NAME[name].facts.needs_engine for name in names):
        return None
    try:
        return connect()
    except DeploymentError:  # each of the deployments will say so
        return None


def _take(engine: Engine, own: Mapping[str, str]) -> None:
    """Make the volume. If it exists, the engine returns the existing one with its own labels."""
    for _ in range(TRIES):
        volume = engine.client.volumes.create(VOLUME, labels=dict(own))
        found = volume.attrs.get("Labels") or {}
        if all(found.get(key) == value for key, value in own.items()):
            return
        if reason := _why_held(found):
            raise DeploymentError(reason)
        with suppress(docker.errors.NotFound):
            volume.remove()
    raise DeploymentError(f"the volume {VOLUME} keeps coming back; remove it (docker volume rm {VOLUME}) and run again")


def _why_held(found: Mapping[str, str]) -> str | None:
    """Why a volume counts as a lock. None if its experiment is gone."""
    by_hand = f"docker volume rm {VOLUME}"
    if LABEL not in found:
        return f"there is a volume named {VOLUME} that Fourfold did not make; remove it ({by_hand}) and run again"
    if is_ours(found):  # the caller holds this checkout's own lock
        return None
    folder, node = checkout_of(found)
    is_running = _is_running(found)
    if is_running is False:
        return None
    held = f"an experiment of the checkout {folder} on {node} runs on this engine; {WOULD_MEET}"
    return held if is_running else f"{held}; if it was killed: {by_hand}"


def _is_running(found: Mapping[str, str]) -> bool | None:
    """Whether the process that made a lock runs. None if that can't be seen from here."""
    try:
        holder = json.loads(found[HOLDER_LABEL])
        here = _this_process()
        if any(holder[key] != here[key] for key in ("node", "namespace")):
            return None
        process = psutil.Process(holder["pid"])
        # A step of the clock shifts the start times that psutil tells.
        is_it = process.create_time() == holder["started_at"] or _is_fourfold(process.cmdline())
        return is_it and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    except (ValueError, LookupError, TypeError):
        return None


def _is_fourfold(command: list[str]) -> bool:
    """Whether a command line is that of ``python -m infra`` or of ``fourfold``."""
    return any(Path(word).name in ("infra", "fourfold") for word in command)


def _this_process() -> dict[str, Any]:
    """This process, as a label names it. A process ID counts only within its namespace: a container has its own IDs."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # macOS has none
        namespace = ""
    started_at = psutil.Process().create_time()
    return {"node": platform.node(), "namespace": namespace, "pid": os.getpid(), "started_at": started_at}


def _release(engine: Engine, own: Mapping[str, str]) -> None:
    try:
        found = _volume(engine)
        if found is not None and (found.attrs.get("Labels") or {}).get(HOLDER_LABEL) == own[HOLDER_LABEL]:
            found.remove()
    except API_FAILURES as error:
        print(f"error: volume {VOLUME} could not be removed ({error}); the next run removes it", file=sys.stderr)


def _volume(engine: Engine) -> Any:
    try:
        return engine.client.volumes.get(VOLUME)
    except docker.errors.NotFound:
        return None
