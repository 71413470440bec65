"""Finds the containers of this machine in the kernel's files, and reads their counters. It needs no Docker engine.

It runs in an agent (``_agent``): as a user of its own, without capabilities, in a container that sees the node's /proc
and /sys/fs/cgroup. Whatever it uses can be read by every user (proc(5)).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _counters import Counters
from _read_cgroup import CgroupReader, NoCgroup, Roots, container_cgroup

CONTAINER_ID = re.compile(r"[0-9a-f]{64}")

START_FIELD = 19
"""The place of ``starttime`` behind the process' name in /proc/PID/stat: it is the 22nd field of all."""

LEAST_PAUSE_S = 0.05
"""Between two looks for containers that are not known."""


@dataclass(frozen=True)
class Reading:
    """What was read of a container. One of ``counters`` and ``missing`` is None: ``missing`` says why it was not read.

    ``is_gone``: no process of it is on this node. ``sources`` as in ``Reader``.
    """

    counters: Counters | None = None
    missing: str | None = None
    is_gone: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)


class NodeContainers:
    """The containers whose processes are seen in ``roots.proc``."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._readers: dict[str, CgroupReader] = {}
        self._looked_at_s = -LEAST_PAUSE_S

    def read(self, ids: Sequence[str]) -> dict[str, Reading]:
        """The readings of these containers now, by their full IDs."""
        found: dict[str, Reading] = {}
        for id in ids:
            if id in self._readers:
                try:
                    counters = self._readers[id].read()
                except OSError as error:
                    found[id] = Reading(missing=f"its counters can't be read: {error.strerror}")
                    continue
                if counters is not None:
                    found[id] = Reading(counters, sources=self._readers[id].sources)
        missing = [id for id in ids if id not in found]
        return found | (self._read_after_a_look(missing) if missing else {})

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _read_after_a_look(self, ids: Sequence[str]) -> dict[str, Reading]:
        """The readings of containers that are new, or whose process has ended: another process may be left."""
        known = set(self._readers)
        if not known & set(ids) and time.monotonic() - self._looked_at_s < LEAST_PAUSE_S:
            return {id: Reading(missing="the agent has just looked for it") for id in ids}
        processes = oldest_processes(self._roots.proc)
        paths = group_paths(self._roots)
        self._looked_at_s = time.monotonic()
        for id in (known - set(processes)) | set(ids):
            if id in known:
                self._readers.pop(id).close()
        return {id: self._first_reading(id, processes.get(id), paths.get(id)) for id in ids}

    def _first_reading(self, id: str, pid: int | None, path: str | None) -> Reading:
        proc = self._roots.proc
        if pid is None:
            is_hidden = not (proc / "1").exists()
            why = "the node hides its processes (hidepid of /proc)" if is_hidden else "no process of it is on this node"
            return Reading(missing=why, is_gone=not is_hidden)
        if path is None:
            return Reading(missing="its control group is not below /sys/fs/cgroup")
        try:
            limit = memory_limit_bytes(self._roots, path)
            network = has_own_network(proc, pid)
            reader = container_cgroup(pid, id, limit, has_network=network, roots=self._roots, path=path)
            counters = reader.read()
        except (NoCgroup, OSError) as error:
            return Reading(missing=str(error))
        if counters is None:
            reader.close()
            return Reading(missing="it has just ended", is_gone=True)
        self._readers[id] = reader
        return Reading(counters, sources=reader.sources)


def oldest_processes(proc: Path) -> dict[str, int]:
    """Of each container its process that started first: the others come and go, such as those of health checks."""
    found: dict[str, tuple[int, int]] = {}
    for entry in proc.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            id = container_of((entry / "cgroup").read_text())
            if id is not None:
                started = int((entry / "stat").read_text().rpartition(")")[2].split()[START_FIELD])
                found[id] = min(found.get(id, (started, int(entry.name))), (started, int(entry.name)))
        except OSError:  # it has ended
            continue
    return {id: pid for id, (_, pid) in found.items()}


def container_of(groups: str) -> str | None:
    """The ID of the container whose groups these are, the content of /proc/PID/cgroup. None: it is in no container.

    If the node is a container itself, some of the paths, or all of them, have its ID before.
    """
    ids = max((CONTAINER_ID.findall(line) for line in groups.splitlines()), key=len, default=[])
    return ids[-1] if ids else None


def group_paths(roots: Roots) -> dict[str, str]:
    """The path of each container's control group. Version 1 has it below each controller, such as ``memory``."""
    top = roots.cgroup if roots.version == 2 else roots.cgroup / "memory"
    found = {}
    for folder, inner, _ in os.walk(top):
        for name in [name for name in inner if CONTAINER_ID.search(name)]:
            found[CONTAINER_ID.findall(name)[-1]] = "/" + Path(folder, name).relative_to(top).as_posix()
    return found


def has_own_network(proc: Path, pid: int) -> bool:
    """Whether a process has a network of its own: not the machine's, and not only loopback.

    The kernel has files of its own under net/ for each network. That they are others needs no right to know; the
    network's own number (/proc/PID/ns/net) does.
    """
    own, machines = proc / str(pid) / "net" / "dev", proc / "1" / "net" / "dev"
    if own.samefile(machines):
        return False
    names = [line.partition(":")[0].strip() for line in own.read_text().splitlines()[2:]]
    return any(name != "lo" for name in names)


def memory_limit_bytes(roots: Roots, path: str) -> int:
    """A group's limit, or all memory of the machine, as the engine tells it."""
    name = "memory.max" if roots.version == 2 else "memory/memory.limit_in_bytes"
    controller, _, file = name.rpartition("/")
    total_kib = re.search(r"^MemTotal:\s+(\d+) kB", (roots.proc / "meminfo").read_text(), re.MULTILINE)
    if total_kib is None:
        raise OSError("/proc/meminfo does not tell the memory of the machine")
    total_bytes = int(total_kib[1]) * 1024
    said = (roots.cgroup / controller / path.lstrip("/") / file).read_text().strip()
    return total_bytes if said == "max" else min(int(said), total_bytes)
