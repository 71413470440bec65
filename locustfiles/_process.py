"""A process of this machine and all that it started, read as a replica is."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from _cgroup import CgroupReader, NoCgroup
from _stats import Counters

SLOW_EVERY_S = 1.0
"""Between two looks at what is dear: the kernel walks all pages of a process for its PSS, and we all processes for the
tree."""


def process_reader(root: psutil.Process) -> CgroupReader | ProcessReader:
    """Reads the process's own control group where it has one (``systemd-run --scope``, a unit), else its tree."""
    try:
        return CgroupReader(root.pid, lambda folder: _is_own(folder, root), has_network=False)
    except (NoCgroup, psutil.Error, OSError):
        return ProcessReader(root)


def _is_own(folder: Path, root: psutil.Process) -> bool:
    """Whether nobody but the process and its children is in a control group, nor in those below it."""
    own = {root.pid, *(one.pid for one in root.children(recursive=True))}
    there = [int(pid) for file in folder.rglob("cgroup.procs") for pid in file.read_text().split()]
    return bool(there) and set(there) <= own


class ProcessReader:
    """Reads the process and its children with psutil. Their network is not measured: they have no interface of their
    own. Memory, threads and who belongs to the tree are as of the last second."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._looked_at_s = float("-inf")
        self._tree: list[psutil.Process] = []
        self._memory_bytes = 0
        self._threads = 0
        self._is_pss = False

    @property
    def sources(self) -> dict[str, str]:
        """How each group of columns is had."""
        memory = "PSS of the process tree, once a second" if self._is_pss else "RSS of the process tree, once a second"
        return {"CPU": "psutil: the process tree", "memory": f"psutil: {memory}", "PIDs": "psutil: threads of the tree"}

    def read(self) -> Counters | None:
        """The counters now; None where the process has ended."""
        try:
            if time.monotonic() - self._looked_at_s >= SLOW_EVERY_S:
                self._look()
            cpu_seconds = _cpu_seconds(self._root) + sum(map(_cpu_seconds_or_none, self._tree))
            read_at = time.time()
        except psutil.NoSuchProcess:
            return None
        if not self._root.is_running() or self._root.status() == psutil.STATUS_ZOMBIE:
            return None
        return Counters(read_at, cpu_seconds, self._memory_bytes, pids=self._threads)

    def close(self) -> None:
        pass

    def _look(self) -> None:
        self._tree = self._root.children(recursive=True)
        self._looked_at_s = time.monotonic()
        self._memory_bytes, self._threads, self._is_pss = 0, 0, True
        for one in (self._root, *self._tree):
            try:
                memory, is_pss = _memory_bytes(one)
                self._memory_bytes += memory
                self._threads += one.num_threads()
                self._is_pss &= is_pss
            except psutil.NoSuchProcess:
                if one is self._root:
                    raise


def _cpu_seconds(process: psutil.Process) -> float:
    """What a process has used, and those of its children that have ended."""
    times = process.cpu_times()
    ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + ended)


def _cpu_seconds_or_none(process: psutil.Process) -> float:
    """0 of one that has just ended: what it used is then in its parent's account."""
    try:
        return _cpu_seconds(process)
    except psutil.NoSuchProcess:
        return 0.0


def _memory_bytes(process: psutil.Process) -> tuple[int, bool]:
    """The process's proportional share (PSS), so that memory shared within the tree counts once, and whether it is
    that; RSS where PSS is not told."""
    try:
        pss = getattr(process.memory_full_info(), "pss", 0)
    except psutil.AccessDenied:
        pss = 0
    return (int(pss), True) if pss else (int(process.memory_info().rss), False)
