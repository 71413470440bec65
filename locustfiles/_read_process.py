"""Reads a process of this machine and all that it started as a replica."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from runfiles.columns import CPU, MEMORY, PIDS

from _counters import Counters
from _read_cgroup import CgroupReader, NoCgroup

SLOW_EVERY_S = 1.0
"""Between two readings of what is slow to read: the kernel walks all pages of a process for its PSS, and psutil walks
all processes to find the tree."""


def process_reader(root: psutil.Process) -> CgroupReader | ProcessReader:
    """Reads the process's own control group if it has one (``systemd-run --scope``, a unit), else its tree."""
    try:
        return CgroupReader(root.pid, lambda folder: _is_own(folder, root), has_network=False)
    except (NoCgroup, psutil.Error, OSError):
        return ProcessReader(root)


def _is_own(folder: Path, root: psutil.Process) -> bool:
    """Whether a control group, with the groups below it, holds the process and its children and no other process."""
    own = {root.pid, *(child.pid for child in root.children(recursive=True))}
    there = [int(pid) for file in folder.rglob("cgroup.procs") for pid in file.read_text().split()]
    return bool(there) and set(there) <= own


class ProcessReader:
    """Reads the process and its children with psutil.

    Their network is not measured, because they have no interface of their own. Memory, threads and the members of the
    tree are as of the last second.
    """

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._looked_at_s = float("-inf")
        self._tree: list[psutil.Process] = []
        self._memory_bytes = 0
        self._threads = 0
        self._is_pss = False

    @property
    def sources(self) -> dict[str, str]:
        """How each group of columns is read."""
        memory = "PSS of the process tree, once a second" if self._is_pss else "RSS of the process tree, once a second"
        return {CPU: "psutil: the process tree", MEMORY: f"psutil: {memory}", PIDS: "psutil: threads of the tree"}

    def read(self) -> Counters | None:
        """The counters now; None if the process has ended."""
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
        for process in (self._root, *self._tree):
            try:
                memory, is_pss = _memory_bytes(process)
                self._memory_bytes += memory
                self._threads += process.num_threads()
                self._is_pss &= is_pss
            except psutil.NoSuchProcess:
                if process is self._root:
                    raise


def _cpu_seconds(process: psutil.Process) -> float:
    """CPU time of a process and of those of its children that have ended."""
    times = process.cpu_times()
    ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + ended)


def _cpu_seconds_or_none(process: psutil.Process) -> float:
    """As ``_cpu_seconds``, and 0 if the process has just ended: its parent's account then holds its time."""
    try:
        return _cpu_seconds(process)
    except psutil.NoSuchProcess:
        return 0.0


def _memory_bytes(process: psutil.Process) -> tuple[int, bool]:
    """The memory of a process, and whether it is its proportional share (PSS), with which memory that the tree shares
    counts once. It is the RSS if the PSS is not known."""
    try:
        pss = getattr(process.memory_full_info(), "pss", 0)
    except psutil.AccessDenied:
        pss = 0
    return (int(pss), True) if pss else (int(process.memory_info().rss), False)
